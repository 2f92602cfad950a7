"""Sessions: a pod of their own, nothing lost at their end, and nothing left behind, whatever fails or is killed."""

import time
from datetime import datetime, timedelta

import pytest

from rdev_cli.domain.access import Grant, KeySpec, Scope
from rdev_cli.domain.command import CommandState, ExecSpec
from rdev_cli.domain.errors import Conflict, NotFound, Partial, Unavailable
from rdev_cli.domain.project import ownership
from rdev_cli.domain.session import Purpose, SessionSpec, SessionState
from rdev_cli.ops import commands, doctor, keys, pool, projects, sessions, terminals
from rdev_cli.ops.ensure import lease
from tests.fakes.cluster import Pod
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


class At:
    """A clock that stands where a test puts it."""

    def __init__(self, world: MemoryWorld) -> None:
        self._now = world.clock.now()
        world.__dict__["clock"] = self
        world.store._clock = self

    def pass_(self, seconds: float) -> None:
        self._now += timedelta(seconds=seconds)

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return time.monotonic()


def _ran(world: MemoryWorld, session: str, *argv: str) -> None:
    """Run a command to its end, as somebody who looks on sees it."""
    commands.run(world, ExecSpec(project=session, argv=argv))
    commands.reconcile(world)


def _broken(world: MemoryWorld, *calls: str) -> None:
    for twin in (world.forge, world.cluster):
        twin.trouble.clear()
        twin.trouble.update(calls)


def _left(world: MemoryWorld) -> tuple[set[str], set[str]]:
    """Pods and branches that are no project's own."""
    (project,) = world.store.projects()
    return set(world.cluster.pods) - {project.pod}, set(world.forge.repositories["shop"].branches) - {"main"}


# the start


@pytest.mark.parametrize("fault", [f"{call}:{when}" for call in ("ensure_branch", "ensure_pod", "run") for when in ("before", "after")])
def test_a_start_that_fails_is_undone_and_says_why(world, fault):
    _broken(world, fault)
    with pytest.raises(Unavailable, match="did not answer"):
        sessions.start(world, SessionSpec(project="shop"))
    assert _left(world) == (set(), set())
    assert list(world.store.unfinished()) == []
    (session,) = sessions.list_(world).items
    assert (session.state, session.reason) == (SessionState.ENDED, "failed")
    assert _kinds(world, session.id) == ["session.requested", "session.undone"]


@pytest.mark.parametrize("undo", ["delete_pod:before", "delete_branch:before"])
def test_a_start_that_cannot_be_undone_is_named_and_cleared_by_end_or_by_the_sweeper(world, undo):
    for clear in (lambda id: sessions.end(world, id), lambda _: sessions.sweep(world)):
        _broken(world, "run:before", undo)
        with pytest.raises(Partial) as partial:
            sessions.start(world, SessionSpec(project="shop"))
        session = sessions.list_(world).items[0]
        assert session.state is SessionState.FAILED
        assert partial.value.hint == f"rdev session end {session.id}"
        with pytest.raises(Conflict, match="could not be started"):
            commands.run(world, ExecSpec(project=session.id, argv=("true",)))
        _broken(world)
        clear(session.id)
        assert _left(world) == (set(), set())
        assert sessions.show(world, session.id).state is SessionState.ENDED


def test_a_branch_that_is_there_goes_on_and_stays(world):
    project = world.store.find_project("shop")
    world.forge.ensure_branch(project, "feature/cart", world.forge.head(project))
    session = sessions.start(world, SessionSpec(project="shop", branch="feature/cart"))
    sessions.end(world, session.id)
    assert world.forge.find_branch(project, "feature/cart") == session.base


def test_a_branch_that_a_person_named_stays_though_nothing_came_to_it(world):
    session = sessions.start(world, SessionSpec(project="shop", branch="feature/new"))
    sessions.end(world, session.id)
    assert world.forge.find_branch(world.store.find_project("shop"), "feature/new") == session.base


def test_a_session_of_a_project_that_is_not_there_or_of_an_agent_that_is_none(world):
    with pytest.raises(NotFound):
        sessions.start(world, SessionSpec(project="none"))
    with pytest.raises(NotFound):
        sessions.start(world, SessionSpec(project="shop", agent="nobody"))
    assert list(sessions.list_(world, all=True).items) == []


