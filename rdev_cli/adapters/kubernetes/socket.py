"""Exec over WebSocket: channels of bytes out of and into a container, and the one word on how it ended."""

import base64
import hashlib
import json
import os
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from websocket import ABNF, WebSocketException, frame_buffer

from rdev_cli.adapters.kubernetes.wire import Wire

V5, V4 = "v5.channel.k8s.io", "v4.channel.k8s.io"
STDOUT, STDERR = 1, 2
_STDIN, _STATUS, _RESIZE, _CLOSE = 0, 3, 4, 255
PIECE = 32 << 10  # bytes of stdin in one message, as kubectl sends them
PING = 20.0  # seconds of silence after which the other side is asked whether it lives
# bytes of stdin that cannot block the server, so that its silence means that it is gone: it does not read, and so does not answer, while the
# command leaves more than the buffers on the way unread
UNREAD = 32 << 10
BLOCKED = 600.0
_AFTER = 5.0  # seconds that a server has to close once it said how the command ended
_FRAME = 64 << 20
_WORD = 64 << 10
_FILL = 64 << 10  # bytes asked for at once
_GATHERED = 128 << 10  # bytes of one stream that are given at once, if they are there


def opening(*versions: str) -> dict[str, str]:
    """Return the headers that ask for the streams in one of these versions, the best first: by default 5, which can end stdin alone, before 4."""
    return {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
        "Sec-WebSocket-Protocol": ", ".join(versions or (V5, V4)),
    }


