"""The kubeconfig by kubectl's rules, and what it may not do. T-KUBE-1, 2, 3."""

import base64
import contextlib
import json
import os
import random
import shlex
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from rdev_cli.adapters.kubernetes import access, calling, kubeconfig, plugin, wire
from rdev_cli.adapters.kubernetes.api import Api
from rdev_cli.adapters.kubernetes.kubeconfig import Access, load
from rdev_cli.adapters.kubernetes.socket import Closed
from rdev_cli.domain.errors import Denied, Invalid, NotFound, RdevError, Unavailable
from tests.support.apiserver import ApiServer

PODS = "/api/v1/namespaces/rdev/pods"


def config(
    name: str = "lab", *, server: str = "https://10.0.0.1:6443", user: Mapping[str, Any] | None = None, cluster: Any = None, **context: Any
) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": name,
        "clusters": [{"name": name, "cluster": {"server": server, **(cluster or {})}}],
        "users": [{"name": name, "user": user if user is not None else {"token": f"token-of-{name}"}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name, **context}}],
    }


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., str]:
    def put(name: str, data: Any) -> str:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(data if isinstance(data, str) else json.dumps(data))
        return str(path)

    return put


def token(found: Access) -> str:
    return dict(found.headers()).get("Authorization", "").removeprefix("Bearer ")


def test_a_file_alone_says_all(write: Callable[..., str]) -> None:
    found = load({"KUBECONFIG": write("other", config("other"))}, file=write("one", config(namespace="n")))
    assert (found.server, found.namespace, found.context, token(found)) == ("https://10.0.0.1:6443", "n", "lab", "token-of-lab")
    assert "token-of" not in repr(found)


def test_of_a_list_the_first_of_each_name_and_the_first_current_context_stand(write: Callable[..., str]) -> None:
    first, second = config("a", server="https://first"), config("b", server="https://second")
    second["clusters"].append({"name": "a", "cluster": {"server": "https://wrong", "tls-server-name": "wrong"}})
    first["current-context"] = ""
    environ = {"KUBECONFIG": f"{write('1', first)}::/nowhere/at/all:{write('2', second)}:{write('3', config('c'))}"}
    found = load(environ)
    assert (found.context, found.server, found.namespace) == ("b", "https://second", "default")
    found = load(environ, context="a")
    assert (found.server, found.tls_server_name) == ("https://first", "")


def test_without_anything_the_file_in_the_home_is_read(write: Callable[..., str], tmp_path: Path) -> None:
    write(".kube/config", config("home"))
    assert load({"HOME": str(tmp_path)}).context == "home"
    assert load({"HOME": str(tmp_path), "KUBECONFIG": ""}).context == "home"


def test_yaml_is_read_as_text_whatever_it_looks_like(write: Callable[..., str]) -> None:
    long = base64.b64encode(b"x" * 5000).decode()
    text = f"""
        kind: Config
        current-context: 0123
        clusters: [{{name: 1e3, cluster: {{server: https://h, certificate-authority-data: {long}}}}}]
        users: [{{name: yes, user: {{token: 1_000}}}}]
        contexts: [{{name: 0123, context: {{cluster: 1e3, user: yes, namespace: on}}}}]
    """
    found = load({}, file=write("y", text))
    assert (found.context, found.namespace, token(found), found.authority) == ("0123", "on", "1_000", b"x" * 5000)


def test_the_reader_can_be_the_callers(write: Callable[..., str]) -> None:
    read: list[Path] = []
    path = write("one", "not read")
    assert load({}, file=path, read=lambda p: read.append(p) or config()).context == "lab"
    assert read == [Path(path)]


