"""Rows of webhooks and of what is sent to them; the rows to send are written with the line of the journal that they are about."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

from rdev_cli.domain.codec import moment, plain, stamp
from rdev_cli.domain.errors import NotFound
from rdev_cli.domain.values import new_id
from rdev_cli.domain.webhook import Attempt, Delivery, DeliveryState, Webhook, WebhookState, body

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from rdev_cli.domain.access import Grant

_WEBHOOK = [field.name for field in fields(Webhook)]
_DELIVERY = [field.name for field in fields(Delivery)]
_HOOKS = ", ".join(_WEBHOOK)
_SENT = ", ".join(_DELIVERY)


def _time(text: str | None) -> datetime | None:
    return moment(text) if text else None


def _webhook(row: Sequence[Any]) -> Webhook:
    cells = dict(zip(_WEBHOOK, row, strict=True))
    cells.update({name: tuple(json.loads(cells[name])) for name in ("events", "projects")})
    cells.update({name: _time(cells[name]) for name in ("created_at", "old_secret_until", "failing_since", "blocked_until")})
    return Webhook(**{**cells, "state": WebhookState(cells["state"])})


def _delivery(row: Sequence[Any]) -> Delivery:
    cells = dict(zip(_DELIVERY, row, strict=True))
    cells.update({name: _time(cells[name]) for name in ("created_at", "queued_at", "due_at")})
    cells["attempts"] = tuple(Attempt(**{**one, "at": moment(one["at"])}) for one in json.loads(cells["attempts"]))
    return Delivery(**{**cells, "state": DeliveryState(cells["state"])})


def _cell(value: Any) -> Any:
    found = plain([asdict(one) if isinstance(one, Attempt) else one for one in value] if isinstance(value, tuple) else value)
    return json.dumps(found) if isinstance(found, list) else found


def _seen(webhook: Webhook, grant: Grant) -> bool:
    """Say whether a caller may know of it: whoever is held to some projects sees what is about those alone."""
    return grant.projects is None or (bool(webhook.projects) and all(grant.sees(project) for project in webhook.projects))


def webhooks(connection: sqlite3.Connection, grant: Grant) -> Sequence[Webhook]:
    """Return the webhooks that a caller sees, oldest first."""
    found = [_webhook(row) for row in connection.execute(f"select {_HOOKS} from webhooks order by id")]  # noqa: S608 -- our own names
    return [webhook for webhook in found if _seen(webhook, grant)]


def find_webhooks(connection: sqlite3.Connection, grant: Grant, beginning: str) -> Sequence[Webhook]:
    """Return those of them whose id begins so."""
    return [webhook for webhook in webhooks(connection, grant) if webhook.id.startswith(beginning)]


def put_webhook(connection: sqlite3.Connection, grant: Grant, webhook: Webhook) -> None:
    """Insert or replace a webhook; NotFound where the caller would not see it."""
    if not _seen(webhook, grant):
        raise NotFound(f"there is no project {', '.join(webhook.projects)}", hint="rdev project list shows the ones there are")
    if grant.projects is not None and connection.execute("select 1 from webhooks where id = ?", [webhook.id]).fetchone():
        must_find(connection, grant, webhook.id)
    marks = ", ".join("?" * len(_WEBHOOK))
    changes = ", ".join(f"{name} = excluded.{name}" for name in _WEBHOOK if name != "id")
    connection.execute(
        f"insert into webhooks ({_HOOKS}) values ({marks}) on conflict (id) do update set {changes}",  # noqa: S608 -- our own names
        [_cell(getattr(webhook, name)) for name in _WEBHOOK],
    )


def must_find(connection: sqlite3.Connection, grant: Grant, id: str) -> None:
    """Check that a webhook is there and that the caller sees it; NotFound otherwise."""
    if not any(one.id == id for one in find_webhooks(connection, grant, id)):
        raise NotFound(f"there is no webhook {id}", hint="rdev webhook list shows the ones there are", webhook=id)


def deliveries(connection: sqlite3.Connection, grant: Grant, webhook: str, before: str, limit: int) -> Sequence[Delivery]:
    """Return what is or was sent to one of them, or to all, newest first."""
    seen = [one.id for one in webhooks(connection, grant) if webhook in ("", one.id)]
    rows = connection.execute(
        f"select {_SENT} from deliveries where webhook in ({', '.join('?' * len(seen))}) and (? = '' or id < ?) order by id desc limit ?",  # noqa: S608
        [*seen, before, before, limit],
    )
    return [_delivery(row) for row in rows]


def find_deliveries(connection: sqlite3.Connection, grant: Grant, beginning: str) -> Sequence[Delivery]:
    """Return those of them whose id begins so."""
    seen = {one.id for one in webhooks(connection, grant)}
    rows = connection.execute(f"select {_SENT} from deliveries where id >= ? and id < ? order by id", [beginning, beginning + "\x7f"])  # noqa: S608
    return [delivery for row in rows if (delivery := _delivery(row)).webhook in seen]


def must_own_delivery(connection: sqlite3.Connection, grant: Grant, delivery: Delivery) -> None:
    """Check that a delivery goes to a webhook that the caller sees, and so does the one with its id, if there is one; NotFound otherwise."""
    if grant.projects is not None:
        for id in (delivery.webhook, *(id for (id,) in connection.execute("select webhook from deliveries where id = ?", [delivery.id]))):
            must_find(connection, grant, id)


def put_delivery(connection: sqlite3.Connection, delivery: Delivery, text: str | None) -> None:
    """Insert a delivery with its body, or change the one that is there."""
    cells = [_cell(getattr(delivery, name)) for name in _DELIVERY]
    if text is not None:
        connection.execute(f"insert into deliveries ({_SENT}, body) values ({', '.join('?' * (len(cells) + 1))})", [*cells, text])  # noqa: S608
        return
    changes = ", ".join(f"{name} = ?" for name in _DELIVERY)
    connection.execute(f"update deliveries set {changes} where id = ?", [*cells, delivery.id])  # noqa: S608 -- our own names


def body_of(connection: sqlite3.Connection, grant: Grant, delivery: str) -> str:
    """Return what a delivery sends; NotFound if the caller sees no such delivery."""
    if any(one.id == delivery for one in find_deliveries(connection, grant, delivery)):
        return str(connection.execute("select body from deliveries where id = ?", [delivery]).fetchone()[0])
    raise NotFound(f"there is no delivery {delivery}", hint="rdev webhook deliveries shows the ones there are", delivery=delivery)


def due(connection: sqlite3.Connection, webhook: str, now: datetime, most: int) -> Sequence[tuple[Delivery, str]]:
    """Return what is to be sent to a webhook now, with the bodies, the longest due first."""
    rows = connection.execute(
        f"select {_SENT}, body from deliveries where webhook = ? and state = 'pending' and due_at <= ? order by due_at, id limit ?",  # noqa: S608
        [webhook, stamp(now), most],
    )
    return [(_delivery(row[:-1]), row[-1]) for row in rows]


def queue(
    connection: sqlite3.Connection, *, seq: int, at: datetime, kind: str, subject: str, data: Mapping[str, Any], project: str
) -> None:
    """Write a row to send for each webhook that wants this line of the journal."""
    text = ""
    for row in connection.execute(f"select {_HOOKS} from webhooks where state = 'enabled'").fetchall():  # noqa: S608
        webhook = _webhook(row)
        if webhook.wants(kind, project):
            text = text or body(kind, at, {**data, "subject": subject, "seq": seq})
            id_ = new_id("dlv", at, int.from_bytes(os.urandom(8), "big"))
            put_delivery(connection, Delivery(id=id_, webhook=webhook.id, kind=kind, seq=seq, created_at=at, queued_at=at, due_at=at), text)
