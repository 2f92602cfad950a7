"""The proxy of previews: byte for byte, bounded, held to its hosts, and over when the session is."""

import hashlib
import os
import socket
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from rdev_cli.domain.project import ProjectSpec
from rdev_cli.domain.session import Session, SessionState
from rdev_cli.faces.http import previewing, visits
from rdev_cli.ops import previews, projects
from tests.fakes.world import MemoryWorld
from tests.support.previewing import PORT, Stage, answers, exactly, head, plain, rest

pytestmark = pytest.mark.state
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n"


@pytest.fixture
def world(tmp_path) -> Iterator[MemoryWorld]:
    one = MemoryWorld(tmp_path)
    projects.create(one, ProjectSpec(name="shop"))
    yield one
    one.close()


@pytest.fixture
def stage(world) -> Iterator[Stage]:
    one = Stage(world)
    yield one
    one.close()


def _status(answer: bytes) -> int:
    assert answer.startswith(b"HTTP/1.1 "), answer[:100]
    return int(answer[9:12])


def _upgrade(host: str, *lines: str) -> bytes:
    words = (
        "GET /hmr HTTP/1.1",
        f"Host: {host}",
        "Connection: keep-alive, Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Key: abc",
        *lines,
    )
    return "\r\n".join((*words, "", "")).encode()


# what goes through


