"""A server as a user starts one, on a free port, and raw requests to it."""

import http.client
import json
import os
import re
import select
import socket
import subprocess
import tempfile
import time
import weakref
from collections.abc import Callable, Mapping
from typing import Any

ADMIN = "rdev_sk_firstkey_0123456789abcdef0123456789abcdef"


class Server:
    """One `rdev serve` that listens."""

    def __init__(self, process: "subprocess.Popen[bytes]", url: str, log: int) -> None:
        self.process, self._log = process, log
        weakref.finalize(self, os.close, log)
        self.at(url)

    def at(self, url: str) -> None:
        """Note where it is."""
        self.url = url
        match = re.search(r"://(.*):([0-9]+)$", url)
        self.host, self.port = (match[1].strip("[]"), int(match[2])) if match else ("", 0)

    def ask(
        self, method: str, path: str, body: Any = None, *, key: str | None = ADMIN, headers: Mapping[str, str] | None = None
    ) -> tuple[int, Mapping[str, str], Any]:
        """Send one request, its body as JSON; return status, headers (lower case) and the document, or the text that came."""
        sent = {
            **({"x-api-key": key} if key else {}),
            **({"content-type": "application/json"} if body is not None else {}),
            **(headers or {}),
        }
        connection = http.client.HTTPConnection(self.host, self.port, timeout=60)
        try:
            connection.request(method, path, None if body is None else json.dumps(body), sent)
            answer = connection.getresponse()
            text = answer.read()
            found = {name.lower(): value for name, value in answer.getheaders()}
        finally:
            connection.close()
        return answer.status, found, json.loads(text) if "json" in found.get("content-type", "") else text

    def raw(self, data: bytes, seconds: float = 30) -> bytes:
        """Send bytes as they are and return all that comes until the server closes; nothing more is sent meanwhile."""
        with socket.create_connection((self.host, self.port), timeout=seconds) as to:
            to.sendall(data)
            return drained(to, seconds)

    def said(self) -> str:
        """Return what it has written on stderr so far."""
        return os.pread(self._log, 1 << 24, 0).decode(errors="replace")

    def stop(self, number: int = 15) -> int:
        """Send a signal and return the exit code."""
        self.process.send_signal(number)
        return self.process.wait(60)


def drained(to: socket.socket, seconds: float = 30) -> bytes:
    """Return what a connection still brings, until the other side closes it."""
    found, end = b"", time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        to.settimeout(left)
        try:
            part = to.recv(1 << 16)
        except (ConnectionResetError, TimeoutError):
            break
        if not part:
            break
        found += part
    return found


def status(answer: bytes) -> int:
    """Return the status of a raw answer, 0 if there was none."""
    match = re.match(rb"HTTP/1\.1 ([0-9]{3})", answer)
    return int(match[1]) if match else 0


def start(
    spawn: Callable[..., "subprocess.Popen[bytes]"], *args: str, env: Mapping[str, str | None] | None = None, **options: Any
) -> Server:
    """Start `rdev serve` on a free port with the first key ADMIN, and return it once it listens and is ready."""
    log, path = tempfile.mkstemp()  # a pipe that nobody reads would fill
    os.unlink(path)
    process = spawn("serve", "--port", "0", *args, env={"RDEV_ADMIN_KEY": ADMIN, **(env or {})}, stderr=log, **options)
    server = Server(process, "", log)
    server.at(first_line(server))
    return server


def first_line(server: Server, seconds: float = 60) -> str:
    """Return the URL that a server prints when it listens; what it said instead is in the error."""
    assert server.process.stdout is not None
    ready, _, _ = select.select([server.process.stdout], [], [], seconds)
    line = server.process.stdout.readline().decode().strip() if ready else ""
    if not line:
        server.process.kill()
        raise AssertionError(f"the server did not start: {server.said()}")
    return line