def agreed(asked: Mapping[str, str], answered: Mapping[str, str]) -> str:
    """Return the version that the server chose, empty if its answer is not to what was asked (RFC 6455, 4.1)."""
    digest = hashlib.sha1(f"{asked['Sec-WebSocket-Key']}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode(), usedforsecurity=False).digest()
    chosen = answered.get("Sec-WebSocket-Protocol", "")
    offered = asked["Sec-WebSocket-Protocol"].split(", ")
    return chosen if answered.get("Sec-WebSocket-Accept") == base64.b64encode(digest).decode() and chosen in offered else ""


class Broken(Exception):
    """Stdin cannot be sent: the connection is gone. How much of it arrived is not known."""


class Closed(Exception):
    """The stream is over; `Exec.status` says how the command ended, None if nobody said so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """What the server said of the end. `code` is None where it named none: the command could not be run, or the word cannot be read."""

    code: int | None
    reason: str = ""


class Frames(frame_buffer):
    """Frames out of a wire, none larger than a server of ours has reason to send.

    What the wire has is taken at once and cut here: frames have few kilobytes, and each is asked for in three pieces.
    """

    def __init__(self, wire: Wire) -> None:
        super().__init__(self._cut, skip_utf8_validation=True)
        self._wire, self._have, self._at = wire, b"", 0

    def recv_strict(self, bufsize: int) -> bytes:
        end = self._at + bufsize
        if end > len(self._have) or self.recv_buffer:
            return super().recv_strict(bufsize)
        piece, self._at = self._have[self._at : end], end
        return piece

    def recv_length(self) -> None:
        super().recv_length()
        if self.length is not None and self.length > _FRAME:
            raise WebSocketException(f"a frame of {self.length} bytes")

    def _cut(self, most: int) -> bytes:
        if self._at == len(self._have):
            self._have, self._at = self._wire.reader.read1(_FILL), 0
            if not self._have:
                raise ConnectionResetError("the connection ended")
        piece = self._have[self._at : self._at + most]
        self._at += len(piece)
        return piece


class Exec:
    """One command's streams. One thread may read while others write."""

    def __init__(self, wire: Wire, protocol: str) -> None:
        self.protocol = protocol
        self.why = ""  # how the connection ended, for a log
        self._status: Status | None = None
        self._wire, self._frames, self._writing = wire, Frames(wire), threading.Lock()
        self._ahead: tuple[int, bytes] | None = None  # read already, and not given yet
        self._over, self._mute = False, ""  # `_mute`: why nothing more can be sent
        self._word = bytearray()
        self._channel = -1  # of the message that a continued frame belongs to
        self._sent = self._marked = self._taken = 0  # bytes of stdin: sent, sent before the last ping, and taken for certain by the server
        self._heard, self._asked = time.monotonic(), 0.0
        self._end = float("inf")

    @property
    def status(self) -> Status | None:
        """How the command ended, once `read` has raised Closed; None: the connection broke, and nothing is known."""
        return self._status

    def send(self, data: bytes) -> None:
        """Send stdin, blocking while the command does not read it. Broken when the connection is gone."""
        for start in range(0, len(data), PIECE):
            piece = data[start : start + PIECE]
            self._message(_STDIN, piece)
            self._sent += len(piece)

    def end(self) -> bool:
        """Say that this was all of stdin; False where the server has no word for that, and only closing ends it."""
        if self.protocol != V5:
            return False
        self._message(_CLOSE, bytes([_STDIN]))
        return True

    def resize(self, rows: int, columns: int) -> None:
        """Tell a terminal its new size."""
        self._message(_RESIZE, json.dumps({"Width": columns, "Height": rows}).encode())

    def read(self, wait: float) -> tuple[int, bytes] | None:
        """Return the next bytes with the stream that they are of (1 stdout, 2 stderr), None after `wait` seconds without any.

        Closed when the stream is over. Nothing is ever half read: the bytes given are exactly those that came.
        """
        until = time.monotonic() + wait
        found, self._ahead = self._ahead, None
        while found is None:
            if self._over:
                raise Closed(self.why)
            self._wire.deadline = min(until, self._look_at())
            try:
                found = self._next()
            except TimeoutError:
                self._ask()
                if time.monotonic() >= until:
                    return None
        return self._gather(*found)

    def close(self) -> None:
        """End the connection, whatever runs: a command is not ended by it. Safe to repeat, and from any thread."""
        if not self._wire.closed:
            try:
                self._wire.push(ABNF.create_frame(b"\x03\xe8", ABNF.OPCODE_CLOSE).format(), time.monotonic())
            except (OSError, ValueError):
                pass  # it is polite, not needed
            self._wire.close()

    def _next(self) -> tuple[int, bytes] | None:
        """Return what the next frame says of the command's output, if anything; TimeoutError at the wire's deadline, and nothing is lost."""
        try:
            frame = self._frames.recv_frame()
        except TimeoutError:
            raise
        except (OSError, ValueError, WebSocketException) as e:  # ValueError: the wire was closed by another thread
            self._finish(str(e) or type(e).__name__)
            return None
        self._heard, self._asked = time.monotonic(), 0.0
        return self._took(frame)

    def _gather(self, channel: int, data: bytes) -> tuple[int, bytes]:
        """Return the bytes with those of the same stream that are there behind them: whoever takes them pays for each time."""
        pieces, size = [data], len(data)
        self._wire.deadline = 0.0
        while size < _GATHERED and not self._over:
            try:
                found = self._next()
            except TimeoutError:
                break
            if found is None:
                continue
            if found[0] != channel:
                self._ahead = found
                break
            pieces.append(found[1])
            size += len(found[1])
        return channel, b"".join(pieces)

    def _took(self, frame: Any) -> tuple[int, bytes] | None:
        """Return what a frame says of the command's output."""
        data: bytes = frame.data
        if frame.opcode == ABNF.OPCODE_PING:
            self._frame(ABNF.OPCODE_PONG, data)
        elif frame.opcode == ABNF.OPCODE_PONG:
            self._taken = self._marked  # it reads in order, so what came before the ping is behind it
        elif frame.opcode == ABNF.OPCODE_CLOSE:
            self._finish(f"closed by the server {data[2:200]!r}" if len(data) > 2 else "closed by the server")
        elif frame.opcode in (ABNF.OPCODE_BINARY, ABNF.OPCODE_TEXT, ABNF.OPCODE_CONT):
            if frame.opcode != ABNF.OPCODE_CONT:
                self._channel, data = (data[0], data[1:]) if data else (-1, b"")
            if self._channel in (STDOUT, STDERR) and data:
                return self._channel, data
            if self._channel == _STATUS:
                self._word += data[: _WORD - len(self._word)]
                if self._word:
                    self._end = min(self._end, time.monotonic() + _AFTER)
        return None

    def _look_at(self) -> float:
        """Return when the silence has to be thought about."""
        return min(self._end, self._heard + PING if not self._asked else self._asked + self._patience())

    def _patience(self) -> float:
        return BLOCKED if self._sent - self._taken > UNREAD else PING

    def _ask(self) -> None:
        now = time.monotonic()
        if now >= self._end:
            self._finish("the server said how it ended and did not close")
        elif self._asked and now >= self._asked + self._patience():
            self._finish(f"no sign of life for {now - self._heard:.0f} seconds")
        elif not self._asked and now >= self._heard + PING:
            self._asked, self._marked = now, self._sent
            self._frame(ABNF.OPCODE_PING, b"rdev")

    def _message(self, channel: int, data: bytes) -> None:
        frame = ABNF.create_frame(bytes([channel]) + data, ABNF.OPCODE_BINARY).format()
        with self._writing:
            if self._over or self._mute:
                raise Broken(self._mute or self.why)
            try:
                self._wire.push(frame, float("inf"))  # the reading side ends it when the other is gone
            except (OSError, ValueError) as e:
                self._mute = str(e) or type(e).__name__
                raise Broken(self._mute) from e

    def _frame(self, opcode: int, data: bytes) -> None:
        """Send a control frame, unless stdin is being sent or the way is full: then the kernel says whether anybody takes it."""
        if self._writing.acquire(blocking=False):
            try:
                if not self._mute and self._wire.open_way():
                    self._wire.push(ABNF.create_frame(data, opcode).format(), time.monotonic() + PING)
            except (OSError, ValueError) as e:
                self._mute = str(e) or type(e).__name__  # half of it may be sent; what came before the end can still be read
            finally:
                self._writing.release()

    def _finish(self, why: str) -> None:
        self.why, self._over = why, True
        self._status = _status(bytes(self._word)) if self._word else None
        self.close()


def _status(word: bytes) -> Status:
    """Return what the server's last word says. Only an explicit Success, or the one cause that is a number, is an exit code."""
    try:
        said = json.loads(word)
        if said["status"] == "Success":
            return Status(code=0)
        message = str(said.get("message") or said.get("reason") or "")[:500]
        causes = (
            [c["message"] for c in said["details"]["causes"] if c["reason"] == "ExitCode"] if said["reason"] == "NonZeroExitCode" else []
        )
        if len(causes) == 1 and causes[0].isascii() and causes[0].isdigit():
            return Status(code=int(causes[0]), reason=message)
        return Status(code=None, reason=message)
    except (ValueError, KeyError, TypeError, AttributeError):
        return Status(code=None, reason="the server's word on the end cannot be read")
