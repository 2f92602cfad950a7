"""Looking things up by what people type."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from rdev_cli.domain.errors import Conflict, Invalid, NotFound
from rdev_cli.domain.project import ProjectState
from rdev_cli.domain.session import Session, SessionState, warning
from rdev_cli.domain.session import place as session_place
from rdev_cli.domain.values import id_like, name, shown

if TYPE_CHECKING:
    from rdev_cli.domain.checkout import Checkout
    from rdev_cli.domain.command import Command
    from rdev_cli.domain.project import Project
    from rdev_cli.domain.review import Receipt
    from rdev_cli.ports import World
    from rdev_cli.ports.store import R, Writing

RESTING = 5.0  # seconds in which a session's use is noted once


def project(world: World, text: str) -> Project:
    """Return a project by name; NotFound if there is none."""
    name(text, "project name")
    found = world.store.find_project(text)
    if found is None:
        from difflib import get_close_matches  # noqa: PLC0415 -- only for a hint

        near = get_close_matches(text, [each.name for each in world.store.projects()], 1)
        raise no_project(text, f"did you mean {near[0]}? " if near else "")
    return found


def no_project(text: str, near: str = "") -> NotFound:
    """Return what to say where there is no such project."""
    hint = f"{near}rdev project list shows the ones there are, rdev project create {text} makes it"
    return NotFound(f"there is no project {text}", hint=hint, project=text)


def ready(world: World, text: str) -> Project:
    """Return a project that can take work, or the place of a session; Conflict, with what to type, if it is half made or half gone."""
    if text.startswith("ses_"):
        found = session(world, text)
        return session_place(whole(world, found.project), opened(found))
    return whole(world, text)


def standing(world: World, text: str) -> Project:
    """Return a project, or the place of a session, whatever its state: to be looked at."""
    if not text.startswith("ses_"):
        return project(world, text)
    found = session(world, text)
    return session_place(project(world, found.project), found)


def whole(world: World, text: str) -> Project:
    """Return a project that can take work, and nothing else; Conflict, with what to type, if it is half made or half gone."""
    return takes_work(project(world, text))


def still(tx: Writing, then: Project) -> None:
    """Check a project or a session's place again, now that nobody else can change it.

    NotFound if it was deleted meanwhile, Conflict if it is half gone.
    """
    now = tx.find_project(then.name)
    if now is None or now.id != then.owner_id:
        raise no_project(then.name)
    takes_work(now)
    if then.session_id:
        found = tx.find(Session, then.session_id)
        if found is None:
            raise _no_session(then.session_id)
        opened(found)


def place(world: World, command: Command) -> Project | None:
    """Return where a command runs or ran: its project, or its session's place; None if that is gone."""
    found = world.store.find_project(command.project)
    if found is None or found.id != command.project_id:
        return None
    if not command.session_id:
        return found
    its = world.store.find(Session, command.session_id)
    return None if its is None or its.state is SessionState.ENDED else session_place(found, its)


def session(world: World, text: str, *, whole: bool = False) -> Session:
    """Return a session by its id or, unless `whole`, by a unique beginning of it (4 characters after `ses_`)."""
    return _record(world, Session, text, "ses", "session", "session list", whole=whole)


def checkout(world: World, text: str, *, whole: bool = False) -> Checkout:
    """Return a checkout by its id, likewise."""
    from rdev_cli.domain.checkout import Checkout  # noqa: PLC0415 -- few commands need it

    return _record(world, Checkout, text, "chk", "checkout", "checkout list", whole=whole)


def receipt(world: World, text: str) -> Receipt:
    """Return a receipt by its id or a unique beginning of it."""
    from rdev_cli.domain.review import Receipt  # noqa: PLC0415 -- few commands need it

    return _record(world, Receipt, text, "rcp", "receipt", "receipt list PROJECT", whole=False)


