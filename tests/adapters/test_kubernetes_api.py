"""The transport to a cluster against a server that fails as it is told. T-K8S-1, 3; T-SEL-1; T-KUBE-4."""

import json
import random
import socket
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from rdev_cli.adapters.kubernetes import calling, wire
from rdev_cli.adapters.kubernetes.access import Login
from rdev_cli.adapters.kubernetes.api import Api
from rdev_cli.adapters.kubernetes.refusals import target
from rdev_cli.adapters.kubernetes.selector import Selector
from rdev_cli.domain.errors import Cancelled, Conflict, Denied, Invalid, NotFound, RdevError, Unavailable
from rdev_cli.ports.timing import Stop
from tests.support.apiserver import HANG, HANG_AFTER, HTML, RESET, RESET_AFTER, SLOW, ApiServer, Fault, cut, status

PODS = "/api/v1/namespaces/rdev/pods"
OURS = Selector({"rdev.orchard9.ai/project": "true"})
LABELS = {"rdev.orchard9.ai/project": "true"}


def pod(name: str) -> dict[str, Any]:
    return {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": name, "labels": LABELS}}


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call gives up within two seconds."""
    monkeypatch.setattr("rdev_cli.adapters.kubernetes.api.STANDARD", 2.0)


def test_what_is_created_can_be_read_changed_and_deleted_by_its_uid(api: Api, server: ApiServer) -> None:
    made = api.create(PODS, pod("a"))
    assert api.get(f"{PODS}/a") == made
    changed = api.patch(f"{PODS}/a", {"metadata": {"annotations": {"x": "1"}, "resourceVersion": made["metadata"]["resourceVersion"]}})
    assert changed["metadata"]["annotations"] == {"x": "1"}
    with pytest.raises(Conflict, match="changed") as stale:
        api.patch(f"{PODS}/a", {"metadata": {"resourceVersion": made["metadata"]["resourceVersion"]}})
    assert stale.value.code == "CHANGED"
    with pytest.raises(Conflict) as other:
        api.delete(f"{PODS}/a", uid="another")
    assert other.value.code == "CHANGED"
    with pytest.raises(Conflict):
        api.delete(f"{PODS}/a", uid=made["metadata"]["uid"], version="1")
    assert api.delete(f"{PODS}/a", uid=made["metadata"]["uid"], version=changed["metadata"]["resourceVersion"], grace=0)
    assert server.asked[-1].body["gracePeriodSeconds"] == 0
    assert not api.delete(f"{PODS}/a", uid=made["metadata"]["uid"])
    with pytest.raises(NotFound):
        api.get(f"{PODS}/a")
    with pytest.raises(Conflict) as twice:
        api.create(PODS, pod("b")) and api.create(PODS, pod("b"))
    assert twice.value.code == "EXISTS"


def test_calls_one_after_another_share_a_connection(api: Api, server: ApiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []
    real = wire.connect
    monkeypatch.setattr(wire, "connect", lambda *a, **k: made.append(1) or real(*a, **k))
    server.put(f"{PODS}/a", pod("a"))
    for _ in range(5):
        api.get(f"{PODS}/a")
    assert len(made) == 1


def test_a_kept_connection_that_the_server_has_closed_is_not_used_again(api: Api, server: ApiServer) -> None:
    server.put(f"{PODS}/a", pod("a"))
    api.get(f"{PODS}/a")
    (one,) = api._caller._idle
    one._sock.shutdown(socket.SHUT_RDWR)
    api.create(PODS, {"kind": "Anything", "metadata": {}})  # would not be repeated
    assert len([a for a in server.asked if a.method == "POST"]) == 1


READS = [
    RESET,
    RESET_AFTER,
    HTML,
    cut(10),
    cut(-3),
    cut(0),
    status(500),
    status(502),
    status(503),
    status(504),
    status(429),
    status(429, after="0"),
]


@pytest.mark.parametrize("fault", READS, ids=lambda f: f"{f.kind}-{f.status}-{f.at}-{f.do}")
def test_t_k8s_1_a_read_is_repeated_over_any_fault_that_passes(api: Api, server: ApiServer, fault: Fault) -> None:
    server.put(f"{PODS}/a", pod("a"))
    server.trouble(fault, fault)
    assert api.get(f"{PODS}/a")["metadata"]["name"] == "a"
    assert len(server.asked) == 3
    server.trouble(fault)
    assert len(api.list(PODS, OURS).items) == 1


@pytest.mark.parametrize("fault", READS, ids=lambda f: f"{f.kind}-{f.status}-{f.at}-{f.do}")
def test_t_k8s_1_a_named_creation_is_repeated_and_a_repeat_of_one_that_was_done_is_exists(
    api: Api, server: ApiServer, fault: Fault
) -> None:
    server.trouble(fault)
    if fault.do:
        with pytest.raises(Conflict) as done:
            api.create(PODS, pod("a"))
        assert done.value.code == "EXISTS"
    else:
        assert api.create(PODS, pod("a"))["metadata"]["name"] == "a"
    assert len(server.objects) == 1


@pytest.mark.parametrize(
    "fault",
    [RESET, RESET_AFTER, HTML, cut(10), status(500), status(502), status(503), status(504)],
    ids=lambda f: f"{f.kind}-{f.status}-{f.do}",
)
def test_t_k8s_1_a_creation_without_a_name_is_sent_once(api: Api, server: ApiServer, fault: Fault) -> None:
    server.trouble(fault)
    with pytest.raises(Unavailable):
        api.create(PODS, {"kind": "Pod", "metadata": {"generateName": "a-"}})
    assert len(server.asked) == 1


def test_t_k8s_1_what_was_turned_away_at_the_door_is_sent_again_whatever_it_is(api: Api, server: ApiServer) -> None:
    server.trouble(status(429, after="0"), status(503, after="0"), status(429))
    api.create(PODS, {"kind": "Pod", "metadata": {"generateName": "a-"}})
    assert len(server.asked) == 4


def test_t_k8s_1_a_review_has_no_name_and_changes_nothing_so_it_is_repeated(api: Api, server: ApiServer) -> None:
    server.trouble(RESET, status(500))
    assert api.create("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", {"kind": "SelfSubjectAccessReview", "spec": {}})
    assert len(server.asked) == 3


@pytest.mark.parametrize("fault", [RESET_AFTER, cut(10), cut(-3)], ids=["reset", "head", "body"])
def test_t_k8s_1_a_deletion_whose_answer_was_lost_still_says_that_it_was_there(api: Api, server: ApiServer, fault: Fault) -> None:
    uid = server.put(f"{PODS}/a", pod("a"))["metadata"]["uid"]
    server.trouble(fault)
    assert api.delete(f"{PODS}/a", uid=uid)
    assert not server.objects


def test_t_k8s_1_a_json_patch_is_not_repeated_once_it_may_have_arrived(api: Api, server: ApiServer) -> None:
    server.put(f"{PODS}/a", pod("a"))
    server.trouble(RESET_AFTER)
    with pytest.raises(Unavailable) as lost:
        api.patch(f"{PODS}/a", [{"op": "add", "path": "/x/-", "value": 1}], kind="json")
    assert lost.value.context["sent"] is True
    assert len(server.asked) == 1


@pytest.mark.parametrize("fault", [RESET, HTML, cut(10), status(503), status(500), status(429)], ids=lambda f: f"{f.kind}-{f.status}")
def test_t_k8s_1_a_fault_that_stays_ends_as_an_error_after_a_few_tries(api: Api, server: ApiServer, fault: Fault) -> None:
    server.trouble(*[fault] * 30)
    with pytest.raises(Unavailable) as failed:
        api.get(f"{PODS}/a")
    assert failed.value.code == ("CLUSTER_BUSY" if fault.status == 429 else "CLUSTER_UNREACHABLE")
    assert failed.value.hint
    assert len(server.asked) == 6


@pytest.mark.parametrize("fault", [HANG, HANG_AFTER, SLOW], ids=["hang", "hang-after", "slow"])
def test_t_k8s_1_no_server_can_hold_a_call_beyond_its_limit(api: Api, server: ApiServer, fault: Fault) -> None:
    server.put(f"{PODS}/a", pod("a" * 40))
    server.trouble(fault, fault, fault)
    began = time.monotonic()
    with pytest.raises(Unavailable, match="in time"):
        api.get(f"{PODS}/a", timeout=1.0)
    assert 0.9 <= time.monotonic() - began < 5  # of a loaded machine
    assert len(server.asked) == 2


def test_t_k8s_1_a_connection_that_died_unseen_leaves_time_for_another(api: Api, server: ApiServer) -> None:
    server.put(f"{PODS}/a", pod("a"))
    server.trouble(HANG)
    assert api.get(f"{PODS}/a", timeout=2.0)


def test_t_k8s_1_retry_after_is_obeyed(api: Api, server: ApiServer) -> None:
    server.put(f"{PODS}/a", pod("a"))
    server.trouble(status(429, after="1"))
    api.get(f"{PODS}/a")
    first, second = server.asked
    assert second.at - first.at >= 1.0


def test_t_k8s_1_a_retry_after_that_is_no_number_is_as_none(api: Api, server: ApiServer) -> None:
    server.put(f"{PODS}/a", pod("a"))
    # one that Python calls a digit and takes for no number, as it comes in a header
    server.trouble(Fault("status", status=429, headers=(("Retry-After", "\xb2"),), body=b"{}"))
    assert api.get(f"{PODS}/a")


def test_t_k8s_1_a_server_that_asks_for_more_time_than_there_is_is_not_waited_for(api: Api, server: ApiServer) -> None:
    server.trouble(status(429, after="60"))
    began = time.monotonic()
    with pytest.raises(Unavailable) as busy:
        api.get(f"{PODS}/a", timeout=5)
    assert busy.value.code == "CLUSTER_BUSY"
    assert time.monotonic() - began < 4


def test_t_k8s_1_waits_grow_and_are_not_all_alike(monkeypatch: pytest.MonkeyPatch, server: ApiServer) -> None:
    waits: list[float] = []
    monkeypatch.setattr(calling.Caller, "pause", lambda _self, seconds, _stop=None: waits.append(seconds))
    for _ in range(3):
        server.trouble(*[status(503)] * 6)
        with pytest.raises(Unavailable):
            Api(server.access()).get(f"{PODS}/a", timeout=300)
    assert len(set(waits)) == len(waits) == 15
    assert all(0.05 * 2**n <= wait <= 0.1 * 2**n for i, wait in enumerate(waits) for n in [i % 5])


@pytest.mark.parametrize(
    ("fault", "kind", "code", "says"),
    [
        (status(401), Denied, "CLUSTER_LOGIN", "login"),
        (
            status(403, reason="Forbidden", message='pods is forbidden: User "x" cannot get resource "pods"'),
            Denied,
            "FORBIDDEN",
            "may not get pods in the namespace rdev",
        ),
        (status(404, reason="NotFound"), NotFound, "NOT_FOUND", "pods a in the namespace rdev"),
        (status(409, reason="Conflict"), Conflict, "CHANGED", "changed"),
        (status(410, reason="Gone"), Conflict, "EXPIRED", "forgot"),
        (status(422, message="spec.x: Required value\x1b[31m"), Invalid, "CLUSTER_REFUSED", r"Required value\\x1b\[31m"),
        (status(400, message="bad"), Invalid, "CLUSTER_REFUSED", "bad"),
        (status(302), Unavailable, "CLUSTER_UNREACHABLE", "no Kubernetes API"),
    ],
    ids=lambda x: str(getattr(x, "status", "")),
)
def test_t_k8s_1_a_refusal_is_told_by_its_kind_and_sent_once(
    api: Api, server: ApiServer, fault: Fault, kind: type[RdevError], code: str, says: str
) -> None:
    server.trouble(fault)
    with pytest.raises(kind, match=says) as refused:
        api.get(f"{PODS}/a")
    assert refused.value.code == code
    assert refused.value.hint
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ('pods "a" is forbidden: exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2', "QUOTA"),
        ('pods "a" is forbidden: violates PodSecurity "restricted:latest": runAsNonRoot != true', "ADMISSION"),
        ('pods is forbidden: User "x" cannot create resource "pods" in API group "" in the namespace "rdev"', "FORBIDDEN"),
    ],
)
def test_t_k8s_5_a_creation_that_is_forbidden_says_by_what(api: Api, server: ApiServer, message: str, code: str) -> None:
    server.trouble(status(403, reason="Forbidden", message=message))
    with pytest.raises(Denied) as refused:
        api.create(PODS, pod("a"))
    assert refused.value.code == code
    assert (refused.value.context["verb"], refused.value.context["resource"], refused.value.context["namespace"]) == (
        "create",
        "pods",
        "rdev",
    )


def test_a_quota_that_is_just_being_changed_is_tried_again(api: Api, server: ApiServer) -> None:
    server.trouble(status(409, reason="Conflict", message="Operation cannot be fulfilled on resourcequotas"))
    assert api.create(PODS, pod("a"))


def test_a_namespace_that_is_not_there_is_told_as_such(api: Api, server: ApiServer) -> None:
    server.trouble(status(404, reason="NotFound", message='namespaces "rdev" not found'))
    with pytest.raises(NotFound, match="namespace rdev") as missing:
        api.create(PODS, pod("a"))
    assert missing.value.code == "NO_NAMESPACE"


def test_t_k8s_1_a_token_that_expired_in_mid_way_is_read_again(server: ApiServer, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("old\n")
    server.token = "old"
    server.put(f"{PODS}/a", pod("a"))
    api = Api(server.access(login=Login(token_file=tmp_path / "token")))
    api.get(f"{PODS}/a")
    server.token = "new"
    (tmp_path / "token").write_text("new\n")
    api.get(f"{PODS}/a")
    api.close()
    assert [a.headers["Authorization"] for a in server.asked] == ["Bearer old", "Bearer old", "Bearer new"]
    (tmp_path / "token").write_text("wrong\n")
    server.token = "none"
    with pytest.raises(Denied):
        api.get(f"{PODS}/a")
    assert len(server.asked) == 5  # once more with the file read anew, and no more


def test_nothing_listens_and_no_such_name_are_told_apart(server: ApiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calling, "_FIRST", 0.01)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(Unavailable, match="nothing listens") as refused:
            Api(server.access(server=f"http://127.0.0.1:{unused.getsockname()[1]}")).get(f"{PODS}/a")
        assert refused.value.context["sent"] is False

    def nobody(host: str, *_: object, flags: int = 0, **__: object) -> list[Any]:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    monkeypatch.setattr(socket, "getaddrinfo", nobody)
    with pytest.raises(Unavailable, match="name is not known"):
        Api(server.access(server="https://nowhere.invalid")).get(f"{PODS}/a")


def test_a_name_that_takes_for_ever_to_look_up_does_not_hold_a_call(server: ApiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    free = threading.Event()

    def slow(*_: object, flags: int = 0, **__: object) -> list[Any]:
        if flags:
            raise socket.gaierror
        free.wait(30)
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    monkeypatch.setattr(wire, "FAST_LOOKUP", 0.2)
    with pytest.raises(Unavailable, match="in time"):
        Api(server.access(server="https://nowhere.invalid")).get(f"{PODS}/a", timeout=0.5)
    free.set()


def test_t_k8s_1_every_wait_on_a_socket_is_bounded(api: Api, server: ApiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    bounds: list[float] = []
    real = wire._wait

    def wait(sock: socket.socket, events: int, deadline: float, stop: Stop) -> None:
        assert sock.gettimeout() == 0
        bounds.append(deadline - time.monotonic())
        real(sock, events, deadline, stop)

    monkeypatch.setattr(wire, "_wait", wait)
    made = api.create(PODS, pod("a"))
    api.get(f"{PODS}/a")
    api.list(PODS, OURS)
    api.patch(f"{PODS}/a", {"metadata": {"annotations": {"x": "1"}}})
    list(api.watch(PODS, selector=OURS, timeout=0.3))
    list(api.log("rdev", "a", "box"))
    api.delete(f"{PODS}/a", uid=made["metadata"]["uid"])
    assert len(bounds) > 6
    assert all(bound <= 65 for bound in bounds)


def test_a_stop_ends_a_call_that_waits(server: ApiServer) -> None:
    stop = Stop()
    api = Api(server.access(), stop=stop)
    server.trouble(HANG)
    threading.Timer(0.2, stop.set, args=("cancelled",)).start()
    with pytest.raises(Cancelled):
        api.get(f"{PODS}/a", timeout=30)


def test_a_stop_ends_the_wait_between_two_tries(server: ApiServer) -> None:
    stop = Stop()
    api = Api(server.access(), stop=stop)
    server.trouble(status(429, after="20"))
    threading.Timer(0.2, stop.set, args=("cancelled",)).start()
    with pytest.raises(Cancelled):
        api.get(f"{PODS}/a", timeout=30)


def test_what_cleans_up_after_the_stop_still_works(server: ApiServer) -> None:
    stop = Stop()
    api = Api(server.access(), stop=stop)
    uid = api.create(PODS, pod("a"))["metadata"]["uid"]
    stop.set("cancelled")
    server.trouble(status(503))
    assert api.delete(f"{PODS}/a", uid=uid)
    streams = api.exec("rdev", "a", "box", ["echo", "x"])
    assert streams.read(20) == (1, b"x\n")
    streams.close()
    with pytest.raises(Cancelled):
        next(api.log("rdev", "a", "box"))
    with pytest.raises(Cancelled):
        next(api.watch(PODS, selector=OURS, timeout=5))
    api.close()


def test_t_k8s_3_a_list_is_whole_however_many_pages_it_has(api: Api, server: ApiServer) -> None:
    for number in range(25):
        server.put(f"{PODS}/p{number:02}", pod(f"p{number:02}"))
    server.put(f"{PODS}/other", {"kind": "Pod", "metadata": {"name": "other"}})
    server.date = "Tue, 01 Sep 2026 10:00:00 GMT"
    listing = api.list(PODS, OURS, page=10)
    assert [one["metadata"]["name"] for one in listing.items] == [f"p{n:02}" for n in range(25)]
    assert listing.at == datetime(2026, 9, 1, 10, tzinfo=UTC)
    assert listing.version == str(server.version)
    assert len(server.asked) == 3
    assert all("resourceVersion" not in a.query for a in server.asked)  # 0 would be a cache's view, in which absence proves nothing


def test_t_k8s_3_an_expired_continuation_begins_anew(api: Api, server: ApiServer) -> None:
    for number in range(25):
        server.put(f"{PODS}/p{number:02}", pod(f"p{number:02}"))
    server.expire_continue = 2
    assert len(api.list(PODS, OURS, page=10).items) == 25
    server.expire_continue = 10**6
    with pytest.raises(Unavailable, match="expired"):
        api.list(PODS, OURS, page=10)


@pytest.mark.parametrize(
    "page",
    [
        {"kind": "PodList", "metadata": {}},
        {"kind": "Pod", "metadata": {}, "items": []},
        {"kind": "PodList", "items": []},
        {"kind": "PodList", "metadata": {"remainingItemCount": 4}, "items": []},
        {"kind": "PodList", "metadata": {}, "items": {}},
        {"kind": "Status", "status": "Success"},
        {},
    ],
)
def test_t_k8s_3_an_answer_that_may_be_a_part_is_never_a_list(api: Api, server: ApiServer, page: dict[str, Any]) -> None:
    server.trouble(Fault("status", headers=(("Date", "Tue, 01 Sep 2026 10:00:00 GMT"),), body=json.dumps(page).encode()))
    with pytest.raises(Unavailable):
        api.list(PODS, OURS)


def test_a_list_from_a_server_that_does_not_tell_the_time_is_none(api: Api, server: ApiServer) -> None:
    server.trouble(Fault("status", body=b'{"kind":"PodList","metadata":{},"items":null}'))
    with pytest.raises(Unavailable, match="time"):
        api.list(PODS, OURS)


def test_metadata_alone_is_asked_for_by_its_own_form(api: Api, server: ApiServer) -> None:
    api.list(PODS, OURS, metadata=True)
    assert "as=PartialObjectMetadataList" in server.asked[-1].headers["Accept"]


def test_t_kube_4_a_cluster_is_known_by_the_uid_of_kube_system(api: Api, server: ApiServer) -> None:
    server.put("/api/v1/namespaces/kube-system", {"metadata": {"uid": "4711"}})
    assert api.identity() == "4711"
    server.trouble(status(403))
    assert api.identity() == ""


def test_a_log_comes_as_it_is(api: Api, server: ApiServer) -> None:
    text = random.Random(1).randbytes(300_000)
    server.logs[f"{PODS}/a/log"] = text
    assert b"".join(api.log("rdev", "a", "box", tail=5, since_seconds=7, previous=True, timestamps=True, follow=True)) == text
    query = {key: value[0] for key, value in server.asked[-1].query.items()}
    assert query == {"container": "box", "follow": "true", "previous": "true", "timestamps": "true", "tailLines": "5", "sinceSeconds": "7"}


def test_a_log_that_breaks_off_is_an_error(api: Api, server: ApiServer) -> None:
    server.logs[f"{PODS}/a/log"] = b"x" * 1000
    server.trouble(cut(700))
    got: list[bytes] = []
    with pytest.raises(Unavailable):
        got.extend(api.log("rdev", "a", "box"))


@pytest.mark.parametrize(
    "labels",
    [
        {},
        None,
        {"a": "foo,env=prod"},
        {"a": "foo)"},
        {"a": " notin (x)"},
        {"a": ""},
        {"a": None},
        {"": "x"},
        {"a,b": "x"},
        {"a": "x" * 64},
        {"a": "-x"},
        {"a": "x\n"},
        {"a!": "x"},
        {"a/b/c": "x"},
    ],
)
def test_t_sel_1_no_selector_can_say_anything_else_or_everything(labels: Any) -> None:
    with pytest.raises(Invalid):
        Selector(labels)


def test_t_sel_1_a_selector_says_all_its_labels(api: Api, server: ApiServer) -> None:
    assert str(Selector({"rdev.orchard9.ai/project": "true", "app": "a.b_c-1"})) == "rdev.orchard9.ai/project=true,app=a.b_c-1"
    api.list(PODS, OURS)
    assert server.asked[-1].query["labelSelector"] == ["rdev.orchard9.ai/project=true"]


def test_t_sel_1_nothing_but_one_object_by_its_uid_can_be_deleted(api: Api, server: ApiServer) -> None:
    for path, uid in (
        (PODS, "u"),
        (f"{PODS}/", "u"),
        (f"{PODS}/a", ""),
        ("/api/v1/namespaces", "u"),
        (f"{PODS}/a/../..", "u"),
        (f"{PODS}/a?x=1", "u"),
    ):
        with pytest.raises(Invalid):
            api.delete(path, uid=uid)
    with pytest.raises(Invalid):
        api.whole(PODS, {"labelSelector": ""})
    with pytest.raises(Invalid):
        next(api.watch(PODS, selector=None, timeout=1))
    assert not server.asked


@pytest.mark.parametrize(
    ("path", "resource", "namespace", "name"),
    [
        ("/api/v1/namespaces/rdev/pods", "pods", "rdev", ""),
        ("/api/v1/namespaces/rdev/pods/a/exec", "pods/exec", "rdev", "a"),
        ("/api/v1/namespaces/rdev", "namespaces", "", "rdev"),
        ("/api/v1/namespaces", "namespaces", "", ""),
        ("/apis/networking.k8s.io/v1/namespaces/rdev/networkpolicies/a", "networkpolicies", "rdev", "a"),
        ("/version", "version", "", ""),
    ],
)
def test_a_path_says_what_it_names(path: str, resource: str, namespace: str, name: str) -> None:
    found = target(path)
    assert (found.resource, found.namespace, found.name) == (resource, namespace, name)


@pytest.mark.parametrize(
    "path", ["", "pods", "/api/v1/x y", "/api/v1/a%2fb", "/api/v1/namespaces/../x", "/api/v2/pods", "/api/v1/pods\r\nX: y", "//host/api/v1"]
)
def test_a_path_that_is_none_is_not_sent(path: str) -> None:
    with pytest.raises(Invalid):
        target(path)
