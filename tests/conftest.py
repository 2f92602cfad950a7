"""The executable as a user runs it: a home of its own for every test, and a project in it."""

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import hypothesis
import pytest

from rdev_cli.adapters.sqlite import records
from rdev_cli.domain import chain
from tests.support.receiver import Receiver
from tests.support.screen import Screen

hypothesis.settings.register_profile("default", deadline=None)  # a loaded machine is no failure
hypothesis.settings.register_profile("nightly", max_examples=2000, deadline=None)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

for _number, _usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGQUIT, signal.SIG_DFL), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(_number) is signal.SIG_IGN:  # under nohup or in a script's background: whatever is started here would inherit it
        signal.signal(_number, _usual)

# a world in a test's own process reaches nobody's keyring, and no stand-in that another test has left behind
os.environ["PYTHON_KEYRING_BACKEND"] = "keyring.backends.fail.Keyring"

RDEV = str(Path(sys.executable).with_name("rdev"))

Rdev = Callable[..., "subprocess.CompletedProcess[bytes]"]
Spawn = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    """The whole environment of a user who has nothing but an empty home."""
    folder = tmp_path / "user"
    folder.mkdir()
    return _user(folder)


def _user(folder: Path) -> dict[str, str]:
    return {
        "HOME": str(folder),
        "XDG_STATE_HOME": str(folder / "state"),
        "XDG_CONFIG_HOME": str(folder / "config"),
        "XDG_CACHE_HOME": str(folder / "cache"),
        "PATH": os.environ["PATH"],
        "LANG": "C.UTF-8",
        "TERM": "xterm",
    }


@pytest.fixture
def rdev(home: Mapping[str, str], tmp_path: Path) -> Rdev:
    """Run the executable to its end; `env` adds to the isolated environment (None takes a variable out)."""

    def run(
        *args: str,
        input: bytes | None = None,  # noqa: A002 -- as subprocess calls it
        timeout: float = 60,
        env: Mapping[str, str | None] | None = None,
        cwd: str | Path | None = None,
    ) -> subprocess.CompletedProcess[bytes]:
        stdin = {"stdin": subprocess.DEVNULL} if input is None else {"input": input}
        return subprocess.run(
            [RDEV, *args], capture_output=True, timeout=timeout, env=_merged(home, env), cwd=cwd or tmp_path, check=False, **stdin
        )

    return run


@pytest.fixture
def spawn(home: Mapping[str, str], tmp_path: Path) -> Iterator[Spawn]:
    """Start the executable, in a process group of its own; what still runs when the test ends is killed."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*args: str, env: Mapping[str, str | None] | None = None, **options: object) -> subprocess.Popen[bytes]:
        given = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "cwd": tmp_path, "process_group": 0}
        process = subprocess.Popen([RDEV, *args], env=_merged(home, env), **{**given, **options})
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGKILL)
        process.wait(10)
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()


@pytest.fixture
def screen(home: Mapping[str, str]) -> Iterator[Callable[..., Screen]]:
    """Start the executable on a terminal of so many rows and columns."""
    opened: list[Screen] = []

    def start(*args: str, rows: int = 33, columns: int = 101) -> Screen:
        opened.append(Screen(args, home, rows, columns))
        return opened[-1]

    yield start
    for one in opened:
        one.close()


@pytest.fixture
def endpoint() -> Iterator[Receiver]:
    """A server that takes webhooks, on the loopback."""
    one = Receiver()
    yield one
    one.close()


@pytest.fixture(autouse=True)
def whole_lab(request: pytest.FixtureRequest) -> None:
    """Bring the lab's enforcer of policies up again if it has died: it does so now and then, of itself, and rdev then rightly refuses every project."""
    up = os.environ.get("RDEV_LAB_UP")
    if up is None or request.node.get_closest_marker("cluster") is None:
        return
    record = Path(os.environ.get("RDEV_LAB_HOME") or Path.home() / ".cache" / "rdev-lab") / "run" / "policies.pid"
    if not record.exists() or not Path("/proc", record.read_text().split()[0]).exists():
        subprocess.run([up, "kubernetes"], check=True, stdout=subprocess.DEVNULL, timeout=300)


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The state of a user who has created the project `shop`, and nothing else; it is copied, and never worked in."""
    env = _user(tmp_path_factory.mktemp("shop"))
    made = subprocess.run([RDEV, "project", "create", "shop"], env=env, capture_output=True, timeout=60, check=False)
    assert made.returncode == 0, made.stderr.decode(errors="replace")
    return Path(env["XDG_STATE_HOME"])


@pytest.fixture
def project(rdev: Rdev, home: Mapping[str, str], request: pytest.FixtureRequest) -> str:
    """The name of a project that was just created, by the executable or as a copy of what it made for another test."""
    state = Path(home["XDG_STATE_HOME"])
    if state.exists():  # something is there already, beside which the project belongs
        made = rdev("project", "create", "shop")
        assert made.returncode == 0, made.stderr.decode(errors="replace")
    else:
        ready: Path = request.getfixturevalue("shop")
        shutil.copytree(ready, state, symlinks=True)
        _moved(state / "rdev" / "local" / "state.db", str(ready), str(state))
    return "shop"


def _moved(database: Path, old: str, new: str) -> None:
    """Let a state know where it is now: the repository's path stands in the record and in a line of the journal."""
    with contextlib.closing(sqlite3.connect(database)) as db, db:
        db.execute("pragma synchronous=off")
        db.execute("update projects set repository = replace(repository, ?, ?)", [old, new])
        line = chain.GENESIS
        for row in db.execute("select * from events order by seq").fetchall():
            event = records.event((*row[:5], row[5].replace(old, new), *row[6:]))
            facts = {"at": event.at, "kind": event.kind, "subject": event.subject, "actor": event.actor, "data": event.data}
            line = chain.link(line, seq=event.seq, **facts)
            db.execute("update events set data = ?, hash = ? where seq = ?", [json.dumps(event.data, sort_keys=True), line, event.seq])
        db.execute("update journal_head set hash = ?", [line])


def _merged(home: Mapping[str, str], env: Mapping[str, str | None] | None) -> dict[str, str]:
    return {key: value for key, value in {**home, **(env or {})}.items() if value is not None}


def _live() -> list[bytes]:
    """The command lines of all processes of this machine; a zombie has none any more."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                found.append((entry / "cmdline").read_bytes().replace(b"\0", b" "))
    return found


@pytest.fixture
def left_behind() -> Callable[..., list[bytes]]:
    """Return what still runs with a marker on its command line, once it is gone or `seconds` are over."""

    def look(marker: str, seconds: float = 15.0) -> list[bytes]:
        end = time.monotonic() + seconds
        while found := [line for line in _live() if marker.encode() in line]:
            if time.monotonic() > end:
                break
            time.sleep(0.02)
        return found

    return look


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say in one line which kinds of test were left out of this run, and where they run."""
    words = config.getoption("markexpr")
    left = [name for name in ("agents", "cluster", "outages", "providers", "toolchain", "browser", "kills") if f"not {name}" in words]
    if left:
        terminalreporter.write_line(f"left out, as they need more than Python and git, or minutes: {', '.join(left)}; .ci/run runs them")
