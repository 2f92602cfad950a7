"""HTTP/1.1 between a visitor and a program in a pod: heads read strictly and rewritten, bodies counted out to the byte."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

HEAD = 64 << 10  # bytes of a line with its headers
_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_REQUEST = re.compile(rb"(" + _TOKEN + rb") (/[\x21-\x7e\x80-\xff]*) HTTP/1\.([01])")
_STATUS = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: [\t\x20-\x7e\x80-\xff]*)?")
_FIELD = re.compile(rb"(" + _TOKEN + rb"):[ \t]*((?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?)[ \t]*")
_HOST = re.compile(rb"\r\nhost:[ \t]*([^\r\n]*)", re.IGNORECASE)
_LENGTH = re.compile(rb"[0-9]{1,18}")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[\t\x20-\x7e\x80-\xff]*)?")
_OURS = re.compile(rb"(?:__(?:Host|Secure)-)?rdev[-_][^=]*", re.IGNORECASE)  # cookies of this server's own
_DOMAIN = re.compile(rb"[ \t]*domain[ \t]*(?:=|$)", re.IGNORECASE)
_DECIDING = frozenset((b"host", b"content-length", b"transfer-encoding", b"connection", b"upgrade"))
_HOP = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"proxy-authenticate", b"proxy-authorization", b"te", b"trailer",
     b"transfer-encoding", b"upgrade", b"http2-settings", b"content-length")
)  # fmt: skip
# what no program in a pod is to learn: keys of whoever looks, and what could be said of where they are
_KEPT_BACK = frozenset((b"authorization", b"x-api-key", b"forwarded", b"x-real-ip", b"via", b"true-client-ip", b"cf-connecting-ip"))
# what would bind the visitor's browser beyond this host, or this session
_BINDING = frozenset(
    (b"strict-transport-security", b"service-worker-allowed", b"clear-site-data", b"alt-svc", b"public-key-pins", b"referrer-policy")
)
_END_TO_END = frozenset((b"host", b"content-length", b"cookie", b"origin"))  # no Connection header takes these away


class Bad(Exception):
    """What came is no HTTP/1.1 that may be passed on."""


@dataclass(slots=True)
class Asked:
    """The head of a request."""

    method: bytes
    target: bytes
    old: bool  # HTTP/1.0
    fields: list[tuple[bytes, bytes, bytes]]  # lower-case name, name, value
    listed: frozenset[bytes]  # what `Connection` names, in lower case
    host: bytes
    length: int  # of the body; -1: in chunks
    upgrade: bytes  # what it wants to go on with, empty for plain HTTP
    last: bool  # no other request follows on this connection


@dataclass(slots=True)
class Answered:
    """The head of an answer."""

    status: int
    line: bytes
    fields: list[tuple[bytes, bytes, bytes]]
    listed: frozenset[bytes]
    length: int  # of the body; -1: in chunks, -2: up to the connection's end
    last: bool  # the other side takes no further request on this connection


def _fields(lines: Iterable[bytes]) -> list[tuple[bytes, bytes, bytes]]:
    found = []
    for line in lines:
        match = _FIELD.fullmatch(line)
        if match is None:
            raise Bad("a header is none")
        found.append((match[1].lower(), match[1], match[2]))
    return found


def _said(fields: list[tuple[bytes, bytes, bytes]]) -> dict[bytes, list[bytes]]:
    """Return the values of the headers that decide how the rest is read."""
    found: dict[bytes, list[bytes]] = {name: [] for name in _DECIDING}
    for lower, _, value in fields:
        if lower in _DECIDING:
            found[lower].append(value)
    return found


def _words(values: list[bytes]) -> list[bytes]:
    return [word.strip().lower() for value in values for word in value.split(b",") if word.strip()]


def named(head: bytes) -> bytes:
    """Return the host that the beginning of a connection asks for, empty if it names none or several."""
    found: list[bytes] = _HOST.findall(head)
    return found[0].rstrip() if len(found) == 1 else b""


def asked(head: bytes) -> Asked:
    """Return what a request's head says; Bad unless there is one way alone to read it."""
    line, *rest = head.split(b"\r\n")
    match = _REQUEST.fullmatch(line)
    if match is None:
        raise Bad("the request line is none")
    fields = _fields(rest)
    said = _said(fields)
    hosts, lengths, codings = said[b"host"], said[b"content-length"], said[b"transfer-encoding"]
    if len(hosts) != 1 or len(lengths) + len(codings) > 1:
        raise Bad("a request names one host and one length")
    if codings and (codings[0].lower() != b"chunked" or match[3] == b"0"):
        raise Bad("a body comes in chunks, or with its length")
    if lengths and not _LENGTH.fullmatch(lengths[0]):
        raise Bad("a length is a number")
    connection, upgrades = _words(said[b"connection"]), said[b"upgrade"]
    upgrade = (b", ".join(upgrades).strip().lower() or b"?") if upgrades or b"upgrade" in connection else b""
    old = match[3] == b"0"
    length = -1 if codings else int(lengths[0]) if lengths else 0
    return Asked(match[1], match[2], old, fields, frozenset(connection), hosts[0], length, upgrade, old or b"close" in connection)


