"""Multi-step operations: killed after every step, stopped after every step, raced against themselves (T-SAGA-1 to 4)."""

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

STRUCK = Path(__file__).parents[1] / "support" / "struck.py"


def _strike(home: Mapping[str, str], tmp_path: Path, step: int, how: str, *words: str) -> int:
    """Run rdev and strike it at that step; return its exit code, negative for a signal."""
    argv = [sys.executable, str(STRUCK), str(step), how, "--", *words]
    done = subprocess.run(argv, env=dict(home), cwd=tmp_path, capture_output=True, timeout=60, check=False, stdin=subprocess.DEVNULL)
    assert b"Traceback" not in done.stderr, done.stderr.decode()
    return done.returncode


def _local(home: Mapping[str, str]) -> Path:
    return Path(home["XDG_STATE_HOME"]) / "rdev" / "local"


def _left(home: Mapping[str, str]) -> list[str]:
    """Name everything of a project that is still on the disk."""
    return [f"{part}/{entry.name}" for part in ("repos", "pods", "spool") for entry in sorted((_local(home) / part).glob("*"))]


def _whole(rdev: Callable[..., "subprocess.CompletedProcess[bytes]"], home: Mapping[str, str]) -> None:
    """The project is as one that nobody disturbed: record, repository, pod, work tree, and nothing beside them."""
    shown = json.loads(rdev("project", "show", "shop", "-o", "json").stdout)
    assert shown["state"] == "ready"
    assert _left(home) == ["repos/shop.git", f"pods/{shown['pod']}"]
    tree = _local(home) / "pods" / shown["pod"] / "workspace"  # nobody but this test ever wrote there
    assert _git(tree, "status", "--porcelain") == ""
    assert _git(tree, "log", "--format=%s") == "Create shop from the skeleton"
    assert _git(tree, "rev-parse", "HEAD") == _git(Path(shown["repository"]), "rev-parse", "main")
    checks = json.loads(rdev("doctor", "-o", "json").stdout)["items"]
    assert [c["name"] for c in checks if c["name"].startswith("unfinished")] == []
    assert [c["verdict"] for c in checks if c["name"] in ("journal.chain", "state.integrity")] == ["ok", "ok"]


def _git(folder: Path, *argv: str) -> str:
    return subprocess.run(["git", "-C", str(folder), *argv], capture_output=True, check=True, text=True).stdout.strip()


def _steps() -> Iterator[int]:
    """Count steps up; whoever uses it breaks at the first run that nobody struck."""
    yield from range(1, 1000)


