"""The journal's upkeep: remove what is old, and leave the chain provable."""

from contextlib import suppress
from datetime import datetime

from rdev_cli.domain.codec import stamp
from rdev_cli.domain.errors import Invalid, Unavailable
from rdev_cli.domain.pruning import Pruning
from rdev_cli.ops.ledger import Scope, operation
from rdev_cli.ports import World


@operation("journal.prune", Scope.ADMIN)
def prune(world: World, before: datetime) -> Pruning:
    """Remove the journal's lines from before a time, and leave an anchor for its chain.

    The pruning is a line of the journal itself: how many, up to which, with which hash. What goes is gone: nothing
    but a backup has it. Invalid for a time that is not past.
    """
    _past(world, before)
    with world.store.transaction() as tx:
        count, through, last = tx.prune(before)
        if count:
            tx.append("journal.pruned", "journal", {"before": stamp(before), "count": count, "through": through, "hash": last})
    if count:
        with suppress(Unavailable):  # others work, or the disk is full: what comes next takes the freed room
            world.store.compact()
    return Pruning(before=before, count=count, through=through, hash=last, done=True)


def plan(world: World, before: datetime) -> Pruning:
    """Return what `prune` would remove now, changing nothing."""
    _past(world, before)
    count, through, last = world.store.prunable(before)
    return Pruning(before=before, count=count, through=through, hash=last, done=False)


def _past(world: World, before: datetime) -> None:
    if before > world.clock.now():
        raise Invalid("that time is not past yet", hint="give a time that is: --before 90d, --before 2026-01-31", field="before")
