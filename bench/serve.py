"""Measures `rdev serve` against what somebody would write in an afternoon, and writes one table: bench/SERVE.md.

    python bench/serve.py [-n ROUNDS] [--streams N] [--seconds S] [--rows TEXT]

The plain designs are in this file, and served by the same uvicorn: a stream that asks the store for itself, five times a second as
`rdev events --follow` does; a transaction for each line; a FastAPI application that returns the same bytes. In turns, medians, as in
bench/bench.py. Exit 1 when a target is missed.
"""

import argparse
import contextlib
import json
import os
import resource
import selectors
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from bench import PYTHON, RDEV, ROOT, Row, environment, in_turns, most, ms, publish
from rdev_cli.wiring.services import Services

KEY = "rdev_sk_benchkey_" + "0123456789abcdef" * 2
RATE = 100  # events a second
EVENT = b"\nevent: event\n"

_POLLING = """
import asyncio, json, resource, sqlite3, sys
import uvicorn
from fastapi import FastAPI
from fastapi.responses import StreamingResponse

app, (_, hard) = FastAPI(), resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

async def told():
    store = sqlite3.connect(sys.argv[1], isolation_level=None)
    try:
        (after,) = store.execute("select seq from journal_head").fetchone()
        yield "event: connected\\ndata: {}\\n\\n"
        while True:
            for seq, at, kind, subject, actor, data, hash, project in store.execute(
                "select seq, at, kind, subject, actor, data, hash, project from events where seq > ? order by seq", [after]
            ).fetchall():
                line = dict(seq=seq, at=at, kind=kind, subject=subject, actor=actor, data=json.loads(data), hash=hash, project=project)
                yield f"id: {seq}\\nevent: event\\ndata: {json.dumps(line)}\\n\\n"
                after = seq
            await asyncio.sleep(0.2)
    finally:
        store.close()

@app.get("/events/stream")
async def stream():
    return StreamingResponse(told(), media_type="text/event-stream")

class Server(uvicorn.Server):
    async def startup(self, sockets=None):
        await super().startup(sockets)
        print(f"http://127.0.0.1:{self.servers[0].sockets[0].getsockname()[1]}", flush=True)

Server(uvicorn.Config(app, port=0, log_level="error", access_log=False, http="h11", loop="asyncio", backlog=2048)).run()
"""

_BARE = """
import sys
import uvicorn
from fastapi import FastAPI, Response

app, body = FastAPI(), open(sys.argv[1], "rb").read()

@app.get("/projects")
def projects():
    return Response(body, media_type="application/json")

class Server(uvicorn.Server):
    async def startup(self, sockets=None):
        await super().startup(sockets)
        print(f"http://127.0.0.1:{self.servers[0].sockets[0].getsockname()[1]}", flush=True)

Server(uvicorn.Config(app, port=0, log_level="error", access_log=False, http="h11", loop="asyncio")).run()
"""


@contextlib.contextmanager
def serving(argv: list[str], env: dict[str, str], cwd: Path) -> Iterator[tuple[int, int]]:
    """Start a server that prints its URL; give its port and its process."""
    with (
        (cwd / "log").open("ab") as log,
        subprocess.Popen(argv, env=env, cwd=cwd, stdout=subprocess.PIPE, stderr=log, text=True) as process,
    ):
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline().strip().rpartition(":")[2]), process.pid
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()


def rdev_serve() -> list[str]:
    """Return how rdev is started; the limit of requests is no part of what is measured."""
    return [RDEV, "serve", "--port", "0", "--rate", "1000000/min"]


def cpu(pid: int) -> float:
    """Return the CPU seconds a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident(pid: int, what: str = "VmRSS") -> float:
    """Return the MiB of memory that a process has, or had at most (`VmHWM`)."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(what))) / 1024


