"""Who is signed in to the page: sittings, kept in memory alone, each with the grant of the key that was shown."""

import secrets
import threading
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING

from starlette.requests import Request

from rdev_cli.domain.access import Grant, Key
from rdev_cli.domain.errors import Denied
from rdev_cli.faces.http.face import Door
from rdev_cli.ops import keys

if TYPE_CHECKING:
    from rdev_cli.wiring.services import Services

COOKIE = "rdev_page"
PATH = "/ui"  # neither the routes of the API nor a preview are ever sent the cookie
LASTS = timedelta(hours=12)
MOST = 2000  # sittings at a time; the oldest goes first
EACH = 50  # of one caller
_TOKEN = 43  # characters of what the cookie holds: 256 random bits


@dataclass(frozen=True, slots=True)
class Sitting:
    """One browser that is signed in."""

    id: str  # the digest of what its cookie holds, which is kept nowhere
    grant: Grant
    name: str  # what the key is called
    until: datetime


class Sittings:
    """All sittings of a server; they end with it."""

    def __init__(self, services: "Services") -> None:
        self._services = services
        self.used: dict[str, datetime] = {}  # key -> when it was last used, for whoever writes that down
        self._sittings: OrderedDict[str, Sitting] = OrderedDict()  # the oldest first
        self._lock = threading.Lock()

    def enter(self, door: Door, presented: str, address: str) -> tuple[str, Grant]:
        """Begin a sitting of whoever shows a key, and return what its cookie holds, and the grant; Denied if the key opens nothing from there."""
        grant = door(presented, address)
        key = keys.still(self._services, grant, address=address)
        token = secrets.token_urlsafe(32)
        now = self._services.clock.now()
        sitting = Sitting(_digest(token), grant, f"the key {key.name}" if key is not None else "the first key", now + LASTS)
        with self._lock:
            for old in [one for one in self._sittings.values() if one.until <= now]:
                del self._sittings[old.id]
            mine = [one.id for one in self._sittings.values() if one.grant.actor == grant.actor]
            for id in mine[: max(0, len(mine) - EACH + 1)]:
                del self._sittings[id]
            while len(self._sittings) >= MOST:
                self._sittings.popitem(last=False)
            self._sittings[sitting.id] = sitting
        return token, grant

    def find(self, request: Request, address: str) -> Sitting:
        """Return the sitting that a request belongs to; Denied UNAUTHORIZED for a stranger, and as `keys.still` says for a key that counts no more."""
        token = presented(request)
        sitting = self._sittings.get(_digest(token)) if token else None
        if sitting is None or self.over(sitting) is not None:
            raise _stranger()
        key: Key | None
        try:
            key = keys.still(self._services, sitting.grant, address=address)
        except Denied as e:
            if e.code != "IP_NOT_ALLOWED":  # whoever else has the cookie does not end the sitting of its owner
                self._drop(sitting.id)
            raise
        if key is not None:
            self.used[key.id] = self._services.clock.now()
        return sitting

    def leave(self, request: Request) -> None:
        """End the sitting that a request belongs to, if there is one."""
        if token := presented(request):
            self._drop(_digest(token))

    def over(self, sitting: Sitting) -> Denied | None:
        """Return why a sitting is over, None while it is not: nothing is looked up."""
        return None if sitting.id in self._sittings and self._services.clock.now() < sitting.until else _stranger()

    def _drop(self, id: str) -> None:
        with self._lock:
            self._sittings.pop(id, None)


def presented(request: Request) -> str:
    """Return what the page's cookie holds, empty if it was not sent once and whole: a page on a host below this one may add its own."""
    found = [
        value.strip()
        for header in request.headers.getlist("cookie")
        for name, _, value in (part.partition("=") for part in header.split(";"))
        if name.strip() == COOKIE
    ]
    return found[0] if len(found) == 1 and len(found[0]) == _TOKEN and found[0].isascii() else ""


def _digest(token: str) -> str:
    return sha256(token.encode()).hexdigest()


def _stranger() -> Denied:
    return Denied("nobody is signed in here", hint="show a key", code="UNAUTHORIZED")
