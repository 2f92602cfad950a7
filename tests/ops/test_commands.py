"""The life of a command: started, followed, settled once, cancelled; an agent's commit delivered, rescued or kept."""

import pytest

from rdev_cli.domain.command import Command, CommandKind, CommandState, ExecSpec, Launch, status
from rdev_cli.domain.errors import Conflict, NotFound, Unavailable
from rdev_cli.domain.values import CommandId
from rdev_cli.ops import commands, projects
from tests.fakes.forge import commit
from tests.fakes.world import MemoryWorld


def run(world: MemoryWorld, *argv: str, **more: object) -> Command:
    return commands.run(world, ExecSpec(project="shop", argv=argv, **more)).command


def agent(world: MemoryWorld, *argv: str) -> Command:
    """Start what an agent's run is to the rest of rdev: alone in the work tree, committed at its end."""
    command = Command(
        id=CommandId(world.new_id("cmd")), project="shop", project_id=world.store.find_project("shop").id, kind=CommandKind.AGENT, argv=argv,
        state=CommandState.RUNNING, actor=world.actor, created_at=world.clock.now(), agent="bundled",
    )  # fmt: skip
    launch = Launch(id=command.id, argv=argv, commit="its work")
    return commands.start(world, projects.show(world, "shop"), command, launch, alone=lambda: ()).command


def kinds(world: MemoryWorld, subject: str) -> list[str]:
    return [event.kind for event in world.store.events(after=0, subject=subject)]


def test_a_command_ends_as_it_ended_and_is_settled_once(world):
    started = run(world, "false")
    assert started.state is CommandState.RUNNING
    for _ in (1, 2):
        ended = commands.show(world, started.id)
        assert (ended.state, ended.exit_code, status(ended)) == (CommandState.FAILED, 1, 1)
    assert kinds(world, started.id) == ["command.started", "command.failed"]


def test_what_a_command_printed_is_given_from_any_byte_on(world):
    ended = commands.show(world, run(world, "echo", "one", "two").id)
    assert (ended.state, ended.stdout_bytes) == (CommandState.COMPLETED, 8)
    assert commands.output(world, ended, offset=4).stdout == b"two\n"


def test_a_command_that_cannot_be_started_is_recorded_as_that(world):
    world.cluster.trouble.add("start:before")
    with pytest.raises(Unavailable):
        run(world, "true")
    [ended] = commands.list_(world).items
    assert (ended.state, ended.reason, status(ended)) == (CommandState.FAILED, "setup", 125)


def test_a_cancel_ends_a_command_and_one_that_has_ended_stays_as_it_is(world):
    running, ended = run(world, "sleep", "600"), run(world, "true")
    for _ in (1, 2):
        assert [commands.cancel(world, one.id).state for one in (running, ended)] == [CommandState.CANCELLED, CommandState.COMPLETED]


def test_a_command_whose_runner_is_gone_is_lost(world):
    started = run(world, "sleep", "600")
    world.cluster.runs.clear()
    assert status(commands.show(world, started.id)) == 74


def test_a_pod_that_is_gone_is_made_again_with_what_the_repository_has(world):
    world.cluster.pods.clear()
    running = commands.run(world, ExecSpec(project="shop", argv=("true",)))
    assert "made again" in running.notes[0]
    [pod] = world.cluster.pods.values()
    assert pod.head == world.forge.head(projects.show(world, "shop"))


def test_a_deleted_project_leaves_no_command_and_no_output(world):
    running = run(world, "sleep", "600")
    projects.delete(world, "shop")
    assert world.cluster.runs[running.id].outcome is not None
    assert not world.spool.path(running.id, "out").exists()
    with pytest.raises(NotFound):
        commands.show(world, running.id)


def test_an_agents_commit_is_delivered_to_the_branch(world):
    ended = commands.show(world, agent(world, "touch", "page").id)
    assert (ended.state, ended.delivered) == (CommandState.COMPLETED, "main")
    assert world.forge.head(projects.show(world, "shop")) == ended.commit
    assert kinds(world, ended.id) == ["command.started", "command.completed", "commit.delivered"]


def test_an_agents_commit_is_rescued_where_the_branch_moved_on(world):
    started = agent(world, "sleep", "600")
    [pod], repository = world.cluster.pods.values(), world.forge.repositories["shop"]
    repository.branches["main"] = theirs = commit(repository.commits, repository.branches["main"], "meanwhile", ["README.md"])
    pod.new.append("page")
    world.cluster.end(started.id, 0)
    ended = commands.show(world, started.id)
    assert ended.delivered == f"rdev/rescue/{ended.id}"
    assert repository.branches == {"main": theirs, ended.delivered: ended.commit}


def test_an_agents_commit_that_cannot_be_delivered_stays_and_goes_with_the_next(world):
    world.forge.trouble.add("receive:before")
    kept = commands.show(world, agent(world, "touch", "page").id)
    assert (kept.reason, kept.commit, status(kept)) == ("undelivered", "", 7)
    world.forge.trouble.clear()
    ended = commands.show(world, agent(world, "touch", "more").id)
    repository = world.forge.repositories["shop"]
    assert repository.branches == {"main": ended.commit}
    assert set(repository.commits[ended.commit]["files"]) >= {"page", "more"}


def test_a_second_agent_is_told_of_the_first_and_works_once_that_has_ended(world):
    first = agent(world, "sleep", "600")
    with pytest.raises(Conflict) as busy:
        agent(world, "true")
    assert (busy.value.code, busy.value.context["command"]) == ("BUSY", first.id)
    assert commands.show(world, run(world, "true").id).exit_code == 0  # exec is free
    commands.cancel(world, first.id)
    assert agent(world, "true").id != first.id
