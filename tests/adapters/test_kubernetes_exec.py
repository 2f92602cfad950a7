"""Exec at the level of its socket: bytes exact, and no end that nobody told. T-EXEC-1, 2, 4, 12, 13, 15."""

import json
import random
import socket as sockets
import struct
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from websocket import ABNF

from rdev_cli.adapters.kubernetes import socket
from rdev_cli.adapters.kubernetes.api import Api
from rdev_cli.adapters.kubernetes.selector import Selector
from rdev_cli.adapters.kubernetes.socket import Broken, Closed, Exec, Status
from rdev_cli.domain.errors import Denied, NotFound, RdevError, Unavailable
from tests.support.apiserver import HANG, HTML, RESET, STATUS, STDERR, STDIN, STDOUT, SUCCESS, ApiServer, Session, status, tear


def run(api: Api, *argv: str, stdin: bool = False) -> Exec:
    return api.exec("rdev", "a", "box", argv or ("true",), stdin=stdin)


def drain(streams: Exec, seconds: float = 20) -> dict[int, bytes]:
    """Read to the end."""
    got = {1: bytearray(), 2: bytearray()}
    end = time.monotonic() + seconds
    try:
        while time.monotonic() < end:
            found = streams.read(1)
            if found is not None:
                got[found[0]] += found[1]
    except Closed:
        return {channel: bytes(data) for channel, data in got.items()}
    raise AssertionError("it does not end")


def script(*messages: tuple[int, bytes], close: bool = True) -> Callable[[Session], None]:
    def play(session: Session) -> None:
        for channel, data in messages:
            session.send(channel, data)
        if close:
            session.frame(ABNF.OPCODE_CLOSE, struct.pack("!H", 1000))

    return play


def failure(reason: str = "NonZeroExitCode", causes: Any = None, **more: Any) -> bytes:
    details = {"details": {"causes": causes}} if causes is not None else {}
    return json.dumps({"status": "Failure", "reason": reason, "message": "m", **details, **more}).encode()


def test_a_command_is_run_with_its_streams_apart_and_its_code(api: Api, server: ApiServer) -> None:
    streams = run(api, "sh", "-c", "echo out; echo err >&2; exit 3")
    assert drain(streams) == {1: b"out\n", 2: b"err\n"}
    assert streams.status == Status(code=3, reason="exit 3")
    asked = server.asked[-1]
    assert asked.query["command"] == ["sh", "-c", "echo out; echo err >&2; exit 3"]
    assert asked.query["stdin"] == ["false"]
    with pytest.raises(Closed):
        streams.read(0)


@pytest.mark.parametrize("seed", range(20))
def test_t_exec_1_random_bytes_in_random_frames_come_exactly_and_in_order(api: Api, server: ApiServer, seed: int) -> None:
    rng = random.Random(seed)
    sent = {STDOUT: bytearray(), STDERR: bytearray()}

    def play(session: Session) -> None:
        for _ in range(rng.randrange(1, 60)):
            channel, data = rng.choice((STDOUT, STDERR)), rng.randbytes(rng.choice((0, 1, 125, 126, 5000, 70_000)))
            sent[channel] += data
            if rng.random() < 0.3:  # one message in several frames, with a ping between them
                at = rng.randrange(len(data) + 1)
                session.frame(ABNF.OPCODE_BINARY, bytes([channel]) + data[:at], fin=0)
                session.frame(ABNF.OPCODE_PING, b"?")
                session.frame(ABNF.OPCODE_CONT, data[at:])
            else:
                session.send(channel, data)
        session.exit(7)

    server.exec = play
    streams = run(api)
    assert drain(streams) == {1: bytes(sent[STDOUT]), 2: bytes(sent[STDERR])}
    assert streams.status == Status(code=7, reason="exit 7")


