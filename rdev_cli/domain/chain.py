"""The chain that binds the lines of the journal."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from rdev_cli.domain.codec import plain, stamp

# Python's own, as `random` takes it: hashlib loads OpenSSL, and that costs a command more than to write its line
try:
    from _sha2 import sha256  # type: ignore[import-not-found]
except ImportError:
    try:
        from _sha256 import sha256  # type: ignore[import-not-found]  # until Python 3.11
    except ImportError:
        from hashlib import sha256

GENESIS = "0" * 64


def link(previous: str, *, seq: int, at: datetime, kind: str, subject: str, actor: str, data: Mapping[str, Any]) -> str:
    """Return the SHA-256 (hex) that binds a line to the one before it."""
    body = json.dumps([seq, stamp(at), kind, subject, actor, plain(data)], sort_keys=True, separators=(",", ":"))
    line: str = sha256(f"{previous}\n{body}".encode()).hexdigest()
    return line
