"""A server with the proxy of previews in this process, a session whose pod is a twin, and programs in it that a test plays."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable
from typing import Any

import uvicorn

from rdev_cli.domain.preview import Preview
from rdev_cli.domain.session import SessionSpec
from rdev_cli.faces.http.limits import Hosts, Proxies
from rdev_cli.faces.http.server import _Fronted
from rdev_cli.faces.http.visits import Bounds, Visits
from rdev_cli.ops import previews, sessions
from tests.fakes.world import MemoryWorld

PORT = 3000
Handler = Callable[[socket.socket], None]


async def _app(scope: Any, receive: Any, send: Any) -> None:
    """The server's own part: it says which host it was asked for."""
    if scope["type"] != "http":
        return
    host = dict(scope["headers"]).get(b"host", b"")
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", str(4 + len(host)).encode())]})
    await send({"type": "http.response.body", "body": b"app " + host})


class Program:
    """What listens in the pod: each connection is handed to the handler, in a thread of its own."""

    def __init__(self, handler: Handler) -> None:
        self.handler, self.taken = handler, 0
        self.open: list[socket.socket] = []

    def __call__(self, one: socket.socket) -> None:
        self.taken += 1
        self.open.append(one)
        one.settimeout(20)
        threading.Thread(target=self._serve, args=(one,), daemon=True).start()

    def _serve(self, one: socket.socket) -> None:
        with contextlib.suppress(OSError, EOFError):
            self.handler(one)
        one.close()


class Stage:
    """The server, the session `shop` has, and one open port of it."""

    def __init__(self, world: MemoryWorld, bounds: Bounds | None = None, **more: Any) -> None:
        self.world = world
        self.session = sessions.start(world, SessionSpec(project="shop"))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        hosts, proxies = Hosts(("localhost", "127.0.0.1"), self.port, more.pop("allow", ())), Proxies(())
        self.visits = Visits(world, domain=more.pop("domain", ""), hosts=hosts, proxies=proxies, bounds=bounds, **more)
        kind = type("_Connection", (_Fronted,), {"visits": self.visits})
        config = uvicorn.Config(_app, http=kind, ws="none", loop="asyncio", log_config=None, lifespan="off", timeout_graceful_shutdown=2)
        self._server = uvicorn.Server(config)
        self._server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign, assignment]
        self._thread = threading.Thread(target=lambda: asyncio.run(self._server.serve([self._listener])), daemon=True)
        self._thread.start()
        self.preview = self.open(PORT)
        self.host = f"{self.preview.id}.localhost:{self.port}"

    def open(self, port: int) -> Preview:
        return previews.open_(self.world, self.session.id, port, base=f"http://localhost:{self.port}")

    def plays(self, handler: Handler, port: int = PORT) -> Program:
        """Let a program listen in the session's pod."""
        program = Program(handler)
        self.world.cluster.listening[self.session.pod, port] = program
        return program

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)

    def raw(self, data: bytes) -> bytes:
        """Send bytes and return all that comes until the other side closes."""
        with self.connect() as to:
            to.sendall(data)
            return rest(to)

    def get(self, *lines: str, host: str | None = None, path: str = "/", method: str = "GET", body: bytes = b"") -> bytes:
        """Send one request, after which the connection ends."""
        head = (f"{method} {path} HTTP/1.1", f"Host: {self.host if host is None else host}", *lines, "Connection: close", "", "")
        return self.raw("\r\n".join(head).encode() + body)

    def close(self) -> None:
        self._server.should_exit = True
        self._thread.join(20)
        self._listener.close()
        self.visits.close()


def rest(one: socket.socket) -> bytes:
    """Return what comes until the end."""
    found = b""
    while data := one.recv(1 << 16):
        found += data
    return found


def head(one: socket.socket) -> bytes:
    """Return what comes up to the end of a head, and nothing behind it."""
    found = b""
    while not found.endswith(b"\r\n\r\n"):
        data = one.recv(1)
        if not data:
            raise EOFError(found)
        found += data
    return found


def exactly(one: socket.socket, size: int) -> bytes:
    """Return so many bytes."""
    found = b""
    while len(found) < size:
        data = one.recv(size - len(found))
        if not data:
            raise EOFError(found)
        found += data
    return found


def answers(text: bytes, seen: list[bytes] | None = None) -> Handler:
    """Return a program that gives this answer to each request, which must have no body."""

    def handler(one: socket.socket) -> None:
        while True:
            asked = head(one)
            if seen is not None:
                seen.append(asked)
            one.sendall(text)

    return handler


def plain(body: bytes, *lines: bytes) -> bytes:
    """Return a plain answer."""
    return b"\r\n".join((b"HTTP/1.1 200 OK", b"Content-Length: %d" % len(body), *lines, b"", body))
