"""The executable as a user runs it: a home of its own for every test, and a project in it."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import hypothesis
import pytest

hypothesis.settings.register_profile("nightly", max_examples=2000, deadline=None)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

RDEV = str(Path(sys.executable).with_name("rdev"))

Rdev = Callable[..., "subprocess.CompletedProcess[bytes]"]
Spawn = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    """The whole environment of a user who has nothing but an empty home."""
    folder = tmp_path / "user"
    folder.mkdir()
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
def project(rdev: Rdev) -> str:
    """The name of a project that was just created."""
    made = rdev("project", "create", "shop")
    assert made.returncode == 0, made.stderr.decode(errors="replace")
    return "shop"


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
    left = [name for name in ("agents", "cluster", "outages", "providers", "toolchain", "browser") if f"not {name}" in words]
    if left:
        terminalreporter.write_line(f"left out, as they need more than Python and git: {', '.join(left)}; .ci/run runs them")