def test_bodies_go_both_ways_byte_for_byte(stage):
    body = os.urandom(3 << 20)

    def echo(one: socket.socket) -> None:
        asked = head(one)
        assert b"content-length: %d" % len(body) in asked.lower()
        one.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + exactly(one, len(body)))

    stage.plays(echo)
    with stage.connect() as to:
        threading.Thread(
            target=to.sendall, args=(f"POST / HTTP/1.1\r\nHost: {stage.host}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body,)
        ).start()
        head(to)
        assert hashlib.sha256(exactly(to, len(body))).digest() == hashlib.sha256(body).digest()


def test_chunks_are_cut_anew_and_say_the_same_without_what_was_hidden_in_them(stage):
    got = []

    def program(one: socket.socket) -> None:
        got.append(head(one))
        data = b""
        while not data.endswith(b"0\r\n\r\n"):
            data += one.recv(1000)
        got.append(data)
        one.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4;x=1\r\nback\r\n0\r\nSet-Cookie: a=b\r\n\r\n")

    stage.plays(program)
    found = stage.get(
        "Transfer-Encoding: chunked", method="POST", body=b'5;name="v"\r\nhello\r\n6 \r\n world\r\n0\r\nX-Api-Key: smuggled\r\n\r\n'
    )
    assert b"hello" in got[1]
    assert b" world" in got[1]
    assert b"name" not in got[1]
    assert b"smuggled" not in got[1]
    assert found.endswith(b"\r\n\r\n4\r\nback\r\n0\r\n\r\n")


def test_what_a_program_says_is_seen_while_it_goes_on(stage):
    go_on = threading.Event()

    def program(one: socket.socket) -> None:
        head(one)
        one.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n")
        assert go_on.wait(20)
        one.sendall(b"data: 2\n\n")

    stage.plays(program)
    with stage.connect() as to:
        to.sendall(f"GET / HTTP/1.1\r\nHost: {stage.host}\r\n\r\n".encode())
        assert b"Connection: close" in head(to)  # its end is the body's
        assert exactly(to, 9) == b"data: 1\n\n"
        go_on.set()
        assert rest(to) == b"data: 2\n\n"


def test_one_connection_carries_request_after_request_and_several_at_once_in_order(stage):
    program = stage.plays(answers(plain(b"one")))
    ask = f"GET / HTTP/1.1\r\nHost: {stage.host}\r\n\r\n".encode()
    with stage.connect() as to:
        for _ in range(3):
            to.sendall(ask)
            head(to)
            assert exactly(to, 3) == b"one"
        to.sendall(ask * 5)
        for _ in range(5):
            head(to)
            assert exactly(to, 3) == b"one"
    assert program.taken == 1


@pytest.mark.parametrize(
    ("answer", "method", "found"),
    [
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n", "GET", b"304"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", "GET", b"204"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n", "HEAD", b"Content-Length: 99"),
        (b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", "GET", b"103 Early Hints\r\nLink"),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx", "GET", b"HTTP/1.1 200 OK"),
    ],
)
def test_an_answer_ends_where_it_says(stage, answer, method, found):
    stage.plays(answers(answer))
    with stage.connect() as to:
        for _ in (1, 2):  # the second one would find what the first left unread
            to.sendall(f"{method} / HTTP/1.1\r\nHost: {stage.host}\r\n\r\n".encode())
            got = head(to)
            if b" 103 " in got[:16]:
                got += head(to)
            if b"Content-Length: 1\r\n" in got:
                exactly(to, 1)
            assert found in got


def test_an_old_client_gets_an_old_answer(stage):
    seen = []
    stage.plays(answers(plain(b"x"), seen))
    found = stage.raw(f"GET / HTTP/1.0\r\nHost: {stage.host}\r\n\r\n".encode())
    assert (_status(found), found[-1:]) == (200, b"x")
    assert seen[0].startswith(b"GET / HTTP/1.0\r\n")


def test_a_program_that_let_go_between_two_requests_is_asked_again_but_only_for_what_is_safe(stage):
    def once(one: socket.socket) -> None:
        head(one)
        one.sendall(plain(b"x"))
        head(one)  # it reads the next one, and leaves

    program = stage.plays(once)
    for method, taken in (("GET", 3), ("POST", 1)):
        program.taken = 0
        with stage.connect() as to:
            for wanted in (b"200", b"200", b"200") if method == "GET" else (b"200", b"502"):
                to.sendall(f"{method} / HTTP/1.1\r\nHost: {stage.host}\r\n\r\n".encode())
                got = head(to)
                assert got[9:12] == wanted
                exactly(to, 1)
        assert program.taken == taken


# T-PV-2


def test_t_pv_2_no_program_learns_keys_cookies_of_rdev_or_where_the_visitor_is(stage):
    seen: list[bytes] = []
    stage.plays(answers(plain(b"x"), seen))
    stage.get(
        "Authorization: Bearer canary", "X-API-Key: canary", "Cookie: a=1; rdev_login=canary; __Host-rdev-page=canary; b=2",
        "X-Forwarded-For: 9.9.9.9", "X-Forwarded-Host: canary", "Forwarded: for=canary", "X-Real-IP: 9.9.9.9", "Via: canary",
        "Proxy-Authorization: canary", "X-Hop: canary", "TE: trailers", "Keep-Alive: canary", "Connection: X-Hop, Host, Cookie", "X-Mine: kept",
    )  # fmt: skip
    assert b"canary" not in seen[0]
    assert b"9.9.9.9" not in seen[0]
    assert b"Cookie: a=1;  b=2\r\n" in seen[0] or b"Cookie: a=1; b=2\r\n" in seen[0]
    assert b"X-Mine: kept\r\n" in seen[0]
    assert f"Host: {stage.host}\r\n".encode() in seen[0]  # whatever a Connection header says


def test_t_pv_2_no_answer_binds_the_browser_beyond_its_host(stage):
    lines = (
        b"Set-Cookie: a=1; Path=/; Domain=localhost; HttpOnly", b"Set-Cookie: domain=2; DOMAIN = .localhost", b"Set-Cookie: rdev_login=forged",
        b"Service-Worker-Allowed: /", b"Strict-Transport-Security: max-age=9", b'Clear-Site-Data: "cookies"', b'Alt-Svc: h3=":1"',
        b"Referrer-Policy: unsafe-url", b"Connection: X-Hop", b"X-Hop: canary", b"Keep-Alive: 9", b'ETag: "kept"',
    )  # fmt: skip
    stage.plays(answers(plain(b"x", *lines)))
    found = stage.get()
    assert [line for line in found.split(b"\r\n") if line.startswith(b"Set-Cookie")] == [
        b"Set-Cookie: a=1; Path=/; HttpOnly",
        b"Set-Cookie: domain=2",
    ]
    for word in (b"Service-Worker", b"Strict-Transport", b"Clear-Site", b"Alt-Svc", b"unsafe-url", b"canary", b"Keep-Alive"):
        assert word not in found
    assert b'ETag: "kept"' in found
    assert found.count(b"Referrer-Policy: same-origin") == 1


# T-PV-1: hosts


@pytest.mark.parametrize(
    "host",
    [
        "a" * 26 + ".localhost", "{label}x.localhost", "{short}.localhost", "x.{label}.localhost", "{label}.localhost.", "{label}.localhost:02280",
        "{label}.localhost:+80", "{label}.localhost:80 80", "{label}.localhost:0x50", "{label}.localhost:-", "{label}.localhost:",
        "{label}.localhost:99999", "3000-{label}.localhost", "{label}--3000.localhost", ".localhost", "-.localhost",
    ],
)  # fmt: skip
def test_t_pv_1_what_is_no_label_leads_nowhere_and_no_pod_is_touched(stage, host):
    program = stage.plays(answers(plain(b"x")))
    label = stage.preview.id
    found = stage.get(host=host.format(label=label, short=label[:-1]))
    assert _status(found) == 404
    assert label.encode() not in found
    assert program.taken == 0


def test_a_label_is_a_name_of_the_dns_so_its_case_says_nothing(stage):
    stage.plays(answers(plain(b"x")))
    assert _status(stage.get(host=stage.host.upper().replace("LOCALHOST", "LocalHost"))) == 200


def test_the_hosts_of_previews_never_reach_the_app_nor_its_host_a_preview_even_on_one_connection(stage):
    program = stage.plays(answers(plain(b"pod")))
    own = f"localhost:{stage.port}"
    with stage.connect() as to:
        for host, body in ((own, b"app " + own.encode()), (stage.host, b"pod")) * 2:
            to.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            head(to)
            assert exactly(to, len(body)) == body
    assert program.taken == 2
    both = f"GET / HTTP/1.1\r\nHost: {own}\r\nHost: {stage.host}\r\n\r\n".encode()
    assert b"pod" not in stage.raw(both)
    assert program.taken == 2


def test_a_host_in_pieces_is_the_same_host(stage):
    stage.plays(answers(plain(b"pod")))
    with stage.connect() as to:
        to.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in f"GET / HTTP/1.1\r\nHost: {stage.host}\r\n\r\n".encode():
            to.sendall(bytes([byte]))
        head(to)
        assert exactly(to, 3) == b"pod"


def test_a_domain_of_their_own_has_previews_and_what_is_allowed_beside_them_is_the_apps(world):
    stage = Stage(world, domain="preview.example.org", allow=("rdev.preview.example.org",))
    try:
        stage.plays(answers(plain(b"pod")))
        assert stage.get(host=f"{stage.preview.id}.preview.example.org").endswith(b"pod")
        assert b"app rdev" in stage.get(host="rdev.preview.example.org")
        assert _status(stage.get(host="other.preview.example.org")) == 404
    finally:
        stage.close()


def test_previews_are_asked_for_through_the_proxy_that_ends_tls_where_the_server_is_public(world):
    stage = Stage(world, only_proxies=True)
    try:
        program = stage.plays(answers(plain(b"pod")))
        assert _status(stage.get()) == 403
        assert program.taken == 0
    finally:
        stage.close()


# T-PV-5: upgrades


def test_a_websocket_of_the_previews_own_page_goes_through_as_it_is(stage):
    seen = []

    def program(one: socket.socket) -> None:
        seen.append(head(one))
        one.sendall(SWITCH + b"\x81\x02hi")
        one.sendall(one.recv(100)[::-1])

    stage.plays(program)
    with stage.connect() as to:
        to.sendall(_upgrade(stage.host, f"Origin: http://{stage.host}"))
        got = head(to)
        assert _status(got) == 101
        assert b"Sec-WebSocket-Accept: x\r\n" in got
        assert exactly(to, 4) == b"\x81\x02hi"
        to.sendall(b"\x00\xff\x01")
        assert rest(to) == b"\x01\xff\x00"
    assert b"Upgrade: websocket\r\n" in seen[0]
    assert b"Sec-WebSocket-Key: abc\r\n" in seen[0]


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (("Origin: http://evil.example",), 403),
        (("Origin: null",), 403),
        (("Origin: http://localhost:{port}",), 403),
        (("Origin: http://{host}", "Origin: http://evil.example"), 403),
        (("Origin: http://{host}.evil.example",), 403),
        (("Origin: ftp://{host}",), 403),
        (("Content-Length: 5",), 400),
    ],
)
def test_t_pv_5_a_websocket_for_a_foreign_page_is_refused(stage, lines, status):
    program = stage.plays(answers(SWITCH))
    words = [line.format(host=stage.host, port=stage.port) for line in lines]
    assert _status(stage.raw(_upgrade(stage.host, *words))) == status
    assert program.taken == 0


