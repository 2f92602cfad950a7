"""Carrying a multi-step operation: recorded intent, idempotent steps, undo, and going on after a kill.

Before a step its intent is written, after it that it is done. A failure or a stop undoes what may have been
done, last first, and names what it could not undo. A killed process leaves the intent: the same operation,
asked for again, goes through its steps once more, and each finds what is already there.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from rdev_cli.domain.errors import Conflict, Partial, RdevError
from rdev_cli.domain.lease import Lease
from rdev_cli.domain.operation import Operation, OperationState, StepState
from rdev_cli.domain.values import OperationId
from rdev_cli.ports import World
from rdev_cli.ports.store import Writing
from rdev_cli.ports.timing import LONG_RUNNING, ORCHESTRATION

# Longer than any step may take: its calls have limits of their own. A holder that died is told by its process, not by this.
HELD = 3 * LONG_RUNNING + ORCHESTRATION


@dataclass(frozen=True, slots=True)
class Step:
    """One step: `do` may be repeated and finds what is there; `undo` may find nothing."""

    name: str
    words: str  # what a plan says it would do
    do: Callable[[], object]
    undo: Callable[[], object]


@contextmanager
def lease(world: World, name: str, *, wait: bool = True) -> Iterator[Lease]:
    """Hold a lease on a name while the block runs; wait for another's as long as the caller is patient, or not at all, then Conflict BUSY."""
    owner, end = world.new_id("own"), world.clock.monotonic() + (world.patience() if wait else 0.0)
    while True:
        try:
            with world.store.transaction() as tx:
                held = tx.take(name, owner=owner, seconds=HELD)
            break
        except Conflict as e:
            if e.code != "BUSY" or world.clock.monotonic() >= end:
                raise
        world.stop.check("waiting for " + name.replace(":", " "))
        world.stop.wait(0.1)
    try:
        yield held
    finally:
        with world.store.transaction() as tx:
            tx.release(name, owner)


def begin(world: World, kind: str, subject: str, spec: Mapping[str, Any]) -> Operation:
    """Return a new operation; the caller writes it together with the record that it is about."""
    return Operation(
        id=OperationId(world.new_id("opn")), kind=kind, subject=subject, state=OperationState.RUNNING, spec=spec,
        actor=world.actor, created_at=world.clock.now(),
    )  # fmt: skip


def carry(
    world: World,
    held: Lease,
    operation: Operation,
    steps: Sequence[Step],
    *,
    done: Callable[[Writing], None],
    undone: Callable[[Writing], None],
    failed: Callable[[Writing], None],
    finish: str,
) -> None:
    """Do the steps; `done`, `undone` or `failed` (to undo) write the record's end in the transaction that ends the operation.

    Partial if something could not be undone, with `finish` as the command that clears it up.
    """
    reached = 0
    try:
        for position, step in enumerate(steps):
            world.stop.check(f"{operation.kind} {operation.subject}")
            with world.store.transaction() as tx:
                tx.hold(held, HELD)
                if position:
                    tx.put_step(operation.id, position - 1, steps[position - 1].name, StepState.DONE)
                tx.put_step(operation.id, position, step.name, StepState.INTENT)
            reached = position + 1
            step.do()
        world.stop.check(f"{operation.kind} {operation.subject}")
        with world.store.transaction() as tx:
            tx.hold(held, HELD)
            done(tx)
            tx.end_operation(operation.id, OperationState.DONE)
    except BaseException as error:
        if isinstance(error, Conflict) and error.code == "LEASE_LOST":
            raise  # somebody else carries it on: nothing of theirs may be undone
        _undo(world, held, operation, steps[:reached], error, undone=undone, failed=failed, finish=finish)
        raise


def _undo(
    world: World,
    held: Lease,
    operation: Operation,
    steps: Sequence[Step],
    error: BaseException,
    *,
    undone: Callable[[Writing], None],
    failed: Callable[[Writing], None],
    finish: str,
) -> None:
    left: list[str] = []
    for position, step in reversed(list(enumerate(steps))):
        try:
            step.undo()
            state = StepState.UNDONE
        except Exception as e:  # noqa: BLE001 -- every step gets its chance, and every failure is named
            left.append(f"{step.name}: {e}")
            state = StepState.UNDO_FAILED
        with world.store.transaction() as tx:
            tx.hold(held, HELD)
            tx.put_step(operation.id, position, step.name, state)
    with world.store.transaction() as tx:
        tx.hold(held, HELD)
        if left:
            failed(tx)
            _tell(tx, operation, "undo_failed", left)
            tx.end_operation(operation.id, OperationState.UNDO_FAILED)
        else:
            undone(tx)
            tx.end_operation(operation.id, OperationState.UNDONE)
    if left:
        why = error.message if isinstance(error, RdevError) else str(error) or type(error).__name__
        raise Partial(f"{why}; not everything could be undone: {'; '.join(left)}", left=tuple(left), hint=finish) from error


def _tell(tx: Writing, operation: Operation, what: str, left: Sequence[str]) -> None:
    noun, _, name = operation.subject.partition(":")
    project = {"project": operation.spec["project"]} if "project" in operation.spec else {}
    tx.append(f"{noun}.{what}", name, {**project, "operation": operation.id, "left": list(left)})


def clear(
    world: World,
    held: Lease,
    operation: Operation,
    steps: Sequence[Step],
    *,
    done: Callable[[Writing], None],
    finish: str,
    again: bool = False,
) -> None:
    """Attempt every step of a removal, whatever fails; Partial joins what failed, and the same command goes on.

    A removal is not undone: a stop leaves it where it stands. `again`: that it failed is in the journal already.
    """
    left: list[str] = []
    objects: list[Any] = []  # what became of each thing, where a step removes several
    cause: Exception | None = None
    for position, step in enumerate(steps):
        world.stop.check(f"{operation.kind} {operation.subject}")
        with world.store.transaction() as tx:
            tx.hold(held, HELD)
            tx.put_step(operation.id, position, step.name, StepState.INTENT)
        try:
            step.do()
        except RdevError as e:
            left += [f"{step.name}: {one}" for one in (e.left if isinstance(e, Partial) else (e.message,))]
            objects += e.context.get("objects", ())
            cause = e
        except OSError as e:
            left.append(f"{step.name}: {e}")
            cause = e
    if left:
        with world.store.transaction() as tx:
            tx.hold(held, HELD)
            if not again:
                _tell(tx, operation, f"{operation.kind.partition('.')[2]}_failed", left)
            tx.end_operation(operation.id, OperationState.UNDO_FAILED)
        more: dict[str, Any] = {"objects": objects} if objects else {}
        raise Partial(f"not everything could be removed: {'; '.join(left)}", left=tuple(left), hint=finish, **more) from cause
    with world.store.transaction() as tx:
        tx.hold(held, HELD)
        done(tx)
        tx.end_operation(operation.id, OperationState.DONE)
