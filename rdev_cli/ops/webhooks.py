"""Webhooks: who is told what happens, and the telling."""

import random
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, replace
from datetime import datetime
from typing import Any

from rdev_cli.domain.errors import Cancelled, Conflict, Invalid, NotFound, RdevError
from rdev_cli.domain.lease import Lease
from rdev_cli.domain.page import Page
from rdev_cli.domain.values import Secret, id_like, shown
from rdev_cli.domain.values import name as name_rule
from rdev_cli.domain.webhook import (
    KEPT,
    OVERLAP,
    TEST,
    Delivery,
    DeliveryState,
    Outcome,
    Webhook,
    WebhookSecret,
    WebhookState,
    body,
    judged,
    pattern,
)
from rdev_cli.ops.ledger import Scope, operation
from rdev_cli.ports import World
from rdev_cli.ports.store import Writing

PARALLEL = 10  # messages on their way at once
EACH = 4  # of them to one endpoint, while all is well there; 1 where the last two failed
_OLD = 3  # secrets that go on signing beside a new one
_LEASE = 60.0  # seconds; a message is at most 20 on its way


@operation("webhook.add", Scope.WEBHOOKS_WRITE)
def add(world: World, *, url: str, events: Sequence[str], projects: Sequence[str] = ()) -> WebhookSecret:
    """Tell an endpoint what happens, and show its secret this once.

    Messages are signed as Standard Webhooks says, and sent by `rdev serve`. The URL is https and leads to public addresses only.
    An event is a kind of the journal (command.completed) or all of a noun (command.*). With projects, only what is about them.
    """
    if not events:
        raise Invalid("no event is named", hint="--event command.completed, or all of a noun: --event 'command.*'", field="event")
    kinds = world.shelf.kinds()
    wanted = tuple(dict.fromkeys(pattern(event, kinds) for event in events))
    world.hooks.check(url, stop=world.stop)
    secret, vault, now = world.hooks.new_secret(), world.hooks.vaults.chosen(), world.clock.now()
    made = Webhook(
        id=world.new_id("whk"), url=url, events=wanted, projects=_projects(world, projects), created_at=now, created_by=world.actor,
        place=vault.place,
    )  # fmt: skip
    with world.hooks.vaults.alone():
        vault.put({made.id: secret})
        try:
            with world.store.transaction() as tx:
                # before the line, so that whoever wants to hear of webhooks hears of itself
                tx.put_webhook(made)
                tx.append("webhook.added", made.id, {"host": _host(url), "events": list(wanted), **_about(made)})
        except RdevError:
            vault.drop(made.id)
            raise
    return _with(made, secret)


@operation("webhook.list", Scope.WEBHOOKS_READ)
def list_(world: World) -> Sequence[Webhook]:
    """List webhooks: where, for which events, and how they are doing."""
    return world.store.webhooks()


@operation("webhook.test", Scope.WEBHOOKS_WRITE)
def try_(world: World, webhook: str) -> Delivery:
    """Send a message webhook.test to an endpoint at once, and show what came back.

    For at most 20 seconds, and not again if it fails. An endpoint that was disabled and takes it is enabled.
    """
    found, now = known(world, webhook), world.clock.now()
    text = body(TEST, now, {"subject": found.id, "seq": 0})
    delivery = Delivery(id=world.new_id("dlv"), webhook=found.id, kind=TEST, seq=0, created_at=now, queued_at=now)
    if before := world.store.find_deliveries(delivery.id):  # a request that is repeated after a crash sent it already
        return before[0]
    outcome = _sent(world, found, delivery, text)
    with world.store.transaction() as tx:
        done = _once(judged(_still(tx, found), delivery, outcome, **_chances(world)))
        _keep(tx, found, done, text)
        if done[1].state is DeliveryState.DELIVERED and done[0].state is WebhookState.DISABLED:
            tx.put_webhook(replace(done[0], state=WebhookState.ENABLED, reason=""))
            tx.append("webhook.enabled", found.id, _about(found))
        tx.append("webhook.tested", found.id, {"delivery": delivery.id, "status": outcome.status, "error": outcome.error, **_about(found)})
    return done[1]


