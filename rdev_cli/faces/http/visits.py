"""Who looks at previews: which label leads where, how much of a session's is used, and whose time is over. All of it happens in the event loop."""

import asyncio
import re
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from rdev_cli.domain.errors import RdevError
from rdev_cli.domain.preview import LOCAL
from rdev_cli.faces.http.limits import Hosts, Proxies, unwrapped
from rdev_cli.ops import previews
from rdev_cli.ports.cluster import Channel
from rdev_cli.ports.timing import LOOKUP
from rdev_cli.wiring.log import log

if TYPE_CHECKING:
    from rdev_cli.ports import World

FRESH = 1.0  # seconds that a label counts as open since it was last looked up
LOOK = 1.0  # seconds between two looks whether those with connections still are
SEEN = 30.0  # seconds between two notes that a session is looked at
KNOWN = 4096  # labels that are remembered
_LONGEST = 300  # bytes of a host that could be one
_LABEL = re.compile(r"([0-9a-z]{26})\.([0-9a-z.-]+)(?::([1-9][0-9]{0,4}))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How much there may be of it."""

    connections: int = 128  # of a session at a time
    in_all: int = 1024
    transferred: int = 8 << 30  # bytes of a session in both directions, in each hour
    hour: float = 3600.0


@dataclass(frozen=True, slots=True)
class Target:
    """Where a label leads."""

    label: str
    session: str
    port: int


class Visitor(Protocol):
    """One connection that somebody has open."""

    target: Target | None

    def end(self) -> None:
        """Close it and what stands behind it, at once."""
        ...

    def check(self, now: float) -> None:
        """Close it if it waits for something that does not come."""
        ...


class Visits:
    """All connections to previews of one server."""

    def __init__(
        self, world: "World", *, domain: str, hosts: Hosts, proxies: Proxies, only_proxies: bool = False, bounds: Bounds | None = None
    ) -> None:
        self._world, self._hosts, self._proxies, self._only_proxies = world, hosts, proxies, only_proxies
        self._ends = tuple(f".{one}" for one in (LOCAL, domain) if one)
        self.bounds = bounds or Bounds()
        self.opened = self.bytes = 0  # connections that there were, and what went through
        self._visitors: set[Visitor] = set()
        self._labels: dict[bytes, str | None] = {}
        self._found: dict[str, tuple[float, Target | None]] = {}
        self._used: dict[str, list[float]] = {}  # session -> [when its hour began, bytes since]
        self._active: dict[str, float] = {}  # session -> when somebody last asked, and this is not noted yet
        self._noted: dict[str, float] = {}
        self._threads = ThreadPoolExecutor(16, "previews")
        self._task: asyncio.Task[None] | None = None

    @property
    def active(self) -> int:
        """How many connections are open."""
        return len(self._visitors)

    def label(self, host: bytes) -> str | None:
        """Return the label in a Host header, empty for one that is not written as it must be; None: it is not a preview that is asked for."""
        if len(host) > _LONGEST:
            return self._read(host.decode("latin-1").lower())
        if host not in self._labels:
            if len(self._labels) >= KNOWN:
                self._labels.clear()
            self._labels[host] = self._read(host.decode("latin-1").lower())
        return self._labels[host]

    def _read(self, host: str) -> str | None:
        if not re.sub(":[^:]*$", "", host).rstrip(".").endswith(self._ends) or self._hosts.allow(host, ""):
            return None
        match = _LABEL.fullmatch(host)
        good = match is not None and f".{match[2]}" in self._ends and int(match[3] or 1) <= 65535
        return match[1] if match is not None and good else ""

    def admits(self, peer: str) -> bool:
        """Say whether a connection may ask: an address that anybody could read on its way is asked for through the proxy that ends TLS."""
        return not self._only_proxies or self._proxies.trust(unwrapped(peer))

    def close(self) -> None:
        """Let its threads end."""
        self._threads.shutdown(wait=False)

    # where a label leads

    def fresh(self, label: str) -> tuple[bool, Target | None]:
        """Say whether it is known now where a label leads, and where."""
        at, target = self._found.get(label, (-FRESH, None))
        return asyncio.get_running_loop().time() - at < FRESH, target

    async def find(self, label: str) -> Target | None:
        """Return where a label leads, None if nowhere; RdevError if that cannot be known now."""
        known, target = self.fresh(label)
        return target if known else (await self._look([label]))[label]

    async def _look(self, labels: list[str]) -> dict[str, Target | None]:
        loop = asyncio.get_running_loop()
        began = loop.time()
        found = await loop.run_in_executor(self._threads, self._targets, labels)
        while len(self._found) > KNOWN:
            del self._found[next(iter(self._found))]
        for label, target in found.items():
            self._found.pop(label, None)
            self._found[label] = began, target
        return found

    def _targets(self, labels: list[str]) -> dict[str, Target | None]:
        pairs = {label: previews.found(self._world, label) for label in labels}
        return {label: Target(label, pair[1].id, pair[0].port) if pair else None for label, pair in pairs.items()}

    async def dial(self, target: Target) -> Channel:
        """Connect to where a label leads."""
        made = self._threads.submit(previews.reach, self._world, target.session, target.port, timeout=LOOKUP)
        try:
            return await asyncio.wrap_future(made)
        except asyncio.CancelledError:
            made.add_done_callback(_unwanted)
            raise

    # how much

    def enter(self, visitor: Visitor) -> bool:
        """Count a connection; False if there are too many of all."""
        if len(self._visitors) >= self.bounds.in_all:
            return False
        self._visitors.add(visitor)
        self.opened += 1
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._watch())
        return True

    def leave(self, visitor: Visitor) -> None:
        """Let a connection go."""
        self._visitors.discard(visitor)
        if not self._visitors and self._task is not None:
            self._task.cancel()
            self._task = None

    def room(self, session: str) -> bool:
        """Say whether a session may have one more connection: called by one that is not of it yet."""
        return sum(one.target is not None and one.target.session == session for one in self._visitors) < self.bounds.connections

    def asks(self, session: str) -> None:
        """Note that somebody asks for something of a session: it is not idle."""
        self._active[session] = 0.0

    def passed(self, session: str, size: int) -> bool:
        """Count bytes of a session; False once it has had its share of this hour."""
        self.bytes += size
        now = asyncio.get_running_loop().time()
        used = self._used.get(session)
        if used is None or now - used[0] >= self.bounds.hour:
            used = self._used[session] = [now, 0]
        used[1] += size
        return used[1] <= self.bounds.transferred

    def spent(self, session: str) -> bool:
        """Say whether a session has had its share of this hour."""
        return not self.passed(session, 0)

    # what happens by itself

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        looked = loop.time()
        while True:
            await asyncio.sleep(LOOK / 2)
            now = loop.time()
            for one in list(self._visitors):
                one.check(now)
            if now - looked < LOOK:
                continue
            looked = now
            self._used = {session: used for session, used in self._used.items() if now - used[0] < self.bounds.hour}
            try:
                await self._part()
                await self._note(now)
            except Exception as e:  # noqa: BLE001 -- a loop's body: what cannot be known now changes nothing
                log().error("cannot look at previews", extra={"error": str(e)})

    async def _part(self) -> None:
        """Part from those whose preview is closed, or whose session is at its end."""
        labels = sorted({one.target.label for one in self._visitors if one.target is not None})
        found = await self._look(labels) if labels else {}
        for one in list(self._visitors):
            if one.target is not None and one.target.label in found and found[one.target.label] != one.target:
                one.end()

    async def _note(self, now: float) -> None:
        """Write down, now and then, that somebody looks."""
        due = [session for session in self._active if now - self._noted.get(session, -SEEN) >= SEEN]
        for session in due:
            del self._active[session]
            self._noted[session] = now
        self._noted = {session: at for session, at in self._noted.items() if now - at < SEEN}
        if due:
            await asyncio.get_running_loop().run_in_executor(self._threads, _touch, self._world, due)


def _touch(world: "World", sessions: list[str]) -> None:
    for session in sessions:
        previews.seen(world, session)


def _unwanted(made: Future[Channel]) -> None:
    """Close a connection that nobody waits for any more."""
    if not made.cancelled() and made.exception() is None:
        made.result().close()


def words(error: RdevError) -> str:
    """Return how an error is told to whoever looks at a page."""
    return f"{error.message}\n{error.hint}" if error.hint else error.message
