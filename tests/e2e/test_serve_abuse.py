"""Whoever speaks to a server badly, slowly, or in another's name: raw bytes, on the real process. T-HTTP-1, T-REB-1, T-REB-2."""

import gzip
import json
import re
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from tests.support.serving import ADMIN, Server, drained, start, status

Spawn = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def server(spawn: Spawn) -> Iterator[Server]:
    """A server that still serves when the test is over, had no fault of its own, and ends."""
    one = start(spawn, "--rate", "100000/min", "--max-body", "64Ki")
    yield one
    assert one.ask("GET", "/projects")[0] == 200
    assert one.stop() == 0
    said = one.said()
    assert "Traceback" not in said
    assert "INTERNAL" not in said
    assert not re.search(r"status=5", said)


def code(answer: bytes) -> str:
    """The code of a raw answer's error."""
    found: str = json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"]
    return found


def get(path: str, *headers: str) -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", *headers, f"x-api-key: {ADMIN}", "connection: close", "", ""]).encode()


ROUTES = ("/health", "/ready", "/metrics", "/openapi.json", "/docs", "/projects", "/commands/cmd_1", "/events", "/nowhere", "/")


def test_t_reb_1_every_route_asks_for_whom_the_request_is_before_anything_else(server: Server) -> None:
    for path in ROUTES:
        for host in ("evil.com", f"evil.com:{server.port}", f"127.0.0.1.evil.com:{server.port}", "127.0.0.1:0", "x/admin?"):
            answer = server.raw(get(path, f"host: {host}"))
            assert (status(answer), code(answer)) == (421, "MISDIRECTED"), (path, host)
        keyless = server.raw(f"GET {path} HTTP/1.1\r\nhost: evil.com\r\nconnection: close\r\n\r\n".encode())
        assert status(keyless) == 421
        alien = server.raw(get(path, f"host: 127.0.0.1:{server.port}", "origin: http://evil.com"))
        assert (status(alien), code(alien)) == (403, "FOREIGN_ORIGIN"), path
        assert b"access-control" not in alien.lower()


def test_t_reb_1_a_request_has_one_host_and_a_path(server: Server) -> None:
    own = f"127.0.0.1:{server.port}"
    assert status(server.raw(get("/health", f"host: {own}"))) == 200
    assert status(server.raw(get("/health", f"Host: LOCALHOST:{server.port}"))) == 200
    assert status(server.raw(get("/health", f"host: {own}", "host: evil.com"))) == 400
    assert status(server.raw(get("/health", f"host: {own}", f"host: {own}"))) == 400
    assert status(server.raw(get("/health"))) == 400
    assert status(server.raw(b"GET /health HTTP/1.0\r\n\r\n")) == 421
    for target in (f"http://{own}/health", "http://evil.com/health", "evil.com:80", "*", "health"):
        assert status(server.raw(get(target, f"host: {own}"))) == 421, target
    assert status(server.raw(get("//evil.com/health", f"host: {own}"))) == 404


def test_t_reb_2_a_host_changes_no_route_and_no_scope(server: Server) -> None:
    for host in (f"127.0.0.1:{server.port}/health?", f"127.0.0.1:{server.port}#", f"127.0.0.1:{server.port}\t", "health@127.0.0.1"):
        answer = server.raw(f"GET /projects HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n".encode())
        assert status(answer) in (400, 401, 421), host


def post(server: Server, *headers: str, body: bytes = b"") -> bytes:
    head = ["POST /projects HTTP/1.1", f"host: 127.0.0.1:{server.port}", f"x-api-key: {ADMIN}", "connection: close", *headers, "", ""]
    return "\r\n".join(head).encode() + body


@pytest.mark.parametrize(
    ("headers", "body", "expected"),
    [
        (("content-length: 2",), b"{}", (422,)),
        (("content-length: 2", "content-length: 3"), b"{}x", (400,)),
        (("content-length: -1",), b"", (400,)),
        (("content-length: 0x2",), b"{}", (400,)),
        (("content-length: +2",), b"{}", (400,)),
        (("content-length: 99999999999999999999999999",), b"", (400, 413)),
        (("content-length: 100000000",), b"", (413,)),
        (("content-length: 2", "transfer-encoding: chunked"), b"2\r\n{}\r\n0\r\n\r\n", (400,)),
        (("transfer-encoding: chunked",), b"2\r\n{}\r\n0\r\n\r\n", (422,)),
        (("transfer-encoding: chunked",), b"zz\r\n{}\r\n0\r\n\r\n", (400,)),
        (("transfer-encoding: chunked",), b"-2\r\n{}\r\n0\r\n\r\n", (400,)),
        (("transfer-encoding: chunked",), b"2;" + b"x" * 70_000 + b"\r\n{}\r\n0\r\n\r\n", (400, 422)),
        (("transfer-encoding: gzip, chunked",), b"0\r\n\r\n", (400, 501)),
        (("transfer-encoding: identity",), b"", (400, 501)),
        (("transfer-encoding: chunked", "transfer-encoding: chunked"), b"0\r\n\r\n", (400, 501)),
        (("content-length: 2", "content-encoding: gzip"), b"{}", (415,)),
        (("content-length : 2",), b"{}", (400,)),
        (("content-length: 2", "x: a\0b"), b"{}", (400,)),
        (("content-length: 2", "x\0: b"), b"{}", (400,)),
        (("content-length: 2", " folded: x"), b"{}", (400, 422)),
        (("x: " + "y" * 1_000_000,), b"", (400,)),
        (tuple(f"x-{n}: y" for n in range(100_000)), b"", (400,)),
        (("expect: 100-continue", "content-length: 100000000"), b"", (413,)),
    ],
)
def test_t_http_1_a_request_that_is_wrong_is_refused(
    server: Server, headers: tuple[str, ...], body: bytes, expected: tuple[int, ...]
) -> None:
    with socket.create_connection((server.host, server.port), timeout=30) as to:
        with suppress(ConnectionError):  # the answer may be there before all of it was sent
            to.sendall(post(server, *headers, body=body))
        assert status(drained(to)) in expected


