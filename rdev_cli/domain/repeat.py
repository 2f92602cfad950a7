"""A request that may be repeated: what is kept of it under its idempotency key."""

import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from rdev_cli.domain.codec import moment, stamp
from rdev_cli.domain.errors import Invalid
from rdev_cli.domain.values import new_id, shown

_KEY = re.compile("[!-~]{1,255}")


class KeptState(StrEnum):
    """How a request stands: `open` with nobody at work means that it was cut off, and its repeat goes on."""

    OPEN = "open"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """One request under a key."""

    id: str  # of caller and key together; neither can be read off it
    fingerprint: str  # of what was asked
    seed: str  # of the ids that it mints: a repeat meets what the first made
    state: KeptState
    answer: str = ""


def key(text: str) -> str:
    """Return text if it can be an idempotency key, else raise Invalid."""
    if not _KEY.fullmatch(text):
        raise Invalid(
            f"idempotency key '{shown(text)}' is not allowed",
            hint="1 to 255 visible ASCII characters without a blank, such as a UUID",
            field="idempotency-key",
        )
    return text


def seed(now: datetime, randomness: str) -> str:
    """Return what the ids of a request are made from: when it was first made, and something that nobody else has."""
    return f"{stamp(now)} {randomness}"


def minted(seed: str, prefix: str, number: int) -> str:
    """Return the id of a request's `number`th new thing of a kind: the same one whenever it is made again."""
    from hashlib import sha256  # noqa: PLC0415 -- only a request under a key needs it

    drawn = sha256(f"{seed} {prefix} {number}".encode()).digest()
    return new_id(prefix, moment(seed.partition(" ")[0]), int.from_bytes(drawn[:8], "big"))
