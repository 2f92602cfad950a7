"""The state looks at itself: library, integrity, and the hash chain of the journal with its head."""

import os
import sqlite3
from collections.abc import Sequence
from typing import Any

from rdev_cli.adapters.sqlite.database import Database, wal_is_safe
from rdev_cli.adapters.sqlite.records import event as event_of
from rdev_cli.domain.chain import GENESIS, link
from rdev_cli.domain.report import Check, Verdict


def look(database: Database) -> list[Check]:
    """Return what was found; whatever somebody else wrote into the file is a finding, too."""
    with database.reading() as connection:
        mode = connection.execute("pragma journal_mode").fetchone()[0]
        source = connection.execute("select sqlite_source_id()").fetchone()[0]
        sound = [row[0] for row in connection.execute("pragma quick_check")]
        keys = connection.execute("pragma foreign_key_check").fetchall()
        connection.execute("begin")  # lines and head as they were at one moment: somebody may be writing
        try:
            head, anchor = (connection.execute(f"select seq, hash from journal_{end}").fetchone() for end in ("head", "anchor"))  # noqa: S608
            lost = " and ".join(end for end, row in (("head", head), ("anchor", anchor)) if not row)
            broken = f"the journal's {lost} is missing" if lost else _first_break(connection, head, anchor)
        finally:
            connection.execute("rollback")
    version = f"SQLite {sqlite3.sqlite_version} ({source[:19]}), journal mode {mode}"
    found = []
    if not os.access(database.path, os.W_OK):
        words = f"{database.path} cannot be written"
        found.append(
            Check(name="state.writable", verdict=Verdict.FAILED, found=words, hint="give the right to write there; lists work as it is")
        )
    return [
        *found,
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
            hint=f"keep a copy of {database.path} and restore a backup",
        ),
        Check(
            name="journal.chain",
            verdict=Verdict.OK,
            found=f"{head[0] - anchor[0]} lines, unbroken{f'; {anchor[0]} before them were pruned' if anchor[0] else ''}",
        )
        if not broken
        else Check(
            name="journal.chain",
            verdict=Verdict.FAILED,
            found=broken,
            hint="somebody changed the journal outside rdev; compare it with a backup",
        ),
    ]


def _first_break(connection: sqlite3.Connection, head: Sequence[Any], anchor: Sequence[Any]) -> str:
    """Return where the chain breaks, empty if it holds from the anchor to the head."""
    expected, previous, told = anchor[0] + 1, anchor[1], anchor[0] == 0 and anchor[1] == GENESIS
    for row in connection.execute("select * from events order by seq"):
        try:
            event = event_of(row)
        except ValueError:
            return f"line {row[0]} cannot be read"
        if event.seq != expected:
            return f"line {expected} is missing"
        if event.hash != link(
            previous, seq=event.seq, at=event.at, kind=event.kind, subject=event.subject, actor=event.actor, data=event.data
        ):
            return f"line {event.seq} was changed"
        previous, expected = event.hash, expected + 1
        told |= event.kind == "journal.pruned" and (event.data["through"], event.data["hash"]) == tuple(anchor)
    if (expected - 1, previous) != tuple(head):
        return f"the journal ends at line {expected - 1}, but line {head[0]} was written"
    return "" if told else f"the lines up to {anchor[0]} were removed, and no line says who pruned them"