def test_t_exec_2_a_cut_at_any_byte_is_never_an_end_that_is_known(api: Api, server: ApiServer) -> None:
    parts = [b"one", b"", b"x" * 300, "zwölf".encode()]

    def play(session: Session) -> None:
        for part in parts:
            session.send(STDOUT, part)
        session.send(STDERR, b"e")
        session.exit(0)

    server.exec = play
    whole = b"".join(parts)
    total = sum(len(p) + 1 + (4 if len(p) > 124 else 2) for p in parts) + 4 + 3 + len(SUCCESS) + 4  # head, channel, bytes; the close
    status_ends = total - 4
    for at in range(total):
        server.cut_at = at
        streams = run(api)
        got = drain(streams)
        assert whole.startswith(got[1]), at
        if at < status_ends:
            assert streams.status is None, at
        else:
            assert (streams.status, got) == (Status(code=0), {1: whole, 2: b"e"}), at
    server.cut_at = -1
    streams = run(api)
    assert drain(streams) == {1: whole, 2: b"e"}
    assert streams.status == Status(code=0)


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        (SUCCESS, 0),
        (failure(causes=[{"reason": "ExitCode", "message": "137"}]), 137),
        (failure(causes=[{"reason": "ExitCode", "message": "1"}, {"reason": "Other", "message": "x"}]), 1),
        (b"not json", None),
        (b"{}", None),
        (b"[]", None),
        (b"null", None),
        (b'"Success"', None),
        (b"\xff\xfe", None),
        (failure(), None),
        (failure(causes=[]), None),
        (failure(causes={}), None),
        (failure(causes=[{"reason": "ExitCode", "message": "x"}]), None),
        (failure(causes=[{"reason": "ExitCode", "message": "-1"}]), None),
        (failure(causes=[{"reason": "ExitCode", "message": ""}]), None),
        (failure(causes=[{"reason": "ExitCode", "message": "²"}]), None),
        (failure(causes=[{"reason": "ExitCode", "message": 3}]), None),
        (failure(causes=[{"reason": "ExitCode"}]), None),
        (failure(causes=[{"reason": "ExitCode", "message": "1"}, {"reason": "ExitCode", "message": "2"}]), None),
        (failure("InternalError", causes=[{"reason": "ExitCode", "message": "0"}]), None),
        (b'{"status":"Success"', None),
        (b'{"status":"success"}', None),
    ],
)
def test_t_exec_4_only_an_explicit_word_is_a_code(api: Api, server: ApiServer, word: bytes, expected: int | None) -> None:
    server.exec = script((STDOUT, b"x"), (STATUS, word))
    streams = run(api)
    assert drain(streams)[1] == b"x"
    assert streams.status is not None
    assert streams.status.code == expected


def test_t_exec_4_no_word_or_an_empty_one_is_no_end(api: Api, server: ApiServer) -> None:
    for messages in ([(STDOUT, b"x")], [(STDOUT, b"x"), (STATUS, b"")]):
        server.exec = script(*messages)
        streams = run(api)
        assert drain(streams)[1] == b"x"
        assert streams.status is None
        assert streams.why


def test_t_exec_4_a_word_in_two_frames_is_one_word(api: Api, server: ApiServer) -> None:
    server.exec = script((STATUS, SUCCESS[:9]), (STATUS, SUCCESS[9:]))
    streams = run(api)
    drain(streams)
    assert streams.status == Status(code=0)


def test_what_is_there_already_is_given_at_once_and_each_stream_in_its_order(api: Api, server: ApiServer) -> None:
    sent = [(STDOUT, b"a"), (STDOUT, b"b"), (STDERR, b"c"), (STDERR, b""), (STDERR, b"d"), (STDOUT, b"e")]

    def play(session: Session) -> None:
        session.raw(b"".join(bytes([0x82, len(data) + 1, channel]) + data for channel, data in sent))
        session.raw(bytes([0x82, 1 + 1, STDOUT]))  # of the next frame, its data comes later
        session.receive()
        session.raw(b"f")
        session.exit(0)

    server.exec = play
    streams = run(api)
    assert [streams.read(10) for _ in range(3)] == [(1, b"ab"), (2, b"cd"), (1, b"e")]
    assert streams.read(0.05) is None
    streams.resize(1, 1)  # what the server waits for
    assert drain(streams)[1] == b"f"
    assert streams.status == Status(code=0)


