"""The application: its routes, each with a scope or on the list of those that need none, and the document that tells of them."""

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Send
from starlette.types import Scope as Connection

from rdev_cli import __version__
from rdev_cli.domain.errors import RdevError
from rdev_cli.faces.http import (
    agents,
    checkins,
    checkouts,
    ci,
    commands,
    contexts,
    credentials,
    document,
    files,
    hooks_in,
    keys,
    operations,
    pool,
    previews,
    projects,
    receipts,
    sessions,
    signing_in,
    stream,
    upkeep,
    webhooks,
)
from rdev_cli.faces.http.face import Door, Guarded, Routes, packaged, trouble
from rdev_cli.faces.http.rendering import Paged
from rdev_cli.faces.http.sittings import Sittings

if TYPE_CHECKING:
    from rdev_cli.wiring.services import Services

# what anybody may ask for: neither whether the server is up nor what it offers is a secret; and where the forge tells, by its signature
PUBLIC = frozenset({"/health", "/ready", "/openapi.json", "/docs", hooks_in.PATH})
ROUTES: tuple[Routes, ...] = (
    projects.routes, commands.routes, files.routes, operations.routes, agents.routes, credentials.routes, contexts.routes, webhooks.routes,
    sessions.routes, previews.routes, checkouts.routes, upkeep.routes, checkins.routes, ci.routes, receipts.routes, stream.routes, keys.routes,
    document.routes, pool.routes,
)  # fmt: skip
_WORD = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_ERRORS = {
    400: "The request is no JSON.", 401: "No key, or none that counts.", 403: "The key may not do this.", 404: "There is no such thing.",
    405: "Not by this method.", 408: "The body took too long.", 409: "It exists, but not in a state that allows this.", 413: "The body is too large.", 415: "The body is packed.",
    421: "This server does not answer to that name.", 422: "The request makes no sense; `context` names the field.",
    429: "Too many requests; `Retry-After` says when to come again.", 500: "rdev's own fault, or a part of the work stands.",
    502: "The outcome is unknown.", 503: "A provider or the machine did not answer.", 504: "The time limit passed.",
}  # fmt: skip


class Named:
    """Gives each request an id, its caller's own if that is a safe word, and says it in the answer."""

    def __init__(self, app: ASGIApp, new_id: Callable[[], str]) -> None:
        self._app, self._new = app, new_id

    async def __call__(self, scope: Connection, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = [value for name, value in scope["headers"] if name == b"x-request-id"]
        id = given[0].decode() if len(given) == 1 and _WORD.fullmatch(given[0]) else self._new()
        scope.setdefault("state", {})["request_id"] = id

        async def named(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["x-request-id"] = id
            await send(message)

        await self._app(scope, receive, named)


def create_app(services: "Services", door: Door, *, guards: Sequence[Middleware] = (), more: Sequence[Routes] = ()) -> FastAPI:
    """Return the application that serves a world.

    `door` tells what the holder of a key may do. `guards` stand before every route, the first one outermost; each request has
    its id when they see it. `more` routes are served beside those that every server has.
    """
    app = FastAPI(
        title="rdev",
        version=__version__,
        openapi_url=None,  # served by a route of ours, like the page about it, which loads nothing from elsewhere
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        middleware=[Middleware(Named, new_id=lambda: services.new_id("req")), *guards],
    )
    app.state.services, app.state.door, app.state.sittings = services, door, Sittings(services)
    app.router.routes[:] = [route for routes in (*ROUTES, hooks_in.routes(), *more) for route in routes]
    for route in app.routes:
        if not isinstance(route, Guarded | Paged) and getattr(route, "path", "") not in PUBLIC | signing_in.PUBLIC:
            raise TypeError(f"{route} asks for no scope and is not public")
    for kind in (RdevError, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, trouble)
    app.openapi = lambda: openapi(app)  # type: ignore[method-assign]
    return app


def openapi(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI document of what an application serves."""
    if app.openapi_schema:
        return app.openapi_schema
    made = get_openapi(
        title="rdev", version=__version__, summary="Runs coding agents and commands in isolated environments.", routes=app.routes
    )
    parts = made.setdefault("components", {})
    meta = {"request_id": {"type": "string"}, "timestamp": {"type": "string", "format": "date-time"}}
    told = {
        "type": "object",
        "properties": {"error": {"$ref": "#/components/schemas/Problem"}, "meta": {"$ref": "#/components/schemas/Meta"}},
    }
    parts["schemas"] = {
        **packaged(),
        **{name: schema for name, schema in parts.get("schemas", {}).items() if "ValidationError" not in name},
        "Meta": {"type": "object", "properties": meta, "required": ["request_id", "timestamp"]},
        "Trouble": {**told, "required": ["error", "meta"]},
    }
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Trouble"}}}
    parts["responses"] = {f"error-{status}": {"description": words, "content": content} for status, words in _ERRORS.items()}
    parts["securitySchemes"] = {
        "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
        "bearer": {"type": "http", "scheme": "bearer"},
    }
    for below in made["paths"].values():
        for operation in below.values():
            for status in _ERRORS:
                operation["responses"][str(status)] = {"$ref": f"#/components/responses/error-{status}"}
    app.openapi_schema = made
    return made
