"""The Kubernetes API as rdev uses it: bounded in time, repeated only where that is safe, and complete or an error."""

import email.utils
import http.client
import json
import random
import re
import ssl
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, Self
from urllib.parse import quote, urlencode, urlsplit

from rdev_cli import __version__
from rdev_cli.adapters.kubernetes import wire
from rdev_cli.adapters.kubernetes.kubeconfig import Access
from rdev_cli.adapters.kubernetes.selector import Selector
from rdev_cli.adapters.kubernetes.wire import Wire
from rdev_cli.domain.errors import Conflict, Denied, Invalid, NotFound, RdevError, TimedOut, Unavailable
from rdev_cli.domain.values import shown
from rdev_cli.ports.timing import FAST_LOOKUP, HEAVY_WRITE, LOOKUP, STANDARD, Stop

if TYPE_CHECKING:
    from rdev_cli.adapters.kubernetes.socket import Exec

_IDLE = 8  # connections that are kept for the next call
_TRIES = 6
_FIRST, _LONGEST = 0.1, 5.0  # seconds before the second try, and the most that later ones wait
_RESTARTS = 3  # of a list whose continuation expired
_PIECE = 64 << 10
_FAILED = (500, 502, 503, 504)
_METHODS = {"get": "GET", "list": "GET", "watch": "GET", "create": "POST", "patch": "PATCH", "delete": "DELETE"}
_SAID = 64 << 10  # bytes of an error's body
_MERGE = {"merge": "application/merge-patch+json", "json": "application/json-patch+json"}
_PATH = re.compile(r"/(api/v1|apis/[a-z0-9.-]+/v[a-z0-9]+|version|readyz|livez)(/[A-Za-z0-9][A-Za-z0-9._:-]*)*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """All objects of a list, never a part of them."""

    items: list[dict[str, Any]]
    version: str  # to watch from
    at: datetime  # the server's clock before the first of them was read


@dataclass(frozen=True, slots=True)
class _Target:
    """What a path names."""

    resource: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.resource}{f' {self.name}' if self.name else ''}{f' in the namespace {self.namespace}' if self.namespace else ''}"


def target(path: str) -> _Target:
    """Return what a path names: `pods/exec`, the namespace, the name. Invalid for what is no path of the API."""
    if not _PATH.fullmatch(path) or ".." in path:
        raise Invalid(f"'{shown(path)}' is no path of the Kubernetes API", hint="name objects by the one name rule")
    parts = path.strip("/").split("/")
    parts = parts[2:] if parts[0] == "api" else parts[3:] if parts[0] == "apis" else parts
    namespace = ""
    if len(parts) > 2 and parts[0] == "namespaces":
        namespace, parts = parts[1], parts[2:]
    resource, name, sub = [*parts, "", "", ""][:3]
    return _Target(f"{resource}/{sub}" if sub else resource, namespace, name)


class Api:
    """One cluster as one user. Safe for several threads.

    Every call is bounded by its named time limit, repeats included. A stop that is set *during* a call ends it; one that was set before does not
    keep it from running, so that an undo can still clean up. Errors: Unavailable CLUSTER_UNREACHABLE; Denied FORBIDDEN naming verb, resource
    and namespace; NotFound; Conflict; Invalid for what the server does not accept.
    """

    def __init__(self, access: Access, *, stop: Stop | None = None) -> None:
        self.access = access
        self._stop = stop or wire.NEVER
        self._lock = threading.Lock()
        self._idle: list[Wire] = []
        self._tls: ssl.SSLContext | None = None
        self._tls_made = False
        self._prefix = urlsplit(access.server).path.rstrip("/")
        self._host = urlsplit(access.server).netloc.rpartition("@")[2]

    def get(self, path: str, *, timeout: float = LOOKUP) -> dict[str, Any]:
        """Return one object; NotFound if it is not there."""
        return self._object("get", path, self._call("get", path, timeout=timeout))

    def identity(self) -> str:
        """Return what tells this cluster from any other, the UID of its namespace kube-system; empty if this user may not see it."""
        try:
            return str(self.get("/api/v1/namespaces/kube-system", timeout=FAST_LOOKUP)["metadata"]["uid"])
        except Denied:
            return ""

    def list(self, path: str, selector: Selector, *, metadata: bool = False, page: int = 500, fields: str = "") -> Listing:
        """Return all objects with these labels, read page by page; a part of them is an error and never an answer.

        `metadata` leaves out everything but that; `fields` is a field selector besides. Each page is bounded by itself.
        """
        return self.whole(path, {"labelSelector": str(selector), "fieldSelector": fields}, metadata=metadata, page=page)

    def whole(self, path: str, which: Mapping[str, str], *, metadata: bool = False, page: int = 500) -> Listing:
        """Return a list read to its end, from its beginning again where it expired on the way; `which` is what a watch may have, too: a name alone."""
        if not any(which.values()):
            raise Invalid("a list needs labels or a name", hint="say which objects are meant")
        accept = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1" if metadata else "application/json"
        for _ in range(_RESTARTS):
            listing = self._pages(path, {**which, "limit": str(page)}, accept)
            if listing is not None:
                return listing
        raise Unavailable(
            f"{target(path)}: the list expired {_RESTARTS} times before its end",
            hint="try again when the cluster is less busy",
            code="CLUSTER_BUSY",
        )

    def create(self, path: str, body: Mapping[str, Any], *, timeout: float = HEAVY_WRITE) -> dict[str, Any]:
        """Create an object, and return it. Conflict EXISTS if one of that name is there.

        It is repeated after a lost answer only if the object's name is given, so EXISTS may tell of one that this very call made: who made the name
        knows by its labels whether to take it.
        """
        named = bool(body.get("metadata", {}).get("name")) or str(body.get("kind", "")).endswith("Review")
        return self._object("create", path, self._call("create", path, body=body, again=named, timeout=timeout))

    def patch(self, path: str, body: Mapping[str, Any] | Sequence[Any], *, kind: Literal["merge", "json"] = "merge") -> dict[str, Any]:
        """Change an object, and return it. With a resourceVersion in the body, Conflict CHANGED if it is another by now.

        A merge is repeated after a lost answer, so CHANGED may tell of the change that this very call made.
        """
        return self._object(
            "patch", path, self._call("patch", path, body=body, content=_MERGE[kind], again=kind == "merge", timeout=STANDARD)
        )

    def delete(self, path: str, *, uid: str, version: str = "", grace: int | None = None) -> bool:
        """Ask for the one object with this UID to be deleted; return whether it was there. Conflict CHANGED if the name is another's now.

        With a `version` also if it is not the one with this resourceVersion any more. `grace`: seconds for its end, by default its own. It is gone only later: watch it.
        """
        if not uid or not target(path).name:
            raise Invalid("only one object can be deleted, by its UID", hint="name the object and its UID")
        options: dict[str, Any] = {
            "kind": "DeleteOptions",
            "apiVersion": "v1",
            "preconditions": {"uid": uid, "resourceVersion": version} if version else {"uid": uid},
            "propagationPolicy": "Background",
        }
        if grace is not None:
            options["gracePeriodSeconds"] = grace
        answer = self._call("delete", path, body=options, timeout=STANDARD)
        if answer.status == 404:
            return answer.lost
        self._object("delete", path, answer)
        return True

    def watch(
        self, path: str, *, selector: Selector | None, name: str = "", version: str = "", timeout: float
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield what happens to objects for `timeout` seconds: (ADDED, MODIFIED or DELETED, the object), in order and each change once.

        Without a `version` everything there is comes first as ADDED, and a history that the server forgot is made up by a new look: what vanished
        meanwhile comes as DELETED as it was last seen. From a `version` (of a list) such a gap is Conflict EXPIRED: list again. A server that
        does not answer is outlived for a minute.
        """
        if selector is None and not name:
            raise Invalid("a watch needs labels or a name", hint="say which objects are meant")
        from rdev_cli.adapters.kubernetes.watching import Watching  # noqa: PLC0415 -- most commands watch nothing

        yield from Watching(self, path, selector=selector, name=name, version=version, until=time.monotonic() + timeout)

    def log(
        self,
        namespace: str,
        pod: str,
        container: str,
        *,
        follow: bool = False,
        since_seconds: int = 0,
        since_time: str = "",
        tail: int = -1,
        previous: bool = False,
        timestamps: bool = False,
    ) -> Iterator[bytes]:
        """Yield what a container wrote, as it comes; `since_time` is the server's, to the second. Unavailable if the connection breaks before the log's end."""
        query = {"container": container, "follow": _word(follow), "previous": _word(previous), "timestamps": _word(timestamps)}
        if since_seconds > 0:
            query["sinceSeconds"] = str(since_seconds)
        if since_time:
            query["sinceTime"] = since_time
        if tail >= 0:
            query["tailLines"] = str(tail)
        path = f"/api/v1/namespaces/{namespace}/pods/{pod}/log"
        with self.stream("get", path, query) as stream:
            while data := stream.read(silence=float("inf") if follow else STANDARD):
                yield data

    def exec(
        self,
        namespace: str,
        pod: str,
        container: str,
        argv: Sequence[str],
        *,
        stdin: bool = False,
        terminal: bool = False,
        timeout: float = STANDARD,
    ) -> "Exec":
        """Start a command in a container and return its streams. `timeout` bounds the start, not the command.

        It is repeated only where the request cannot have arrived, or was turned away at the door. Unavailable CLUSTER_UNREACHABLE with `sent` true
        in its context: it may run, and nobody knows.
        """
        from rdev_cli.adapters.kubernetes import socket  # noqa: PLC0415 -- loads the library of the framing, which only this needs

        path = f"/api/v1/namespaces/{namespace}/pods/{pod}/exec"
        query = [
            ("container", container),
            ("stdout", "true"),
            ("stderr", _word(not terminal)),
            ("stdin", _word(stdin)),
            ("tty", _word(terminal)),
        ]
        opening = socket.opening()
        answer = self._call(
            "create",
            path,
            query=[*query, *(("command", one) for one in argv)],
            method="GET",
            headers=opening,
            again=False,
            timeout=timeout,
            open_=True,
        )
        assert answer.wire is not None
        protocol = socket.agreed(opening, dict(answer.headers)) if answer.status == 101 else ""
        if not protocol:
            answer.wire.close()
            raise self._unreachable(_Nonsense("it answers an exec with something else"), sent=True)
        answer.wire.stop = wire.NEVER  # whoever reads it decides how long
        return socket.Exec(answer.wire, protocol)

    def stream(self, verb: str, path: str, query: Mapping[str, str], *, timeout: float = STANDARD) -> "Stream":
        """Return an answer to be read as it comes; `timeout` bounds its beginning."""
        answer = self._call(verb, path, query=list(query.items()), timeout=timeout, open_=True)
        if answer.wire is None:
            raise _refused(verb, target(path), answer)
        return Stream(self, answer)

    def pause(self, seconds: float) -> None:
        """Wait, unless somebody says stop."""
        self._stop.wait(seconds)
        self._stop.check("a call of the cluster")

    def close(self) -> None:
        """Close what is kept for the next call."""
        with self._lock:
            idle, self._idle = self._idle, []
        for one in idle:
            one.close()

    def _pages(self, path: str, query: dict[str, str], accept: str) -> Listing | None:
        """Return the whole list, None if it expired before its end."""
        items: list[dict[str, Any]] = []
        at: datetime | None = None
        while True:
            answer = self._call("list", path, query=[pair for pair in query.items() if pair[1]], accept=accept, timeout=STANDARD)
            if answer.status == 410:
                return None
            page = self._object("list", path, answer)
            found, meta = page.get("items"), page.get("metadata")
            if (
                not str(page.get("kind", "")).endswith("List")
                or not isinstance(found, list | None)
                or not isinstance(meta, dict)
                or "items" not in page
            ):
                raise self._unreachable(_Nonsense("it answers a list with something else"), sent=True)
            at = at or self._date(answer)
            items += found or ()  # the last page of many is null
            query = {**query, "continue": meta.get("continue") or ""}
            if not query["continue"]:
                if meta.get("remainingItemCount"):
                    raise self._unreachable(_Nonsense("it ends a list before its end"), sent=True)
                return Listing(items=items, version=str(meta.get("resourceVersion", "")), at=at)

    def _date(self, answer: "_Answer") -> datetime:
        try:
            return email.utils.parsedate_to_datetime(answer.headers.get("Date", "")).astimezone(UTC)
        except ValueError as e:
            raise self._unreachable(_Nonsense("it does not say what time it is"), sent=True) from e

    def _object(self, verb: str, path: str, answer: "_Answer") -> dict[str, Any]:
        if answer.status >= 300 or not isinstance(answer.data, dict):
            raise _refused(verb, target(path), answer)
        return answer.data

    def _call(
        self,
        verb: str,
        path: str,
        *,
        query: Sequence[tuple[str, str]] = (),
        body: Any = None,
        content: str = "application/json",
        accept: str = "application/json",
        headers: Mapping[str, str] | None = None,
        method: str = "",
        again: bool = True,
        timeout: float,
        open_: bool = False,
    ) -> "_Answer":
        """Return the answer: of a success its data, or with `open_` its open stream; 404 of a delete and 410 as they are; the rest is raised.

        `again`: a request whose answer was lost, or that the server failed in, may be sent once more.
        """
        where = target(path)
        url = f"{self._prefix}{path}" + (f"?{urlencode(query, quote_via=quote)}" if query else "")
        sending = _Sending(
            method=method or _METHODS[verb],
            url=url,
            body=None if body is None else json.dumps(body).encode(),
            headers={**(headers or {}), "Accept": "*/*" if open_ else accept, **({} if body is None else {"Content-Type": content})},
            open=open_,
        )
        # what is asked for after the stop is what cleans up
        stop = wire.NEVER if self._stop.is_set() and not open_ else self._stop
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
                if final or not _pause(tries, "", deadline, stop):
                    raise self._unreachable(e.cause, sent=lost) from e.cause
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
            if (turned_away or raced or (again and answer.status in _FAILED)) and _pause(tries, after, deadline, stop):
                continue
            raise _refused(verb, where, answer)

    def _once(self, sending: "_Sending", deadline: float, stop: Stop) -> "_Answer":
        one = self._connection(deadline, stop, fresh=sending.open)
        kept = False
        try:
            one.deadline, one.stop = deadline, stop
            connection = http.client.HTTPConnection(self._host)
            connection.sock = wire.Lent(one)
            headers = {"Host": self._host, "User-Agent": f"rdev/{__version__}", **sending.headers}
            connection.putrequest(sending.method, sending.url, skip_host=True, skip_accept_encoding=True)
            for name, value in (*headers.items(), *self.access.headers()):
                connection.putheader(name, value)
            if sending.body is not None:
                connection.putheader("Content-Length", str(len(sending.body)))
            connection.endheaders(sending.body)
            response = connection.getresponse()
            if response.status < 300 and sending.open:
                kept = True
                return _Answer(status=response.status, headers=response.headers, wire=one, response=response)
            if response.status < 300:
                body = response.read()
                kept = self._keep(one, response)
                return _Answer(status=response.status, headers=response.headers, data=_parsed(body))
            return _Answer(status=response.status, headers=response.headers, data=_said(response))
        except (OSError, http.client.HTTPException, _Nonsense) as e:
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
            stop.check("a call of the cluster")
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

    def _unreachable(self, cause: Exception, *, sent: bool) -> Unavailable:
        host = shown(self._host)
        if isinstance(cause, ssl.SSLCertVerificationError):
            return Unavailable(
                f"{host} shows a certificate that the kubeconfig does not vouch for: {shown(cause.verify_message)}",
                hint="look at the cluster's entry, its authority and tls-server-name: kubectl config view --minify",
                code="CLUSTER_UNREACHABLE",
                server=self.access.server,
                sent=sent,
            )
        why = (
            "its name is not known here" if isinstance(cause, OSError) and type(cause).__name__ == "gaierror"
            else "it does not answer in time" if isinstance(cause, TimeoutError)
            else "nothing listens there" if isinstance(cause, ConnectionRefusedError)
            else "the connection ended before the answer" if isinstance(cause, ConnectionError | http.client.HTTPException)
            else shown(getattr(cause, "strerror", None) or str(cause) or type(cause).__name__, most=200)
        )  # fmt: skip
        return Unavailable(
            f"the cluster at {host} cannot be reached: {why}",
            hint="rdev context test looks what is wrong",
            code="CLUSTER_UNREACHABLE",
            server=self.access.server,
            sent=sent,
        )


class Stream:
    """An answer that is read as it comes. Its end is only where the server put it: anything else is Unavailable."""

    def __init__(self, api: Api, answer: "_Answer") -> None:
        self._api, self._answer = api, answer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._answer.wire is not None:
            self._answer.wire.close()

    def read(self, *, silence: float) -> bytes:
        """Return what came next, empty at the end; `silence` is how long nothing may come (seconds)."""
        one, response = self._answer.wire, self._answer.response
        assert one is not None
        assert response is not None
        one.deadline = time.monotonic() + silence
        try:
            data = response.read1(_PIECE)
            if not data and response.length:
                raise http.client.IncompleteRead(b"", response.length)
            return data
        except (OSError, http.client.HTTPException) as e:
            raise self._api._unreachable(e, sent=True) from e  # noqa: SLF001 -- its own


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sending:
    """A request, as it goes out each time."""

    method: str
    url: str
    body: bytes | None
    headers: Mapping[str, str]
    open: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
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


class _Nonsense(Exception):
    """What came is no answer of a Kubernetes API."""


class _Lost(Exception):
    """There is no answer. `sent` says whether the request may have arrived all the same."""

    def __init__(self, cause: Exception, *, sent: bool) -> None:
        super().__init__(str(cause))
        self.cause, self.sent = cause, sent


def _word(flag: bool) -> str:  # noqa: FBT001
    return "true" if flag else "false"


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        data = json.loads(body)
    except ValueError as e:
        raise _Nonsense("it answers something that is not JSON") from e
    if not isinstance(data, dict):
        raise _Nonsense("it answers something that is no object")
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


def _pause(tries: int, after: str, deadline: float, stop: Stop) -> bool:
    """Wait before the next try; False if there is none, or no time for it."""
    if tries >= _TRIES:
        return False
    seconds = min(_LONGEST, _FIRST * 2 ** (tries - 1))
    # apart from each other: many that were turned away at once must not come back at once
    seconds = float(after) + random.uniform(0, 0.5) if after.isdigit() else random.uniform(seconds / 2, seconds)  # noqa: S311
    if time.monotonic() + seconds >= deadline:
        return False
    stop.wait(seconds)
    stop.check("a call of the cluster")
    return True


def _refused(verb: str, where: _Target, answer: _Answer) -> RdevError:
    """Return the error that a status stands for."""
    status, said = answer.status, answer.message
    facts: dict[str, Any] = {"verb": verb, "resource": where.resource, "namespace": where.namespace, "status": status}
    if status == 401:
        return Denied(
            "the cluster does not accept this login",
            hint="log in again, or renew the token: kubectl auth whoami",
            code="CLUSTER_LOGIN",
            **facts,
        )
    if status == 403:
        return _denied(verb, where, said, facts)
    if status == 404:
        if answer.reason == "NotFound" and said.startswith("namespaces ") and where.resource != "namespaces":
            return NotFound(
                f"the cluster has no namespace {where.namespace}",
                hint=f"make it: kubectl create namespace {where.namespace}",
                code="NO_NAMESPACE",
                **facts,
            )
        return NotFound(f"the cluster has no {where}", hint="rdev project list shows what rdev knows of", **facts)
    if status == 409 and answer.reason == "AlreadyExists":
        return Conflict(f"{where} is there already: {said}", hint="rdev project list --all shows whose it is", code="EXISTS", **facts)
    if status == 409:
        return Conflict(f"{where} was changed by somebody else", hint="try it again", code="CHANGED", **facts)
    if status == 410:
        return Conflict(f"{where}: the cluster forgot what happened since", hint="try it again", code="EXPIRED", **facts)
    if status == 429:
        return Unavailable("the cluster has too much to do, and asks to come back later", hint="try it again", code="CLUSTER_BUSY", **facts)
    if status >= 500:
        return Unavailable(
            f"the cluster failed to {verb} {where} ({status}{f': {said}' if said else ''})",
            hint="rdev context test looks what is wrong",
            code="CLUSTER_UNREACHABLE",
            **facts,
        )
    if status < 400:
        return Unavailable(
            f"what answers {verb} {where} is no Kubernetes API ({status})",
            hint="look at the server's address: kubectl config view --minify",
            code="CLUSTER_UNREACHABLE",
            **facts,
        )
    return Invalid(
        f"the cluster does not take {where} ({status}): {said or 'it does not say why'}",
        hint="rdev context show",
        code="CLUSTER_REFUSED",
        **facts,
    )


def _denied(verb: str, where: _Target, said: str, facts: Mapping[str, Any]) -> Denied:
    """Return what a 403 means: the right is missing, or something that judges new objects said no, which is told in words only."""
    if "exceeded quota" in said:
        return Denied(
            f"the quota of the namespace leaves no room: {said}", hint="delete what is not needed, or ask for more", code="QUOTA", **facts
        )
    if verb in ("create", "patch") and said and " cannot " not in said:
        return Denied(
            f"the cluster does not let {where} be: {said}", hint="rdev context test looks what is allowed", code="ADMISSION", **facts
        )
    return Denied(
        f"this login may not {verb} {where.resource}{f' in the namespace {where.namespace}' if where.namespace else ''}",
        hint=f"ask for that right; to see it: kubectl auth can-i {verb} {where.resource}{f' -n {where.namespace}' if where.namespace else ''}",
        code="FORBIDDEN",
        **facts,
    )
