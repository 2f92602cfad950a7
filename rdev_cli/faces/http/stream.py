"""Streams: what happens, told while it happens to whoever listens, by server-sent events. docs/streams.md is the contract."""

import asyncio
import re
import secrets
from collections.abc import Awaitable, Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import FastAPI, Header, Query
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Send
from starlette.types import Scope as Connection

from rdev_cli.domain.access import Grant
from rdev_cli.domain.codec import stamp
from rdev_cli.domain.command import Command
from rdev_cli.domain.errors import Invalid, NotFound, RdevError, Unavailable
from rdev_cli.faces.http.feeds import EVERYTHING, Feed, Journal, Output, Position, Source, View, following, reached, reset, text
from rdev_cli.faces.http.frames import frame, retry, told, trouble
from rdev_cli.ports import World

if TYPE_CHECKING:
    from rdev_cli.wiring.services import Services

BEAT = 15.0  # seconds without a word, after which a heartbeat is sent
STALL = 20.0  # seconds that one piece may wait for its reader, before the reader is dropped
LOOK = 2.0  # seconds between two looks whether a caller's key still stands
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

    def __init__(self, grant: Grant, view: View, now: float) -> None:
        self.grant, self.view, self.at = grant, view, Position()
        self.wake = asyncio.Event()
        self.parting = b""  # the last words to be said
        self.gone = False
        self.beat_at, self.waiting_since = now + BEAT, 0.0
        self.drop: Callable[[], object] = lambda: None

    def part(self, words: bytes) -> None:
        """Let these be the last words."""
        self.parting = self.parting or words
        self.wake.set()


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

    `stands` raises Denied if a caller's key counts no more; it is called in a thread.
    """

    def __init__(
        self, services: "Services", stands: Callable[[Grant], object], *, per_key: int = PER_KEY, in_all: int = IN_ALL, stall: float = STALL
    ) -> None:
        self.services, self._stands, self._per_key, self._in_all, self._stall = services, stands, per_key, in_all, stall
        self.opened = 0  # how many streams there were
        self._followed: dict[Hashable, _Followed] = {}
        self._clients: set[Client] = set()
        self._actors: dict[str, int] = {}
        self._clock: asyncio.Task[None] | None = None
        self._threads = ThreadPoolExecutor(4, "pages")

    @property
    def active(self) -> int:
        """How many streams are open."""
        return len(self._clients)

    def enter(self, key: Hashable, source: Callable[[], Source], client: Client) -> _Followed:
        """Let a client listen to what `key` names; Unavailable if there are too many, or the server is about to stop."""
        if self.services.stop.is_set():
            raise Unavailable("this server is shutting down", hint="come again in a moment", code="SHUTTING_DOWN")
        actor = client.grant.actor
        if len(self._clients) >= self._in_all or self._actors.get(actor, 0) >= self._per_key:
            raise Unavailable("there are too many streams", hint="close those that nobody needs", code="TOO_MANY_REQUESTS")
        followed = self._followed.get(key)
        if followed is None:
            followed = self._followed[key] = _Followed(source())
            followed.leave = following(followed.source, followed.feed, asyncio.get_running_loop(), self.services)
        followed.clients.add(client)
        self._clients.add(client)
        self._actors[actor] = self._actors.get(actor, 0) + 1
        self.opened += 1
        if self._clock is None:
            self._clock = asyncio.create_task(self._tick())
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
        if not self._clients and self._clock is not None:
            self._clock.cancel()
            self._clock = None

    async def thread(self, call: Callable[..., Any], *words: Any) -> Any:
        """Call what blocks."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, call, *words)

    async def _tick(self) -> None:
        """Now and then: drop who does not read, let hearts beat, and part from those who may not listen any more."""
        loop = asyncio.get_running_loop()
        look_at = loop.time() + LOOK
        while True:
            await asyncio.sleep(TICK)
            now = loop.time()
            stopping = self.services.stop.is_set()
            for client in list(self._clients):
                if client.waiting_since and now - client.waiting_since > self._stall:
                    client.drop()
                elif stopping:
                    client.part(_farewell())
                elif now >= client.beat_at:
                    client.wake.set()
            if now >= look_at:
                await self._look()
                look_at = loop.time() + LOOK

    async def _look(self) -> None:
        grants = {client.grant for client in self._clients if client.grant.key}
        fallen = await self.thread(lambda: {grant: words for grant in grants if (words := self._fallen(grant))})
        for client in self._clients:
            if client.grant in fallen:
                client.part(fallen[client.grant])

    def _fallen(self, grant: Grant) -> bytes:
        """Return why a grant counts no more, empty while it does; that nobody can know it now changes nothing."""
        try:
            self._stands(grant)
        except Unavailable:
            return b""
        except RdevError as e:
            return trouble(e)
        return b""


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
        self._streams, self._key, self._source, self._world, self._view, self._place = streams, key, source, world, view, place

    async def __call__(self, scope: Connection, receive: Receive, send: Send) -> None:
        """Tell until the end."""
        loop = asyncio.get_running_loop()
        client = Client(self._world.grant, self._view, loop.time())
        followed = self._streams.enter(self._key, self._source, client)
        watch: asyncio.Task[None] | None = None
        try:
            task = asyncio.current_task()
            assert task is not None
            client.drop = scope.get("rdev.abort") or task.cancel
            watch = asyncio.create_task(_watch(client, receive))
            await followed.feed.ready.wait()
            if followed.feed.failure is not None:
                raise followed.feed.failure
            client.at, hello = self._place.begin(followed.feed.head)
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            out = _out(client, send, loop)
            await out(retry(AGAIN) + hello)
            await self._tell(client, followed, out, loop)
            if not client.gone:
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        except asyncio.CancelledError:
            if not (client.waiting_since and loop.time() - client.waiting_since > STALL):
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
                client.part(feed.last)
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
