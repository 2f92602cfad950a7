"""What was asked for by somebody who does not wait: recorded, done once, gone on with, refused."""

import pytest

from rdev_cli.domain.access import Grant, KeySpec, Scope
from rdev_cli.domain.command import Command, CommandState, Ending, status
from rdev_cli.domain.errors import Cancelled, Invalid, NotFound
from rdev_cli.domain.job import Job, JobState
from rdev_cli.domain.project import ProjectSpec
from rdev_cli.ops import commands, jobs, keys, projects, settling
from tests.fakes.world import MemoryWorld


class Died(BaseException):
    """Stands for kill -9: nothing of rdev catches it, and nothing is cleaned up."""


def ci(world: MemoryWorld) -> Grant:
    """Return what a key on the project `shop` is granted."""
    made = keys.create(world, KeySpec(name="ci", scopes=(Scope.PROJECTS_EXECUTE,), projects=("shop",)))
    return keys.authenticate(world, made.key, address="127.0.0.1")


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


def dead(world: MemoryWorld) -> None:
    """Let every lease be that of a process that is no more."""
    with world.store.transaction() as tx:
        tx._connection.execute("update leases set until = 0")


# commands


def test_a_command_waits_as_a_record_until_it_is_started_in_the_name_of_whoever_asked(world):
    grant = ci(world)
    job = asked(world.acting(grant), "true")
    assert (job.state, job.actor, found(world, job).state) == (JobState.PENDING, grant.actor, CommandState.PENDING)
    assert commands.list_(world, running=True).items == (found(world, job),)
    assert turn(world)
    assert not turn(world)
    assert (found(world, job).state, found(world, job).actor) == (CommandState.RUNNING, grant.actor)
    assert kinds(world, job.id) == ["command.requested", "command.started"]
    with pytest.raises(NotFound):
        jobs.show(world, job.id)


def test_what_makes_no_sense_is_refused_at_once_and_leaves_nothing(world):
    for request, error in (
        ({"project": "shop", "argv": []}, Invalid),
        ({"project": "shop", "argv": ["cat"], "stdin_b64": "?"}, Invalid),
        ({"project": "nowhere", "argv": ["true"]}, NotFound),
    ):
        with pytest.raises(error):
            jobs.submit(world, "command.run", request)
    assert (world.store.jobs(), world.store.commands()) == ([], [])


def test_a_caller_sees_and_asks_for_nothing_of_another_project(world):
    projects.create(world, ProjectSpec(name="other"))
    grant = ci(world)
    job = jobs.submit(world, "project.sync", {"project": "other"})
    with pytest.raises(NotFound):
        jobs.show(world.acting(grant), job.id)
    assert jobs.list_(world.acting(grant)).items == ()
    with pytest.raises(NotFound):
        jobs.submit(world.acting(grant), "project.create", {"name": "another"})
    assert [one.id for one in jobs.list_(world).items] == [job.id]


def test_stdin_reaches_the_command_and_is_kept_nowhere_afterwards(world, tmp_path):
    job = asked(world, "cat", stdin="the-secret-that-nobody-keeps")
    turn(world)
    assert world.spool.read(job.id, "out", 0, 100) == b"the-secret-that-nobody-keeps"
    assert world.store.jobs() == []
    for file in world.folder.glob("state.db*"):
        assert b"the-secret-that-nobody-keeps" not in file.read_bytes(), file


def test_a_pending_command_is_cancelled_without_ever_starting(world):
    job = asked(world, "true")
    ended = commands.cancel(world, job.id)
    assert (ended.state, ended.reason, status(ended)) == (CommandState.CANCELLED, "cancelled", 130)
    assert not turn(world)
    assert kinds(world, job.id) == ["command.requested", "command.cancelled"]


def test_a_command_that_cannot_be_started_fails_and_its_operation_says_why(world):
    gone = asked(world, "true")
    projects.delete(world, "shop")
    projects.create(world, ProjectSpec(name="shop"))
    job = asked(world, "true")
    world.cluster.trouble.add("start:before")
    while turn(world):
        pass
    assert (commands.recorded(world, gone.id), found(world, job).state, found(world, job).reason) == (None, CommandState.FAILED, "setup")
    shown = jobs.show(world, job.id)
    assert (shown.state, shown.error and shown.error.message) == (JobState.FAILED, "start:before did not answer")


