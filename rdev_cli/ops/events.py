"""The journal: read it, a page at a time."""

from collections.abc import Sequence

from rdev_cli.domain.event import Event
from rdev_cli.ops.ledger import Scope, operation
from rdev_cli.ports import World


@operation("event.list", Scope.AUDIT_READ)
def read(world: World, *, after: int = 0, subject: str = "", limit: int = 100) -> Sequence[Event]:
    """Show what happened: who did what, on what, with which outcome.

    Returns lines with a seq greater than `after`, in order; never waits.
    """
    return world.store.events(after=after, subject=subject, limit=limit)


def last(world: World) -> int:
    """Return the seq of the newest line, 0 if there is none."""
    return world.store.last_event()
