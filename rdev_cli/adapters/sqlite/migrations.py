"""The schema, as steps that are never edited; imported only when a state is behind."""

import os
import sqlite3
from pathlib import Path

from sqlite_utils import Database
from sqlite_utils.migrations import Migrations

steps = Migrations("rdev")


@steps()
def m001_foundation(db: Database) -> None:
    """Projects, commands, the journal with its head, leases, operations with their steps, idempotency keys."""
    for statement in (
        (
            "create table projects (id text primary key, name text not null unique, description text not null,"
            " source text not null, network integer not null, state text not null, pod text not null,"
            " repository text not null, branch text not null, created_at text not null, updated_at text not null) strict"
        ),
        (
            "create table commands (id text primary key, project text not null,"
            " project_id text not null references projects (id) on delete cascade, kind text not null, argv text not null,"
            " state text not null, actor text not null, created_at text not null, ended_at text, exit_code integer,"
            " reason text not null, duration_ms integer, timeout_seconds integer not null, stdout_bytes integer not null,"
            " stderr_bytes integer not null, truncated integer not null, network integer not null, agent text not null,"
            ' model text not null, session text not null, "commit" text not null, delivered text not null,'
            " input_tokens integer not null, output_tokens integer not null, cost_usd real not null, answer text not null,"
            " parsed integer not null default 0) strict"
        ),
        "create index commands_by_project on commands (project, id)",
        "create index commands_by_state on commands (state)",
        (
            "create table events (seq integer primary key, at text not null, kind text not null, subject text not null,"
            " actor text not null, data text not null, hash text not null) strict"
        ),
        "create index events_by_subject on events (subject, seq)",
        # outside the table of lines, so that a cut tail is seen
        "create table journal_head (one integer primary key check (one = 1), seq integer not null, hash text not null) strict",
        f"insert into journal_head values (1, 0, '{'0' * 64}')",  # noqa: S608 -- our own text
        (
            "create table leases (name text primary key, owner text not null, attempt integer not null, until real not null,"
            " holder text not null) strict"
        ),
        (
            "create table operations (id text primary key, kind text not null, subject text not null, state text not null,"
            " spec text not null, actor text not null, created_at text not null) strict"
        ),
        (
            "create table steps (operation text not null references operations (id) on delete cascade, position integer not null,"
            " name text not null, state text not null, primary key (operation, position)) strict"
        ),
        "create table idempotency (key text primary key, fingerprint text not null, answer text not null, until real not null) strict",
    ):
        db.execute(statement)


@steps()
def m002_credentials(db: Database) -> None:
    """Names of credentials and where their values are, so that a list opens no vault."""
    db.execute("create table credentials (name text primary key, place text not null, updated_at text not null) strict")


@steps()
def m003_anchor(db: Database) -> None:
    """Where the journal's chain begins: the last line that was pruned, by its seq and hash."""
    db.execute("create table journal_anchor (one integer primary key check (one = 1), seq integer not null, hash text not null) strict")
    db.execute(f"insert into journal_anchor values (1, 0, '{'0' * 64}')")  # noqa: S608 -- our own text


@steps()
def m004_agents(db: Database) -> None:
    """Which agent and model a project is worked on with."""
    db.execute("alter table projects add column agent text not null default ''")
    db.execute("alter table projects add column model text not null default ''")


@steps()
def m005_orphans(db: Database) -> None:
    """Which projects have gone, whoever removed their record, and since when things of theirs are seen without one."""
    db.execute("create table departed (id text primary key) strict")
    db.execute("create trigger project_departs after delete on projects begin insert or ignore into departed values (old.id); end")
    db.execute(
        "create table orphans (place text not null, uid text not null, there text not null, here text not null,"
        " primary key (place, uid)) strict"
    )


@steps()
def m006_causes(db: Database) -> None:
    """What befell a command's pod."""
    db.execute("alter table commands add column cause text not null default ''")


@steps()
def m007_access(db: Database) -> None:
    """Keys by the hash of their secret, and whose history a line of the journal belongs to."""
    db.execute(
        "create table keys (id text primary key, name text not null, prefix text not null unique, hash text not null, scopes text not null,"
        " projects text not null, cidrs text not null, created_at text not null, created_by text not null, expires_at text,"
        " last_used_at text, revoked_at text) strict"
    )
    db.execute("alter table events add column project text not null default ''")
    db.execute("update events set project = subject where kind like 'project.%'")
    db.execute("update events set project = json_extract(data, '$.project') where json_type(data, '$.project') = 'text'")
    db.execute("update events set project = (select project from commands where id = subject) where subject in (select id from commands)")
    db.execute("create index events_by_project on events (project, seq)")


@steps()
def m008_webhooks(db: Database) -> None:
    """Webhooks without their secrets, and what is or was to be sent to them."""
    db.execute(
        "create table webhooks (id text primary key, url text not null, events text not null, projects text not null, state text not null,"
        " reason text not null, created_at text not null, created_by text not null, place text not null, old_secret_until text,"
        " failures integer not null, failing_since text, blocked_until text) strict"
    )
    db.execute(
        "create table deliveries (id text primary key, webhook text not null references webhooks (id) on delete cascade, kind text not null,"
        " seq integer not null, state text not null, created_at text not null, queued_at text not null, due_at text,"
        " tries integer not null, attempts text not null, body text not null) strict"
    )
    db.execute("create index deliveries_due on deliveries (webhook, state, due_at)")


