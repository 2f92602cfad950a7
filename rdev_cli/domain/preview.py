"""A preview: a port of a session's pod under an address that nobody can guess, for as long as the session lives."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from rdev_cli.domain.errors import Invalid


class PreviewState(StrEnum):
    """Whether an address still leads anywhere."""

    OPEN = "open"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """One port of a session, and where it is seen."""

    id: str  # the label of its host: 26 characters of a-z0-9 that hold 130 random bits; whoever knows it may look, so no journal has it
    project: str
    session: str
    port: int
    url: str
    state: PreviewState = PreviewState.OPEN
    actor: str
    created_at: datetime
    closed_at: datetime | None = None


def port(text: str) -> int:
    """Return a port number that is written as one writes it, 1 to 65535; Invalid for anything else that int() would take."""
    if text.isascii() and text.isdecimal() and not text.startswith("0") and len(text) <= 5 and int(text) <= 65535:
        return int(text)
    raise Invalid("that is no port", hint="a number from 1 to 65535: rdev session preview SESSION 3000", field="port")
