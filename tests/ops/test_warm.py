"""The warm pool on twins: a worker is one session's at a time, lent again only when it is proved clean, and what a kill leaves is cleared."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from rdev_cli.domain.access import Grant, Scope
from rdev_cli.domain.errors import Denied, Invalid, RdevError, Unavailable
from rdev_cli.domain.project import Project, ProjectSpec
from rdev_cli.domain.session import Place
from rdev_cli.domain.worker import Worker, WorkerState
from rdev_cli.ops import pool, projects
from tests.fakes.pool import MemoryPool
from tests.fakes.world import MemoryWorld

pytestmark = pytest.mark.state


@pytest.fixture
def world(tmp_path: Path) -> Iterator[MemoryWorld]:
    one = MemoryWorld(tmp_path)
    projects.create(one, ProjectSpec(name="shop"))
    projects.create(one, ProjectSpec(name="closed", network=False))
    yield one
    one.close()


def shop(world: MemoryWorld, name: str = "shop") -> Project:
    found = world.store.find_project(name)
    assert found is not None
    return found


def place(world: MemoryWorld, worker: Worker) -> Place:
    return pool._place(shop(world, worker.project or "shop"), worker.session, worker.pod)


def lent(world: MemoryWorld, session: str = "ses_one") -> Worker:
    found = pool.claim(world, shop(world), session)
    assert found is not None
    return found


def kinds(world: MemoryWorld) -> list[str]:
    return [e.kind for e in world.store.events(after=0, limit=1000) if e.kind.startswith("worker.")]


def test_a_worker_is_made_lent_and_lent_again_after_clean_evidence(world):
    [made] = pool.fill(world, 1)
    assert (made.state, made.leases, made.project) == (WorkerState.IDLE, 0, "")
    mine = lent(world)
    assert (mine.id, mine.project, mine.session, mine.state, mine.leases) == (made.id, "shop", "ses_one", WorkerState.BUSY, 1)
    assert world.cluster.pods[mine.pod].owner["id"] == "ses_one"
    world.pool.warm[mine.id].left = {"a file", "a process"}
    evidence = pool.give_back(world, place(world, mine), mine.id)
    assert (evidence.clean, evidence.removed) == (True, 2)
    [back] = pool.list_(world)
    assert (back.state, back.session, back.project, back.leases) == (WorkerState.IDLE, "", "", 1)
    assert back.evidence == "clean: processes, files"
    assert kinds(world) == ["worker.made", "worker.claimed", "worker.given_back"]
    assert lent(world, "ses_two").id == made.id


def test_any_doubt_destroys_the_pod_and_the_journal_says_why(world):
    pool.fill(world, 1)
    mine = lent(world)
    world.pool.warm[mine.id].stubborn = {"a socket listens at 8080"}
    evidence = pool.give_back(world, place(world, mine), mine.id)
    assert not evidence.clean
    assert world.pool.warm == {}
    assert mine.pod not in world.cluster.pods
    assert pool.list_(world) == []
    [event] = [e for e in world.store.events(after=0, limit=1000) if e.kind == "worker.destroyed"]
    assert event.data == {"project": "shop", "session": "ses_one", "pod": mine.pod, "reason": "a socket listens at 8080"}


@pytest.mark.parametrize("call", ["scrub:before", "scrub:after", "give_back:before", "give_back:after"])
def test_a_look_or_a_patch_that_gets_no_answer_is_a_doubt(world, call):
    pool.fill(world, 1)
    mine = lent(world)
    world.pool.trouble.add(call)
    assert not pool.give_back(world, place(world, mine), mine.id).clean
    assert world.pool.warm == {}


def test_where_a_worker_serves_once_every_give_back_destroys(world):
    world.pool = MemoryPool(world.cluster, reused="the image has no find")
    [made] = pool.fill(world, 1)
    assert made.evidence == "serves once: the image has no find"
    mine = lent(world)
    assert pool.give_back(world, place(world, mine), mine.id).doubts == ("the image has no find",)
    assert pool.list_(world) == []


def test_a_pod_that_cannot_be_destroyed_is_nobodys_and_the_same_command_goes_on(world):
    pool.fill(world, 1)
    mine = lent(world)
    world.pool.warm[mine.id].stubborn = {"a mount"}
    world.pool.trouble.add("destroy:before")
    with pytest.raises(Unavailable):
        pool.give_back(world, place(world, mine), mine.id)
    [left] = pool.list_(world)
    assert (left.state, left.evidence) == (WorkerState.OFFLINE, "a mount")
    assert pool.claim(world, shop(world), "ses_two") is None
    world.pool.trouble.clear()
    assert pool.give_back(world, place(world, mine), mine.id).doubts == ("a mount",)
    assert pool.list_(world) == []


def test_a_second_give_back_leaves_the_next_sessions_worker_alone(world):
    pool.fill(world, 1)
    mine = lent(world)
    pool.give_back(world, place(world, mine), mine.id)
    theirs = lent(world, "ses_two")
    world.pool.warm[theirs.id].left = {"their work"}
    assert pool.give_back(world, place(world, mine), mine.id).facts == ("it is not this session's any more",)
    assert world.pool.warm[theirs.id].left == {"their work"}
    assert pool.list_(world)[0].session == "ses_two"


def test_the_same_session_gets_the_same_worker_again_after_a_kill(world):
    pool.fill(world, 2)
    assert lent(world).id == lent(world).id
    assert kinds(world).count("worker.claimed") == 1


def test_twenty_at_once_never_get_the_same_one(tmp_path, world):
    pool.fill(world, 12)
    shared, found, barrier = world.pool, [], threading.Barrier(20)

    def take(number: int) -> None:
        mine = MemoryWorld(tmp_path)  # a process of its own, on the same state
        mine.cluster, mine.pool = world.cluster, shared
        barrier.wait()
        if got := pool.claim(mine, shop(mine), f"ses_{number}"):
            found.append((got.id, got.session))
        mine.close()

    threads = [threading.Thread(target=take, args=(n,)) for n in range(20)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert len(found) == len({worker for worker, _ in found}) == 12
    assert {(one.worker, one.session) for one in shared.warm.values()} == set(found)
    assert pool.claim(world, shop(world), "ses_late") is None


def test_a_worker_that_is_not_what_it_was_is_passed_over_and_never_lent(world):
    first, second = pool.fill(world, 2)
    world.pool.warm[first.id].doubt = "it was restarted"
    assert {lent(world).id, lent(world).id} == {second.id}
    assert pool.claim(world, shop(world), "ses_two") is None
    states = {one.id: one.state for one in pool.list_(world)}
    assert states[second.id] is WorkerState.BUSY
    assert states.get(first.id) in (WorkerState.OFFLINE, WorkerState.IDLE, None)
    pool.fill(world, 1)
    assert first.id not in world.pool.warm


def test_a_project_without_a_network_gets_no_worker_that_has_one(world):
    pool.fill(world, 1)
    assert pool.claim(world, shop(world, "closed"), "ses_one") is None
    world.pool._network = False
    assert pool.claim(world, shop(world, "closed"), "ses_one") is not None


@pytest.mark.parametrize("call", ["claim:before", "claim:after"])
def test_a_claim_that_got_no_answer_is_met_again(world, call):
    pool.fill(world, 1)
    world.pool.trouble.add(call)
    with pytest.raises(Unavailable):
        pool.claim(world, shop(world), "ses_one")
    world.pool.trouble.clear()
    assert pool.claim(world, shop(world), "ses_two") is None
    assert lent(world).session == "ses_one"


def test_what_a_session_took_and_does_not_have_is_destroyed_after_a_while(world):
    pool.fill(world, 1)
    mine = lent(world)
    pool.keep(world)
    assert [one.id for one in pool.list_(world)] == [mine.id]
    with world.store.transaction() as tx:
        tx.put(replace(mine, changed_at=mine.changed_at - timedelta(seconds=pool.GRACE + 1)))
    assert pool.keep(world) == 1
    assert world.pool.warm == {}
    assert pool.list_(world) == []


@pytest.mark.parametrize("call", ["make:before", "make:after"])
def test_one_that_cannot_be_made_leaves_nothing(world, call):
    world.pool.trouble.add(call)
    with pytest.raises(Unavailable):
        pool.fill(world, 2)
    assert (pool.list_(world), world.pool.warm) == ([], {})


def test_one_whose_maker_was_killed_is_destroyed_by_the_next_look(world):
    world.pool.trouble.update(("make:after", "destroy:before"))
    with pytest.raises(RdevError):
        pool.fill(world, 1)
    [left] = pool.list_(world)
    assert (left.state, set(world.pool.warm)) == (WorkerState.OFFLINE, {left.id})
    world.pool.trouble.clear()
    [made] = pool.fill(world, 1)
    assert set(world.pool.warm) == {made.id} != {left.id}


def test_the_server_keeps_the_contexts_size(world):
    assert pool.keep(world) == 0
    world.settings.set("local", {"pool": "2"})
    assert pool.keep(world) == 2
    mine = lent(world)
    assert pool.keep(world) == 1
    pool.give_back(world, place(world, mine), mine.id)
    assert (pool.keep(world), len(world.pool.warm)) == (1, 2)
    gone = pool.list_(world)[0].id
    world.pool.warm[gone].doubt = "it is of another image"
    assert (pool.keep(world), len(world.pool.warm)) == (2, 2)
    assert gone not in world.pool.warm
    world.settings.set("local", {"pool": "0"})
    assert (pool.keep(world), pool.list_(world)) == (2, [])


def test_a_size_that_makes_no_sense_is_refused(world):
    for wrong in (-1, 101):
        with pytest.raises(Invalid):
            pool.fill(world, wrong)
    with pytest.raises(Invalid, match="nobody says"):
        pool.fill(world)
    for wrong in ("many", "101", "-1", ""):
        with pytest.raises(Invalid):
            world.settings.set("local", {"pool": wrong})


def test_drained_workers_go_at_once_or_when_they_are_given_back(world):
    pool.fill(world, 3)
    mine = lent(world)
    [left] = pool.drain(world)
    assert (left.id, left.state) == (mine.id, WorkerState.DRAINING)
    assert set(world.pool.warm) == {mine.id}
    assert pool.give_back(world, place(world, mine), mine.id).doubts == ("the pool was drained",)
    assert (pool.list_(world), world.pool.warm) == ([], {})


def test_an_audit_finds_what_changed_and_takes_it_out_of_the_pool(world):
    first, second = pool.fill(world, 2)
    world.pool.warm[first.id].left = {"a file that nobody made"}
    found = {one.worker: (one.clean, one.doubts, one.state) for one in pool.audit(world)}
    assert found == {
        first.id: (False, ("a file that nobody made",), WorkerState.OFFLINE), second.id: (True, (), WorkerState.IDLE),
    }  # fmt: skip
    assert {lent(world, "ses_a").id} == {second.id}
    assert pool.claim(world, shop(world), "ses_b") is None


class Killed(BaseException):
    """What kill -9 is to the one that is killed: nothing of it runs any more."""


class Doomed:
    """A world that dies before its Nth step: a call of the place, the answer to it, a transaction, the line after that."""

    def __init__(self, world: MemoryWorld, at: int) -> None:
        self.left, self.real, self.store = at, world.pool, world.store
        world.__dict__.update(pool=self, store=_DoomedStore(self))

    def step(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise Killed

    def __getattr__(self, name: str):
        found = getattr(self.real, name)
        if not callable(found):
            return found

        def call(*args, **more):
            self.step()
            answer = found(*args, **more)
            self.step()
            return answer

        return call


class _DoomedStore:
    def __init__(self, doomed: Doomed) -> None:
        self.doomed = doomed

    def __getattr__(self, name: str):
        return getattr(self.doomed.store, name)

    @contextmanager
    def transaction(self):
        self.doomed.step()
        with self.doomed.store.transaction() as tx:
            yield tx
            self.doomed.step()  # before the commit
        self.doomed.step()


STEPS = {"fill": 8, "claim": 4, "give_back": 6, "doubted": 6, "drain": 8, "keep": 8}  # the least that there are of each
LEFT = {"fill": 2, "claim": 2, "give_back": 2, "doubted": 1, "drain": 0, "keep": 2}  # workers after it


def prepared(folder: Path, what: str) -> tuple[MemoryWorld, Callable[[], object]]:
    """Return a world and what is done in it."""
    folder.mkdir()
    world = MemoryWorld(folder)
    projects.create(world, ProjectSpec(name="shop"))
    world.settings.set("local", {"pool": "2"})
    if what == "fill":
        return world, lambda: pool.fill(world, 2)
    first, _ = pool.fill(world, 2)
    if what in ("give_back", "doubted"):
        mine = lent(world)
        world.pool.warm[mine.id].left = {"a secret"}
        world.pool.warm[mine.id].stubborn = {"a mount"} if what == "doubted" else set()
        return world, lambda: pool.give_back(world, place(world, mine), mine.id)
    if what == "keep":
        world.pool.warm[first.id].doubt = "it was restarted"
        return world, lambda: pool.keep(world)
    return world, {"claim": lambda: pool.claim(world, shop(world), "ses_one"), "drain": lambda: pool.drain(world)}[what]


@pytest.mark.parametrize("what", STEPS)
def test_after_a_kill_at_any_step_the_same_command_finishes(tmp_path, what):
    for at in range(200):
        world, act = prepared(tmp_path / str(at), what)
        doomed = Doomed(world, at)
        try:
            act()
            over = True
        except Killed:
            over = False
        world.__dict__.update(pool=doomed.real, store=doomed.store)
        with world.store.transaction() as tx:
            tx.forget("pool")  # its holder is dead
        act()
        workers, warm = pool.list_(world), world.pool.warm
        assert {one.id for one in workers} == set(warm), at
        for one in workers:
            assert warm[one.id].session == one.session, at
            assert one.state is (WorkerState.BUSY if one.session else WorkerState.IDLE), at
            assert one.session or not (warm[one.id].left or warm[one.id].stubborn or warm[one.id].doubt), at
        assert [one.session for one in workers if one.session] == (["ses_one"] if what == "claim" else []), at
        assert len(workers) == LEFT[what], at
        world.close()
        if over:
            break
    assert at >= STEPS[what]


def test_whoever_is_bound_to_projects_sees_its_own_workers_and_fills_nothing(world):
    pool.fill(world, 2)
    mine = lent(world)
    bound = world.acting(Grant(actor="key:b", scopes=frozenset({Scope.ADMIN}), projects=frozenset({"shop"})))
    other = world.acting(Grant(actor="key:c", scopes=frozenset({Scope.ADMIN}), projects=frozenset({"closed"})))
    assert [one.id for one in pool.list_(bound)] == [mine.id]
    assert pool.list_(other) == []
    for act in (lambda: pool.fill(bound, 1), lambda: pool.drain(bound), lambda: pool.audit(bound)):
        with pytest.raises(Denied):
            act()
    assert pool.claim(other, shop(world, "closed"), "ses_closed") is None  # it has no network
    assert pool.claim(bound, shop(world), "ses_two") is not None