def forwarded(request: Asked) -> bytes:
    """Return a request's head as the program gets it."""
    listed = request.listed - _END_TO_END
    lines = [b"%b %b HTTP/1.%d" % (request.method, request.target, not request.old)]
    for lower, name, value in request.fields:
        if lower in _HOP or lower in _KEPT_BACK or lower in listed or lower.startswith((b"x-forwarded", b"proxy-")):
            continue
        if lower == b"cookie":
            value = b";".join(one for one in value.split(b";") if not _OURS.fullmatch(one.partition(b"=")[0].strip())).strip()  # noqa: PLW2901
            if not value:
                continue
        lines.append(b"%b: %b" % (name, value))
    if request.upgrade:
        lines += [b"Connection: Upgrade", b"Upgrade: websocket"]
    elif request.old:
        lines.append(b"Connection: close")
    if request.length < 0:
        lines.append(b"Transfer-Encoding: chunked")
    elif request.length or any(lower == b"content-length" for lower, _, _ in request.fields):
        lines.append(b"Content-Length: %d" % request.length)
    return b"\r\n".join(lines) + b"\r\n\r\n"


def answered(head: bytes, request: Asked) -> Answered:
    """Return what the head of an answer to this request says; Bad unless there is one way alone to read it."""
    line, *rest = head.split(b"\r\n")
    match = _STATUS.fullmatch(line)
    if match is None:
        raise Bad("the status line is none")
    fields, status = _fields(rest), int(match[2])
    said = _said(fields)
    lengths, codings, connection = set(said[b"content-length"]), _words(said[b"transfer-encoding"]), _words(said[b"connection"])
    last = b"close" in connection or (match[1] == b"0" and b"keep-alive" not in connection)
    if len(lengths) > 1 or any(not _LENGTH.fullmatch(length) for length in lengths):
        raise Bad("an answer has one length")
    if codings and codings[-1:] != [b"chunked"]:
        raise Bad("a body comes in chunks, or with its length")
    if len(codings) > 1:
        raise Bad("a body is packed once")
    if request.method == b"HEAD" or status < 200 or status in (204, 304):
        length = 0
    elif codings:
        length = -1
    else:
        length = int(lengths.pop()) if lengths else -2
    return Answered(status, b"HTTP/1.1 " + line.split(b" ", 1)[1], fields, frozenset(connection), length, last or length == -2)