@operation("webhook.deliveries", Scope.WEBHOOKS_READ)
def deliveries(world: World, *, webhook: str = "", before: str = "", limit: int = 50) -> Page[Delivery]:
    """List what was sent or is to be sent, newest first, with every try."""
    about = known(world, webhook).id if webhook else ""
    found = world.store.deliveries(webhook=about, before=before, limit=limit + 1)
    return Page(tuple(found[:limit]), found[limit - 1].id if len(found) > limit else None)


@operation("webhook.replay", Scope.WEBHOOKS_WRITE)
def replay(world: World, delivery: str) -> Delivery:
    """Send a delivery once more, at once and under the same id, and show what came back.

    For at most 20 seconds; if it fails, `rdev serve` tries it again as if it were new.
    """
    found = _delivery(world, delivery)
    webhook = known(world, found.webhook)
    anew = replace(found, state=DeliveryState.PENDING, queued_at=world.clock.now(), tries=0)
    outcome = _sent(world, webhook, anew, world.store.body(found.id))
    with world.store.transaction() as tx:
        done = judged(_still(tx, webhook), anew, outcome, **_chances(world))
        if found.kind == TEST:
            done = _once(done)
        _keep(tx, webhook, done)
        told = {"delivery": found.id, "status": outcome.status, "error": outcome.error, **_about(webhook)}
        tx.append("webhook.replayed", webhook.id, told)
    return done[1]


@operation("webhook.rotate", Scope.WEBHOOKS_WRITE)
def rotate(world: World, webhook: str) -> WebhookSecret:
    """Give an endpoint a new secret, and show it this once; for 24 hours the old one signs, too.

    One that is itself not a day old, too, so that two rotations in a row do not lose what the endpoint has.
    """
    found, secret = known(world, webhook), world.hooks.new_secret()
    with world.hooks.vaults.alone():
        vault = world.hooks.vaults.at(found.place)
        try:
            old = vault.get(found.id)
        except RdevError as e:
            if e.code != "VAULT_DAMAGED":
                raise
            old = None  # what cannot be read cannot sign: a new secret is the way out
        kept = [one.reveal() for one in _signing(world, found, _split(old))] if old else []
        # newest first; until the record says until when, both sign, so that a death in between costs no message
        vault.put({found.id: Secret(" ".join([secret.reveal(), *kept[:_OLD]]))})
        with world.store.transaction() as tx:
            until = world.clock.now() + OVERLAP
            changed = replace(_still(tx, found), old_secret_until=until)
            tx.put_webhook(changed)
            tx.append("webhook.rotated", found.id, {"old_secret_until": until, **_about(found)})
    return _with(changed, secret)


@operation("webhook.remove", Scope.WEBHOOKS_WRITE)
def remove(world: World, webhook: str) -> Webhook:
    """Tell an endpoint nothing more, and forget its secret and what was sent to it."""
    found = known(world, webhook)
    with world.hooks.vaults.alone():
        world.hooks.vaults.at(found.place).drop(found.id)
        with world.store.transaction() as tx:
            tx.drop_webhook(found.id)
            tx.append("webhook.removed", found.id, {"host": _host(found.url), **_about(found)})
    return found


def deliver(world: World) -> int:
    """Send all that is due, until nothing is or somebody says stop; return how many tries there were.

    Of all processes one sends at a time; 0 at once if another does. A message whose outcome could not be written down is sent again, under the same
    id. At most 10 are on their way at once, 4 of them to one endpoint, and 1 to an endpoint that failed twice; one that fails again and again
    is left alone for a while.
    """
    if not any(_due(world, webhook, 1) for webhook in world.store.webhooks()):
        return 0
    owner = world.new_id("wrk")
    try:
        with world.store.transaction() as tx:
            lease = tx.take("webhooks", owner=owner, seconds=_LEASE)
            tx.forget_deliveries(world.clock.now() - KEPT)
    except Conflict as e:
        if e.code != "BUSY":
            raise
        return 0
    try:
        return _Sending(world, lease).all()
    finally:
        with world.store.transaction() as tx:
            tx.release(lease.name, owner)


