"""Streams, on a real server and by raw sockets: nothing is lost, told twice or forged, and who does not read harms nobody."""

import base64
import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdev_cli.domain.access import KeySpec, Scope
from rdev_cli.domain.codec import to_json
from rdev_cli.domain.event import Event
from rdev_cli.faces.http.feeds import Batch, Feed, View
from rdev_cli.faces.http.frames import frame
from rdev_cli.ops import events, journal, keys
from rdev_cli.wiring.services import Services
from tests.conftest import Rdev, Spawn
from tests.support.sse import Decoder, Listener, Server, Told

Start = Callable[..., Server]


@pytest.fixture
def start(home: Mapping[str, str]) -> Iterator[Start]:
    """Start a server on the user's state."""
    with contextlib.ExitStack() as stack:

        def begin(*words: str) -> Server:
            server = Server(home, *words)
            stack.callback(server.close)
            return server

        yield begin


@pytest.fixture
def server(start: Start) -> Server:
    return start()


def append(services: Services, count: int, *, first: int = 0, project: str = "shop", size: int = 0) -> None:
    """Write lines into the journal, in one go."""
    with services.store.transaction() as tx:
        for number in range(first, first + count):
            tx.append("test.happened", f"cmd_test{number:06d}", {"project": project, "n": number, "fill": "x" * size})


def numbers(told: list[Told]) -> list[int]:
    return [event.json["data"]["n"] for event in told if event.kind == "event"]


def live(listener: Listener, count: int) -> list[Told]:
    """Return what comes up to so many lines of the journal."""
    found: list[Told] = []
    for event in listener:
        found.append(event)
        if sum(each.kind == "event" for each in found) == count:
            return found
    raise AssertionError(f"the stream ended after {found}")


# one event


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text() | st.binary(), lambda inner: st.dictionaries(st.text(), inner)))
def test_whatever_an_event_tells_is_decoded_as_it_was_and_forges_nothing(told: Any) -> None:
    raw = frame("event", told, "7")
    found = Decoder().feed(raw)
    assert [(each.kind, each.id, each.data) for each in found] == [("event", "7", to_json(told))]
    assert raw.count(b"\n") == 4
    assert not {0, 0x0D} & {*raw}


@pytest.mark.parametrize(
    "hostile", ["\n", "\r", "\r\n", "\n\nevent: complete\ndata: {}\n\n", "\nid: 9\n", "\0", "\u2028", "\x85", "\udc80", "é" * 9]
)
def test_an_event_with_a_hostile_text_is_one_event(hostile: str) -> None:
    found = Decoder().feed(frame("output", {"data": hostile}, "1-2") * 2)
    assert [each.kind for each in found] == ["output", "output"]
    assert {each.id for each in found} == {"1-2"}
    assert {each.data for each in found} == {to_json({"data": hostile})}


# what is held for all who listen


@given(st.lists(st.integers(1, 4), max_size=12), st.integers(0, 30))
def test_whoever_follows_a_feed_from_anywhere_gets_each_line_once_or_is_told_where_it_begins(sizes: list[int], start: int) -> None:
    feed = Feed(lambda: None)
    feed.begin((10,))
    at = 10
    for size in sizes:
        lines = [(Event(seq=n, at=None, kind="", subject="", actor="", data={}, hash=""), b"%d," % n) for n in range(at + 1, at + size + 1)]  # type: ignore[arg-type]
        feed.come(Batch((at,), (at + size,), lines))
        at += size
    begin = min(start, at)
    found, now, held = feed.after((begin,), View())
    if held:
        assert [int(n) for n in found.split(b",")[:-1]] == list(range(begin + 1, now[0] + 1))
        assert now[0] > begin or now == feed.head
    else:
        assert found == b""
        assert begin < now[0] <= at


# the journal


