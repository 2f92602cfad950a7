"""Checkouts and branches, for a person."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rdev_cli.domain.checkout import Checkout, CheckoutState
from rdev_cli.domain.values import spoken
from rdev_cli.faces.cli.tables import ago

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Pairs = list[tuple[str, str]]


def _state(value: Checkout) -> str:
    return value.state.value.replace("_", " ")


def _until(value: Checkout) -> str:
    if value.state is not CheckoutState.ACTIVE:
        return "-"
    left = max(0.0, (value.expires_at - datetime.now(UTC)).total_seconds())
    return f"{value.expires_at.astimezone().strftime('%Y-%m-%d %H:%M')}, in {spoken(left)}"


def _checkout(value: Checkout) -> Pairs:
    ended = value.ended_at
    return [
        ("id", value.id), ("project", value.project), ("state", _state(value)), ("folder", getattr(value, "folder", "")),
        ("branch", value.branch), ("goes back to", value.target), ("base", value.base[:10]), ("repository", value.url),
        ("account", value.account), ("credential", f"kept in the {value.place}" if value.place else ""),
        ("counts until", _until(value) if ended is None else ""), ("started", f"{ago(value.created_at)} by {value.actor}"),
        ("ended", ago(ended) if ended else ""),
    ]  # fmt: skip


CARDS: Mapping[str, Callable[[Any], Pairs]] = {"Checkout": _checkout, "CheckoutFolder": _checkout, "CheckoutStarted": _checkout}
COLUMNS: Mapping[str, Sequence[tuple[str, bool, Callable[[Any], str]]]] = {
    "Checkout": (
        ("ID", False, lambda c: c.id),
        ("PROJECT", False, lambda c: c.project),
        ("STATE", False, _state),
        ("TARGET", False, lambda c: c.target),
        ("COUNTS UNTIL", False, _until),
        ("STARTED", True, lambda c: ago(c.created_at)),
        ("BY", True, lambda c: c.actor),
        ("ACCOUNT", True, lambda c: c.account or "-"),
    ),
    "Branch": (
        ("NAME", False, lambda b: b.name),
        ("COMMIT", False, lambda b: b.sha),
    ),
}
