"""Looking things up by what people type."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rdev_cli.domain.errors import Conflict, Invalid, NotFound
from rdev_cli.domain.project import ProjectState
from rdev_cli.domain.values import id_like, name, shown

if TYPE_CHECKING:
    from rdev_cli.domain.command import Command
    from rdev_cli.domain.project import Project
    from rdev_cli.ports import World


def project(world: World, text: str) -> Project:
    """Return a project by name; NotFound if there is none."""
    name(text, "project name")
    found = world.store.find_project(text)
    if found is None:
        from difflib import get_close_matches  # noqa: PLC0415 -- only for a hint

        near = get_close_matches(text, [each.name for each in world.store.projects()], 1)
        raise _no_project(text, f"did you mean {near[0]}? " if near else "")
    return found


def _no_project(text: str, near: str = "") -> NotFound:
    hint = f"{near}rdev project list shows the ones there are, rdev project create {text} makes it"
    return NotFound(f"there is no project {text}", hint=hint, project=text)


def ready(world: World, text: str) -> Project:
    """Return a project that can take work; Conflict, with what to type, if it is half made or half gone."""
    return _takes_work(project(world, text))


def still(now: Project | None, then: Project) -> None:
    """Check a project again, now that nobody else can change it: NotFound if it was deleted meanwhile, Conflict if it is half gone."""
    if now is None or now.id != then.id:
        raise _no_project(then.name)
    _takes_work(now)


def _takes_work(found: Project) -> Project:
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
