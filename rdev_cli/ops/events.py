"""The journal: read it, a page at a time."""

from collections import deque

from rdev_cli.domain.event import Event
from rdev_cli.domain.page import Page
from rdev_cli.domain.values import ID_PREFIXES, id_like, name
from rdev_cli.ops.ledger import Scope, operation
from rdev_cli.ports import World


@operation("event.list", Scope.AUDIT_READ)
def read(world: World, *, after: int = 0, subject: str = "", limit: int = 100) -> Page[Event]:
    """Show what happened: who did what, on what, with which outcome."""
    # a page of lines with a seq greater than `after`, in order, whose `next` is what to give as `after`; never waits
    if subject:
        subject_rule(subject)
    found = world.store.events(after=after, subject=subject, limit=limit + 1)
    return Page(tuple(found[:limit]), str(found[limit - 1].seq) if len(found) > limit else None)


def subject_rule(text: str) -> str:
    """Return text if a line of the journal can be about it: an id, or a project's name; else raise Invalid."""
    return text if any(id_like(text, prefix[:-1]) for prefix in ID_PREFIXES) else name(text, "subject")


def newest(world: World, *, subject: str = "", limit: int = 100) -> Page[Event]:
    """Return the newest lines, the oldest of them first."""
    after = 0 if subject else max(0, last(world) - limit)
    kept = deque[Event](maxlen=limit)
    while page := read(world, after=after, subject=subject, limit=1000).items:
        kept += page
        after = page[-1].seq
    return Page(tuple(kept))


def last(world: World) -> int:
    """Return the seq of the newest line, 0 if there is none."""
    return world.store.last_event()
