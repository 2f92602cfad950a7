"""What part of the rows a grant sees: conditions for SQL, so that pages stay whole, and refusals where a row cannot be left out."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from rdev_cli.domain.errors import Denied, NotFound

if TYPE_CHECKING:
    import sqlite3

    from rdev_cli.domain.access import Grant


def seen(grant: Grant, column: str) -> tuple[str, list[str]]:
    """Return a condition on a column of project names, and its values; it holds for every row where nothing binds the grant."""
    return ("1", []) if grant.projects is None else (f"{column} in (select value from json_each(?))", [_names(grant)])  # noqa: S608 -- our own names


def keys_seen(grant: Grant) -> tuple[str, list[str]]:
    """Return a condition on keys: those that reach nothing but what the grant sees."""
    if grant.projects is None:
        return "1", []
    return "projects <> '[]' and not exists (select 1 from json_each(projects) where value not in (select value from json_each(?)))", [
        _names(grant)
    ]


def subjects_seen(grant: Grant) -> tuple[str, list[str]]:
    """Return a condition on operations, whose subject is `project:` and a name, or `session:` or `checkout:` and an id."""
    if grant.projects is None:
        return "1", []
    mine, names = seen(grant, "project")
    return (
        f"(subject in (select 'project:' || value from json_each(?)) or subject in (select 'session:' || id from sessions where {mine})"  # noqa: S608, ISC004 -- our own names
        f" or subject in (select 'checkout:' || id from checkouts where {mine}))",
        names * 3,
    )


def _names(grant: Grant) -> str:
    return json.dumps(sorted(grant.projects or ()))


def unbound(grant: Grant) -> None:
    """Check that nothing binds a grant to projects; Denied for what belongs to none, or to all of them."""
    if grant.projects is not None:
        raise Denied(
            "a key that is bound to projects may not touch what belongs to none of them",
            hint="use a key that was made without --project",
        )


def must_see(grant: Grant, what: str, *projects: str) -> None:
    """Check that a grant sees these projects; NotFound for `what` that would be written, which names no other project."""
    if not all(grant.sees(project) for project in projects):
        raise NotFound(f"there is no {what}", hint="rdev project list shows the projects there are")


def must_own_row(connection: sqlite3.Connection, grant: Grant, what: str, question: str, id: str) -> None:
    """Check that a row that would be changed, if it is there, is of a project that the grant sees; `question` gives that project."""
    if grant.projects is not None and (row := connection.execute(question, [id]).fetchone()):
        must_see(grant, what, row[0])


def must_own_lease(connection: sqlite3.Connection, grant: Grant, name: str) -> None:
    """Check that a lease is on a project that the grant sees, or on what belongs to one."""
    kind, _, id = name.partition(":")
    if kind == "project":
        must_see(grant, f"project {id}", id)
    elif kind == "workspace":
        must_own_row(connection, grant, f"project {id}", "select name from projects where id = ?", id)
        must_own_row(connection, grant, f"session {id}", "select project from sessions where id = ?", id)
    elif kind in ("session", "checkout", "checks"):
        noun = "checkout" if kind == "checkout" else "session"
        must_own_row(connection, grant, f"{noun} {id}", f"select project from {noun}s where id = ?", id)  # noqa: S608 -- our own names
    elif kind == "checkin":  # of whichever of the two has the id
        must_own_row(connection, grant, f"session {id}", "select project from sessions where id = ?", id)
        must_own_row(connection, grant, f"checkout {id}", "select project from checkouts where id = ?", id)
    elif kind == "start":
        must_own_row(connection, grant, f"command {id}", "select project from commands where id = ?", id)
    elif kind == "job":
        must_own_row(connection, grant, f"operation {id}", "select project from jobs where id = ?", id)
    elif kind != "once":  # whose name is made of the caller and a key: nobody comes by another's
        unbound(grant)
