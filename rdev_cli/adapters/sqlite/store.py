"""The Store port on one SQLite file: what it reads, each caller no more than its own."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rdev_cli.adapters.sqlite import kept, records
from rdev_cli.adapters.sqlite.sight import keys_seen, seen, subjects_seen, unbound
from rdev_cli.adapters.sqlite.writing import OPEN_OPERATIONS, SqliteWriting, kept_in, marks_in, older_in, parsed_in, project_in
from rdev_cli.domain.codec import moment

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from rdev_cli.adapters.sqlite.database import Database
    from rdev_cli.domain.access import Grant, Key
    from rdev_cli.domain.command import Command, CommandState
    from rdev_cli.domain.credential import Credential
    from rdev_cli.domain.event import Event
    from rdev_cli.domain.job import Job
    from rdev_cli.domain.operation import Operation
    from rdev_cli.domain.project import Project
    from rdev_cli.domain.repeat import Kept
    from rdev_cli.domain.report import Check
    from rdev_cli.domain.resource import Known, Mark
    from rdev_cli.domain.usage import Usage
    from rdev_cli.domain.webhook import Delivery, Webhook
    from rdev_cli.ports.store import R
    from rdev_cli.ports.timing import Clock


class SqliteStore:
    """What rdev remembers, in one file."""

    def __init__(self, database: Database, clock: Clock, grant: Grant) -> None:
        self._database, self._clock, self._grant = database, clock, grant

    def acting(self, grant: Grant) -> SqliteStore:
        return SqliteStore(self._database, self._clock, grant)

    @contextmanager
    def transaction(self) -> Iterator[SqliteWriting]:
        with self._database.writing() as connection:
            yield SqliteWriting(connection, self._clock, self._grant)

    def find_project(self, name: str) -> Project | None:
        with self._database.reading() as connection:
            return project_in(connection, self._grant, name)

    def projects(self) -> Sequence[Project]:
        mine, names = seen(self._grant, "name")
        with self._database.reading() as connection:
            rows = connection.execute(f"select {records.columns('projects')} from projects where {mine} order by name", names)  # noqa: S608
            return [records.load("projects", row) for row in rows]

    def find(self, kind: type[R], id: str) -> R | None:
        with self._database.reading() as connection:
            return kept.find(connection, self._grant, kind, id)

    def some(
        self,
        kind: type[R],
        *,
        beginning: str = "",
        project: str = "",
        of: Mapping[str, str | Sequence[str]] | None = None,
        before: str = "",
        limit: int = 100,
    ) -> Sequence[R]:
        with self._database.reading() as connection:
            return kept.some(connection, self._grant, kind, beginning=beginning, project=project, of=of or {}, before=before, limit=limit)

    def find_commands(self, beginning: str) -> Sequence[Command]:
        mine, names = seen(self._grant, "project")
        with self._database.reading() as connection:
            rows = connection.execute(
                f"select {records.columns('commands')} from commands where id >= ? and id < ? and {mine} order by id limit 2",  # noqa: S608
                [beginning, beginning + "\x7f", *names],
            )
            return [records.load("commands", row) for row in rows]

    def commands(
        self, *, project: str = "", session: str = "", states: Sequence[CommandState] = (), before: str = "", limit: int = 100
    ) -> Sequence[Command]:
        mine, names = seen(self._grant, "project")
        where, values = [mine], list[Any](names)
        if before:
            where.append("id < ?")
            values.append(before)
        for column, value in (("project", project), ("session_id", session)):
            if value:
                where.append(f"{column} = ?")
                values.append(value)
        if states:
            where.append(f"state in ({', '.join('?' * len(states))})")
            values += [state.value for state in states]
        with self._database.reading() as connection:
            rows = connection.execute(
                f"select {records.columns('commands')} from commands where {' and '.join(where)} order by id desc limit ?",  # noqa: S608
                [*values, limit],
            )
            return [records.load("commands", row) for row in rows]

    def parsed(self, command: str) -> int:
        with self._database.reading() as connection:
            return parsed_in(connection, self._grant, command)

    def usage(self, *, project: str = "", since: str = "") -> Sequence[Usage]:
        from rdev_cli.domain.usage import Usage  # noqa: PLC0415 -- the rare case

        mine, names = seen(self._grant, "project")
        with self._database.reading() as connection:
            rows = connection.execute(
                "select project, agent, model, count(*), sum(input_tokens), sum(output_tokens), sum(cost_usd), max(created_at)"  # noqa: S608
                f" from commands where agent <> '' and (? = '' or project = ?) and created_at >= ? and {mine}"
                " group by project, agent, model order by project, agent, model",
                [project, project, since, *names],
            )
            return [
                Usage(project=p, agent=a, model=m, runs=n, input_tokens=i, output_tokens=o, cost_usd=c, last_at=moment(at))
                for p, a, m, n, i, o, c, at in rows
            ]

    def credentials(self) -> Sequence[Credential]:
        from rdev_cli.domain.credential import Credential  # noqa: PLC0415 -- few commands look at them

        if self._grant.projects is not None:
            return []  # they belong to no project
        with self._database.reading() as connection:
            rows = connection.execute("select name, place, updated_at from credentials order by name")
            return [Credential(name=name, place=place, updated_at=moment(at)) for name, place, at in rows]

    def webhooks(self) -> Sequence[Webhook]:
        from rdev_cli.adapters.sqlite import hooks  # noqa: PLC0415 -- the rare case

        with self._database.reading() as connection:
            return hooks.webhooks(connection, self._grant)

    def find_webhooks(self, beginning: str) -> Sequence[Webhook]:
        from rdev_cli.adapters.sqlite import hooks  # noqa: PLC0415 -- the rare case

        with self._database.reading() as connection:
            return hooks.find_webhooks(connection, self._grant, beginning)

    def deliveries(self, *, webhook: str = "", before: str = "", limit: int = 100) -> Sequence[Delivery]:
        from rdev_cli.adapters.sqlite import hooks  # noqa: PLC0415 -- the rare case

        with self._database.reading() as connection:
            return hooks.deliveries(connection, self._grant, webhook, before, limit)

    def find_deliveries(self, beginning: str) -> Sequence[Delivery]:
        from rdev_cli.adapters.sqlite import hooks  # noqa: PLC0415 -- the rare case

        with self._database.reading() as connection:
            return hooks.find_deliveries(connection, self._grant, beginning)

    def body(self, delivery: str) -> str:
        from rdev_cli.adapters.sqlite import hooks  # noqa: PLC0415 -- the rare case

        with self._database.reading() as connection:
            return hooks.body_of(connection, self._grant, delivery)

    def due(self, webhook: str, now: datetime, *, most: int) -> Sequence[tuple[Delivery, str]]:
        unbound(self._grant)
        from rdev_cli.adapters.sqlite import hooks  # noqa: PLC0415 -- the rare case

        with self._database.reading() as connection:
            return hooks.due(connection, webhook, now, most)

    def keys(self) -> Sequence[Key]:
        mine, names = keys_seen(self._grant)
        with self._database.reading() as connection:
            rows = connection.execute(f"select {records.columns('keys')} from keys where {mine} order by id", names)  # noqa: S608
            return [records.load("keys", row) for row in rows]

    def find_key(self, id: str) -> Key | None:
        mine, names = keys_seen(self._grant)
        with self._database.reading() as connection:
            row = connection.execute(
                f"select {records.columns('keys')} from keys where id = ? and {mine}",  # noqa: S608
                [id, *names],
            ).fetchone()
            return records.load("keys", row) if row else None

    def key_hash(self, prefix: str) -> tuple[str, str]:
        unbound(self._grant)
        with self._database.reading() as connection:
            row = connection.execute("select max(id), max(hash) from keys where prefix = ?", [prefix]).fetchone()
            return row[0] or "", row[1] or ""

    def events(self, *, after: int, subject: str = "", session: str = "", limit: int = 100) -> Sequence[Event]:
        mine, names = seen(self._grant, "project")
        of = "subject = ? or subject in (select id from commands where session_id = ?)"
        with self._database.reading() as connection:
            rows = connection.execute(
                f"select * from events where seq > ? and (? = '' or subject = ?) and (? = '' or {of}) and {mine} order by seq limit ?",  # noqa: S608
                [after, subject, subject, session, session, session, *names, limit],
            )
            return [records.event(row) for row in rows]

    def last_event(self) -> int:
        with self._database.reading() as connection:
            return int(connection.execute("select seq from journal_head").fetchone()[0])

    def prunable(self, before: datetime) -> tuple[int, int, str]:
        unbound(self._grant)
        with self._database.reading() as connection:
            return older_in(connection, before)

    def compact(self) -> None:
        unbound(self._grant)
        with self._database.reading() as connection:
            connection.execute("vacuum")

    def unfinished(self, subject: str = "") -> Sequence[Operation]:
        mine, names = subjects_seen(self._grant)
        with self._database.reading() as connection:
            rows = connection.execute(
                f"select * from operations where state in (?, ?) and (? = '' or subject = ?) and {mine} order by id",  # noqa: S608
                [*OPEN_OPERATIONS, subject, subject, *names],
            ).fetchall()
            return [self._operation(connection, row) for row in rows]

    def _operation(self, connection: sqlite3.Connection, row: Sequence[Any]) -> Operation:
        from rdev_cli.domain.operation import Operation, OperationState, StepState  # noqa: PLC0415 -- the rare case

        id, kind, about, state, spec, actor, created = row
        steps = connection.execute("select name, state from steps where operation = ? order by position", [id])
        return Operation(
            id=id, kind=kind, subject=about, state=OperationState(state), spec=json.loads(spec), actor=actor, created_at=moment(created),
            steps=tuple((name, StepState(how)) for name, how in steps),
        )  # fmt: skip

    def known(self) -> Known:
        from rdev_cli.adapters.sqlite.siblings import known  # noqa: PLC0415 -- the rare case

        unbound(self._grant)
        return known(self._database)

    def marks(self, place: str) -> Mapping[str, Mark]:
        unbound(self._grant)
        with self._database.reading() as connection:
            return marks_in(connection, place)

    def find_job(self, id: str) -> Job | None:
        from rdev_cli.adapters.sqlite import jobs  # noqa: PLC0415 -- a short command has none

        with self._database.reading() as connection:
            return jobs.find(connection, self._grant, id)

    def jobs(self, *, before: str = "", limit: int = 100) -> Sequence[Job]:
        from rdev_cli.adapters.sqlite import jobs  # noqa: PLC0415 -- a short command has none

        with self._database.reading() as connection:
            return jobs.some(connection, self._grant, before=before, limit=limit)

    def jobs_wait(self) -> bool:
        with self._database.reading() as connection:
            return connection.execute("select 1 from jobs where state in ('pending', 'running') limit 1").fetchone() is not None

    def recall(self, id: str) -> Kept | None:
        with self._database.reading() as connection:
            return kept_in(connection, id)

    def close(self) -> None:
        """Close this thread's connection."""
        self._database.close()

    def check(self) -> Sequence[Check]:
        from rdev_cli.adapters.sqlite.look import look  # noqa: PLC0415 -- only doctor looks

        unbound(self._grant)
        return look(self._database)
