"""A watch that goes on, against a server that cuts, forgets and repeats. T-K8S-2."""

import random
import threading
import time
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest

from rdev_cli.adapters.kubernetes import watching
from rdev_cli.adapters.kubernetes.api import Api
from rdev_cli.adapters.kubernetes.selector import Selector
from rdev_cli.domain.errors import Conflict, Denied, Unavailable
from rdev_cli.ports.timing import Stop
from tests.support.apiserver import HANG, RESET, ApiServer, Fault, cut, status

PODS = "/api/v1/namespaces/rdev/pods"
OURS = Selector({"a": "b"})


def pod(name: str, **labels: str) -> dict[str, Any]:
    return {"kind": "Pod", "metadata": {"name": name, "labels": labels or {"a": "b"}}}


@pytest.fixture(autouse=True)
def ended(stop: Stop) -> Iterator[None]:
    """No watch outlives its test."""
    yield
    stop.set("cancelled")
    for cache in Cache.made:
        cache.thread.join(10)
        assert not cache.thread.is_alive(), "a watch goes on after its stop"
    Cache.made.clear()


class Cache:
    """What a watcher knows, read in a thread until it equals the server, or the test is over."""

    made: ClassVar[list["Cache"]] = []

    def __init__(self, api: Api, *, timeout: float = 30) -> None:
        self.objects: dict[str, str] = {}
        self.events: list[tuple[str, str]] = []
        self.error: Exception | None = None
        self._events = api.watch(PODS, selector=OURS, timeout=timeout)
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()
        self.made.append(self)

    def _read(self) -> None:
        try:
            for kind, one in self._events:
                name, version = one["metadata"]["name"], one["metadata"]["resourceVersion"]
                self.events.append((kind, name))
                if kind == "DELETED":
                    self.objects.pop(name, None)
                else:
                    self.objects[name] = version
        except Exception as e:  # noqa: BLE001 -- of a thread
            self.error = e

    def settles(self, server: ApiServer) -> bool:
        end = time.monotonic() + 20
        while time.monotonic() < end and self.error is None:
            truth = {o["metadata"]["name"]: o["metadata"]["resourceVersion"] for o in server.select(PODS, {"labelSelector": [str(OURS)]})}
            if self.objects == truth:
                return True
            time.sleep(0.01)
        return False


def test_a_watch_begins_with_what_there_is_and_tells_each_change_once(api: Api, server: ApiServer) -> None:
    server.put(f"{PODS}/a", pod("a"))
    server.put(f"{PODS}/other", pod("other", a="c"))
    cache = Cache(api)
    assert cache.settles(server)
    server.put(f"{PODS}/b", pod("b"))
    server.put(f"{PODS}/a", pod("a"))
    server.drop(f"{PODS}/b")
    assert cache.settles(server)
    assert cache.events == [("ADDED", "a"), ("ADDED", "b"), ("MODIFIED", "a"), ("DELETED", "b")]


def test_a_watch_of_one_name_needs_no_label(api: Api, server: ApiServer) -> None:
    server.put(f"{PODS}/a", pod("a"))
    server.put(f"{PODS}/b", pod("b"))
    assert [(kind, one["metadata"]["name"]) for kind, one in api.watch(PODS, selector=None, name="a", timeout=0.3)] == [("ADDED", "a")]
    assert server.asked[-1].query["fieldSelector"] == ["metadata.name=a"]


def test_a_watch_ends_when_its_time_is_over(api: Api, server: ApiServer) -> None:
    began = time.monotonic()
    assert list(api.watch(PODS, selector=OURS, timeout=0.5)) == []
    assert time.monotonic() - began >= 0.5
    server.trouble(HANG, HANG, on="GET")
    began = time.monotonic()
    assert list(api.watch(PODS, selector=OURS, timeout=0.5)) == []
    assert time.monotonic() - began < 4


def test_t_k8s_2_a_history_that_was_forgotten_is_made_up_by_a_new_look(api: Api, server: ApiServer) -> None:
    server.put(f"{PODS}/a", pod("a"))
    server.put(f"{PODS}/b", pod("b"))
    cache = Cache(api)
    assert cache.settles(server)
    with server.changed:  # all at once, so that the watch can see none of it
        gone = server.objects.pop(f"{PODS}/a")
        server.version += 5
        server.objects[f"{PODS}/c"] = {
            **pod("c"),
            "metadata": {**pod("c")["metadata"], "uid": "new", "resourceVersion": str(server.version)},
        }
        server.forgotten = server.version
        server.changed.notify_all()
    assert cache.settles(server)
    assert cache.events[2:] == [("DELETED", gone["metadata"]["name"]), ("ADDED", "c")]


@pytest.mark.parametrize(
    "fault", [status(410, reason="Expired"), status(503), status(500), status(429), RESET, cut(30)], ids=lambda f: f"{f.kind}-{f.status}"
)
def test_t_k8s_2_a_watch_that_cannot_begin_begins_again(api: Api, server: ApiServer, fault: Fault) -> None:
    server.put(f"{PODS}/a", pod("a"))
    server.trouble(fault, fault, on="watch=true")
    cache = Cache(api)
    assert cache.settles(server)
    end = time.monotonic() + 20
    while server.troubles_left and time.monotonic() < end:
        time.sleep(0.01)
    assert not server.troubles_left
    server.put(f"{PODS}/b", pod("b"))
    assert cache.settles(server)