def test_a_line_of_the_journal_is_told_while_it_is_written_as_events_prints_it(server: Server, services: Services, rdev: Rdev) -> None:
    listener = server.listen("/events/stream")
    first = next(iter(listener))
    assert (first.kind, first.json) == ("connected", {"project": "", "reconnecting": False, "stream_id": "journal"})
    assert listener.headers["content-type"].startswith("text/event-stream")
    assert listener.headers["cache-control"] == "no-store"
    assert listener.retry
    append(services, 3)
    told = live(listener, 3)
    assert "\n".join(each.data for each in told) == rdev("events", "-o", "jsonl").stdout.decode().strip()
    assert [each.id for each in told] == ["1", "2", "3"]


def test_whoever_comes_again_at_any_line_gets_what_follows_once(server: Server, services: Services) -> None:
    append(services, 1200)  # more than a page, from before the server looked
    with contextlib.closing(server.listen("/events/stream", last="0")) as early:
        assert numbers(live(early, 1200)) == list(range(1200))
        append(services, 30, first=1200)
        assert numbers(live(early, 30)) == list(range(1200, 1230))
        for last in [0, 1, 199, 200, 201, 999, 1000, *range(1195, 1230)]:
            with contextlib.closing(server.listen("/events/stream", last=str(last))) as again:
                told = live(again, 1230 - last)
                assert told[0].json["reconnecting"]
                assert numbers(told) == list(range(last, 1230))


def test_lines_that_are_written_while_one_catches_up_are_told_once(server: Server, services: Services) -> None:
    append(services, 2000)
    done = threading.Event()

    def write() -> None:
        for number in range(2000, 2400, 4):
            append(services, 4, first=number)
        services.store.close()
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    with contextlib.closing(server.listen("/events/stream", last="0")) as listener:
        assert numbers(live(listener, 2400)) == list(range(2400))
    writer.join()
    assert done.is_set()


def test_a_place_that_was_pruned_is_reset_to_where_the_journal_begins(server: Server, services: Services) -> None:
    append(services, 10)
    time.sleep(0.01)
    append(services, 5, first=10)
    middle = services.store.events(after=10, limit=1)[0].at
    journal.prune(services, middle)  # leaves what is as old as that, and adds a line of its own
    told = server.listen("/events/stream?after=3").until("event")
    assert [each.kind for each in told] == ["connected", "reset", "event"]
    assert (told[1].json["start"], told[1].id) == ("10", "10")
    assert told[2].json["seq"] == 11


def test_a_place_that_the_journal_has_not_reached_is_reset_to_its_end(server: Server, services: Services) -> None:
    append(services, 2)
    listener = server.listen("/events/stream", last="99")
    told = listener.until("reset")
    assert told[-1].json["start"] == "2"
    append(services, 1, first=2)
    assert numbers(live(listener, 1)) == [2]


@pytest.mark.parametrize("place", ["x", "-1", "1-2", "1" * 30, "1 ", "\u0661", "1-", "0x1"])
def test_a_place_of_no_such_stream_is_refused_in_the_words_of_every_door(server: Server, place: str) -> None:
    from urllib.parse import quote

    told = server.listen(f"/events/stream?after={quote(place)}").problem()
    assert (told["code"], told["context"]["field"]) == ("INVALID", "Last-Event-ID")


def test_a_stream_can_be_about_one_thing(server: Server, services: Services) -> None:
    append(services, 20)
    listener = server.listen("/events/stream?subject=cmd_test000007", last="0")
    assert numbers(live(listener, 1)) == [7]
    append(services, 1, first=7)
    append(services, 1, first=7)
    assert numbers(live(listener, 2)) == [7, 7]


# who may listen


def a_key(services: Services, *projects: str, scopes: tuple[Scope, ...] = (Scope.AUDIT_READ, Scope.PROJECTS_READ), **more: Any) -> Any:
    return keys.create(services, KeySpec(name="ci", scopes=scopes, projects=projects, **more))