def test_a_start_under_an_id_that_is_there_is_met_again(world):
    session = sessions.start(world, SessionSpec(project="shop"))
    assert sessions.start(world, SessionSpec(project="shop"), id=session.id) == sessions.show(world, session.id)
    sessions.end(world, session.id)
    with pytest.raises(Conflict, match="has ended"):
        sessions.start(world, SessionSpec(project="shop"), id=session.id)


def test_the_doctor_says_what_to_type_about_a_start_that_was_cut_off(world):
    _broken(world, "run:before", "delete_pod:before")
    with pytest.raises(Partial):
        sessions.start(world, SessionSpec(project="shop"))
    _broken(world)
    (session,) = sessions.list_(world).items
    hints = [one.hint for one in doctor.check(world) if one.name.startswith("unfinished.")]
    assert hints == [f"rdev session end {session.id} clears it; so does rdev gc, and rdev serve by itself"]


# the end


@pytest.mark.parametrize("fault", ["run:before", "receive:before", "receive:after"])
def test_the_pod_stays_until_what_is_in_it_is_kept(world, fault):
    session = sessions.start(world, SessionSpec(project="shop"))
    commands.run(world, ExecSpec(project=session.id, argv=("touch", "note")))
    _broken(world, fault)
    for _ in range(3):
        with pytest.raises(Partial) as partial:
            sessions.end(world, session.id)
        assert session.pod in world.cluster.pods
        assert sessions.show(world, session.id).state is SessionState.ENDING
    assert partial.value.left == (f"work: {fault} did not answer", "pod: it stays until what is in it is kept")
    assert _kinds(world, session.id).count("session.end_failed") == 1  # a sweeper that tries again and again says it once
    with pytest.raises(Conflict, match="is being ended"):
        commands.run(world, ExecSpec(project=session.id, argv=("true",)))
    _broken(world)
    assert sessions.sweep(world) == 1
    ended = sessions.show(world, session.id)
    assert (ended.state, ended.rescue) == (SessionState.ENDED, f"rdev/rescue/{session.id}")
    assert _left(world) == (set(), {ended.rescue})


def test_what_cannot_be_kept_can_be_given_up(world):
    session = sessions.start(world, SessionSpec(project="shop"))
    commands.run(world, ExecSpec(project=session.id, argv=("touch", "note")))
    _broken(world, "run:before")
    with pytest.raises(Partial) as partial:
        sessions.end(world, session.id)
    assert "--discard" in partial.value.hint
    ended = sessions.end(world, session.id, discard=True)
    assert (ended.state, ended.rescue) == (SessionState.ENDED, "")
    assert _left(world) == (set(), set())


def test_a_pod_that_is_gone_is_said_and_keeps_nothing_from_ending(world):
    session = sessions.start(world, SessionSpec(project="shop"))
    del world.cluster.pods[session.pod]
    assert sessions.end(world, session.id).rescue == ""
    assert world.store.events(after=0, subject=session.id)[-1].data["gone"] is True


def test_the_end_cancels_what_runs_and_what_an_agent_delivered_stays_on_its_branch(world):
    session = sessions.start(world, SessionSpec(project="shop"))
    running = commands.run(world, ExecSpec(project=session.id, argv=("sleep", "600"))).command
    sessions.end(world, session.id)
    assert commands.show(world, running.id).state is CommandState.CANCELLED


def test_a_project_that_is_deleted_takes_its_sessions_along(world):
    session = sessions.start(world, SessionSpec(project="shop"))
    checks = sessions.start(world, SessionSpec(project="shop", purpose=Purpose.CHECKS, commit=session.base))
    commands.run(world, ExecSpec(project=session.id, argv=("sleep", "600")))
    projects.delete(world, "shop")
    assert (world.cluster.pods, world.forge.repositories) == ({}, {})
    assert [(e.kind, e.data["reason"]) for e in world.store.events(after=0) if e.kind == "session.ended"] == [
        ("session.ended", "deleted")
    ] * 2
    for one in (session, checks):
        with pytest.raises(NotFound):
            sessions.show(world, one.id)
    assert {session.id, checks.id} <= set(world.store.known().departed)


# by the clock


