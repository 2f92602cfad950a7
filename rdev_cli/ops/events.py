"""The journal: read it, a page at a time."""

from collections import deque
from collections.abc import Sequence

from rdev_cli.domain.event import Event
from rdev_cli.domain.values import ID_PREFIXES, id_like, name
from rdev_cli.ops.ledger import Scope, operation
from rdev_cli.ports import World


@operation("event.list", Scope.AUDIT_READ)
def read(world: World, *, after: int = 0, subject: str = "", limit: int = 100) -> Sequence[Event]:
    """Show what happened: who did what, on what, with which outcome.

    Returns lines with a seq greater than `after`, in order; never waits.
    """
    if subject:
        subject_rule(subject)
    return world.store.events(after=after, subject=subject, limit=limit)


def subject_rule(text: str) -> str:
    """Return text if a line of the journal can be about it: an id, or a project's name; else raise Invalid."""
    return text if any(id_like(text, prefix[:-1]) for prefix in ID_PREFIXES) else name(text, "subject")


def newest(world: World, *, subject: str = "", limit: int = 100) -> Sequence[Event]:
    """Return the newest lines, the oldest of them first."""
    after = 0 if subject else max(0, last(world) - limit)
    kept = deque[Event](maxlen=limit)
    while page := read(world, after=after, subject=subject, limit=1000):
        kept += page
        after = page[-1].seq
    return list(kept)


def last(world: World) -> int:
    """Return the seq of the newest line, 0 if there is none."""
    return world.store.last_event()
