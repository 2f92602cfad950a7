"""A Kubernetes API server that keeps objects, plays watches and execs, and fails as it is told.

    with ApiServer() as server:
        server.trouble(RESET, status(503), on="POST")
        api = Api(server.access())

Each fault is taken by one request, in order, and only by one that `on` matches ("METHOD path", as a part of it).
"""

import base64
import contextlib
import hashlib
import http.server
import json
import os
import socket
import ssl
import struct
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from websocket import ABNF, frame_buffer

from rdev_cli.adapters.kubernetes.access import Access, Login

STDIN, STDOUT, STDERR, STATUS, RESIZE, HALF = 0, 1, 2, 3, 4, 255
_COLLECTIONS = ("pods", "configmaps", "persistentvolumeclaims", "networkpolicies")
SUCCESS = b'{"metadata":{},"status":"Success"}'


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one request: `do` says whether the server does what was asked first."""

    kind: str
    do: bool = False
    at: int = 0
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


RESET = Fault("reset")  # the connection is torn before anything was done
RESET_AFTER = Fault("reset", do=True)  # and after all of it was done: only the answer is lost
HANG = Fault("hang")  # no answer, and no end
HANG_AFTER = Fault("hang", do=True)
SLOW = Fault("slow", do=True)  # a byte each 50 ms
HTML = Fault("status", headers=(("Content-Type", "text/html"),), body=b"<html>Sign in</html>")


def cut(at: int, *, do: bool = True) -> Fault:
    """End the answer cleanly after so many bytes of it, head included; counted from its end if negative."""
    return Fault("cut", do=do, at=at)


def status(code: int, *, reason: str = "", message: str = "", after: str = "") -> Fault:
    """Answer with a status of Kubernetes."""
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": message}
    return Fault("status", status=code, headers=(("Retry-After", after),) if after else (), body=json.dumps(body).encode())


@dataclass
class Asked:
    """A request that came."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: Any
    at: float = field(default_factory=time.monotonic)


class Session:
    """The server's side of one exec."""

    def __init__(
        self, connection: socket.socket, reader: Any, argv: list[str], query: dict[str, list[str]], protocol: str, cut_at: int
    ) -> None:
        self.argv, self.query, self.protocol = argv, query, protocol
        self._connection, self._reader = connection, reader
        self._frames = frame_buffer(self._take, skip_utf8_validation=True)
        self._left = cut_at
        self._lock = threading.Lock()
        self.pings = 0
        self.pong = True

    def send(self, channel: int, data: bytes) -> None:
        self.frame(ABNF.OPCODE_BINARY, bytes([channel]) + data)

    def frame(self, opcode: int, data: bytes, *, fin: int = 1) -> None:
        self.raw(ABNF(fin, 0, 0, 0, opcode, 0, data).format())

    def raw(self, data: bytes) -> None:
        """Send bytes as they are; past the cut the connection is torn, in the middle of them."""
        with self._lock:
            if self._left >= 0:
                data, self._left = data[: self._left], max(0, self._left - len(data))
            self._connection.sendall(data)
            if self._left == 0:
                tear(self._connection)
                raise ConnectionResetError

    def receive(self) -> tuple[int, bytes] | None:
        """Return the next message's channel and bytes, None at the end."""
        while True:
            try:
                frame = self._frames.recv_frame()
            except OSError:
                return None
            if frame.opcode == ABNF.OPCODE_PING:
                self.pings += 1
                if self.pong:
                    self.frame(ABNF.OPCODE_PONG, frame.data)
            elif frame.opcode == ABNF.OPCODE_CLOSE:
                return None
            elif frame.opcode == ABNF.OPCODE_BINARY:
                return frame.data[0], frame.data[1:]

    def exit(self, code: int) -> None:
        """Say how it ended, and close."""
        causes = {"causes": [{"reason": "ExitCode", "message": str(code)}]}
        said = {"metadata": {}, "status": "Failure", "reason": "NonZeroExitCode", "message": f"exit {code}", "details": causes}
        self.send(STATUS, json.dumps(said).encode() if code else SUCCESS)
        self.frame(ABNF.OPCODE_CLOSE, struct.pack("!H", 1000))

    def _take(self, most: int) -> bytes:
        data = self._reader.read1(most)
        if not data:
            raise ConnectionResetError
        return data


