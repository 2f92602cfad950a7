"""Calls of Gitea's API: one address, one token, no redirect, everything bounded."""

import contextlib
import http.client
import json
import socket
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from rdev_cli.domain.errors import Conflict, Denied, Failed, NotFound, RdevError, Unavailable
from rdev_cli.domain.values import Secret, shown
from rdev_cli.ports.timing import STANDARD, Stop

_MOST = 64 << 20  # bytes of an answer
_PAGE = 50  # what Gitea gives at most
_IDLE = 4  # connections that are kept for the next question
MOVED = (301, 302, 303, 307, 308)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back."""

    status: int
    data: Any
    total: int = -1  # how many there are, of a list
    location: str = ""

    @property
    def message(self) -> str:
        """What Gitea says, fit for a message."""
        text = self.data.get("message") or self.data.get("error") if isinstance(self.data, dict) else self.data
        return shown(str(text or "").strip(), most=300)


def at(*parts: object) -> str:
    """Return a path of these parts; a slash in a part stays one only in the last."""
    *first, last = map(str, parts)
    return "".join(f"/{quote(part, safe='')}" for part in first) + f"/{quote(last, safe='/')}"


class Gitea:
    """One Gitea, as one account. Safe for several threads."""

    def __init__(self, url: str, token: Callable[[], Secret], stop: Callable[[], Stop]) -> None:
        self.url, self._token, self.stop = url.rstrip("/"), token, stop
        self._address = urlsplit(self.url)
        self._idle: list[http.client.HTTPConnection] = []
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close the connections that are kept."""
        with self._lock:
            while self._idle:
                self._idle.pop().close()

    def header(self) -> Secret:
        """Return the header that git sends along."""
        return Secret("Authorization: Basic " + b64encode(f"rdev:{self._token().reveal()}".encode()).decode())

    @property
    def host(self) -> str:
        """Who is called, for messages."""
        return self._address.netloc

    def call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        ok: tuple[int, ...],
        query: Mapping[str, str] | None = None,
        as_user: tuple[str, Secret] | None = None,
    ) -> Answer:
        """Ask once and return an answer whose status is among `ok`; any other one becomes the error that it means.

        A question that only reads is asked twice where a kept connection turned out to be closed. `as_user`: an account and its password.
        """
        self.stop().check(f"a call of {self.host}")
        if as_user is not None:
            name, password = as_user
            authorization = "Basic " + b64encode(f"{name}:{password.reveal()}".encode()).decode()
        else:
            authorization = f"token {self._token().reveal()}"
        headers = {"Accept": "application/json", "Authorization": authorization, "User-Agent": "rdev"}
        data = None if body is None else json.dumps(body).encode()
        if data is not None:
            headers["Content-Type"] = "application/json"
        target = f"{self._address.path}/api/v1{path}" + (f"?{urlencode(query)}" if query else "")
        answer = self._asked(method, target, data, headers)
        if answer.status not in ok:
            raise self._error(answer, method, path)
        return answer

    def get(self, path: str, *, query: Mapping[str, str] | None = None) -> Any:
        """Return what is at a path, None if there is nothing."""
        answer = self.call("GET", path, ok=(200, 404), query=query)
        return answer.data if answer.status == 200 else None

    def all(self, path: str, *, query: Mapping[str, str] | None = None) -> Iterator[Any]:
        """Yield what a list holds, page by page; some lists have no link to the next one, but all say how many there are."""
        seen, page = 0, 1
        while True:
            answer = self.call("GET", path, ok=(200,), query={**(query or {}), "page": str(page), "limit": str(_PAGE)})
            found = answer.data or []
            if isinstance(found, dict):
                found = found.get("data") or []
            yield from found
            seen, page = seen + len(found), page + 1
            if not found or seen >= answer.total:
                return

    def _asked(self, method: str, target: str, data: bytes | None, headers: Mapping[str, str]) -> Answer:
        with self._lock:
            kept = self._idle.pop() if method == "GET" and self._idle else None
        try:
            if kept is not None:
                with contextlib.suppress(ConnectionResetError, BrokenPipeError):  # closed there meanwhile
                    return self._once(kept, method, target, data, headers)
            return self._once(self._connection(), method, target, data, headers)
        except (OSError, http.client.HTTPException) as e:
            raise self._unreachable(e) from e

    def _connection(self) -> http.client.HTTPConnection:
        kind = http.client.HTTPSConnection if self._address.scheme == "https" else http.client.HTTPConnection
        return kind(self._address.hostname or "", self._address.port, timeout=STANDARD)

    def _once(
        self, connection: http.client.HTTPConnection, method: str, target: str, data: bytes | None, headers: Mapping[str, str]
    ) -> Answer:
        whole = False
        try:
            connection.request(method, target, data, dict(headers))
            response = connection.getresponse()
            text = response.read(_MOST + 1)
            if len(text) > _MOST:
                raise Failed(f"{self.host} sends more than rdev reads", hint="look at what answers there", code="FORGE_NONSENSE")
            whole = not response.will_close
        finally:
            if not whole:
                connection.close()
        if whole:
            with self._lock:
                keep = len(self._idle) < _IDLE
                if keep:
                    self._idle.append(connection)
            if not keep:
                connection.close()
        total = response.headers.get("X-Total-Count", "")
        return Answer(
            status=response.status, data=self._read(text, response), total=int(total) if total.isdecimal() else -1,
            location=response.headers.get("Location", ""),
        )  # fmt: skip

    def _read(self, text: bytes, response: http.client.HTTPResponse) -> Any:
        if not text.strip():
            return None
        try:
            return json.loads(text)
        except ValueError as e:
            if response.status >= 300:
                return text[:300].decode(errors="replace")
            raise Failed(
                f"{self.host} answers with something else than JSON", hint="is it a Gitea? look at the address", code="FORGE_NONSENSE"
            ) from e

    def _unreachable(self, e: Exception) -> Unavailable:
        why = "it does not answer in time" if isinstance(e, TimeoutError) else ""
        if isinstance(e, socket.gaierror):
            why = "nobody knows that name"
        return Unavailable(
            f"cannot reach Gitea at {self.host}: {why or (e.strerror if isinstance(e, OSError) else '') or type(e).__name__}",
            hint="is it up? rdev context test asks it again",
            code="FORGE_UNREACHABLE",
            forge=self.url,
        )

    def _error(self, answer: Answer, method: str, path: str) -> RdevError:
        said = answer.message
        if answer.status == 401:
            return Denied(
                f"Gitea at {self.host} does not know rdev's token: {said}",
                hint="give it another: rdev credential set GITEA_TOKEN",
                code="FORGE_TOKEN",
                said=said,
            )
        if answer.status == 403:
            return Denied(
                f"Gitea refuses {method} {path}: {said or 'no reason given'}",
                hint="rdev context test shows what the token may do",
                code="FORGE_DENIED",
                said=said,
            )
        if answer.status == 404:
            return NotFound(f"Gitea has nothing at {path}", hint="rdev context test looks at what it needs there", said=said)
        if answer.status == 423:
            return Conflict(f"the repository is archived at Gitea: {said}", hint="unarchive it there", code="FORGE_ARCHIVED", said=said)
        if answer.status in MOVED:
            return Conflict(
                f"what was at {path} was renamed or moved at Gitea", hint=f"give it its name back; it is at {shown(answer.location)} now",
                code="FORGE_MOVED", location=answer.location,
            )  # fmt: skip
        if answer.status >= 500 or answer.status == 429:
            return Unavailable(
                f"Gitea at {self.host} answers {answer.status}: {said}",
                hint="try again; its own log says more",
                code="FORGE_TROUBLE",
                said=said,
            )
        return Conflict(f"Gitea refuses {method} {path} ({answer.status}): {said}", hint="look there", code="FORGE_REFUSED", said=said)
