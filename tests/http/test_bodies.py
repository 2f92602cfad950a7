"""Bodies, words in the address and files: what makes no sense is refused in our shape, and what makes sense arrives whole."""

import json
from typing import Any

import pytest

from rdev_cli.domain.access import Scope
from rdev_cli.faces.http.app import create_app
from rdev_cli.wiring.services import Services
from tests.conftest import Rdev

DEEP = b"[" * 100_000
NO_JSON = (b"", b"{", b"{]", b"nul", b"\xff", b'{"name": "\xff"}', DEEP, b'{"a":' * 50_000, b"1" * 10_000, b'"\\ud8', b"{'name': 1}")
NO_SENSE = (
    b"null", b"[]", b'""', b"1", b"NaN", b"-Infinity", b"1e999", b'{"surplus": 1}', b'{"name": "\\ud800"}', b'{"name": "a\\u0000b"}',
    b'{"name": 1}', b'{"name": ["shop"]}', b'{"name": "UPPER"}', b'{"name": "' + b"a" * 100_000 + b'"}', b'{"name": "x", "network": "yes"}',
    b'{"name": "x", "description": "\\ud83d"}', b'{"name": "x", "description": "two\\nlines"}', b'{"name": "x", "model": "--flag"}',
    b'{"name": "x", "source": "a\\u0000b"}', b'{"name": "x", "surplus": ' + b"9" * 3000 + b"}",
)  # fmt: skip


TAKING = [
    (method.upper(), path.replace("{project}", "shop").replace("{name}", "A_TOKEN").replace("{context}", "local"))
    for path, below in create_app(Services(environ={"HOME": "/nowhere"}), lambda key, address: None).openapi()["paths"].items()  # type: ignore[arg-type, return-value]
    for method, told in below.items()
    if "application/json" in told.get("requestBody", {}).get("content", {})
]


def test_what_is_no_json_or_makes_no_sense_is_refused_by_every_route(caller: Any, project: str) -> None:
    client = caller(Scope.ADMIN)
    assert len(TAKING) > 8
    for method, path in TAKING:
        for body in (*NO_JSON, *NO_SENSE):
            answer = client.request(method, path, content=body, headers={"content-type": "application/json"})
            assert answer.status_code in (400, 422), (method, path, body[:40], answer.text)
            error = answer.json()["error"]
            assert set(error) == {"code", "message", "hint", "context"}
            assert len(answer.content) < 2000, "what was sent is said again"


@pytest.mark.parametrize("body", NO_JSON[1:])
def test_what_is_no_json_is_400_in_these_words(caller: Any, body: bytes) -> None:
    answer = caller(Scope.ADMIN).post("/projects", content=body, headers={"content-type": "application/json"})
    if answer.status_code == 400:
        assert (answer.json()["error"]["code"], answer.json()["error"]["message"]) == ("BAD_REQUEST", "invalid request body")
    else:
        assert answer.status_code == 422  # a number of any length is JSON


def test_a_field_that_makes_no_sense_is_named(caller: Any) -> None:
    client = caller(Scope.ADMIN)
    surplus = client.post("/projects", json={"name": "x", "nam": "y"}).json()["error"]
    assert (surplus["code"], surplus["context"]["field"]) == ("INVALID", "nam")
    seconds = client.post("/projects/shop/exec", json={"argv": ["true"], "timeout_seconds": 10**30}).json()["error"]
    assert seconds["context"]["field"] == "timeout_seconds"
    word = client.post("/projects/shop/exec", json={"argv": ["true", 1]}).json()["error"]
    assert word["context"]["field"] == "argv.1"


def test_json_under_another_name_is_not_read(caller: Any) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""):
        answer = caller(Scope.ADMIN).post("/projects", content=b'{"name": "shop"}', headers={"content-type": kind})
        assert answer.status_code == 422, kind