def test_relative_paths_are_relative_to_their_file(write: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    write("deep/token", "t0ken\n")
    found = load({}, file=write("deep/config", config(user={"tokenFile": "token"}, cluster={"certificate-authority": "../ca.crt"})))
    assert token(found) == "t0ken"
    assert found.authority == tmp_path / "deep" / ".." / "ca.crt"


def test_a_token_file_is_read_again_each_minute_and_goes_before_a_token(
    write: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr(access.time, "monotonic", lambda: now[0])
    write("token", "one")
    found = load({}, file=write("c", config(user={"tokenFile": "token", "token": "given"})))
    assert token(found) == "one"
    write("token", "two")
    now[0] += 59
    assert token(found) == "one"
    now[0] += 2
    assert token(found) == "two"
    (tmp_path / "token").unlink()
    now[0] += 61
    assert token(found) == "two"


@pytest.mark.parametrize("content", ["root:*:19000:0:99999:7:::\ndaemon:*:19000::::::\n", "", "two words", "a\nb", "tök", "x" * 70_000])
def test_t_kube_2_a_file_that_holds_no_token_is_sent_to_nobody(write: Callable[..., str], content: str) -> None:
    write("token", content)
    found = load({}, file=write("c", config(user={"tokenFile": "token"})))
    with pytest.raises(Invalid, match="does not hold one token"):
        found.headers()


@pytest.mark.parametrize("name", ["absent", "folder", "pipe"])
def test_a_token_file_that_is_none_is_said(write: Callable[..., str], tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    found = load({}, file=write("c", config(user={"tokenFile": name})))
    with pytest.raises(Invalid):
        found.headers()


def test_a_name_and_a_password_and_somebody_to_act_as(write: Callable[..., str]) -> None:
    user = {"username": "u", "password": "p", "as": "jane", "as-uid": "7", "as-groups": ["a", "b"], "as-user-extra": {"reason": ["x"]}}
    assert load({}, file=write("c", config(user=user))).headers() == [
        ("Impersonate-User", "jane"),
        ("Impersonate-Uid", "7"),
        ("Impersonate-Group", "a"),
        ("Impersonate-Group", "b"),
        ("Impersonate-Extra-reason", "x"),
        ("Authorization", "Basic dTpw"),
    ]


def _bad() -> Iterator[tuple[str, Any, type[RdevError], str]]:
    yield "insecure", config(cluster={"insecure-skip-tls-verify": True}), Denied, "not to be verified"
    yield "insecure as text", config(cluster={"insecure-skip-tls-verify": "true"}), Denied, "not to be verified"
    yield "both", config(cluster={"insecure-skip-tls-verify": True, "certificate-authority": "x"}), Invalid, "names an authority"
    yield "plain", config(server="http://10.0.0.1"), Denied, "without TLS"
    yield "looks like the loopback", config(server="http://localhost.evil.example"), Denied, "without TLS"
    yield "scheme", config(server="ftp://10.0.0.1"), Invalid, "no address"
    yield "no server", config(server=""), Invalid, "no server"
    yield "port", config(server="https://h:99999"), Invalid, "no address"
    yield "user in it", config(server="https://u:p@h"), Invalid, "no address"
    yield "control", config(server="https://h\r\nX: y"), Invalid, "no address"
    yield "socks", config(cluster={"proxy-url": "socks5://127.0.0.1:1080"}), Invalid, "socks5"
    yield "tls proxy", config(cluster={"proxy-url": "https://proxy"}), Invalid, "'https'"
    yield "auth-provider", config(user={"auth-provider": {"name": "oidc"}}), Invalid, "auth-provider"
    yield "token", config(user={"token": "a\r\nX: y"}), Invalid, "no token"
    yield "half a pair", config(user={"client-certificate-data": "eA=="}), Invalid, "without its key"
    yield "base64", config(user={"client-certificate-data": "?", "client-key-data": "?"}), Invalid, "base64"
    yield "as", config(user={"as": "a\r\nX: y"}), Invalid, "acts as"
    yield "groups", config(user={"as-groups": "system:masters"}), Invalid, "as-groups"
    yield "no such cluster", {**config(), "clusters": []}, Invalid, "names the cluster"
    yield "no such user", {**config(), "users": []}, Invalid, "names the user"
    yield "no such context", {**config(), "current-context": "gone"}, NotFound, "no context 'gone'"
    yield "no current context", {**config(), "current-context": ""}, NotFound, "no current context"
    yield "twice", {**config(), "clusters": config()["clusters"] * 2}, Invalid, "twice"
    yield "no list", {**config(), "clusters": {"lab": {}}}, Invalid, "no list"
    yield "no name", {**config(), "users": [{"user": {}}]}, Invalid, "has no name"
    yield "number", config(cluster={"tls-server-name": 5}), Invalid, "no text"
    yield "nothing", {}, NotFound, "no cluster"
    yield "text", "only words", Invalid, "no kubeconfig"
    yield "no YAML", "a: [", Invalid, "not YAML"


@pytest.mark.parametrize(("data", "kind", "says"), [pytest.param(*case[1:], id=case[0]) for case in _bad()])
def test_t_kube_2_what_cannot_be_trusted_or_understood_is_refused_with_words(
    write: Callable[..., str], data: Any, kind: type[RdevError], says: str
) -> None:
    with pytest.raises(kind, match=says) as refused:
        load({}, file=write("c", data))
    assert refused.value.hint


def test_a_plain_connection_is_for_the_loopback_only(write: Callable[..., str]) -> None:
    for server in ("http://127.0.0.1:8001", "http://localhost:8001", "http://[::1]:8001"):
        assert load({}, file=write("c", config(server=server))).tls() is None


def test_an_unverified_server_needs_the_callers_word(write: Callable[..., str]) -> None:
    found = load({}, file=write("c", config(cluster={"insecure-skip-tls-verify": True})), insecure=True)
    context = found.tls()
    assert context is not None
    assert context.verify_mode == ssl.CERT_NONE


def test_a_missing_or_unreadable_file_is_told_apart(write: Callable[..., str], tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="there is no kubeconfig"):
        load({}, file=str(tmp_path / "none"))
    with pytest.raises(NotFound, match="no cluster is named"):
        load({"HOME": str(tmp_path)})
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(Invalid, match="no file"):
        load({}, file=str(tmp_path / "pipe"))


def test_the_context_is_the_one_that_was_current_when_it_was_read(write: Callable[..., str]) -> None:
    """T-KUBE-4."""
    path = write("c", config("a"))
    found = load({}, file=path)
    write("c", config("b", server="https://other"))
    assert (found.context, found.server, token(found)) == ("a", "https://10.0.0.1:6443", "token-of-a")


@pytest.mark.parametrize(
    ("no", "proxied"),
    [
        ("", True),
        ("*", False),
        ("10.0.0.0/8", False),
        ("10.0.0.1", False),
        ("10.0.0.1:443", True),
        ("10.0.0.1:6443", False),
        ("10.0.0.2,example.com", True),
    ],
)
def test_the_environments_proxy_is_used_as_kubectl_uses_it(write: Callable[..., str], no: str, proxied: bool) -> None:
    environ = {"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": no}
    assert load(environ, file=write("c", config())).proxy == ("http://proxy:3128" if proxied else "")


@pytest.mark.parametrize(
    ("no", "proxied"),
    [
        ("example.com", False),
        (".example.com", False),
        ("*.example.com", False),
        ("le.com", True),
        ("api.example.com", False),
        ("x.api.example.com", True),
    ],
)
def test_names_without_a_proxy_are_named_by_their_end(write: Callable[..., str], no: str, proxied: bool) -> None:
    found = load({"https_proxy": "proxy:3128", "no_proxy": no}, file=write("c", config(server="https://api.example.com")))
    assert bool(found.proxy) is proxied
    assert load({"HTTPS_PROXY": "http://proxy"}, file=write("c", config(server="https://127.0.0.1:6443"))).proxy == ""


def test_a_pod_finds_its_own_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kubeconfig, "IN_CLUSTER", tmp_path)
    environ = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "443", "HOME": str(tmp_path)}
    with pytest.raises(NotFound):
        load(environ)
    (tmp_path / "token").write_text("t")
    (tmp_path / "namespace").write_text("mine\n")
    found = load(environ)
    assert (found.server, found.namespace, token(found), found.authority) == ("https://10.0.0.1:443", "mine", "t", tmp_path / "ca.crt")
    assert load({**environ, "KUBERNETES_SERVICE_HOST": "fd00::1"}).server == "https://[fd00::1]:443"
    with pytest.raises(NotFound):
        load({"HOME": str(tmp_path)})


# ------------------------------------------------------------------------------------------------- certificates


class Authority:
    """An authority that signs what the tests need."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = self._sign(self.name, self.key, [(x509.BasicConstraints(ca=True, path_length=None), True)])
        self.pem = self.certificate.public_bytes(serialization.Encoding.PEM)
        self.file = folder / f"{name}.crt"
        self.file.write_bytes(self.pem)

    def _sign(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, extensions: list[Any], *, past: bool = False) -> x509.Certificate:
        now = datetime.now(UTC)
        built = x509.CertificateBuilder().subject_name(subject).issuer_name(self.name).public_key(key.public_key())
        built = built.serial_number(x509.random_serial_number()).not_valid_before(now - timedelta(days=3))
        built = built.not_valid_after(now - timedelta(days=1) if past else now + timedelta(days=1))
        for extension, critical in extensions:
            built = built.add_extension(extension, critical)
        return built.sign(self.key, hashes.SHA256())

    def issue(self, name: str, *, names: tuple[str, ...] = ("127.0.0.1",), past: bool = False, password: bytes = b"") -> tuple[Path, Path]:
        key = ec.generate_private_key(ec.SECP256R1())
        alternatives = [x509.IPAddress(ip_address(one)) if one[0].isdigit() else x509.DNSName(one) for one in names]
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        signed = self._sign(subject, key, [(x509.SubjectAlternativeName(alternatives), False)], past=past)
        files = self.folder / f"{name}.crt", self.folder / f"{name}.key"
        files[0].write_bytes(signed.public_bytes(serialization.Encoding.PEM))
        sealed = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
        files[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, sealed))
        return files


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "authority")


def b64(data: Path | bytes) -> str:
    return base64.b64encode(data if isinstance(data, bytes) else data.read_bytes()).decode()


@pytest.mark.parametrize("form", ["data", "files", "mixed"])
def test_a_certificate_is_who_the_caller_is(authority: Authority, write: Callable[..., str], form: str, tmp_path: Path) -> None:
    certificate, key = authority.issue("client")
    with ApiServer(certificate=authority.issue("server"), client_authority=authority.file) as server:
        server.put(f"{PODS}/a", {"metadata": {"name": "a"}})
        user = {"client-certificate-data": b64(certificate), "client-key-data": b64(key)}
        if form == "files":
            user = {"client-certificate": certificate.name, "client-key": key.name}
        elif form == "mixed":
            user = {"client-certificate": certificate.name, "client-key-data": b64(key)}
        found = load({}, file=write("c", config(server=server.url, user=user, cluster={"certificate-authority-data": b64(authority.pem)})))
        api = Api(found)
        assert api.get(f"{PODS}/a")
        api.close()


def test_t_kube_3_the_key_is_in_no_file_of_the_machine(
    authority: Authority, write: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is opened for it is seen by an audit hook, in a process of its own: a hook stays for ever."""
    certificate, key = authority.issue("client")
    path = write("c", config(user={"client-certificate-data": b64(certificate), "client-key-data": b64(key)}))
    program = """
import sys
opened = []
sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event in ("open", "os.mkdir", "tempfile.mkstemp", "tempfile.mkdtemp") else None)
from rdev_cli.adapters.kubernetes.kubeconfig import load
found = load({}, file=sys.argv[1])
del opened[:]
assert found.tls() is not None
print(opened)
"""
    ran = subprocess.run(
        [sys.executable, "-c", program, path], capture_output=True, text=True, timeout=60, check=True, env={"TMPDIR": str(tmp_path / "t")}
    )
    assert "tmp" not in ran.stdout.replace("/tmp/w", "")
    assert str(tmp_path) not in ran.stdout


def test_a_key_that_needs_a_password_is_refused_and_nobody_is_asked(authority: Authority, write: Callable[..., str]) -> None:
    certificate, key = authority.issue("client", password=b"secret")
    found = load({}, file=write("c", config(user={"client-certificate": str(certificate), "client-key": str(key)})))
    with pytest.raises(Invalid, match="certificate"):
        found.tls()


@pytest.mark.parametrize("data", [b"", b"nonsense", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", b"\xff"])
def test_a_certificate_that_is_none_is_said(write: Callable[..., str], data: bytes) -> None:
    broken = base64.b64encode(data).decode() or "Cg=="
    with pytest.raises(Invalid, match="certificate"):
        load({}, file=write("c", config(user={"client-certificate-data": broken, "client-key-data": broken}))).tls()
    with pytest.raises(Invalid, match="certificate"):
        load({}, file=write("c", config(cluster={"certificate-authority-data": broken}))).tls()
    with pytest.raises(Invalid, match="certificate"):
        load({}, file=write("c", config(cluster={"certificate-authority": "absent"}))).tls()


def test_a_server_that_somebody_else_vouches_for_gets_nothing(authority: Authority, write: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "else").mkdir()
    other = Authority(tmp_path / "else", "other")
    with ApiServer(certificate=other.issue("server")) as server:
        path = write("c", config(server=server.url, cluster={"certificate-authority-data": b64(authority.pem)}))
        with pytest.raises(Unavailable, match="does not vouch") as refused:
            Api(load({}, file=path)).get(f"{PODS}/a")
        assert refused.value.code == "CLUSTER_UNREACHABLE"
        assert not server.asked


@pytest.mark.parametrize("case", ["name", "expired"])
def test_a_certificate_of_another_name_or_time_is_refused(authority: Authority, write: Callable[..., str], case: str) -> None:
    made = authority.issue("server", names=("cluster.example",)) if case == "name" else authority.issue("server", past=True)
    with ApiServer(certificate=made) as server:
        server.put(f"{PODS}/a", {"metadata": {"name": "a"}})
        trusted = {"certificate-authority-data": b64(authority.pem)}
        with pytest.raises(Unavailable, match="does not vouch"):
            Api(load({}, file=write("c", config(server=server.url, cluster=trusted)))).get(f"{PODS}/a")
        assert not server.asked
        if case == "name":
            named = load({}, file=write("c", config(server=server.url, cluster={**trusted, "tls-server-name": "cluster.example"})))
            api = Api(named)
            assert api.get(f"{PODS}/a")
            api.close()


def test_exec_and_many_calls_go_over_tls(authority: Authority, write: Callable[..., str]) -> None:
    with ApiServer(certificate=authority.issue("server")) as server:
        found = load({}, file=write("c", config(server=server.url, cluster={"certificate-authority-data": b64(authority.pem)})))
        api = Api(found)
        data = random.Random(5).randbytes(2_000_000)
        streams = api.exec("rdev", "a", "box", ["cat"], stdin=True)
        got = bytearray()

        def read() -> None:
            with contextlib.suppress(Closed):
                while True:
                    piece = streams.read(5)
                    got.extend(piece[1] if piece is not None else b"")

        reader = threading.Thread(target=read)
        reader.start()
        streams.send(data)
        streams.end()
        reader.join(60)
        assert bytes(got) == data
        assert streams.status is not None
        assert streams.status.code == 0
        api.close()


# ------------------------------------------------------------------------------------------------- proxy


class Proxy:
    """An HTTP proxy that lets through to one place, or answers what it is told."""

    def __init__(self, answer: bytes = b"") -> None:
        self.answer, self.heads = answer, []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self._sockets = [self._listening]
        self._threads = [threading.Thread(target=self._serve, daemon=True)]
        self._threads[0].start()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            self._sockets.append(client)
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += client.recv(1)
            self.heads.append(head.decode())
            if self.answer:
                client.sendall(self.answer)
                client.close()
                continue
            host, _, port = head.split()[1].decode().rpartition(":")
            server = socket.create_connection((host, int(port)))
            self._sockets.append(server)
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            for pair in ((client, server), (server, client)):
                self._threads.append(threading.Thread(target=self._copy, args=pair, daemon=True))
                self._threads[-1].start()

    @staticmethod
    def _copy(one: socket.socket, other: socket.socket) -> None:
        try:
            while data := one.recv(65536):
                other.sendall(data)
            other.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def close(self) -> None:
        for one in self._sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)  # a close alone wakes nobody who waits on it
        for thread in self._threads:
            thread.join(10)
        for one in self._sockets:
            one.close()


def test_a_proxy_is_gone_through_and_sees_no_credential_of_the_cluster(authority: Authority, write: Callable[..., str]) -> None:
    proxy = Proxy()
    with ApiServer(certificate=authority.issue("server")) as server:
        server.put(f"{PODS}/a", {"metadata": {"name": "a"}})
        cluster = {"certificate-authority-data": b64(authority.pem), "proxy-url": proxy.url.replace("//", "//user:p%40ss@")}
        api = Api(load({}, file=write("c", config(server=server.url, cluster=cluster))))
        assert api.get(f"{PODS}/a")
        api.close()
        (head,) = proxy.heads
        assert head.startswith(f"CONNECT 127.0.0.1:{server.port} HTTP/1.1\r\n")
        assert f"Proxy-Authorization: Basic {base64.b64encode(b'user:p@ss').decode()}" in head
        assert "Bearer" not in head
    proxy.close()


@pytest.mark.parametrize(
    ("answer", "says"), [(b"HTTP/1.1 407 Auth\r\n\r\n", "407"), (b"what?\r\n\r\n", "understood"), (b"HTTP/1.1 200 OK\r\n", "proxy|ended")]
)
def test_a_proxy_that_refuses_is_named(
    write: Callable[..., str], answer: bytes, says: str, monkeypatch: pytest.MonkeyPatch, authority: Authority
) -> None:
    monkeypatch.setattr(calling, "_FIRST", 0.01)
    proxy = Proxy(answer)
    found = load({}, file=write("c", config(cluster={"proxy-url": proxy.url, "certificate-authority-data": b64(authority.pem)})))
    with pytest.raises(Unavailable, match=says) as refused:
        Api(found).get(f"{PODS}/a", timeout=5)
    assert refused.value.context["sent"] is False
    proxy.close()


# ------------------------------------------------------------------------------------------------- plugins


@pytest.fixture
def program(tmp_path: Path) -> Callable[[str], str]:
    def put(body: str, name: str = "login") -> str:
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)
        return str(path)

    return put


def says(status: Mapping[str, Any]) -> str:
    answer = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status}
    return f"printf '%s' {shlex.quote(json.dumps(answer))}"


