"""Requests under an idempotency key: each is done once, and whoever repeats it is told what the first was answered."""

from __future__ import annotations

import hmac
import json
from contextlib import suppress
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from rdev_cli.domain import errors
from rdev_cli.domain.codec import plain, to_json
from rdev_cli.domain.errors import Conflict, Failed, Invalid, OutcomeUnknown, Partial, RdevError, Unavailable
from rdev_cli.domain.repeat import Kept, KeptState, key, seed
from rdev_cli.ops.ensure import lease

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rdev_cli.ports import World

# what is told again: some of the work stands. After any other error nothing does, and the key is free for another try.
FINAL = (Partial, Failed, OutcomeUnknown)


def once(
    world: World,
    given: str,
    operation: str,
    request: Mapping[str, Any],
    act: Callable[[World], str],
    *,
    seal: Callable[[str], str] = str,
    unseal: Callable[[str], str] = str,
    lost: Callable[[World], object] | None = None,
) -> str:
    """Return what `act` answers, done once for a caller and a key (`given`): a repeat within 24 hours gets the first one's answer.

    `act` is given a world whose ids come from the request's seed, so that the repeat of one that was cut off meets what that had
    made, and goes on. What can be shown only once is kept under `seal`, and `lost` (in the world of the one that was cut off) takes
    back what nobody has seen, before it is made anew. While another does the same request this one waits as long as its caller is
    patient. Invalid IDEMPOTENCY_MISMATCH if the key was used for another request, Conflict BUSY if the first takes too long.
    """
    key(given)
    id = sha256(f"{world.actor}\0{given}".encode()).hexdigest()
    # under the key, which is not kept: a fingerprint tells nothing to who guesses at what was asked
    asked = to_json({"operation": operation, "request": plain(request)})
    fingerprint = hmac.new(given.encode(), asked.encode(), sha256).hexdigest()
    if (kept := _same(world.store.recall(id), fingerprint)) is not None and kept.state is not KeptState.OPEN:
        return _told(kept, unseal)
    name = f"once:{id}"
    try:
        with lease(world, name):
            kept = _same(world.store.recall(id), fingerprint)
            if kept is not None and kept.state is not KeptState.OPEN:
                return _told(kept, unseal)
            if kept is not None and lost is not None:
                lost(world.minting(kept.seed))
                _let_go(world, id)
                kept = None
            if kept is None:
                kept = Kept(id=id, fingerprint=fingerprint, seed=seed(world.clock.now(), world.new_id("own")), state=KeptState.OPEN)
                _keep(world, kept)
            return _answered(world, kept, act, seal)
    except Conflict as e:
        if e.context.get("lease") != name:
            raise
        raise Conflict(
            "the first request under this idempotency key is not answered yet",
            hint="ask the same again in a moment, under the same key",
            code="BUSY",
        ) from e


def _same(kept: Kept | None, fingerprint: str) -> Kept | None:
    if kept is not None and kept.fingerprint != fingerprint:
        raise Invalid(
            "this idempotency key was used for another request",
            hint="a new request takes a new key; only a repeat, word for word, takes the same",
            code="IDEMPOTENCY_MISMATCH",
            field="idempotency-key",
        )
    return kept


def _answered(world: World, kept: Kept, act: Callable[[World], str], seal: Callable[[str], str]) -> str:
    try:
        answer = act(world.minting(kept.seed))
    except RdevError as e:
        if isinstance(e, FINAL):
            facts = {"kind": type(e).__name__, "code": e.code, "message": e.message, "hint": e.hint, "context": e.context}
            _keep(world, kept, KeptState.FAILED, to_json(facts))
        else:
            with suppress(Unavailable):  # then the repeat goes on instead of beginning anew
                _let_go(world, kept.id)
        raise
    _keep(world, kept, KeptState.DONE, seal(answer))
    return answer


def _keep(world: World, kept: Kept, state: KeptState = KeptState.OPEN, answer: str = "") -> None:
    with world.store.transaction() as tx:
        tx.remember(Kept(id=kept.id, fingerprint=kept.fingerprint, seed=kept.seed, state=state, answer=answer))
        if state is not KeptState.OPEN:
            tx.forget(f"once:{kept.id}")


def _let_go(world: World, id: str) -> None:
    with world.store.transaction() as tx:
        tx.let_go(id)


def _told(kept: Kept, unseal: Callable[[str], str]) -> str:
    if kept.state is KeptState.DONE:
        return unseal(kept.answer)
    told = json.loads(kept.answer)
    context, more = told["context"], {}
    if told["kind"] == "Partial":
        more["left"] = tuple(context.pop("left", ()))
    raise getattr(errors, told["kind"])(told["message"], hint=told["hint"], code=told["code"], **more, **context)
