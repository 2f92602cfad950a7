"""The scope matrix: every route, whoever calls, however the path is written, as docs/http.md says."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from rdev_cli.domain.access import KeySpec, Scope
from rdev_cli.domain.errors import Conflict
from rdev_cli.faces.http.app import PUBLIC, create_app
from rdev_cli.faces.http.face import Guarded
from rdev_cli.ops import keys
from rdev_cli.wiring.services import Services
from tests.house.listing import ROOT
from tests.support.wire import Wire

ADMITTED = "ADMITTED"
ALL = tuple(scope for scope in Scope if scope is not Scope.ADMIN)


class Turnstile:
    """The world as far as the door needs it: whoever is admitted gets no further."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def acting(self, grant: Any) -> Any:
        raise Conflict("in", code=ADMITTED)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._services, name)


@pytest.fixture
def app(services: Services) -> Any:
    return create_app(Turnstile(services), lambda key, address: keys.authenticate(services, key, address=address))  # type: ignore[arg-type]


@pytest.fixture
def wire(app: Any) -> Iterator[Wire]:
    made = Wire(app)
    yield made
    made.close()


@pytest.fixture
def key(services: Services) -> Any:
    """Make a key; nobody's is made twice."""
    made: dict[Any, str] = {}

    def make(*scopes: Scope, **more: Any) -> str:
        what = (scopes, str(more))
        if what not in made:
            made[what] = keys.create(services, KeySpec(name="one", scopes=scopes, **more)).key
        return made[what]

    return make


def guarded(app: Any) -> list[tuple[str, str, Scope]]:
    return [(method, route.path, route.scope) for route in app.routes if isinstance(route, Guarded) for method in sorted(route.methods)]


def sample(path: str) -> str:
    return re.sub(r"\{[^}]*\}", "shop", path)


def listed() -> set[tuple[str, str, str]]:
    """The rows of the table in docs/http.md."""
    text = (ROOT / "docs" / "http.md").read_text()
    return {
        (found[1], found[2], found[3]) for found in re.finditer(r"^\| `([A-Z]+) ([^`]+)` \| `[^`]+` \| `([^`]+)` \|", text, re.MULTILINE)
    }


def test_the_table_has_every_route_and_no_other(app: Any) -> None:
    documented = {(m, p, s.value) for m, p, s in guarded(app) if p in app.openapi()["paths"]}
    assert len(documented) > 30
    assert listed() == documented
    undocumented = {p for _, p, _ in guarded(app)} - set(app.openapi()["paths"])
    assert undocumented <= {"/metrics"}


def test_every_route_admits_its_scope_and_admin_and_nobody_else(app: Any, wire: Wire, key: Any, services: Services) -> None:
    columns: list[tuple[str, str, frozenset[Scope]]] = [(f"only {scope}", key(scope), frozenset({scope})) for scope in Scope]
    columns += [
        (f"all but {scope}", key(*(one for one in ALL if one is not scope)), frozenset(ALL) - {scope})
        for scope in {scope for *_, scope in guarded(app)} - {Scope.ADMIN}
    ]
    columns.append(("all but admin", key(*ALL), frozenset(ALL)))
    wrong = []
    for method, path, needed in guarded(app):
        for at, (name, shown, held) in enumerate(columns):
            header = ("x-api-key", shown) if at % 2 else ("authorization", f"Bearer {shown}")
            answer = wire.ask(method, sample(path), [header])
            expected = (409, ADMITTED) if needed in held or Scope.ADMIN in held else (403, "FORBIDDEN")
            if (answer.status, answer.code) != expected:
                wrong.append((method, path, name, answer.status, answer.code))
    assert not wrong


def test_no_route_admits_a_key_that_does_not_count(app: Any, wire: Wire, key: Any, services: Services) -> None:
    revoked, expired, elsewhere = (
        key(Scope.ADMIN, projects=("gone",)),
        key(Scope.ADMIN, expires_seconds=3600),
        key(Scope.ADMIN, cidrs=("10.0.0.0/8",)),
    )
    for one in keys.list_(services):
        if one.projects == ("gone",):
            keys.revoke(services, one.id)
        if one.expires_at is not None:
            with services.store._database.writing() as connection:
                connection.execute("update keys set expires_at = '2001-01-01T00:00:00.000Z' where id = ?", [one.id])
    nobody = f"rdev_sk_{'a' * 8}_{'0' * 32}"
    known = key(Scope.ADMIN)
    columns = [
        ([], (401, "UNAUTHORIZED")),
        ([("x-api-key", nobody)], (401, "UNAUTHORIZED")),
        ([("x-api-key", known[:-4] + ("0000" if known[-4:] != "0000" else "1111"))], (401, "UNAUTHORIZED")),
        ([("x-api-key", revoked)], (401, "KEY_REVOKED")),
        ([("x-api-key", expired)], (401, "KEY_EXPIRED")),
        ([("x-api-key", elsewhere)], (403, "IP_NOT_ALLOWED")),
        ([("x-api-key", known), ("authorization", f"Bearer {known}")], (401, "UNAUTHORIZED")),
        ([("cookie", f"x-api-key={known}")], (401, "UNAUTHORIZED")),
    ]
    wrong = []
    for method, path, _ in guarded(app):
        for headers, expected in columns:
            answer = wire.ask(method, sample(path), headers, b"{not json")
            if (answer.status, answer.code) != expected:
                wrong.append((method, path, headers, answer.status, answer.code))
    assert not wrong