def test_a_session_that_is_being_checked_in_is_not_idle(world):
    clock = At(world)
    session = sessions.start(world, SessionSpec(project="shop", idle_seconds=60))
    with lease(world, f"checkin:{session.id}"):
        clock.pass_(900)
        assert sessions.sweep(world) == 0
        assert sessions.show(world, session.id).warned_at is None
    assert sessions.sweep(world) == 1


def test_an_idle_session_is_warned_and_then_ended_and_its_work_is_kept(world):
    clock = At(world)
    session = sessions.start(world, SessionSpec(project="shop", idle_seconds=600))
    _ran(world, session.id, "touch", "note")
    clock.pass_(350)
    assert sessions.sweep(world) == 0
    assert "session.expiring" not in _kinds(world, session.id)
    clock.pass_(100)
    for _ in range(3):
        assert sessions.sweep(world) == 0
    (warned,) = [event for event in world.store.events(after=0, subject=session.id) if event.kind == "session.expiring"]
    assert (warned.data["reason"], warned.data["project"]) == ("idle", "shop")
    clock.pass_(151)
    assert sessions.sweep(world) == 1
    ended = sessions.show(world, session.id)
    assert (ended.state, ended.reason, ended.rescue) == (SessionState.ENDED, "idle", f"rdev/rescue/{session.id}")


def test_use_puts_the_end_off_and_what_was_told_counts_no_more(world):
    clock = At(world)
    session = sessions.start(world, SessionSpec(project="shop", idle_seconds=600))
    for use in (
        lambda: sessions.touch(world, session.id),
        lambda: _ran(world, session.id, "true"),
    ):
        clock.pass_(500)
        assert sessions.sweep(world) == 0
        assert sessions.show(world, session.id).warned_at is not None
        use()
        assert sessions.show(world, session.id).warned_at is None
        clock.pass_(300)
        assert sessions.sweep(world) == 0
    clock.pass_(200)
    sessions.sweep(world)
    assert _kinds(world, session.id).count("session.expiring") == 3


def test_t_sess_1_a_running_command_keeps_a_session_until_its_time_is_over_in_any_case(world):
    clock = At(world)
    session = sessions.start(world, SessionSpec(project="shop", idle_seconds=60, ttl_seconds=3600))
    running = commands.run(world, ExecSpec(project=session.id, argv=("sleep", "99999"))).command
    while (clock.now() - session.created_at).total_seconds() < 3600:
        assert sessions.sweep(world) == 0
        clock.pass_(50)
    assert sessions.sweep(world) == 1
    ended = sessions.show(world, session.id)
    assert (ended.state, ended.reason) == (SessionState.ENDED, "expired")
    assert commands.show(world, running.id).state is CommandState.CANCELLED
    kinds = _kinds(world, session.id)
    assert kinds.count("session.expiring") == 1
    assert kinds.index("session.expiring") < kinds.index("session.ended")


def test_a_terminal_that_nobody_sits_at_keeps_no_session(world):
    clock = At(world)
    session = sessions.start(world, SessionSpec(project="shop", idle_seconds=60))
    attached = terminals.attach(world, session.id)
    world.cluster.runs[attached.command.id].outcome = None  # a shell runs in it
    clock.pass_(50)
    assert sessions.sweep(world) == 0
    clock.pass_(30)
    assert sessions.sweep(world) == 1


def test_one_that_is_long_past_its_time_is_warned_and_ended_at_once(world):
    clock = At(world)
    session = sessions.start(world, SessionSpec(project="shop", idle_seconds=60))
    clock.pass_(86400)  # nobody swept meanwhile
    assert sessions.sweep(world) == 1
    assert _kinds(world, session.id)[-2:] == ["session.expiring", "session.ended"]


@pytest.mark.parametrize("how", ["revoked", "expired", "forgotten"])
def test_t_sess_1_the_session_of_a_key_that_counts_no_more_is_ended(world, how):
    made = keys.create(world, KeySpec(name="ci", scopes=(Scope.SESSIONS_EXECUTE,), expires_seconds=600))
    there = world.acting(Grant(actor=f"key:{made.id}", scopes=frozenset({Scope.ADMIN}), key=made.id))
    there.__dict__.update(forge=world.forge, cluster=world.cluster)
    clock = At(world)
    session = sessions.start(there, SessionSpec(project="shop"))
    assert sessions.sweep(world) == 0
    if how == "revoked":
        keys.revoke(world, made.id)
    elif how == "expired":
        clock.pass_(601)
    else:
        with world.store.transaction() as tx:
            tx._connection.execute("delete from keys")
    assert sessions.sweep(world) == 1
    assert sessions.show(world, session.id).reason == "revoked"


