"""A worker: a pod that is kept warm for whichever project needs one next."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class WorkerState(StrEnum):
    """What a worker is doing."""

    IDLE = "idle"
    BUSY = "busy"
    DRAINING = "draining"
    OFFLINE = "offline"


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
