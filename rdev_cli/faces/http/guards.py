"""What stands before the app, outermost first: who is asked for, who asks, how much, and how it ended. Nothing here knows a route."""

import asyncio
import contextlib
import re
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from rdev_cli.domain.access import Grant
from rdev_cli.domain.codec import stamp
from rdev_cli.domain.errors import Denied, Invalid, RdevError, TimedOut, Unavailable
from rdev_cli.domain.values import sized
from rdev_cli.faces.http.face import problem
from rdev_cli.faces.http.limits import FAILURES, Count, Hosts, Proxies, Window, source, unwrapped
from rdev_cli.faces.http.metrics import Metrics
from rdev_cli.ports.timing import STANDARD, Clock
from rdev_cli.wiring.log import log

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

OPEN = ("/health", "/ready")  # what asks for nothing and tells nothing
_SLOWEST = 64 << 10  # bytes a second that a body must come in, beside the first STANDARD seconds
_HELD = 64 << 20  # bytes of bodies that are held at a time, whoever sends them
_UNCOUNTED = Count(0, 0, 0, over=False)
_PREFIX = re.compile(rb"(?:Bearer )?rdev_sk_([a-z0-9]{8})_")


class Refusal(Exception):
    """A request that the app never sees: how it is told, and by which status."""

    def __init__(self, status: int, error: RdevError, **headers: str) -> None:
        super().__init__(error.message)
        self.status, self.error, self.headers = status, error, {name.replace("_", "-"): value for name, value in headers.items()}


class Request:
    """What the guard knows of one request."""

    def __init__(self, scope: Scope) -> None:
        self.began, self.status, self.actor, self.count = time.monotonic(), 0, "", _UNCOUNTED
        self.headers: list[tuple[bytes, bytes]] = scope["headers"]
        self.id = str(scope["state"]["request_id"])

    def all(self, name: bytes) -> list[bytes]:
        """Return the values of a header, once for each time that it was given."""
        return [value for key, value in self.headers if key == name]

    def prefix(self) -> str:
        """Return the beginning of the key that was shown, empty if there is none."""
        for value in (*self.all(b"x-api-key"), *self.all(b"authorization")):
            if match := _PREFIX.match(value):
                return match[1].decode()
        return ""


