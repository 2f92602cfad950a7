"""What every route shares: who asks, what that may do, one way to answer, one way to fail."""

import inspect
import json
import re
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any, TypeVar

from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Route

from rdev_cli.domain.access import Grant, Scope
from rdev_cli.domain.answers import Accepted, ErrorDocument, Problem
from rdev_cli.domain.codec import document, stamp, to_json
from rdev_cli.domain.errors import Denied, Invalid, NotFound, RdevError
from rdev_cli.domain.values import shown
from rdev_cli.faces.http import once
from rdev_cli.ops import jobs
from rdev_cli.ops.ledger import Entry, Pace, entry_of
from rdev_cli.ports import World
from rdev_cli.wiring.log import log

F = TypeVar("F", bound=Callable[..., Any])
Door = Callable[[str, str], Grant]  # (the key that was shown, the caller's address) -> what it may do; Denied if nothing
Routes = list[BaseRoute]
SERVED: dict[str, tuple[str, ...]] = {}  # operation -> "METHOD /path" of each route that serves it

STATUSES: Mapping[str, int] = {
    "RdevError": 500, "Invalid": 422, "NotFound": 404, "Denied": 403, "Conflict": 409, "Unavailable": 503, "Partial": 500, "Pending": 202,
    "Failed": 200, "OutcomeUnknown": 502, "TimedOut": 504, "Cancelled": 409,
}  # fmt: skip
# what HTTP has a word of its own for
_BY_CODE = {
    "UNAUTHORIZED": 401, "KEY_REVOKED": 401, "KEY_EXPIRED": 401, "BAD_REQUEST": 400, "METHOD_NOT_ALLOWED": 405, "TOO_LARGE": 413,
    "MISDIRECTED": 421, "TOO_MANY_REQUESTS": 429,
}  # fmt: skip
_KEY = re.compile(rb"rdev_sk_[a-z0-9]{8}_[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer that says more than its value: another status than its route's, headers, parts of the address of what was made."""

    value: Any
    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)


class Guarded(APIRoute):
    """A route that asks who calls, and whether that may, before anything of the request is read."""

    def __init__(self, path: str, endpoint: Callable[..., Any], *, scope: Scope, **more: Any) -> None:
        self.scope = scope
        super().__init__(path, endpoint, response_class=Response, **more)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return what handles a request: the caller's key first, then its words, then the operation."""
        handler = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            with told(request):
                await run_in_threadpool(self._admit, request)
                return await handler(request)

        return guarded

    def _admit(self, request: Request) -> None:
        door: Door = request.app.state.door
        grant = door(presented(request), request.client.host if request.client else "")
        admit(request, grant, self.scope)


def admit(request: Request, grant: Grant, scope: Scope | None) -> None:
    """Let a caller in, and give the request the world as that caller sees it; raise where there were too many requests, or the scope is not granted."""
    if (count := getattr(request.state, "admit", None)) is not None:
        count(grant)  # the guard's
    if scope is not None and not grant.allows(scope):
        raise Denied(
            f"this needs the scope {scope}",
            hint=f"ask for a key that has it: rdev key create --scope {scope}",
            code="FORBIDDEN",
            scope=scope.value,
        )
    request.state.grant = grant
    request.state.world = request.app.state.services.acting(grant)


@contextmanager
def told(request: Request) -> Iterator[None]:
    """Log what nobody expected, and raise it as an error of rdev's own."""
    try:
        yield
    except (RdevError, RequestValidationError, HTTPException):
        raise
    except Exception as e:
        log().error("failed", exc_info=True, extra={"request_id": request_id(request), "error": type(e).__name__})
        raise RdevError("rdev failed on this", hint="its log has more, under this request's id") from e


def presented(request: Request) -> str:
    """Return the key of a request: in one header, once, and nowhere else; Denied UNAUTHORIZED otherwise."""
    given = [(name, value) for name, value in request.scope["headers"] if name in (b"x-api-key", b"authorization")]
    keys = [value.removeprefix(b"Bearer ") if name == b"authorization" else value for name, value in given]
    bare = given and given[0][0] == b"authorization" and not given[0][1].startswith(b"Bearer ")
    if len(keys) != 1 or bare or not _KEY.fullmatch(keys[0]) or b"rdev_sk_" in request.scope["query_string"]:
        raise unauthorized()
    return str(keys[0], "ascii")


