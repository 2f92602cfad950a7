"""/webhooks over HTTP: by scope, by project, and by the same words as on the command line."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rdev_cli.domain.access import Scope
from rdev_cli.wiring.services import Services
from tests.support.receiver import Receiver

if TYPE_CHECKING:
    from starlette.testclient import TestClient

Caller = Callable[..., "TestClient"]


@pytest.fixture
def services(home: Mapping[str, str], tmp_path: Path) -> Iterator[Services]:
    made = Services(environ={**home, "RDEV_WEBHOOK_ALLOW": "127.0.0.0/8"}, cwd=tmp_path)
    yield made
    made.close()


def test_a_webhook_is_made_tested_replayed_and_removed_over_http(caller: Caller, endpoint: Receiver) -> None:
    one = caller(Scope.WEBHOOKS_READ, Scope.WEBHOOKS_WRITE)
    made = one.post("/webhooks", json={"url": endpoint.url, "events": ["command.*"]})
    assert made.status_code == 201
    webhook = made.json()["data"]
    assert webhook["secret"].startswith("whsec_")
    assert "secret" not in one.get("/webhooks").json()["data"]["items"][0]
    tried = one.post(f"/webhooks/{webhook['id']}/test").json()["data"]
    assert tried["state"] == "delivered"
    assert one.post(f"/deliveries/{tried['id']}/replay").json()["data"]["id"] == tried["id"]
    for path in (f"/webhooks/{webhook['id']}/deliveries", "/deliveries"):
        assert [each["id"] for each in one.get(path).json()["data"]["items"]] == [tried["id"]]
    assert one.post(f"/webhooks/{webhook['id']}/rotate").json()["data"]["secret"] != webhook["secret"]
    assert one.delete(f"/webhooks/{webhook['id']}").status_code == 200
    assert one.delete(f"/webhooks/{webhook['id']}").status_code == 404


def test_an_address_that_is_not_public_is_403_and_what_makes_no_sense_422(caller: Caller) -> None:
    one = caller(Scope.WEBHOOKS_WRITE)
    for url, status, code in (
        ("https://10.0.0.1/", 403, "ADDRESS_NOT_ALLOWED"),
        ("https://0x7f.1/", 422, "WEBHOOK_URL"),
        ("", 422, "WEBHOOK_URL"),
    ):
        got = one.post("/webhooks", json={"url": url, "events": ["command.*"]})
        assert (got.status_code, got.json()["error"]["code"]) == (status, code)
    assert one.post("/webhooks", json={"url": "https://10.0.0.1/", "events": ["moon.landed"]}).status_code == 422


def test_whoever_may_only_read_makes_nothing_and_whoever_is_bound_sees_nobody_elses(caller: Caller, endpoint: Receiver) -> None:
    admin = caller(Scope.ADMIN)
    id = admin.post("/webhooks", json={"url": endpoint.url, "events": ["command.*"]}).json()["data"]["id"]
    reader = caller(Scope.WEBHOOKS_READ)
    assert reader.get("/webhooks").status_code == 200
    assert reader.post("/webhooks", json={"url": endpoint.url, "events": ["command.*"]}).status_code == 403
    assert reader.post(f"/webhooks/{id}/test").status_code == 403
    bound = caller(Scope.WEBHOOKS_READ, Scope.WEBHOOKS_WRITE, projects=frozenset({"shop"}))
    assert bound.get("/webhooks").json()["data"]["items"] == []
    for method, path in (("GET", f"/webhooks/{id}/deliveries"), ("POST", f"/webhooks/{id}/test"), ("DELETE", f"/webhooks/{id}")):
        assert bound.request(method, path).status_code == 404
    made = bound.post("/webhooks", json={"url": endpoint.url, "events": ["command.*"]})
    assert (made.status_code, made.json()["data"]["projects"]) == (201, ["shop"])
    assert endpoint.messages == []


def test_a_repeat_under_an_idempotency_key_gets_the_same_secret_which_stands_in_no_table(
    caller: Caller, endpoint: Receiver, services: Services
) -> None:
    one = caller(Scope.WEBHOOKS_READ, Scope.WEBHOOKS_WRITE)
    asked = {"json": {"url": endpoint.url, "events": ["command.*"]}, "headers": {"idempotency-key": "k1"}}
    first, second = one.post("/webhooks", **asked), one.post("/webhooks", **asked)
    assert (first.status_code, first.json()["data"]) == (201, second.json()["data"])
    id, secret = first.json()["data"]["id"], first.json()["data"]["secret"]
    turned = [one.post(f"/webhooks/{id}/rotate", headers={"idempotency-key": "k2"}).json()["data"]["secret"] for _ in range(2)]
    assert turned[0] == turned[1]
    tried = [one.post(f"/webhooks/{id}/test", headers={"idempotency-key": "k3"}).json()["data"]["id"] for _ in range(2)]
    assert endpoint.ids() == tried[:1]
    for path in services.folder.rglob("*"):
        if path.is_file():
            for word in (secret, turned[0]):
                assert word.removeprefix("whsec_").rstrip("=").encode() not in path.read_bytes(), path
