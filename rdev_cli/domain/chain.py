"""The chain that binds the lines of the journal."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from rdev_cli.domain.codec import plain, stamp

GENESIS = "0" * 64


def link(previous: str, *, seq: int, at: datetime, kind: str, subject: str, actor: str, data: Mapping[str, Any]) -> str:
    """Return the SHA-256 (hex) that binds a line to the one before it."""
    import hashlib  # noqa: PLC0415 -- loads OpenSSL, which only those who write or check need

    body = json.dumps([seq, stamp(at), kind, subject, actor, plain(data)], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(f"{previous}\n{body}".encode()).hexdigest()
