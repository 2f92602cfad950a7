"""The proxy of previews: bytes between a visitor's connection and a program in a pod, held to the host, the rules and the bounds of a preview."""

import asyncio
import contextlib
import http
import socket
import struct
from collections.abc import Callable
from typing import Any

from rdev_cli.domain.errors import Conflict, NotFound, RdevError
from rdev_cli.faces.http.heads import HEAD, Answered, Asked, Bad, Body, answered, asked, forwarded, named, returned, told
from rdev_cli.faces.http.visits import Target, Visits, words
from rdev_cli.wiring.log import log

LATE = 10.0  # seconds in which a request's head must be whole
IDLE = 75.0  # seconds that a connection stays open for another request
LINGER = 1.0  # seconds in which one that still sends may read its answer
STALL = 60.0  # seconds that a side may take nothing of what is there for it
HELD = 256 << 10  # bytes that are held for a side which does not take them, beside what the system holds
REASONS = {status.value: status.phrase.encode() for status in http.HTTPStatus}
_SAFE = (b"GET", b"HEAD", b"OPTIONS")
_NOWHERE = "There is no such preview, or its session has ended."
_NOBODY = "Nothing answers at port {} of this session.\nStart the server there, at 127.0.0.1 or 0.0.0.0, and load this again."
_MUCH = "This session has sent as much as it may in an hour. Come back later."


class _Side(asyncio.Protocol):
    """One end: what is written to it waits no longer than the other is read."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self.full_since = 0.0  # when it took nothing more, 0 while it does
        self.other: _Side | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.set_write_buffer_limits(high=HELD)

    def pause_writing(self) -> None:
        self.full_since = asyncio.get_running_loop().time()
        if self.other is not None:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        self.full_since = 0.0
        if self.other is not None:
            self.other.transport.resume_reading()


class Pod(_Side):
    """The connection to the program."""

    def __init__(self, visit: "Visit") -> None:
        super().__init__()
        self.visit, self.other = visit, visit
        self.used = False  # for a request before this one

    def data_received(self, data: bytes) -> None:
        """Hand over what the program sends."""
        self.visit.came(self, data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Say that it is over, however it ended."""
        self.visit.over(self, exc)