@pytest.mark.parametrize(
    "line", [b"GET /\r\n\r\n", b"GET\r\n\r\n", b"\0\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00", b"GET / HTTP/9.9\r\n\r\n", b"GET /\0 HTTP/1.1\r\n\r\n", b"x" * 100_000]
)  # fmt: skip
def test_t_http_1_what_is_no_request_is_told_so(server: Server, line: bytes) -> None:
    with socket.create_connection((server.host, server.port), timeout=30) as to:
        with suppress(ConnectionError):
            to.sendall(line)
        to.shutdown(socket.SHUT_WR)
        answer = drained(to)
    assert status(answer) in (0, 400, 421)
    if status(answer) == 400:
        assert code(answer) == "BAD_REQUEST"


def test_t_http_1_a_body_of_100_mb_is_refused_before_it_is_read(server: Server) -> None:
    for headers in (("content-length: 100000000",), ("transfer-encoding: chunked",)):
        with socket.create_connection((server.host, server.port), timeout=30) as to:
            to.sendall(post(server, *headers))
            sent, chunk = 0, b"10000\r\n" + b"x" * 65536 + b"\r\n" if "chunked" in headers[0] else b"x" * 65536
            with suppress(ConnectionError):
                while sent < 100_000_000:
                    to.sendall(chunk)
                    sent += 65536
            assert sent < 60_000_000  # the server cut it off; sockets hold a few MiB
            assert status(drained(to)) in (413, 0)  # a client that does not read while it sends may lose the answer
    with_answer = server.raw(post(server, "content-length: 100000000"))
    assert (status(with_answer), code(with_answer)) == (413, "TOO_LARGE")
    bomb = gzip.compress(b"0" * 10_000_000)
    assert status(server.raw(post(server, f"content-length: {len(bomb)}", "content-encoding: gzip", body=bomb))) == 415
    assert memory(server) < 200 << 20


def memory(server: Server) -> int:
    """The most bytes that the server's process has had in memory."""
    match = re.search(r"VmHWM:\s+([0-9]+) kB", Path(f"/proc/{server.process.pid}/status").read_text())
    return int(match[1]) << 10 if match else 0


def test_t_http_1_many_who_hold_their_request_back_are_let_go_and_hold_up_nobody(server: Server) -> None:
    """Slowloris: connections that send nothing, half a line, half a header, or the next request a byte at a time."""
    beginnings = (b"", b"GET /hea", b"GET /health HTTP/1.1\r\nhost: x", b"GET /health HTTP/1.1\r\nx: y\r\n")
    with ExitStack() as stack:
        held = [stack.enter_context(socket.create_connection((server.host, server.port), timeout=60)) for _ in range(400)]
        began = time.monotonic()
        for number, to in enumerate(held):
            to.sendall(beginnings[number % len(beginnings)])
        took = []
        for _ in range(20):
            asked = time.monotonic()
            assert server.ask("GET", "/projects")[0] == 200
            took.append(time.monotonic() - asked)
        assert sorted(took)[10] < 1
        with suppress(ConnectionError):
            while time.monotonic() - began < 60:
                held[1].sendall(b"x")  # a byte now and then does not help
                held[1].settimeout(0.5)
                with suppress(TimeoutError):
                    assert held[1].recv(1) == b""
                    break
        assert 5 < time.monotonic() - began < 50
        for to in held:
            with suppress(ConnectionError):
                to.settimeout(60)
                assert to.recv(1) == b""  # closed, and told nothing


def test_t_http_1_requests_that_come_at_once_on_one_connection_are_answered_in_order(server: Server) -> None:
    one = f"GET /health HTTP/1.1\r\nhost: 127.0.0.1:{server.port}\r\nx-request-id: n%d\r\n\r\n"
    last = one.replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n")
    answer = server.raw("".join([*(one % n for n in range(20)), last % 20]).encode())
    assert re.findall(rb"x-request-id: n([0-9]+)", answer) == [str(n).encode() for n in range(21)]


def test_a_bodiless_request_is_not_waited_for_and_a_next_one_is(server: Server) -> None:
    with socket.create_connection((server.host, server.port), timeout=60) as to:
        for _ in range(3):
            to.sendall(f"GET /health HTTP/1.1\r\nhost: 127.0.0.1:{server.port}\r\n\r\n".encode())
            answer = b""
            while b'"meta"' not in answer:
                answer += to.recv(65536)
            assert status(answer) == 200
        assert drained(to, 60) == b""  # idle, and closed after a while