def _each_home(home: Mapping[str, str], tmp_path: Path) -> Callable[[], None]:
    def wipe() -> None:
        for folder in ("XDG_STATE_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
            shutil.rmtree(home[folder], ignore_errors=True)

    return wipe


# the steps are shared out, so that both cores work on them; each part ends at the first step that there is not
PARTS = pytest.mark.parametrize("part", [0, 1, 2, 3])


@PARTS
def test_t_saga_1_and_3_create_killed_after_any_step_completes_when_typed_again(part, home, rdev, tmp_path):
    wipe, reached = _each_home(home, tmp_path), 0
    for step in _steps():
        if step % 4 != part:
            continue
        wipe()
        code = _strike(home, tmp_path, step, "SIGKILL", "project", "create", "shop")
        if code == 0:
            break
        assert code == -signal.SIGKILL
        again = rdev("project", "create", "shop")
        assert again.returncode == 0, (step, again.stderr.decode())
        _whole(rdev, home)
        reached = step
    assert reached > 25


@PARTS
def test_t_saga_1_create_killed_after_any_step_is_cleared_by_delete(part, home, rdev, tmp_path):
    wipe, reached = _each_home(home, tmp_path), 0
    for step in _steps():
        if step % 4 != part:
            continue
        wipe()
        code = _strike(home, tmp_path, step, "SIGKILL", "project", "create", "shop")
        if code == 0:
            break
        gone = rdev("project", "delete", "shop", "--yes")
        assert gone.returncode in (0, 3), (step, gone.stderr.decode())  # 3: killed before there was anything
        assert _left(home) == [], step
        assert rdev("project", "list", "-o", "name").stdout == b""
        assert b"unfinished" not in rdev("doctor").stdout
        reached = step
    assert reached > 25


@PARTS
def test_t_saga_1_delete_killed_after_any_step_ends_with_nothing_left(part, home, rdev, tmp_path):
    wipe, reached = _each_home(home, tmp_path), 0
    for step in _steps():
        if step % 4 != part:
            continue
        wipe()
        assert rdev("project", "create", "shop").returncode == 0
        rdev("exec", "shop", "--", "true")
        code = _strike(home, tmp_path, step, "SIGKILL", "project", "delete", "shop", "--yes")
        if code == 0:
            break
        gone = rdev("project", "delete", "shop", "--yes")
        assert gone.returncode in (0, 3), (step, gone.stderr.decode())
        assert _left(home) == [], step
        assert b"unfinished" not in rdev("doctor").stdout
        reached = step
    assert reached > 12


@pytest.mark.parametrize("how", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_t_saga_2_create_stopped_at_any_step_is_undone_or_complete(how, home, rdev, tmp_path):
    wipe, expected = _each_home(home, tmp_path), 128 + signal.Signals[how]
    undone = 0
    for step in range({"SIGINT": 1, "SIGTERM": 2, "SIGHUP": 3}[how], 1000, 3):
        wipe()
        code = _strike(home, tmp_path, step, how, "project", "create", "shop")
        listed = rdev("project", "list", "-o", "name").stdout
        if code == 0:
            _whole(rdev, home)
            if step > 90:  # past the last step: nobody was struck
                break
            continue
        assert code == expected, step
        assert (listed, _left(home)) == (b"", []), step
        undone += 1
    assert undone > 8


def test_t_saga_4_two_that_create_the_same_agree_on_one(home, rdev, spawn):
    both = [spawn("project", "create", "shop", "-o", "json") for _ in range(3)]
    answers = [process.communicate(timeout=60) for process in both]
    assert [process.returncode for process in both] == [0, 0, 0], answers
    assert len({json.loads(out)["id"] for out, _ in answers}) == 1
    _whole(rdev, home)


def test_t_saga_4_of_two_that_delete_one_does_and_one_finds_nothing(home, rdev, spawn, project):
    both = [spawn("project", "delete", project, "--yes") for _ in range(2)]
    for process in both:
        process.communicate(timeout=60)
    assert sorted(process.returncode for process in both) in ([0, 0], [0, 3])
    assert _left(home) == []


def test_t_saga_4_create_and_delete_at_once_leave_all_or_nothing(home, rdev, spawn):
    for _ in range(4):
        create, delete = spawn("project", "create", "shop"), spawn("project", "delete", "shop", "--yes")
        create.communicate(timeout=60)
        delete.communicate(timeout=60)
        assert create.returncode in (0, 5)
        assert delete.returncode in (0, 3)
        if rdev("project", "list", "-o", "name").stdout:
            assert rdev("project", "delete", "shop", "--yes").returncode == 0
        assert _left(home) == []


def test_t_saga_4_the_second_waits_for_the_first_and_then_says_who_is_busy(home, rdev, spawn):
    argv = [sys.executable, str(STRUCK), "30", "SIGSTOP", "--", "project", "create", "shop"]
    first = subprocess.Popen(argv, env=dict(home), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 30
        while Path(f"/proc/{first.pid}/stat").read_text().rpartition(")")[2].split()[0] != "T":
            assert time.monotonic() < end
            time.sleep(0.02)
        second = rdev("project", "create", "shop", "--timeout", "1s", "-o", "json")
        assert second.returncode == 5
        error = json.loads(second.stderr)["error"]
        assert error["code"] == "BUSY"
        assert str(first.pid) in error["message"]
        first.send_signal(signal.SIGCONT)
        assert rdev("project", "create", "shop").returncode == 0
        assert first.wait(30) == 0
        _whole(rdev, home)
    finally:
        if first.poll() is None:
            first.kill()
            first.wait(10)
