"""The warm pool: pods that are made before anybody needs them, lent to one session at a time, and lent again only if proved clean."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING

from rdev_cli.domain.errors import Conflict, Denied, Invalid, RdevError
from rdev_cli.domain.project import Project
from rdev_cli.domain.session import Place, Session, SessionState
from rdev_cli.domain.values import ProjectId
from rdev_cli.domain.worker import MOST, Audit, Evidence, Worker, WorkerState, worker_pod
from rdev_cli.ops.ensure import lease
from rdev_cli.ops.ledger import Pace, Scope, operation

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from rdev_cli.domain.worker import Standing
    from rdev_cli.ports import World

GRACE = 600  # seconds in which whoever took a worker has written down that it has it
_ALL = 10 * MOST  # more workers than there can be
_LENT = (WorkerState.BUSY, WorkerState.DRAINING)


# what sessions ask for


def claim(world: World, project: Project, session_id: str) -> Worker | None:
    """Lend a session a worker, None if there is none for it; the same again gives the same one.

    Its pod has the session's marks then, as if it had been made for it; its work tree is empty. The record comes first, so of two that
    want the same worker one goes on to another; the place has the last word.
    """
    house = world.house
    while (taken := _lent(house, session_id) or _take(house, project, session_id)) is not None:
        if house.pool.claim(taken.id, _place(project, session_id, taken.pod)):
            return taken
        _withdraw(house, taken, "it was not what it was when it was made")
    return None


def give_back(world: World, place: Project, worker_id: str) -> Evidence:
    """Take a worker back from a session: scrubbed and proved clean it is lent again, on any doubt it is destroyed.

    May be repeated, and goes on after a kill; a worker that is not this session's any more is left alone. Raises only if a pod that
    should go does not.
    """
    house = world.house
    found = house.store.find(Worker, worker_id)
    if found is None or found.session != place.id:
        return Evidence(clean=True, at=house.clock.now(), facts=("it is not this session's any more",))
    evidence = _looked_at(house, place, found)
    if evidence.clean and _idle_again(house, found, evidence):
        return evidence
    if evidence.clean:
        evidence = replace(evidence, clean=False, doubts=("the pool was drained meanwhile",))
    if (now := house.store.find(Worker, worker_id)) is not None:
        _destroy(house, now, evidence.line)
    return evidence


def _looked_at(house: World, place: Project, found: Worker) -> Evidence:
    def doubt(why: str) -> Evidence:
        return Evidence(clean=False, doubts=(why,), at=house.clock.now())

    if found.state is not WorkerState.BUSY:
        return doubt("the pool was drained" if found.state is WorkerState.DRAINING else found.evidence or "it was to be destroyed")
    if once := house.pool.reused:
        return doubt(once)
    try:
        evidence = house.pool.scrub(found.id, place)
        if evidence.clean:
            house.pool.give_back(found.id, place)
    except RdevError as e:
        return doubt(e.message)
    return evidence


def _idle_again(house: World, found: Worker, evidence: Evidence) -> bool:
    with house.store.transaction() as tx:
        now = tx.find(Worker, found.id)
        if now is None or now.state is not WorkerState.BUSY:
            return False
        facts = {"project": now.project, "session": now.session, "pod": now.pod, "removed": evidence.removed}
        at = house.clock.now()
        tx.put(replace(now, state=WorkerState.IDLE, project="", session="", changed_at=at, evidence=evidence.line))
        tx.append("worker.given_back", now.id, {**facts, "proved": list(evidence.facts)})
    return True


def _lent(house: World, session_id: str) -> Worker | None:
    """Return the worker that a session has already, as after a kill."""
    found = house.store.some(Worker, of={"session": session_id, "state": [state.value for state in _LENT]}, limit=1)
    return found[0] if found else None


def _take(house: World, project: Project, session_id: str) -> Worker | None:
    """Write down that a session has a worker which nobody has; None if there is none."""
    import random  # noqa: PLC0415 -- only where there is a choice

    idle = list(house.store.some(Worker, of={"state": WorkerState.IDLE.value}, limit=_ALL))
    if not idle or not house.pool.lends(network=project.network):
        return None
    random.shuffle(idle)  # many at once must not all begin with the same one
    with house.store.transaction() as tx:
        now = next((found for one in idle if (found := tx.find(Worker, one.id)) is not None and found.state is WorkerState.IDLE), None)
        if now is None:
            return None
        taken = replace(
            now, project=project.name, session=session_id, state=WorkerState.BUSY, leases=now.leases + 1, changed_at=house.clock.now()
        )
        tx.put(taken)
        tx.append("worker.claimed", taken.id, {"project": project.name, "session": session_id, "pod": taken.pod})
    return taken


def _place(project: Project, session_id: str, pod: str) -> Place:
    own = {field.name: getattr(project, field.name) for field in fields(Project)} | {"id": ProjectId(session_id), "pod": pod}
    return Place(**own, owner=project.owner_id)


# what people ask for


@operation("pool.list", Scope.PROJECTS_READ)
def list_(world: World) -> Sequence[Worker]:
    """List the workers of the warm pool: who has them, and what the last scrub proved."""
    return list(reversed(world.store.some(Worker, limit=_ALL)))


@operation("pool.fill", Scope.ADMIN, Pace.LONG)
def fill(world: World, size: int = 0) -> Sequence[Worker]:
    """Make workers until so many are idle, by default as many as the context wants, and return all there are.

    What was found dead, restarted or of another image is replaced. A server does the same by the clock, and takes away what is too much.
    """
    house, wanted = _unbound(world), _wanted(world, size)
    with lease(world, "pool"):
        house.pool.ready()
        _tidy(house)
        _fill(world, wanted)
    return list_(house)


@operation("pool.drain", Scope.ADMIN, Pace.LONG)
def drain(world: World) -> Sequence[Worker]:
    """Destroy the workers that nobody has, and return those that sessions have: they are destroyed when they are given back.

    A server makes new ones unless its context wants none: rdev context set NAME --pool 0.
    """
    house = _unbound(world)
    trouble: RdevError | None = None
    with lease(world, "pool"):
        for one in house.store.some(Worker, limit=_ALL):
            with house.store.transaction() as tx:
                now = tx.find(Worker, one.id)
                if now is not None and now.state is WorkerState.BUSY:
                    tx.put(replace(now, state=WorkerState.DRAINING, changed_at=house.clock.now()))
                    tx.append("worker.draining", now.id, {"project": now.project, "session": now.session, "pod": now.pod})
            if now is None or now.state in _LENT:
                continue
            try:
                _destroy(house, now, "the pool was drained")
            except RdevError as e:
                trouble = trouble or e
    if trouble is not None:
        raise trouble
    return list_(house)


@operation("pool.audit", Scope.ADMIN)
def audit(world: World) -> Sequence[Audit]:
    """Look whether the workers that nobody has are what they were when they were made.

    One that is not is never lent any more; the next fill replaces it.
    """
    house = _unbound(world)
    found = []
    for one in list_(house):
        if one.state is not WorkerState.IDLE:
            continue
        evidence = house.pool.prove(one.id)
        now = house.store.find(Worker, one.id)
        if now is None or (now.state, now.leases) != (one.state, one.leases):
            continue  # a session took it meanwhile: it was that which was seen
        if not evidence.clean:
            _withdraw(house, one, evidence.line)
        found.append(
            Audit(
                worker=one.id, pod=one.pod, state=one.state if evidence.clean else WorkerState.OFFLINE, leases=one.leases,
                clean=evidence.clean, doubts=evidence.doubts, facts=evidence.facts, last=one.evidence, at=evidence.at,
            )
        )  # fmt: skip
    return found


def asked(world: World, size: int) -> str:
    """Check what a fill is asked for, and return the project that it is about: none."""
    _unbound(world)
    _wanted(world, size)
    return ""


def _unbound(world: World) -> World:
    """Return the world as rdev itself has it; Denied to whoever is bound to projects, for idle workers are none's."""
    if world.grant.projects is not None:
        raise Denied(
            "a key that is bound to projects may not touch what belongs to none of them", hint="use a key that was made without --project"
        )
    return world.house