@pytest.mark.parametrize("word", ["h2c", "websocket, h2c", "h2c, websocket", "TLS/1.0", ""])
def test_t_pv_5_nothing_else_can_be_gone_on_with(stage, word):
    program = stage.plays(answers(SWITCH))
    lines = f"GET / HTTP/1.1\r\nHost: {stage.host}\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: {word}\r\nHTTP2-Settings: AAMAAABk\r\n\r\n"
    assert _status(stage.raw(lines.encode())) == 400
    assert program.taken == 0


def test_t_pv_5_a_program_that_goes_on_unasked_is_not_followed(stage):
    stage.plays(answers(SWITCH))
    assert _status(stage.get()) == 502


def test_t_pv_5_a_websocket_without_a_label_that_there_is_leads_nowhere(stage):
    assert _status(stage.raw(_upgrade("b" * 26 + ".localhost", "Origin: http://" + "b" * 26 + ".localhost"))) == 404


# requests that could be read in two ways


@pytest.mark.parametrize(
    "text",
    [
        "POST / HTTP/1.1\r\nHost: {host}\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: {host}\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
        "POST / HTTP/1.1\r\nHost: {host}\r\nContent-Length: +5\r\n\r\nhello",
        "POST / HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.0\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: {host}\r\nX: a\r\n folded\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: {host}\r\nX : a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: {host}\r\nX: a\x00b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: {host}\r\nX: a\nY: b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: {host}\r\nX: a\rY: b\r\n\r\n",
        "GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\n\r\n",
        "GET / HTTP/2.0\r\nHost: {host}\r\n\r\n",
        "GET  / HTTP/1.1\r\nHost: {host}\r\n\r\n",
        "CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n\r\n",
    ],
)
def test_a_request_that_two_could_read_differently_is_refused(stage, text):
    program = stage.plays(answers(plain(b"x")))
    assert _status(stage.raw(text.format(host=stage.host).encode())) == 400
    assert program.taken == 0