def really(session: Session) -> None:
    """Run the command on this machine, as a container would."""
    wants = session.query.get("stdin") == ["true"]
    process = subprocess.Popen(
        session.argv, stdin=subprocess.PIPE if wants else subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )

    def pump(channel: int, pipe: Any) -> None:
        with contextlib.suppress(OSError):
            while data := os.read(pipe.fileno(), 32 << 10):
                session.send(channel, data)

    def feed() -> None:
        assert process.stdin is not None
        with contextlib.suppress(OSError, ValueError):
            while (message := session.receive()) is not None:
                channel, data = message
                if channel == STDIN:
                    process.stdin.write(data)
                    process.stdin.flush()
                elif channel == HALF:
                    break
        with contextlib.suppress(OSError, ValueError):
            process.stdin.close()

    pumps = [threading.Thread(target=pump, args=pair, daemon=True) for pair in ((STDOUT, process.stdout), (STDERR, process.stderr))]
    for thread in (*pumps, *([threading.Thread(target=feed, daemon=True)] if wants else ())):
        thread.start()
    for thread in pumps:
        thread.join()
    code = process.wait()
    for pipe in (process.stdout, process.stderr):
        pipe.close()
    session.exit(code)


class ApiServer:
    """The server, on a port of the loopback; with TLS if it is given a certificate's files."""

    def __init__(self, *, certificate: tuple[Path, Path] | None = None, client_authority: Path | None = None) -> None:
        self.objects: dict[str, dict[str, Any]] = {}
        self.asked: list[Asked] = []
        self.history: list[tuple[int, str, str, dict[str, Any]]] = []  # version, path of the collection, kind, object
        self.version = 100
        self.forgotten = 0  # versions up to this one are answered with 410
        self.exec: Callable[[Session], None] = really
        self.execs: list[Session] = []
        self.cut_at = -1  # bytes of an exec after which its connection is torn
        self.protocols = ["v5.channel.k8s.io", "v4.channel.k8s.io"]
        self.token = ""  # what a caller has to show
        self.expire_continue = 0  # so many continuations are answered with 410
        self.date = ""
        self.bookmark = 0.2  # seconds between bookmarks of a watch
        self.logs: dict[str, bytes] = {}
        self._faults: deque[tuple[str, Fault]] = deque()
        self.changed = threading.Condition()
        self.closing = threading.Event()
        server = self

        class Handler(_Handler):
            pass

        Handler.server_ = server
        self._http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self._http.handle_error = lambda *_: None  # type: ignore[method-assign]
        self.tls: ssl.SSLContext | None = None
        if certificate is not None:
            self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.tls.load_cert_chain(*certificate)
            if client_authority is not None:
                self.tls.verify_mode = ssl.CERT_REQUIRED
                self.tls.load_verify_locations(client_authority)
        self.url = f"{'https' if certificate else 'http'}://127.0.0.1:{self._http.server_port}"
        self.port = self._http.server_port

    def __enter__(self) -> Self:
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        with self.changed:
            self.changed.notify_all()
        self._http.shutdown()
        self._http.server_close()

    def access(self, **more: Any) -> Access:
        return Access(**{"server": self.url, "namespace": "rdev", "context": "scripted", "login": Login(token=self.token), **more})

    def trouble(self, *faults: Fault, on: str = "") -> None:
        self._faults.extend((on, fault) for fault in faults)

    @property
    def troubles_left(self) -> int:
        return len(self._faults)

    def fault(self, line: str) -> Fault | None:
        if self._faults and self._faults[0][0] in line:
            return self._faults.popleft()[1]
        return None

    def put(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Store an object as if somebody else had made or changed it."""
        with self.changed:
            old = self.objects.get(path)
            self.version += 1
            meta = {"uid": old["metadata"]["uid"] if old else f"uid-{self.version}", "creationTimestamp": "2026-01-01T00:00:00Z"}
            made = {**body, "metadata": {**meta, **body.get("metadata", {}), "resourceVersion": str(self.version)}}
            made["metadata"].setdefault("name", path.rpartition("/")[2])
            self.objects[path] = made
            self.history.append((self.version, path.rpartition("/")[0], "MODIFIED" if old else "ADDED", made))
            self.changed.notify_all()
            return made

    def drop(self, path: str) -> None:
        with self.changed:
            gone = self.objects.pop(path)
            self.version += 1
            gone = {**gone, "metadata": {**gone["metadata"], "resourceVersion": str(self.version)}}
            self.history.append((self.version, path.rpartition("/")[0], "DELETED", gone))
            self.changed.notify_all()

    def select(self, path: str, query: dict[str, list[str]]) -> list[dict[str, Any]]:
        found = [one for place, one in sorted(self.objects.items()) if place.rpartition("/")[0] == path]
        return [one for one in found if matches(one, query)]


def matches(one: dict[str, Any], query: dict[str, list[str]]) -> bool:
    labels = one["metadata"].get("labels", {})
    wanted = dict(part.split("=", 1) for part in query.get("labelSelector", [""])[0].split(",") if part)
    name = query.get("fieldSelector", [""])[0].removeprefix("metadata.name=")
    return all(labels.get(key) == value for key, value in wanted.items()) and (not name or one["metadata"]["name"] == name)


def tear(connection: socket.socket) -> None:
    """End a connection with RST."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    os.close(connection.detach())  # whatever else holds it


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_: ApiServer
    wbufsize = -1  # one write a reply
    rbufsize = 64 << 10

    def setup(self) -> None:
        if self.server_.tls is not None:
            self.request.settimeout(20)
            self.request = self.server_.tls.wrap_socket(self.request, server_side=True)
        super().setup()

    def log_message(self, *_: object) -> None:
        pass

    def handle_one_request(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            super().handle_one_request()
            return
        self.close_connection = True

    def finish(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            super().finish()
        with contextlib.suppress(OSError, ValueError):
            self.request.close()

    def do_GET(self) -> None:
        self._serve()

    do_POST = do_PATCH = do_DELETE = do_GET  # noqa: N815 -- as http.server calls them

    def _serve(self) -> None:
        server, url = self.server_, urlsplit(self.path)
        length = int(self.headers.get("Content-Length", 0))
        body = json.loads(self.rfile.read(length)) if length else None
        query = parse_qs(url.query, keep_blank_values=True)
        server.asked.append(Asked(self.command, url.path, query, dict(self.headers.items()), body))
        fault = server.fault(f"{self.command} {self.path}")
        if fault is not None and not fault.do:
            self._fail(fault, b"")
            return
        if server.token and self.headers.get("Authorization") != f"Bearer {server.token}":
            self._answer(*_status(401, "Unauthorized", "Unauthorized"), fault)
        elif url.path.endswith("/exec"):
            self._exec(query)
        elif url.path.endswith("/log"):
            self._stream(iter([server.logs.get(url.path, b"")]), fault)
        elif query.get("watch") == ["true"]:
            self._watch(url.path, query, fault)
        else:
            with server.changed:
                code, found = self._do(url.path, query, body)
            self._answer(code, found, fault)

    def _do(self, path: str, query: dict[str, list[str]], body: Any) -> tuple[int, dict[str, Any]]:
        server = self.server_
        if self.command == "POST":
            name = body["metadata"].get("name", "") if "metadata" in body else ""
            if not name:
                return 201, body
            if f"{path}/{name}" in server.objects:
                return _status(409, "AlreadyExists", f'pods "{name}" already exists')
            return 201, server.put(f"{path}/{name}", body)
        one = server.objects.get(path)
        if self.command == "GET" and one is None and path.rpartition("/")[2] in _COLLECTIONS:
            return self._list(path, query)
        if one is None:
            return _status(404, "NotFound", f'pods "{path.rpartition("/")[2]}" not found')
        if self.command == "PATCH":
            meta = body.get("metadata", {})
            if meta.get("resourceVersion", one["metadata"]["resourceVersion"]) != one["metadata"]["resourceVersion"]:
                return _status(409, "Conflict", "the object has been modified")
            return 200, server.put(path, _merged(one, body))
        if self.command == "DELETE":
            wanted = body["preconditions"]
            if any(one["metadata"][key] != value for key, value in wanted.items()):
                return _status(409, "Conflict", "Precondition failed")
            server.drop(path)
        return 200, one

    def _list(self, path: str, query: dict[str, list[str]]) -> tuple[int, dict[str, Any]]:
        server = self.server_
        start = 0
        if "continue" in query:
            if server.expire_continue:
                server.expire_continue -= 1
                return _status(410, "Expired", "The provided continue parameter is too old")
            start = int(query["continue"][0])
        found, limit = server.select(path, query), int(query.get("limit", ["0"])[0]) or 10**9
        more = len(found) > start + limit
        meta = {"resourceVersion": str(server.version), **({"continue": str(start + limit)} if more else {})}
        return 200, {"kind": "PodList", "apiVersion": "v1", "metadata": meta, "items": found[start : start + limit] or None}

    def _watch(self, path: str, query: dict[str, list[str]], fault: Fault | None) -> None:
        server = self.server_
        since = int(query["resourceVersion"][0])
        if since < server.forgotten:
            self._answer(*_status(410, "Expired", "too old resource version"), fault)
            return
        self._stream(self._events(path, query, since), fault)

    def _events(self, path: str, query: dict[str, list[str]], since: int) -> Iterator[bytes]:
        server = self.server_
        end = time.monotonic() + int(query["timeoutSeconds"][0])
        while time.monotonic() < end and not server.closing.is_set():
            with server.changed:
                if since < server.forgotten:
                    code, said = _status(410, "Expired", "too old resource version")
                    yield json.dumps({"type": "ERROR", "object": {**said, "code": code}}).encode() + b"\n"
                    return
                news = [event for event in server.history if event[0] > since]
                if not news:
                    server.changed.wait(min(server.bookmark, max(0.0, end - time.monotonic())))
                    mark = {"type": "BOOKMARK", "object": {"kind": "Pod", "metadata": {"resourceVersion": str(max(since, server.version))}}}
                    told = [] if [event for event in server.history if event[0] > since] else [mark]
                else:
                    since = news[-1][0]
                    told = [{"type": kind, "object": one} for _, place, kind, one in news if place == path and matches(one, query)]
            for event in told:
                yield json.dumps(event).encode() + b"\n"

    def _stream(self, pieces: Iterator[bytes], fault: Fault | None) -> None:
        """Send pieces as chunks; a cut counts bytes of all of it."""
        left = fault.at if fault is not None and fault.kind == "cut" else -1
        head = f"HTTP/1.1 200 OK\r\nDate: {formatdate(usegmt=True)}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        for piece in (head, *()):
            left = self._part(piece, left)
        for piece in pieces:
            if piece:
                left = self._part(b"%x\r\n%b\r\n" % (len(piece), piece), left)
            if left == 0:
                break
        else:
            left = self._part(b"0\r\n\r\n", left)
        if left == 0:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)

    def _part(self, data: bytes, left: int) -> int:
        self.wfile.write(data if left < 0 else data[:left])
        self.wfile.flush()
        return left if left < 0 else max(0, left - len(data))

    def _answer(self, code: int, found: dict[str, Any], fault: Fault | None = None) -> None:
        body = json.dumps(found).encode()
        date = self.server_.date or formatdate(usegmt=True)
        head = f"HTTP/1.1 {code} X\r\nDate: {date}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        if fault is None:
            self.wfile.write(head.encode() + body)
        else:
            self._fail(fault, head.encode() + body)

    def _fail(self, fault: Fault, whole: bytes) -> None:
        self.close_connection = True
        if fault.kind == "reset":
            tear(self.connection)
        elif fault.kind == "hang":
            self.server_.closing.wait(60)
        elif fault.kind == "slow":
            for number in whole:
                self.connection.sendall(bytes([number]))
                if self.server_.closing.wait(0.05):
                    return
        elif fault.kind == "cut":
            self.connection.sendall(whole[: fault.at])
        else:
            lines = [
                f"HTTP/1.1 {fault.status} X",
                *(f"{key}: {value}" for key, value in fault.headers),
                f"Content-Length: {len(fault.body)}",
            ]
            self.connection.sendall("\r\n".join([*lines, "\r\n"]).encode("latin-1") + fault.body)

    def _exec(self, query: dict[str, list[str]]) -> None:
        server = self.server_
        offered = [one.strip() for one in self.headers.get("Sec-WebSocket-Protocol", "").split(",")]
        protocol = next((one for one in server.protocols if one in offered), "")
        key = self.headers.get("Sec-WebSocket-Key", "") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accept = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
        self.connection.sendall(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: {protocol}\r\n\r\n".encode()
        )
        self.close_connection = True
        session = Session(self.connection, self.rfile, query.get("command", []), query, protocol, server.cut_at)
        server.execs.append(session)
        with contextlib.suppress(OSError, ValueError):
            server.exec(session)
            self.connection.shutdown(socket.SHUT_WR)
            self.connection.settimeout(5)
            while self.rfile.read1(1 << 16):  # closing with bytes unread would tear what is still on its way out
                pass


def _status(code: int, reason: str, message: str) -> tuple[int, dict[str, Any]]:
    return code, {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "message": message}


def _merged(old: Any, new: Any) -> Any:
    if not isinstance(old, dict) or not isinstance(new, dict):
        return new
    both = {**old, **{key: _merged(old.get(key), value) for key, value in new.items()}}
    return {key: value for key, value in both.items() if value is not None}
