"""Previews as a user types them: a server in a session, seen under its address or at a port of this machine, until the session ends."""

import http.client
import http.server
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from tests.conftest import Rdev, Spawn
from tests.support.serving import start

PYTHON = os.path.realpath(getattr(sys, "_base_executable", sys.executable))


def _free() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        port: int = one.getsockname()[1]
        return port


def _get(port: int, host: str = "") -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("GET", "/", headers={"Host": host} if host else {})
        answer = connection.getresponse()
        return answer.status, answer.read()
    except (http.client.HTTPException, ConnectionError):
        return 0, b""
    finally:
        connection.close()


@pytest.fixture
def session(rdev: Rdev, project: str) -> str:
    assert rdev("context", "set", "local", "--show", sys.base_prefix).returncode == 0
    made = rdev("session", "start", project, "-o", "name")
    assert made.returncode == 0, made.stderr.decode()
    return made.stdout.decode().split()[-1]


@pytest.fixture
def listening(rdev: Rdev, session: str) -> Iterator[int]:
    """The port of a server in the session that says `of the session`."""
    port = _free()
    line = f"cd $(mktemp -d) && echo of the session >index.html && exec {PYTHON} -m http.server --bind 127.0.0.1 {port}"
    assert rdev("session", "exec", session, "--no-wait", "--", "sh", "-c", line).returncode == 0
    end = time.monotonic() + 30
    while _get(port)[0] != 200:
        assert time.monotonic() < end
        time.sleep(0.1)
    yield port
    rdev("session", "end", session)


def test_a_port_is_seen_under_its_address_and_nowhere_once_the_session_has_ended(
    rdev: Rdev, spawn: Spawn, session: str, listening: int
) -> None:
    alone = rdev("session", "preview", session, str(listening), "-o", "json")
    assert b"nothing serves it" in alone.stderr
    assert ".localhost:8080/" in json.loads(alone.stdout)["url"]
    server = start(spawn)
    shown = rdev("session", "preview", session, str(listening), "-o", "json")
    assert shown.stderr == b""
    host = f"{json.loads(alone.stdout)['id']}.localhost:{server.port}"  # the same label, where the server is
    assert json.loads(shown.stdout)["url"] == f"http://{host}/"
    assert _get(server.port, host) == (200, b"of the session\n")
    assert host.encode() in rdev("preview", "list").stdout
    assert rdev("session", "end", session).returncode == 0
    began = time.monotonic()
    while _get(server.port, host)[0] != 404:
        assert time.monotonic() - began < 5
    assert rdev("preview", "list").stdout == b""
    assert host.partition(".")[0] not in server.said()
    assert host.partition(".")[0].encode() not in rdev("events", "-o", "json").stdout
    server.stop(signal.SIGKILL)
    assert rdev("session", "preview", session, "3000").returncode == 5


def test_t_pv_4_a_server_of_the_machine_or_of_another_session_is_not_shown(
    rdev: Rdev, spawn: Spawn, project: str, session: str, listening: int
) -> None:
    server = start(spawn)
    other = rdev("session", "start", project, "-o", "name").stdout.decode().split()[-1]
    machine = http.server.HTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
    threading.Thread(target=machine.serve_forever, daemon=True).start()
    try:
        for whose, port in ((other, listening), (session, machine.server_address[1]), (session, server.port)):
            url = json.loads(rdev("session", "preview", whose, str(port), "-o", "json").stdout)["url"]
            status, said = _get(server.port, url.removeprefix("http://").rstrip("/"))
            assert status == 502, said
            assert b"Nothing answers" in said
    finally:
        machine.shutdown()
        machine.server_close()
        rdev("session", "end", other)


def _url(process: "subprocess.Popen[bytes]") -> int:
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], 30)
    assert ready
    return int(process.stdout.readline().decode().strip().rstrip("/").rpartition(":")[2])


@pytest.mark.parametrize("at", [True, False])
def test_a_port_of_this_machine_leads_there_until_it_is_stopped(spawn: Spawn, session: str, listening: int, at: bool) -> None:
    given = _free()
    process = spawn("session", "preview", session, str(listening), "--local", *(("--at", str(given)) if at else ()))
    port = _url(process)
    assert (port == given) is at
    assert port != listening  # where that is taken another one is
    assert [_get(port) for _ in range(3)] == [(200, b"of the session\n")] * 3
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 130
    assert _get(port)[0] == 0


def test_a_port_of_this_machine_ends_with_the_session(rdev: Rdev, spawn: Spawn, session: str, listening: int) -> None:
    process = spawn("session", "preview", session, str(listening), "--local")
    port = _url(process)
    with socket.create_connection(("127.0.0.1", port), timeout=20) as held:
        held.sendall(b"GET / HT")
        assert rdev("session", "end", session).returncode == 0
        assert process.wait(10) == 5
        assert held.recv(10) == b""


def test_what_makes_no_sense_says_what_to_type(rdev: Rdev, project: str, session: str) -> None:
    for words, code, said in (
        (("session", "preview", session, "3000", "--at", "3001"), 2, b"--local --at 3001"),
        (("session", "preview", session, "03000"), 2, b"3000"),
        (("session", "preview", project, "3000"), 2, b"session list"),
        (("session", "preview", "ses_00000000000000000000", "3000"), 3, b"session list"),
        (("preview", "close", session, "3000"), 3, b"rdev preview list"),
        (("context", "set", "local", "--preview-domain", "http://x"), 2, b"--preview-domain preview.example.org"),
    ):
        ran = rdev(*words)
        assert (ran.returncode, said in ran.stderr) == (code, True), ran.stderr.decode()


def test_a_session_without_network_says_that_it_cannot_be_reached(rdev: Rdev) -> None:
    assert rdev("project", "create", "alone", "--no-network").returncode == 0
    session = rdev("session", "start", "alone", "-o", "name").stdout.decode().split()[-1]
    for more in ((), ("--local",)):
        ran = rdev("session", "preview", session, "3000", *more, "-o", "json")
        assert (ran.returncode, json.loads(ran.stderr.splitlines()[-1])["error"]["code"]) == (5, "NO_NETWORK")


def test_a_domain_gives_addresses_of_its_own(rdev: Rdev, session: str) -> None:
    assert rdev("context", "set", "local", "--preview-domain", "preview.example.org").returncode == 0
    made = rdev("session", "preview", session, "3000", "-o", "json")
    assert made.stderr == b""
    found = json.loads(made.stdout)
    assert found["url"] == f"https://{found['id']}.preview.example.org/"
    assert b"preview.example.org" in rdev("context", "view").stdout
    assert rdev("context", "set", "local", "--preview-domain", "").returncode == 0
    assert ".localhost:" in json.loads(rdev("session", "preview", session, "3000", "-o", "json").stdout)["url"]