@dataclass(slots=True)
class Stream:
    """One connection: how many events it got, and of one that is looked at closely which, and how late."""

    socket: socket.socket
    closely: bool
    count: int = 0
    numbers: list[int] = field(default_factory=list)
    late: list[float] = field(default_factory=list)
    _raw: bytes = b""
    _left: int = 0  # bytes of a chunk that are still to come, with the end of its line
    _rest: bytes = b""

    def take(self) -> None:
        """Count what came; events are cut by the chunks of HTTP anywhere."""
        now, data = time.time(), self._rest + self._unchunked(self.socket.recv(1 << 18))
        if not self.closely:
            self.count += data.count(EVENT)
            self._rest = data[len(data) - len(EVENT) + 1 :]
            return
        end = data.rfind(b"\n\n") + 2 if b"\n\n" in data else 0
        for event in data[:end].split(b"\n\n"):
            if b"event: event\n" in event:
                told = json.loads(event[event.index(b"data: ") + 6 :])["data"]
                self.numbers.append(told["number"])
                self.late.append(now - told["sent"])
        self._rest, self.count = data[end:], len(self.numbers)

    def _unchunked(self, raw: bytes) -> bytes:
        found, raw = [], self._raw + raw
        while raw:
            if self._left:
                part, raw = raw[: self._left], raw[self._left :]
                found.append(part[: max(0, len(part) - max(0, 2 - (self._left - len(part))))])
                self._left -= len(part)
                continue
            size, newline, rest = raw.partition(b"\r\n")
            if not newline:
                break
            self._left, raw = int(size, 16) + 2, rest
        self._raw = raw
        return b"".join(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Streamed:
    """What one run of streams cost."""

    cpu: float
    memory: float
    grown: float
    p99: float
    complete: int


def streams(argv: list[str], env: dict[str, str], cwd: Path, count: int, seconds: float) -> Streamed:
    """Open so many streams, write RATE events a second into the journal, and measure the server until every stream has every event."""
    total = int(seconds * RATE)
    with serving(argv, env, cwd) as (port, pid):
        before = resident(pid)
        found, chosen = [], selectors.DefaultSelector()
        for number in range(count):
            opened = socket.create_connection(("127.0.0.1", port), timeout=60)
            opened.sendall(f"GET /events/stream HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nX-API-Key: {KEY}\r\n\r\n".encode())
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += opened.recv(1)
            if not head.startswith(b"HTTP/1.1 200"):
                sys.exit(f"stream {number}: {head!r}")
            found.append(Stream(opened, closely=number % 50 == 0))
            found[-1].take()  # it is connected
            chosen.register(opened, selectors.EVENT_READ, found[-1])
        time.sleep(1)
        began, writer = cpu(pid), threading.Thread(target=write, args=(env, total), daemon=True)
        writer.start()
        end = time.monotonic() + seconds * 4 + 20
        whole = 0
        while whole < count and time.monotonic() < end:
            for key, _ in chosen.select(1):
                stream = key.data
                had = stream.count
                stream.take()
                whole += had < total <= stream.count
        spent, most_memory = cpu(pid) - began, resident(pid, "VmHWM")
        writer.join()
        closely = [stream for stream in found if stream.closely]
        complete = sum(stream.count == total for stream in found if not stream.closely)
        complete += sum(stream.numbers == list(range(total)) for stream in closely)
        late = sorted(value for stream in closely for value in stream.late)
        for stream in found:
            stream.socket.close()
        p99 = late[int(len(late) * 0.99)] if late else float("inf")
        return Streamed(cpu=spent, memory=most_memory, grown=most_memory - before, p99=p99, complete=complete)


def write(env: dict[str, str], total: int) -> None:
    """Write events into the journal, each at its time, those of 50 ms together."""
    world, began, each = Services(environ=env), time.monotonic(), RATE // 20
    for first in range(0, total, each):
        time.sleep(max(0.0, began + first / RATE - time.monotonic()))
        with world.store.transaction() as tx:
            for number in range(first, min(total, first + each)):
                facts = {"number": number, "sent": time.time(), "text": "a line of about the usual length"}
                tx.append("bench.written", "cmd_0000000000bench", facts)
    world.close()


def fan_out(rounds: int, env: dict[str, str], cwd: Path, count: int, seconds: float) -> list[Row]:
    """Measure one reader for all against one for each."""
    world = Services(environ=env)
    world.store.last_event()
    state = world.folder / "state.db"
    ours: list[Streamed] = []
    plain: list[Streamed] = []
    for _ in range(rounds):
        ours.append(streams(rdev_serve(), env, cwd, count, seconds))
        plain.append(streams([PYTHON, "-c", _POLLING, str(state)], env, cwd, count, seconds))
    against, work = "a poll of the store for each", f"{count} streams, {RATE} events/s for {seconds:.0f} s"

    def median(of: Callable[[Streamed], float]) -> tuple[float, float]:
        return statistics.median(map(of, ours)), statistics.median(map(of, plain))

    def row(what: str, values: tuple[float, float], show: Callable[[float], str], limit: float) -> Row:
        mine, theirs = values
        ratio = mine / theirs
        return Row(
            work=f"{work}: {what}", against=against, value=show(mine), reference=show(theirs), ratio=f"{ratio:.2f}",
            target=f"≤ {limit}", kept=ratio <= limit,
        )  # fmt: skip

    least, theirs = min(one.complete for one in ours), min(one.complete for one in plain)
    return [
        row("CPU", median(lambda one: one.cpu), lambda value: f"{value:.1f} s", 0.35),
        row("memory (peak)", median(lambda one: one.memory), lambda value: f"{value:.0f} MiB", 0.4),
        row("memory beyond the idle server's", median(lambda one: one.grown), lambda value: f"{value:.0f} MiB", 0.4),
        row("p99 from the writer to the reader", median(lambda one: one.p99), ms, 0.5),
        Row(
            work=f"{work}: with every event", against=against, value=str(least), reference=str(theirs), ratio="", target=str(count),
            kept=least == count,
        ),
    ]  # fmt: skip


def append(rounds: int, env: dict[str, str]) -> list[Row]:
    """Measure how many lines of the journal can be written a second: by pages, as an agent's events are, against a transaction each."""
    world, count = Services(environ=env), 10_000

    def lines(number: int, page: int) -> float:
        began = time.perf_counter()
        for first in range(0, number, page):
            with world.store.transaction() as tx:
                for each in range(first, first + page):
                    tx.append("agent.said", "cmd_0000000000bench", {"offset": each, "text": "a line of about the usual length"})
        return (time.perf_counter() - began) / number

    found = in_turns(max(3, rounds), {"pages": lambda: lines(count, 100), "each": lambda: lines(count // 20, 1)})
    world.close()
    times = found["each"] / found["pages"]
    value, reference = (f"{1 / found[name]:.0f}/s" for name in ("pages", "each"))
    return [
        Row(
            work=f"{count} lines of the journal, 100 in a transaction", against="a transaction each", value=value, reference=reference,
            ratio=f"{times:.1f}", target="≥ 5", kept=times >= 5,
        )
    ]  # fmt: skip


def start(rounds: int, env: dict[str, str], cwd: Path) -> list[Row]:
    """Measure the start, up to the URL, against what it must load."""

    def ours() -> float:
        began = time.perf_counter()
        with serving(rdev_serve(), env, cwd):
            return time.perf_counter() - began

    def imports() -> float:
        began = time.perf_counter()
        subprocess.run([PYTHON, "-c", "import fastapi, uvicorn"], env=env, cwd=cwd, check=True)
        return time.perf_counter() - began

    found = in_turns(rounds, {"ours": ours, "imports": imports})
    return [most("start of `rdev serve`, until it listens", "`python -c 'import fastapi, uvicorn'`", found["ours"], found["imports"], 2.0)]


def reads(env: dict[str, str], cwd: Path, seconds: float) -> list[Row]:
    """Measure reads at 100 a second against an application that returns the same bytes."""
    subprocess.run([RDEV, "project", "create", "bench"], env=env, cwd=cwd, capture_output=True, check=True)

    def asked(port: int, number: int, apart: float) -> list[float]:
        took, began = [], time.monotonic()
        with contextlib.closing(socket.create_connection(("127.0.0.1", port), timeout=60)) as to:
            request = f"GET /projects HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nX-API-Key: {KEY}\r\n\r\n".encode()
            for each in range(number):
                time.sleep(max(0.0, began + each * apart - time.monotonic()))
                at, answer = time.perf_counter(), b""
                to.sendall(request)
                while True:
                    answer += to.recv(1 << 16)
                    head, found, body = answer.partition(b"\r\n\r\n")
                    if found and len(body) >= int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]):
                        break
                took.append(time.perf_counter() - at)
                if not answer.startswith(b"HTTP/1.1 200"):
                    sys.exit(f"a read failed: {answer!r}")
                (cwd / "body").write_bytes(body)
        return took

    with serving(rdev_serve(), env, cwd) as (ours, _):
        asked(ours, 20, 0.01)
        with serving([PYTHON, "-c", _BARE, str(cwd / "body")], env, cwd) as (bare, _):
            asked(bare, 20, 0.01)
            took: dict[str, list[float]] = {"ours": [], "bare": []}
            for _ in range(5):
                for name, port in (("ours", ours), ("bare", bare)):
                    took[name] += asked(port, int(seconds * RATE / 5), 1 / RATE)
    p95 = {name: sorted(values)[int(len(values) * 0.95)] for name, values in took.items()}
    found = most(f"a read, {RATE} a second: p95", "a FastAPI application with the same bytes", p95["ours"], p95["bare"], 2.0)
    return [Row(**{**{name: getattr(found, name) for name in Row.__slots__}, "value": _fine(p95["ours"]), "reference": _fine(p95["bare"])})]


def _fine(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"


def main() -> int:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description="Measure rdev serve against its promises.")
    parser.add_argument("-n", type=int, default=2, help="rounds of the streams (five times as many of the starts)")
    parser.add_argument("--streams", type=int, default=1000, help="how many streams")
    parser.add_argument("--seconds", type=float, default=15, help="for how long events are written")
    parser.add_argument("--rows", default="start,reads,append,streams", help="which, with commas")
    parser.add_argument("--to", type=Path, default=ROOT / "bench" / "SERVE.md", help="where the page goes")
    options = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    busy, rows = os.getloadavg()[0], list[Row]()
    for name in options.rows.split(","):
        with tempfile.TemporaryDirectory(prefix="rdev-bench-") as place:
            home = Path(place)
            env = {**environment(home), "RDEV_ADMIN_KEY": KEY}
            if name == "start":
                rows += start(options.n * 5, env, home)
            elif name == "reads":
                rows += reads(env, home, options.seconds)
            elif name == "append":
                rows += append(options.n, env)
            elif name == "streams":
                rows += fan_out(options.n, env, home, options.streams, options.seconds)
            else:
                parser.error(f"no such rows: {name}")
        print(f"{name}: done", file=sys.stderr)
    return publish(rows, options.n, busy, script="bench/serve.py", to=options.to)


if __name__ == "__main__":
    sys.exit(main())
