"""How a person signs in to the page and out of it: a key goes into a form, and a cookie comes back."""

import re

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from rdev_cli.domain.errors import Denied, Invalid, RdevError
from rdev_cli.faces.http.face import Routes, admit, public, status_of, told
from rdev_cli.faces.http.rendering import FILES, SIGN_IN, render, sorry, static, to
from rdev_cli.faces.http.sittings import COOKIE, PATH, Sittings

SIGN_OUT = f"{PATH}/logout"
HOME = f"{PATH}/"
PUBLIC = frozenset({"/", PATH, SIGN_IN, SIGN_OUT, *(f"{PATH}/static/{name}" for name in FILES)})  # what a stranger may ask for
APART = (
    "rdev.localhost"  # a name of this machine that no other port's pages are opened under: a browser gives a cookie to all ports of a name
)
_SHARED = re.compile(r"(?:localhost|127\.0\.0\.1|\[::1\])(:[0-9]+)?")
_FORM = "application/x-www-form-urlencoded"
# a page of these, and none that a form was sent to: nobody is led elsewhere
_PAGE = re.compile(rf"{PATH}/(?!log(?:in|out)\b)[A-Za-z0-9_/-]*(?:\?[A-Za-z0-9_=&-]*)?")
_WHY = {"KEY_REVOKED": "The key was revoked. Sign in with another one.", "KEY_EXPIRED": "The key has expired. Sign in with another one."}


def _root(request: Request) -> Response:  # noqa: ARG001 -- an endpoint's shape
    return to(HOME)


def _form(request: Request) -> Response:
    sittings: Sittings = request.app.state.sittings
    place = _place(request.query_params.get("to", ""))
    try:
        sittings.find(request, _address(request))
    except Denied:
        return _asked(request, place, words=_WHY.get(request.query_params.get("why", ""), ""))
    return to(place)


async def _enter(request: Request) -> Response:
    try:
        with told(request):
            _own(request)
            if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM:
                raise Invalid("that is no form", hint="sign in by the page", code="BAD_REQUEST")
            sent = QueryParams((await request.body()).decode("latin-1"))
            place = _place(sent.get("to", ""))
            return await run_in_threadpool(_entered, request, sent.get("key", "").strip(), place)
    except RdevError as e:
        return sorry(request, e)


def _entered(request: Request, key: str, place: str) -> Response:
    sittings: Sittings = request.app.state.sittings
    try:
        token, grant = sittings.enter(request.app.state.door, key, _address(request))
    except Denied as e:
        words = "That is no key that opens anything here." if e.code == "UNAUTHORIZED" else f"{e.message[:1].upper()}{e.message[1:]}."
        return _asked(request, place, words=words, status=status_of(e))
    admit(request, grant, None)
    sittings.leave(request)  # whoever signs in again has one sitting
    # the browser says itself whether it came by https, also where a proxy ends TLS
    secure = "; Secure" if request.headers["origin"].startswith("https:") else ""
    return to(place, headers={"set-cookie": f"{COOKIE}={token}; Path={PATH}; HttpOnly; SameSite=Strict{secure}"})


def _leave(request: Request) -> Response:
    try:
        _own(request)
    except Denied as e:
        return sorry(request, e)
    sittings: Sittings = request.app.state.sittings
    sittings.leave(request)
    return to(SIGN_IN, headers={"set-cookie": f"{COOKIE}=; Path={PATH}; Max-Age=0; HttpOnly; SameSite=Strict"})


def _asked(request: Request, place: str, *, words: str, status: int = 200) -> Response:
    shared = _SHARED.fullmatch(request.headers.get("host", "").lower()) if request.scope["scheme"] == "http" else None
    apart = f"http://{APART}{shared[1] or ''}{HOME}" if shared else ""
    return render(request, "login", status=status, to=place, words=words, apart=apart)


def _own(request: Request) -> None:
    """Check that a form of this very page was sent, and not one of a preview or of another site; Denied FOREIGN_ORIGIN if not."""
    origins, hosts = request.headers.getlist("origin"), request.headers.getlist("host")
    scheme, _, rest = origins[0].partition("://") if len(origins) == 1 else ("", "", "")
    if scheme not in ("http", "https") or [rest.lower()] != [host.lower() for host in hosts] or not _same_site(request):
        raise Denied("only a form of this page is taken here", hint=f"open {SIGN_IN} and sign in there", code="FOREIGN_ORIGIN")


def _same_site(request: Request) -> bool:
    return request.headers.get("sec-fetch-site", "same-origin") == "same-origin"


def _place(text: str) -> str:
    """Return which page somebody wanted to see, if it is one of these."""
    return text if _PAGE.fullmatch(text) else HOME


def _address(request: Request) -> str:
    return request.client.host if request.client else ""


routes: Routes = []
public(routes, "/", _root)
public(routes, PATH, _root)
public(routes, SIGN_IN, _form)
for _name in FILES:
    public(routes, f"{PATH}/static/{_name}", static(_name))
routes += [
    Route(SIGN_IN, _enter, methods=["POST"], include_in_schema=False),
    Route(SIGN_OUT, _leave, methods=["POST"], include_in_schema=False),
]
