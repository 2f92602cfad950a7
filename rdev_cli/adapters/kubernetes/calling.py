"""Requests and their answers: kept connections, repeats where they are safe, and one time limit over all of it."""

import http.client
import json
import ssl
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self
from urllib.parse import quote, urlencode, urlsplit

from rdev_cli import __version__
from rdev_cli.adapters.kubernetes import wire
from rdev_cli.adapters.kubernetes.access import Access
from rdev_cli.adapters.kubernetes.refusals import Nonsense, Target, refused, target, unreachable
from rdev_cli.adapters.kubernetes.wire import Wire
from rdev_cli.domain.errors import RdevError, TimedOut
from rdev_cli.domain.values import shown
from rdev_cli.ports.timing import Stop

_IDLE = 8  # connections that are kept for the next call
_TRIES = 6
_FIRST, _LONGEST = 0.1, 5.0  # seconds before the second try, and the most that later ones wait
_FAILED = (500, 502, 503, 504)
_METHODS = {
    "get": "GET",
    "list": "GET",
    "watch": "GET",
    "exec": "GET",
    "forward": "GET",
    "create": "POST",
    "patch": "PATCH",
    "delete": "DELETE",
}
_PIECE = 64 << 10
_SAID = 64 << 10  # bytes of an error's body
WHAT = "a call of the cluster"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back: data, or a stream that is still open."""

    status: int
    headers: http.client.HTTPMessage
    data: Any = None
    wire: Wire | None = None
    response: http.client.HTTPResponse | None = None
    lost: bool = False  # an earlier answer was lost, so this one may be to the repeat of what was done already

    @property
    def reason(self) -> str:
        return str(self.data.get("reason") or "") if isinstance(self.data, dict) else ""

    @property
    def message(self) -> str:
        text = self.data.get("message") if isinstance(self.data, dict) else None
        return shown(text.strip(), most=400) if isinstance(text, str) else ""

    def error(self, verb: str, where: Target) -> RdevError:
        """Return the error that it means."""
        return refused(verb, where, self.status, reason=self.reason, said=self.message)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sending:
    """A request, as it goes out each time."""

    method: str
    url: str
    body: bytes | None
    headers: Mapping[str, str]
    open: bool


class _Lost(Exception):
    """There is no answer. `sent` says whether the request may have arrived all the same."""

    def __init__(self, cause: Exception, *, sent: bool) -> None:
        super().__init__(str(cause))
        self.cause, self.sent = cause, sent


class Caller:
    """One cluster as one user. Safe for several threads."""

    def __init__(self, access: Access, stop: Stop) -> None:
        self.access, self.stop = access, stop
        self._lock = threading.Lock()
        self._idle: list[Wire] = []
        self._tls: ssl.SSLContext | None = None
        self._tls_made = False
        self._prefix = urlsplit(access.server).path.rstrip("/")
        self._host = urlsplit(access.server).netloc

    def call(
        self,
        verb: str,
        path: str,
        *,
        query: Sequence[tuple[str, str]] = (),
        body: Any = None,
        content: str = "application/json",
        accept: str = "application/json",
        headers: Mapping[str, str] | None = None,
        again: bool = True,
        timeout: float,
        opened: bool = False,
    ) -> Answer:
        """Return the answer: of a success its data, or with `opened` its open stream; 404 of a delete and 410 as they are; the rest is raised.

        `again`: a request whose answer was lost, or that the server failed in, may be sent once more. `timeout` is over all tries.
        """
        where = target(path)
        sending = _Sending(
            method=_METHODS[verb],
            url=f"{self._prefix}{path}" + (f"?{urlencode(query, quote_via=quote)}" if query else ""),
            body=None if body is None else json.dumps(body).encode(),
            headers={**(headers or {}), "Accept": "*/*" if opened else accept, **({} if body is None else {"Content-Type": content})},
            open=opened,
        )
        # what is asked for after the stop is what cleans up, or ends what runs in the pod; only what goes on and on does not begin any more
        stop = wire.NEVER if self.stop.is_set() and (verb == "exec" or not opened) else self.stop
        deadline = time.monotonic() + timeout
        tries, lost, renewed = 0, False, False
        while True:
            tries += 1
            left = deadline - time.monotonic()
            try:
                # of two that may be tried, the first must leave the second its time: a connection that died unseen answers nothing
                answer = self._once(sending, time.monotonic() + (left / 2 if again and tries == 1 else left), stop)
            except _Lost as e:
                lost = lost or e.sent
                final = isinstance(e.cause, ssl.SSLCertVerificationError) or (e.sent and not again)
                if final or not self._pause(tries, "", deadline, stop):
                    raise self.unreachable(e.cause, sent=lost) from e.cause
                continue
            if answer.status < 300 or answer.status == 410 or (answer.status == 404 and verb == "delete"):
                return replace(answer, lost=lost)
            if answer.status == 401 and self.access.login.changes and not renewed:
                renewed = True
                self._renew()
                continue
            after = answer.headers.get("Retry-After", "")
            turned_away = answer.status == 429 or (answer.status == 503 and after)
            # a quota that somebody else is just changing is told as a conflict, of a thing that has no version yet
            raced = answer.status == 409 and verb == "create" and answer.reason == "Conflict"
            if (turned_away or raced or (again and answer.status in _FAILED)) and self._pause(tries, after, deadline, stop):
                continue
            raise answer.error(verb, where)

    def stream(self, verb: str, path: str, query: Mapping[str, str], *, timeout: float) -> "Stream":
        """Return an answer to be read as it comes; `timeout` bounds its beginning."""
        answer = self.call(verb, path, query=list(query.items()), timeout=timeout, opened=True)
        if answer.wire is None:
            raise answer.error(verb, target(path))
        return Stream(self, answer)

    def unreachable(self, cause: Exception, *, sent: bool) -> RdevError:
        """Return the error for an answer that did not come, or is none."""
        return unreachable(self.access.server, cause, sent=sent)

    def pause(self, seconds: float, stop: Stop | None = None) -> None:
        """Wait, unless somebody says stop."""
        stop = stop or self.stop
        stop.wait(seconds)
        stop.check(WHAT)

    def close(self) -> None:
        """Close what is kept for the next call."""
        with self._lock:
            idle, self._idle = self._idle, []
        for one in idle:
            one.close()

    def _pause(self, tries: int, after: str, deadline: float, stop: Stop) -> bool:
        """Wait before the next try; False if there is none, or no time for it."""
        if tries >= _TRIES:
            return False
        import random  # noqa: PLC0415 -- when all is well nothing is tried again

        seconds = min(_LONGEST, _FIRST * 2 ** (tries - 1))
        # apart from each other: many that were turned away at once must not come back at once
        seconds = float(after) + random.uniform(0, 0.5) if after.isdecimal() else random.uniform(seconds / 2, seconds)  # noqa: S311
        if time.monotonic() + seconds >= deadline:
            return False
        self.pause(seconds, stop)
        return True

    def _once(self, sending: _Sending, deadline: float, stop: Stop) -> Answer:
        login = self.access.headers()
        one = self._connection(deadline, stop, fresh=sending.open)
        kept = False
        try:
            one.deadline, one.stop = deadline, stop
            connection = http.client.HTTPConnection(self._host)
            connection.sock = wire.Lent(one)  # all that it asks of a socket
            connection.putrequest(sending.method, sending.url, skip_host=True, skip_accept_encoding=True)
            for name, value in (("Host", self._host), ("User-Agent", f"rdev/{__version__}"), *sending.headers.items(), *login):
                connection.putheader(name, value)
            if sending.body is not None:
                connection.putheader("Content-Length", str(len(sending.body)))
            connection.endheaders(sending.body)
            response = connection.getresponse()
            if response.status >= 300:
                return Answer(status=response.status, headers=response.headers, data=_said(response))
            if sending.open:
                kept = True
                return Answer(status=response.status, headers=response.headers, wire=one, response=response)
            body = response.read()
            kept = self._keep(one, response)
            return Answer(status=response.status, headers=response.headers, data=_parsed(body))
        except (OSError, http.client.HTTPException, Nonsense) as e:
            raise _Lost(e, sent=True) from e
        finally:
            if not kept:
                one.close()

    def _connection(self, deadline: float, stop: Stop, *, fresh: bool) -> Wire:
        while not fresh:
            with self._lock:
                one = self._idle.pop() if self._idle else None
            if one is None:
                break
            if one.quiet():
                return one
            one.close()
        try:
            return wire.connect(self.access, self._context(), deadline=deadline, stop=stop)
        except TimedOut as e:
            stop.check(WHAT)
            raise _Lost(TimeoutError("its name is not found in time"), sent=False) from e
        except OSError as e:
            raise _Lost(e, sent=False) from e

    def _keep(self, one: Wire, response: http.client.HTTPResponse) -> bool:
        if response.will_close or not response.isclosed():
            return False
        with self._lock:
            if len(self._idle) >= _IDLE:
                return False
            self._idle.append(one)
            return True

    def _context(self) -> ssl.SSLContext | None:
        with self._lock:
            if not self._tls_made:
                self._tls, self._tls_made = self.access.tls(), True
            return self._tls

    def _renew(self) -> None:
        """Log in anew: a token expired, or a plugin's certificate did."""
        self.access.login.forget()
        with self._lock:
            self._tls_made = False
        self.close()


