"""/keys: made once, shown without the secret, revoked for good; and the keys themselves at the door. T-KEY-2, 4, 5."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from rdev_cli.domain.access import KeySpec, Scope
from rdev_cli.domain.codec import to_json
from rdev_cli.faces.http.app import create_app
from rdev_cli.ops import keys
from rdev_cli.wiring.services import Services
from tests.conftest import Rdev
from tests.support.wire import Answer, Wire

Ask = Callable[..., Answer]


def data(answer: Answer) -> Any:
    return json.loads(answer.body)["data"]


@pytest.fixture
def ask(services: Services) -> Iterator[Ask]:
    """Ask with a key, as `rdev serve` lets it in."""
    wire = Wire(create_app(services, lambda key, address: keys.authenticate(services, key, address=address)))

    def run(key: str, method: str, target: str, body: Any = None) -> Answer:
        return wire.ask(method, target, [("x-api-key", key)], b"" if body is None else to_json(body).encode())

    yield run
    wire.close()


@pytest.fixture
def admin(services: Services) -> str:
    return keys.create(services, KeySpec(name="boss", scopes=(Scope.ADMIN,))).key


def test_a_key_is_made_used_shown_without_its_secret_and_revoked(ask: Ask, admin: str, rdev: Rdev) -> None:
    made = ask(admin, "POST", "/keys", {"name": "ci", "scopes": ["keys:read"], "expires_seconds": 3600})
    assert made.status == 201
    id, key = data(made)["id"], data(made)["key"]
    assert made.headers["location"] == f"/keys/{id}"
    assert made.headers["cache-control"] == "no-store"
    shown = ask(key, "GET", f"/keys/{id}")
    assert data(shown) == {name: value for name, value in data(made).items() if name != "key"}
    assert rdev("key", "show", id, "-o", "json").stdout == to_json(data(shown)).encode() + b"\n"
    assert rdev("key", "list", "-o", "json").stdout == to_json(data(ask(key, "GET", "/keys"))).encode() + b"\n"
    assert key.encode() not in ask(admin, "GET", "/keys").body + ask(admin, "GET", "/events").body
    revoked = ask(admin, "DELETE", f"/keys/{id}")
    assert (revoked.status, data(revoked)["revoked_at"] is not None) == (200, True)
    assert (ask(key, "GET", "/keys").status, ask(key, "GET", "/keys").code) == (401, "KEY_REVOKED")
    assert rdev("key", "revoke", id, "--yes", "-o", "json").stdout == to_json(data(revoked)).encode() + b"\n"


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"name": "more", "scopes": ["admin"]}, 403, "WIDER_KEY"),
        ({"name": "more", "scopes": ["keys:write"], "projects": ["other"]}, 403, "WIDER_KEY"),
        ({"name": "more", "scopes": ["keys:write"]}, 403, "WIDER_KEY"),
        ({"name": "more", "scopes": ["nothing"], "projects": ["shop"]}, 422, "INVALID"),
        ({"name": "more", "scopes": [], "projects": ["shop"]}, 422, "INVALID"),
        ({"name": "more", "scopes": "keys:write", "projects": ["shop"]}, 422, "INVALID"),
        ({"name": "more", "scopes": ["keys:write"], "projects": ["shop"], "cidrs": ["10.0.0.1/8"]}, 422, "INVALID"),
        ({"name": "more", "scopes": ["keys:write"], "projects": ["shop"], "expires_seconds": 0}, 422, "INVALID"),
        ({"name": "more", "scopes": ["keys:write"], "projects": ["shop"], "prefix": "mine"}, 422, "INVALID"),
    ],
)
def test_a_key_that_may_not_be_made_is_refused(ask: Ask, services: Services, body: Any, status: int, code: str) -> None:
    own = keys.create(services, KeySpec(name="ci", scopes=(Scope.KEYS_WRITE,), projects=("shop",)))
    answer = ask(own.key, "POST", "/keys", body)
    assert (answer.status, answer.code) == (status, code)
    assert len(keys.list_(services)) == 1


def test_only_a_whole_id_names_a_key(ask: Ask, admin: str, services: Services) -> None:
    (boss,) = keys.list_(services)
    for target in (boss.id[:-1], "boss", boss.id.upper(), "*", admin):
        for method in ("GET", "DELETE"):
            answer = ask(admin, method, f"/keys/{target}")
            assert answer.status == 404, target
    assert keys.show(services, boss.id).revoked_at is None


def test_an_unknown_key_and_a_wrong_one_are_told_the_same(ask: Ask, admin: str) -> None:
    said = {
        (answer.status, answer.headers["www-authenticate"], answer.code, answer.body.partition(b'"request_id"')[0])
        for answer in (ask(key, "GET", "/keys") for key in (f"rdev_sk_unknown0_{admin[-32:]}", f"{admin[:-32]}{'0' * 32}"))
    }
    assert len(said) == 1
    assert next(iter(said))[0] == 401
