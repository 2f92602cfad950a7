"""Multi-step operations: killed after every step, stopped after every step, raced against themselves (T-SAGA-1 to 4)."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from rdev_cli.domain.project import Project, ProjectState
from rdev_cli.domain.report import Verdict
from rdev_cli.wiring.services import Services
from tests.support.striking import STRUCK, look, putting_back, strike

pytestmark = pytest.mark.state


def _local(home: Mapping[str, str]) -> Path:
    return Path(home["XDG_STATE_HOME"]) / "rdev" / "local"


def _left(home: Mapping[str, str]) -> list[str]:
    """Name everything of a project that is still on the disk."""
    return [f"{part}/{entry.name}" for part in ("repos", "pods", "spool") for entry in sorted((_local(home) / part).glob("*"))]


def _sound(home: Mapping[str, str]) -> Sequence[Project]:
    """Nothing is unfinished and the state is sound, by what the doctor looks at; return the projects there are."""
    world = Services(environ=home, cwd=Path(home["HOME"]))
    try:
        assert world.store.unfinished() == []
        checks = {check.name: check.verdict for check in world.store.check()}
        assert (checks["journal.chain"], checks["state.integrity"]) == (Verdict.OK, Verdict.OK)
        return world.store.projects()
    finally:
        world.close()


def _whole(home: Mapping[str, str]) -> None:
    """The project is as one that nobody disturbed: record, repository, pod, work tree, and nothing beside them."""
    (project,) = _sound(home)
    assert (project.name, project.state) == ("shop", ProjectState.READY)
    assert _left(home) == ["repos/shop.git", f"pods/{project.pod}"]
    tree = _local(home) / "pods" / project.pod / "workspace"  # nobody but this test ever wrote there
    assert _git(tree, "status", "--porcelain") == ""
    head, subject = _git(tree, "log", "--format=%H %s").split(" ", 1)
    assert subject == "Create shop from the skeleton"
    assert _git(Path(project.repository), "rev-parse", "main") == head


def _git(folder: Path, *argv: str) -> str:
    return subprocess.run(["git", "-C", str(folder), *argv], capture_output=True, check=True, text=True).stdout.strip()


@pytest.fixture
def again(home: Mapping[str, str], tmp_path: Path) -> Callable[[], None]:
    """Put the home back as it is now, at each call."""
    return putting_back(Path(home["HOME"]), tmp_path / "kept")


# the steps are shared out, so that both cores work on them
PARTS = pytest.mark.parametrize("part", [0, 1, 2])
CREATE = ("project", "create", "shop")
DELETE = ("project", "delete", "shop", "--yes")


@PARTS
def test_t_saga_1_and_3_create_killed_after_any_step_completes_when_typed_again(part, home, rdev, tmp_path, again):
    last, steps = look(home, tmp_path, again, *CREATE)
    assert len(steps) > 25
    for step in steps[part::3]:
        again()
        assert strike(home, tmp_path, step, "SIGKILL", *CREATE) == -signal.SIGKILL, step
        completed = rdev(*CREATE)
        assert completed.returncode == 0, (step, completed.stderr.decode())
        _whole(home)
    again()
    assert strike(home, tmp_path, last + 1, "SIGKILL", *CREATE) == 0  # these were all


@PARTS
def test_t_saga_1_create_killed_after_any_step_is_cleared_by_delete(part, home, rdev, tmp_path, again):
    _, steps = look(home, tmp_path, again, *CREATE)
    for step in steps[part::3]:
        again()
        assert strike(home, tmp_path, step, "SIGKILL", *CREATE) == -signal.SIGKILL, step
        gone = rdev(*DELETE)
        assert gone.returncode in (0, 3), (step, gone.stderr.decode())  # 3: killed before there was anything
        assert (_left(home), _sound(home)) == ([], []), step


@PARTS
def test_t_saga_1_delete_killed_after_any_step_ends_with_nothing_left(part, home, rdev, tmp_path, again, project):
    assert rdev("exec", project, "--", "true").returncode == 0
    last, steps = look(home, tmp_path, again, *DELETE)
    assert len(steps) > 25
    for step in steps[part::3]:
        again()
        assert strike(home, tmp_path, step, "SIGKILL", *DELETE) == -signal.SIGKILL, step
        gone = rdev(*DELETE)
        assert gone.returncode in (0, 3), (step, gone.stderr.decode())
        assert (_left(home), _sound(home)) == ([], []), step
    again()
    assert strike(home, tmp_path, last + 1, "SIGKILL", *DELETE) == 0


@pytest.mark.parametrize(("first", "how"), [(1, "SIGINT"), (2, "SIGTERM"), (3, "SIGHUP")])
def test_t_saga_2_create_stopped_at_any_step_is_undone_or_complete(first, how, home, rdev, tmp_path, again):
    last, _ = look(home, tmp_path, again, *CREATE)
    undone = 0
    for step in range(first, last + 1, 3):
        again()
        code = strike(home, tmp_path, step, how, *CREATE)
        if code == 0:
            _whole(home)
            continue
        assert code == 128 + signal.Signals[how], step
        assert (_left(home), _sound(home)) == ([], []), step
        undone += 1
    assert undone > 8


def test_t_saga_4_two_that_create_the_same_agree_on_one(home, rdev, spawn):
    both = [spawn("project", "create", "shop", "-o", "json") for _ in range(3)]
    answers = [process.communicate(timeout=60) for process in both]
    assert [process.returncode for process in both] == [0, 0, 0], answers
    assert len({json.loads(out)["id"] for out, _ in answers}) == 1
    _whole(home)


def test_t_saga_4_of_two_that_delete_one_does_and_one_finds_nothing(home, rdev, spawn, project):
    both = [spawn("project", "delete", project, "--yes") for _ in range(2)]
    for process in both:
        process.communicate(timeout=60)
    assert sorted(process.returncode for process in both) in ([0, 0], [0, 3])
    assert _left(home) == []


def test_t_saga_4_create_and_delete_at_once_leave_all_or_nothing(home, rdev, spawn):
    for _ in range(4):
        create, delete = spawn("project", "create", "shop"), spawn("project", "delete", "shop", "--yes")
        said = create.communicate(timeout=60), delete.communicate(timeout=60)
        assert (create.returncode in (0, 5), delete.returncode in (0, 3)) == (True, True), said
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
        _whole(home)
    finally:
        if first.poll() is None:
            first.kill()
            first.wait(10)
