"""Striking rdev down at every step of a command (struck.py), and putting the home back in between."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

STRUCK = Path(__file__).with_name("struck.py")


def strike(home: Mapping[str, str], tmp_path: Path, step: int, how: str, *words: str) -> int:
    """Run rdev and strike it at that step; return its exit code, negative for a signal."""
    argv = [sys.executable, str(STRUCK), str(step), how, "--", *words]
    done = subprocess.run(argv, env=dict(home), cwd=tmp_path, capture_output=True, timeout=60, check=False, stdin=subprocess.DEVNULL)
    assert b"Traceback" not in done.stderr, done.stderr.decode()
    return done.returncode


def look(
    home: Mapping[str, str], tmp_path: Path, back: Callable[[], None], *words: str, report: Path | None = None
) -> tuple[int, list[int]]:
    """Return how many steps there are in a command, and those before which something changed in the home."""
    back()
    report = report or tmp_path / "steps.json"
    argv = [sys.executable, str(STRUCK), "look", str(report), "--", *words]
    subprocess.run(argv, env=dict(home), cwd=tmp_path, capture_output=True, timeout=60, check=True, stdin=subprocess.DEVNULL)
    back()
    found = json.loads(report.read_text())
    return found["all"], found["differ"]


def putting_back(user: Path, kept: Path) -> Callable[[], None]:
    """Return what puts a home back as it is at the first call."""

    def back() -> None:
        if kept.exists():
            shutil.rmtree(user)
            shutil.copytree(kept, user, symlinks=True)
        else:
            shutil.copytree(user, kept, symlinks=True)

    return back
