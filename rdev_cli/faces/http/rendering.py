"""How the page is made: templates in which all text is foreign, one policy for every answer, and one way to let a person in or to say why not."""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cache
from hashlib import sha256
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Send
from starlette.types import Scope as Connection

from rdev_cli import __version__
from rdev_cli.domain.access import Scope
from rdev_cli.domain.codec import stamp
from rdev_cli.domain.errors import Denied, RdevError
from rdev_cli.domain.values import clean, coarse, sized, spoken
from rdev_cli.faces.http.face import admit, request_id, status_of, told
from rdev_cli.faces.http.sittings import PATH, Sitting, Sittings
from rdev_cli.ports import World

Show = Callable[[World, Request], Response]

# nothing from elsewhere, nothing in another's frame, no text that becomes markup, and no form that sends anything elsewhere
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
HEADERS: Mapping[str, str] = {
    "cache-control": "no-store",
    "content-security-policy": _POLICY,
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "same-origin",  # with `no-referrer` a browser does not say, either, where a form came from
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
SIGN_IN = f"{PATH}/login"
FILES = ("page.css", "page.js", "icon.svg")
_KINDS = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8", "svg": "image/svg+xml"}
_OVER = frozenset({"UNAUTHORIZED", "KEY_REVOKED", "KEY_EXPIRED"})  # what only another key helps against
_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[PX^_][^\x1b]*\x1b\\|[ -/]*[0-Z\\^-~])")


# templates


@cache
def _templates() -> Environment:
    made = Environment(
        loader=PackageLoader("rdev_cli", "_data/page"), autoescape=True, finalize=_plain, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    made.filters.update(
        clean=lambda value: clean(str(value)), lines=lambda value: escape(clean(str(value), lines=True)), sized=sized, spoken=spoken, span=_span,
        at=_at, stamp=stamp, moment=lambda seconds: datetime.fromtimestamp(seconds, UTC),
    )  # fmt: skip
    made.tests.update(web=_web)
    made.globals.update(asset=_asset, version=__version__, home=PATH)
    return made


def _plain(value: object) -> object:
    """Return what is put into a page: no text from anywhere turns the direction of what follows it, or hides in it; a macro's markup stays."""
    return clean(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _span(total: int) -> str:
    """Return a number of seconds as a person types one: 90s, 30m, 8h."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if total % size == 0:
            return f"{total // size}{unit}"
    return f"{total}s"


def _at(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _web(address: str) -> bool:
    """Say whether an address is one that a link may lead to."""
    return address.startswith(("http://", "https://"))


def ago(moment: datetime, now: datetime) -> str:
    """Return how long ago a moment was, or how soon it will be, as people say it."""
    passed = (now - moment).total_seconds()
    if passed < 0:
        return f"in {coarse(-passed)}"
    return "now" if passed < 1 else f"{coarse(passed)} ago"


def printed(data: bytes) -> str:
    """Return what a command printed as a page shows it, `lines` of it: no escape sequence of a terminal; page.js does the same to what follows."""
    text = _ANSI.sub("", data.decode("utf-8", "replace"))
    return text.replace("\r\n", "\n").replace("\r", "\n")


@cache
def file(name: str) -> bytes:
    """Return a file that the page's documents ask for."""
    return (resources.files("rdev_cli") / "_data" / "page" / name).read_bytes()


@cache
def _asset(name: str) -> str:
    """Return the address of such a file: another one whenever it is another file."""
    return f"{PATH}/static/{name}?v={sha256(file(name)).hexdigest()[:12]}"


def static(name: str) -> Callable[[Request], Response]:
    """Return what answers with such a file; it says nothing of anybody, and a stranger's browser needs it too."""

    def answer(request: Request) -> Response:
        age = "max-age=31536000, immutable" if request.query_params.get("v") else "no-cache"
        return Response(file(name), headers={**HEADERS, "cache-control": age}, media_type=_KINDS[name.rpartition(".")[2]])

    return answer


def render(request: Request, name: str, *, status: int = 200, headers: Mapping[str, str] | None = None, **facts: Any) -> Response:
    """Return a page, made of a template and facts."""
    services = request.app.state.services
    now, sitting = services.clock.now(), getattr(request.state, "sitting", None)
    facts = {
        "sitting": sitting, "may": _may(sitting), "path": request.scope["path"], "now": now, "context": services.settings.context if sitting else "",
        "ago": lambda moment: ago(moment, now), **facts,
    }  # fmt: skip
    text = _templates().get_template(f"{name}.html").render(facts)
    # what a program was given may be no text at all
    return Response(text.encode("utf-8", "replace"), status, {**HEADERS, **(headers or {})}, "text/html; charset=utf-8")


def _may(sitting: Sitting | None) -> Mapping[str, bool]:
    """Return which parts of the page whoever is here may see."""
    parts = {"projects": Scope.PROJECTS_READ, "sessions": Scope.SESSIONS_READ, "loops": Scope.AUDIT_READ, "doctor": Scope.ADMIN}
    return {name: sitting is not None and sitting.grant.allows(scope) for name, scope in parts.items()}


def to(place: str, *, headers: Mapping[str, str] | None = None) -> Response:
    """Send a browser to another page of these."""
    return Response(status_code=303, headers={**HEADERS, **(headers or {}), "location": place})


# routes


class Paged(Route):
    """A page that is shown to whoever is signed in and may see it; to a stranger only how to sign in."""

    def __init__(self, path: str, show: Show, *, scope: Scope | None = None) -> None:
        super().__init__(path, self._answer, include_in_schema=False)
        self.methods = {"GET"}  # the library would serve HEAD too
        self.scope, self._show = scope, show

    async def handle(self, scope: Connection, receive: Receive, send: Send) -> None:
        """Handle one request, counted under the route's path and not under what it was asked for."""
        scope["route"] = self
        await super().handle(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        try:
            with told(request):
                await run_in_threadpool(self._admit, request)
                return await run_in_threadpool(self._show, request.state.world, request)
        except RdevError as e:
            if isinstance(e, Denied) and e.code in _OVER:
                query = request.scope["query_string"].decode("latin-1")
                why = {} if e.code == "UNAUTHORIZED" else {"why": e.code}
                return to(f"{SIGN_IN}?{QueryParams({'to': request.scope['path'] + (f'?{query}' if query else ''), **why})}")
            return sorry(request, e)

    def _admit(self, request: Request) -> None:
        sittings: Sittings = request.app.state.sittings
        sitting = sittings.find(request, request.client.host if request.client else "")
        request.state.sitting = sitting
        admit(request, sitting.grant, self.scope)


def sorry(request: Request, error: RdevError) -> Response:
    """Return the page that says what is wrong."""
    return render(request, "sorry", status=status_of(error), error=error, id=request_id(request))
