"""Previews over HTTP, and the same documents as on the command line."""

import json

import pytest

from rdev_cli.domain.access import Scope
from rdev_cli.domain.session import SessionSpec
from rdev_cli.ops import sessions

pytestmark = pytest.mark.state


@pytest.fixture
def session(services, project) -> str:
    return str(sessions.start(services, SessionSpec(project=project)).id)


def test_a_port_is_opened_listed_and_closed_in_the_words_of_the_command_line(caller, session, rdev):
    client = caller(Scope.SESSIONS_EXECUTE, Scope.SESSIONS_READ)
    made = client.post(f"/sessions/{session}/previews", json={"port": 3000})
    assert (made.status_code, made.headers["location"]) == (201, f"/sessions/{session}/previews/3000")
    found = client.get(f"/sessions/{session}/previews").json()["data"]
    typed = json.loads(rdev("preview", "list", session, "-o", "json").stdout)
    assert found == typed
    assert found["items"] == [made.json()["data"]]
    again = json.loads(rdev("session", "preview", session, "3000", "-o", "json").stdout)
    assert again == made.json()["data"]
    gone = client.delete(made.headers["location"]).json()["data"]
    assert gone == json.loads(rdev("preview", "close", session, "3000", "-o", "json").stdout)
    assert (gone["state"], gone["id"]) == ("closed", again["id"])
    assert client.get(f"/sessions/{session}/previews").json()["data"]["items"] == []


@pytest.mark.parametrize("port", ["03000", "+3000", "0", "65536", "x", "3000%20"])
def test_t_pv_1_a_port_in_a_path_is_written_as_one_writes_it(caller, session, port):
    client = caller(Scope.SESSIONS_EXECUTE)
    assert client.post(f"/sessions/{session}/previews", json={"port": 3000}).status_code == 201
    assert client.delete(f"/sessions/{session}/previews/{port}").status_code == 422


@pytest.mark.parametrize(
    "body", [{}, {"port": "3000"}, {"port": 0}, {"port": 65536}, {"port": 3000.5}, {"port": 3000, "base": "http://evil.example"}]
)
def test_what_is_no_port_is_refused_and_nobody_chooses_the_address(caller, session, body):
    assert caller(Scope.SESSIONS_EXECUTE).post(f"/sessions/{session}/previews", json=body).status_code == 422


def test_who_may_only_look_opens_nothing(caller, session):
    client = caller(Scope.SESSIONS_READ)
    assert client.post(f"/sessions/{session}/previews", json={"port": 3000}).status_code == 403
    assert client.delete(f"/sessions/{session}/previews/3000").status_code == 403
