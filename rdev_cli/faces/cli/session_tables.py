"""Sessions, for a person."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rdev_cli.domain.session import Session, SessionState
from rdev_cli.domain.values import spoken
from rdev_cli.faces.cli.tables import ago

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Pairs = list[tuple[str, str]]


def _ends(value: Session) -> str:
    if value.state is not SessionState.READY:
        return "-"
    left = (value.ends_at - datetime.now(UTC)).total_seconds()
    return f"in {spoken(left)}" if left > 0 else "any moment"


def _why(value: Session) -> str:
    words = {
        "ended": "", "idle": "nothing was done in it any more", "expired": "its time was over", "checked_in": "its work was checked in",
        "deleted": "its project was deleted", "failed": "it could not be started", "revoked": "the key of whoever started it was revoked",
    }  # fmt: skip
    return words.get(value.reason, value.reason)


def _session(value: Session) -> Pairs:
    return [
        ("id", value.id), ("project", value.project), ("state", value.state.value), ("for", "" if value.purpose == "work" else value.purpose.value),
        ("branch", value.branch), ("begun at", value.base[:10]), ("pod", value.pod + (f" (warm: {value.worker})" if value.worker else "")),
        ("agent", value.agent), ("network", "yes" if value.network else "no"), ("started", f"{ago(value.created_at)} by {value.actor}"),
        ("last used", ago(value.active_at) if value.state is SessionState.READY else ""),
        ("ends", f"{_ends(value)}: {spoken(value.idle_seconds)} after its last use, {spoken(value.ttl_seconds)} after its start at the latest"
         if value.state is SessionState.READY else ""),
        ("ended", ago(value.ended_at) if value.ended_at else ""), ("because", _why(value)),
        ("kept on", value.rescue),
    ]  # fmt: skip


CARDS: Mapping[str, Callable[[Any], Pairs]] = {"Session": _session}
COLUMNS: Mapping[str, Sequence[tuple[str, bool, Callable[[Any], str]]]] = {
    "Session": (
        ("ID", False, lambda s: s.id),
        ("PROJECT", False, lambda s: s.project),
        ("STATE", False, lambda s: s.state.value + (f" ({s.reason})" if s.reason and s.state is SessionState.ENDED else "")),
        ("STARTED", False, lambda s: ago(s.created_at)),
        ("ENDS", False, _ends),
        ("BY", True, lambda s: s.actor),
        ("POD", True, lambda s: s.pod),
        ("BRANCH", False, lambda s: s.branch),
        ("KEPT ON", True, lambda s: s.rescue),
    )
}
