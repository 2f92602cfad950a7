"""Measures the proxy of previews against the same server reached directly, and writes one table: bench/PREVIEWS.md.

    python bench/previews.py [-n ROUNDS] [--seconds S] [--at-once N]

In turns, medians, as in bench/bench.py. Both servers run in a session's sandbox: the standard library's, which is a thread for each
connection, and one that does nothing but answer. The load is the same process for all. Exit 1 when a target is missed.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from serve import KEY, rdev_serve, serving

from bench import RDEV, ROOT, Row, environment, publish

BODY = 1024
LEAST = 0.30

_LIBRARY = f"""
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version, wbufsize = "HTTP/1.1", -1  # its answer is one write
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "{BODY}")
        self.end_headers()
        self.wfile.write(b"x" * {BODY})
    def log_message(self, *words):
        pass
http.server.ThreadingHTTPServer.request_queue_size = 128
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""

_BARE = f"""
import asyncio, sys
ANSWER = b"HTTP/1.1 200 OK\\r\\nContent-Length: {BODY}\\r\\n\\r\\n" + b"x" * {BODY}
class Bare(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport, self.head = transport, b""
    def data_received(self, data):
        self.head += data
        if self.head.endswith(b"\\r\\n\\r\\n"):
            self.head = b""
            self.transport.write(ANSWER)
async def main():
    await (await asyncio.get_running_loop().create_server(Bare, "127.0.0.1", int(sys.argv[1]))).serve_forever()
asyncio.run(main())
"""
_LOAD = f"""
import asyncio, sys, time
host, port, at_once, seconds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
ASK = (f"GET / HTTP/1.1\\r\\nHost: {{host}}\\r\\nUser-Agent: bench\\r\\nAccept: */*\\r\\nAccept-Encoding: gzip\\r\\nAccept-Language: en\\r\\n\\r\\n").encode()
done = 0
class One(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport, self.got = transport, b""
        transport.write(ASK)
    def data_received(self, data):
        global done
        self.got += data
        head, found, body = self.got.partition(b"\\r\\n\\r\\n")
        if found and len(body) >= {BODY}:
            if not head.startswith(b"HTTP/1.1 200") or len(body) != {BODY}:
                sys.exit(f"no answer: {{self.got[:200]}}")
            done, self.got = done + 1, b""
            self.transport.write(ASK)
async def main():
    loop = asyncio.get_running_loop()
    for _ in range(at_once):
        await loop.create_connection(One, "127.0.0.1", port)
    await asyncio.sleep(0.5)
    before, began = done, time.perf_counter()
    await asyncio.sleep(seconds)
    print((done - before) / (time.perf_counter() - began))
asyncio.run(main())
"""


def rates(rounds: int, env: dict[str, str], home: Path, seconds: float, at_once: int) -> list[Row]:
    """Measure answers a second."""
    python = os.path.realpath(sys.executable)

    def rdev(*words: str) -> str:
        return subprocess.run([RDEV, *words], env=env, cwd=home, capture_output=True, check=True, text=True).stdout.strip()

    def load(host: str, port: int) -> float:
        words = [python, "-c", _LOAD, host, str(port), str(at_once), str(seconds)]
        return float(subprocess.run(words, capture_output=True, check=True, text=True).stdout)

    rdev("context", "set", "local", "--show", sys.base_prefix)
    rdev("project", "create", "bench")
    session = rdev("session", "start", "bench", "-o", "name").splitlines()[-1]
    rows = []
    with serving(rdev_serve(), env, home) as (port, _):
        for at, (name, text) in enumerate((("the standard library's server", _LIBRARY), ("a server that does nothing but answer", _BARE))):
            inner = 20_000 + os.getpid() % 10_000 + at
            rdev("exec", session, "--no-wait", "--", python, "-c", text, str(inner))
            time.sleep(2)
            url = json.loads(rdev("session", "preview", session, str(inner), "-o", "json"))["url"]
            host = url.removeprefix("http://").rstrip("/")
            ours, direct = [], []
            for _ in range(rounds):
                direct.append(load("localhost", inner))
                ours.append(load(host, port))
            value, reference = statistics.median(ours), statistics.median(direct)
            rows.append(
                Row(
                    work=f"{name}, {BODY} bytes, {at_once} connections: through a preview", against="reached directly", value=f"{value:.0f}/s",
                    reference=f"{reference:.0f}/s", ratio=f"{value / reference:.2f}", target=f"≥ {LEAST}", kept=value / reference >= LEAST,
                )
            )  # fmt: skip
    rdev("session", "end", session)
    return rows


def main() -> int:
    """Measure."""
    parser = argparse.ArgumentParser(description="Measure the proxy of previews against its promise.")
    parser.add_argument("-n", type=int, default=5, help="rounds")
    parser.add_argument("--seconds", type=float, default=3, help="for how long each")
    parser.add_argument("--at-once", type=int, default=16, help="how many connections")
    parser.add_argument("--to", type=Path, default=ROOT / "bench" / "PREVIEWS.md", help="where the page goes")
    options = parser.parse_args()
    busy = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="rdev-bench-") as place:
        rows = rates(options.n, {**environment(Path(place)), "RDEV_ADMIN_KEY": KEY}, Path(place), options.seconds, options.at_once)
    return publish(rows, options.n, busy, script="bench/previews.py", to=options.to)


if __name__ == "__main__":
    sys.exit(main())
