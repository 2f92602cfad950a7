"""A preview: a port of a session's pod under an address that nobody can guess, for as long as the session lives."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from urllib.parse import urlsplit

from rdev_cli.domain.errors import Invalid

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_LABEL = 26  # characters of five bits
LOCAL = "localhost"  # every name under it is this machine's own, in browsers and in most resolvers (RFC 6761)
HERE = f"http://{LOCAL}:8080"  # where `rdev serve` listens unless it is told otherwise


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

    @property
    def host(self) -> str:
        """The host of its address, without a port."""
        return urlsplit(self.url).hostname or ""


def label(random: bytes) -> str:
    """Return the label that 17 random bytes make."""
    bits = int.from_bytes(random)
    return "".join(_ALPHABET[bits >> 5 * at & 31] for at in range(_LABEL))


def addressed(label: str, base: str) -> str:
    """Return the address of a label, under the one that `rdev serve` or a domain has; empty: the one that it has by default."""
    scheme, _, rest = (base or HERE).partition("://")
    return f"{scheme}://{label}.{rest.rstrip('/')}/"


def is_local(url: str) -> bool:
    """Say whether an address is one of this machine's own, to which nothing outside leads."""
    return (urlsplit(url).hostname or "").endswith(f".{LOCAL}")


def port(text: str) -> int:
    """Return a port number that is written as one writes it, 1 to 65535; Invalid for anything else that int() would take."""
    if text.isascii() and text.isdecimal() and not text.startswith("0") and len(text) <= 5 and int(text) <= 65535:
        return int(text)
    raise Invalid("that is no port", hint="a number from 1 to 65535: rdev session preview SESSION 3000", field="port")
