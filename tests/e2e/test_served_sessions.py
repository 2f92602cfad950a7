"""Sessions over HTTP, as two people with a key each use them: one starts it, another follows, and what is another project's is not there."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import Rdev, Spawn
from tests.e2e.test_served_jobs import until
from tests.support.serving import Server, start
from tests.support.sse import Listener

pytestmark = pytest.mark.state
SCOPES = ("projects:read", "projects:execute", "sessions:read", "sessions:execute")


@pytest.fixture
def key(rdev: Rdev) -> Callable[..., str]:
    """Make a key for a project."""

    def make(name: str, project: str, *scopes: str) -> str:
        words = [word for scope in scopes or SCOPES for word in ("--scope", scope)]
        made = rdev("key", "create", "--name", name, "--project", project, *words, "-o", "json")
        assert made.returncode == 0, made.stderr
        return str(json.loads(made.stdout)["key"])

    return make


def ask(server: Server, key: str, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    status, _, told = server.ask(method, path, body, key=key)
    return status, told.get("data") or told["error"]


def started(server: Server, key: str, **spec: Any) -> dict[str, Any]:
    """Start a session and return it once it takes work."""
    status, told = ask(server, key, "POST", "/sessions", {"project": "shop", **spec})
    assert (status, told["stream_url"]) == (202, f"/sessions/{told['id']}/events")
    found: dict[str, Any] = until(lambda: ask(server, key, "GET", f"/sessions/{told['id']}")[1], lambda one: one["state"] != "starting")
    assert found["state"] == "ready", found
    return found


def test_two_people_follow_one_session_and_a_third_knows_nothing_of_it(
    rdev: Rdev, spawn: Spawn, project: str, key: Callable[..., str]
) -> None:
    assert rdev("project", "create", "other").returncode == 0
    ann, ben, eve = key("ann", "shop"), key("ben", "shop"), key("eve", "other")
    server = start(spawn)
    session = started(server, ann)
    assert session["actor"].startswith("key:key_")
    where = f"/sessions/{session['id']}"

    # both see its life and what runs in it; each command tells who ran it
    listeners = [Listener(server.port, f"{where}/events", key=one) for one in (ann, ben)]
    ran = [
        ask(server, one, "POST", f"{where}/shell", {"command": f"echo of-{n} >note-{n}; cat note-*"})[1]["id"]
        for n, one in enumerate((ann, ben))
    ]
    for id in ran:
        until(lambda id=id: ask(server, ben, "GET", f"/commands/{id}")[1], lambda one: one["state"] == "completed")
    seen = ask(server, ann, "GET", f"/commands/{ran[1]}/output")[1]
    assert "of-1" in seen["stdout"]
    listed = ask(server, ben, "GET", f"/commands?session={session['id']}")[1]["items"]
    assert [one["id"] for one in listed] == ran[::-1]
    assert len({one["actor"] for one in listed}) == 2

    # for whoever has another project there is no such session, by any route
    for method, path, body in (
        ("GET", where, None), ("GET", f"{where}/events", None), ("DELETE", where, None), ("POST", f"{where}/exec", {"argv": ["id"]}),
        ("POST", f"{where}/shell", {"command": "id"}), ("POST", f"{where}/git", {"argv": ["log"]}), ("POST", f"{where}/claude", {"prompt": "x"}),
        ("POST", f"{where}/agents", {"prompt": "x"}), ("POST", f"/projects/{session['id']}/exec", {"argv": ["id"]}),
        ("GET", f"/commands?session={session['id']}", None), ("GET", f"/commands/{ran[0]}/output", None),
        ("POST", "/sessions", {"project": "shop"}), ("GET", "/sessions?project=shop", None),
    ):  # fmt: skip
        status, told = ask(server, eve, method, path, body)
        assert (status, told["code"]) == (404, "NOT_FOUND"), (method, path, told)
    assert ask(server, eve, "GET", "/sessions")[1]["items"] == []
    assert [one["id"] for one in ask(server, ben, "GET", "/sessions?live=true")[1]["items"]] == [session["id"]]

    # the other one ends it; both streams come to their proper end, with all that happened in order
    status, told = ask(server, ben, "DELETE", where)
    assert status == 202
    for listener in listeners:
        told = list(listener)
        listener.close()
        assert listener.whole
        kinds = [one.json["kind"] for one in told if one.kind == "event"]
        assert kinds[:2] == ["session.requested", "session.started"]
        assert kinds.count("command.completed") == 2
        assert kinds[-2:] == ["session.rescued", "session.ended"]
        assert told[-1].kind == "complete"
        assert told[-1].json["rescue"] == f"rdev/rescue/{session['id']}"

    # whoever comes late reads on from where they were
    seqs = [one.id for one in told if one.kind == "event"]
    listener = Listener(server.port, f"{where}/events", key=ann, last=seqs[-2])
    late = [one.id for one in listener if one.kind in ("event", "complete")]
    listener.close()
    assert late == [seqs[-1], seqs[-1]]
    status, told = ask(server, ann, "POST", f"{where}/exec", {"argv": ["id"]})
    assert (status, told["code"]) == (409, "ENDED")
    assert server.stop() == 0


def test_a_key_needs_the_scope_of_what_it_asks_for(spawn: Spawn, project: str, key: Callable[..., str]) -> None:
    reader = key("reader", "shop", "sessions:read")
    server = start(spawn)
    status, told = ask(server, reader, "POST", "/sessions", {"project": "shop"})
    assert (status, told["code"], told["context"]["scope"]) == (403, "FORBIDDEN", "sessions:execute")
    assert ask(server, reader, "GET", "/sessions")[0] == 200
    assert server.stop() == 0


def test_t_sess_1_the_sessions_of_a_revoked_key_are_ended_and_their_work_is_kept(
    rdev: Rdev, spawn: Spawn, project: str, key: Callable[..., str]
) -> None:
    ann, ben = key("ann", "shop"), key("ben", "shop")
    server = start(spawn)
    session, other = started(server, ann), started(server, ben)
    id = ask(server, ann, "POST", f"/sessions/{session['id']}/shell", {"command": "echo mine >mine; sleep 600"})[1]["id"]
    until(lambda: ask(server, ann, "GET", f"/commands/{id}")[1], lambda one: one["state"] == "running")
    name = json.loads(rdev("key", "list", "-o", "json").stdout)["items"][0]["id"]
    assert rdev("key", "revoke", name, "--yes").returncode == 0
    began = time.monotonic()
    ended = until(lambda: ask(server, ben, "GET", f"/sessions/{session['id']}")[1], lambda one: one["state"] == "ended")
    assert time.monotonic() - began < 45
    assert (ended["reason"], ended["rescue"]) == ("revoked", f"rdev/rescue/{session['id']}")
    assert ask(server, ben, "GET", f"/commands/{id}")[1]["state"] == "cancelled"
    assert ask(server, ben, "GET", f"/sessions/{other['id']}")[1]["state"] == "ready"
    assert server.stop() == 0


def test_a_start_is_done_by_the_next_server_where_one_is_killed(rdev: Rdev, spawn: Spawn, project: str, key: Callable[..., str]) -> None:
    ann = key("ann", "shop")
    server = start(spawn)
    ids = [ask(server, ann, "POST", "/sessions", {"project": "shop"})[1]["id"] for _ in range(4)]
    server.stop(9)
    server = start(spawn)
    for id in ids:
        found = until(lambda id=id: ask(server, ann, "GET", f"/sessions/{id}")[1], lambda one: one["state"] != "starting")
        assert found["state"] == "ready", found
    assert server.stop() == 0
    assert json.loads(rdev("operation", "list", "-o", "json").stdout)["items"] == []