def test_checks_live_as_long_as_the_process_that_runs_them(world):
    base = world.forge.head(world.store.find_project("shop"))
    session = sessions.start(world, SessionSpec(project="shop", purpose=Purpose.CHECKS, commit=base))
    assert _left(world)[1] == set()  # no branch
    assert sessions.sweep(world) == 0
    assert list(sessions.list_(world).items) == []
    with world.store.transaction() as tx:  # as if the process that holds it had died
        tx.forget(f"checks:{session.id}")
    assert sessions.sweep(world) == 1
    assert _left(world) == (set(), set())


def test_one_that_cannot_be_ended_keeps_no_other_waiting(world):
    clock = At(world)
    first, second = (sessions.start(world, SessionSpec(project="shop", idle_seconds=60)) for _ in range(2))
    _ran(world, second.id, "touch", "note")
    clock.pass_(3600)
    _broken(world, "receive:before")
    with pytest.raises(Partial):
        sessions.sweep(world)
    assert sessions.show(world, first.id).state is SessionState.ENDED
    assert sessions.show(world, second.id).state is SessionState.ENDING


def test_t_sess_1_hundreds_that_a_kill_left_are_swept_in_one_pass(world):
    project = world.store.find_project("shop")
    with world.store.transaction() as tx:
        for _ in range(150):
            _, session = sessions.planned(world, SessionSpec(project="shop"), world.new_id("ses"))
            tx.put(session)
            world.cluster.pods[session.pod] = Pod({**ownership(project, world.installation), "id": session.id})
    assert sessions.sweep(world) == 150
    assert _left(world) == (set(), set())


# warm pods


def test_a_warm_pod_is_taken_by_whoever_may_start_a_session_and_given_back_at_its_end(world):
    pool.fill(world, 1)
    (worker,) = pool.list_(world)
    there = world.acting(Grant(actor="key:key_1", scopes=frozenset({Scope.SESSIONS_EXECUTE}), projects=frozenset({"shop"})))
    there.__dict__.update(forge=world.forge, cluster=world.cluster, pool=world.pool)
    session = sessions.start(there, SessionSpec(project="shop"))
    assert (session.worker, session.pod) == (worker.id, worker.pod)
    second = sessions.start(there, SessionSpec(project="shop"))
    assert (second.worker, second.pod) == ("", f"rdev-shop-{second.id[-8:]}")
    commands.run(there, ExecSpec(project=session.id, argv=("touch", "note")))
    ended = sessions.end(there, session.id)
    assert ended.rescue == f"rdev/rescue/{session.id}"
    (now,) = pool.list_(world)
    assert (now.id, now.state.value, now.leases) == (worker.id, "idle", 1)
    assert worker.pod in world.cluster.pods
    third = sessions.start(there, SessionSpec(project="shop"))
    assert third.worker == worker.id
    assert world.cluster.pods[third.pod].new == []


def test_a_worker_that_a_killed_start_had_taken_is_given_back_though_the_session_does_not_say_so(world):
    pool.fill(world, 1)
    (worker,) = pool.list_(world)
    project, session = sessions.planned(world, SessionSpec(project="shop"), world.new_id("ses"))
    with world.store.transaction() as tx:
        sessions.request(tx, world, session)
    assert pool.claim(world, project, session.id).id == worker.id  # killed here: only the pool knows
    assert sessions.sweep(world) == 1
    (now,) = pool.list_(world)
    assert (now.state.value, now.session) == ("idle", "")
    assert _left(world) == ({worker.pod}, set())


def test_a_warm_pod_that_is_doubted_goes_and_nothing_of_it_is_left(world):
    pool.fill(world, 1)
    session = sessions.start(world, SessionSpec(project="shop"))
    world.pool.warm[session.worker].stubborn.add("daemon")
    assert sessions.end(world, session.id).state is SessionState.ENDED
    assert list(pool.list_(world)) == []
    assert _left(world) == (set(), set())
