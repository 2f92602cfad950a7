"""The door of sessions over HTTP: what makes no sense is refused there."""

from typing import Any

import pytest

from rdev_cli.domain.access import Scope

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