def by_plugin(command: str, *args: str, **more: Any) -> dict[str, Any]:
    told = {"apiVersion": "client.authentication.k8s.io/v1", "command": command, "args": list(args), "interactiveMode": "Never", **more}
    return config(user={"exec": told})


def test_t_kube_1_a_plugin_runs_only_by_consent_to_its_whole_line(
    write: Callable[..., str], program: Callable[..., str], tmp_path: Path
) -> None:
    path = program(f"echo ran >> {tmp_path}/ran; {says({'token': 'from-the-plugin'})}")
    file = write("c", by_plugin(path, "get", "a b"))
    line = shlex.join([path, "get", "a b"])
    for allowed in ((), (path,), (f"{path} get",), ("login",), (f"{path} get a b",)):
        with pytest.raises(Denied, match="nobody consented") as refused:
            load({}, file=file, plugins=allowed)
        assert refused.value.code == "PLUGIN_NOT_ALLOWED"
        assert refused.value.context["plugin"] == line
        assert shlex.quote(line) in refused.value.hint
    found = load({}, file=file, plugins=(line,))
    assert not (tmp_path / "ran").exists()  # reading is not logging in
    assert token(found) == "from-the-plugin"
    assert token(found) == "from-the-plugin"
    assert (tmp_path / "ran").read_text() == "ran\n"
    found.login.forget()
    found.headers()
    assert (tmp_path / "ran").read_text() == "ran\nran\n"


