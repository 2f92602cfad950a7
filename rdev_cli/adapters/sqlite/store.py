"""The Store port on one SQLite file: records, the chained journal, operations."""

import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from datetime import datetime
from enum import Enum
from typing import Any, TypeVar

from rdev_cli.adapters.sqlite.database import Database, wal_is_safe
from rdev_cli.adapters.sqlite.leases import Leases
from rdev_cli.domain.codec import moment, plain, stamp
from rdev_cli.domain.command import Command, CommandKind, CommandState
from rdev_cli.domain.errors import Conflict
from rdev_cli.domain.event import GENESIS, Event, link
from rdev_cli.domain.operation import Operation, OperationState, StepState
from rdev_cli.domain.project import Project, ProjectState
from rdev_cli.domain.report import Check, Verdict
from rdev_cli.ports.timing import Clock

T = TypeVar("T")

_LOAD: dict[type[Any], dict[str, Callable[[Any], Any]]] = {
    Project: {"network": bool, "state": ProjectState, "created_at": moment, "updated_at": moment},
    Command: {
        "kind": CommandKind,
        "argv": lambda text: tuple(json.loads(text)),
        "state": CommandState,
        "created_at": moment,
        "ended_at": lambda text: moment(text) if text else None,
        "truncated": bool,
        "network": bool,
    },
}
_COLUMNS = {cls: [f.name for f in fields(cls)] for cls in _LOAD}
_NAMES = {cls: ", ".join(f'"{name}"' for name in names) for cls, names in _COLUMNS.items()}
_OPEN_OPERATIONS = (OperationState.RUNNING.value, OperationState.UNDO_FAILED.value)


def _cell(value: Any) -> Any:
    if isinstance(value, datetime):
        return stamp(value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, tuple):
        return json.dumps(value)  # ASCII, so that bytes smuggled as surrogates survive
    if isinstance(value, str) and not value.isascii():
        return value.encode("utf-8", "replace").decode()  # an agent may say half a surrogate pair, which no column holds
    return value


def _load(cls: type[T], row: Sequence[Any]) -> T:
    casts = _LOAD[cls]
    return cls(**{name: casts[name](cell) if name in casts else cell for name, cell in zip(_COLUMNS[cls], row, strict=True)})


def _upsert(connection: sqlite3.Connection, table: str, value: Any) -> None:
    names = _COLUMNS[type(value)]
    marks = ", ".join("?" * len(names))
    changes = ", ".join(f'"{name}" = excluded."{name}"' for name in names if name != "id")
    connection.execute(
        f"insert into {table} ({_NAMES[type(value)]}) values ({marks}) on conflict (id) do update set {changes}",  # noqa: S608 -- our own names
        [_cell(getattr(value, name)) for name in names],
    )


