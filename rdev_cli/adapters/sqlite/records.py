"""Rows and the domain values that they hold; each kind of value is loaded when its table is first touched."""

from __future__ import annotations

import json
from dataclasses import is_dataclass
from datetime import datetime
from enum import Enum
from functools import cache
from typing import TYPE_CHECKING, Any

from rdev_cli.domain.codec import moment, plain, stamp

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Mapping, Sequence

    from rdev_cli.domain.event import Event


# the kinds of records that are kept alike: each has an id and a project, and a table of its own
KEPT = {
    "Session": "sessions", "Preview": "previews", "Checkout": "checkouts", "Debt": "debts", "Receipt": "receipts", "Worker": "workers",
    "Signer": "signers",
}  # fmt: skip


@cache
def _shape(table: str) -> tuple[type[Any], Sequence[str], Mapping[str, Callable[[Any], Any]]]:
    """Return (class, columns, casts from a cell) of a table. The imports are here because a short command needs one of them."""
    from dataclasses import fields  # noqa: PLC0415

    cls: type[Any]
    casts: dict[str, Callable[[Any], Any]]
    if table == "projects":
        from rdev_cli.domain.project import Project, ProjectState  # noqa: PLC0415

        cls, casts = Project, {"network": bool, "state": ProjectState, "created_at": moment, "updated_at": moment}
    elif table == "keys":
        from rdev_cli.domain.access import Key, Scope  # noqa: PLC0415

        cls = Key
        casts = {
            "scopes": lambda text: tuple(Scope(one) for one in _words(text)), "projects": _words, "cidrs": _words,
            "created_at": moment, "expires_at": _perhaps, "last_used_at": _perhaps, "revoked_at": _perhaps,
        }  # fmt: skip
    elif table in KEPT.values():
        cls, casts = _kept(table)
    else:
        from rdev_cli.domain.command import Command, CommandKind, CommandState  # noqa: PLC0415

        cls = Command
        casts = {
            "kind": CommandKind, "argv": _words, "state": CommandState, "created_at": moment,
            "ended_at": _perhaps, "truncated": bool, "network": bool,
        }  # fmt: skip
    return cls, [field.name for field in fields(cls)], casts


def _kept(table: str) -> tuple[type[Any], dict[str, Callable[[Any], Any]]]:
    if table == "sessions":
        from rdev_cli.domain.session import Purpose, Session, SessionState  # noqa: PLC0415

        return Session, {
            "purpose": Purpose, "state": SessionState, "network": bool, "created_at": moment, "active_at": moment, "warned_at": _perhaps,
            "ended_at": _perhaps,
        }  # fmt: skip
    if table == "previews":
        from rdev_cli.domain.preview import Preview, PreviewState  # noqa: PLC0415

        return Preview, {"state": PreviewState, "created_at": moment, "closed_at": _perhaps}
    if table == "checkouts":
        from rdev_cli.domain.checkout import Checkout, CheckoutState  # noqa: PLC0415

        return Checkout, {"state": CheckoutState, "created_at": moment, "expires_at": moment, "ended_at": _perhaps}
    if table == "debts":
        from rdev_cli.domain.checkout import Debt  # noqa: PLC0415

        return Debt, {"created_at": moment, "due_at": moment, "next_at": moment}
    if table == "workers":
        from rdev_cli.domain.worker import Worker, WorkerState  # noqa: PLC0415

        return Worker, {"state": WorkerState, "created_at": moment, "changed_at": moment}
    from rdev_cli.domain.review import CheckRun, Finding, Receipt, Severity, Signer, Verdict  # noqa: PLC0415

    if table == "signers":
        return Signer, {"created_at": moment}
    return Receipt, {
        "verdict": Verdict, "created_at": moment, "checks": lambda text: tuple(CheckRun(**one) for one in json.loads(text)),
        "findings": lambda text: tuple(Finding(**{**one, "severity": Severity(one["severity"])}) for one in json.loads(text)),
    }  # fmt: skip


def _words(text: str) -> tuple[str, ...]:
    return tuple(json.loads(text))


def _perhaps(text: str | None) -> datetime | None:
    return moment(text) if text else None


def columns(table: str) -> str:
    """Return a table's columns for a select, in the order that `load` takes."""
    return ", ".join(f'"{name}"' for name in _shape(table)[1])


def load(table: str, row: Sequence[Any]) -> Any:
    """Return the value that a row holds."""
    cls, names, casts = _shape(table)
    return cls(**{name: casts[name](cell) if name in casts else cell for name, cell in zip(names, row, strict=True)})


def put(connection: sqlite3.Connection, table: str, value: Any) -> None:
    """Insert a value, or replace the one with its id."""
    names = _shape(table)[1]
    marks = ", ".join("?" * len(names))
    changes = ", ".join(f'"{name}" = excluded."{name}"' for name in names if name != "id")
    connection.execute(
        f"insert into {table} ({columns(table)}) values ({marks}) on conflict (id) do update set {changes}",  # noqa: S608 -- our own names
        [_cell(getattr(value, name)) for name in names],
    )


def event(row: Sequence[Any]) -> Event:
    """Return the line of the journal that a row holds."""
    from rdev_cli.domain.event import Event  # noqa: PLC0415

    seq, at, kind, subject, actor, data, line, project = row
    return Event(seq=seq, at=moment(at), kind=kind, subject=subject, actor=actor, data=json.loads(data), hash=line, project=project)


def _cell(value: Any) -> Any:
    if isinstance(value, datetime):
        return stamp(value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, tuple):
        if value and is_dataclass(value[0]):
            return json.dumps([plain(one) for one in value])
        return json.dumps(value)  # ASCII, so that bytes smuggled as surrogates survive
    if isinstance(value, str) and not value.isascii():
        return value.encode("utf-8", "replace").decode()  # an agent may say half a surrogate pair, which no column holds
    return value
