"""A TCP proxy that is as bad as networks are: it cuts connections after so many bytes, or forgets the quiet ones."""

import contextlib
import select
import socket
import struct
import threading
import time
from collections.abc import Callable
from typing import Self


class Cutter:
    """Stands on a loopback port before `target`. Each connection is reset after `budget()` bytes, both ways together.

    `quiet`: seconds after which a connection that carried nothing is forgotten: no word to either side, and nothing passes any more.
    """

    def __init__(self, target: tuple[str, int], *, budget: Callable[[], float] = lambda: float("inf"), quiet: float = float("inf")) -> None:
        self._target, self._budget, self._quiet = target, budget, quiet
        self._server = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self.port: int = self._server.getsockname()[1]
        self.connections = self.cuts = self.forgotten = 0
        self.threads = [threading.Thread(target=self._accept, daemon=True)]
        self.threads[0].start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.close()
        with self._lock:
            for one in list(self._open):
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
        for thread in self.threads:
            thread.join(10)

    def _accept(self) -> None:
        while True:
            try:
                if not select.select([self._server], [], [], 0.2)[0]:
                    continue
                near, _ = self._server.accept()
            except (OSError, ValueError):
                return  # closed
            thread = threading.Thread(target=self._carry, args=(near,), daemon=True)
            self.threads.append(thread)
            thread.start()

    def _carry(self, near: socket.socket) -> None:
        self.connections += 1
        left, last = self._budget(), time.monotonic()
        try:
            far = socket.create_connection(self._target, timeout=30)
        except OSError:
            near.close()
            return
        far.settimeout(None)
        both = {near: far, far: near}
        with self._lock:
            self._open |= both.keys()
        try:
            while True:
                ready = select.select(list(both), [], [], 0.5)[0]
                if not ready and time.monotonic() - last > self._quiet:
                    self.forgotten += 1
                    self._forget(near)
                    return
                for one in ready:
                    data = one.recv(1 << 16)
                    if not data:
                        return
                    last = time.monotonic()
                    both[one].sendall(data[: int(min(left, len(data)))])
                    left -= len(data)
                    if left <= 0:
                        self.cuts += 1
                        for end in both:  # a reset, not an end
                            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                        return
        except (OSError, ValueError):
            return
        finally:
            with self._lock:
                self._open -= both.keys()
            near.close()
            far.close()

    def _forget(self, near: socket.socket) -> None:
        """Take what comes and let nothing pass, until the near side gives up."""
        while near.recv(1 << 16):
            pass
