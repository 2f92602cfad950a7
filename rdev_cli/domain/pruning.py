"""What is pruned of the journal."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruning:
    """What is pruned of the journal, or would be: `count` lines written before a time, up to the line `through` with that hash."""

    before: datetime
    count: int
    through: int
    hash: str
    done: bool
