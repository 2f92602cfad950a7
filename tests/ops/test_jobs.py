"""What was asked for by somebody who does not wait: recorded, done once, gone on with, refused."""

from collections.abc import Iterator

import pytest

from rdev_cli.domain.access import Grant, Scope
from rdev_cli.domain.command import Command, CommandState
from rdev_cli.domain.errors import NotFound
from rdev_cli.domain.job import Job, JobState
from rdev_cli.domain.project import ProjectSpec
from rdev_cli.ops import commands, jobs, projects
from tests.fakes.world import MemoryWorld

CI = Grant(actor="key:key_1", scopes=frozenset({Scope.PROJECTS_READ, Scope.PROJECTS_EXECUTE}), projects=frozenset({"shop"}), key="key_1")


@pytest.fixture
def world(tmp_path) -> Iterator[MemoryWorld]:
    """A world with the project `shop`."""
    one = MemoryWorld(tmp_path)
    projects.create(one, ProjectSpec(name="shop"))
    yield one
    one.close()


def asked(world: MemoryWorld, *argv: str, **more: object) -> Job:
    return jobs.submit(world, "command.run", {"project": "shop", "argv": list(argv), **more})


def turn(world: MemoryWorld) -> bool:
    return jobs.run_one(world, world.acting)


def found(world: MemoryWorld, job: Job) -> Command:
    command = commands.recorded(world, job.id)
    assert command is not None
    return command


def kinds(world: MemoryWorld, subject: str) -> list[str]:
    return [event.kind for event in world.store.events(after=0, subject=subject)]


def test_a_command_waits_as_a_record_until_it_is_started_in_the_name_of_whoever_asked(world):
    job = asked(world.acting(CI), "true")
    assert (job.state, job.actor, found(world, job).state) == (JobState.PENDING, "key:key_1", CommandState.PENDING)
    assert commands.list_(world, running=True).items == (found(world, job),)
    assert turn(world)
    assert not turn(world)
    assert (found(world, job).state, found(world, job).actor) == (CommandState.RUNNING, "key:key_1")
    assert kinds(world, job.id) == ["command.requested", "command.started"]
    with pytest.raises(NotFound):
        jobs.show(world, job.id)