def unauthorized() -> Denied:
    """Return what is said to whoever shows no key that there is."""
    return Denied(
        "a key is needed",
        hint="send it in one header: X-API-Key: rdev_sk_… or Authorization: Bearer rdev_sk_…; rdev key create makes one",
        code="UNAUTHORIZED",
    )


def serves(
    routes: Routes,
    method: str,
    path: str,
    op: Callable[..., Any],
    *,
    answer: str = "",
    media: str = "",
    takes: str = "",
    status: int = 200,
    form: str = "",
) -> Callable[[F], F]:
    """Attach a handler to a path, with the words, the scope and the pace of the operation that it calls.

    `answer` names the schema of what comes as `data`, or two with `|` between; an answer that is no document has a `media` type
    instead, and a body that is none is of the type `takes`. A handler takes the caller's world first, like the operation, and
    `request` if it needs that too; it returns a value, a `Reply`, or a response of its own. A second route of the same
    operation says by `form` how it differs.
    """
    entry = entry_of(op)

    def register(func: F) -> F:
        SERVED[entry.name] = (*SERVED.get(entry.name, ()), f"{method} {path}")
        summary, _, rest = inspect.cleandoc(op.__doc__ or "").partition("\n")
        kinds = [{"$ref": f"#/components/schemas/{name}"} for name in answer.split("|")]
        schema = enveloped(kinds[0] if len(kinds) == 1 else {"anyOf": kinds})
        content = {media: {"schema": {"type": "string"}}} if media else {"application/json": {"schema": schema}}
        extra: dict[str, Any] = {
            "x-scope": entry.scope.value,
            "x-pace": (Pace.LONG if status == 202 else Pace.MOMENT).value,
            "security": [{"key": []}, {"bearer": []}],
        }
        if method in once.METHODS:
            extra["parameters"] = [once.HEADER]
        if takes:
            extra["requestBody"] = {"required": True, "content": {takes: {"schema": {"type": "string", "format": "binary"}}}}
        routes.append(
            Guarded(
                path,
                _endpoint(func, entry, status),
                scope=entry.scope,
                methods=[method],
                operation_id=f"{entry.name}.{form}" if form else entry.name,
                summary=summary,
                description=rest.strip() or None,
                status_code=status,
                tags=[entry.name.partition(".")[0]],
                responses={status: {"description": "What was asked for.", "content": content}},
                openapi_extra=extra,
            )
        )
        return func

    return register


def public(routes: Routes, path: str, func: Callable[[Request], Response]) -> None:
    """Attach a handler to a path that anybody may get, which must then stand in `app.PUBLIC`."""
    route = Route(path, func, methods=["GET"], include_in_schema=False)
    route.methods = {"GET"}  # the library would serve HEAD too
    routes.append(route)


def _endpoint(func: Callable[..., Any], entry: Entry, status: int) -> Callable[..., Any]:
    shape = inspect.signature(func, eval_str=True)
    _, *own = shape.parameters.values()  # the world is no parameter of the request
    asks = "request" in shape.parameters
    needed = [] if asks else [inspect.Parameter("request", inspect.Parameter.KEYWORD_ONLY, annotation=Request)]

    def ready(request: Request, given: dict[str, Any]) -> dict[str, Any]:
        return {**given, "request": request} if asks else given

    def plain(request: Request, **given: Any) -> Response:
        return reply(request, once.answer(request, entry, given, status, lambda world: func(world, **ready(request, given))), status)

    async def held(request: Request, **given: Any) -> Response:
        return reply(request, await func(request.state.world, **ready(request, given)), status)

    made: Callable[..., Any] = held if inspect.iscoroutinefunction(func) else plain
    made.__name__ = entry.name
    vars(made)["__signature__"] = shape.replace(parameters=[*own, *needed], return_annotation=Response)
    return made


def begin(world: World, op: Callable[..., Any], **asked: Any) -> Reply:
    """Hand over an operation that takes long, and return what its caller is told at once: its id, and where to follow it."""
    job = jobs.submit(world, entry_of(op).name, asked)
    noun = {"cmd": "commands", "ses": "sessions"}.get(job.id.partition("_")[0], "operations")
    place = f"/{noun}/{job.id}"
    return Reply(Accepted(id=job.id, stream_url=f"{place}/events"), 202, {"location": place})


def whole(text: str, prefix: str, noun: str) -> str:
    """Return an id that is whole, or raise NotFound: over HTTP nobody asks for a thing by the beginning of its id."""
    if not re.fullmatch(f"{prefix}_[0-9a-z]{{20}}", text):
        raise NotFound(f"there is no {noun} {shown(text)}", hint="give its whole id, as it was answered", **{noun: shown(text)})
    return text