@pytest.mark.parametrize("where", ["before", "record", "runner", "told"])
def test_a_command_is_started_once_wherever_the_server_dies(world, monkeypatch, where):
    job = asked(world, "sleep", "60")
    starts, start = [], world.cluster.start

    def struck(project, launch):
        if where != "record":
            starts.append(launch.id)
            start(project, launch)
        raise Died

    if where == "before":
        monkeypatch.setattr(jobs, "_start", lambda *_: (_ for _ in ()).throw(Died))
    elif where == "told":
        monkeypatch.setattr(jobs, "_record", lambda *_: (_ for _ in ()).throw(Died))
    else:
        monkeypatch.setattr(world.cluster, "start", struck)
        monkeypatch.setattr(settling, "settle", lambda *_, **__: (_ for _ in ()).throw(Died))
    with pytest.raises(Died):
        turn(world)
    monkeypatch.undo()
    dead(world)
    commands.reconcile(world)  # somebody looks before the next server is there
    monkeypatch.setattr(world.cluster, "start", lambda project, launch: (starts.append(launch.id), start(project, launch))[1])
    while turn(world):
        pass
    assert found(world, job).state is CommandState.RUNNING
    assert len(starts) == (0 if where == "told" else 1)
    assert kinds(world, job.id) == ["command.requested", "command.started"]
    world.cluster.end(job.id, 3, Ending.EXITED)
    assert commands.show(world, job.id).exit_code == 3


# other operations


def test_an_operation_is_done_and_its_answer_is_the_documents(world):
    job = jobs.submit(world, "project.create", {"name": "other", "description": "the other one"})
    assert turn(world)
    shown = jobs.show(world, job.id)
    assert (shown.state, shown.answer and shown.answer["name"], shown.project) == (JobState.DONE, "other", "other")
    assert kinds(world, job.id) == ["operation.requested", "operation.done"]


def test_one_that_fails_keeps_its_error(world):
    jobs.submit(world, "project.create", {"name": "other"})
    clash = jobs.submit(world, "project.create", {"name": "other", "description": "another"})
    while turn(world):
        pass
    shown = jobs.show(world, clash.id)
    assert (shown.state, shown.error and shown.error.code) == (JobState.FAILED, "CONFLICT")


def test_a_removal_that_was_cut_off_after_its_end_is_done(world, monkeypatch):
    job = jobs.submit(world, "project.delete", {"project": "shop"})
    monkeypatch.setattr(jobs, "_record", lambda *_: (_ for _ in ()).throw(Died))
    with pytest.raises(Died):
        turn(world)
    monkeypatch.undo()
    assert not turn(world)  # its holder lives, as far as anybody can tell
    dead(world)
    assert turn(world)
    assert jobs.show(world, job.id).state is JobState.DONE


def test_a_stop_gives_a_job_back_and_the_next_start_does_it(world):
    job = jobs.submit(world, "project.create", {"name": "other"})
    world.stop.set("cancelled")
    assert turn(world)
    assert (jobs.show(world, job.id).state, world.store.find_project("other")) == (JobState.PENDING, None)
    again = MemoryWorld(world._cwd)
    assert turn(again)
    assert jobs.show(again, job.id).state is JobState.DONE
    again.close()


def test_what_kills_its_server_again_and_again_is_given_up(world, monkeypatch):
    job = jobs.submit(world, "project.sync", {"project": "shop"})
    monkeypatch.setattr(projects, "sync", lambda *_: (_ for _ in ()).throw(Died))
    for _ in range(jobs.ATTEMPTS):
        with pytest.raises(Died):
            turn(world)
        dead(world)
    assert turn(world)
    shown = jobs.show(world, job.id)
    assert (shown.state, shown.error and shown.error.code) == (JobState.FAILED, "GIVEN_UP")


def test_what_waits_is_refused_once_its_key_is_revoked_and_what_runs_goes_on(world, monkeypatch):
    grant = ci(world)
    begun, waits = asked(world.acting(grant), "true"), asked(world.acting(grant), "true")
    monkeypatch.setattr(jobs, "_start", lambda *_: (_ for _ in ()).throw(Died))
    with pytest.raises(Died):
        turn(world)
    monkeypatch.undo()
    keys.revoke(world, grant.key)
    dead(world)
    while turn(world):
        pass
    assert (found(world, begun).state, found(world, waits).state) == (CommandState.RUNNING, CommandState.FAILED)
    shown = jobs.show(world, waits.id)
    assert (shown.state, shown.error and shown.error.code) == (JobState.FAILED, "KEY_REVOKED")


def test_an_unknown_failure_ends_the_job_and_is_the_loops_to_log(world, monkeypatch):
    job = jobs.submit(world, "project.sync", {"project": "shop"})
    monkeypatch.setattr(projects, "sync", lambda *_: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        turn(world)
    shown = jobs.show(world, job.id)
    assert (shown.state, shown.error and shown.error.code) == (JobState.FAILED, "INTERNAL")


def test_a_cancelled_operation_fails_as_cancelled_while_the_server_goes_on(world, monkeypatch):
    job = jobs.submit(world, "project.sync", {"project": "shop"})
    monkeypatch.setattr(projects, "sync", lambda *_: (_ for _ in ()).throw(Cancelled("it was stopped")))
    assert turn(world)
    shown = jobs.show(world, job.id)
    assert (shown.state, shown.error and shown.error.code) == (JobState.FAILED, "CANCELLED")
