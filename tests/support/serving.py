"""A server as a user starts one, on a free port, and raw requests to it."""

import http.client
import json
import re
import select
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from typing import Any

ADMIN = "rdev_sk_firstkey_0123456789abcdef0123456789abcdef"


class Server:
    """One `rdev serve` that listens."""

    def __init__(self, process: "subprocess.Popen[bytes]", url: str) -> None:
        self.process, self.url = process, url
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
    process = spawn("serve", "--port", "0", *args, env={"RDEV_ADMIN_KEY": ADMIN, **(env or {})}, **options)
    return Server(process, first_line(process))


def first_line(process: "subprocess.Popen[bytes]", seconds: float = 60) -> str:
    """Return the URL that a server prints when it listens; what it said instead is in the error."""
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], seconds)
    line = process.stdout.readline().decode().strip() if ready else ""
    if not line:
        process.kill()
        said = process.stderr.read() if process.stderr is not None else b""
        raise AssertionError(f"the server did not start: {said.decode(errors='replace')}")
    return line