@pytest.mark.parametrize("body", [b"zz\r\n", b"5\r\nhelloo\r\n", b"5\nhello\n", b"-1\r\n", b"5" * 20 + b"\r\n", b"x" * 9000])
def test_a_body_whose_chunks_are_none_ends_the_connection_and_is_not_passed_on(stage, body):
    got = []

    def program(one: socket.socket) -> None:
        got.append(head(one))
        got.append(rest(one))

    stage.plays(program)
    with pytest.raises(ConnectionResetError):
        stage.get("Transfer-Encoding: chunked", method="POST", body=body)
    assert b"zz" not in b"".join(got[1:])


# T-PV-3: ends and bounds


def _end(world: MemoryWorld, session: str) -> None:
    """End a session as another process does: in the state alone."""
    with world.store.transaction() as tx:
        tx.put(replace(tx.find(Session, session), state=SessionState.ENDING))


def test_t_pv_3_the_end_of_a_session_ends_its_connections_and_its_addresses_within_five_seconds(stage):
    def program(one: socket.socket) -> None:
        got = head(one)
        one.sendall(SWITCH if b"Upgrade" in got else b"HTTP/1.1 200 OK\r\n\r\nfor ever")
        one.recv(1)

    stage.plays(program)
    with stage.connect() as to, stage.connect() as streaming, stage.connect() as idle:
        to.sendall(_upgrade(stage.host))
        assert _status(head(to)) == 101
        streaming.sendall(f"GET / HTTP/1.1\r\nHost: {stage.host}\r\n\r\n".encode())
        head(streaming)
        assert exactly(streaming, 8) == b"for ever"
        idle.sendall(f"GET / HTTP/1.1\r\nHost: {stage.host}\r\n".encode())  # in the middle of its head
        began = time.monotonic()
        _end(stage.world, stage.session.id)
        for one in (to, streaming):
            with pytest.raises(ConnectionResetError):
                rest(one)
        while (status := _status(stage.get())) != 404:
            assert status == 200
            assert time.monotonic() - began < 5
        idle.sendall(b"\r\n")
        assert _status(head(idle)) == 404
        assert time.monotonic() - began < 5
    assert len(stage.visits._visitors) == 0 or time.sleep(1) is None