@steps()
def m009_jobs(db: Database) -> None:
    """What was asked for by somebody who does not wait; and requests under a key, with the seed of the ids that they mint."""
    db.execute(
        "create table jobs (id text primary key, operation text not null, project text not null, state text not null, actor text not null,"
        ' created_at text not null, ended_at text, answer text, error text, request text not null, "grant" text not null) strict'
    )
    db.execute("create index jobs_by_state on jobs (state)")
    db.execute("drop table idempotency")  # nothing was ever written there
    db.execute(
        "create table idempotency (id text primary key, fingerprint text not null, seed text not null, state text not null,"
        " answer text not null, until real not null) strict"
    )


@steps()
def m010_sessions(db: Database) -> None:
    """Sessions with their previews and workers, checkouts and what is owed for them, receipts; and which session a command ran in."""
    db.execute("alter table commands add column session_id text not null default ''")
    db.execute("create index commands_by_session on commands (session_id, id) where session_id <> ''")
    db.execute(
        "create table sessions (id text primary key, project text not null, project_id text not null references projects (id) on delete"
        " cascade, purpose text not null, state text not null, pod text not null, worker text not null, branch text not null,"
        " base text not null, agent text not null, network integer not null, actor text not null, created_at text not null,"
        " active_at text not null, idle_seconds integer not null, ttl_seconds integer not null, warned_at text, ended_at text,"
        " reason text not null, rescue text not null) strict"
    )
    db.execute("create index sessions_by_state on sessions (state)")
    db.execute(
        "create table previews (id text primary key, project text not null, session text not null references sessions (id) on delete cascade,"
        " port integer not null, url text not null, state text not null, actor text not null, created_at text not null, closed_at text) strict"
    )
    db.execute("create index previews_by_session on previews (session)")
    db.execute(
        "create table checkouts (id text primary key, project text not null, project_id text not null, branch text not null,"
        " target text not null, base text not null, state text not null, url text not null, account text not null, actor text not null,"
        " created_at text not null, expires_at text not null, ended_at text, place text not null) strict"
    )
    db.execute(
        "create table debts (id text primary key, project text not null, kind text not null, subject text not null, reason text not null,"
        " created_at text not null, due_at text not null, tries integer not null, next_at text not null, trouble text not null) strict"
    )
    db.execute("create index debts_of on debts (reason)")
    db.execute(
        "create table receipts (id text primary key, project text not null, project_id text not null references projects (id)"
        " on delete cascade, session text not null, checkout text not null,"
        ' branch text not null, target text not null, base text not null, "commit" text not null, tree text not null,'
        " diff_sha256 text not null, image text not null, verdict text not null, checks text not null, findings text not null,"
        " agent text not null, model text not null, input_tokens integer not null, output_tokens integer not null, actor text not null,"
        " created_at text not null, signer text not null, signature text not null) strict"
    )
    db.execute('create index receipts_by_commit on receipts (project_id, "commit")')
    db.execute(
        "create table signers (id text primary key, project text not null, project_id text not null references projects (id)"
        " on delete cascade, public_key text not null, place text not null, created_at text not null) strict"
    )
    db.execute(
        "create table workers (id text primary key, pod text not null, project text not null, session text not null, state text not null,"
        " image text not null, leases integer not null, created_at text not null, changed_at text not null, evidence text not null) strict"
    )
    for table in ("sessions", "workers"):
        then = "insert or ignore into departed values (old.id)"
        db.execute(f"create trigger {table}_depart after delete on {table} begin {then}; end")


def bring_up(connection: sqlite3.Connection, path: Path, *, version: int, latest: int) -> None:
    """Apply what is missing, all of it or nothing; the caller holds no transaction.

    A state with something in it is copied first by VACUUM INTO, beside it. Two processes may come here at once: the second waits, and finds
    nothing left to do.
    """
    if version:
        _back_up(connection, path.with_name(f"{path.name}.before-{latest}"))
    # the outer lock: without it most of several first starts at once fail
    connection.execute("begin immediate")
    try:
        if connection.execute("pragma user_version").fetchone()[0] < latest:
            steps.apply(Database(connection, execute_plugins=False))
            connection.execute(f"pragma user_version = {latest:d}")
    except BaseException:
        connection.execute("rollback")
        raise
    connection.execute("commit")


def _back_up(connection: sqlite3.Connection, backup: Path) -> None:
    """Copy a whole state once, 0600; a copy that was cut off never stands under the name of a whole one."""
    if backup.exists():
        return
    part = backup.with_name(f"{backup.name}.{os.getpid()}.part")
    part.unlink(missing_ok=True)
    os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))  # VACUUM INTO takes an empty file, with its mode
    try:
        connection.execute("vacuum into ?", [str(part)])
        os.replace(part, backup)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
