"""A session killed at every step of its start and of its end: whatever is left is finished by the same command, by `end`, or by the sweeper."""

import json
import signal
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from rdev_cli.domain.report import Verdict
from rdev_cli.domain.session import Session, SessionState
from rdev_cli.ops import sessions
from rdev_cli.wiring.services import Services
from tests.conftest import Rdev
from tests.support.striking import look, putting_back, strike

pytestmark = [pytest.mark.state, pytest.mark.kills]

# the steps are shared out, so that both cores work on them
PARTS = pytest.mark.parametrize("part", [0, 1, 2])
START = ("session", "start", "shop", "--idempotency-key", "once", "-o", "json")


@pytest.fixture
def again(home: Mapping[str, str], tmp_path: Path) -> Callable[[], None]:
    """Put the home back as it is now, at each call."""
    return putting_back(Path(home["HOME"]), tmp_path / "kept")


class Left:
    """What is left of sessions."""

    def __init__(self, home: Mapping[str, str], *, sweep: bool) -> None:
        world = Services(environ=home, cwd=Path(home["HOME"]))
        try:
            if sweep:
                sessions.sweep(world)
            assert world.store.unfinished() == []
            checks = {check.name: check.verdict for check in world.store.check()}
            assert (checks["journal.chain"], checks["state.integrity"]) == (Verdict.OK, Verdict.OK)
            (project,) = world.store.projects()
            self.sessions = world.store.some(Session)
            self.states = [one.state for one in self.sessions]
            self.pods = {pod.name for pod in (world.folder / "pods").iterdir()} - {project.pod}
            self.branches = {one.name for one in world.forge.branches(project)} - {"main"}
            self.rubbish = [path.name for path in (world.folder / "repos").iterdir() if path.name != "shop.git"]
            self.spool = [path.name for path in (world.folder / "spool").glob("run_*")]
            self.kinds = [event.kind for event in world.store.events(after=0)]
        finally:
            world.close()

    @property
    def nothing(self) -> bool:
        """Nobody would know that there was one, but for the records."""
        over = all(state is SessionState.ENDED for state in self.states)
        return over and not self.pods and not self.branches and not self.rubbish and not self.spool


@PARTS
def test_a_start_killed_after_any_step_is_swept_away(
    part: int, home: Mapping[str, str], project: str, tmp_path: Path, again: Callable[[], None]
) -> None:
    _, steps = look(home, tmp_path, again, *START)
    assert len(steps) > 15
    for step in steps[part::3]:
        again()
        assert strike(home, tmp_path, step, "SIGKILL", *START) == -signal.SIGKILL, step
        left = Left(home, sweep=True)
        if left.states == [SessionState.READY]:  # killed when it was started: it is a session like others
            assert left.pods == {left.sessions[0].pod}
            continue
        assert left.nothing, (step, vars(left))


@PARTS
def test_a_start_killed_after_any_step_goes_on_when_typed_again_under_its_key(
    part: int, home: Mapping[str, str], project: str, rdev: Rdev, tmp_path: Path, again: Callable[[], None]
) -> None:
    last, steps = look(home, tmp_path, again, *START)
    for step in steps[part::3]:
        again()
        assert strike(home, tmp_path, step, "SIGKILL", *START) == -signal.SIGKILL, step
        started = rdev(*START)
        assert started.returncode == 0, (step, started.stderr.decode())
        session = json.loads(started.stdout)
        left = Left(home, sweep=False)
        assert left.states == [SessionState.READY], step
        assert (left.pods, left.branches) == ({session["pod"]}, {session["branch"]}), step
        assert left.kinds.count("session.started") == 1, step
    again()
    assert strike(home, tmp_path, last + 1, "SIGKILL", *START) == 0  # these were all


@PARTS
@pytest.mark.parametrize("swept", [False, True])
def test_an_end_killed_after_any_step_loses_nothing(
    part: int, swept: bool, home: Mapping[str, str], project: str, rdev: Rdev, tmp_path: Path, again: Callable[[], None]
) -> None:
    session = json.loads(rdev("session", "start", project, "-o", "json").stdout)
    assert rdev("session", "shell", session["id"], "echo precious >note && git add note").returncode == 0
    end = ("session", "end", session["id"])
    last, steps = look(home, tmp_path, again, *end)
    assert len(steps) > 15
    for step in steps[part::3]:
        again()
        assert strike(home, tmp_path, step, "SIGKILL", *end) == -signal.SIGKILL, step
        if not swept:
            ended = rdev(*end)
            assert ended.returncode == 0, (step, ended.stderr.decode())
        left = Left(home, sweep=swept)
        if swept and left.states == [SessionState.READY]:  # killed before it had begun
            continue
        rescue = f"rdev/rescue/{session['id']}"
        assert (left.states, left.pods, left.branches) == ([SessionState.ENDED], set(), {rescue}), (step, vars(left))
        assert not left.rubbish, step
        assert not left.spool, step
        assert left.sessions[0].rescue == rescue, step
        assert left.kinds.count("session.ended") == 1, step
        shown = subprocess.run(
            ["git", "-C", Path(home["XDG_STATE_HOME"]) / "rdev/local/repos/shop.git", "show", f"{rescue}:note"],
            capture_output=True,
            check=True,
        )
        assert shown.stdout == b"precious\n", step
    again()
    assert strike(home, tmp_path, last + 1, "SIGKILL", *end) == 0
