"""Check-ins over HTTP: accepted, done by a loop, and answered as the command line prints them."""

import json
from pathlib import Path

import jsonschema
import pytest

from rdev_cli.domain.access import Scope
from rdev_cli.domain.command import OPEN, ExecSpec
from rdev_cli.domain.session import SessionSpec
from rdev_cli.ops import commands, jobs, sessions

pytestmark = pytest.mark.state
SCHEMA = json.loads((Path(__file__).parents[2] / "rdev_cli/_data/schemas/checkin.json").read_text())


@pytest.fixture
def session(services, project) -> str:
    """A session of the project with a staged change."""
    started = sessions.start(services, SessionSpec(project=project))
    command = commands.run(services, ExecSpec(project=started.id, argv=("sh", "-c", "echo hello > note.txt; git add note.txt"))).command
    while command.state in OPEN:
        command, _ = commands.follow(services, command, wait=1, own=True)
    assert command.exit_code == 0
    return started.id


def _ended(services, client, accepted) -> dict:
    assert accepted.status_code == 202, accepted.text
    place = accepted.headers["location"]
    assert accepted.json()["data"]["stream_url"] == f"{place}/events"
    assert jobs.run_one(services, services.acting)
    return client.get(place).json()["data"]


def test_a_session_is_checked_in_and_merged(services, caller, session):
    client = caller(Scope.PROJECTS_EXECUTE, Scope.PROJECTS_READ, projects=frozenset({"shop"}))
    accepted = client.post(f"/sessions/{session}/checkin", json={"message": "Say hello", "merge": True})
    done = _ended(services, client, accepted)
    assert done["state"] == "done", done
    answer = done["answer"]
    jsonschema.validate(answer, SCHEMA)
    assert (answer["session"], answer["verdict"], answer["pull"]["title"]) == (session, "passed", "Say hello")
    assert answer["merged"]
    assert services.store.find(sessions.Session, session).reason == "checked_in"


def test_a_review_that_fails_is_an_answer_and_no_error(services, caller, session):
    place = services.cluster
    command = commands.run(services, ExecSpec(project=session, argv=("sh", "-c", "echo bad > site/bad.html; git add site"))).command
    while command.state in OPEN:
        command, _ = commands.follow(services, command, wait=1, own=True)
    client = caller(Scope.PROJECTS_EXECUTE, Scope.PROJECTS_READ)
    done = _ended(services, client, client.post(f"/sessions/{session}/checkin", json={"merge": True}))
    assert (done["state"], done["answer"]["verdict"], done["answer"]["merged"]) == ("done", "failed", "")
    assert place.pod_present(sessions.place(services, services.store.find(sessions.Session, session)))  # it goes on


def test_a_secret_is_an_error_that_names_the_place(services, caller, session):
    line = "printf 'rdev_%s\\n' sk_0a1b2c3d_" + "0123456789abcdef" * 2 + " > key.txt; git add key.txt"
    command = commands.run(services, ExecSpec(project=session, argv=("sh", "-c", line))).command
    while command.state in OPEN:
        command, _ = commands.follow(services, command, wait=1, own=True)
    client = caller(Scope.PROJECTS_EXECUTE, Scope.PROJECTS_READ)
    done = _ended(services, client, client.post(f"/sessions/{session}/checkin", json={}))
    assert (done["state"], done["error"]["code"]) == ("failed", "SECRET_FOUND")
    assert done["error"]["context"]["found"] == [{"file": "key.txt", "kind": "an rdev key", "line": 1}]
    head = services.forge.find_branch(services.store.projects()[0], f"rdev/{session}")
    assert head == services.forge.head(services.store.projects()[0])  # nothing came to it


def test_who_may_not_and_what_is_not_there(services, caller, session):
    reader = caller(Scope.PROJECTS_READ)
    assert reader.post(f"/sessions/{session}/checkin", json={}).status_code == 403
    other = caller(Scope.PROJECTS_EXECUTE, projects=frozenset({"other"}))
    assert other.post(f"/sessions/{session}/checkin", json={}).status_code == 404
    client = caller(Scope.PROJECTS_EXECUTE)
    assert client.post(f"/sessions/{session[:12]}/checkin", json={}).status_code == 404
    assert client.post("/checkouts/chk_00000000000000000000/checkin", json={}).status_code == 404
    assert client.post(f"/sessions/{session}/checkin", json={"merge": "yes"}).status_code == 422
    assert client.post(f"/sessions/{session}/checkin", json={"message": "a\u0007"}).status_code == 422
    assert not services.store.jobs_wait()


def test_the_same_asked_twice_under_one_key_is_one_check_in(services, caller, session):
    client = caller(Scope.PROJECTS_EXECUTE, Scope.PROJECTS_READ)
    first, second = (
        client.post(f"/sessions/{session}/checkin", json={"merge": True}, headers={"idempotency-key": "one"}).json()["data"] for _ in (1, 2)
    )
    assert first == second
    assert jobs.run_one(services, services.acting)
    assert not jobs.run_one(services, services.acting)