def test_t_kube_1_a_relative_plugin_is_beside_its_file_and_a_bare_one_on_the_path(
    write: Callable[..., str], program: Callable[..., str], tmp_path: Path
) -> None:
    path = program(says({"token": "t"}))
    assert token(load({}, file=write("c", by_plugin("./login")), plugins=(path,))) == "t"
    assert token(load({"PATH": str(tmp_path)}, file=write("c", by_plugin("login")), plugins=(path,))) == "t"
    with pytest.raises(Invalid, match="not installed") as missing:
        load({"PATH": "/nowhere"}, file=write("c", by_plugin("login", installHint="get it there")), plugins=(path,))
    assert missing.value.hint == "get it there"


def test_t_kube_1_a_plugin_that_sleeps_is_ended_with_all_that_it_started(
    write: Callable[..., str],
    program: Callable[..., str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    left_behind: Callable[..., list[bytes]],
) -> None:
    monkeypatch.setattr(plugin, "STANDARD", 2.0)
    seconds = f"9{os.getpid()}"
    path = program(f"sleep {seconds} & sleep {seconds}")
    found = load({}, file=write("c", by_plugin(path)), plugins=(path,))
    began = time.monotonic()
    with pytest.raises(Unavailable, match="did not answer in 2 seconds") as failed:
        found.headers()
    assert failed.value.code == "PLUGIN_FAILED"
    assert time.monotonic() - began < 20
    assert left_behind(f"sleep {seconds}") == []


def test_t_kube_1_a_plugin_sees_an_empty_stdin(write: Callable[..., str], program: Callable[..., str]) -> None:
    path = program(f"read line && exit 3; {says({'token': 't'})}")
    assert token(load({}, file=write("c", by_plugin(path)), plugins=(path,))) == "t"


def test_t_kube_1_what_a_plugin_prints_on_stderr_is_cut_and_without_control_characters(
    write: Callable[..., str], program: Callable[..., str], capfd: pytest.CaptureFixture[str]
) -> None:
    path = program("printf '\\033[31mno\\007' >&2; head -c 100000 /dev/zero | tr '\\0' x >&2; exit 1")
    with pytest.raises(Unavailable, match="failed") as failed:
        load({}, file=write("c", by_plugin(path)), plugins=(path,)).headers()
    assert "\x1b" not in failed.value.message
    assert len(failed.value.message) < 500
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "body",
    [
        "echo nonsense",
        "true",
        "echo '{}'",
        says({}),
        says({"token": "a b"}),
        says({"token": 5}),
        says({"token": "t", "expirationTimestamp": "soon"}),
    ],
)
def test_a_plugin_without_a_login_is_an_error(write: Callable[..., str], program: Callable[..., str], body: str) -> None:
    path = program(body)
    with pytest.raises(Unavailable) as failed:
        load({}, file=write("c", by_plugin(path)), plugins=(path,)).headers()
    assert failed.value.code == "PLUGIN_FAILED"