def test_a_key_of_some_projects_is_told_of_no_others(server: Server, services: Services) -> None:
    key = a_key(services, "shop").key
    start_ = events.last(services)
    append(services, 3, project="shop")
    append(services, 300, first=100, project="other")
    append(services, 2, first=500, project="shop")
    listener = server.listen("/events/stream", key=key, last=str(start_))
    assert numbers(live(listener, 5)) == [0, 1, 2, 500, 501]
    append(services, 2, first=600, project="other")
    append(services, 1, first=700, project="")
    append(services, 1, first=701, project="shop")
    assert numbers(live(listener, 1)) == [701]


def test_a_key_without_the_scope_or_the_project_gets_no_stream(server: Server, services: Services, rdev: Rdev, project: str) -> None:
    reader = a_key(services, scopes=(Scope.PROJECTS_READ,)).key
    other = a_key(services, "other").key
    assert server.listen("/events/stream", key=reader).problem()["code"] == "FORBIDDEN"
    assert server.listen("/projects/shop/events", key=other).problem()["code"] == "NOT_FOUND"
    id = json.loads(rdev("exec", "shop", "-o", "json", "--", "true").stdout)["id"]
    assert server.listen(f"/commands/{id}/events", key=other).problem()["code"] == "NOT_FOUND"
    assert server.listen(f"/projects/shop/events?stream_id={id}", key=other).problem()["code"] == "NOT_FOUND"
    assert server.listen(f"/commands/{id}/events", key=reader).until("complete")


def test_a_key_that_is_revoked_or_expires_ends_its_streams_within_five_seconds(server: Server, services: Services) -> None:
    revoked, expiring = a_key(services), a_key(services, expires_seconds=3600)
    stays = server.listen("/events/stream").head()
    listeners = [server.listen("/events/stream", key=each.key) for each in (revoked, expiring)]
    for each in listeners:
        each.until("connected")
    with services.store.transaction() as tx:
        tx.revoke_key(revoked.id, services.clock.now())
        tx._connection.execute(
            "update keys set expires_at = ? where id = ?", [(services.clock.now() - timedelta(seconds=1)).isoformat(), expiring.id]
        )
    began = time.monotonic()
    assert [[*each][-1].json["error"]["code"] for each in listeners] == ["KEY_REVOKED", "KEY_EXPIRED"]
    assert time.monotonic() - began < 5
    assert all(each.whole for each in listeners)
    append(services, 1)
    assert numbers(live(stays, 1)) == [0]


def test_a_key_has_so_many_streams_and_another_key_its_own(start: Start, services: Services) -> None:
    server, key = start("--per-key", "2"), a_key(services).key
    held = [server.listen("/events/stream", key=key).head() for _ in range(2)]
    third = server.listen("/events/stream", key=key)
    assert third.problem()["code"] == "TOO_MANY_REQUESTS"
    assert third.status == 429
    assert server.listen("/events/stream").head().status == 200
    held[0].close()
    server.wait("active", 2)
    assert server.listen("/events/stream", key=key).head().status == 200


# a command


def output(told: list[Told], stream: str) -> bytes:
    shown = [each.json for each in told if each.kind == "output" and each.json["stream"] == stream]
    return b"".join(base64.b64decode(each["data_b64"]) if "data_b64" in each else each["data"].encode() for each in shown)


HOSTILE = b"a\nb\r\nc\rdata: x\nevent: complete\nid: 9\n\n\0\xe2\x80\xa8\xff\xfe" + "é€𝄞".encode() * 50_000 + b"\xe2\x82"