def test_what_comes_after_the_word_is_still_output(api: Api, server: ApiServer) -> None:
    server.exec = script((STATUS, SUCCESS), (STDOUT, b"late"))
    streams = run(api)
    assert drain(streams)[1] == b"late"
    assert streams.status == Status(code=0)


def test_a_server_that_does_not_close_after_its_word_is_not_waited_for(
    api: Api, server: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "_AFTER", 0.2)

    def play(session: Session) -> None:
        session.send(STATUS, SUCCESS)
        session.receive()

    server.exec = play
    streams = run(api)
    drain(streams, 10)
    assert streams.status == Status(code=0)


@pytest.mark.parametrize(
    "bad",
    [
        b"\x83\x00",
        b"\xf2\x01x",
        b"\x82\xff" + b"\xff" * 8,
        b"\x82\x7f" + struct.pack("!Q", 1 << 40),
        b"\x72" + b"HTTP/1.1 400\r\n" * 9,
        b"\x88\x01x",
    ],
    ids=["opcode", "reserved", "length", "huge", "text", "close"],
)
def test_what_is_no_frame_ends_the_stream_with_nothing_known(api: Api, server: ApiServer, bad: bytes) -> None:
    def play(session: Session) -> None:
        session.send(STDOUT, b"before")
        session.raw(bad)
        session.receive()

    server.exec = play
    streams = run(api)
    assert drain(streams, 10)[1] == b"before"
    assert streams.status is None


def test_a_message_of_no_known_channel_is_left_out(api: Api, server: ApiServer) -> None:
    def play(session: Session) -> None:
        session.frame(ABNF.OPCODE_BINARY, b"")
        session.send(9, b"what")
        session.send(255, b"\x01")
        session.send(STDOUT, b"x")
        session.exit(0)

    server.exec = play
    assert drain(run(api)) == {1: b"x", 2: b""}


def test_t_exec_12_stdin_arrives_whole_and_its_end_too(api: Api) -> None:
    data = random.Random(2).randbytes(3_000_000)
    streams = run(api, "cat", stdin=True)
    got = bytearray()
    reader = threading.Thread(target=lambda: got.extend(drain(streams, 60)[1]))
    reader.start()
    streams.send(data)
    assert streams.end()
    reader.join()
    assert bytes(got) == data
    assert streams.status == Status(code=0)


def test_t_exec_12_an_older_server_has_no_word_for_the_end_of_stdin(api: Api, server: ApiServer) -> None:
    server.protocols = ["v4.channel.k8s.io"]
    streams = run(api, "head", "-c", "3", stdin=True)
    assert streams.protocol == "v4.channel.k8s.io"
    assert not streams.end()
    streams.send(b"abc")
    assert drain(streams)[1] == b"abc"


def test_a_terminal_is_told_its_size_and_has_one_stream(api: Api, server: ApiServer) -> None:
    told: list[Any] = []

    def play(session: Session) -> None:
        told.append(session.receive())
        session.exit(0)

    server.exec = play
    streams = api.exec("rdev", "a", "box", ["sh"], stdin=True, terminal=True)
    streams.resize(24, 80)
    drain(streams)
    ((channel, size),) = told
    assert (channel, json.loads(size)) == (4, {"Width": 80, "Height": 24})
    query = server.asked[-1].query
    assert (query["tty"], query["stderr"], query["stdin"]) == (["true"], ["false"], ["true"])


def test_sending_into_a_broken_connection_says_so(api: Api, server: ApiServer) -> None:
    def play(session: Session) -> None:
        session.receive()
        tear(session._connection)

    server.exec = play
    streams = run(api, stdin=True)
    with pytest.raises(Broken):
        streams.send(b"x" * 100_000_000)
    assert drain(streams) == {1: b"", 2: b""}
    assert streams.status is None