def _record(world: World, kind: type[R], text: str, prefix: str, noun: str, where: str, *, whole: bool) -> R:
    if not id_like(text, prefix):
        raise Invalid(f"'{shown(text)}' is no {noun} id", hint=f"rdev {where} shows the ids: {prefix}_…", field=noun)
    found = world.store.some(kind, beginning=text, limit=2)
    if exact := [one for one in found if one.id == text]:
        return exact[0]
    if not found:
        raise NotFound(f"there is no {noun} {text}", hint=f"rdev {where} shows the ones there are", **{noun: text})
    if len(found) > 1:
        more = f"type the whole id; rdev {where} shows the ids" if whole else "type more of the id"
        raise Invalid(f"more than one {noun} begins with {text}", hint=more, field=noun)
    if whole:
        raise Invalid(f"{text} is only the beginning of an id", hint=f"type it whole: {found[0].id}", field=noun)
    return found[0]


def touched(tx: Writing, session: str, now: datetime) -> None:
    """Note in a transaction that a session is used; what was told of its end counts no more, unless it ends in any case."""
    found = tx.find(Session, session)
    if found is None or found.state is not SessionState.READY:
        return
    left = (found.created_at + timedelta(seconds=found.ttl_seconds) - now).total_seconds()
    warned = found.warned_at if left <= warning(found.ttl_seconds) else None
    if warned != found.warned_at or (now - found.active_at).total_seconds() >= min(RESTING, found.idle_seconds / 10):
        tx.put(replace(found, active_at=max(now, found.active_at), warned_at=warned))


def _no_session(id: str) -> NotFound:
    return NotFound(f"there is no session {id}", hint="rdev session list shows the ones there are", session=id)


def opened(found: Session) -> Session:
    """Return a session that takes work; Conflict, with what to type, if it does not."""
    if found.state is SessionState.READY:
        return found
    if found.state is SessionState.ENDED:
        raise Conflict(
            f"the session {found.id} has ended", hint=f"rdev session start {found.project} begins another", code="ENDED", session=found.id
        )
    if found.state is SessionState.STARTING:
        raise Conflict(
            f"the session {found.id} is not whole yet",
            hint=f"whoever starts it goes on, or rdev session end {found.id} clears it",
            code="STARTING",
            session=found.id,
        )
    if found.state is SessionState.FAILED:
        raise Conflict(
            f"the session {found.id} could not be started", hint=f"rdev session end {found.id} clears it", code="STARTING", session=found.id
        )
    raise Conflict(
        f"the session {found.id} is being ended", hint=f"rdev session end {found.id} goes on with it", code="ENDING", session=found.id
    )


def takes_work(found: Project) -> Project:
    """Return a project that takes work; Conflict, with what to type, if it does not."""
    text = found.name
    if found.state in (ProjectState.CREATING, ProjectState.FAILED):
        raise Conflict(
            f"{text} is not whole yet",
            hint=f"rdev project create {text} goes on with it, rdev project delete {text} clears it",
            code="CREATING",
            project=text,
        )
    if found.state is not ProjectState.READY:
        raise Conflict(f"{text} is being deleted", hint=f"rdev project delete {text} goes on with it", code="DELETING", project=text)
    return found


def command(world: World, text: str, *, whole: bool = False) -> Command:
    """Return a command by its id or, unless `whole`, by a unique beginning of it (4 characters after `cmd_`)."""
    if not id_like(text, "cmd"):
        only = f" --project {text}" if any(each.name == text for each in world.store.projects()) else ""
        raise Invalid(f"'{shown(text)}' is no command id", hint=f"rdev command list{only} shows the ids: cmd_…", field="command")
    found = world.store.find_commands(text)
    exact = [c for c in found if c.id == text]
    if exact:
        return exact[0]
    if not found:
        raise NotFound(f"there is no command {text}", hint="rdev command list shows the ones there are", command=text)
    if len(found) > 1:
        more = "type the whole id; rdev command list shows the ids" if whole else "type more of the id"
        raise Invalid(f"more than one command begins with {text}", hint=more, field="command")
    if whole:
        raise Invalid(f"{text} is only the beginning of an id", hint=f"type it whole: {found[0].id}", field="command")
    return found[0]
