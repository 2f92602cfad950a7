"""Streams: what happens, told while it happens to whoever listens, by server-sent events. docs/streams.md is the contract."""

import asyncio
import re
import secrets
import threading
from collections.abc import Awaitable, Callable, Collection, Hashable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, cast

from fastapi import FastAPI, Header, Query
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Send
from starlette.types import Scope as Connection

from rdev_cli.domain.access import Grant
from rdev_cli.domain.codec import stamp
from rdev_cli.domain.command import Command
from rdev_cli.domain.errors import Denied, Invalid, NotFound, RdevError, Unavailable
from rdev_cli.domain.session import Session
from rdev_cli.domain.values import shown
from rdev_cli.faces.http.face import Guarded, Routes, serves, whole
from rdev_cli.faces.http.feeds import EVERYTHING, Done, Feed, Journal, Life, Output, Position, Source, View, following, reached, reset, text
from rdev_cli.faces.http.frames import frame, retry, told, trouble
from rdev_cli.faces.http.wire import bounded
from rdev_cli.ops import commands, events, jobs, keys, known, sessions
from rdev_cli.ports import World
from rdev_cli.ports.timing import Stop
from rdev_cli.wiring.log import log

if TYPE_CHECKING:
    from rdev_cli.wiring.services import Services

F = TypeVar("F", bound=Callable[..., Any])

Over = Callable[[], RdevError | None]  # why somebody may listen no longer, beside what their key says; asked in the event loop

BEAT = 15.0  # seconds without a word, after which a heartbeat is sent
STALL = 20.0  # seconds that one piece may wait for its reader, before the reader is dropped
PART = 2.0  # seconds that a reader has to take the last words
LOOK = 1.5  # seconds between two looks whether a caller's key still stands
TICK = 0.5
PIECE = 1 << 14  # bytes handed to the connection at once: what one who reads nothing can hold
PER_KEY = 2000
IN_ALL = 5000
AGAIN = (
    2000  # milliseconds that a client waits before it comes again; at a server's end up to three times that, so that not all come at once
)

_PLACE = re.compile(r"[0-9]{1,18}(?:-[0-9]{1,18})?")


class Client:
    """Who listens: what they are shown, how far they are, and what is to be said to them."""

    def __init__(self, grant: Grant, view: View, now: float, over: "Over") -> None:
        self.grant, self.view, self.at, self.over = grant, view, Position(), over
        self.wake = asyncio.Event()
        self.parting = b""  # the last words to be said
        self.part_by = 0.0  # when whoever has not taken them is dropped
        self.gone = self.dropped = False
        self.beat_at, self.waiting_since = now + BEAT, 0.0
        self.abort: Callable[[], object] = lambda: None

    def part(self, words: bytes, now: float) -> None:
        """Let these be the last words."""
        if not self.parting:
            self.parting, self.part_by = words, now + PART
            self.wake.set()

    def drop(self) -> None:
        """Let the connection go as it is: who does not read cannot be told."""
        self.dropped = True
        self.abort()


class _Followed:
    """A feed, who listens to it, and what ends its thread."""

    def __init__(self, source: Source) -> None:
        self.source, self.clients = source, set[Client]()
        self.feed = Feed(self._wake)
        self.leave: Callable[[], None] = lambda: None

    def _wake(self) -> None:
        for client in self.clients:
            client.wake.set()