def test_a_reader_that_waits_is_woken_when_another_thread_closes(api: Api, server: ApiServer) -> None:
    server.exec = lambda session: session.receive()
    streams = run(api)
    threading.Timer(0.2, streams.close).start()
    began = time.monotonic()
    with pytest.raises(Closed):
        streams.read(30)
    assert time.monotonic() - began < 10
    streams.close()


def test_silence_gives_none_and_loses_nothing(api: Api, server: ApiServer) -> None:
    go = threading.Event()

    def play(session: Session) -> None:
        message = ABNF(1, 0, 0, 0, ABNF.OPCODE_BINARY, 0, b"\x01hello").format()
        session.raw(message[:3])
        go.wait(10)
        session.raw(message[3:])
        session.exit(0)

    server.exec = play
    streams = run(api)
    assert streams.read(0.1) is None
    assert streams.read(0) is None
    go.set()
    assert drain(streams)[1] == b"hello"


def test_t_exec_13_a_silent_connection_is_kept_alive(api: Api, server: ApiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "PING", 0.5)

    def play(session: Session) -> None:
        end = time.monotonic() + 20
        while session.pings < 3 and time.monotonic() < end:
            session._connection.settimeout(20)
            frame = session._frames.recv_frame()
            session.pings += 1
            session.frame(ABNF.OPCODE_PONG, frame.data)
        session.exit(0)

    server.exec = play
    streams = run(api)
    drain(streams)
    assert streams.status == Status(code=0)
    assert server.execs[-1].pings == 3


def test_t_exec_13_a_connection_without_a_sign_of_life_is_broken(api: Api, server: ApiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "PING", 0.1)
    server.exec = lambda _session: server.closing.wait(30)
    streams = run(api)
    began = time.monotonic()
    drain(streams, 10)
    assert streams.status is None
    assert "no sign of life" in streams.why
    assert time.monotonic() - began >= 0.2


def test_t_exec_13_a_server_that_waits_for_a_command_to_read_is_not_taken_for_dead(
    api: Api, server: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "PING", 0.05)
    go = threading.Event()

    def play(session: Session) -> None:
        go.wait(20)  # reads nothing, as long as the command does not
        count = 0
        while count < 200_000 and (message := session.receive()) is not None:
            count += len(message[1])
        session.send(STDOUT, str(count).encode())
        session.exit(0)

    server.exec = play
    streams = run(api, stdin=True)
    writer = threading.Thread(target=streams.send, args=(b"x" * 200_000,))
    writer.start()
    writer.join()  # the buffers on the way take that much
    assert streams.read(1) is None
    go.set()
    assert drain(streams)[1] == b"200000"


def test_t_exec_13_a_server_that_took_all_of_stdin_and_then_falls_silent_is_gone(
    api: Api, server: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "PING", 0.1)

    def play(session: Session) -> None:
        while session.pings == 0:  # it answers one, behind all of stdin
            session._connection.settimeout(20)
            frame = session._frames.recv_frame()
            if frame.opcode == ABNF.OPCODE_PING:
                session.pings += 1
                session.frame(ABNF.OPCODE_PONG, frame.data)
        server.closing.wait(30)

    server.exec = play
    streams = run(api, stdin=True)
    streams.send(b"x" * 200_000)
    drain(streams, 10)
    assert "no sign of life" in streams.why


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (status(404, reason="NotFound"), NotFound),
        (status(403, message='User "x" cannot create resource "pods/exec"'), Denied),
        (status(500, message="error dialing backend"), Unavailable),
        (HTML, Unavailable),
        (RESET, Unavailable),
    ],
    ids=["404", "403", "500", "html", "reset"],
)
def test_a_start_that_fails_is_an_error_and_is_not_tried_again(api: Api, server: ApiServer, fault: Any, kind: type[RdevError]) -> None:
    server.trouble(fault)
    with pytest.raises(kind):
        run(api)
    assert len(server.asked) == 1


