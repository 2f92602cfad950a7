"""`rdev serve` as a process: how it starts, where it refuses to, what it tells, how it ends. T-HTTP-2, T-KEY-6."""

import datetime as dt
import ipaddress
import json
import os
import re
import select
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from rdev_cli.wiring.serving import serving
from tests.support.serving import ADMIN, Server, drained, start, status

Rdev = Callable[..., "subprocess.CompletedProcess[bytes]"]
Spawn = Callable[..., "subprocess.Popen[bytes]"]


def until(true: Callable[[], object], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


# start


def test_a_server_starts_in_one_line_on_a_fresh_home_and_ends_with_0(spawn: Spawn) -> None:
    server = start(spawn, env={"RDEV_ADMIN_KEY": None})
    assert re.fullmatch("http://127.0.0.1:[0-9]+", server.url)
    assert server.ask("GET", "/health", key=None)[0] == 200
    first, second, *_ = server.said().splitlines()
    assert first == f"rdev serves the context local at {server.url}"
    assert second == "nobody has a key yet: rdev key create --name me --scope admin makes one"
    until(lambda: server.ask("GET", "/ready", key=None)[0] == 200)
    assert server.ask("GET", "/projects", key=ADMIN)[0] == 401
    assert server.stop() == 0
    assert server.process.stdout is not None
    assert server.process.stdout.read() == b""  # the URL was all
    assert "Traceback" not in server.said()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_it_with_0_and_another_takes_the_port(number: int, spawn: Spawn) -> None:
    server = start(spawn)
    assert server.stop(number) == 0
    again = start(spawn, "--port", str(server.port))
    assert again.url == server.url
    assert again.ask("GET", "/projects")[0] == 200


def test_its_answer_is_a_document_for_a_program(spawn: Spawn) -> None:
    server = start(spawn, "-o", "json")
    found = json.loads(server.url)
    assert set(found) == {"url", "context", "version"}
    assert found["context"] == "local"
    with urllib.request.urlopen(f"{found['url']}/health", timeout=30) as answer:
        assert json.load(answer)["data"] == {"status": "ok", "version": found["version"]}


def test_a_port_that_is_taken_is_said_to_be(spawn: Spawn, rdev: Rdev) -> None:
    server = start(spawn)
    ran = rdev("serve", "--port", str(server.port))
    assert (ran.returncode, ran.stdout) == (5, b"")
    assert ran.stderr.decode() == (
        f"error: 127.0.0.1 port {server.port} is taken\nhint:  another server may run; --port 0 takes a free one\n"
    )


def test_an_address_of_another_machine_is_refused(rdev: Rdev) -> None:
    ran = rdev("serve", "--host", "192.0.2.1", "--port", "0", "--trusted-proxy", "10.0.0.1", env={"RDEV_ADMIN_KEY": ADMIN})
    assert (ran.returncode, ran.stdout) == (2, b"")
    assert b"--host takes an address of this machine" in ran.stderr


def test_the_extra_that_is_not_installed_is_named(home: Mapping[str, str], tmp_path: Path) -> None:
    code = (
        "import sys; from importlib.machinery import PathFinder\n"
        "class Without(PathFinder):\n"
        "    @classmethod\n"
        "    def find_spec(cls, name, path=None, target=None):\n"
        "        return None if name in ('uvicorn', 'fastapi') else PathFinder.find_spec(name, path, target)\n"
        "sys.meta_path[:] = [Without if one is PathFinder else one for one in sys.meta_path]\n"
        "from rdev_cli.__main__ import main; sys.exit(main())"
    )
    ran = subprocess.run([sys.executable, "-c", code, "serve"], env=dict(home), cwd=tmp_path, capture_output=True, timeout=60, check=False)
    assert (ran.returncode, ran.stdout) == (6, b"")
    assert ran.stderr == b"error: the server's parts are not installed: fastapi, uvicorn\nhint:  pip install 'rdev[serve]'\n"


def test_options_have_their_twins_in_the_environment(spawn: Spawn) -> None:
    env = {"RDEV_ALLOW_HOST": "one.example two.example", "RDEV_RATE": "7/min", "RDEV_MAX_BODY": "10"}
    server = start(spawn, env=env)
    assert server.ask("GET", "/health", headers={"host": "two.example"})[0] == 200
    assert server.ask("GET", "/projects")[1]["ratelimit-limit"] == "7"
    assert server.ask("POST", "/projects", {"name": "a-long-one"})[0] == 413


# who may be reached from where


PUBLIC = {"--host": "0.0.0.0", "--port": "0"}


def typed(**options: str) -> list[str]:
    return [
        word
        for name, value in {**PUBLIC, **{f"--{name.replace('_', '-')}": v for name, v in options.items()}}.items()
        for word in (name, value)
    ]


def test_t_http_2_a_public_server_needs_tls_and_a_key(rdev: Rdev, spawn: Spawn, tmp_path: Path) -> None:
    cert, key = certificate(tmp_path)
    for env, options, code in (
        ({"RDEV_ADMIN_KEY": ADMIN}, {}, "NOT_ENCRYPTED"),
        ({}, {"tls_cert": cert, "tls_key": key}, "NO_KEY"),
        ({}, {"trusted_proxy": "10.0.0.5"}, "NO_KEY"),
    ):
        for host in ("0.0.0.0", "::"):
            ran = rdev("serve", *typed(**options), "--host", host, "-o", "json", env=env)
            assert (ran.returncode, ran.stdout, json.loads(ran.stderr)["error"]["code"]) == (2, b"", code)
    server = start(spawn, *typed(tls_cert=cert, tls_key=key))
    assert server.url.startswith("https://0.0.0.0:")
    with (
        socket.create_connection(("127.0.0.1", server.port), timeout=30) as plain,
        ssl.create_default_context(cafile=cert).wrap_socket(plain, server_hostname="localhost") as to,
    ):
        to.sendall(f"GET /projects HTTP/1.1\r\nhost: localhost:{server.port}\r\nx-api-key: {ADMIN}\r\nconnection: close\r\n\r\n".encode())
        assert status(drained(to)) == 200
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as plain:
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        old.load_verify_locations(cert)
        with pytest.deprecated_call():
            old.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises(OSError):  # noqa: PT011 -- which one depends on the library
            old.wrap_socket(plain, server_hostname="localhost")


def test_t_http_2_a_key_that_was_made_is_enough_and_a_revoked_one_is_not(rdev: Rdev, spawn: Spawn, tmp_path: Path) -> None:
    cert, key = certificate(tmp_path)
    made = json.loads(rdev("key", "create", "--name", "me", "--scope", "admin", "-o", "json").stdout)
    server = start(spawn, *typed(tls_cert=cert, tls_key=key), env={"RDEV_ADMIN_KEY": None})
    assert server.stop() == 0
    assert rdev("key", "revoke", made["id"], "--yes").returncode == 0
    assert rdev("serve", *typed(tls_cert=cert, tls_key=key)).returncode == 2


def test_a_public_server_without_tls_takes_keys_from_its_proxy_alone(spawn: Spawn) -> None:
    server = start(spawn, *typed(trusted_proxy="192.0.2.7"))
    server.host = "127.0.0.1"
    assert server.ask("GET", "/health", key=None)[0] == 200  # what asks whether it is up is in front of no proxy
    code, _, answer = server.ask("GET", "/projects")
    assert (code, answer["error"]["code"]) == (403, "NOT_ENCRYPTED")
    behind = start(spawn, *typed(trusted_proxy="127.0.0.0/8"))
    behind.host = "127.0.0.1"
    assert behind.ask("GET", "/projects")[0] == 200


def test_a_certificate_that_is_none_is_refused(rdev: Rdev, tmp_path: Path) -> None:
    cert, key = certificate(tmp_path)
    (tmp_path / "none").write_text("none")
    for one, other in ((str(tmp_path / "none"), key), (cert, str(tmp_path / "none")), (cert, "gone"), (key, cert)):
        ran = rdev("serve", "--tls-cert", one, "--tls-key", other, "--port", "0")
        assert (ran.returncode, ran.stdout) == (2, b"")
        assert b"cannot be used" in ran.stderr
    assert b"give --tls-key FILE too" in rdev("serve", "--tls-cert", cert).stderr


def test_t_http_2_a_socket_is_for_its_owner_alone_and_is_gone_afterwards(spawn: Spawn, rdev: Rdev, tmp_path: Path) -> None:
    path = tmp_path / "s.sock"
    server = start(spawn, "--unix", str(path))
    assert server.url == f"unix:{path}"
    assert path.stat().st_mode & 0o777 == 0o600

    def get(host: str) -> int:
        with socket.socket(socket.AF_UNIX) as to:
            to.connect(str(path))
            to.sendall(f"GET /projects HTTP/1.1\r\nhost: {host}\r\nx-api-key: {ADMIN}\r\nconnection: close\r\n\r\n".encode())
            return status(drained(to))

    assert [get("localhost"), get("evil.com")] == [200, 421]
    taken = rdev("serve", "--unix", str(path))
    assert (taken.returncode, b"is taken" in taken.stderr) == (5, True)
    assert server.stop() == 0
    assert not path.exists()
    left = start(spawn, "--unix", str(path))
    left.process.kill()
    left.process.wait(30)
    assert path.exists()
    assert start(spawn, "--unix", str(path)).url == server.url  # its server was gone
    (tmp_path / "file").write_text("mine")
    assert rdev("serve", "--unix", str(tmp_path / "file")).returncode == 2
    assert (tmp_path / "file").read_text() == "mine"


def test_the_first_key_has_the_form_of_a_key(rdev: Rdev) -> None:
    ran = rdev("serve", "--port", "0", env={"RDEV_ADMIN_KEY": "hunter2"})
    assert (ran.returncode, ran.stdout) == (2, b"")
    assert b"hunter2" not in ran.stderr


def test_a_server_lends_nobody_the_keys_of_whoever_started_it(home: Mapping[str, str]) -> None:
    world, admin = serving({**home, "ANTHROPIC_API_KEY": "mine", "OPENAI_API_KEY": "mine", "RDEV_ADMIN_KEY": ADMIN}, {})
    assert admin is not None
    assert admin.reveal() == ADMIN
    assert world.agent_environment("claude") == ()
    assert world.agent_given("claude") == []
    assert not {"ANTHROPIC_API_KEY", "RDEV_ADMIN_KEY"} & set(world._environ)
    world.close()


def test_a_command_that_a_server_runs_sees_neither_the_first_key_nor_an_agents(spawn: Spawn, project: str) -> None:
    server = start(spawn, "--rate", "100000/min", env={"ANTHROPIC_API_KEY": "lent-by-mistake"})
    code, _, answer = server.ask("POST", f"/projects/{project}/exec", {"argv": ["sh", "-c", "env; echo end"]})
    assert code == 202
    id = answer["data"]["id"]
    until(lambda: server.ask("GET", f"/commands/{id}")[2]["data"]["state"] == "completed")
    printed = server.ask("GET", f"/commands/{id}/output")[2]["data"]["stdout"]
    assert printed.endswith("end\n")
    assert "lent-by-mistake" not in printed
    assert ADMIN not in printed


# what it counts and tells


def test_each_request_is_one_line_of_the_log_without_a_secret_or_a_query(spawn: Spawn) -> None:
    server = start(spawn, "--log-format", "json")
    server.ask("GET", "/projects?canary=CANARY", headers={"x-request-id": "mine-1", "x-canary": "CANARY"})
    server.ask("GET", f"/projects/{ADMIN}", key=None)
    server.ask("GET", "/nowhere/CANARY")
    until(lambda: server.said().count('"answered"') == 3)
    assert server.stop() == 0
    lines = [json.loads(line) for line in server.said().splitlines() if line.startswith("{")]
    answered = [line for line in lines if line["message"] == "answered"]
    assert [(line["method"], line["route"], line["status"], line["actor"]) for line in answered] == [
        ("GET", "/projects", 200, "admin"), ("GET", "/projects/{project}", 401, ""), ("GET", "unmatched", 404, ""),
    ]  # fmt: skip
    assert answered[0]["request_id"] == "mine-1"
    assert all(isinstance(line["duration_ms"], int) for line in answered)
    assert "CANARY" not in server.said()
    assert ADMIN not in server.said()


def test_a_log_that_nobody_reads_stops_no_request(spawn: Spawn) -> None:
    process = spawn("serve", "--port", "0", "--rate", "100000/min", env={"RDEV_ADMIN_KEY": ADMIN})
    assert process.stdout is not None
    assert select.select([process.stdout], [], [], 60)[0]
    server = Server(process, process.stdout.readline().decode().strip(), os.open(os.devnull, os.O_RDONLY))
    for _ in range(1500):  # of 150 bytes a line and more: a pipe takes 64 KiB
        assert server.ask("GET", "/health", key=None)[0] == 200
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0


def test_metrics_have_the_routes_and_not_the_paths_and_need_a_key(spawn: Spawn, rdev: Rdev, project: str) -> None:
    server = start(spawn)
    assert server.ask("GET", "/metrics", key=None)[0] == 401
    reader = rdev("key", "create", "--name", "r", "--scope", "projects:read", "-o", "json")
    assert server.ask("GET", "/metrics", key=json.loads(reader.stdout)["key"])[0] == 403
    for name in ("xylo", "yucca", "zebu"):
        assert server.ask("GET", f"/projects/{name}")[0] == 404
        assert server.ask("BREW", f"/{name}")[0] in (404, 405)
    assert rdev("exec", project, "--", "false").returncode == 1
    assert rdev("exec", project, "--", "true").returncode == 0
    code, headers, page = server.ask("GET", "/metrics")
    assert (code, headers["content-type"].partition(";")[0]) == (200, "text/plain")
    figures = dict(line.rsplit(" ", 1) for line in page.decode().splitlines() if not line.startswith("#"))
    assert figures['http_requests_total{method="GET",path="/projects/{project}",status="404"}'] == "3.0"
    assert figures['http_requests_total{method="OTHER",path="unmatched",status="404"}'] == "3.0"
    assert figures["http_requests_in_flight"] == "1.0"
    assert figures['http_request_duration_seconds_count{method="GET",path="/projects/{project}",status="404"}'] == "3.0"
    assert figures['rdev_commands_total{project="shop",status="completed",type="exec"}'] == "1.0"
    assert figures['rdev_commands_total{project="shop",status="failed",type="exec"}'] == "1.0"
    assert figures['rdev_command_duration_seconds_count{project="shop",status="failed",type="exec"}'] == "1.0"
    assert figures['rdev_external_system_healthy{system="state"}'] == "1.0"
    assert float(figures['rdev_loop_passes_total{loop="health"}']) >= 1
    assert not any(name in page.decode() for name in ("xylo", "zebu", "BREW"))


def test_a_server_that_cannot_work_says_so_and_stays_up(spawn: Spawn) -> None:
    server = start(spawn, env={"PYTHONPATH": str(Path(__file__).parents[1] / "support/no_bubblewrap"), "PATH": "/usr/bin:/bin"})

    def looked() -> bool:
        code, _, answer = server.ask("GET", "/ready", key=None)
        return code == 503 and bool(answer["error"]["context"]["checks"])

    until(looked)
    error = server.ask("GET", "/ready", key=None)[2]["error"]
    assert (error["code"], error["message"]) == ("NOT_READY", "cluster cannot be used")
    assert [(one["name"], one["code"]) for one in error["context"]["checks"]] == [("state", ""), ("cluster", "TOOL_MISSING")]
    assert "cluster is not well" in server.said()
    assert server.ask("GET", "/health", key=None)[0] == 200
    assert server.ask("GET", "/projects")[0] == 200


# limits


def test_a_key_may_make_so_many_requests_a_minute_and_another_key_as_many(spawn: Spawn, rdev: Rdev) -> None:
    other = json.loads(rdev("key", "create", "--name", "o", "--scope", "projects:read", "-o", "json").stdout)["key"]
    server = start(spawn, "--rate", "20/min")
    answers = [server.ask("GET", "/projects") for _ in range(40)]
    statuses = [code for code, _, _ in answers]
    let = statuses.count(200)
    assert 20 <= let <= 30  # a minute may have ended meanwhile, of which a part counts
    assert set(statuses) == {200, 429}
    code, headers, answer = answers[statuses.index(429)]
    assert answer["error"]["code"] == "TOO_MANY_REQUESTS"
    assert 0 < int(headers["retry-after"]) <= 61
    assert headers["retry-after"] == headers["ratelimit-reset"]
    assert (headers["ratelimit-limit"], headers["ratelimit-remaining"]) == ("20", "0")
    assert code == 429
    assert server.ask("GET", "/projects", key=other)[0] == 200
    assert server.ask("GET", "/health", key=None)[0] == 200


def test_t_key_6_guessing_is_held_up_by_source_and_by_key_and_keeps_the_owner_not_out(spawn: Spawn, rdev: Rdev) -> None:
    own = json.loads(rdev("key", "create", "--name", "o", "--scope", "projects:read", "-o", "json").stdout)["key"]
    server = start(spawn, "--trusted-proxy", "127.0.0.1", "--rate", "100000/min")
    wrong = own[:17] + "f" * 32

    def guess(source: str, key: str) -> int:
        return server.ask("GET", "/projects", key=key, headers={"x-forwarded-for": source})[0]

    one_source = [guess("203.0.113.5", f"rdev_sk_{number:08d}_{'0' * 32}") for number in range(200)]
    assert set(one_source) == {401, 429}
    assert one_source.count(401) <= 90
    one_key = [guess(f"198.51.100.{number}", wrong) for number in range(200)]
    assert set(one_key) == {401, 429}
    assert one_key.count(401) <= 90
    assert [guess("203.0.113.5", own), guess("192.0.2.1", own)] == [200, 200]
    code, headers, answer = server.ask("GET", "/projects", key=wrong, headers={"x-forwarded-for": "203.0.113.5"})
    assert (code, answer["error"]["code"]) == (429, "TOO_MANY_REQUESTS")
    assert int(headers["retry-after"]) > 0


def test_t_ip_1_a_key_of_a_network_opens_to_the_peer_and_not_to_what_it_says_of_itself(spawn: Spawn, rdev: Rdev) -> None:
    key = json.loads(rdev("key", "create", "--name", "o", "--scope", "projects:read", "--cidr", "10.0.0.0/8", "-o", "json").stdout)["key"]
    direct, behind = start(spawn), start(spawn, "--trusted-proxy", "127.0.0.1")
    lies = ("x-forwarded-for", "x-real-ip", "cf-connecting-ip", "true-client-ip", "forwarded", "client-ip", "x-client-ip")
    for name in lies:
        value = "for=10.0.0.1" if name == "forwarded" else "10.0.0.1"
        code, _, answer = direct.ask("GET", "/projects", key=key, headers={name: value})
        assert (code, answer["error"]["code"]) == (403, "IP_NOT_ALLOWED"), name
        assert behind.ask("GET", "/projects", key=key, headers={name: value})[0] == (200 if name == "x-forwarded-for" else 403), name
    for chain, code in (
        ("10.0.0.1, 203.0.113.5", 403),
        ("203.0.113.5, 10.0.0.1", 200),
        ("::ffff:10.0.0.1", 200),
        ("10.0.0.1%eth0", 200),
        ("x", 403),
    ):
        assert behind.ask("GET", "/projects", key=key, headers={"x-forwarded-for": chain})[0] == code, chain


def test_when_a_key_was_used_is_known_after_the_server_ended(spawn: Spawn, rdev: Rdev) -> None:
    made = json.loads(rdev("key", "create", "--name", "o", "--scope", "projects:read", "-o", "json").stdout)
    server = start(spawn)
    assert server.ask("GET", "/projects", key=made["key"])[0] == 200
    assert server.stop() == 0
    assert json.loads(rdev("key", "show", made["id"], "-o", "json").stdout)["last_used_at"] is not None


# the end


def test_a_request_that_is_under_way_ends_and_nobody_new_is_let_in(spawn: Spawn) -> None:
    server = start(spawn)
    with socket.create_connection((server.host, server.port), timeout=60) as to:
        head = f"POST /projects HTTP/1.1\r\nhost: 127.0.0.1:{server.port}\r\nx-api-key: {ADMIN}\r\ncontent-length: 2\r\n\r\n{{"
        to.sendall(head.encode())
        until(lambda: server.ask("GET", "/health", key=None)[0] == 200)
        server.process.send_signal(signal.SIGTERM)

        def refused() -> bool:
            try:
                socket.create_connection((server.host, server.port), timeout=5).close()
            except ConnectionRefusedError:
                return True
            return False

        until(refused)
        to.sendall(b"}")
        assert status(drained(to)) == 422  # it was read, and lacks a name
    assert server.process.wait(60) == 0


def test_a_client_that_never_ends_does_not_keep_it_for_ever(spawn: Spawn) -> None:
    server = start(spawn)
    with socket.create_connection((server.host, server.port), timeout=60) as to:
        to.sendall(f"POST /projects HTTP/1.1\r\nhost: 127.0.0.1:{server.port}\r\ncontent-length: 2\r\n\r\n{{".encode())
        server.ask("GET", "/health", key=None)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(60) == 0


def test_a_command_that_a_server_started_ends_while_it_is_down_and_is_known_when_it_is_up(spawn: Spawn, project: str) -> None:
    often = ("--rate", "100000/min")
    server = start(spawn, *often)
    argv = ["sh", "-c", "echo up; until [ -e go ]; do sleep 0.05; done"]
    code, _, answer = server.ask("POST", f"/projects/{project}/exec", {"argv": argv})
    assert code == 202
    id = answer["data"]["id"]

    def up() -> bool:
        server.ask("GET", f"/commands/{id}")  # brings the output up to date
        return bool(server.ask("GET", f"/commands/{id}/output")[2]["data"]["stdout"] == "up\n")

    until(up)
    server.process.kill()
    server.process.wait(30)
    again = start(spawn, *often)
    assert again.ask("GET", f"/commands/{id}")[2]["data"]["state"] == "running"
    assert again.ask("POST", f"/projects/{project}/exec", {"argv": ["touch", "go"]})[0] == 202

    def settled() -> bool:  # by the loop: nothing here follows it
        _, _, page = again.ask("GET", "/metrics")
        return b'rdev_commands_total{project="shop",status="completed",type="exec"} 2.0' in page

    until(settled)
    found = again.ask("GET", f"/commands/{id}")[2]["data"]
    assert (found["state"], found["exit_code"], found["stdout_bytes"]) == ("completed", 0, 3)


def certificate(folder: Path) -> tuple[str, str]:
    """Make a certificate for localhost, and return the paths of it and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "cert.pem", folder / "key.pem"
    paths[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    form = serialization.PrivateFormat.PKCS8
    paths[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
    return str(paths[0]), str(paths[1])
