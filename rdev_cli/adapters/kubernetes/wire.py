"""One connection to an API server: every wait on it is bounded, and a stop ends it."""

import base64
import contextlib
import errno
import http.client
import io
import os
import select
import socket
import ssl
import threading
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from rdev_cli.adapters.kubernetes.access import Access
from rdev_cli.adapters.shared.bounded import within
from rdev_cli.ports.timing import FAST_LOOKUP, Stop

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

NEVER = Stop()  # for what its caller bounds, or what has to go on
_SLICE = 0.1  # seconds between two looks at the stop
_READ = 64 << 10
# a peer that is gone without a word is noticed by the kernel: probes after 20 s of silence, an end 60 s after the last acknowledgement
_PROBES = {"TCP_KEEPIDLE": 20, "TCP_KEEPALIVE": 20, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 4, "TCP_USER_TIMEOUT": 60_000}


class Wire(io.RawIOBase):
    """A connected socket, with TLS or without, that one thread may read while another writes.

    OpenSSL must not be used by two threads at once, so the socket does not block and waits happen outside the lock. `deadline`
    (monotonic seconds) bounds reads; one that passes it raises TimeoutError and loses nothing.
    """

    def __init__(self, sock: socket.socket, *, deadline: float, stop: Stop) -> None:
        self._sock, self._lock, self.deadline, self.stop = sock, threading.Lock(), deadline, stop
        self.reader = io.BufferedReader(self, _READ)

    def push(self, data: "ReadableBuffer", deadline: float) -> None:
        """Send everything. After a TimeoutError nothing more can be sent here: half of it may be on its way."""
        with memoryview(data).cast("B") as whole:
            sent = 0
            while sent < len(whole):
                try:
                    with self._lock:
                        sent += self._sock.send(whole[sent:])
                except (ssl.SSLWantWriteError, BlockingIOError):
                    _wait(self._sock, select.POLLOUT, deadline, self.stop)
                except ssl.SSLWantReadError:
                    _wait(self._sock, select.POLLIN, deadline, self.stop)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        with memoryview(buffer).cast("B") as room:
            got = 0
            while True:
                try:
                    # all that is there: a server may send records of a few kilobytes, and each would cost the way up through all readers
                    with self._lock:
                        while got < len(room) and (more := self._sock.recv_into(room[got:])):
                            got += more
                    return got
                except OSError as e:
                    if got:  # what came before an end was sent; the end is told by the next read
                        return got
                    if isinstance(e, ssl.SSLWantReadError | BlockingIOError):
                        _wait(self._sock, select.POLLIN, self.deadline, self.stop)
                    elif isinstance(e, ssl.SSLWantWriteError):
                        _wait(self._sock, select.POLLOUT, self.deadline, self.stop)
                    else:
                        raise

    def quiet(self) -> bool:
        """Say whether nothing has come: between two answers anything, an end above all, makes the connection useless."""
        return not _ready(self._sock, select.POLLIN, 0)

    def open_way(self) -> bool:
        """Say whether the kernel takes something to send."""
        return _ready(self._sock, select.POLLOUT, 0)

    def shake(self) -> None:
        """Do the TLS handshake."""
        assert isinstance(self._sock, ssl.SSLSocket)
        while True:
            try:
                self._sock.do_handshake()
                return
            except ssl.SSLWantReadError:
                _wait(self._sock, select.POLLIN, self.deadline, self.stop)
            except ssl.SSLWantWriteError:
                _wait(self._sock, select.POLLOUT, self.deadline, self.stop)

    def close(self) -> None:
        if not self.closed:
            super().close()
            with contextlib.suppress(OSError):
                self._sock.shutdown(socket.SHUT_RDWR)  # wakes whoever waits on it
            self._sock.close()