def _wanted(world: World, size: int) -> int:
    if not 0 <= size <= MOST:
        raise Invalid(f"a pool of {size} is not possible", hint=f"0 to {MOST} workers", field="size")
    wanted = size or world.house.settings.pool_size()
    if wanted is None:
        raise Invalid("nobody says how many", hint="rdev pool fill 3; or for good: rdev context set NAME --pool 3", field="size")
    return wanted


# what the server does by the clock


def keep(world: World) -> int:
    """Replace what is dead or of another image, make what is missing of the context's size, take away what is over; return how many changed.

    Nothing happens where the context does not say a size, and while somebody else does the same.
    """
    house = world.house
    wanted = house.settings.pool_size()
    if wanted is None and not house.store.some(Worker, limit=1):
        return 0
    try:
        with lease(world, "pool"):
            changed = _tidy(house)
            if wanted is None:
                return changed
            idle = house.store.some(Worker, of={"state": WorkerState.IDLE.value}, limit=_ALL)
            for one in idle[wanted:]:
                changed += _destroy(house, one, "there were more than the context wants")
            return changed + _fill(world, wanted)
    except Conflict as e:
        if e.code != "BUSY":
            raise
        return 0


def _fill(world: World, wanted: int) -> int:
    house, made = world.house, 0
    while len(house.store.some(Worker, of={"state": WorkerState.IDLE.value}, limit=_ALL)) < wanted:
        world.stop.check("filling the pool")
        _make(house)
        made += 1
    return made