class _Sending:
    """The messages of one pass that are on their way."""

    def __init__(self, world: World, lease: Lease) -> None:
        self._world, self._lease, self._turn = world, lease, 0
        self._flying: dict[Future[Outcome], Delivery] = {}
        self._secrets: dict[tuple[str, datetime | None], Sequence[Secret] | RdevError] = {}

    def all(self) -> int:
        count = 0
        with ThreadPoolExecutor(PARALLEL, thread_name_prefix="webhook") as pool:
            while True:
                if not self._world.stop.is_set():
                    self._fill(pool)
                if not self._flying:
                    return count
                # a slow endpoint keeps nobody waiting: what is due meanwhile for others starts beside it
                done, _ = wait(self._flying, timeout=0.2, return_when=FIRST_COMPLETED)
                count += self._record({future: self._flying.pop(future) for future in done})

    def _fill(self, pool: ThreadPoolExecutor) -> None:
        webhooks = self._world.store.webhooks()
        self._turn += 1  # each time another is first to take what is free
        at = self._turn % max(1, len(webhooks))
        for webhook in [*webhooks[at:], *webhooks[:at]]:
            here = {delivery.id for delivery in self._flying.values() if delivery.webhook == webhook.id}
            free = min((EACH if webhook.failures < 2 else 1) - len(here), PARALLEL - len(self._flying))
            if free > 0:
                ready = [pair for pair in _due(self._world, webhook, free + len(here)) if pair[0].id not in here]
                for delivery, text in ready[:free]:
                    self._flying[pool.submit(_send, self._world, webhook, delivery, text, self._known_secrets(webhook))] = delivery

    def _known_secrets(self, webhook: Webhook) -> Sequence[Secret] | RdevError:
        key = webhook.id, webhook.old_secret_until
        if key not in self._secrets:
            try:
                self._secrets[key] = _secrets(self._world, webhook)
            except Cancelled:
                raise
            except RdevError as e:
                self._secrets[key] = e
        kept = self._secrets[key]
        return kept if isinstance(kept, RdevError) else _signing(self._world, webhook, kept)

    def _record(self, done: Mapping[Future[Outcome], Delivery]) -> int:
        """Write down what came of some, all in one transaction, and only while nobody else sends; what was stopped is as if it had never begun."""
        came = [(delivery, future.result()) for future, delivery in done.items() if not isinstance(future.exception(), Cancelled)]
        if came:
            with self._world.store.transaction() as tx:
                tx.hold(self._lease, _LEASE)
                for sent, outcome in came:
                    webhook, delivery = tx.find_webhook(sent.webhook), tx.find_delivery(sent.id)
                    if webhook is not None and delivery is not None:  # else it was removed meanwhile
                        _keep(tx, webhook, judged(webhook, delivery, outcome, **_chances(self._world)))
        return len(came)


def known(world: World, text: str) -> Webhook:
    """Return a webhook by its id or a unique beginning of it (4 characters after `whk_`)."""
    found: Webhook = _one(text, "whk", "webhook", "rdev webhook list", world.store.find_webhooks)
    return found


def _delivery(world: World, text: str) -> Delivery:
    found: Delivery = _one(text, "dlv", "delivery", "rdev webhook deliveries", world.store.find_deliveries)
    return found


def _one(text: str, prefix: str, what: str, where: str, find: Any) -> Any:
    if not id_like(text, prefix):
        raise Invalid(f"'{shown(text)}' is no id of a {what}", hint=f"{where} shows the ids: {prefix}_…", field=what)
    found = find(text)
    exact = [one for one in found if one.id == text] or found
    if not exact:
        raise NotFound(f"there is no {what} {text}", hint=f"{where} shows the ones there are", **{what: text})
    if len(exact) > 1:
        raise Invalid(f"more than one {what} begins with {text}", hint=f"type more of the id; {where} shows them", field=what)
    return exact[0]


