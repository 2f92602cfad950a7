"""The wire's manners: who is let in, how an answer and a failure look."""

import json

import pytest

from rdev_cli.domain.access import Scope
from tests.conftest import Rdev


def test_an_answer_holds_what_the_command_prints(caller, project: str, rdev: Rdev) -> None:
    answer = caller(Scope.PROJECTS_READ).get("/projects", headers={"x-request-id": "mine.1"})
    assert answer.status_code == 200
    printed = rdev("project", "list", "-o", "json").stdout.rstrip(b"\n")
    assert answer.content.startswith(b'{"data":' + printed + b',"meta":{"request_id":"mine.1","timestamp":"')
    assert answer.headers["x-request-id"] == "mine.1"


@pytest.mark.parametrize("given", ["", "a b", "x" * 65, "-x", "\xe9", "a\tb"])
def test_a_request_whose_own_id_is_no_safe_word_gets_another(caller, given: str) -> None:
    answer = caller(Scope.PROJECTS_READ).get("/projects", headers={"x-request-id": given.encode("latin-1")})
    assert answer.headers["x-request-id"].startswith("req_")
    assert answer.json()["meta"]["request_id"] == answer.headers["x-request-id"]


def test_a_failure_has_the_shape_of_the_command_line(caller, rdev: Rdev) -> None:
    answer = caller(Scope.ADMIN).get("/projects/nowhere")
    assert answer.status_code == 404
    assert answer.json()["error"] == json.loads(rdev("project", "show", "nowhere", "-o", "json").stderr)["error"]


def test_a_path_that_is_not_there_and_a_method_that_is_not_served_are_told_alike(caller) -> None:
    client = caller(Scope.ADMIN)
    assert client.get("/nowhere").json()["error"]["code"] == "NOT_FOUND"
    assert client.get("/projects/").status_code == 404
    refused = client.delete("/projects")
    assert (refused.status_code, refused.json()["error"]["code"]) == (405, "METHOD_NOT_ALLOWED")
    assert "GET" in refused.headers["allow"]


def test_a_key_without_the_scope_is_told_which_it_lacks(caller) -> None:
    answer = caller(Scope.SESSIONS_READ).get("/projects")
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "FORBIDDEN")
    assert answer.json()["error"]["context"] == {"scope": "projects:read"}


def test_a_fault_of_rdev_is_told_without_its_words(caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rdev_cli.ops.projects.list_", lambda world: 1 / 0)
    answer = caller(Scope.ADMIN).get("/projects")
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "INTERNAL")
    assert b"zero" not in answer.content
    assert b"Error" not in answer.content


KEY = "rdev_sk_00000000_" + "0" * 32


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("authorization", KEY)],
        [("authorization", f"bearer {KEY}")],
        [("authorization", f"Bearer  {KEY}")],
        [("authorization", f"Bearer {KEY} ")],
        [("authorization", f"Basic {KEY}")],
        [("x-api-key", f"Bearer {KEY}")],
        [("x-api-key", f"{KEY} ")],
        [("x-api-key", KEY), ("x-api-key", KEY)],
        [("x-api-key", KEY), ("authorization", f"Bearer {KEY}")],
        [("authorization", f"Bearer {KEY}"), ("authorization", f"Bearer {KEY}")],
        [("x-api-key", "rdev_sk_" + "0" * (1 << 20))],
        [("x-api-key", b"\xff" * 49)],
        [("x-api-key", KEY.upper())],
        [("x-api-key", "")],
        [("cookie", f"x-api-key={KEY}; key={KEY}")],
        [("cookie", f"key={KEY}"), ("proxy-authorization", f"Bearer {KEY}")],
    ],
    ids=lambda given: " ".join(str(word)[:24] for pair in given for word in pair) or "none",
)
def test_a_key_counts_in_one_header_once_and_nowhere_else(caller, headers: list[tuple[str, str]]) -> None:
    assert caller(Scope.ADMIN).get("/projects").status_code == 200
    anybody = caller(None)
    answer = anybody.get("/projects", headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "UNAUTHORIZED")
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert KEY not in answer.text


def test_a_key_in_the_address_does_not_count_not_even_beside_a_header(caller) -> None:
    client = caller(Scope.ADMIN)
    assert client.get("/projects", headers={"authorization": f"Bearer {KEY}"}, params={}).status_code == 401  # two headers
    assert caller(None).get("/projects", headers={"authorization": f"Bearer {KEY}"}).status_code == 200
    assert client.get("/projects", params={"key": KEY}).status_code == 401


def test_the_page_about_it_loads_nothing_from_elsewhere(caller) -> None:
    page = caller(None).get("/docs")
    assert page.status_code == 200
    assert "://" not in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    document = caller(None).get("/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    assert document["paths"]["/projects/{project}"]["get"]["operationId"] == "project.show"
