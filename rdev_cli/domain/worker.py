"""A worker: a pod that is kept warm for whichever project needs one next."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

MOST = 100  # workers that a context keeps
POOL = "pool"  # what stands in the place of a project's name on a worker that nobody has


class WorkerState(StrEnum):
    """What a worker is doing."""

    IDLE = "idle"
    BUSY = "busy"  # a session has it, or it is being looked at after one
    DRAINING = "draining"  # a session has it, and it is destroyed when that gives it back
    OFFLINE = "offline"  # being made or destroyed, or found dead: nobody gets it


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """One worker, as rdev remembers it; whose it is at this moment is written on the pod itself."""

    id: str
    pod: str
    project: str = ""  # the one that has it, empty while nobody does
    session: str = ""
    state: WorkerState
    image: str = ""
    leases: int = 0  # how many sessions have had it
    created_at: datetime
    changed_at: datetime
    evidence: str = ""  # what the last scrub proved, or why it was doubted: one line


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What a scrub found when it looked whether a pod is as it was made; any doubt in it and the pod is destroyed."""

    clean: bool
    doubts: tuple[str, ...] = ()
    removed: int = 0  # files and processes that the scrub took away
    at: datetime
    facts: tuple[str, ...] = ()  # what was proved, each in a few words

    @property
    def line(self) -> str:
        """All of it in one line."""
        return f"clean: {', '.join(self.facts)}" if self.clean else "; ".join(self.doubts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A worker's pod as the place shows it."""

    worker: str
    pod: str
    session: str = ""  # whose it is, empty while nobody has it
    doubt: str = ""  # why it may not be lent: it was restarted, it is of another shape; empty: it may


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """What a look at one worker says: whether it is what it was when it was made."""

    worker: str
    pod: str
    state: WorkerState
    leases: int
    clean: bool
    doubts: tuple[str, ...] = ()
    facts: tuple[str, ...] = ()
    last: str = ""  # what the scrub after the last session said
    at: datetime


def worker_pod(id: str) -> str:
    """Return the deterministic name of a worker's pod."""
    return f"rdev-{POOL}-{id[-8:]}"