def test_a_commands_output_is_told_byte_for_byte_and_then_its_end(server: Server, services: Services, rdev: Rdev, project: str) -> None:
    ran = rdev("exec", project, "-i", "-o", "json", "--", "sh", "-c", "cat; echo words >&2; exit 3", input=HOSTILE)
    id = json.loads(ran.stdout)["id"]
    told = [*server.listen(f"/commands/{id}/events")]
    assert [told[0].kind, told[-1].kind] == ["connected", "complete"]
    assert told[0].json == {"project": project, "stream_id": id, "reconnecting": False}
    assert output(told, "stdout") == HOSTILE
    assert output(told, "stderr") == b"words\n"
    end = told[-1].json
    assert (end["exit_code"], end["state"]) == (3, "failed")
    assert end["duration_ms"] >= 0
    assert told[-1].id == f"{len(HOSTILE)}-6"
    assert {json.dumps(each.json) for each in told[1:-1]} >= {json.dumps(each.json) for each in told if each.kind == "output"}
    whole = [each.json for each in told if each.kind == "output" and "data" in each.json]
    assert whole
    for last in {each.id for each in told}:
        again = [*server.listen(f"/commands/{id}/events", last=last)]
        out, err = map(int, last.split("-"))
        assert (output(again, "stdout"), output(again, "stderr")) == (HOSTILE[out:], b"words\n"[err:])


def test_a_commands_text_is_never_split_within_a_character(server: Server, rdev: Rdev, project: str) -> None:
    ran = rdev("exec", project, "-o", "json", "--", "sh", "-c", "i=0; while [ $i -lt 40000 ]; do printf 'x€€'; i=$((i+1)); done")
    id = json.loads(ran.stdout)["id"]
    told = [*server.listen(f"/commands/{id}/events")]
    assert all("data" in each.json for each in told if each.kind == "output")
    assert output(told, "stdout") == "x€€".encode() * 40000


def test_a_command_is_followed_while_it_runs_by_many(server: Server, spawn: Spawn, rdev: Rdev, project: str) -> None:
    spawn("exec", project, "--", "sh", "-c", "echo one; while [ ! -e go ]; do sleep 0.05; done; echo two; exit 4")
    id = ""
    while not id:
        items = json.loads(rdev("command", "list", "--running", "-o", "json").stdout)["items"]
        id = items[0]["id"] if items else ""
    listeners = [server.listen(f"/commands/{id}/events").head() for _ in range(10)]
    first = [each.until("output") for each in listeners]
    assert {output(each, "stdout") for each in first} == {b"one\n"}
    assert server.counts()["readers"] == 1
    late = server.listen(f"/projects/{project}/events?stream_id={id}", last="4-0").head()
    rdev("exec", project, "--", "touch", "go")
    for each in [*listeners, late]:
        rest = [*each]
        assert output(rest, "stdout") == b"two\n"
        assert (rest[-1].kind, rest[-1].json["exit_code"]) == ("complete", 4)
        assert each.whole
    server.wait("readers", 0)
    server.wait("active", 0)


def test_a_place_that_a_command_never_reached_is_not_found(server: Server, rdev: Rdev, project: str) -> None:
    id = json.loads(rdev("exec", project, "-o", "json", "--", "echo", "one").stdout)["id"]
    assert server.listen(f"/commands/{id}/events", last="5-0").problem()["code"] == "NOT_FOUND"
    assert server.listen(f"/commands/{id}/events", last="4").problem()["code"] == "INVALID"
    assert server.listen(f"/commands/{id[:-1]}/events").problem()["code"] == "NOT_FOUND"
    assert [each.kind for each in server.listen(f"/commands/{id}/events", last="4-0")] == ["connected", "complete"]


def test_output_that_is_gone_is_said_to_be(server: Server, services: Services, rdev: Rdev, project: str) -> None:
    id = json.loads(rdev("exec", project, "-o", "json", "--", "echo", "one").stdout)["id"]
    services.spool.drop(id)
    told = [*server.listen(f"/commands/{id}/events")]
    assert [each.kind for each in told] == ["connected", "reset", "complete"]
    assert told[1].json["start"] == "4-0"


def test_a_stream_whose_project_goes_ends_with_an_error(server: Server, spawn: Spawn, rdev: Rdev, project: str) -> None:
    spawn("exec", project, "--", "sh", "-c", "echo one; sleep 600")
    id = ""
    while not id:
        items = json.loads(rdev("command", "list", "--running", "-o", "json").stdout)["items"]
        id = items[0]["id"] if items else ""
    listener = server.listen(f"/commands/{id}/events")
    listener.until("output")
    assert rdev("project", "delete", project, "--yes").returncode == 0
    assert [*listener][-1].kind in ("complete", "error")
    assert listener.whole


