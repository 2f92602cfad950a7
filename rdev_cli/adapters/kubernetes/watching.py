"""A watch that goes on: over the end of each request, a server that is away, and a history that it forgot."""

import json
import math
import random
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from rdev_cli.adapters.kubernetes.selector import Selector
from rdev_cli.domain.errors import Conflict, Unavailable
from rdev_cli.domain.values import shown
from rdev_cli.ports.timing import LOOKUP, STANDARD

if TYPE_CHECKING:
    from rdev_cli.adapters.kubernetes.api import Api

REQUEST = 30.0  # seconds of one request: a connection that died unseen is noticed by the end of it
_GRACE = 5.0  # seconds that the server's own end of a request may be late
_PAUSE = 0.1  # seconds between two requests, more after each that fails
AWAY = 60.0  # seconds that a server may be away

Event = tuple[str, dict[str, Any]]


class Watching:
    """One watch, with what it knows of each object."""

    def __init__(self, api: "Api", path: str, *, selector: Selector | None, name: str, version: str, until: float) -> None:
        self._api, self._path, self._until = api, path, until
        self._which = {
            "labelSelector": str(selector) if selector is not None else "",
            "fieldSelector": f"metadata.name={name}" if name else "",
        }
        self._version, self._given = version, bool(version)
        self._seen: dict[str, dict[str, Any]] = {}  # by UID
        self._gone: set[str] = set()  # UIDs, which nothing else ever gets
        self._answered = time.monotonic()

    def __iter__(self) -> Iterator[Event]:
        tries = 0
        while self._left() > 0:
            began = self._answered
            try:
                if not self._given:
                    yield from self._look()
                yield from self._request()
            except Conflict as e:
                if e.code != "EXPIRED" or self._given:
                    raise
            except Unavailable:
                if time.monotonic() - self._answered > AWAY:
                    raise
            tries = tries + 1 if self._answered == began else 0
            # also after an answer: a connection that is cut at once, each time, must not become a storm
            self._api.pause(min(self._left(), random.uniform(_PAUSE / 2, _PAUSE) * 2 ** min(tries, 6)))  # noqa: S311

    def _left(self) -> float:
        return max(0.0, self._until - time.monotonic())

    def _look(self) -> Iterator[Event]:
        """Yield what a whole list tells that is not known yet.

        Each request begins with one: so a history that was forgotten, or that began anew with a restored database, is noticed at the next.
        """
        listing = self._api.whole(self._path, self._which, timeout=min(STANDARD, self._left()))
        self._version, self._answered = listing.version, time.monotonic()
        found = {item["metadata"]["uid"]: item for item in listing.items}
        before, self._seen = self._seen, found
        self._gone = (self._gone | set(before)) - set(found)
        for uid, item in before.items():
            if uid not in found:
                yield "DELETED", item
        for uid, item in found.items():
            if uid not in before:
                yield "ADDED", item
            elif _version(before[uid]) != _version(item):
                yield "MODIFIED", item

    def _request(self) -> Iterator[Event]:
        seconds = min(REQUEST, self._left())
        query = {
            **{key: value for key, value in self._which.items() if value},
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._version,
            "timeoutSeconds": str(max(1, math.ceil(seconds))),
        }
        with self._api.stream("watch", self._path, query, timeout=min(LOOKUP, seconds)) as stream:
            self._answered = time.monotonic()
            end = min(self._until, self._answered + seconds + _GRACE)
            rest = b""
            while data := stream.read(silence=max(0.0, end - time.monotonic())):
                self._answered = time.monotonic()
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    event = self._event(line) if line else None
                    if event is not None:
                        yield event

    def _event(self, line: bytes) -> Event | None:
        """Return what a line tells that is new."""
        try:
            told = json.loads(line)
            kind, item = told["type"], told["object"]
            if kind == "ERROR":
                if item.get("code") == 410:
                    raise Conflict(f"{self._path}: the cluster forgot what happened since", hint="try it again", code="EXPIRED")
                raise Unavailable(f"the cluster ended a watch: {shown(str(item.get('message')), most=300)}", hint="try it again")
            self._version = item["metadata"]["resourceVersion"]
            if kind == "BOOKMARK":
                return None
            uid = item["metadata"]["uid"]
        except (ValueError, KeyError, TypeError, AttributeError) as e:
            raise Unavailable("the cluster told something of a watch that cannot be understood", hint="try it again") from e
        old = self._seen.get(uid)
        if uid in self._gone or (old is not None and _older(item, old)):
            return None
        if kind == "DELETED":
            self._gone.add(uid)
            self._seen.pop(uid, None)
            return kind, item
        self._seen[uid] = item
        return ("ADDED" if old is None and kind == "ADDED" else "MODIFIED"), item


def _version(item: dict[str, Any]) -> str:
    return str(item["metadata"].get("resourceVersion", ""))


def _older(item: dict[str, Any], than: dict[str, Any]) -> bool:
    """Say whether an event tells what is known already: versions are numbers that grow, wherever they are numbers at all."""
    one, other = _version(item), _version(than)
    return int(one) <= int(other) if one.isdecimal() and other.isdecimal() else one == other
