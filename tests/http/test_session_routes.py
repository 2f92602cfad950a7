"""The door of sessions over HTTP: what makes no sense is refused there."""

import json
from typing import Any

import pytest

from rdev_cli.domain.access import Scope
from tests.conftest import Rdev

pytestmark = pytest.mark.state


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "project"), ({"project": "shop", "branch": "--upload-pack=touch"}, "branch"), ({"project": "shop", "idle_seconds": 0}, "idle_seconds"),
        ({"project": "shop", "ttl_seconds": 1 << 40}, "ttl_seconds"), ({"project": "shop", "purpose": "checks"}, "purpose"),
        ({"project": "Shop!"}, "project name"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_at_the_door_and_nothing_is_recorded(caller: Any, project: str, body: Any, field: str) -> None:
    client = caller(Scope.ADMIN)
    answer = client.post("/sessions", json=body)
    assert answer.status_code == 422, answer.text
    assert answer.json()["error"]["context"]["field"] == field
    assert client.get("/sessions").json()["data"]["items"] == []


def test_the_bytes_of_a_session_are_those_of_the_command(caller: Any, project: str, rdev: Rdev) -> None:
    session = json.loads(rdev("session", "start", project, "-o", "json").stdout)["id"]
    client = caller(Scope.ADMIN)
    answer = client.get(f"/sessions/{session}")
    printed = rdev("session", "show", session, "-o", "json").stdout
    assert answer.content.startswith(b'{"data":' + printed.rstrip(b"\n") + b',"meta":')
    for path in (f"/sessions/{session[:10]}", "/sessions/shop", "/sessions/ses_", f"/sessions/{session.upper()}"):
        assert client.get(path).status_code == 404, path
