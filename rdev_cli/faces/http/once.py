"""Idempotency-Key: a request under a key is done once, and its repeat gets the same status and the same data."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import BaseModel
from starlette.requests import Request

from rdev_cli.domain.checkout import Checkout, CheckoutState
from rdev_cli.domain.codec import document, plain, to_json
from rdev_cli.domain.errors import Invalid
from rdev_cli.domain.values import Secret
from rdev_cli.ops import checkouts, debts, keys, webhooks
from rdev_cli.ops.idempotency import once
from rdev_cli.ops.ledger import Entry
from rdev_cli.ports import World
from rdev_cli.wiring.sealing import Envelope

METHODS = frozenset({"POST", "PATCH", "DELETE"})
HEADER = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "Do it once: the same request again under this key, within 24 hours, gets the first one's answer.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
}


def _unseen_key(world: World) -> None:
    """Revoke a key that was made for nobody: whoever asked for it was cut off before its secret was told."""
    made = world.new_id("key")
    if world.store.find_key(made) is not None:
        keys.revoke(world, made)


def _unseen_webhook(world: World) -> None:
    """Remove a webhook of which nobody was told."""
    made = world.new_id("whk")
    if world.store.find_webhooks(made):
        webhooks.remove(world, made)


def _unseen_checkout(world: World) -> None:
    """Cancel a checkout of whose credential nobody was told; one that was cut off before it was there leaves only a debt."""
    made = world.new_id("chk")
    if (found := world.store.find(Checkout, made)) is not None:
        checkouts.finish(world, found, CheckoutState.CANCELLED)
    for debt in debts.owed(world, reason=made):
        debts.pay(world, debt)


# operations that tell a secret, once: what takes back one that nobody has seen
SECRETS: Mapping[str, Callable[[World], None]] = {
    "key.create": _unseen_key,
    "webhook.add": _unseen_webhook,
    "checkout.start": _unseen_checkout,
    "webhook.rotate": lambda _: None,  # the secrets before the one that nobody has seen go on signing
}


def answer(request: Request, entry: Entry, given: Mapping[str, Any], status: int, call: Callable[[World], Any]) -> Any:
    """Return what a handler answers, or what it answered to the first request under this one's key."""
    from rdev_cli.faces.http.face import Reply, presented  # noqa: PLC0415 -- which in turn needs this

    world: World = request.state.world
    found = request.headers.getlist("idempotency-key")
    if not found or request.method not in METHODS:
        return call(world)
    if len(found) > 1:
        raise Invalid("there are two idempotency keys", hint="send one header Idempotency-Key", field="idempotency-key")
    own = False

    def act(there: World) -> str:
        nonlocal own
        own, value = True, call(there)
        reply = value if isinstance(value, Reply) else Reply(value)
        return json.dumps(
            {"status": reply.status or status, "headers": dict(reply.headers), "data": json.loads(to_json(document(reply.value)))}
        )

    asked = {name: one.model_dump() if isinstance(one, BaseModel) else one for name, one in given.items()}
    asked = {"path": request.url.path, "query": request.url.query, **plain(asked)}
    more: dict[str, Any] = {}
    if entry.name in SECRETS:
        envelope = Envelope(Secret(presented(request)), found[0])
        more = {"seal": envelope.seal, "unseal": envelope.unseal, "lost": SECRETS[entry.name]}
    kept = json.loads(once(world, found[0], entry.name, asked, act, **more))
    headers = kept["headers"] if own else {**kept["headers"], "idempotent-replayed": "true"}
    return Reply(kept["data"], kept["status"], headers)