@pytest.mark.parametrize("name", ["LD_PRELOAD", "PATH", "PYTHONPATH", "BASH_ENV", "NODE_OPTIONS", "DYLD_INSERT_LIBRARIES"])
def test_a_plugin_may_not_be_given_variables_that_decide_what_runs(
    write: Callable[..., str], program: Callable[..., str], name: str
) -> None:
    path = program(says({"token": "t"}))
    with pytest.raises(Denied, match=name):
        load({}, file=write("c", by_plugin(path, env=[{"name": name, "value": "x"}])), plugins=(path,))


def test_a_plugin_gets_its_variables_and_what_it_may_know_of_the_cluster(
    write: Callable[..., str], program: Callable[..., str], tmp_path: Path
) -> None:
    path = program(f'printf %s "$WHO $KUBERNETES_EXEC_INFO" > {tmp_path}/seen; {says({"token": "t"})}')
    load({}, file=write("c", by_plugin(path, env=[{"name": "WHO", "value": "me"}], provideClusterInfo=True)), plugins=(path,)).headers()
    who, _, info = (tmp_path / "seen").read_text().partition(" ")
    assert who == "me"
    assert json.loads(info)["spec"]["cluster"]["server"] == "https://10.0.0.1:6443"
    assert json.loads(info)["spec"]["interactive"] is False