def test_a_start_that_nobody_answers_may_have_happened(api: Api, server: ApiServer) -> None:
    server.trouble(HANG)
    with pytest.raises(Unavailable, match="in time") as lost:
        api.exec("rdev", "a", "box", ["true"], timeout=0.3)
    assert lost.value.context["sent"] is True


def test_a_start_that_was_turned_away_is_tried_again(api: Api, server: ApiServer) -> None:
    server.trouble(status(429), status(503, after="0"))
    assert drain(run(api, "echo", "x"))[1] == b"x\n"


@pytest.mark.parametrize(
    ("said", "verb"),
    [
        ('User "x" cannot create resource "pods/exec"', "create"),
        ('User "x" cannot get resource "pods/exec"', "get"),
        ('pods "shop" is forbidden: ', "create"),  # newer servers, when only the right to get is there
    ],
)
def test_a_missing_right_to_exec_is_named_as_rights_are(api: Api, server: ApiServer, said: str, verb: str) -> None:
    server.trouble(status(403, message=said))
    with pytest.raises(Denied) as refused:
        run(api)
    assert (refused.value.code, refused.value.context["verb"], refused.value.context["resource"]) == ("FORBIDDEN", verb, "pods/exec")


@pytest.mark.parametrize("protocols", [["v5.channel.k8s.io, v4"], [""], ["v1.channel.k8s.io"]])
def test_an_agreement_on_nothing_that_was_offered_is_refused(api: Api, server: ApiServer, protocols: list[str]) -> None:
    server.protocols = protocols
    with pytest.raises(Unavailable, match="something else"):
        run(api)


def test_t_exec_15_many_execs_lists_and_watches_at_once_do_not_cross(api: Api, server: ApiServer) -> None:
    """Each output carries its own number."""
    path, ours = "/api/v1/namespaces/rdev/pods", Selector({"a": "b"})
    server.put(f"{path}/x", {"kind": "Pod", "metadata": {"name": "x", "labels": {"a": "b"}}})
    wrong: list[object] = []

    def play(session: Session) -> None:
        for _ in range(20):
            session.send(STDOUT, session.argv[0].encode() * 50)
        session.exit(int(session.argv[0]) % 256)

    server.exec = play

    def one(number: int) -> None:
        try:
            streams = run(api, str(number))
            if drain(streams, 60)[1] != str(number).encode() * 1000 or streams.status is None or streams.status.code != number % 256:
                wrong.append(number)
            if [item["metadata"]["name"] for item in api.list(path, ours).items] != ["x"]:
                wrong.append("list")
            if [kind for kind, _ in api.watch(path, selector=ours, timeout=0.2)] != ["ADDED"]:
                wrong.append("watch")
        except Exception as e:  # noqa: BLE001 -- of a thread
            wrong.append(e)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(1000, 1060)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_the_socket_does_not_wait_for_small_messages_to_gather(api: Api, server: ApiServer) -> None:
    server.exec = lambda session: session.receive()
    streams = run(api)
    assert streams._wire._sock.getsockopt(sockets.IPPROTO_TCP, sockets.TCP_NODELAY)
    assert streams._wire._sock.getsockopt(sockets.SOL_SOCKET, sockets.SO_KEEPALIVE)
    streams.close()


def test_stdin_is_sent_in_pieces_that_a_server_takes(api: Api, server: ApiServer) -> None:
    sizes: list[int] = []

    def play(session: Session) -> None:
        while sum(sizes) < 100_000 and (message := session.receive()) is not None:
            assert message[0] == STDIN
            sizes.append(len(message[1]))
        session.exit(0)

    server.exec = play
    streams = run(api, stdin=True)
    streams.send(b"x" * 100_000)
    drain(streams)
    assert max(sizes) <= 32 << 10
