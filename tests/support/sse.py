"""A client of server-sent events on a raw socket, after the standard's own rules (html.spec.whatwg.org, 9.2), and the server it talks to."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ADMIN = "rdev_sk_firstkey_" + "0123456789abcdef" * 2


@dataclass(frozen=True)
class Told:
    kind: str
    data: str
    id: str  # the last id that was given, as a client keeps it

    @property
    def json(self) -> Any:
        return json.loads(self.data)


class Decoder:
    """What a reader makes of the bytes of a stream, fed in any pieces."""

    def __init__(self) -> None:
        self._rest, self._lines, self.id, self.retry = b"", list[str](), "", 0

    def feed(self, data: bytes) -> list[Told]:
        self._rest += data
        end = self._rest.rfind(b"\n") + 1  # a lone \r at the end may be half of \r\n
        text, self._rest = self._rest[:end].decode("utf-8"), self._rest[end:]
        found = []
        for line in re.split("\r\n|\n|\r", text)[:-1]:
            if line:
                self._lines.append(line)
                continue
            lines, self._lines, kind, data_ = self._lines, [], "message", list[str]()
            for each in lines:
                name, _, value = each.partition(":")
                value = value.removeprefix(" ")
                match name:
                    case "event":
                        kind = value
                    case "data":
                        data_.append(value)
                    case "id" if "\0" not in value:
                        self.id = value
                    case "retry" if value.isdigit():
                        self.retry = int(value)
            if data_:
                found.append(Told(kind, "\n".join(data_), self.id))
        return found


class Listener:
    """One connection, and what comes by it."""

    def __init__(self, port: int, path: str, *, key: str = ADMIN, last: str = "", receive: int = 0) -> None:
        self._socket = socket.socket()
        if receive:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
        self._socket.settimeout(30)
        self._socket.connect(("127.0.0.1", port))
        more = f"Last-Event-ID: {last}\r\n" if last else ""
        self._socket.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nX-API-Key: {key}\r\n{more}\r\n".encode())
        self._file = self._socket.makefile("rb")
        self._decoder, self.status, self.whole = Decoder(), 0, False
        self._came: list[Told] = []

    def head(self) -> "Listener":
        """Read the head of the answer."""
        self.status = int(self._file.readline().split()[1])
        self.headers = {}
        while line := self._file.readline().strip():
            name, _, value = line.decode().partition(": ")
            self.headers[name.lower()] = value
        return self

    def problem(self) -> Mapping[str, Any]:
        """Read an answer that is an error."""
        self.head()
        return json.loads(self._file.read(int(self.headers["content-length"])))["error"]

    def __iter__(self) -> Iterator[Told]:
        """Return the events to the end of the answer; `whole` says whether that was its proper end."""
        if not self.status:
            self.head()
        assert self.status == 200, self._file.read(2000)
        while True:
            while self._came:
                yield self._came.pop(0)
            size = self._file.readline()
            if not size:
                return
            data = self._file.read(int(size, 16))
            self._file.readline()
            if not data:
                self.whole = True
                return
            self._came += self._decoder.feed(data)

    def until(self, *kinds: str) -> list[Told]:
        """Return what comes, up to the first event of such a kind."""
        found = []
        for event in self:
            found.append(event)
            if event.kind in kinds:
                return found
        raise AssertionError(f"the stream ended before any of {kinds}: {[event.kind for event in found]}")

    @property
    def id(self) -> str:
        return self._decoder.id

    @property
    def retry(self) -> int:
        return self._decoder.retry

    @property
    def fd(self) -> socket.socket:
        return self._socket

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._file.close()
        self._socket.close()


class Server:
    """The application on a real server, in a process of its own."""

    def __init__(self, home: Mapping[str, str], *words: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.streaming", *words],
            env={**home, "RDEV_ADMIN_KEY": ADMIN},
            cwd=Path(__file__).parents[2],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())
        self._listeners: list[Listener] = []

    def listen(self, path: str, **more: Any) -> Listener:
        self._listeners.append(Listener(self.port, path, **more))
        return self._listeners[-1]

    def counts(self) -> Mapping[str, int]:
        """Return how many streams there were and are, and how many descriptors and KiB of memory the server holds."""
        asking = Listener(self.port, "/counts").head()
        with contextlib.closing(asking):
            told: dict[str, int] = json.loads(asking._file.read(int(asking.headers["content-length"])))
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return {**told, "fds": len(os.listdir(f"/proc/{self._process.pid}/fd")), "rss": int(re.search(r"VmRSS:\s+(\d+)", status)[1])}

    def wait(self, name: str, value: int, seconds: float = 30) -> None:
        """Wait until a count is what it should be."""
        end = time.monotonic() + seconds
        while (now := self.counts()[name]) != value:
            assert time.monotonic() < end, f"{name} is {now}"
            time.sleep(0.05)

    def terminate(self) -> None:
        self._process.send_signal(signal.SIGTERM)

    def close(self) -> int:
        if self._process.poll() is None:
            self.terminate()
        try:
            return self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()
        finally:
            self._process.stdout.close()
            for listener in self._listeners:
                listener.close()