class Streams:
    """All streams of a server: one reader for each thing that is followed. Everything here happens in the event loop.

    `stands` raises Denied if a caller's key counts no more; it is called in a thread. `stop` ends all streams.
    """

    def __init__(
        self,
        services: "Services",
        stands: Callable[[Grant], object],
        stop: Stop,
        *,
        per_key: int = PER_KEY,
        in_all: int = IN_ALL,
        stall: float = STALL,
    ) -> None:
        self.services, self._stands, self._stop, self._per_key, self._in_all, self._stall = services, stands, stop, per_key, in_all, stall
        self.opened = 0  # how many streams there were
        self._followed: dict[Hashable, _Followed] = {}
        self._clients: set[Client] = set()
        self._actors: dict[str, int] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._threads = ThreadPoolExecutor(4, "pages")

    @property
    def active(self) -> int:
        """How many streams are open."""
        return len(self._clients)

    def enter(self, key: Hashable, source: Callable[[], Source], client: Client) -> _Followed:
        """Let a client listen to what `key` names; Unavailable if there are too many, or the server is about to stop."""
        if self._stop.is_set():
            raise Unavailable("this server is shutting down", hint="come again in a moment", code="SHUTTING_DOWN")
        actor = client.grant.actor
        if len(self._clients) >= self._in_all or self._actors.get(actor, 0) >= self._per_key:
            raise Unavailable("there are too many streams", hint="close those that nobody needs", code="TOO_MANY_REQUESTS")
        followed = self._followed.get(key)
        if followed is None or followed.feed.failure is not None:
            followed = self._followed[key] = _Followed(source())
            followed.leave = following(followed.source, followed.feed, asyncio.get_running_loop(), self.services)
        followed.clients.add(client)
        self._clients.add(client)
        self._actors[actor] = self._actors.get(actor, 0) + 1
        self.opened += 1
        if not self._tasks:
            self._tasks = [asyncio.create_task(self._tick()), asyncio.create_task(self._look())]
        return followed

    def leave(self, key: Hashable, followed: _Followed, client: Client) -> None:
        """Let a client go; with the last one ends the reader."""
        followed.clients.discard(client)
        self._clients.discard(client)
        actor = client.grant.actor
        self._actors[actor] -= 1
        if not self._actors[actor]:
            del self._actors[actor]
        if not followed.clients:
            followed.leave()
            if self._followed.get(key) is followed:
                del self._followed[key]
        while self._tasks and not self._clients:
            self._tasks.pop().cancel()

    async def thread(self, call: Callable[..., Any], *words: Any) -> Any:
        """Call what blocks."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, call, *words)

    async def _tick(self) -> None:
        """Now and then: drop who does not read, let hearts beat, and part from all when the server stops."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(TICK)
            now = loop.time()
            stopping = self._stop.is_set()
            for client in list(self._clients):
                waits = client.waiting_since and now - client.waiting_since
                if waits > self._stall or (client.parting and now > client.part_by):
                    client.drop()
                elif stopping:
                    client.part(_farewell(), now)
                elif now >= client.beat_at:
                    client.wake.set()

    async def _look(self) -> None:
        """Now and then: part from those whose key counts no more, or who left by another door."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(LOOK)
            grants = {client.grant for client in self._clients if client.grant.key}
            fallen = await asyncio.to_thread(self._fall, grants)
            for client in self._clients:
                if client.grant in fallen:
                    client.part(fallen[client.grant], loop.time())
                elif (why := client.over()) is not None:
                    client.part(trouble(why), loop.time())

    def _fall(self, grants: Collection[Grant]) -> Mapping[Grant, bytes]:
        """Return the grants that count no more, with the words that say why; what cannot be known now changes nothing."""
        found = {}
        for grant in grants:
            try:
                self._stands(grant)
            except Denied as e:
                found[grant] = trouble(e)
            except Exception as e:  # noqa: BLE001 -- a loop's body
                log().error("cannot look at a key", extra={"error": str(e)})
        return found


def _farewell() -> bytes:
    again = AGAIN + secrets.randbelow(2 * AGAIN)
    why = Unavailable("this server is shutting down", hint="come again, with the last id: nothing is lost", code="SHUTTING_DOWN")
    return retry(again) + frame("end", told(why))


class EventStream(Response):
    """An answer that goes on: the newest of a thing, from a position on, until it ends or the client leaves."""

    media_type = "text/event-stream"

    def __init__(self, streams: Streams, key: Hashable, source: Callable[[], Source], world: World, view: View, place: "Place") -> None:
        super().__init__(headers={"cache-control": "no-store", "x-accel-buffering": "no"})
        del self.headers["content-length"]
        self.over: Over = lambda: None
        self._streams, self._key, self._source, self._world, self._view, self._place = streams, key, source, world, view, place

    async def __call__(self, scope: Connection, receive: Receive, send: Send) -> None:
        """Tell until the end."""
        loop = asyncio.get_running_loop()
        client = Client(self._world.grant, self._view, loop.time(), self.over)
        followed = self._streams.enter(self._key, self._source, client)
        watch: asyncio.Task[None] | None = None
        try:
            task = asyncio.current_task()
            assert task is not None
            client.abort = task.cancel
            if wire := scope.get("rdev.wire"):
                bounded(wire)
                client.abort = wire.abort
            watch = asyncio.create_task(_watch(client, receive))
            await followed.feed.ready.wait()
            if followed.feed.failure is not None and not followed.feed.head:
                raise followed.feed.failure
            client.at, hello = self._place.begin(followed.feed.head)
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            out = _out(client, send, loop)
            await out(retry(AGAIN) + hello)
            await self._tell(client, followed, out, loop)
            if not client.gone:
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        except asyncio.CancelledError:
            if not client.dropped:
                raise
        finally:
            if watch is not None:
                watch.cancel()
            self._streams.leave(self._key, followed, client)

    async def _tell(
        self, client: Client, followed: _Followed, out: Callable[[bytes], Awaitable[None]], loop: asyncio.AbstractEventLoop
    ) -> None:
        feed = followed.feed
        while not client.gone:
            if client.parting:
                await out(client.parting)
                return
            if not reached(client.at, feed.head):
                found, at, held = feed.after(client.at, client.view)
                if not held:
                    found, at = await self._streams.thread(followed.source.page, self._world, client.view, client.at, at)
                if found:
                    await out(found)
                client.at = at
            elif feed.last:
                client.part(feed.last, loop.time())
            elif loop.time() >= client.beat_at:
                # with its place: whoever sees little of what happens does not begin far back
                await out(frame("heartbeat", {"timestamp": stamp(self._world.clock.now())}, text(client.at)))
            else:
                await client.wake.wait()
                client.wake.clear()


async def _watch(client: Client, receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    client.gone = True
    client.wake.set()


def _out(client: Client, send: Send, loop: asyncio.AbstractEventLoop) -> Callable[[bytes], Awaitable[None]]:
    async def out(data: bytes) -> None:
        for at in range(0, len(data), PIECE):
            client.waiting_since = loop.time()
            await send({"type": "http.response.body", "body": data[at : at + PIECE], "more_body": True})
        client.waiting_since = 0.0
        client.beat_at = loop.time() + BEAT

    return out


class Place:
    """Where a client wants to begin, and what it is told first."""

    def __init__(self, hello: dict[str, Any], given: str | None, parts: int, *, newest: bool) -> None:
        if given is not None and not (_PLACE.fullmatch(given) and given.count("-") == parts - 1):
            kind = "the seq of a line of the journal" if parts == 1 else "<stdout offset>-<stderr offset>"
            raise Invalid("that is no position in this stream", hint=f"send the last id that it gave: {kind}", field="Last-Event-ID")
        self._given = tuple(map(int, given.split("-"))) if given is not None else None
        self._hello, self._parts, self._newest = hello, parts, newest

    def begin(self, head: Position) -> tuple[Position, bytes]:
        """Return where to begin, and the first event; NotFound if a command never was at that position."""
        given = self._given
        at = given if given is not None else head if self._newest else (0,) * self._parts
        again = {**self._hello, "reconnecting": given is not None}
        if reached(head, at):
            return at, frame("connected", again, text(at))
        if self._parts > 1:
            raise NotFound("this command has printed less than that", hint="an id belongs to the stream that gave it", position=text(at))
        return head, frame("connected", again, text(head)) + reset(head, "the journal is another one, and shorter")


def streams(app: FastAPI) -> Streams:
    """Return the streams of an application, whose counters `/metrics` shows."""
    with _MAKING:
        found: Streams | None = getattr(app.state, "streams", None)
        if found is None:
            services: Services = app.state.services
            found = app.state.streams = Streams(
                services, lambda grant: keys.standing(services, grant), getattr(app.state, "stop", services.stop)
            )
        return found


_MAKING = threading.Lock()
routes: Routes = []
_After = Annotated[str | None, Query(description="Where to go on: the last id, for a client that cannot send `Last-Event-ID`, which wins.")]
_Last = Annotated[str | None, Header(alias="Last-Event-ID", description="The id of the last event that was seen: what follows it is told.")]


_EVENT = {  # each of them
    "type": "object",
    "properties": {
        "event": {"enum": ["connected", "event", "output", "heartbeat", "reset", "complete", "end", "error"]},
        "data": {"type": "string", "contentMediaType": "application/json"},
        "id": {"type": "string"},
        "retry": {"type": "integer"},
    },
    "required": ["event", "data"],
}


def _streams(path: str, op: Callable[..., Any], form: str) -> Callable[[F], F]:
    """Attach a stream to a path, with the words and the scope of the operation that tells the same in pages."""

    def register(func: F) -> F:
        serves(routes, "GET", path, op, answer="event", form=form)(func)
        route = cast("Guarded", routes[-1])
        what = "Events, until an `end`, `error` or `complete`: docs/streams.md."
        route.responses[200] = {"description": what, "content": {"text/event-stream": {"schema": _EVENT}}}
        return func

    return register


@_streams("/events/stream", events.read, "stream")
def journal(world: World, request: Request, subject: str | None = None, after: _After = None, last_event_id: _Last = None) -> Any:
    if subject is not None:
        events.subject_rule(subject)
    return journal_(world, request, View(world.grant.projects, subject or ""), "", last_event_id or after)


@_streams("/projects/{project}/events", commands.follow, "project")
def project_(
    world: World, request: Request, project: str, stream_id: str | None = None, after: _After = None, last_event_id: _Last = None
) -> Any:
    found = known.project(world, project)
    given = last_event_id or after
    if stream_id is not None:
        return output(world, request, _whole(world, stream_id, found.name), given)
    return journal_(world, request, View(frozenset({found.name})), found.name, given)


@_streams("/commands/{command}/events", commands.follow, "stream")
def command_(world: World, request: Request, command: str, after: _After = None, last_event_id: _Last = None) -> Any:
    return output(world, request, _whole(world, command), last_event_id or after)


@_streams("/operations/{operation}/events", jobs.show, "stream")
def operation_(world: World, request: Request, operation: str, after: _After = None, last_event_id: _Last = None) -> Any:
    job = jobs.show(world, operation)
    all_ = streams(request.app)
    place = Place({"project": job.project, "stream_id": job.id}, last_event_id or after, 1, newest=True)
    return EventStream(all_, job.id, lambda: Done(all_.services, job), world, EVERYTHING, place)


@_streams("/sessions/{session}/events", sessions.events, "stream")
def session_(world: World, request: Request, session: str, after: _After = None, last_event_id: _Last = None) -> Any:
    return life(world, request, known.session(world, whole(session, "ses", "session"), whole=True), last_event_id or after)


def life(world: World, request: Request, session: Session, given: str | None) -> EventStream:
    """Return the stream of what happens to a session and in it, from a position on."""
    all_ = streams(request.app)
    place = Place({"project": session.project, "stream_id": session.id}, given, 1, newest=False)
    return EventStream(all_, session.id, lambda: Life(all_.services, session), world, EVERYTHING, place)


def journal_(world: World, request: Request, view: View, project: str, given: str | None) -> EventStream:
    """Return the stream of what a view shows of the journal, from a position on."""
    all_ = streams(request.app)
    place = Place({"project": project, "stream_id": "journal"}, given, 1, newest=True)
    return EventStream(all_, "journal", lambda: Journal(all_.services), world, view, place)


def output(world: World, request: Request, command: Command, given: str | None) -> EventStream:
    """Return the stream of what a command prints, from a position on."""
    all_ = streams(request.app)
    place = Place({"project": command.project, "stream_id": command.id}, given, 2, newest=False)
    return EventStream(all_, command.id, lambda: Output(all_.services, command), world, EVERYTHING, place)


def _whole(world: World, id: str, project: str = "") -> Command:
    """Return a command by its whole id; NotFound if there is none, or none in the project."""
    found = next((one for one in world.store.find_commands(id) if one.id == id and project in ("", one.project)), None)
    if found is None:
        raise NotFound(f"there is no command {shown(id)}", hint="rdev command list shows the ones there are")
    return found
