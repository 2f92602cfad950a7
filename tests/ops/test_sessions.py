"""Sessions: a pod of their own, nothing lost at their end, and nothing left behind, whatever fails or is killed."""

import pytest

from rdev_cli.domain.command import ExecSpec
from rdev_cli.domain.session import SessionSpec, SessionState
from rdev_cli.ops import commands, sessions
from tests.fakes.world import MemoryWorld

pytestmark = pytest.mark.state


def _kinds(world: MemoryWorld, subject: str) -> list[str]:
    return [event.kind for event in world.store.events(after=0, subject=subject)]


def test_a_session_has_a_pod_and_a_branch_of_its_own_and_both_go_with_it(world):
    before = set(world.cluster.pods)
    session = sessions.start(world, SessionSpec(project="shop"))
    assert session.state is SessionState.READY
    assert session.branch == f"rdev/{session.id}"
    assert set(world.cluster.pods) == {*before, session.pod}
    assert world.forge.repositories["shop"].branches[session.branch] == session.base
    ended = sessions.end(world, session.id)
    assert (ended.state, ended.reason, ended.rescue) == (SessionState.ENDED, "ended", "")
    assert set(world.cluster.pods) == before
    assert session.branch not in world.forge.repositories["shop"].branches
    assert _kinds(world, session.id) == ["session.requested", "session.started", "session.ended"]
    assert list(world.store.unfinished()) == []


def test_what_was_not_checked_in_is_kept_on_a_branch(world):
    session = sessions.start(world, SessionSpec(project="shop"))
    commands.run(world, ExecSpec(project=session.id, argv=("touch", "note")))
    ended = sessions.end(world, session.id)
    assert ended.rescue == f"rdev/rescue/{session.id}"
    forge = world.forge.repositories["shop"]
    assert "note" in forge.commits[forge.branches[ended.rescue]]["files"]
    assert sessions.end(world, session.id) == ended
