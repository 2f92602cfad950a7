"""A check-in that is killed after any step: the same command finishes it, and nothing is done twice.

All steps are tried in a project without checks; a pod of checks has hundreds of its own, of which some are tried too.
"""

import json
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from rdev_cli.domain.checkout import Checkout
from rdev_cli.domain.command import OPEN, ExecSpec
from rdev_cli.domain.report import Verdict
from rdev_cli.domain.review import Receipt
from rdev_cli.domain.session import LIVE, Session, SessionSpec
from rdev_cli.ops import commands, sessions
from rdev_cli.wiring.services import Services
from tests.e2e.test_saga import _git, _local, again
from tests.support.striking import look, strike

pytestmark = [pytest.mark.state, pytest.mark.kills]

__all__ = ["again"]
PARTS = pytest.mark.parametrize("part", range(2))
SOME = 23  # every so many of the steps of a check-in with checks


@pytest.fixture
def bare(rdev, tmp_path) -> str:
    """The name of a project without checks."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "README.md").write_text("# shop\n")
    for argv in (["init", "-q", "-b", "main"], ["add", "."], ["-c", "user.name=me", "-c", "user.email=me@x", "commit", "-qm", "Begin"]):
        subprocess.run(["git", "-C", str(source), *argv], check=True)
    made = rdev("project", "create", "shop", "--from", str(source))
    assert made.returncode == 0, made.stderr
    return "shop"


def _world(home: Mapping[str, str]) -> Services:
    return Services(environ=home, cwd=Path(home["HOME"]))


def _session(home: Mapping[str, str]) -> str:
    """Start a session and stage a change in it; return its id."""
    world = _world(home)
    try:
        session = sessions.start(world, SessionSpec(project="shop"))
        command = commands.run(world, ExecSpec(project=session.id, argv=("sh", "-c", "echo hello > note.txt; git add note.txt"))).command
        while command.state in OPEN:
            command, _ = commands.follow(world, command, wait=1, own=True)
        assert command.exit_code == 0
        return session.id
    finally:
        world.close()


def _checked_in(home: Mapping[str, str], id: str, where: object) -> None:
    """The change is on main once, by one pull request, with one receipt; nothing is unfinished, and nothing still stands."""
    world = _world(home)
    try:
        sessions.sweep(world)  # what a killed review left of its pod
        assert world.store.unfinished() == [], where
        checks = {check.name: check.verdict for check in world.store.check()}
        assert (checks["journal.chain"], checks["state.integrity"]) == (Verdict.OK, Verdict.OK)
        repository = Path(world.store.projects()[0].repository)
        log = _git(repository, "log", "--first-parent", "--format=%s", "main").splitlines()
        assert log[0] == f"Merge rdev/{id} into main", where
        assert len(log) == 2, where
        assert _git(repository, "show", "main:note.txt") == "hello"
        pulls = [json.loads(file.read_text()) for file in (repository / "rdev-pulls").glob("*.json")]
        assert [(one["state"], one["title"]) for one in pulls] == [("merged", "Say hello")], where
        receipts = world.store.some(Receipt)
        assert len({one.commit for one in receipts}) == len(receipts) == 1, where
        assert world.store.some(Session, of={"state": [one.value for one in LIVE]}) == [], where
        assert [entry.name for entry in (_local(home) / "pods").iterdir()] == [world.store.projects()[0].pod], where
    finally:
        world.close()


def _killed(home, rdev, cwd: Path, tmp_path: Path, back, words: tuple[str, ...], id: str, every: tuple[int, int]) -> int:
    """Kill a check-in at those of its steps, and finish it; return how many steps there were."""
    last, steps = look(home, cwd, back, *words, report=tmp_path / "steps.json")
    first, apart = every
    for step in steps[first::apart]:
        back()
        assert strike(home, cwd, step, "SIGKILL", *words) == -signal.SIGKILL, step
        finished = rdev(*words, cwd=cwd)
        assert finished.returncode == 0, (step, finished.stderr.decode())
        _checked_in(home, id, step)
    if first == 0:
        back()
        assert strike(home, cwd, last + 1, "SIGKILL", *words) == 0  # these were all
    return len(steps)


@PARTS
def test_a_session_whose_check_in_is_killed_after_any_step_is_checked_in_when_it_is_typed_again(part, home, rdev, tmp_path, again, bare):
    id = _session(home)
    assert _killed(home, rdev, tmp_path, tmp_path, again, ("checkin", id, "--merge", "-m", "Say hello"), id, (part, 2)) > 30


def test_a_session_whose_check_in_is_killed_while_it_is_reviewed_is_checked_in_likewise(home, rdev, tmp_path, again, project):
    id = _session(home)
    assert _killed(home, rdev, tmp_path, tmp_path, again, ("checkin", id, "--merge", "-m", "Say hello"), id, (0, SOME)) > 60


def _clone(home, rdev, project) -> tuple[str, Path]:
    """Start a checkout and stage a change in it; return its id and its folder."""
    folder = Path(home["HOME"], "work")
    started = rdev("checkout", "start", project, "--dir", str(folder), "-o", "json")
    assert started.returncode == 0, started.stderr
    for key, value in (("user.name", "me"), ("user.email", "me@localhost")):
        _git(folder, "config", key, value)
    (folder / "note.txt").write_text("hello\n")
    _git(folder, "add", "note.txt")
    return json.loads(started.stdout)["id"], folder


@PARTS
def test_a_checkout_whose_check_in_is_killed_after_any_step_is_checked_in_when_it_is_typed_again(part, home, rdev, tmp_path, again, bare):
    id, folder = _clone(home, rdev, bare)
    assert _killed(home, rdev, folder, tmp_path, again, ("checkin", "--merge", "-m", "Say hello"), id, (part, 2)) > 30
    world = _world(home)
    try:
        assert [one.state.value for one in world.store.some(Checkout)] == ["checked_in"]
    finally:
        world.close()
