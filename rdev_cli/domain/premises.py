"""What rdev keeps on this machine, and what becomes of it when rdev goes."""

from dataclasses import dataclass
from enum import StrEnum


class PartKind(StrEnum):
    """What a part is; the order is the one in which parts are removed."""

    POD = "pod"
    OUTPUT = "output"
    REPOSITORY = "repository"
    STATE = "state"  # the database, its copies, marks
    CACHE = "cache"
    CONFIG = "config"
    INSTALLATION = "installation"  # the id that says whose all the others are


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One folder or file that stands where rdev keeps such things."""

    kind: PartKind
    context: str  # empty for what belongs to all of them
    path: str
    bytes: int  # what it takes of the disk
    seconds: float  # since it was last changed
    running: bool = False  # the output of a command that has not ended
    foreign: str = ""  # why it is not rdev's to remove; empty: it is rdev's


class Fate(StrEnum):
    """What becomes of a thing when rdev is uninstalled."""

    REMOVED = "removed"
    ENDED = "ended"
    KEPT = "kept"


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """Something that rdev keeps on this machine: a path, a command that runs, or an entry of the keyring."""

    name: str
    kind: str
    context: str
    bytes: int
    fate: Fate
    reason: str = ""  # why it is kept