class Lent:
    """A wire lent to http.client for one request and its answer: their end closes nothing, and what was read beyond it stays in the reader."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def __getattr__(self, name: str) -> Any:
        return getattr(self._wire.reader, name)

    def sendall(self, data: "ReadableBuffer") -> None:
        self._wire.push(data, self._wire.deadline)

    def makefile(self, _mode: str) -> "Lent":
        return self

    def close(self) -> None:
        pass


class ProxyRefused(OSError):
    """The proxy did not let through to the server."""


def connect(access: Access, tls: ssl.SSLContext | None, *, deadline: float, stop: Stop = NEVER) -> Wire:
    """Return a connection to the API server, through the proxy that the access names.

    OSError where there is none, ssl.SSLError where whoever answers is not the server; TimeoutError after the deadline (monotonic seconds).
    """
    server, proxy = urlsplit(access.server), urlsplit(access.proxy)
    host, port = server.hostname or "", server.port or (443 if tls else 80)
    sock = _dial(proxy.hostname or host, (proxy.port or 80) if access.proxy else port, deadline, stop)
    try:
        if access.proxy:
            _tunnel(Wire(sock, deadline=deadline, stop=stop), host, port, proxy.username, proxy.password)
        if tls is not None:
            name = _plain(access.tls_server_name or host)
            sock = tls.wrap_socket(sock, server_hostname=name, do_handshake_on_connect=False)
        wire = Wire(sock, deadline=deadline, stop=stop)
        if tls is not None:
            wire.shake()
    except BaseException:
        sock.close()
        raise
    return wire


def _plain(host: str) -> str | bytes:
    """Return a name as it is sent, if that can be seen at once: the codec that Python takes for it otherwise costs more than the look-up."""
    return host.encode() if host.isascii() else host


def _addresses(host: str, port: int, stop: Stop) -> list[Any]:
    try:
        return socket.getaddrinfo(_plain(host), port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except socket.gaierror:
        pass  # a name

    def look() -> list[Any] | OSError:
        try:
            return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as e:
            return e

    found = within(FAST_LOOKUP, look, what=f"looking up {host}", stop=stop)
    if isinstance(found, OSError):
        raise found
    return found


def _dial(host: str, port: int, deadline: float, stop: Stop) -> socket.socket:
    failure: OSError | None = None
    for family, kind, protocol, _, address in _addresses(host, port, stop):
        sock = socket.socket(family, kind, protocol)
        try:
            sock.settimeout(0)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for name, value in _PROBES.items():
                if hasattr(socket, name):
                    sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
            code = sock.connect_ex(address)
            if code == errno.EINPROGRESS:
                _wait(sock, select.POLLOUT, deadline, stop)
                code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code:
                raise OSError(code, os.strerror(code))
            return sock
        except OSError as e:
            sock.close()
            failure = e
        except BaseException:
            sock.close()
            raise
    raise failure or OSError(errno.EADDRNOTAVAIL, "the name has no address")


def _tunnel(wire: Wire, host: str, port: int, user: str | None, password: str | None) -> None:
    """Ask a proxy for a way to the server."""
    target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
    if user is not None:
        pair = base64.b64encode(f"{unquote(user)}:{unquote(password or '')}".encode()).decode()
        lines.append(f"Proxy-Authorization: Basic {pair}")
    wire.push(("\r\n".join(lines) + "\r\n\r\n").encode(), wire.deadline)
    answer = http.client.HTTPResponse(Lent(wire), method="HEAD")  # type: ignore[arg-type]  # all that it asks of a socket is makefile
    try:
        answer.begin()
    except http.client.HTTPException as e:
        raise ProxyRefused("the proxy gives no answer that can be understood") from e
    if answer.status != 200:
        raise ProxyRefused(f"the proxy answers {answer.status}")


def _ready(sock: socket.socket, events: int, seconds: float) -> bool:
    number = sock.fileno()
    if number < 0:
        raise ConnectionAbortedError("closed")
    poller = select.poll()
    poller.register(number, events)
    return bool(poller.poll(1000 * seconds))


def _wait(sock: socket.socket, events: int, deadline: float, stop: Stop) -> None:
    while True:
        stop.check("a call of the cluster")
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("no answer in time")
        if _ready(sock, events, min(left, 1.0 if stop is NEVER else _SLICE)):
            return
