"""The states of the other contexts, which may work in the same place under the same installation's id: read, never written."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

from rdev_cli.adapters.sqlite.database import Database, looked_at
from rdev_cli.domain.resource import Known


def known(database: Database) -> Known:
    """Return which projects this state and those beside it know, and which they knew; Unavailable if one of them cannot be read."""
    with database.reading() as connection:
        here = {id for (id,) in connection.execute("select id from projects where state = 'ready'")}
        recorded, departed = _of(connection)
    for path in _beside(database.path):
        with looked_at(path) as connection:
            more, gone = _of(connection)
        recorded |= more
        departed |= gone
    return Known(recorded=recorded, here=here, departed=departed)


def _beside(path: Path) -> Iterator[Path]:
    for folder in sorted(path.parent.parent.iterdir()):
        other = folder / path.name
        if folder != path.parent and other.exists():
            yield other


def _of(connection: sqlite3.Connection) -> tuple[set[str], set[str]]:
    version: int = connection.execute("pragma user_version").fetchone()[0]
    recorded = {id for (id,) in connection.execute("select id from projects")} if version else set()
    departed = {id for (id,) in connection.execute("select id from departed")} if version >= 5 else set()
    if version >= 10:  # a pod stands in the name of a session or a worker, too, for as long as that lives
        recorded |= {id for (id,) in connection.execute("select id from sessions where state <> 'ended' union select id from workers")}
        departed |= {id for (id,) in connection.execute("select id from sessions where state = 'ended'")}
    return recorded, departed