def _make(house: World) -> None:
    """Make one; the record comes first, so that what a kill leaves is found and destroyed."""
    id, now = house.new_id("wrk"), house.clock.now()
    fresh = Worker(
        id=id, pod=worker_pod(id), state=WorkerState.OFFLINE, image=house.pool.image, created_at=now, changed_at=now, evidence="being made"
    )  # fmt: skip
    with house.store.transaction() as tx:
        tx.put(fresh)
    try:
        house.pool.make(id)
    except BaseException:
        try:
            _destroy(house, fresh, "it could not be made")
        except RdevError:
            pass  # it stands as offline, and the next look takes it away
        raise
    with house.store.transaction() as tx:
        once = house.pool.reused
        evidence = f"serves once: {once}" if once else "new"
        tx.put(replace(fresh, state=WorkerState.IDLE, changed_at=house.clock.now(), evidence=evidence))
        tx.append("worker.made", id, {"project": "", "pod": fresh.pod, "image": fresh.image, "reused": not once})


def _tidy(house: World) -> int:
    """Destroy what may not be lent any more; what has no record here is another context's, or the garbage collector's."""
    workers = house.store.some(Worker, limit=_ALL)
    if not workers:
        return 0
    there = {one.worker: one for one in house.pool.standing()}
    changed = 0
    for worker in workers:
        why = _over(house, worker, there.get(worker.id), house.clock.now())
        changed += bool(why) and _destroy(house, worker, why)
    return changed


def _over(house: World, worker: Worker, standing: Standing | None, now: datetime) -> str:
    """Return why a worker has no use any more, empty if it has."""
    if worker.state is WorkerState.OFFLINE:
        return worker.evidence  # nobody makes one under the pool's lease; that two destroy one is no harm
    if worker.state is WorkerState.IDLE:
        return "its pod has gone" if standing is None else standing.doubt
    session = house.store.find(Session, worker.session)
    fresh = (now - worker.changed_at).total_seconds() <= GRACE
    if fresh or (session is not None and session.state is not SessionState.ENDED and session.worker == worker.id):
        return ""
    return "the session that took it does not have it"


def _withdraw(house: World, worker: Worker, why: str) -> bool:
    """Let nobody have a worker any more; False if it is not as it was seen: somebody else has it in hand."""
    with house.store.transaction() as tx:
        now = tx.find(Worker, worker.id)
        if now is None or (now.state, now.session) != (worker.state, worker.session):
            return False
        tx.put(replace(now, state=WorkerState.OFFLINE, changed_at=house.clock.now(), evidence=why))
    return True


def _destroy(house: World, worker: Worker, why: str) -> bool:
    """Destroy a worker as it was seen; it stands as offline until its pod is gone, so a failure or a kill leaves it to the next look."""
    if not _withdraw(house, worker, why):
        return False
    house.pool.destroy(worker.id)
    with house.store.transaction() as tx:
        if tx.find(Worker, worker.id) is None:
            return False
        tx.drop(Worker, worker.id)
        tx.append("worker.destroyed", worker.id, {"project": worker.project, "session": worker.session, "pod": worker.pod, "reason": why})
    return True
