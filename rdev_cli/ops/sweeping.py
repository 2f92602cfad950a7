"""Sessions by the clock: warned before their end, ended when their time is over or nobody has them any more, and gone on with."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from rdev_cli.domain.codec import stamp
from rdev_cli.domain.command import OPEN
from rdev_cli.domain.errors import Conflict, NotFound, Partial, RdevError
from rdev_cli.domain.session import LIVE, Purpose, Session, SessionState, warning
from rdev_cli.ops import commands, keys, known
from rdev_cli.ops.ending import Ending
from rdev_cli.ops.ensure import lease

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from rdev_cli.domain.project import Project
    from rdev_cli.ports import World

_MOST = 10_000  # sessions that one pass looks at
_AT_ONCE = 4  # that are ended at the same time; more would only wait for each other at the state


def sweep(world: World) -> int:
    """Do one pass over all sessions that live and return how many have ended; one that cannot be ended keeps no other's waiting."""
    due: list[tuple[Session, str]] = []
    trouble: RdevError | None = None
    for session in world.store.some(Session, of={"state": [one.value for one in LIVE]}, limit=_MOST):
        try:
            if why := _why(world, session):
                due.append((session, why))
        except RdevError as e:
            trouble = trouble or e
    ends = [_tried(world, *due[0])] if len(due) == 1 else _together(world, due)
    trouble = next((one for one in ends if isinstance(one, RdevError)), trouble)
    if trouble is not None:
        raise trouble
    return sum(one is True for one in ends)


def _together(world: World, due: Sequence[tuple[Session, str]]) -> Sequence[bool | RdevError]:
    """End several at once: most of the time that it takes a pod goes."""
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 -- only where there are several

    def one(session: Session, why: str) -> bool | RdevError:
        try:
            return _tried(world, session, why)
        finally:
            world.store.close()  # each thread has its own way to the state

    with ThreadPoolExecutor(_AT_ONCE, "sweep") as threads:
        return list(threads.map(one, *zip(*due, strict=True))) if due else []


def _tried(world: World, session: Session, why: str) -> bool | RdevError:
    try:
        return _end(world, session, why)
    except RdevError as e:
        return e


def _why(world: World, session: Session) -> str:
    """Return why a session is to be ended now, empty if it is not; warn it if it will be soon."""
    return _over(world, session) or _due(world, session, world.clock.now())


def _over(world: World, session: Session) -> str:
    """Return why a session ends whatever is done in it, empty if it does not."""
    if session.state is SessionState.ENDING:
        return session.reason or "ended"
    if session.state is not SessionState.READY:
        job = world.store.find_job(session.id)
        return "" if job is not None and job.ended_at is None else "failed"
    if session.purpose is Purpose.CHECKS and _free(world, f"checks:{session.id}"):
        return "ended"
    kind, _, key = session.actor.partition(":")
    if kind == "key" and not keys.stands(world, key):
        return "revoked"
    return ""


def _due(world: World, session: Session, now: datetime) -> str:
    """Return why a session's time is over, empty if it is not, or if that was not told yet."""
    idle, ttl = session.active_at + timedelta(seconds=session.idle_seconds), session.created_at + timedelta(seconds=session.ttl_seconds)
    why, at, total = "expired", ttl, session.ttl_seconds
    if _at_work(world, session):
        with world.store.transaction() as tx:
            known.touched(tx, session.id, now)
    elif idle < ttl:
        why, at, total = "idle", idle, session.idle_seconds
    left, window = (at - now).total_seconds(), warning(total)
    if left > window or (why == "idle" and not _free(world, f"checkin:{session.id}")):  # a review may take longer than the session
        return ""
    if session.warned_at is None:
        _warn(world, session, why, at)
        return why if left < -window else ""  # long past it, a warning helps nobody
    return why if left <= 0 else ""


def _at_work(world: World, session: Session) -> bool:
    """Say whether a command runs in a session; what ended while nobody looked is settled. A terminal runs though nobody sits at it."""
    found = False
    for command in world.store.commands(session=session.id, states=OPEN, limit=1000):
        try:
            now, _ = commands.follow(world, command, wait=0)
        except RdevError:
            now = command  # what cannot be known now may well run
        found = found or (now.state in OPEN and not now.is_terminal)
    return found


def _warn(world: World, session: Session, why: str, at: datetime) -> None:
    with world.store.transaction() as tx:
        now = tx.find(Session, session.id)
        if now is None or now.state is not SessionState.READY or now.warned_at is not None:
            return
        if why == "idle" and now.active_at != session.active_at:
            return
        tx.put(replace(now, warned_at=world.clock.now()))
        tx.append("session.expiring", session.id, {"project": session.project, "reason": why, "ends_at": stamp(at)})


def _end(world: World, session: Session, why: str) -> bool:
    """End a session unless somebody is at it, or has used it since it was looked at."""
    try:
        with lease(world, f"session:{session.id}", wait=False) as held:
            now = world.store.find(Session, session.id)
            if now is None or now.state is SessionState.ENDED:
                return False
            if now.state is not session.state or (why == "idle" and now.active_at != session.active_at):
                return False
            Ending(world, now, reason=why, discard=False).carried(held)
    except Conflict as e:
        if e.code in ("BUSY", "LEASE_LOST"):
            return False
        raise
    except NotFound:  # its project went meanwhile
        return False
    return True


def end_all(world: World, project: Project) -> None:
    """End all sessions of a project that goes, and keep nothing; Partial joins what failed."""
    left: list[str] = []
    for session in world.store.some(Session, project=project.name, of={"state": [one.value for one in LIVE]}, limit=_MOST):
        try:
            with lease(world, f"session:{session.id}") as held:
                now = world.store.find(Session, session.id)
                if now is not None and now.state is not SessionState.ENDED:
                    Ending(world, now, reason="deleted", discard=True).carried(held)
        except RdevError as e:
            left += [f"{session.id}: {one}" for one in (e.left if isinstance(e, Partial) else (e.message,))]
    if left:
        raise Partial(
            f"not all sessions have ended: {'; '.join(left)}", left=tuple(left), hint=f"rdev project delete {project.name} goes on"
        )


def _free(world: World, name: str) -> bool:
    """Say whether nobody who lives holds a lease; takes nothing."""
    try:
        with lease(world, name, wait=False):
            return True
    except Conflict:
        return False