def _projects(world: World, given: Sequence[str]) -> tuple[str, ...]:
    """Return what a new webhook hears of: what was asked for, else all that its maker sees; NotFound for what that one does not see."""
    for project in given:
        if world.store.find_project(name_rule(project, "project name")) is None or not world.grant.sees(project):
            raise NotFound(f"there is no project {project}", hint="rdev project list shows the ones there are", project=project)
    own = world.grant.projects
    return tuple(sorted(set(given) or own or ()))


def _due(world: World, webhook: Webhook, most: int) -> Sequence[tuple[Delivery, str]]:
    now = world.clock.now()
    rests = webhook.blocked_until is not None and webhook.blocked_until > now
    return () if rests or webhook.state is WebhookState.DISABLED else world.store.due(webhook.id, now, most=most)


def _secrets(world: World, webhook: Webhook) -> Sequence[Secret]:
    """Return the secrets of an endpoint, the newest first."""
    kept = world.hooks.vaults.at(webhook.place).get(webhook.id)
    if kept is None:
        raise NotFound("its secret is not in the vault", hint=f"rdev webhook rotate {webhook.id} gives it a new one", webhook=webhook.id)
    return _split(kept)


def _split(kept: Secret) -> Sequence[Secret]:
    return [Secret(text) for text in kept.reveal().split()]


def _signing(world: World, webhook: Webhook, secrets: Sequence[Secret]) -> Sequence[Secret]:
    over = webhook.old_secret_until is not None and webhook.old_secret_until <= world.clock.now()
    return secrets[:1] if over else secrets


def _sent(world: World, webhook: Webhook, delivery: Delivery, text: str) -> Outcome:
    return _send(world, webhook, delivery, text, _signing(world, webhook, _secrets(world, webhook)))


def _send(world: World, webhook: Webhook, delivery: Delivery, text: str, secrets: Sequence[Secret] | RdevError) -> Outcome:
    if isinstance(secrets, RdevError):
        return Outcome(status=None, duration_ms=0, error=f"it cannot be signed: {secrets.message}")
    return world.hooks.send(webhook.url, id=delivery.id, body=text, secrets=secrets, at=world.clock.now(), stop=world.stop)


def _chances(world: World) -> Mapping[str, Any]:
    return {"now": world.clock.now(), "first": world.hooks.first_wait, "chance": random.random()}  # noqa: S311 -- spreads tries, guards nothing


def _once(done: tuple[Webhook, Delivery]) -> tuple[Webhook, Delivery]:
    webhook, delivery = done
    pending = delivery.state is DeliveryState.PENDING
    return webhook, replace(delivery, state=DeliveryState.FAILED, due_at=None) if pending else delivery


def _keep(tx: Writing, before: Webhook, done: tuple[Webhook, Delivery], text: str | None = None) -> None:
    webhook, delivery = done
    tx.put_webhook(webhook)
    tx.put_delivery(delivery, text)
    if webhook.state is WebhookState.DISABLED and before.state is WebhookState.ENABLED:
        tx.append("webhook.disabled", webhook.id, {"host": _host(webhook.url), "reason": webhook.reason, **_about(webhook)})


def _still(tx: Writing, then: Webhook) -> Webhook:
    now = tx.find_webhook(then.id)
    if now is None:
        raise NotFound(f"there is no webhook {then.id}", hint="it was removed meanwhile", webhook=then.id)
    return now


def _about(webhook: Webhook) -> Mapping[str, Any]:
    """Return what puts a line of the journal into a project's history: a webhook of one project is part of it."""
    return {"project": webhook.projects[0]} if len(webhook.projects) == 1 else {}


def _host(url: str) -> str:
    """Return what the journal says of a URL: its path may be as good as a secret."""
    return url.split("/")[2]


def _with(webhook: Webhook, secret: Secret) -> WebhookSecret:
    return WebhookSecret(**asdict(webhook), secret=secret.reveal())