def test_a_plugin_that_wants_a_terminal_is_refused(write: Callable[..., str], program: Callable[..., str]) -> None:
    path = program("true")
    with pytest.raises(Invalid, match="terminal"):
        load({}, file=write("c", by_plugin(path, interactiveMode="Always")), plugins=(path,))


def test_a_plugins_answer_is_asked_for_again_when_it_ends(write: Callable[..., str], program: Callable[..., str], tmp_path: Path) -> None:
    ends = (datetime.now(UTC) + timedelta(hours=1)).isoformat().replace("+00:00", "Z")
    path = program(f"echo x >> {tmp_path}/ran; {says({'token': 't', 'expirationTimestamp': ends})}")
    found = load({}, file=write("c", by_plugin(path)), plugins=(path,))
    found.headers()
    found.headers()
    assert (tmp_path / "ran").read_text() == "x\n"
    found.login._until = time.time() + 5
    found.headers()
    assert (tmp_path / "ran").read_text() == "x\nx\n"


def test_a_plugins_certificate_is_who_the_caller_is(authority: Authority, write: Callable[..., str], program: Callable[..., str]) -> None:
    certificate, key = authority.issue("client")
    path = program(says({"clientCertificateData": certificate.read_text(), "clientKeyData": key.read_text()}))
    with ApiServer(certificate=authority.issue("server"), client_authority=authority.file) as server:
        server.put(f"{PODS}/a", {"metadata": {"name": "a"}})
        data = by_plugin(path)
        data["clusters"][0]["cluster"] = {"server": server.url, "certificate-authority-data": b64(authority.pem)}
        api = Api(load({}, file=write("c", data), plugins=(path,)))
        assert api.get(f"{PODS}/a")
        api.close()