class Guard:
    """The app, guarded."""

    def __init__(
        self,
        app: App,
        *,
        hosts: Hosts,
        proxies: Proxies,
        metrics: Metrics,
        clock: Clock,
        rate: int,
        max_body: int,
        only_proxies: bool = False,  # what comes in is not encrypted, so that it must come from a proxy, behind which it was
    ) -> None:
        self._app, self._hosts, self._proxies, self._metrics, self._clock = app, hosts, proxies, metrics, clock
        self._max_body, self._only_proxies, self._held = max_body, only_proxies, 0
        self._rates, self._failures = Window(rate), Window(FAILURES)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or the app's own beginning and end."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        scope["state"]["admit"] = lambda grant: self._admit(request, grant)
        self._metrics.began()
        held = [0]
        try:
            self._route(scope, request)
            await self._app(scope, await self._body(request, receive, held), self._answering(scope, request, send))
        except Refusal as e:
            await self._refuse(scope, request, receive, send, e)
        except _Gone:
            pass
        finally:
            self._held -= held[0]
            self._ended(scope, request)

    def _ended(self, scope: Scope, request: Request) -> None:
        path = getattr(scope.get("route"), "path", "") or (scope["path"] if "endpoint" in scope else "unmatched")
        seconds = time.monotonic() - request.began
        self._metrics.ended(scope["method"], path, request.status, seconds)
        facts = {
            "request_id": request.id, "method": scope["method"][:16], "route": path, "status": request.status,
            "duration_ms": round(seconds * 1000), "actor": request.actor,
        }  # fmt: skip
        log().info("answered", extra=facts)

    # before the app

    def _route(self, scope: Scope, request: Request) -> None:
        """See to it that this server is meant, and find out who asks."""
        reached = unwrapped(scope["server"][0]) if scope.get("server") else ""
        hosts = request.all(b"host")
        if len(hosts) != 1 or not self._hosts.allow(hosts[0].decode("latin-1"), reached) or scope["raw_path"][:1] != b"/":
            hint = "ask for it by a name that it knows; rdev serve --allow-host NAME gives it one more"
            raise Refusal(421, Invalid("this is not the server that was asked for", hint=hint, code="MISDIRECTED"))
        if any(not self._hosts.allow_origin(origin.decode("latin-1"), reached) for origin in request.all(b"origin")):
            hint = "ask from a program, or from a page of this server"
            raise Refusal(403, Denied("a page of another site may not ask here", hint=hint, code="FOREIGN_ORIGIN"))
        peer = scope["client"][0] if scope.get("client") else ""
        if self._only_proxies and not self._proxies.trust(unwrapped(peer)) and scope["path"] not in OPEN:
            hint = "ask the proxy in front of it, by https"
            raise Refusal(403, Denied("this server takes no key that anybody could read on its way", hint=hint, code="NOT_ENCRYPTED"))
        address = self._proxies.client(peer, [line.decode("latin-1") for line in request.all(b"x-forwarded-for")])
        scope["client"] = (address, scope["client"][1] if scope.get("client") else 0)

    async def _body(self, request: Request, receive: Receive, held: list[int]) -> Receive:
        """Read the body, bounded in size and time, and return where the app finds it."""
        lengths, coded = request.all(b"content-length"), request.all(b"transfer-encoding")
        if not lengths and not coded:
            return receive
        if lengths and coded:
            bad = Invalid("a body has one length", hint="send content-length or transfer-encoding", code="BAD_REQUEST")
            raise Refusal(400, bad, connection="close")
        if any(value.lower() != b"identity" for value in request.all(b"content-encoding")):
            packed = Invalid("a body is read as it is", hint="send it without content-encoding", code="NOT_PLAIN")
            raise Refusal(415, packed, connection="close")
        hint = "send less, or start the server with a larger --max-body"
        large = Refusal(413, Invalid(f"a body has at most {sized(self._max_body)} here", hint=hint, code="TOO_LARGE"), connection="close")
        if lengths and int(lengths[0]) > self._max_body:
            if not request.all(b"expect"):
                await _let_pass(receive)
            raise large
        parts: list[bytes] = []
        try:
            async with asyncio.timeout(STANDARD + self._max_body / _SLOWEST):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise _Gone
                    parts.append(message.get("body", b""))
                    held[0] += len(parts[-1])
                    self._held += len(parts[-1])
                    if held[0] > self._max_body:
                        raise large
                    if self._held > max(_HELD, 2 * self._max_body):
                        full = Unavailable("too much is being sent at a time", hint="try again in a moment", code="BUSY")
                        raise Refusal(503, full, connection="close", retry_after="1")
                    if not message.get("more_body"):
                        break
        except TimeoutError as e:
            slow = TimedOut("the body did not come in time", hint="send it faster, or less of it")
            raise Refusal(408, slow, connection="close") from e
        whole: list[Message] = [{"type": "http.request", "body": b"".join(parts), "more_body": False}]

        async def read() -> Message:
            return whole.pop() if whole else await receive()

        return read

    # the app's answer

    def _admit(self, request: Request, grant: Grant) -> None:
        """Count a request of a caller who has shown a good key; raise if there were too many. The app asks before it does anything."""
        request.actor = grant.actor
        request.count = self._rates.add(grant.actor)
        if request.count.over:
            raise Unavailable(
                f"more than {request.count.limit} requests a minute", hint=f"try again in {request.count.reset} seconds",
                code="TOO_MANY_REQUESTS", retry_after_seconds=request.count.reset,
            )  # fmt: skip

    def _failed(self, scope: Scope, request: Request) -> Count | None:
        """Count a key that was no good by where it came from and by how it began; return the count that is beyond the limit, if one is.

        A good key is never counted, so that whoever guesses at it keeps nobody out.
        """
        prefix = request.prefix()
        counts = [self._failures.add(f"from {source(scope['client'][0])}")]
        if prefix:
            counts.append(self._failures.add(f"key {prefix}"))
        return next((count for count in counts if count.over), None)

    def _answering(self, scope: Scope, request: Request, send: Send) -> Send:
        refused = False

        async def answer(message: Message) -> None:
            nonlocal refused
            if (
                message["type"] == "http.response.start"
                and message["status"] == 401
                and (count := self._failed(scope, request)) is not None
            ):
                refused, request.count = True, count
                many = Unavailable(
                    "too many keys that are no good", hint=f"try again in {count.reset} seconds", code="TOO_MANY_REQUESTS",
                    retry_after_seconds=count.reset,
                )  # fmt: skip
                await self._refuse(scope, request, _nothing, send, Refusal(429, many))
            elif not refused:
                await send(self._begun(request, message))

        return answer

    def _begun(self, request: Request, message: Message) -> Message:
        """Return a message of the answer, its beginning with what every answer says."""
        if message["type"] != "http.response.start":
            return message
        request.status = message["status"]
        headers, count = list(message.get("headers", [])), request.count
        more = [(b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff")]
        if count is not _UNCOUNTED:
            more += [(f"ratelimit-{name}".encode(), str(getattr(count, name)).encode()) for name in ("limit", "remaining", "reset")]
        if count.over:
            more.append((b"retry-after", str(count.reset).encode()))
        there = {key.lower() for key, _ in headers}
        return {**message, "headers": headers + [(key, value) for key, value in more if key not in there]}

    async def _refuse(self, scope: Scope, request: Request, receive: Receive, send: Send, refusal: Refusal) -> None:
        response = problem(refusal.error, id=request.id, at=stamp(self._clock.now()), headers=refusal.headers)
        response.status_code = refusal.status

        async def answer(message: Message) -> None:
            await send(self._begun(request, message))

        await response(scope, receive, answer)


async def _let_pass(receive: Receive) -> None:
    """Read a little of a body that is not taken: a client that is still sending would be cut off before it reads the answer."""
    most = 8 << 20
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(1):
            while most > 0:
                message = await receive()
                most -= len(message.get("body", b""))
                if not message.get("more_body"):
                    break


async def _nothing() -> Message:
    return {"type": "http.disconnect"}


class _Gone(Exception):
    """The client left before it had asked."""
