"""The stdin of commands in pods."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from rdev_cli.adapters.kubernetes.socket import V5, Broken

if TYPE_CHECKING:
    from collections.abc import Callable

    from rdev_cli.adapters.kubernetes.socket import Exec
    from rdev_cli.ports.cluster import Input

_SLICE = 1 << 15
_LINES = 1 << 13  # bytes that go as lines, which need no second connection at their end; more goes as it is
_ESCAPES = [bytes((byte,)) if 0x20 <= byte < 0x7F and byte != 0x5C else b"\\0%03o" % byte for byte in range(256)]


def escape(data: bytes) -> bytes:
    """Return bytes as printf's %b takes them, on one line."""
    return b"".join(_ESCAPES[byte] for byte in data)


class PodInput:
    """The stdin of a durable command. One thread may write while another follows.

    `settle` waits until the pod says that all of it is there: only then may this process go. Without a connection nobody reads.
    """

    def __init__(self, exec_: Exec | None, *, terminal: bool, settle: Callable[[], None] = lambda: None) -> None:
        # a version 4 server cannot end stdin alone, so all of it goes as lines, and so do the keys of a terminal
        self._exec, self._settle = exec_, settle
        self._lines, self._sent, self._raw = terminal or exec_ is None or exec_.protocol != V5, 0, False
        self.deaf = exec_ is None  # the command reads no more
        self.finished = False

    def write(self, data: bytes) -> bool:
        view, size = memoryview(data), _SLICE
        if not self._raw and not self._lines and self._sent + len(data) > _LINES:
            self._send(b"raw\n")
            self._raw = True
        self._sent += len(data)
        for at in range(0, len(view), size):
            part = bytes(view[at : at + size])
            if self.deaf or not self._send(part if self._raw else b"." + escape(part) + b"\n"):
                return False
        return True

    def finish(self) -> None:
        self.finished = True
        self._end(b"end\n")
        self._settle()

    def give_up(self) -> None:
        self._end(b"cut\n")

    def resize(self, rows: int, columns: int) -> None:
        self._send(b"size %d %d\n" % (rows, columns))

    @property
    def open(self) -> bool:
        """Say whether the connection still takes a word: stdin went as lines, and is at its end."""
        return self.finished and not self._raw

    def _end(self, word: bytes) -> None:
        if not self._raw:
            self._send(word)
        elif self._exec is not None:
            with suppress(Broken):
                self._exec.end()

    def _send(self, data: bytes) -> bool:
        if self._exec is None:
            return False
        try:
            self._exec.send(data)
        except Broken:
            self.deaf = True
            return False
        return True


def _is_an_input(one: PodInput) -> Input:
    return one