def test_t_k8s_2_a_stream_that_is_cut_at_any_byte_loses_and_repeats_nothing(
    api: Api, server: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.bookmark = 0.02
    monkeypatch.setattr(watching, "_PAUSE", 0.001)
    server.trouble(*(cut(at) for at in range(0, 900, 3)), on="watch=true")
    cache = Cache(api, timeout=60)
    rng = random.Random(3)
    while server.troubles_left and cache.error is None:
        name = f"p{rng.randrange(4)}"
        if f"{PODS}/{name}" in server.objects and rng.random() < 0.4:
            server.drop(f"{PODS}/{name}")
        else:
            server.put(f"{PODS}/{name}", pod(name))
        time.sleep(0.003)
    assert cache.settles(server)
    assert cache.error is None


def scripted(server: ApiServer, *lines: bytes) -> None:
    """Let the next watch say exactly these lines."""
    server.trouble(Fault("status", body=b"".join(line + b"\n" for line in lines)), on="watch=true")


def line(kind: str, name: str, uid: str, version: int) -> bytes:
    text = '{"type":"%s","object":{"metadata":{"name":"%s","uid":"%s","resourceVersion":"%d","labels":{"a":"b"}}}}'
    return (text % (kind, name, uid, version)).encode()


def first(api: Api, count: int) -> list[tuple[str, str, str]]:
    found = []
    for kind, one in api.watch(PODS, selector=OURS, timeout=10):
        found.append((kind, one["metadata"]["name"], one["metadata"]["resourceVersion"]))
        if len(found) == count:
            break
    return found


def test_t_k8s_2_events_that_come_twice_or_too_late_are_left_out(api: Api, server: ApiServer) -> None:
    scripted(
        server,
        line("ADDED", "a", "1", 200), line("ADDED", "a", "1", 200), line("MODIFIED", "a", "1", 210), line("MODIFIED", "a", "1", 205),
        line("DELETED", "a", "1", 220), line("MODIFIED", "a", "1", 215), line("DELETED", "a", "1", 220), line("ADDED", "a", "2", 230),
    )  # fmt: skip
    assert first(api, 4) == [("ADDED", "a", "200"), ("MODIFIED", "a", "210"), ("DELETED", "a", "220"), ("ADDED", "a", "230")]


@pytest.mark.parametrize(
    "bad",
    [
        b"not json",
        b"{}",
        b"[]",
        b'{"type":"ADDED","object":null}',
        b'{"type":"ADDED","object":{"metadata":{}}}',
        b'{"type":"ERROR","object":{"code":500}}',
        b'{"type":"ERROR","object":null}',
    ],
)
def test_t_k8s_2_a_line_that_cannot_be_understood_is_answered_with_a_new_look(api: Api, server: ApiServer, bad: bytes) -> None:
    server.put(f"{PODS}/a", pod("a"))
    scripted(server, bad)
    cache = Cache(api)
    assert cache.settles(server)
    server.put(f"{PODS}/b", pod("b"))
    assert cache.settles(server)
    assert cache.events == [("ADDED", "a"), ("ADDED", "b")]


def test_t_k8s_2_a_database_that_was_restored_is_believed_at_the_next_look(
    api: Api, server: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "REQUEST", 0.2)
    server.version = 5000
    server.put(f"{PODS}/a", pod("a"))
    server.put(f"{PODS}/b", pod("b"))
    cache = Cache(api)
    assert cache.settles(server)
    with server.changed:  # as it was long ago: smaller versions, and one object less
        server.version, server.history, server.objects = 300, [], {f"{PODS}/a": server.objects[f"{PODS}/a"]}
    server.put(f"{PODS}/a", pod("a"))
    assert cache.settles(server)
    server.put(f"{PODS}/b", pod("b"))
    assert cache.settles(server)


def test_a_connection_that_died_unseen_is_given_up_by_the_end_of_its_request(
    api: Api, server: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "REQUEST", 0.2)
    monkeypatch.setattr(watching, "_GRACE", 0.2)
    monkeypatch.setattr(watching, "LOOKUP", 0.3)
    server.trouble(HANG, on="watch=true")
    cache = Cache(api)
    server.put(f"{PODS}/a", pod("a"))
    assert cache.settles(server)


def test_a_server_that_stays_away_ends_the_watch(api: Api, server: ApiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "AWAY", 0.3)
    server.trouble(*[RESET] * 1000)
    with pytest.raises(Unavailable):
        list(api.watch(PODS, selector=OURS, timeout=60))


def test_a_missing_right_ends_the_watch(api: Api, server: ApiServer) -> None:
    server.trouble(status(403), on="watch=true")
    with pytest.raises(Denied) as refused:
        list(api.watch(PODS, selector=OURS, timeout=60))
    assert refused.value.context["verb"] == "watch"


def test_a_watch_from_a_list_tells_only_what_came_after_it(api: Api, server: ApiServer) -> None:
    server.put(f"{PODS}/a", pod("a"))
    version = api.list(PODS, OURS).version
    server.put(f"{PODS}/b", pod("b"))
    events = api.watch(PODS, selector=OURS, version=version, timeout=0.5)
    assert [(kind, one["metadata"]["name"]) for kind, one in events] == [("ADDED", "b")]


@pytest.mark.parametrize("told", ["status", "event"])
def test_a_watch_from_a_version_that_was_forgotten_says_so(api: Api, server: ApiServer, told: str) -> None:
    if told == "status":
        server.forgotten = 50
    else:
        scripted(server, b'{"type":"ERROR","object":{"kind":"Status","code":410}}')
    with pytest.raises(Conflict) as expired:
        list(api.watch(PODS, selector=OURS, version="10", timeout=5))
    assert expired.value.code == "EXPIRED"
