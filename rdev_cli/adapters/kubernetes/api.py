"""The Kubernetes API as rdev uses it: bounded in time, repeated only where that is safe, and complete or an error."""

import email.utils
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from rdev_cli.adapters.kubernetes import wire
from rdev_cli.adapters.kubernetes.access import Access
from rdev_cli.adapters.kubernetes.calling import Answer, Caller, Stream
from rdev_cli.adapters.kubernetes.refusals import Nonsense, target
from rdev_cli.adapters.kubernetes.selector import Selector
from rdev_cli.domain.errors import Denied, Invalid, Unavailable
from rdev_cli.ports.timing import FAST_LOOKUP, HEAVY_WRITE, LOOKUP, STANDARD, Stop

if TYPE_CHECKING:
    from rdev_cli.adapters.kubernetes.socket import Exec

_RESTARTS = 3  # of a list whose continuation expired
_MERGE = {"merge": "application/merge-patch+json", "json": "application/json-patch+json"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """All objects of a list, never a part of them."""

    items: list[dict[str, Any]]
    version: str  # to watch from
    at: datetime  # the server's clock before the first of them was read


class Api:
    """One cluster as one user. Safe for several threads.

    Every call is bounded by its named time limit, repeats included. A stop that is set *during* a call ends it; one that was set before does not
    keep it from running, so that an undo can still clean up. Errors: Unavailable CLUSTER_UNREACHABLE; Denied FORBIDDEN naming verb, resource
    and namespace; NotFound; Conflict; Invalid for what the server does not accept.
    """

    def __init__(self, access: Access, *, stop: Stop | None = None) -> None:
        self.access = access
        self._caller = Caller(access, stop or wire.NEVER)

    def get(self, path: str, *, timeout: float = LOOKUP) -> dict[str, Any]:
        """Return one object; NotFound if it is not there."""
        return self._object("get", path, self._caller.call("get", path, timeout=timeout))

    def identity(self) -> str:
        """Return what tells this cluster from any other, the UID of its namespace kube-system; empty if this user may not see it."""
        try:
            return str(self.get("/api/v1/namespaces/kube-system", timeout=FAST_LOOKUP)["metadata"]["uid"])
        except Denied:
            return ""

    def list(self, path: str, selector: Selector, *, metadata: bool = False, page: int = 500) -> Listing:
        """Return all objects with these labels, read page by page; a part of them is an error and never an answer.

        `metadata` leaves out everything but that. Each page is bounded by itself.
        """
        return self.whole(path, {"labelSelector": str(selector)}, metadata=metadata, page=page)

    def whole(self, path: str, which: Mapping[str, str], *, metadata: bool = False, page: int = 500, timeout: float = STANDARD) -> Listing:
        """Return a list read to its end, from its beginning again where it expired on the way.

        `which` is what a watch may have, too: a name alone. `timeout` is of each page.
        """
        if not any(which.values()):
            raise Invalid("a list needs labels or a name", hint="say which objects are meant")
        accept = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1" if metadata else "application/json"
        for _ in range(_RESTARTS):
            listing = self._pages(path, {**which, "limit": str(page)}, accept, timeout)
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
        return self._object("create", path, self._caller.call("create", path, body=body, again=named, timeout=timeout))

    def patch(self, path: str, body: Mapping[str, Any] | Sequence[Any], *, kind: Literal["merge", "json"] = "merge") -> dict[str, Any]:
        """Change an object, and return it. With a resourceVersion in the body, Conflict CHANGED if it is another by now.

        A merge is repeated after a lost answer, so CHANGED may tell of the change that this very call made.
        """
        return self._object(
            "patch", path, self._caller.call("patch", path, body=body, content=_MERGE[kind], again=kind == "merge", timeout=STANDARD)
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
        answer = self._caller.call("delete", path, body=options, timeout=STANDARD)
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

        query = [
            ("container", container),
            ("stdout", "true"),
            ("stderr", _word(not terminal)),
            ("stdin", _word(stdin)),
            ("tty", _word(terminal)),
        ]
        words = [*query, *(("command", one) for one in argv)]
        return socket.Exec(*self._opened("exec", f"/api/v1/namespaces/{namespace}/pods/{pod}/exec", words, socket.opening(), timeout))

    def forward(self, namespace: str, pod: str, port: int, *, timeout: float = STANDARD) -> wire.Wire:
        """Return a connection that carries one stream to a port of a pod, in frames of a WebSocket: channel 0 bytes, channel 1 what is wrong.

        It is open before anybody knows whether something listens there.
        """
        from rdev_cli.adapters.kubernetes import socket  # noqa: PLC0415 -- as above

        path = f"/api/v1/namespaces/{namespace}/pods/{pod}/portforward"
        return self._opened("forward", path, [("ports", str(port))], socket.opening(socket.V4), timeout)[0]

    def _opened(
        self, verb: str, path: str, query: Sequence[tuple[str, str]], opening: Mapping[str, str], timeout: float
    ) -> tuple[wire.Wire, str]:
        """Return an open WebSocket, and the version of the streams in it that the server chose."""
        from rdev_cli.adapters.kubernetes import socket  # noqa: PLC0415 -- as above

        answer = self._caller.call(verb, path, query=query, headers=opening, again=False, timeout=timeout, opened=True)
        assert answer.wire is not None
        protocol = socket.agreed(opening, dict(answer.headers)) if answer.status == 101 else ""
        if not protocol:
            answer.wire.close()
            raise self._caller.unreachable(Nonsense(f"it answers {verb} with something else"), sent=True)
        answer.wire.stop = wire.NEVER  # whoever reads it decides how long
        return answer.wire, protocol

    def stream(self, verb: str, path: str, query: Mapping[str, str], *, timeout: float = STANDARD) -> Stream:
        """Return an answer to be read as it comes; `timeout` bounds its beginning."""
        return self._caller.stream(verb, path, query, timeout=timeout)

    def pause(self, seconds: float) -> None:
        """Wait, unless somebody says stop."""
        self._caller.pause(seconds)

    def close(self) -> None:
        """Close what is kept for the next call."""
        self._caller.close()

    def _pages(self, path: str, query: dict[str, str], accept: str, timeout: float) -> Listing | None:
        """Return the whole list, None if it expired before its end."""
        items: list[dict[str, Any]] = []
        at: datetime | None = None
        while True:
            answer = self._caller.call("list", path, query=[pair for pair in query.items() if pair[1]], accept=accept, timeout=timeout)
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
                raise self._caller.unreachable(Nonsense("it answers a list with something else"), sent=True)
            at = at or self._date(answer)
            items += found or ()  # the last page of many is null
            query = {**query, "continue": meta.get("continue") or ""}
            if not query["continue"]:
                if meta.get("remainingItemCount"):
                    raise self._caller.unreachable(Nonsense("it ends a list before its end"), sent=True)
                return Listing(items=items, version=str(meta.get("resourceVersion", "")), at=at)

    def _date(self, answer: Answer) -> datetime:
        try:
            return email.utils.parsedate_to_datetime(answer.headers.get("Date", "")).astimezone(UTC)
        except (ValueError, TypeError) as e:
            raise self._caller.unreachable(Nonsense("it does not say what time it is"), sent=True) from e

    def _object(self, verb: str, path: str, answer: Answer) -> dict[str, Any]:
        if answer.status >= 300 or not isinstance(answer.data, dict):
            raise answer.error(verb, target(path))
        return answer.data


def _word(flag: bool) -> str:  # noqa: FBT001
    return "true" if flag else "false"
