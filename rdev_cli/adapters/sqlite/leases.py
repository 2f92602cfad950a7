"""Leases in the database: random owners, attempt numbers, and an end by the database's own clock."""

from __future__ import annotations

import json
import os
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from rdev_cli.domain.errors import Conflict

if TYPE_CHECKING:
    import sqlite3

    from rdev_cli.domain.lease import Lease

_NOW = "(julianday('now') - 2440587.5) * 86400.0"  # Unix seconds with fractions; unixepoch('subsec') needs SQLite 3.42


def _start(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""


@cache
def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


@cache
def _place() -> str:
    """Say where a process number means anything: on this machine, in this process namespace (containers have their own)."""
    try:
        return f"{os.uname().nodename} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def holder() -> str:
    """Describe this process so that another on the same machine can tell whether it still lives."""
    pid = os.getpid()
    return json.dumps({"pid": pid, "start": _start(pid), "boot": _boot(), "place": _place()})


def _gone(described: str) -> bool:
    """Say whether a holder is provably dead: a process of this place that is not there any more."""
    try:
        one = json.loads(described)
    except ValueError:
        return False
    if not isinstance(one, dict) or not one.get("boot") or not one.get("start") or not _place() or one.get("place") != _place():
        return False
    return bool(one["boot"] != _boot()) or _start(int(one["pid"])) != one["start"]


class Leases:
    """The part of a transaction that claims names.

    A lease is not a lock: whoever was too slow may still run, so every write checks owner and attempt.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def now(self) -> float:
        """Return the database's time in Unix seconds."""
        return float(self._connection.execute(f"select {_NOW}").fetchone()[0])

    def take(self, name: str, *, owner: str, seconds: float) -> Lease:
        row = self._connection.execute("select owner, attempt, until, holder from leases where name = ?", [name]).fetchone()
        if row and row[0] not in ("", owner) and row[2] > self.now() and not _gone(row[3]):
            one = json.loads(row[3])
            raise Conflict(
                f"{name.replace(':', ' ')} is in the hands of {row[0] if row[0].startswith('cmd_') else 'process ' + str(one.get('pid', '?'))}",
                hint="wait for it, or give more time with --timeout",
                code="BUSY",
                lease=name,
                owner=row[0],
            )
        attempt = (row[1] if row else 0) + 1
        self._connection.execute(
            f"insert into leases values (?, ?, ?, {_NOW} + ?, ?) on conflict (name) do update set"  # noqa: S608
            " owner = excluded.owner, attempt = excluded.attempt, until = excluded.until, holder = excluded.holder",
            [name, owner, attempt, seconds, "{}" if owner.startswith("cmd_") else holder()],
        )
        from rdev_cli.domain.lease import Lease  # noqa: PLC0415 -- only who takes one needs it

        return Lease(name=name, owner=owner, attempt=attempt)

    def hold(self, lease: Lease, seconds: float) -> None:
        changed = self._connection.execute(
            f"update leases set until = {_NOW} + ? where name = ? and owner = ? and attempt = ?",  # noqa: S608
            [seconds, lease.name, lease.owner, lease.attempt],
        ).rowcount
        if changed != 1:
            raise Conflict(
                f"{lease.name.replace(':', ' ')} was taken over by another process",
                hint="type the command again: it goes on from where the other stands",
                code="LEASE_LOST",
                lease=lease.name,
            )

    def release(self, name: str, owner: str) -> None:
        # the row stays, so that attempts never decrease
        self._connection.execute("update leases set owner = '', until = 0 where name = ? and owner = ?", [name, owner])

    def forget(self, name: str) -> None:
        self._connection.execute("delete from leases where name = ?", [name])
