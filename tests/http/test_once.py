"""Idempotency-Key: the same request under the same key gets the same answer, and is done once."""

import sqlite3

import pytest

from rdev_cli.domain.access import Scope
from rdev_cli.domain.errors import Unavailable
from rdev_cli.domain.project import ProjectSpec
from rdev_cli.domain.values import Secret
from rdev_cli.ops import idempotency, projects
from rdev_cli.wiring.sealing import Envelope
from tests.http.conftest import Caller

pytestmark = pytest.mark.state

KEY = {"idempotency-key": "k-1"}
EXEC = {"argv": ["true"]}


@pytest.fixture
def shop(services):
    projects.create(services, ProjectSpec(name="shop"))
    return "shop"


def test_a_repeat_gets_the_same_status_and_data_and_is_one_command(caller: Caller, services, shop: str) -> None:
    client = caller(Scope.ADMIN)
    first, second = (client.post("/projects/shop/exec", json=EXEC, headers=KEY) for _ in range(2))
    assert (first.status_code, second.status_code, second.json()["data"]) == (202, 202, first.json()["data"])
    assert (first.headers["location"], "idempotent-replayed" in first.headers) == (second.headers["location"], False)
    assert second.headers["idempotent-replayed"] == "true"
    assert [one.id for one in services.store.commands()] == [first.json()["data"]["id"]]
    third = client.post("/projects/shop/exec", json={"argv": ["true"], "network": True}, headers=KEY)
    assert third.json()["data"] == first.json()["data"]  # what is left out means what is usual: the same request


def test_another_body_or_path_under_a_used_key_is_422(caller: Caller, services, shop: str) -> None:
    client = caller(Scope.ADMIN)
    client.post("/projects/shop/exec", json=EXEC, headers=KEY)
    for path, body in (
        ("/projects/shop/exec", {"argv": ["false"]}),
        ("/projects/shop/git", {"argv": ["true"]}),
        ("/projects", {"name": "x"}),
    ):
        refused = client.post(path, json=body, headers=KEY)
        assert (refused.status_code, refused.json()["error"]["code"]) == (422, "IDEMPOTENCY_MISMATCH")
    assert len(services.store.commands()) == 1


def test_another_caller_is_independent(caller: Caller, services, shop: str) -> None:
    ids = {caller(Scope.ADMIN).post("/projects/shop/exec", json=EXEC, headers=KEY).json()["data"]["id"] for _ in range(2)}
    assert len(ids) == len(services.store.commands()) == 2


def test_a_bound_key_has_keys_of_its_own(caller: Caller, services, shop: str) -> None:
    client = caller(Scope.PROJECTS_EXECUTE, projects=frozenset({"shop"}))
    first, second = (client.post("/projects/shop/exec", json=EXEC, headers=KEY) for _ in range(2))
    assert (first.status_code, second.json()["data"]) == (202, first.json()["data"])


def test_after_a_crash_the_repeat_meets_what_was_made(caller: Caller, services, shop: str, monkeypatch) -> None:
    client = caller(Scope.ADMIN)
    monkeypatch.setattr(idempotency, "_keep", _dying(idempotency._keep))
    assert client.post("/projects/shop/exec", json=EXEC, headers=KEY).status_code == 500
    monkeypatch.undo()
    again = client.post("/projects/shop/exec", json=EXEC, headers=KEY)
    assert again.status_code == 202
    assert [one.id for one in services.store.commands()] == [again.json()["data"]["id"]]


def _dying(real):
    def keep(world, kept, *more):
        if more:
            raise ZeroDivisionError  # before its answer is recorded
        real(world, kept)

    return keep


def test_a_new_keys_secret_is_told_again_to_its_caller_and_lies_nowhere_in_the_state(caller: Caller, services) -> None:
    client, asked = caller(Scope.ADMIN), {"name": "ci", "scopes": ["projects:read"]}
    first, second = (client.post("/keys", json=asked, headers=KEY) for _ in range(2))
    assert (first.status_code, second.status_code, second.json()["data"]) == (201, 201, first.json()["data"])
    assert second.headers["cache-control"] == "no-store"
    secret = first.json()["data"]["key"].encode()
    for file in services.folder.glob("state.db*"):
        assert secret not in file.read_bytes()
    (answer,) = sqlite3.connect(services.folder / "state.db").execute("select answer from idempotency").fetchone()
    envelope = Envelope(Secret("rdev_sk_00000001_" + "0" * 32), KEY["idempotency-key"])
    with pytest.raises(Unavailable):
        envelope.unseal(answer)  # by another key


def test_a_key_that_was_made_for_nobody_is_revoked_and_made_anew(caller: Caller, services, monkeypatch) -> None:
    client, asked = caller(Scope.ADMIN), {"name": "ci", "scopes": ["projects:read"]}
    monkeypatch.setattr(idempotency, "_keep", _dying(idempotency._keep))
    assert client.post("/keys", json=asked, headers=KEY).status_code == 500
    monkeypatch.undo()
    made = client.post("/keys", json=asked, headers=KEY)
    assert made.status_code == 201
    kept = services.store.keys()
    assert [one.id for one in kept if one.revoked_at is None] == [made.json()["data"]["id"]]
    assert len(kept) == 2


@pytest.mark.parametrize("key", ["", " ", "k" * 256, "two words"])
def test_a_key_that_is_none_is_refused(caller: Caller, shop: str, key: str) -> None:
    assert caller(Scope.ADMIN).post("/projects/shop/exec", json=EXEC, headers={"idempotency-key": key}).status_code == 422


def test_two_keys_are_refused(caller: Caller, shop: str) -> None:
    refused = caller(Scope.ADMIN).post("/projects/shop/exec", json=EXEC, headers=[("idempotency-key", "a"), ("idempotency-key", "b")])
    assert refused.status_code == 422
