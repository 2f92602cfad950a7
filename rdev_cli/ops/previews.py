"""Previews: ports of a session's pod, under addresses that nobody can guess and that end with the session."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from rdev_cli.domain.errors import Conflict, Invalid, NotFound, RdevError
from rdev_cli.domain.preview import Preview, PreviewState, addressed, is_local
from rdev_cli.domain.preview import label as new_label
from rdev_cli.domain.session import Session, SessionState
from rdev_cli.domain.session import place as session_place
from rdev_cli.ops import known
from rdev_cli.ops.ledger import Scope, operation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rdev_cli.domain.project import Project
    from rdev_cli.ports import World
    from rdev_cli.ports.cluster import Channel
    from rdev_cli.ports.store import Writing

MOST = 32  # open ports of one session


@operation("preview.open", Scope.SESSIONS_EXECUTE)
def open_(world: World, session: str, port: int, *, base: str = "") -> Preview:
    """Open a port of a session under an address of its own, which ends with the session.

    Whoever knows the address may look, so it is unguessable; the same port again has the same one. `base` is where `rdev serve` is
    reached, `http://localhost:8080`, or the domain that previews are under, `https://preview.example.org`. Conflict if the session
    takes no work, NO_NETWORK if its pod has no way in.
    """
    if not 1 <= port <= 65535:
        raise Invalid("that is no port", hint="a number from 1 to 65535", field="port")
    where = place(world, session)
    with world.store.transaction() as tx:
        known.still(tx, where)
        there = _open(world, where.session_id)
        found = next((one for one in there if one.port == port), None)
        if found is None and len(there) >= MOST:
            raise Conflict(
                f"{MOST} ports of this session are open",
                hint=f"close one: rdev preview close {where.session_id} {there[-1].port}",
                code="TOO_MANY",
                session=where.session_id,
            )
        label = found.id if found else new_label(os.urandom(17))
        made = Preview(
            id=label, project=where.name, session=where.session_id, port=port, url=addressed(label, base),
            actor=found.actor if found else world.actor, created_at=found.created_at if found else world.clock.now(),
        )  # fmt: skip
        if made != found:
            tx.put(made)
        if found is None:
            tx.append("preview.opened", where.session_id, {"project": where.name, "port": port})
    if not is_local(made.url):
        try:
            world.cluster.expose(where, made.host)
        except RdevError:
            if found is None:
                _closed(world, [made])
            raise
    return made


@operation("preview.list", Scope.SESSIONS_READ)
def list_(world: World, session: str = "") -> Sequence[Preview]:
    """List the open ports of a session, or of all, with their addresses."""
    return _open(world, known.session(world, session).id if session else "")


@operation("preview.close", Scope.SESSIONS_EXECUTE)
def close(world: World, session: str, port: int) -> Preview:
    """Close a port of a session; its address leads nowhere any more, and its connections end.

    Closing it again tries once more to take away what led to it. NotFound if it never was open.
    """
    of = known.session(world, session)
    found = next(iter(world.store.some(Preview, of={"session": of.id, "port": str(port)}, limit=1)), None)
    if found is None:
        raise NotFound(f"port {port} of {of.id} is not open", hint=f"rdev preview list {of.id} shows what is", session=of.id, port=port)
    gone = next(iter(_closed(world, [found])), found)
    _conceal(world, of, [gone], gone.host)
    return gone


def close_all(world: World, session: Session) -> None:
    """Close every port of a session that ends. Repeating it takes away what could not be the time before."""
    every = world.store.some(Preview, of={"session": session.id}, limit=10_000)
    _closed(world, every)
    _conceal(world, session, every)


def found(world: World, label: str) -> tuple[Preview, Session] | None:
    """Return the open preview of this label and its session, None if there is none: asked for each time that somebody comes to look."""
    preview = world.store.find(Preview, label)
    if preview is None or preview.state is not PreviewState.OPEN:
        return None
    session = world.store.find(Session, preview.session)
    return None if session is None or session.state is not SessionState.READY else (preview, session)


def place(world: World, session: str) -> Project:
    """Return the pod of a session that takes connections; Conflict if it takes no work, or NO_NETWORK if its pod has no way in."""
    found = known.ready(world, known.session(world, session).id)
    if world.cluster.here and not found.network:
        raise Conflict(
            "this session has no network, and so nothing of it can be reached from outside",
            hint="a project with network has previews: rdev project create NAME, without --no-network",
            code="NO_NETWORK",
            session=found.session_id,
        )
    return found


def reach(world: World, session: str, port: int, *, timeout: float) -> Channel:
    """Connect to a port of a session's pod; Conflict if the session takes no work any more."""
    return world.cluster.dial(known.ready(world, session), port, timeout=timeout)


def seen(world: World, session: str) -> None:
    """Note that somebody looks at a session, which is therefore not idle."""
    with world.store.transaction() as tx:
        known.touched(tx, session, world.clock.now())


def _open(world: World, session: str) -> Sequence[Preview]:
    only = {"session": session} if session else {}
    return sorted(world.store.some(Preview, of={**only, "state": PreviewState.OPEN}, limit=1000), key=lambda one: (one.session, one.port))


def _closed(world: World, previews: Sequence[Preview]) -> Sequence[Preview]:
    """Write down that these are closed, and return those that were not."""
    with world.store.transaction() as tx:
        return [
            _shut(tx, world, now) for one in previews if (now := tx.find(Preview, one.id)) is not None and now.state is PreviewState.OPEN
        ]


def _shut(tx: Writing, world: World, one: Preview) -> Preview:
    shut = replace(one, state=PreviewState.CLOSED, closed_at=world.clock.now())
    tx.put(shut)
    tx.append("preview.closed", one.session, {"project": one.project, "port": one.port})
    return shut


def _conceal(world: World, session: Session, previews: Sequence[Preview], host: str = "") -> None:
    project = world.store.find_project(session.project)
    if project is not None and not all(is_local(one.url) for one in previews):
        world.cluster.conceal(session_place(project, session), host)
