"""A line of the journal."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Who did what to what; `hash` binds it to the line before."""

    seq: int
    at: datetime
    kind: str
    subject: str
    actor: str
    data: Mapping[str, Any]
    hash: str
    project: str = ""  # whose history it belongs to, empty for no project's; not part of the hash