def request_id(request: Request) -> str:
    """Return the id of a request, which the first guard has given it."""
    return str(request.state.request_id)


def reply(request: Request, value: Any, status: int) -> Response:
    """Return the answer: `data` is byte for byte what `-o json` prints."""
    if isinstance(value, Response):
        return value
    if not isinstance(value, Reply):
        value = Reply(value)
    world: World = request.state.world
    body = f'{{"data":{to_json(document(value.value))},"meta":{_meta(request_id(request), stamp(world.clock.now()))}}}'
    return Response(body.encode(), value.status or status, dict(value.headers), "application/json")


def _meta(id: str, at: str) -> str:
    return to_json({"request_id": id, "timestamp": at})


def status_of(error: RdevError) -> int:
    """Return the status that an error is told by."""
    return _BY_CODE.get(error.code) or STATUSES[type(error).__name__]


def problem(error: RdevError, *, id: str, at: str, headers: Mapping[str, str] | None = None) -> Response:
    """Return how an error is told: its document, with the status of its class or its code; `id`: the request's; `at`: the time, RFC 3339."""
    document_ = ErrorDocument(error=Problem(code=error.code, message=error.message, hint=error.hint, context=error.context))
    status = status_of(error)
    more = {"www-authenticate": 'Bearer realm="rdev"'} if status == 401 else {}
    body = f'{to_json(document_)[:-1]},"meta":{_meta(id, at)}}}'
    return Response(body.encode(), status, {**more, **(headers or {})}, "application/json")


def trouble(request: Request, error: Exception) -> Response:
    """Return the answer to a request that failed: the one handler of errors."""
    headers: dict[str, str] = {}
    if isinstance(error, RequestValidationError):
        error = _refused(error.errors())
    elif isinstance(error, HTTPException):
        headers, error = dict(error.headers or {}), _as_ours(request, error)
        if error.code == "METHOD_NOT_ALLOWED":
            headers["allow"] = ", ".join(_methods(request))
    assert isinstance(error, RdevError)
    return problem(error, id=request_id(request), at=stamp(request.app.state.services.clock.now()), headers=headers)


def _refused(errors: Sequence[Mapping[str, Any]]) -> RdevError:
    """Return what is wrong with a request, the first thing of it; nothing of what was sent is said again."""
    first = errors[0]
    if first["type"] == "json_invalid":
        return Invalid("invalid request body", hint="send JSON", code="BAD_REQUEST")
    where, *parts = [str(part) for part in first["loc"]]
    name = ".".join(parts)
    if not name:
        return Invalid(f"the {where} of the request: {_lower(first['msg'])}", hint="send JSON, as /docs says", field=where)
    return Invalid(f"{shown(name)}: {_lower(first['msg'])}", hint="/docs says what is taken", field=shown(name), place=where)


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


def _as_ours(request: Request, error: HTTPException) -> RdevError:
    if error.status_code == 404:
        return NotFound("there is no such path", hint="/docs lists the paths")
    if error.status_code == 405:
        allowed = ", ".join(_methods(request))
        return Invalid(f"{shown(request.method)} is not served here", hint=f"it takes {allowed}", code="METHOD_NOT_ALLOWED")
    return Invalid("invalid request body", hint="send JSON", code="BAD_REQUEST")


def _methods(request: Request) -> list[str]:
    """Return what a path takes; the framework names the methods of the first route alone."""
    found = [route for route in request.app.routes if route.matches(request.scope)[0] is not Match.NONE]
    return sorted({method for route in found for method in getattr(route, "methods", None) or ()})


def enveloped(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema of an answer whose `data` is of this schema."""
    meta = {"$ref": "#/components/schemas/Meta"}
    return {"type": "object", "properties": {"data": data, "meta": meta}, "required": ["data", "meta"]}


@cache
def packaged() -> dict[str, dict[str, Any]]:
    """Return the schemas that ship with rdev, and what they refer to, as an OpenAPI document has them."""
    found: dict[str, dict[str, Any]] = {}
    for file in sorted((resources.files("rdev_cli") / "_data" / "schemas").iterdir(), key=lambda one: one.name):
        text = file.read_text(encoding="utf-8").replace('"#/$defs/', '"#/components/schemas/')
        schema = json.loads(text)
        found.update(schema.pop("$defs", {}))
        found[schema["title"]] = {word: value for word, value in schema.items() if word not in ("$id", "$schema", "title")}
    return found
