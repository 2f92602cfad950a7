"""A line of the journal, and the chain that binds the lines."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rdev_cli.domain.codec import plain, stamp

GENESIS = "0" * 64


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruning:
    """What is pruned of the journal, or would be: `count` lines written before a time, up to the line `through` with that hash."""

    before: datetime
    count: int
    through: int
    hash: str
    done: bool


def link(previous: str, *, seq: int, at: datetime, kind: str, subject: str, actor: str, data: Mapping[str, Any]) -> str:
    """Return the SHA-256 (hex) that binds a line to the one before it."""
    import hashlib  # noqa: PLC0415 -- loads OpenSSL, which only those who write or check need

    body = json.dumps([seq, stamp(at), kind, subject, actor, plain(data)], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(f"{previous}\n{body}".encode()).hexdigest()