class SqliteWriting(Leases):
    """One transaction."""

    def __init__(self, connection: sqlite3.Connection, clock: Clock, actor: str) -> None:
        super().__init__(connection)
        self._clock, self._actor = clock, actor

    def put_project(self, project: Project) -> None:
        other = self.find_project(project.name)
        if other is not None and other.id != project.id:
            raise Conflict(f"there is already a project {project.name}", hint=f"rdev project show {project.name}", project=project.name)
        _upsert(self._connection, "projects", project)

    def drop_project(self, project: Project) -> None:
        self._connection.execute("delete from projects where id = ?", [project.id])

    def find_project(self, name: str) -> Project | None:
        return _project(self._connection, name)

    def put_command(self, command: Command) -> None:
        _upsert(self._connection, "commands", command)

    def find_command(self, id: str) -> Command | None:
        row = self._connection.execute(f"select {_NAMES[Command]} from commands where id = ?", [id]).fetchone()  # noqa: S608
        return _load(Command, row) if row else None

    def parsed(self, command: str) -> int:
        return _parsed(self._connection, command)

    def set_parsed(self, command: str, offset: int) -> None:
        self._connection.execute("update commands set parsed = ? where id = ?", [offset, command])

    def append(self, kind: str, subject: str, data: Mapping[str, Any]) -> None:
        seq, previous = self._connection.execute("select seq, hash from journal_head").fetchone()
        at, body = self._clock.now(), plain(data)
        line = link(previous, seq=seq + 1, at=at, kind=kind, subject=subject, actor=self._actor, data=body)
        self._connection.execute(
            "insert into events values (?, ?, ?, ?, ?, ?, ?)",
            [seq + 1, stamp(at), kind, subject, self._actor, json.dumps(body, sort_keys=True, ensure_ascii=False), line],
        )
        self._connection.execute("update journal_head set seq = ?, hash = ?", [seq + 1, line])

    def put_operation(self, operation: Operation) -> None:
        self._connection.execute(
            "insert into operations values (?, ?, ?, ?, ?, ?, ?)",
            [
                operation.id, operation.kind, operation.subject, operation.state.value,
                json.dumps(plain(operation.spec)), operation.actor, stamp(operation.created_at),
            ],
        )  # fmt: skip

    def put_step(self, operation: str, position: int, name: str, state: StepState) -> None:
        self._connection.execute(
            "insert into steps values (?, ?, ?, ?) on conflict do update set name = excluded.name, state = excluded.state",
            [operation, position, name, state.value],
        )

    def end_operation(self, operation: str, state: OperationState) -> None:
        if state in (OperationState.DONE, OperationState.UNDONE):
            # the journal keeps what happened; the table holds what is unfinished
            self._connection.execute("delete from operations where id = ?", [operation])
        else:
            self._connection.execute("update operations set state = ? where id = ?", [state.value, operation])

    def remember(self, key: str, fingerprint: str, answer: str) -> None:
        self._connection.execute("delete from idempotency where until < ?", [self.now()])
        kept = self._connection.execute("select 1 from idempotency where key = ?", [key]).fetchone()
        if kept is not None:
            raise Conflict("another request used this idempotency key", hint="ask again: the first answer is given", code="KEY_USED")
        self._connection.execute("insert into idempotency values (?, ?, ?, ?)", [key, fingerprint, answer, self.now() + 86400])


def _parsed(connection: sqlite3.Connection, command: str) -> int:
    row = connection.execute("select parsed from commands where id = ?", [command]).fetchone()
    return int(row[0]) if row else 0


def _project(connection: sqlite3.Connection, name: str) -> Project | None:
    row = connection.execute(f"select {_NAMES[Project]} from projects where name = ?", [name]).fetchone()  # noqa: S608
    return _load(Project, row) if row else None


def _event(row: Sequence[Any]) -> Event:
    seq, at, kind, subject, actor, data, line = row
    return Event(seq=seq, at=moment(at), kind=kind, subject=subject, actor=actor, data=json.loads(data), hash=line)