# who reads, who does not, and the server's end


def test_a_heart_beats_where_nothing_happens_and_says_where_one_is(start: Start, services: Services) -> None:
    server, key = start("--beat", "0.6"), a_key(services, "shop").key
    listener = server.listen("/events/stream", key=key)
    listener.until("connected")
    append(services, 5, project="other")
    told = listener.until("heartbeat")
    while told[-1].id != str(events.last(services)):
        told = listener.until("heartbeat")
    assert told[-1].json["timestamp"]
    assert {each.kind for each in told} == {"heartbeat"}


def test_whoever_reads_nothing_is_dropped_and_harms_nobody(start: Start, services: Services) -> None:
    server = start("--stall", "4")
    stalled = [server.listen("/events/stream", receive=4096) for _ in range(200)]
    healthy = [server.listen("/events/stream") for _ in range(20)]
    server.wait("active", 220)
    for each in healthy:
        each.until("connected")
    before = server.counts()
    late: list[float] = []
    for turn in range(200):
        sent = time.monotonic()
        append(services, 20, first=turn * 20, size=2000)
        for each in healthy:
            assert numbers(live(each, 20)) == list(range(turn * 20, turn * 20 + 20))
            late.append(time.monotonic() - sent)
        if server.counts()["active"] == 20:
            break
    else:
        raise AssertionError("those who read nothing are still there")
    assert sorted(late)[int(len(late) * 0.9)] < 2  # a loaded machine is slow; one that waits for the stalled would take their 4 seconds
    after = server.counts()
    assert after["rss"] - before["rss"] <= 32 << 10
    assert after["fds"] <= before["fds"] - 190  # a thread more may have opened the state
    for each in stalled:
        each.close()


def test_connections_that_come_and_go_leave_nothing_behind(server: Server, services: Services) -> None:
    server.listen("/events/stream").head().close()
    server.wait("active", 0)
    before = server.counts()
    for turn in range(200):
        listener = server.listen("/events/stream").head()
        if turn % 2:
            listener.fd.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # gone by RST
        listener.close()
    server.wait("active", 0)
    server.wait("readers", 0)
    assert server.counts()["fds"] <= before["fds"] + 4
    assert server.counts()["opened"] == before["opened"] + 200


def test_clients_go_on_at_another_server_when_theirs_stops_and_lose_nothing(start: Start, services: Services) -> None:
    first, second = start(), start()
    listeners = [first.listen("/events/stream") for _ in range(50)]
    for each in listeners:
        each.until("connected")
    append(services, 10)
    got = [numbers(live(each, 7)) for each in listeners]
    began = time.monotonic()
    first.terminate()
    for mine, each in zip(got, listeners, strict=True):
        rest = [*each]
        mine += numbers(rest)
        assert (rest[-1].kind, rest[-1].json["error"]["code"]) == ("end", "SHUTTING_DOWN")
        assert each.whole
        assert each.retry >= 2000
    assert first.close() in (0, -15)  # by the signal that it was sent, or by itself
    assert time.monotonic() - began < 8
    append(services, 10, first=10)
    for mine, each in zip(got, listeners, strict=True):
        again = second.listen("/events/stream", last=each.id)
        assert mine + numbers(live(again, 20 - len(mine))) == list(range(20))
        again.close()


def test_an_operation_is_followed_to_its_end(server: Server, services: Services) -> None:
    from rdev_cli.ops import jobs

    job = jobs.submit(services, "project.create", {"project": "shop", "name": "shop"})
    listener = server.listen(f"/operations/{job.id}/events")
    assert listener.until("connected")[0].json["stream_id"] == job.id
    assert jobs.run_one(services, services.acting)
    told = [*listener]
    assert (told[-1].kind, told[-1].json["state"]) == ("complete", "done")
    assert listener.whole