def test_the_folder_that_rdev_is_called_in_cannot_put_a_module_in_a_plugins_way(
    write: Callable[..., str], program: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("trap/kubernetes/__init__.py", "raise SystemExit('trapped')")
    write("trap/json.py", "raise SystemExit('trapped')")
    monkeypatch.chdir(tmp_path / "trap")
    path = program(says({"token": "t"}))
    assert token(load({}, file=write("c", by_plugin(path)), plugins=(path,))) == "t"


# ------------------------------------------------------------------------------------------------- kubectl beside us


@pytest.mark.cluster
@pytest.mark.parametrize("case", ["merge", "relative", "namespace", "duplicate"])
def test_kubectl_reads_the_same_files_in_the_same_way(write: Callable[..., str], tmp_path: Path, case: str) -> None:
    kubectl = f"{os.environ['RDEV_LAB_BIN']}/kubectl"
    first, second = config("a", server="https://first"), config("b", server="https://second", namespace="n")
    if case == "merge":
        second["clusters"].append({"name": "a", "cluster": {"server": "https://wrong", "tls-server-name": "wrong"}})
        first["current-context"] = ""
    if case == "duplicate":
        first["clusters"] *= 2
    if case == "relative":
        first["users"][0]["user"] = {"client-certificate": "x/c", "client-key": "../k"}
    environ = {
        "KUBECONFIG": f"{write('d/1', first)}:{tmp_path}/none:{write('2', second)}",
        "HOME": str(tmp_path),
        "PATH": os.environ["PATH"],
    }
    ran = subprocess.run(
        [kubectl, "config", "view", "--minify", "--raw", "-o", "json"], env=environ, capture_output=True, check=False, timeout=30
    )
    if case == "duplicate":
        assert ran.returncode != 0
        with pytest.raises(Invalid):
            load(environ)
        return
    theirs, ours = json.loads(ran.stdout), load(environ)
    assert ours.context == theirs["current-context"]
    assert ours.server == theirs["clusters"][0]["cluster"]["server"]
    assert ours.tls_server_name == theirs["clusters"][0]["cluster"].get("tls-server-name", "")
    assert ours.namespace == theirs["contexts"][0]["context"].get("namespace", "default")
    if case == "relative":
        files = ours.login._certificate
        assert files is not None
        assert [os.path.normpath(str(one)) for one in files] == [
            os.path.normpath(tmp_path / "d" / theirs["users"][0]["user"][key]) for key in ("client-certificate", "client-key")
        ]


def test_a_handshake_that_hangs_is_bounded(authority: Authority, write: Callable[..., str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        cluster = {"certificate-authority-data": b64(authority.pem)}
        found = load({}, file=write("c", config(server=f"https://127.0.0.1:{silent.getsockname()[1]}", cluster=cluster)))
        with pytest.raises(TimeoutError):
            wire.connect(found, found.tls(), deadline=time.monotonic() + 0.3)