@pytest.mark.parametrize(
    "query",
    [
        f"/commands?limit={'9' * 5000}", "/commands?limit=1e3", "/commands?limit=0", "/commands?running=maybe", "/commands?before=%00",
        "/commands?before=%ff", "/commands?project=%00", "/commands?project=%ed%a0%80", "/events?after=9223372036854775808", "/events?after=-1",
        "/events?subject=%00", "/events?subject=%f0%9f%92%a9", "/agents/usage?since_seconds=99999999999999999999", "/projects/%00", "/projects/%ff",
        "/projects/shop/logs?tail=-2", "/projects/shop/logs?since_seconds=-1", "/commands/cmd_%00", f"/projects/{'a' * 5000}", "/agents/%00",
        "/contexts/%00", "/projects/shop/files", "/projects/shop/files?path=%00", "/projects/shop/files?path=.git/config", "/gc?window_seconds=1",
    ],
)  # fmt: skip
def test_an_address_that_makes_no_sense_is_refused(caller: Any, project: str, query: str) -> None:
    answer = caller(Scope.ADMIN).get(query)
    assert 400 <= answer.status_code < 500, answer.text
    assert answer.json()["error"]["message"]


def test_a_source_on_the_servers_own_machine_is_an_admins_to_name(caller: Any, tmp_path: Any) -> None:
    client = caller(Scope.PROJECTS_EXECUTE)
    for source in (str(tmp_path), f"file://{tmp_path}", "ssh://somewhere/x", "git@somewhere:x", "http://somewhere/x", "ext::sh -c true"):
        answer = client.post("/projects", json={"name": "fresh", "source": source})
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "FORBIDDEN"), source


# files


def test_a_file_goes_in_and_out_byte_for_byte(caller: Any, project: str, rdev: Rdev) -> None:
    client, data = caller(Scope.PROJECTS_EXECUTE), bytes(range(256)) * 1000
    put = client.put("/projects/shop/files", params={"path": "raw.bin"}, content=data)
    assert put.status_code == 200, put.text
    assert put.json()["data"]["files"] == 1
    assert put.json()["data"]["bytes"] == len(data)
    got = client.get("/projects/shop/files", params={"path": "raw.bin"})
    assert got.content == data
    assert got.headers["content-type"] == "application/octet-stream"
    assert got.headers["content-disposition"] == "attachment"
    assert rdev("cp", "shop:raw.bin", "-").stdout == data


def test_a_body_that_looks_like_json_is_a_file_all_the_same(caller: Any, project: str) -> None:
    client = caller(Scope.PROJECTS_EXECUTE)
    assert client.put("/projects/shop/files", params={"path": "x.json"}, json={"a": [1]}).status_code == 200
    assert json.loads(client.get("/projects/shop/files", params={"path": "x.json"}).content) == {"a": [1]}
    assert client.put("/projects/shop/files", params={"path": "empty"}, content=b"").status_code == 200
    assert client.get("/projects/shop/files", params={"path": "empty"}).content == b""


def test_a_folder_a_missing_file_and_gits_own_are_refused(caller: Any, project: str) -> None:
    client = caller(Scope.PROJECTS_EXECUTE)
    for path, status in ((".", 422), ("", 422), ("nowhere", 404), (".git/HEAD", 422)):
        assert client.get("/projects/shop/files", params={"path": path}).status_code == status, path
    assert client.put("/projects/shop/files", params={"path": "no/such/folder/x"}, content=b"x").status_code == 404
    assert client.put("/projects/shop/files", params={"path": ".git/hooks/post-commit"}, content=b"x").status_code == 422


def test_no_file_of_the_servers_machine_is_read_or_written(caller: Any, project: str, tmp_path: Any) -> None:
    secret = tmp_path / "secret"
    secret.write_text("the server's own")
    client = caller(Scope.ADMIN)
    answer = client.get("/projects/shop/files", params={"path": str(secret)})
    assert answer.status_code == 404
    assert client.put("/projects/shop/files", params={"path": str(secret)}, content=b"x").status_code >= 400
    assert secret.read_text() == "the server's own"
