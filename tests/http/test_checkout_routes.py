"""/checkouts: a credential is told once, to whoever asked, and stands nowhere afterwards."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rdev_cli.domain.access import Scope
from rdev_cli.ops import debts, idempotency
from tests.fakes.world import MemoryWorld
from tests.http.conftest import Caller

pytestmark = pytest.mark.state
KEY = {"idempotency-key": "k-1"}


@pytest.fixture
def services(tmp_path: Path) -> Iterator[MemoryWorld]:
    """A world with the project `shop`, on a forge that has accounts."""
    from rdev_cli.domain.project import ProjectSpec
    from rdev_cli.ops import projects

    one = MemoryWorld(tmp_path)
    projects.create(one, ProjectSpec(name="shop"))
    yield one
    one.close()


def kept(services: MemoryWorld) -> bytes:
    return b"".join(path.read_bytes() for path in services.folder.rglob("*") if path.is_file())


def start(client: Any, **more: Any) -> dict[str, Any]:
    answer = client.post("/projects/shop/checkouts", json={}, **more)
    assert answer.status_code == 201, answer.text
    assert answer.headers["cache-control"] == "no-store"
    found: dict[str, Any] = answer.json()["data"]
    assert answer.headers["location"] == f"/checkouts/{found['id']}"
    return found


def test_a_token_is_told_once_and_kept_nowhere(caller: Caller, services: MemoryWorld) -> None:
    client = caller(Scope.PROJECTS_EXECUTE, Scope.PROJECTS_READ)
    made = start(client)
    assert made["token"] in services.forge.tokens
    assert made["token"].encode() not in kept(services)
    for path in (f"/checkouts/{made['id']}", "/checkouts", "/checkouts?ended=true&project=shop"):
        told = client.get(path)
        assert told.status_code == 200
        assert made["token"] not in told.text
    shown = client.get(f"/checkouts/{made['id']}").json()["data"]
    assert shown == {name: value for name, value in made.items() if name not in ("token", "push_option")}


def test_a_repeat_under_a_key_is_told_the_same_and_what_is_kept_for_it_is_sealed(caller: Caller, services: MemoryWorld) -> None:
    client = caller(Scope.PROJECTS_EXECUTE)
    first, again = (start(client, headers=KEY) for _ in range(2))
    assert first == again
    assert len(services.forge.tokens) == 1
    assert first["token"].encode() not in kept(services)


@pytest.mark.parametrize("bound", [None, frozenset({"shop"})])
def test_one_that_was_cut_off_before_it_was_told_is_taken_back_by_its_repeat(
    caller: Caller, services: MemoryWorld, monkeypatch: pytest.MonkeyPatch, bound: frozenset[str] | None
) -> None:
    client = caller(Scope.PROJECTS_EXECUTE, projects=bound)
    real = idempotency._keep

    def dying(world: Any, kept: Any, *more: Any) -> None:
        if more:
            raise ZeroDivisionError
        real(world, kept)

    monkeypatch.setattr(idempotency, "_keep", dying)
    assert client.post("/projects/shop/checkouts", json={}, headers=KEY).status_code == 500
    (lost,) = services.forge.tokens
    monkeypatch.undo()
    made = start(client, headers=KEY)
    assert list(services.forge.tokens) == [made["token"]] != [lost]
    assert [debt.reason for debt in debts.owed(services)] == [made["id"]]


def test_extend_and_cancel_answer_what_show_does(caller: Caller, services: MemoryWorld) -> None:
    client = caller(Scope.PROJECTS_EXECUTE, Scope.PROJECTS_READ)
    made = start(client)
    for verb, body in (("extend", {"lasts_seconds": 90000}), ("cancel", None), ("cancel", None)):
        answer = client.post(f"/checkouts/{made['id']}/{verb}", json=body)
        assert answer.status_code == 200, answer.text
        assert answer.json()["data"] == client.get(f"/checkouts/{made['id']}").json()["data"]
    assert client.get("/checkouts").json()["data"] == {"items": [], "next": None}
    assert services.forge.tokens == {}
    ended = client.post(f"/checkouts/{made['id']}/extend", json={})
    assert (ended.status_code, ended.json()["error"]["code"]) == (409, "ENDED")


def test_a_key_needs_the_scope_and_a_body_that_makes_sense(caller: Caller, services: MemoryWorld) -> None:
    reader, client = caller(Scope.PROJECTS_READ), caller(Scope.PROJECTS_EXECUTE)
    assert reader.post("/projects/shop/checkouts", json={}).status_code == 403
    for body in ({"lasts_seconds": 59}, {"lasts_seconds": "8h"}, {"branch": "--x"}, {"branch": "a..b"}, {"token": "x"}, [], {"branch": 1}):
        assert client.post("/projects/shop/checkouts", json=body).status_code == 422, body
    nowhere = client.post("/projects/shop/checkouts", json={"branch": "nowhere"})
    assert (nowhere.status_code, "rdev branch list shop" in nowhere.json()["error"]["hint"]) == (404, True)
    for path in ("/checkouts/chk_1", "/checkouts?before=chk_1", "/checkouts/prj_00000000000000000000"):
        assert reader.get(path).status_code == 404, path
    assert (services.forge.tokens, debts.owed(services)) == ({}, [])
    branches = reader.get("/projects/shop/branches").json()["data"]["items"]
    assert [one["name"] for one in branches] == ["main"]
    assert json.dumps(branches)
