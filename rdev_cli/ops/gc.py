"""What is left over of projects that are gone: found in two runs, removed one by one, each under the id that no other thing has."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from rdev_cli.domain.codec import stamp, to_json
from rdev_cli.domain.errors import Conflict, Invalid, Partial, Pending, RdevError
from rdev_cli.domain.report import Check, Verdict
from rdev_cli.domain.resource import MOST, POD, SHARE, WINDOW, Mark, Orphan, OrphanState, judge, too_many
from rdev_cli.ops.ensure import HELD, lease
from rdev_cli.ops.ledger import Pace, Scope, operation

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from rdev_cli.domain.lease import Lease
    from rdev_cli.domain.resource import Inventory, Owned
    from rdev_cli.ports import World

SHOWN = 20  # leftovers that the doctor names one by one


def look(world: World, *, window: float = WINDOW, allow: int | None = None) -> Sequence[Orphan]:
    """Return what `collect` would look at now, and note what has no record: this is a run, and only what two runs saw is removed.

    Raises, and notes nothing, if the place or one of the states cannot be read whole. With `allow` it raises what `collect` would of too many.
    """
    with lease(world, "gc") as held:
        inventory, found = _seen(world, held, window)
    if allow is not None:
        _bounded(sum(one.state is OrphanState.GARBAGE for one in found), inventory, allow=allow)
    return found


@operation("gc.collect", Scope.ADMIN, Pace.LONG)
def collect(world: World, reviewed: Collection[str], *, window: float = WINDOW, allow: int = 0) -> Sequence[Orphan]:
    """List what is left over of projects that are gone, and remove it.

    A thing goes only if it carries this installation's id under the name that rdev gives, if no context has a record
    of its project any more, and if it was seen so for an hour, in two runs or more: type it once, and an hour later again.
    A clock that jumps delays that. More than 10 things in a run, or more than a fifth of all there is, need --allow and
    their number. What was removed is in the journal and in a file beside the state. What rdev cannot tell is its own to remove is listed with the reason.
    """
    # `reviewed` holds the uids that were looked at; `window` is in seconds. Pending TOO_MANY stops a run before anything is removed;
    # Conflict BUSY while another runs; Partial if something could not be removed, and the others were.
    with lease(world, "gc") as held:
        inventory, found = _seen(world, held, window)
        doomed = [one for one in found if one.state is OrphanState.GARBAGE and one.uid in reviewed]
        _bounded(len(doomed), inventory, allow=allow)
        ends = _removed(world, held, inventory, doomed) if doomed else {}
    world.stop.check("the removal")
    found = [ends.get(one.uid, one) for one in found]
    failed = [one for one in found if one.state is OrphanState.FAILED]
    if failed:
        left = tuple(f"{one.kind} {one.name}: {one.reason}" for one in failed)
        raise Partial(
            f"not everything could be removed: {'; '.join(left[:3])}",
            left=left,
            hint="rdev gc --apply goes on",
            objects=[{"kind": one.kind, "name": one.name, "result": one.state.value, "reason": one.reason} for one in ends.values()],
        )
    return found


def _bounded(count: int, inventory: Inventory, *, allow: int) -> None:
    """Raise Pending TOO_MANY if so many are more than a run may remove unless a person names their number."""
    if too_many(count, inventory) and allow < count:
        raise Pending(
            f"{count} of the {len(inventory.items)} things in rdev's name would go, more than {MOST} or {SHARE:.0%}: nothing was removed",
            hint=f"rdev gc lists them; if all of them may go: rdev gc --apply --allow {count}",
            code="TOO_MANY",
            count=count,
            total=len(inventory.items),
        )


def _seen(world: World, held: Lease, window: float) -> tuple[Inventory, Sequence[Orphan]]:
    """Look at the place, then at the records, so that what is made meanwhile has its record first; and note what has none."""
    if window < 0:
        raise Invalid("a time before now is no window", hint="give one that is past: --older-than 1h", field="older-than")
    inventory = world.cluster.owned()
    known = world.store.known()
    now = world.clock.now()
    marks = world.store.marks(inventory.place)
    found = judge(inventory, known, marks, window=window, now=now)
    loose = [thing.uid for thing in inventory.items if thing.project_id not in known.recorded]

    with world.store.transaction() as tx:
        tx.hold(held, HELD)
        tx.mark(inventory.place, loose, Mark(there=inventory.at, here=now))
    return inventory, found


def _removed(world: World, held: Lease, inventory: Inventory, doomed: Sequence[Orphan]) -> dict[str, Orphan]:
    """Remove them one by one, pods first, which hold the others; a stop leaves the rest. Each is written down before and after."""
    context = next(context.name for context in world.settings.contexts() if context.current)
    things = {thing.uid: thing for thing in inventory.items}
    ends: dict[str, Orphan] = {}
    where = ""
    try:
        for one in sorted(doomed, key=lambda one: (one.kind != POD, one.name, one.kind)):
            if world.stop.is_set():
                break
            with world.store.transaction() as tx:
                tx.hold(held, HELD)  # whoever took over does the rest
            where = world.premises.note(context, _line(world, inventory, one, "removing"))
            state, reason = _remove(world, things[one.uid])
            ends[one.uid] = replace(one, state=state, reason=reason)
            world.premises.note(context, _line(world, inventory, one, state.value))
    finally:
        objects = [{"kind": o.kind, "name": o.name, "uid": o.uid, "result": o.state.value, "reason": o.reason} for o in ends.values()]
        with world.store.transaction() as tx:
            tx.append("gc.collected", "gc", {"place": inventory.place, "objects": objects, "file": where})
    return ends


def _remove(world: World, thing: Owned) -> tuple[OrphanState, str]:
    try:
        there = world.cluster.remove(thing)
    except Conflict:
        return OrphanState.KEPT, "it was changed, or made anew, since it was looked at"
    except RdevError as e:
        return OrphanState.FAILED, e.message
    return (OrphanState.DELETED, "removed") if there else (OrphanState.ABSENT, "it was gone already")


def _line(world: World, inventory: Inventory, one: Orphan, result: str) -> str:
    facts = {
        "at": stamp(world.clock.now()), "place": inventory.place, "kind": one.kind, "namespace": one.namespace, "name": one.name,
        "uid": one.uid, "project": one.project, "project_id": one.project_id, "result": result,
    }  # fmt: skip
    return to_json(facts)


def leftovers(world: World) -> Sequence[Check]:
    """Return what the doctor says about things in a cluster that have no record; it notes nothing."""
    inventory = world.cluster.owned()
    known = world.store.known()
    found = judge(inventory, known, world.store.marks(inventory.place), window=WINDOW, now=world.clock.now())
    checks = [
        Check(name=f"leftover.{one.kind.lower()}", verdict=Verdict.WARNING, found=f"{one.name}: {one.reason}", hint="rdev gc lists it")
        for one in found[:SHOWN]
    ]
    if len(found) > SHOWN:
        checks.append(Check(name="leftover", verdict=Verdict.WARNING, found=f"{len(found) - SHOWN} more", hint="rdev gc lists them"))
    return checks or [Check(name="leftover.cluster", verdict=Verdict.OK, found=f"all {len(inventory.items)} things have their record")]