def returned(answer: Answered, request: Asked, *, last: bool) -> bytes:
    """Return an answer's head as the visitor gets it; `last`: the connection ends with it."""
    switching = answer.status == 101
    listed = answer.listed - _END_TO_END
    lines = [answer.line]
    for lower, name, value in answer.fields:
        if lower == b"content-length" and answer.length != -1 and answer.status >= 200:
            pass  # of a HEAD or a 304 it tells of a body that does not come
        elif lower in _HOP or lower in _BINDING or lower in listed:
            continue
        if lower == b"set-cookie":
            pair, *rest = value.split(b";")
            value = b";".join((pair, *(one for one in rest if not _DOMAIN.match(one))))  # noqa: PLW2901
            if _OURS.fullmatch(value.partition(b"=")[0].strip()):
                continue
        lines.append(b"%b: %b" % (name, value))
    if switching:
        lines += [b"Connection: Upgrade", b"Upgrade: websocket"]
    elif answer.status >= 200:
        lines.append(b"Referrer-Policy: same-origin")  # to know the address is to be let in, so no other site is told of it
        if answer.length == -1:
            lines.append(b"Transfer-Encoding: chunked")
        if last or request.last:
            lines.append(b"Connection: close")
    return b"\r\n".join(lines) + b"\r\n\r\n"


class Body:
    """A body on its way: what is taken is passed on at once, in the same bytes; chunks are cut anew, and trailers left out."""

    def __init__(self, length: int) -> None:
        self.chunked, self.left = length == -1, length
        self.done = length == 0
        self._line = b""  # of a chunk, as far as it is there
        self._state = "size" if self.chunked else "data"
        self._trailing = 0

    def take(self, data: bytes) -> tuple[bytes, bytes]:
        """Return what is to be passed on of these bytes, and what of them belongs to whatever comes next."""
        if self.done:
            return b"", data
        if not self.chunked:
            if self.left < 0:  # up to the connection's end
                return data, b""
            part, rest = (data, b"") if len(data) <= self.left else (data[: self.left], data[self.left :])
            self.left -= len(part)
            self.done = self.left == 0
            return part, rest
        return self._chunks(data)

    def _chunks(self, data: bytes) -> tuple[bytes, bytes]:
        out, at = [], 0
        while at < len(data) and not self.done:
            if self._state == "data":
                part = data[at : at + self.left]
                at, self.left = at + len(part), self.left - len(part)
                out += [b"%x\r\n" % len(part), part, b"\r\n"]
                if not self.left:
                    self._state = "end"
                continue
            end = data.find(b"\n", at)
            self._line += data[at : end + 1] if end >= 0 else data[at:]
            at = end + 1 if end >= 0 else len(data)
            if len(self._line) > 4096 or (end < 0 and b"\r" in self._line[:-1]):
                raise Bad("a chunk has no end")
            if end >= 0:
                self._read()
        return b"".join(out) + (b"0\r\n\r\n" if self.done else b""), data[at:]

    def _read(self) -> None:
        line, self._line = self._line, b""
        if not line.endswith(b"\r\n"):
            raise Bad("a chunk's line has no end")
        line = line[:-2]
        if self._state == "end":
            if line:
                raise Bad("a chunk is longer than it says")
            self._state = "size"
        elif self._state == "trailer":
            self._trailing += len(line)
            if self._trailing > 1 << 14:
                raise Bad("too much follows a body")
            self.done = not line
        else:
            match = _CHUNK.fullmatch(line)
            if match is None:
                raise Bad("a chunk has no length")
            self.left = int(match[1], 16)
            self._state = "data" if self.left else "trailer"


def told(status: int, words: str, reasons: Mapping[int, bytes], *, head: bool = False) -> bytes:
    """Return an answer of the proxy's own, after which the connection ends; a person reads it in a browser."""
    body = f"{words}\n".encode()
    lines = (
        b"HTTP/1.1 %d %b" % (status, reasons.get(status, b"Error")), b"Content-Type: text/plain; charset=utf-8",
        b"Content-Length: %d" % len(body), b"Cache-Control: no-store", b"X-Content-Type-Options: nosniff",
        b"Referrer-Policy: same-origin", b"Connection: close",
    )  # fmt: skip
    return b"\r\n".join(lines) + b"\r\n\r\n" + (b"" if head else body)
