"""What stands in a place in rdev's name, and what of it nobody needs any more."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from rdev_cli.domain.project import pod_name
from rdev_cli.domain.values import spoken

WINDOW = 3600  # seconds that a thing must have been seen without a record
SHORTEST = 600  # the least that anybody may ask for instead
MOST = 10  # things that one run removes without being asked to
SHARE = 0.2  # of all that carries this installation's id, likewise
STUCK = 600  # seconds after which a removal that does not end is told
POD = "Pod"  # the kind of what projects are discovered by
TRIAL = "probe"  # the role of what rdev makes for a trial of its own, under such names, and no record is ever about
_TRIALS = "rdev-probe-"
_LENT = re.compile("rdev-pool-[0-9a-z]{8}")  # a session's pod may have been a worker of the pool, and keeps that name
# what Kubernetes itself puts on a claim, and takes away when no pod uses it any more
_OWN_FINALIZERS = frozenset({"kubernetes.io/pvc-protection"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Owned:
    """One thing in a place, and the marks of ownership on it; a mark that is not there is empty."""

    kind: str
    name: str
    namespace: str
    uid: str  # no other thing ever has it, not even one of the same name
    version: str  # changes with every change of the thing
    installation: str
    project: str
    project_id: str
    created_at: datetime  # by the place's own clock
    deleting_since: datetime | None = None
    finalizers: tuple[str, ...] = ()
    role: str = "project"
    keeper: str = ""  # what else made it and looks after it: a Deployment, Helm; empty: nothing

    @property
    def noun(self) -> str:
        """What its record is: a project, or a session or a worker of the pool, which nobody takes over."""
        return {"ses": "session", "wrk": "worker"}.get(self.project_id.partition("_")[0], "project")


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """Everything in a place that carries an installation's id: all of it, as it was at one time of the place's own clock."""

    place: str  # which place it is: two of the same have the same things in them
    installation: str
    at: datetime
    items: tuple[Owned, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """When a thing was first seen without a record, and has been ever since."""

    there: datetime  # by the place's clock
    here: datetime  # by this machine's


class Result(StrEnum):
    """What became of a thing that was to be removed."""

    DELETED = "deleted"
    ABSENT = "absent"
    FAILED = "failed"


class OrphanState(StrEnum):
    """How a thing without a record stands."""

    WAITING = "waiting"  # not long enough yet
    GARBAGE = "garbage"  # the next removal takes it
    KEPT = "kept"  # nothing here ever removes it
    STUCK = "stuck"  # its removal does not end
    DELETED = "deleted"
    ABSENT = "absent"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Orphan:
    """A thing that no record is about, what becomes of it, and why."""

    kind: str
    name: str
    namespace: str
    project: str
    project_id: str
    uid: str
    created_at: datetime
    age_seconds: int
    state: OrphanState
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """The ids of projects: those with a record in any context of this installation, those in this one, and those that were and have gone."""

    recorded: Collection[str]
    here: Collection[str]
    departed: Collection[str]


def judge(inventory: Inventory, known: Known, marks: Mapping[str, Mark], *, window: float, now: datetime) -> Sequence[Orphan]:
    """Return what has no record and how it stands, by name; and what does not go away though it was told to.

    Garbage is only what carries this installation's id, under the name that rdev gives, of a project that this installation
    once had and has no more, seen so for longer than `window` seconds by the place's clock and by this machine's
    (`now`), and older than that; and what a trial of rdev's own left. So an empty state, an older one or one of another place makes nothing
    garbage, and a clock that jumps delays.
    """
    ids = {thing.project_id for thing in inventory.items}
    stranger = not ids & set(known.here)
    found = []
    for thing in inventory.items:
        if thing.installation != inventory.installation:
            continue
        verdict = _stuck(thing, inventory.at)
        if verdict is None and thing.project_id not in known.recorded:
            verdict = _kept(thing, known, stranger=stranger) or _timed(thing, marks.get(thing.uid), inventory.at, window=window, now=now)
        if verdict is not None:
            age = max(0, int((inventory.at - thing.created_at).total_seconds()))
            found.append(
                Orphan(
                    kind=thing.kind,
                    name=thing.name,
                    namespace=thing.namespace,
                    project=thing.project,
                    project_id=thing.project_id,
                    uid=thing.uid,
                    created_at=thing.created_at,
                    age_seconds=age,
                    state=verdict[0],
                    reason=verdict[1],
                )
            )
    return sorted(found, key=lambda one: (one.name, one.kind, one.uid))


def _stuck(thing: Owned, at: datetime) -> tuple[OrphanState, str] | None:
    if thing.deleting_since is None or (passed := (at - thing.deleting_since).total_seconds()) <= STUCK:
        return None
    held = f"held by the finalizer {', '.join(thing.finalizers)}" if thing.finalizers else "and nothing says what holds it"
    return OrphanState.STUCK, f"it has been going away for {spoken(passed)}, {held}"


def _kept(thing: Owned, known: Known, *, stranger: bool) -> tuple[OrphanState, str] | None:
    strange = sorted(set(thing.finalizers) - _OWN_FINALIZERS)
    if thing.namespace.startswith("kube-"):
        reason = "it is in a namespace of the cluster's own"
    elif thing.keeper:
        reason = f"{thing.keeper} looks after it"
    elif strange:
        reason = f"the finalizer {strange[0]} is on it"
    elif not _named(thing):
        reason = "rdev gives no such name: somebody made it, with rdev's labels"
    elif stranger and (known.here or thing.role == TRIAL):
        reason = "none of this context's projects is here: this is another cluster, or another's state"
    elif thing.role != TRIAL and thing.project_id not in known.departed:
        more = f"; rdev project adopt {thing.project} takes it over" if thing.noun == "project" else ""
        reason = f"this installation remembers no such {thing.noun}{more}"
    else:
        return None
    return OrphanState.KEPT, reason


def _named(thing: Owned) -> bool:
    if thing.role == TRIAL:
        return not thing.project_id and thing.name.startswith(_TRIALS)
    lent = thing.noun == "session" and bool(_LENT.fullmatch(thing.name))
    return bool(thing.project and thing.project_id) and (lent or thing.name == pod_name(thing.project, thing.project_id))


def _timed(thing: Owned, mark: Mark | None, at: datetime, *, window: float, now: datetime) -> tuple[OrphanState, str]:
    if thing.deleting_since is not None:
        return OrphanState.WAITING, "it is going away"
    what = "left by a trial of rdev's own" if thing.role == TRIAL else f"without its {thing.noun}"
    if mark is None:
        return OrphanState.WAITING, f"seen {what} for the first time"
    # whichever clock jumps, the other does not
    seen = min((at - mark.there).total_seconds(), (now - mark.here).total_seconds(), (at - thing.created_at).total_seconds())
    if seen <= window:
        return OrphanState.WAITING, f"seen {what} for {spoken(max(seen, 0))} of {spoken(window)}"
    return OrphanState.GARBAGE, f"{what} for {spoken(seen)}"


def too_many(count: int, inventory: Inventory) -> bool:
    """Say whether so many are more than one run may remove without being asked to."""
    return count > MOST or count > SHARE * len(inventory.items)
