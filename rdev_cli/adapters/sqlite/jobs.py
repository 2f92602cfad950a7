"""Jobs and requests under idempotency keys, in rows."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from rdev_cli.adapters.sqlite.sight import must_own_row, seen
from rdev_cli.domain.access import Grant, Scope
from rdev_cli.domain.answers import Problem
from rdev_cli.domain.codec import moment, plain, stamp
from rdev_cli.domain.errors import NotFound
from rdev_cli.domain.job import WAITING, Job, JobState, Work

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

KEPT = 7  # days that what became of a job is told

_COLUMNS = "id, operation, project, state, actor, created_at, ended_at, answer, error"


def put(connection: sqlite3.Connection, grant: Grant, work: Work) -> None:
    """Insert or replace by id; what is ended keeps its request no longer."""
    job = work.job
    if not grant.sees(job.project):
        raise NotFound(f"there is no project {job.project}", hint="rdev project list shows the ones there are", project=job.project)
    must_own_row(connection, grant, f"operation {job.id}", "select project from jobs where id = ?", job.id)
    ended = job.state not in WAITING
    _forgetting(connection)
    connection.execute(
        f'insert or replace into jobs ({_COLUMNS}, request, "grant") values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)',  # noqa: S608 -- our own names
        [
            job.id, job.operation, job.project, job.state.value, job.actor, stamp(job.created_at), stamp(job.ended_at) if job.ended_at else None,
            _text(job.answer), _text(job.error), _text({} if ended else work.request), _text(work.grant),
        ],
    )  # fmt: skip
    if ended:
        connection.execute("delete from jobs where julianday(ended_at) < julianday('now') - ?", [KEPT])


def drop(connection: sqlite3.Connection, grant: Grant, id: str) -> None:
    """Forget a job."""
    if find(connection, grant, id) is not None:
        _forgetting(connection)
        connection.execute("delete from jobs where id = ?", [id])


def _forgetting(connection: sqlite3.Connection) -> None:
    # a request may hold a command's stdin: what is deleted is not to stay readable in the file
    connection.execute("pragma secure_delete=on").fetchall()


def find(connection: sqlite3.Connection, grant: Grant, id: str) -> Job | None:
    """Return a job of a project that the grant sees."""
    row = connection.execute(f"select {_COLUMNS} from jobs where id = ?", [id]).fetchone()  # noqa: S608 -- our own names
    return _job(row) if row and grant.sees(row[2]) else None


def some(connection: sqlite3.Connection, grant: Grant, *, before: str, limit: int) -> Sequence[Job]:
    """Return jobs, newest first; with `before`, those with a lesser id."""
    mine, names = seen(grant, "project")
    rows = connection.execute(
        f"select {_COLUMNS} from jobs where (? = '' or id < ?) and {mine} order by id desc limit ?",  # noqa: S608 -- our own names
        [before, before, *names, limit],
    )
    return [_job(row) for row in rows]


def waiting(connection: sqlite3.Connection, grant: Grant) -> Sequence[Work]:
    """Return what has not ended, oldest first."""
    rows = connection.execute(
        f'select {_COLUMNS}, request, "grant" from jobs where state in (?, ?) order by created_at, id',  # noqa: S608 -- our own names
        [state.value for state in WAITING],
    )
    return [Work(job=_job(row), request=json.loads(row[9]), grant=_grant(row[10])) for row in rows if grant.sees(row[2])]


def _text(value: Any) -> str | None:
    return None if value is None else json.dumps(plain(value), sort_keys=True, ensure_ascii=False)


def _job(row: Sequence[Any]) -> Job:
    id, operation, project, state, actor, created, ended, answer, error = row[:9]
    return Job(
        id=id, operation=operation, project=project, state=JobState(state), actor=actor, created_at=moment(created),
        ended_at=moment(ended) if ended else None, answer=json.loads(answer) if answer else None,
        error=Problem(**json.loads(error)) if error else None,
    )  # fmt: skip


def _grant(text: str) -> Grant:
    found = json.loads(text)
    projects = found["projects"]
    return Grant(
        actor=found["actor"],
        scopes=frozenset(map(Scope, found["scopes"])),
        projects=None if projects is None else frozenset(projects),
        key=found["key"],
    )