def test_a_closed_port_ends_like_its_session_and_leaves_others_open(stage):
    stage.plays(answers(plain(b"x")))
    stage.plays(answers(plain(b"y")), 4000)
    other = stage.open(4000)
    previews.close(stage.world, stage.session.id, PORT)
    end = time.monotonic() + 5
    while _status(stage.get()) != 404:
        assert time.monotonic() < end
    assert stage.get(host=f"{other.id}.localhost").endswith(b"y")


def test_t_pv_3_connections_of_a_session_are_bounded(world):
    stage = Stage(world, bounds=visits.Bounds(connections=3))
    opened = []
    try:
        stage.plays(answers(plain(b"x")))
        for _ in range(3):
            opened.append(stage.connect())
            opened[-1].sendall(f"GET / HTTP/1.1\r\nHost: {stage.host}\r\n\r\n".encode())
            assert _status(head(opened[-1])) == 200
        assert _status(stage.get()) == 429
        opened.pop().close()
        end = time.monotonic() + 5
        while _status(stage.get()) != 200:
            assert time.monotonic() < end
    finally:
        for one in opened:
            one.close()
        stage.close()


def test_connections_to_all_previews_are_bounded_and_come_free_again(world):
    stage = Stage(world, bounds=visits.Bounds(in_all=1))
    try:
        stage.plays(answers(plain(b"x")))
        with stage.connect() as to:
            to.sendall(f"GET / HTTP/1.1\r\nHost: {stage.host}\r\n\r\n".encode())
            assert _status(head(to)) == 200
            assert _status(stage.get()) == 503
            assert b"app" in stage.get(host=f"localhost:{stage.port}")  # it is not the app's trouble
        end = time.monotonic() + 5
        while _status(stage.get()) != 200:
            assert time.monotonic() < end
    finally:
        stage.close()


def test_t_pv_3_bytes_of_a_session_are_bounded_and_come_free_again(world):
    stage = Stage(world, bounds=visits.Bounds(transferred=1 << 20, hour=2.0))
    try:
        size = 64 << 20

        def flood(one: socket.socket) -> None:
            head(one)
            one.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
            for _ in range(64):
                one.sendall(bytes(1 << 20))

        stage.plays(flood)
        with pytest.raises(ConnectionResetError):
            stage.get()
        assert _status(stage.get()) == 429
        stage.plays(answers(plain(b"x")))
        end = time.monotonic() + 10
        while _status(stage.get()) != 200:
            assert time.monotonic() < end
    finally:
        stage.close()


def test_a_visitor_that_reads_nothing_holds_little_and_not_for_ever(stage, monkeypatch):
    monkeypatch.setattr(previewing, "STALL", 1.0)
    sent = [0]

    def flood(one: socket.socket) -> None:
        head(one)
        one.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (1 << 30))
        while True:
            sent[0] += one.send(bytes(1 << 16))

    program = stage.plays(flood)
    with stage.connect() as to:
        to.sendall(f"GET / HTTP/1.1\r\nHost: {stage.host}\r\n\r\n".encode())
        end = time.monotonic() + 10
        while not program.open or program.open[0].fileno() >= 0:  # the program is let go when nobody takes what it sends
            assert time.monotonic() < end
            time.sleep(0.05)
    assert 0 < sent[0] < 16 << 20


def test_a_program_that_reads_nothing_holds_little(stage, monkeypatch):
    monkeypatch.setattr(previewing, "STALL", 1.0)
    stage.plays(lambda one: (head(one), time.sleep(5)))  # type: ignore[arg-type, return-value]
    with stage.connect() as to:
        to.sendall(f"POST / HTTP/1.1\r\nHost: {stage.host}\r\nContent-Length: {1 << 30}\r\n\r\n".encode())
        sent = 0
        try:
            while sent < 64 << 20:
                sent += to.send(bytes(1 << 16))
        except (ConnectionResetError, BrokenPipeError):
            pass  # it is not waited for, either
        assert sent < 16 << 20