class Visit(_Side):
    """One visitor's connection: request after request, each by its own host, until one goes on as a WebSocket."""

    def __init__(self, visits: Visits, connections: set[Any], back: Callable[[asyncio.Transport, bytes], None]) -> None:
        super().__init__()
        self._visits, self._connections, self._back = visits, connections, back
        self.target: Target | None = None
        self._pod: Pod | None = None
        self._held = b""  # what came and is not looked at yet
        self._asked: Asked | None = None  # the request that is under way
        self._sent = b""  # its head as the program got it, to be sent once more where nothing of it can have been done
        self._up = self._down = Body(0)  # its body, and its answer's
        self._answer: Answered | None = None
        self._head = b""  # the beginning of an answer
        self._tunnel = self._closing = self._stopped = False
        self._since = 0.0  # since when nothing is under way
        self._task: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()

    # the visitor's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a connection over, whose first request is already there."""
        super().connection_made(transport)
        self._connections.add(self)
        self._since = self._loop.time()
        if not self._visits.enter(self):
            self._tell(503, "Too much is looked at here. Come back in a moment.")
        elif not self._visits.admits((self.transport.get_extra_info("peername") or ("",))[0]):
            self._tell(403, "This address is asked for by https.")

    def data_received(self, data: bytes) -> None:
        """Take what the visitor sends."""
        if self._closing:
            return
        if self._tunnel and self._pod is not None and self.target is not None:
            self._visits.asks(self.target.session)
            if self._counted(len(data)):
                self._pod.transport.write(data)
            return
        if self._asked is None and not self._held:
            self._since = self._loop.time()
        self._held += data
        if self._asked is None:
            self._next()
        else:
            self._upload()
        if len(self._held) > HELD and not self._closing:
            self._stopped = True
            self.transport.pause_reading()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 -- however it ended
        """Close what stands behind it."""
        self._closing = True
        self._connections.discard(self)
        self._visits.leave(self)
        if self._task is not None:
            self._task.cancel()
        if self._pod is not None:
            self._pod.transport.abort()

    def shutdown(self) -> None:
        """Close, as the server does."""
        self.end()

    def end(self) -> None:
        """Close at once; what is not whole does not look whole."""
        self._closing = True
        _reset(self.transport)
        if self._pod is not None:
            self._pod.transport.abort()

    def check(self, now: float) -> None:
        """Close what waits in vain."""
        sides: tuple[_Side | None, ...] = (self, self._pod)
        if any(side is not None and side.full_since and now - side.full_since > STALL for side in sides):
            self.end()
        elif self._asked is None and now - self._since > (LATE if self._held or self._closing else IDLE):
            self.end() if self._held or self._closing else self._close()

    # one request after another

    def _next(self) -> None:
        """Begin with the request whose head is there."""
        if self._closing:
            return
        self._held = self._held.lstrip(b"\r\n") if self._held[:1] in (b"\r", b"\n") else self._held
        end = self._held.find(b"\r\n\r\n")
        if end < 0:
            if len(self._held) > HEAD:
                self._tell(431, "The head of this request is too long.")
            return
        head = self._held[:end]
        host = named(head)
        label = self._visits.label(host) if host else ""
        if label is None:
            self._leave()
            return
        try:
            request = asked(head)
        except Bad as e:
            self._tell(400, f"This is no request: {e}.")
            return
        self._held = self._held[end + 4 :]
        self._asked, self._up, self._answer, self._head = request, Body(request.length), None, b""
        if not label:
            self._tell(404, _NOWHERE)
        elif request.upgrade and (request.upgrade != b"websocket" or request.old or request.method != b"GET" or request.length):
            self._tell(400, "Of all that a connection can go on with, only a WebSocket is passed on.")
        elif request.upgrade and not _own(request):
            self._tell(403, "A page of another site may not open this.")
        else:
            known, target = self._visits.fresh(label)
            if known and target is not None and target == self.target and self._pod is not None:
                self._go(target)
            else:
                self._task = self._loop.create_task(self._find(label))

    async def _find(self, label: str) -> None:
        """Find out where a label leads, and connect to it."""
        try:
            target = await self._visits.find(label)
            if target is None:
                self._tell(404, _NOWHERE)
            elif (target == self.target and self._pod is not None) or await self._connect(target):
                self._go(target)
        except RdevError as e:
            self._tell(503, words(e))
        except Exception as e:  # noqa: BLE001 -- a task's body: nobody else would say that it failed
            log().error("a preview failed", exc_info=True, extra={"error": type(e).__name__})
            self._tell(500, "rdev failed on this. Its log has more.")

    async def _connect(self, target: Target) -> bool:
        """Connect to a pod in place of the one before; say whether that went well."""
        self._drop()
        if self.target is None or self.target.session != target.session:
            self.target = None
            if not self._visits.room(target.session):
                self._tell(429, "Too many connections to this session are open. Close some.")
                return False
        self.target = target
        try:
            channel = await self._visits.dial(target)
        except (NotFound, Conflict):
            self._tell(404, _NOWHERE)
            return False
        except RdevError as e:
            self._tell(502, _NOBODY.format(target.port) if e.code == "NOT_LISTENING" else words(e))
            return False
        if self._closing:
            channel.close()
            return False
        opened = socket.socket(fileno=channel.detach())
        try:
            _, self._pod = await self._loop.create_connection(lambda: Pod(self), sock=opened)
        except BaseException:
            opened.close()
            raise
        if self.full_since:  # of what an earlier program sent
            self._pod.transport.pause_reading()
        if self._closing:
            self._drop()
        return not self._closing

    def _go(self, target: Target) -> None:
        """Send the request on its way."""
        if self._asked is None or self._pod is None:
            return
        if self._visits.spent(target.session):
            self._tell(429, _MUCH)
            return
        self._visits.asks(target.session)
        self._sent = forwarded(self._asked)
        if self._counted(len(self._sent)):
            self.other = self._pod
            self._pod.transport.write(self._sent)
            self._upload()

    def _upload(self) -> None:
        """Pass on what there is of the request's body."""
        if self._pod is None or self._up.done or not self._held or not self._sent or self._closing:
            return
        try:
            part, self._held = self._up.take(self._held)
        except Bad as e:
            log().info("a request was cut off", extra={"error": str(e)})
            self.end()
            return
        if part and self._counted(len(part)):
            self._sent = b"."  # too late to send it again
            self._pod.transport.write(part)
        self._flow()

    def _flow(self) -> None:
        """Read on once what was held is passed on."""
        if self._stopped and len(self._held) <= HELD:
            self._stopped = False
            if self._pod is None or not self._pod.full_since:
                self.transport.resume_reading()

    # the program's side

    def came(self, pod: Pod, data: bytes) -> None:
        """Take what the program sends."""
        if pod is not self._pod or self._closing:
            return
        if not self._counted(len(data)):
            return
        if self._tunnel:
            self.transport.write(data)
            return
        if self._asked is None:
            self._drop()  # nobody asked: whatever comes next would be taken for an answer
            return
        try:
            self._take(self._asked, pod, data)
        except Bad as e:
            log().info("an answer of a preview is none", extra={"error": str(e)})
            if self._answer is None:
                self._tell(502, "What the program sends is no answer of HTTP/1.1.")
            else:
                self.end()

    def _take(self, request: Asked, pod: Pod, data: bytes) -> None:
        out = []
        while self._answer is None:
            self._head += data
            end = self._head.find(b"\r\n\r\n")
            if end < 0:
                if len(self._head) > HEAD:
                    raise Bad("its head has no end")
                break
            head, data = self._head[:end], self._head[end + 4 :]
            self._head = b""
            found = answered(head, request)
            if found.status == 101:
                if not request.upgrade:
                    raise Bad("it goes on with something that nobody asked for")
                self._tunnel, self._answer = True, found
                out += [returned(found, request, last=False), data]
            elif found.status < 200:
                out.append(returned(found, request, last=False))
            else:
                # of a request that is answered before it was read to its end the rest would be taken for the next one
                request.last = request.last or found.length == -2 or not self._up.done
                self._answer, self._down = found, Body(found.length)
                out.append(returned(found, request, last=request.last))
        if self._answer is not None and not self._tunnel:
            part, data = self._down.take(data)
            out.append(part)
        self.transport.write(b"".join(out))
        if self._tunnel:
            rest, self._held = self._held, b""
            pod.transport.write(rest)
            self._flow()
        elif self._answer is not None and self._down.done:
            self._answered(pod, more=bool(data))

    def _answered(self, pod: Pod, *, more: bool) -> None:
        """Be ready for the next request."""
        assert self._asked is not None
        assert self._answer is not None
        last, whole, self._asked, self._sent = self._asked.last, self._up.done, None, b""
        if more or self._answer.last:
            self._drop()
        else:
            pod.used = True
        self._since = self._loop.time()
        if last:
            self._close(linger=not whole)
        elif self._held:
            self._loop.call_soon(self._next)
        self._flow()

    def over(self, pod: Pod, exc: Exception | None) -> None:
        """Know that the program's connection ended."""
        if pod is not self._pod or self._closing:
            return
        self._pod, self.other = None, None
        self._free(pod)
        if self._tunnel:
            _reset(self.transport) if exc else self._close()
        elif self._asked is None:
            return
        elif self._answer is not None:
            self._close() if exc is None and self._answer.length == -2 else self.end()
        elif pod.used and not self._head and self._asked.method in _SAFE and self._sent not in (b"", b".") and self.target is not None:
            # it was let go while the request was on its way: nothing can have come of it
            self._task = self._loop.create_task(self._find(self.target.label))
        else:
            self._tell(502, _NOBODY.format(self.target.port if self.target else "?"))

    # ends

    def _counted(self, size: int) -> bool:
        """Count bytes of the session; close where they are too many."""
        if self.target is None or self._visits.passed(self.target.session, size):
            return True
        log().warning("a session has sent as much through its previews as it may", extra={"session": self.target.session})
        self.end()
        return False

    def _tell(self, status: int, text: str) -> None:
        """Say what is wrong, and close: what else the visitor sent is not for us to understand."""
        if self._closing:
            return
        head = self._asked is not None and self._asked.method == b"HEAD"
        self.transport.write(told(status, text, REASONS, head=head))
        self._close(linger=not self._up.done)

    def _close(self, *, linger: bool = False) -> None:
        """Close once all is written; one that still sends would be cut off before it reads the answer, unless it has a moment."""
        self._closing = True
        self._asked, self._since, self._held = None, self._loop.time(), b""
        self._drop()
        if linger:
            self.transport.resume_reading()
            self._loop.call_later(LINGER, self.transport.close)
        else:
            self.transport.close()

    def _drop(self) -> None:
        pod, self._pod, self.other = self._pod, None, None
        if pod is not None:
            pod.transport.abort()
            self._free(pod)

    def _free(self, pod: Pod) -> None:
        """Read the visitor again, if it was not read because a program took nothing that has no more to take."""
        if pod.full_since and not self._stopped and not self._closing:
            self.transport.resume_reading()

    def _leave(self) -> None:
        """Give the connection back to the app."""
        held, self._held, self._closing = self._held, b"", True
        self._drop()
        self.transport.resume_reading()
        self._connections.discard(self)
        self._visits.leave(self)
        self._back(self.transport, held)


def _own(request: Asked) -> bool:
    """Say whether a page of the preview itself asks, or a program: a browser always says whose page it is."""
    origins = [value.lower() for lower, _, value in request.fields if lower == b"origin"]
    return not origins or (
        len(origins) == 1 and origins[0].partition(b"://")[::2] in ((b"http", request.host.lower()), (b"https", request.host.lower()))
    )


def _reset(transport: asyncio.Transport) -> None:
    """End a connection so that its other side knows that something is missing."""
    sock = transport.get_extra_info("socket")
    if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
