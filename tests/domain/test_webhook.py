"""Webhooks: which lines are wanted, and when a message is tried again. T-WH-4."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from rdev_cli.domain.errors import Invalid
from rdev_cli.domain.webhook import (
    ATTEMPTS_KEPT,
    SUSPECT,
    WAITS,
    Delivery,
    DeliveryState,
    Outcome,
    Webhook,
    WebhookState,
    judged,
    pattern,
)

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
HOOK = Webhook(
    id="whk_1", url="https://a.example.com/", events=("command.*", "project.deleted"), created_at=AT, created_by="me", place="file"
)
DELIVERY = Delivery(id="dlv_1", webhook="whk_1", kind="command.started", seq=1, created_at=AT, queued_at=AT, due_at=AT)
REFUSED = Outcome(status=500, duration_ms=1, error="it answered 500")
KINDS = ("command.started", "command.completed", "project.deleted")


def after(webhook: Webhook, delivery: Delivery, outcome: Outcome, now: datetime, chance: float = 0.5) -> tuple[Webhook, Delivery]:
    return judged(webhook, delivery, outcome, now=now, first=WAITS[1], chance=chance)


def test_a_webhook_wants_the_kinds_and_the_nouns_that_it_names() -> None:
    assert [HOOK.wants(kind, "") for kind in ("command.started", "project.deleted", "project.created", "commands.x")] == [
        True,
        True,
        False,
        False,
    ]
    assert not replace(HOOK, state=WebhookState.DISABLED).wants("command.started", "")


def test_a_webhook_of_a_project_wants_nothing_of_another_or_of_none() -> None:
    bound = replace(HOOK, projects=("shop",))
    assert [bound.wants("command.started", project) for project in ("shop", "blog", "")] == [True, False, False]


@pytest.mark.parametrize(
    ("text", "near"), [("command.complete", "command.completed"), ("comand.*", "command.*"), ("*", "all of a noun"), ("", "all of a noun")]
)
def test_an_event_that_there_is_not_is_refused_with_the_near_ones(text: str, near: str) -> None:
    with pytest.raises(Invalid) as refused:
        pattern(text, KINDS)
    assert near in refused.value.hint
    assert [pattern(good, KINDS) for good in ("command.*", "command.started")] == ["command.*", "command.started"]


@pytest.mark.parametrize("chance", [0.0, 0.5, 1.0])
def test_t_wh_4_waits_are_those_of_the_specification_a_fifth_longer_or_shorter(chance: float) -> None:
    webhook, delivery, now, waits = HOOK, DELIVERY, AT, []
    while delivery.state is DeliveryState.PENDING:
        webhook, delivery = after(webhook, delivery, REFUSED, now, chance)
        if delivery.due_at is not None:
            waits.append((delivery.due_at - now).total_seconds())
            now = delivery.due_at
    assert waits == pytest.approx([wait * (0.8 + 0.4 * chance) for wait in WAITS[1:]])
    assert (delivery.state, delivery.tries, delivery.due_at) == (DeliveryState.FAILED, 10, None)
    assert webhook.state is WebhookState.DISABLED  # nothing went well from the first try to the last
    assert len(delivery.attempts) == 10


def test_an_endpoint_that_took_something_meanwhile_is_not_disabled_for_a_message_that_it_never_took() -> None:
    webhook, delivery, now = HOOK, DELIVERY, AT
    while delivery.state is DeliveryState.PENDING:
        webhook, _ = after(webhook, DELIVERY, Outcome(status=204, duration_ms=1), now)
        webhook, delivery = after(webhook, delivery, REFUSED, now)
        now = delivery.due_at or now
    assert (delivery.state, webhook.state) == (DeliveryState.FAILED, WebhookState.ENABLED)


def test_t_wh_4_a_410_disables_at_once() -> None:
    webhook, delivery = after(HOOK, DELIVERY, Outcome(status=410, duration_ms=1, error="it answered 410"), AT)
    assert (webhook.state, delivery.state) == (WebhookState.DISABLED, DeliveryState.FAILED)
    assert "410" in webhook.reason


def test_t_wh_4_retry_after_makes_a_wait_longer_never_shorter_and_at_most_a_day() -> None:
    for asked, wait in ((60.0, 60.0), (0.0, 5.0), (10 * 365 * 86400.0, 86400.0)):
        _, delivery = after(HOOK, DELIVERY, replace(REFUSED, status=429, retry_after=asked), AT)
        assert delivery.due_at == AT + timedelta(seconds=wait)


def test_t_wh_4_while_an_endpoint_asks_for_a_rest_it_gets_nothing_else_either() -> None:
    webhook, _ = after(HOOK, DELIVERY, replace(REFUSED, status=503, retry_after=600.0), AT)
    assert webhook.blocked_until == AT + timedelta(seconds=600)


def test_t_wh_9_an_endpoint_that_fails_again_and_again_rests_ever_longer_and_works_again_after_one_success() -> None:
    webhook, rests = HOOK, []
    for _ in range(2000):
        webhook, _ = after(webhook, DELIVERY, REFUSED, AT)
        rests.append((webhook.blocked_until - AT).total_seconds() if webhook.blocked_until else 0)
    assert rests[: SUSPECT + 1] == [0] * (SUSPECT - 1) + [30, 60]
    assert rests == sorted(rests)
    assert rests[-1] == 1800
    webhook, delivery = after(webhook, DELIVERY, Outcome(status=200, duration_ms=1), AT)
    assert (webhook.failures, webhook.failing_since, webhook.blocked_until, delivery.state) == (0, None, None, DeliveryState.DELIVERED)


def test_a_message_that_a_resting_endpoint_kept_waiting_for_days_is_given_up() -> None:
    _, delivery = after(
        HOOK, replace(DELIVERY, tries=2, attempts=(after(HOOK, DELIVERY, REFUSED, AT)[1].attempts * 2)), REFUSED, AT + timedelta(days=5)
    )
    assert delivery.state is DeliveryState.FAILED


def test_of_many_tries_the_newest_are_kept() -> None:
    delivery = DELIVERY
    for number in range(50):
        _, delivery = after(HOOK, replace(delivery, tries=0), replace(REFUSED, duration_ms=number), AT)
    assert [attempt.duration_ms for attempt in delivery.attempts] == list(range(50 - ATTEMPTS_KEPT, 50))