@pytest.mark.parametrize("framing", [b"Content-Length: 100\r\n", b"Transfer-Encoding: chunked\r\n", b""])
def test_t_pv_3_what_breaks_in_the_middle_does_not_look_whole(stage, framing):
    def program(one: socket.socket) -> None:
        head(one)
        one.sendall(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n" + (b"5\r\nhello\r\n" if b"chunked" in framing else b"hello"))
        if not framing:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            # of a pair of sockets an end with unread bytes is a reset
            stuck.set()
            time.sleep(0.3)

    stuck = threading.Event()
    stage.plays(program)
    with stage.connect() as to:
        to.sendall(f"GET / HTTP/1.1\r\nHost: {stage.host}\r\n\r\n".encode())
        head(to)
        if framing:
            with pytest.raises(ConnectionResetError):
                rest(to)
        else:
            assert rest(to) == b"hello"  # where the end is the body's, an orderly end is all that there is to see


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"SSH-2.0-x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nbad header\r\n\r\n",
        b"x" * (70 << 10),
    ],
)
def test_what_a_program_says_that_is_no_answer_is_told(stage, said):
    def program(one: socket.socket) -> None:
        head(one)
        one.sendall(said)
        if said:
            one.recv(1)

    stage.plays(program)
    assert _status(stage.get()) == 502


def test_a_port_that_nobody_listens_at_says_what_to_do(stage):
    found = stage.get()
    assert _status(found) == 502
    assert b"port 3000" in found


def test_a_place_that_does_not_answer_is_told(stage):
    stage.world.cluster.trouble.add("dial:before")
    found = stage.get()
    assert _status(found) == 502
    assert b"dial:before did not answer" in found


def test_a_head_that_does_not_come_ends_in_time(stage, monkeypatch):
    monkeypatch.setattr(previewing, "LATE", 0.5)
    stage.plays(answers(plain(b"x")))
    with stage.connect() as to:
        to.sendall(f"GET / HTTP/1.1\r\nHost: {stage.host}\r\n\r\n".encode())
        head(to)
        exactly(to, 1)
        to.sendall(b"GET / HT")
        with pytest.raises(ConnectionResetError):
            rest(to)


def test_an_idle_connection_is_closed_at_last(stage, monkeypatch):
    monkeypatch.setattr(previewing, "IDLE", 0.5)
    stage.plays(answers(plain(b"x")))
    with stage.connect() as to:
        to.sendall(f"GET / HTTP/1.1\r\nHost: {stage.host}\r\n\r\n".encode())
        head(to)
        assert rest(to) == b"x"


def test_a_refusal_is_read_by_one_who_still_sends(stage):
    with stage.connect() as to:
        to.sendall(f"POST / HTTP/1.1\r\nHost: {'a' * 26}.localhost\r\nContent-Length: {1 << 20}\r\n\r\n".encode() + bytes(1 << 19))
        assert _status(head(to)) == 404


def test_whoever_looks_keeps_the_session_awake(stage, monkeypatch):
    monkeypatch.setattr(visits, "SEEN", 0.1)
    seen = []
    monkeypatch.setattr(previews, "seen", lambda world, session: seen.append(session))
    stage.plays(answers(plain(b"x")))
    with stage.connect() as to:
        end = time.monotonic() + 10
        while not seen:
            to.sendall(f"GET / HTTP/1.1\r\nHost: {stage.host}\r\n\r\n".encode())
            head(to)
            exactly(to, 1)
            assert time.monotonic() < end
    assert set(seen) == {stage.session.id}


def test_a_server_that_stops_closes_previews_at_once(world):
    stage = Stage(world)
    stage.plays(lambda one: (head(one), one.sendall(SWITCH), one.recv(1)))  # type: ignore[arg-type, return-value]
    with stage.connect() as to:
        to.sendall(_upgrade(stage.host))
        head(to)
        began = time.monotonic()
        stage.close()
        assert time.monotonic() - began < 2
        with pytest.raises(ConnectionResetError):
            rest(to)
