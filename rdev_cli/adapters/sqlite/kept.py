"""Records that are kept alike: each kind a table, each row of a project or of none, and each caller no more than its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from rdev_cli.adapters.sqlite import records
from rdev_cli.adapters.sqlite.sight import must_own_row, must_see, seen, unbound

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence

    from rdev_cli.domain.access import Grant
    from rdev_cli.ports.store import R, Record


def put(connection: sqlite3.Connection, grant: Grant, record: Record) -> None:
    """Insert or replace by id."""
    table, what = records.KEPT[type(record).__name__], f"{type(record).__name__.lower()} {record.id}"
    if record.project:
        must_see(grant, what, record.project)
        must_own_row(connection, grant, what, f"select project from {table} where id = ?", record.id)  # noqa: S608 -- our own names
    else:
        unbound(grant)
    records.put(connection, table, record)


def find(connection: sqlite3.Connection, grant: Grant, kind: type[R], id: str) -> R | None:
    """Return a record of a kind by its id, if the caller sees it."""
    return next(iter(some(connection, grant, kind, of={"id": id}, limit=1)), None)


def drop(connection: sqlite3.Connection, grant: Grant, kind: type[R], id: str) -> None:
    """Forget a record."""
    mine, names = seen(grant, "project")
    connection.execute(f"delete from {records.KEPT[kind.__name__]} where id = ? and {mine}", [id, *names])  # noqa: S608 -- our own names


def some(
    connection: sqlite3.Connection,
    grant: Grant,
    kind: type[R],
    *,
    beginning: str = "",
    project: str = "",
    of: Mapping[str, str | Sequence[str]],
    before: str = "",
    limit: int,
) -> Sequence[R]:
    """Return records of a kind, newest first; the names in `of` are our own."""
    table = records.KEPT[kind.__name__]
    mine, names = seen(grant, "project")
    where, values = [mine], list[Any](names)
    for condition, given in (
        ("id >= ?", beginning),
        ("id < ?", beginning and beginning + "\x7f"),
        ("project = ?", project),
        ("id < ?", before),
    ):
        if given:
            where.append(condition)
            values.append(given)
    for column, wanted in of.items():
        any_of = [wanted] if isinstance(wanted, str) else list(wanted)
        where.append(f'"{column}" in ({", ".join("?" * len(any_of))})')
        values += map(str, any_of)
    rows = connection.execute(
        f"select {records.columns(table)} from {table} where {' and '.join(where)} order by id desc limit ?",  # noqa: S608 -- our own names
        [*values, limit],
    )
    return [cast("R", records.load(table, row)) for row in rows]
