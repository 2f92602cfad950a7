"""--idempotency-key: what was asked for under a key is done once, and told again."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from rdev_cli.domain.codec import plain, to_json, value
from rdev_cli.domain.command import ExecSpec
from rdev_cli.ops import known
from rdev_cli.ops.commands import Running
from rdev_cli.ops.idempotency import once
from rdev_cli.ops.ledger import entry_of

if TYPE_CHECKING:
    from rdev_cli.domain.agent import AgentSpec
    from rdev_cli.ports import World

T = TypeVar("T")


def started(
    world: "World", key: str | None, op: Callable[..., Any], spec: "ExecSpec | AgentSpec", run: Callable[["World"], Running]
) -> tuple[Running, bool]:
    """Start a command, or meet the one that was started under this key; return it and whether it is this invocation's own."""
    if key is None:
        return run(world), True
    fresh: list[Running] = []

    def act(there: "World") -> str:
        fresh.append(run(there))
        return fresh[0].command.id

    shape = replace(spec, terminal=(0, 0) if spec.terminal else None)  # a window of another size is no other request
    id = once(world, key, entry_of(op).name, plain(shape), act)
    return (fresh[0], True) if fresh else (Running(known.command(world, id, whole=True)), False)


def told(
    world: "World", key: str | None, op: Callable[..., Any], request: Mapping[str, Any], kind: type[T], act: Callable[["World"], T]
) -> T:
    """Return what an operation answers, or what it answered under this key."""
    if key is None:
        return act(world)
    answer = once(world, key, entry_of(op).name, request, lambda there: to_json(act(there)))
    found: T = value(kind, json.loads(answer))
    return found
