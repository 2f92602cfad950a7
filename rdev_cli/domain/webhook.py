"""Webhooks: who is told of which lines of the journal, what was sent, and when it is tried again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from difflib import get_close_matches
from enum import StrEnum
from typing import Any

from rdev_cli.domain.codec import to_json
from rdev_cli.domain.errors import Invalid
from rdev_cli.domain.values import shown

TEST = "webhook.test"  # the kind of a message that was asked for by hand; no line of the journal has it
# seconds before each try, after the specification: standardwebhooks.com, "Deliverability and reliability"
WAITS = (0.0, 5.0, 300.0, 1800.0, 7200.0, 18000.0, 36000.0, 50400.0, 72000.0, 86400.0)
JITTER = 0.2  # a wait is that much longer or shorter, so that what failed together is not tried together
OVERLAP = timedelta(hours=24)  # for which both secrets sign after a rotation
KEPT = timedelta(days=7)  # for which a delivery that is over is kept
SUSPECT = 5  # failures in a row after which an endpoint is left alone for a while
ATTEMPTS_KEPT = 20
ANSWER_KEPT = 1024  # characters of an answer


class WebhookState(StrEnum):
    """Whether an endpoint is sent to."""

    ENABLED = "enabled"
    DISABLED = "disabled"


class DeliveryState(StrEnum):
    """How far a message has come."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """An endpoint that is told what happens."""

    id: str
    url: str
    events: tuple[str, ...]  # kinds of the journal, or all of a noun: command.*
    projects: tuple[str, ...] = ()  # only what is about these; empty: everything
    state: WebhookState = WebhookState.ENABLED
    reason: str = ""  # why it is disabled
    created_at: datetime
    created_by: str
    place: str  # of its secret: keyring, file or passphrase
    old_secret_until: datetime | None = None  # until then the secret before this one signs too
    failures: int = 0  # in a row
    failing_since: datetime | None = None
    blocked_until: datetime | None = None  # nothing is sent before

    def wants(self, kind: str, project: str) -> bool:
        """Say whether a line of the journal is sent to it."""
        if self.state is not WebhookState.ENABLED or (self.projects and project not in self.projects):
            return False
        return kind in self.events or f"{kind.partition('.')[0]}.*" in self.events


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookSecret(Webhook):
    """A webhook with its secret, which is shown this once."""

    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One try to deliver."""

    at: datetime
    status: int | None  # None: nothing came back
    duration_ms: int
    error: str  # why it counts as failed, empty if it does not
    answer: str  # the first 1024 characters of what came back


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One message to one endpoint; its id is the message's, the same on every try."""

    id: str
    webhook: str
    kind: str
    seq: int  # of the line of the journal, 0 for a test
    state: DeliveryState = DeliveryState.PENDING
    created_at: datetime
    queued_at: datetime  # when its tries began, anew at a replay
    due_at: datetime | None = None  # of the next try
    tries: int = 0  # since then
    attempts: tuple[Attempt, ...] = ()  # the newest 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of one try, as whoever sent it saw it."""

    status: int | None
    duration_ms: int
    error: str = ""
    answer: str = ""
    retry_after: float | None = None  # seconds that the endpoint asks for


def pattern(text: str, kinds: Sequence[str]) -> str:
    """Return text if it is a kind of event, or a noun with `.*`, else raise Invalid that names the near ones."""
    nouns = sorted({kind.partition(".")[0] + ".*" for kind in kinds})
    if text in kinds or text in nouns:
        return text
    near = get_close_matches(text, [*kinds, *nouns], 3)
    alike = [kind for kind in kinds if kind.partition(".")[0] == text.partition(".")[0]]
    raise Invalid(
        f"there is no event '{shown(text)}'",
        hint=f"did you mean {', '.join(near or alike[:6])}?" if near or alike else f"all of a noun: {', '.join(nouns)}",
        field="event",
    )


def body(kind: str, at: datetime, data: Mapping[str, Any]) -> str:
    """Return the message: what is signed, and sent the same on every try."""
    return to_json({"type": kind, "timestamp": at, "data": data})


def judged(
    webhook: Webhook, delivery: Delivery, outcome: Outcome, *, now: datetime, first: float, chance: float
) -> tuple[Webhook, Delivery]:
    """Return endpoint and delivery after a try that ended now.

    `first` is the first wait in seconds, to which all others are in proportion; `chance`, from 0 to 1, places the next try in its jitter.
    """
    scale = first / WAITS[1]
    attempt = Attempt(at=now, status=outcome.status, duration_ms=outcome.duration_ms, error=outcome.error, answer=outcome.answer)
    tries = delivery.tries + 1
    delivery = replace(delivery, tries=tries, attempts=(*delivery.attempts, attempt)[-ATTEMPTS_KEPT:], due_at=None)
    if not outcome.error:
        healthy = replace(webhook, failures=0, failing_since=None, blocked_until=None)
        return healthy, replace(delivery, state=DeliveryState.DELIVERED)
    failures, since = webhook.failures + 1, webhook.failing_since or now
    webhook = replace(webhook, failures=failures, failing_since=since)
    asked = min(outcome.retry_after or 0.0, WAITS[-1] * scale)
    rest = max(asked, min(6 * first * 2.0 ** min(failures - SUSPECT, 10), WAITS[3] * scale) if failures >= SUSPECT else 0.0)
    if rest:
        webhook = replace(webhook, blocked_until=now + timedelta(seconds=rest))
    if outcome.status == 410:
        return _disabled(webhook, "it answered 410: gone"), replace(delivery, state=DeliveryState.FAILED)
    # an endpoint that rests lets its queue wait, so that the number of tries alone would never end
    if tries >= len(WAITS) or (now - delivery.queued_at).total_seconds() > sum(WAITS) * (1 + JITTER) * scale:
        if since <= delivery.attempts[-tries].at:
            webhook = _disabled(webhook, "everything that was sent to it failed, from the first try of a message to its last")
        return webhook, replace(delivery, state=DeliveryState.FAILED)
    wait = max(asked, WAITS[tries] * scale * (1 + JITTER * (2 * chance - 1)))
    return webhook, replace(delivery, due_at=now + timedelta(seconds=wait))


def _disabled(webhook: Webhook, reason: str) -> Webhook:
    return replace(webhook, state=WebhookState.DISABLED, reason=reason)