class Stream:
    """An answer that is read as it comes. Its end is only where the server put it: anything else is Unavailable."""

    def __init__(self, caller: Caller, answer: Answer) -> None:
        assert answer.wire is not None
        assert answer.response is not None
        self._caller, self._wire, self._response = caller, answer.wire, answer.response

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._wire.close()

    def read(self, *, silence: float) -> bytes:
        """Return what came next, empty at the end; `silence` is how long nothing may come (seconds)."""
        self._wire.deadline = time.monotonic() + silence
        try:
            data = self._response.read1(_PIECE)
            if not data and self._response.length:
                raise http.client.IncompleteRead(b"", self._response.length)
            return data
        except (OSError, http.client.HTTPException) as e:
            raise self._caller.unreachable(e, sent=True) from e


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        data = json.loads(body)
    except ValueError as e:
        raise Nonsense("it answers something that is not JSON") from e
    if not isinstance(data, dict):
        raise Nonsense("it answers something that is no object")
    return data


def _said(response: http.client.HTTPResponse) -> Any:
    """Return what an error's body says, as far as it can be read at all."""
    try:
        body = response.read(_SAID)
    except (OSError, http.client.HTTPException):
        return None
    try:
        return json.loads(body)
    except ValueError:
        words = response.headers.get_content_type() == "text/plain"
        return {"message": body.decode(errors="replace")} if words else None