class SqliteStore:
    """What rdev remembers, in one file."""

    def __init__(self, database: Database, clock: Clock, actor: str) -> None:
        self._database, self._clock, self._actor = database, clock, actor

    def acting(self, actor: str) -> "SqliteStore":
        return SqliteStore(self._database, self._clock, actor)

    @contextmanager
    def transaction(self) -> Iterator[SqliteWriting]:
        with self._database.writing() as connection:
            yield SqliteWriting(connection, self._clock, self._actor)

    def find_project(self, name: str) -> Project | None:
        with self._database.reading() as connection:
            return _project(connection, name)

    def projects(self) -> Sequence[Project]:
        with self._database.reading() as connection:
            rows = connection.execute(f"select {_NAMES[Project]} from projects order by name")  # noqa: S608
            return [_load(Project, row) for row in rows]

    def find_commands(self, beginning: str) -> Sequence[Command]:
        with self._database.reading() as connection:
            rows = connection.execute(
                f"select {_NAMES[Command]} from commands where id >= ? and id < ? order by id limit 2",  # noqa: S608
                [beginning, beginning + "\x7f"],
            )
            return [_load(Command, row) for row in rows]

    def commands(self, *, project: str = "", states: Sequence[CommandState] = (), limit: int = 100) -> Sequence[Command]:
        where, values = ["1"], list[Any]()
        if project:
            where.append("project = ?")
            values.append(project)
        if states:
            where.append(f"state in ({', '.join('?' * len(states))})")
            values += [state.value for state in states]
        with self._database.reading() as connection:
            rows = connection.execute(
                f"select {_NAMES[Command]} from commands where {' and '.join(where)} order by id desc limit ?",  # noqa: S608
                [*values, limit],
            )
            return [_load(Command, row) for row in rows]

    def parsed(self, command: str) -> int:
        with self._database.reading() as connection:
            return _parsed(connection, command)

    def events(self, *, after: int, subject: str = "", limit: int = 100) -> Sequence[Event]:
        with self._database.reading() as connection:
            rows = connection.execute(
                "select * from events where seq > ? and (? = '' or subject = ?) order by seq limit ?", [after, subject, subject, limit]
            )
            return [_event(row) for row in rows]

    def last_event(self) -> int:
        with self._database.reading() as connection:
            return int(connection.execute("select seq from journal_head").fetchone()[0])

    def unfinished(self, subject: str = "") -> Sequence[Operation]:
        with self._database.reading() as connection:
            rows = connection.execute(
                "select * from operations where state in (?, ?) and (? = '' or subject = ?) order by id",
                [*_OPEN_OPERATIONS, subject, subject],
            ).fetchall()
            return [self._operation(connection, row) for row in rows]

    def _operation(self, connection: sqlite3.Connection, row: Sequence[Any]) -> Operation:
        id, kind, about, state, spec, actor, created = row
        steps = connection.execute("select name, state from steps where operation = ? order by position", [id])
        return Operation(
            id=id, kind=kind, subject=about, state=OperationState(state), spec=json.loads(spec), actor=actor, created_at=moment(created),
            steps=tuple((name, StepState(how)) for name, how in steps),
        )  # fmt: skip

    def recall(self, key: str) -> tuple[str, str] | None:
        with self._database.reading() as connection:
            row = connection.execute(
                "select fingerprint, answer from idempotency where key = ? and until >= (julianday('now') - 2440587.5) * 86400.0", [key]
            ).fetchone()
            return (row[0], row[1]) if row else None

    def close(self) -> None:
        """Close this thread's connection."""
        self._database.close()

    def check(self) -> Sequence[Check]:
        with self._database.reading() as connection:
            mode = connection.execute("pragma journal_mode").fetchone()[0]
            source = connection.execute("select sqlite_source_id()").fetchone()[0]
            sound = [row[0] for row in connection.execute("pragma quick_check")]
            keys = connection.execute("pragma foreign_key_check").fetchall()
            head = connection.execute("select seq, hash from journal_head").fetchone()
            broken = _first_break(connection, head)
        version = f"SQLite {sqlite3.sqlite_version} ({source[:19]}), journal mode {mode}"
        return [
            Check(name="state.library", verdict=Verdict.OK, found=version)
            if wal_is_safe()
            else Check(
                name="state.library",
                verdict=Verdict.WARNING,
                found=f"{version}: this SQLite has the WAL-reset bug, so the slower rollback journal is used",
                hint="nothing to do; a Python with SQLite 3.51.3 or newer writes faster",
            ),
            Check(name="state.integrity", verdict=Verdict.OK, found="sound")
            if sound == ["ok"] and not keys
            else Check(
                name="state.integrity",
                verdict=Verdict.FAILED,
                found=f"{'; '.join(sound[:3])}, {len(keys)} rows without their owner",
                hint=f"keep a copy of {self._database.path} and restore a backup",
            ),
            Check(name="journal.chain", verdict=Verdict.OK, found=f"{head[0]} lines, unbroken")
            if not broken
            else Check(
                name="journal.chain",
                verdict=Verdict.FAILED,
                found=broken,
                hint="somebody changed the journal outside rdev; compare it with a backup",
            ),
        ]


def _first_break(connection: sqlite3.Connection, head: Sequence[Any]) -> str:
    """Return where the chain breaks, empty if it holds from the first line to the head."""
    previous, expected = GENESIS, 1
    for row in connection.execute("select * from events order by seq"):
        event = _event(row)
        if event.seq != expected:
            return f"line {expected} is missing"
        if event.hash != link(
            previous, seq=event.seq, at=event.at, kind=event.kind, subject=event.subject, actor=event.actor, data=event.data
        ):
            return f"line {event.seq} was changed"
        previous, expected = event.hash, expected + 1
    if (expected - 1, previous) != tuple(head):
        return f"the journal ends at line {expected - 1}, but line {head[0]} was written"
    return ""
