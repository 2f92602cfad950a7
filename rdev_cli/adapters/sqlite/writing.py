"""One transaction on the SQLite file: records, the chained journal, operations; and what the store reads alike."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from rdev_cli.adapters.sqlite import kept, records
from rdev_cli.adapters.sqlite.leases import Leases
from rdev_cli.adapters.sqlite.sight import keys_seen, must_own_lease, must_own_row, must_see, seen, unbound
from rdev_cli.domain.codec import moment, plain, stamp
from rdev_cli.domain.errors import Conflict

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

    from rdev_cli.domain.access import Grant, Key
    from rdev_cli.domain.command import Command
    from rdev_cli.domain.credential import Credential
    from rdev_cli.domain.job import Job, Work
    from rdev_cli.domain.lease import Lease
    from rdev_cli.domain.operation import Operation, OperationState, StepState
    from rdev_cli.domain.project import Project
    from rdev_cli.domain.repeat import Kept
    from rdev_cli.domain.resource import Mark
    from rdev_cli.domain.webhook import Delivery, Webhook
    from rdev_cli.ports.store import R, Record
    from rdev_cli.ports.timing import Clock

KEPT = 86400.0  # seconds that an answer under an idempotency key is kept
OPEN_OPERATIONS = ("running", "undo_failed")


class SqliteWriting(Leases):
    """One transaction."""

    def __init__(self, connection: sqlite3.Connection, clock: Clock, grant: Grant) -> None:
        super().__init__(connection)
        self._clock, self._grant = clock, grant

    def put_project(self, project: Project) -> None:
        must_see(self._grant, f"project {project.name}", project.name)
        must_own_row(self._connection, self._grant, f"project {project.name}", "select name from projects where id = ?", project.id)
        other = self.find_project(project.name)
        if other is not None and other.id != project.id:
            raise Conflict(f"there is already a project {project.name}", hint=f"rdev project show {project.name}", project=project.name)
        records.put(self._connection, "projects", project)

    def drop_project(self, project: Project) -> None:
        mine, names = seen(self._grant, "name")
        self._connection.execute(f"delete from projects where id = ? and {mine}", [project.id, *names])  # noqa: S608

    def find_project(self, name: str) -> Project | None:
        return project_in(self._connection, self._grant, name)

    def put_command(self, command: Command) -> None:
        what = f"command {command.id}"
        must_see(self._grant, what, command.project)
        must_own_row(self._connection, self._grant, what, "select project from commands where id = ?", command.id)
        must_own_row(self._connection, self._grant, what, "select name from projects where id = ?", command.project_id)
        records.put(self._connection, "commands", command)

    def put(self, record: Record) -> None:
        kept.put(self._connection, self._grant, record)

    def find(self, kind: type[R], id: str) -> R | None:
        return kept.find(self._connection, self._grant, kind, id)

    def drop(self, kind: type[R], id: str) -> None:
        kept.drop(self._connection, self._grant, kind, id)

    def find_command(self, id: str) -> Command | None:
        mine, names = seen(self._grant, "project")
        row = self._connection.execute(
            f"select {records.columns('commands')} from commands where id = ? and {mine}",  # noqa: S608
            [id, *names],
        ).fetchone()
        return records.load("commands", row) if row else None

    def parsed(self, command: str) -> int:
        return parsed_in(self._connection, self._grant, command)

    def set_parsed(self, command: str, offset: int) -> None:
        mine, names = seen(self._grant, "project")
        self._connection.execute(f"update commands set parsed = ? where id = ? and {mine}", [offset, command, *names])  # noqa: S608

    def put_credential(self, credential: Credential) -> None:
        unbound(self._grant)
        self._connection.execute(
            "insert into credentials values (?, ?, ?) on conflict do update set place = excluded.place, updated_at = excluded.updated_at",
            [credential.name, credential.place, stamp(credential.updated_at)],
        )

    def drop_credential(self, name: str) -> None:
        unbound(self._grant)
        self._connection.execute("delete from credentials where name = ?", [name])

    def put_webhook(self, webhook: Webhook) -> None:
        from rdev_cli.adapters.sqlite import hooks  # noqa: PLC0415 -- the rare case

        hooks.put_webhook(self._connection, self._grant, webhook)

    def drop_webhook(self, id: str) -> None:
        if self.find_webhook(id) is not None:
            self._connection.execute("delete from webhooks where id = ?", [id])

    def find_webhook(self, id: str) -> Webhook | None:
        from rdev_cli.adapters.sqlite import hooks  # noqa: PLC0415 -- the rare case

        return next((one for one in hooks.find_webhooks(self._connection, self._grant, id) if one.id == id), None)

    def put_delivery(self, delivery: Delivery, body: str | None = None) -> None:
        from rdev_cli.adapters.sqlite import hooks  # noqa: PLC0415 -- the rare case

        hooks.must_own_delivery(self._connection, self._grant, delivery)
        hooks.put_delivery(self._connection, delivery, body)

    def find_delivery(self, id: str) -> Delivery | None:
        from rdev_cli.adapters.sqlite import hooks  # noqa: PLC0415 -- the rare case

        return next((one for one in hooks.find_deliveries(self._connection, self._grant, id) if one.id == id), None)

    def forget_deliveries(self, before: datetime) -> None:
        unbound(self._grant)
        self._connection.execute("delete from deliveries where state <> 'pending' and created_at < ?", [stamp(before)])

    def put_key(self, key: Key, hash: str) -> None:
        must_see(self._grant, f"project {', '.join(key.projects)}", *(key.projects or [""]))
        if self._connection.execute("select 1 from keys where prefix = ?", [key.prefix]).fetchone():
            raise Conflict(f"there is already a key rdev_sk_{key.prefix}_…", hint="try again", key=key.id)
        self._connection.execute(
            "insert into keys values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                key.id, key.name, key.prefix, hash, json.dumps(key.scopes), json.dumps(key.projects), json.dumps(key.cidrs),
                stamp(key.created_at), key.created_by, *(stamp(at) if at else None for at in (key.expires_at, key.last_used_at, key.revoked_at)),
            ],
        )  # fmt: skip

    def revoke_key(self, id: str, at: datetime) -> None:
        mine, names = keys_seen(self._grant)
        self._connection.execute(
            f"update keys set revoked_at = coalesce(revoked_at, ?) where id = ? and {mine}",  # noqa: S608
            [stamp(at), id, *names],
        )

    def use_key(self, id: str, at: datetime) -> None:
        unbound(self._grant)
        self._connection.execute("update keys set last_used_at = max(coalesce(last_used_at, ''), ?) where id = ?", [stamp(at), id])

    def append(self, kind: str, subject: str, data: Mapping[str, Any]) -> None:
        from rdev_cli.domain.chain import link  # noqa: PLC0415 -- whoever only reads needs no hash

        at, body = self._clock.now(), plain(data)
        project = self._whose(kind, subject, body)
        if project:
            must_see(self._grant, subject, project)
        seq, previous = self._connection.execute("select seq, hash from journal_head").fetchone()
        line = link(previous, seq=seq + 1, at=at, kind=kind, subject=subject, actor=self._grant.actor, data=body)
        self._connection.execute(
            "insert into events values (?, ?, ?, ?, ?, ?, ?, ?)",
            [
                seq + 1,
                stamp(at),
                kind,
                subject,
                self._grant.actor,
                json.dumps(body, sort_keys=True, ensure_ascii=False),
                line,
                project,
            ],
        )
        self._connection.execute("update journal_head set seq = ?, hash = ?", [seq + 1, line])
        if self._connection.execute("select 1 from webhooks where state = 'enabled' limit 1").fetchone():
            from rdev_cli.adapters.sqlite import hooks  # noqa: PLC0415 -- where nobody is told, it costs nothing

            hooks.queue(self._connection, seq=seq + 1, at=at, kind=kind, subject=subject, data=body, project=project)

    def _whose(self, kind: str, subject: str, data: Mapping[str, Any]) -> str:
        """Return the project that a line of the journal is about, empty if it is about none."""
        if kind.startswith("project."):
            return subject
        if isinstance(data.get("project"), str):
            return str(data["project"])
        table = {"cmd": "commands", "ses": "sessions", "chk": "checkouts", "rcp": "receipts", "wrk": "workers"}.get(
            subject.partition("_")[0]
        )
        row = self._connection.execute(f"select project from {table} where id = ?", [subject]).fetchone() if table else None  # noqa: S608 -- our own names
        return row[0] if row else ""

    def prune(self, before: datetime) -> tuple[int, int, str]:
        unbound(self._grant)
        count, through, line = older_in(self._connection, before)
        if count:
            self._connection.execute("delete from events where seq <= ?", [through])
            self._connection.execute("update journal_anchor set seq = ?, hash = ?", [through, line])
        return count, through, line

    def put_operation(self, operation: Operation) -> None:
        must_see(self._grant, operation.subject, self._of(operation.subject))
        self._connection.execute(
            "insert into operations values (?, ?, ?, ?, ?, ?, ?)",
            [
                operation.id, operation.kind, operation.subject, operation.state.value,
                json.dumps(plain(operation.spec)), operation.actor, stamp(operation.created_at),
            ],
        )  # fmt: skip

    def put_step(self, operation: str, position: int, name: str, state: StepState) -> None:
        self._must_own(operation)
        self._connection.execute(
            "insert into steps values (?, ?, ?, ?) on conflict do update set name = excluded.name, state = excluded.state",
            [operation, position, name, state.value],
        )

    def end_operation(self, operation: str, state: OperationState) -> None:
        self._must_own(operation)
        if state.value not in OPEN_OPERATIONS:
            # the journal keeps what happened; the table holds what is unfinished
            self._connection.execute("delete from operations where id = ?", [operation])
        else:
            self._connection.execute("update operations set state = ? where id = ?", [state.value, operation])

    def _must_own(self, operation: str) -> None:
        row = self._connection.execute("select subject from operations where id = ?", [operation]).fetchone()
        if row:
            must_see(self._grant, f"operation {operation}", self._of(row[0]))

    def _of(self, subject: str) -> str:
        """Return the project that an operation is about, empty if it is about none."""
        kind, _, name = subject.partition(":")
        if kind in ("session", "checkout"):
            row = self._connection.execute(f"select project from {kind}s where id = ?", [name]).fetchone()  # noqa: S608 -- our own names
            return row[0] if row else ""
        return name if kind == "project" else ""

    def take(self, name: str, *, owner: str, seconds: float) -> Lease:
        must_own_lease(self._connection, self._grant, name)
        return super().take(name, owner=owner, seconds=seconds)

    def hold(self, lease: Lease, seconds: float) -> None:
        must_own_lease(self._connection, self._grant, lease.name)
        super().hold(lease, seconds)

    def release(self, name: str, owner: str) -> None:
        must_own_lease(self._connection, self._grant, name)
        super().release(name, owner)

    def forget(self, name: str) -> None:
        must_own_lease(self._connection, self._grant, name)
        super().forget(name)

    def mark(self, place: str, things: Collection[str], now: Mark) -> None:
        unbound(self._grant)
        gone = marks_in(self._connection, place).keys() - set(things)
        self._connection.executemany("delete from orphans where place = ? and uid = ?", [(place, uid) for uid in gone])
        self._connection.execute("delete from orphans where place <> ?", [place])
        self._connection.executemany(
            "insert or ignore into orphans values (?, ?, ?, ?)", [(place, uid, stamp(now.there), stamp(now.here)) for uid in things]
        )

    def put_job(self, work: Work) -> None:
        from rdev_cli.adapters.sqlite import jobs  # noqa: PLC0415 -- a short command has none

        jobs.put(self._connection, self._grant, work)

    def find_job(self, id: str) -> Job | None:
        from rdev_cli.adapters.sqlite import jobs  # noqa: PLC0415 -- a short command has none

        return jobs.find(self._connection, self._grant, id)

    def drop_job(self, id: str) -> None:
        from rdev_cli.adapters.sqlite import jobs  # noqa: PLC0415 -- a short command has none

        jobs.drop(self._connection, self._grant, id)

    def waiting_jobs(self) -> Sequence[Work]:
        from rdev_cli.adapters.sqlite import jobs  # noqa: PLC0415 -- a short command has none

        return jobs.waiting(self._connection, self._grant)

    def recall(self, id: str) -> Kept | None:
        return kept_in(self._connection, id)

    def remember(self, kept: Kept) -> None:
        self._connection.execute("delete from idempotency where until < ?", [self.now()])
        self._connection.execute(
            "insert into idempotency values (?, ?, ?, ?, ?, ?) on conflict do update set state = excluded.state, answer = excluded.answer",
            [kept.id, kept.fingerprint, kept.seed, kept.state.value, kept.answer, self.now() + KEPT],
        )

    def let_go(self, id: str) -> None:
        self._connection.execute("delete from idempotency where id = ?", [id])


def kept_in(connection: sqlite3.Connection, id: str) -> Kept | None:
    """Return what is kept under an idempotency key, while it is young enough."""
    from rdev_cli.domain.repeat import Kept, KeptState  # noqa: PLC0415 -- the rare case

    row = connection.execute(
        "select id, fingerprint, seed, state, answer from idempotency where id = ? and until >= (julianday('now') - 2440587.5) * 86400.0",
        [id],
    ).fetchone()
    return Kept(id=row[0], fingerprint=row[1], seed=row[2], state=KeptState(row[3]), answer=row[4]) if row else None


def marks_in(connection: sqlite3.Connection, place: str) -> Mapping[str, Mark]:
    """Return since when things of a place have no record, by uid."""
    from rdev_cli.domain.resource import Mark  # noqa: PLC0415 -- the rare case

    rows = connection.execute("select uid, there, here from orphans where place = ?", [place])
    return {uid: Mark(there=moment(there), here=moment(here)) for uid, there, here in rows}


def parsed_in(connection: sqlite3.Connection, grant: Grant, command: str) -> int:
    """Return how far a command of the caller's has been told, 0 if there is none."""
    mine, names = seen(grant, "project")
    row = connection.execute(f"select parsed from commands where id = ? and {mine}", [command, *names]).fetchone()  # noqa: S608
    return int(row[0]) if row else 0


def older_in(connection: sqlite3.Connection, before: datetime) -> tuple[int, int, str]:
    """Return how many lines from the first on are older, and the last of them; a line behind a younger one is not among them."""
    # a clock may have been put back: what counts is the first line that is young enough to stay
    (young,) = connection.execute("select min(seq) from events where at >= ?", [stamp(before)]).fetchone()
    row = connection.execute("select seq, hash from events where ? is null or seq < ? order by seq desc limit 1", [young, young]).fetchone()
    if row is None:
        return 0, *connection.execute("select seq, hash from journal_anchor").fetchone()
    return connection.execute("select count(*) from events where seq <= ?", [row[0]]).fetchone()[0], *row


def project_in(connection: sqlite3.Connection, grant: Grant, name: str) -> Project | None:
    """Return the project of a name, if the caller sees it."""
    if not grant.sees(name):
        return None
    row = connection.execute(f"select {records.columns('projects')} from projects where name = ?", [name]).fetchone()  # noqa: S608
    return records.load("projects", row) if row else None