def spellings(path: str) -> list[str]:
    """The same path, as nobody should write it; none of these is a route of its own, but for what a name may be."""
    return [
        f"{path}/",
        f"/{path}",
        path.replace("/", "//", 2),
        f"{path}/..",
        f"{path}/.",
        f"/x/..{path}",
        path.upper(),
        f"{path};",
        f"{path}%00",
    ]


def test_a_path_in_another_spelling_leads_to_no_other_scope(app: Any, wire: Wire, key: Any) -> None:
    """What is admitted must be a route that stands there in just these words; nothing is tidied up or redirected."""
    admin, reader = key(Scope.ADMIN), key(Scope.QUEUE_READ)  # of which no route asks yet
    patterns = [route.path_regex for route in app.routes]
    seen = 0
    for method, path, _ in guarded(app):
        for spelt in (*spellings(sample(path)), sample(path).replace("/shop", "/%2f"), sample(path).replace("/shop", "/sh%2fop")):
            seen += 1
            decoded = spelt.replace("%2f", "/").replace("%00", "\0")
            there = any(pattern.match(decoded) for pattern in patterns)
            for headers in ([("x-api-key", admin)], [("x-api-key", reader)], []):
                answer = wire.ask(method, spelt, headers)
                assert not 300 <= answer.status < 400, spelt
                if not there:
                    assert (answer.status, answer.code) == (404, "NOT_FOUND"), spelt
                elif headers != [("x-api-key", admin)]:
                    assert answer.code != ADMITTED, spelt
                    assert answer.status in (401, 403, 405), spelt
    assert seen > 300


def test_a_method_that_is_not_served_is_none_for_anybody(app: Any, wire: Wire, key: Any) -> None:
    admin = key(Scope.ADMIN)
    served: dict[str, set[str]] = {route.path: set(route.methods) for route in app.routes if route.path in PUBLIC}
    for method, path, _ in guarded(app):
        served.setdefault(path, set()).add(method)
    there = {route.path for route in app.routes}
    for path in there:
        # a path of plain words may also be read as another with a name in it
        allowed = {
            m for other, methods in served.items() for m in methods if re.fullmatch(re.sub(r"\{[^}]*\}", "[^/]+", other), sample(path))
        }
        for method in ("HEAD", "OPTIONS", "TRACE", "CONNECT", "GET", "POST", "PUT", "PATCH", "DELETE", "get", "PROPFIND", "X" * 100):
            if method not in allowed:
                answer = wire.ask(method, sample(path), [("x-api-key", admin), ("x-http-method-override", "GET")])
                assert (answer.status, answer.code) == (405, "METHOD_NOT_ALLOWED"), (method, path)
                assert set(answer.headers["allow"].split(", ")) == allowed, path


def test_a_header_does_not_change_the_method(app: Any, wire: Wire, key: Any) -> None:
    reader = key(Scope.PROJECTS_READ)
    for name in ("x-http-method-override", "x-method-override", "x-http-method"):
        answer = wire.ask("GET", "/projects/shop", [("x-api-key", reader), (name, "DELETE")])
        assert answer.code == ADMITTED
        assert wire.ask("DELETE", "/projects/shop", [("x-api-key", reader), (name, "GET")]).code == "FORBIDDEN"
    for name in ("x-original-url", "x-rewrite-url"):
        assert wire.ask("GET", "/settings", [("x-api-key", reader), (name, "/projects")]).code == "FORBIDDEN"


def test_what_is_public_needs_no_key_and_tells_nothing_of_the_state(app: Any, wire: Wire, services: Services) -> None:
    for path in ("/openapi.json", "/docs"):
        answer = wire.ask("GET", path)
        assert answer.status == 200
        assert str(services.folder).encode() not in answer.body
