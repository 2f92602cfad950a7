"""Two keys, two projects: whatever one of them has, by whichever name or id it is asked for, is not there for the other."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from rdev_cli.domain.access import Grant, Scope
from rdev_cli.domain.codec import plain
from rdev_cli.domain.review import CheckRun, Receipt, Signer, Verdict
from rdev_cli.domain.session import SessionSpec
from rdev_cli.faces.http.app import create_app
from rdev_cli.faces.http.face import Guarded, unauthorized
from rdev_cli.ops import known, receipts, sessions
from rdev_cli.wiring.services import Services
from tests.conftest import Rdev
from tests.support.receiver import Receiver
from tests.support.wire import Answer, Wire

MINE, THEIRS = (f"rdev_sk_{letter * 8}_{'0' * 32}" for letter in "ab")
# what a parameter of a path may name of somebody else's; a new one must get a line here, or a reason below
OWNED = {"project", "command", "operation", "webhook", "delivery", "key", "receipt", "checkout", "session"}
SHARED = {
    "agent": "an agent is no project's",
    "name": "a credential is no project's, and a key for some projects reaches none",
    "port": "a port is a number; whose it is, its session says",
    "context": "where a server works is no project's",
}
_KINDS = {
    "command": "cmd",
    "operation": "opn",
    "webhook": "whk",
    "delivery": "dlv",
    "key": "key",
    "receipt": "rcp",
    "checkout": "chk",
    "session": "ses",
}
PORT = "3000"
NOBODYS = {"project": "none", **{name: f"{kind}_{'0' * 20}" for name, kind in _KINDS.items()}}
# what a key for some projects may not ask at all, whatever it names
DENIED = {"project.adopt": "it looks at every pod of the place"}
# a body that each route takes; a new route with a body must get a line here
BODIES: dict[str, Any] = {
    "project.create": {"name": "{project}"},
    "project.set": {"description": "theirs"},
    "command.run": {"argv": ["true"]},
    "command.run.shell": {"command": "true"},
    "command.run.git": {"argv": ["status"]},
    "agent.run": {"prompt": "look", "agent": "bundled"},
    "agent.run.claude": {"prompt": "look"},
    "checkin.run": {"message": "work"},
    "checkin.run.checkout": {"message": "work"},
    "credential.set": {"value": "x"},
    "credential.import": {"text": "A=1"},
    "journal.prune": {"before": "2026-01-01T00:00:00Z"},
    "gc.collect": {"reviewed": []},
    "pool.fill": {"size": 1},
    "ci.run": {},
    "receipt.verify": {"receipt": f"rcp_{'0' * 20}"},
    "receipt.replay": {},
    "webhook.add": {"url": "https://127.0.0.1/", "events": ["command.*"]},
    "key.create": {"name": "more", "scopes": ["projects:read"]},
    "preview.open": {"port": 3000},
    "session.start": {"project": "{project}"},
    "command.run.session": {"argv": ["true"]},
    "command.run.session.shell": {"command": "true"},
    "command.run.session.git": {"argv": ["status"]},
    "agent.run.session": {"prompt": "look", "agent": "bundled"},
    "agent.run.session.claude": {"prompt": "look"},
    "checkout.start": {},
    "checkout.extend": {"lasts_seconds": 3600},
}


class Two(NamedTuple):
    wire: Wire
    app: Any
    mine: dict[str, str]
    theirs: dict[str, str]

    def ask(self, key: str, method: str, target: str, body: Any = None) -> Answer:
        return self.wire.ask(method, target, [("x-api-key", key)], b"" if body is None else json.dumps(body).encode())


@pytest.fixture
def services(home: Mapping[str, str], tmp_path: Path) -> Iterator[Services]:
    made = Services(environ={**home, "RDEV_WEBHOOK_ALLOW": "127.0.0.0/8"}, cwd=tmp_path)
    yield made
    made.close()


@pytest.fixture
def two(services: Services, project: str, rdev: Rdev, endpoint: Receiver) -> Iterator[Two]:
    """`shop` is mine and `other` is theirs; each has one of everything, and each key has every scope but admin, on its own project alone."""
    assert rdev("project", "create", "other").returncode == 0
    ids = {name: json.loads(rdev("exec", name, "-o", "json", "--", "echo", f"words of {name}").stdout)["id"] for name in ("shop", "other")}
    scopes = frozenset(Scope) - {Scope.ADMIN}
    grants = {
        MINE: Grant(actor="key:mine", scopes=scopes, projects=frozenset({"shop"})),
        THEIRS: Grant(actor="key:theirs", scopes=scopes, projects=frozenset({"other"})),
    }

    def door(key: str, address: str) -> Grant:
        if key not in grants:
            raise unauthorized()
        return grants[key]

    app = create_app(services, door)
    made = Two(Wire(app), app, {"project": "shop", "command": ids["shop"]}, {"project": "other", "command": ids["other"]})

    def new(key: str, target: str, body: Any = None) -> str:
        answer = made.ask(key, "POST", target, body)
        assert answer.status < 300, answer.body
        return str(json.loads(answer.body)["data"]["id"])

    for key, own in ((MINE, made.mine), (THEIRS, made.theirs)):
        own["operation"] = new(key, f"/projects/{own['project']}/sync")
        own["webhook"] = new(key, "/webhooks", {"url": endpoint.url, "events": ["command.*"]})
        own["delivery"] = new(key, f"/webhooks/{own['webhook']}/test")
        own["receipt"] = written(services, own["project"]).id
        own["signer"] = services.store.some(Signer, project=own["project"])[0].id
        own["session"] = sessions.start(services, SessionSpec(project=own["project"])).id
        new(key, f"/sessions/{own['session']}/previews", {"port": int(PORT)})
        own["checkout"] = new(key, f"/projects/{own['project']}/checkouts", {})
        own["key"] = new(key, "/keys", {"name": "one", "scopes": ["projects:read"], "projects": [own["project"]]})
    yield made
    made.wire.close()


def written(services: Services, project: str) -> Receipt:
    """Write a receipt as a check-in does, with one command in it that was never run."""
    found = known.project(services, project)
    sha = services.forge.head(found)
    run = CheckRun(step="a", line=f"echo words of {project}", command="", exit_code=0, duration_ms=1, stdout_sha256="", stderr_sha256="")
    return receipts.write(
        services, found, branch="rdev/x", target="main", base="", commit=sha, tree=services.forge.tree(found, sha), diff_sha256="",
        image="local", verdict=Verdict.PASSED, checks=(run,),
    )  # fmt: skip


def routes(app: Any) -> Iterator[tuple[str, str, str, list[str]]]:
    """Each route with its method, path, operation, and the names in its path."""
    for route in app.routes:
        if isinstance(route, Guarded) and route.include_in_schema:
            for method in route.methods:
                yield method, route.path, str(route.operation_id), re.findall(r"\{([^}]*)\}", route.path)


def filled(path: str, ids: dict[str, str]) -> str:
    return re.sub(r"\{([^}]*)\}", lambda m: ids.get(m[1], PORT if m[1] == "port" else "claude"), path) + (
        "?path=README.md" if path.endswith("/files") else ""
    )


def test_every_name_in_a_path_and_every_body_has_its_case(two: Two) -> None:
    names = {name for *_, found in routes(two.app) for name in found}
    assert names <= OWNED | set(SHARED)
    taking = {op["operationId"] for below in two.app.openapi()["paths"].values() for op in below.values() if "requestBody" in op}
    assert taking - {"file.copy.put"} <= set(BODIES)


def test_what_is_somebody_elses_is_not_there_by_any_route(two: Two) -> None:
    wrong, tried = [], 0
    last = sorted(routes(two.app), key=lambda route: route[0] == "DELETE")  # what removes comes when the rest was tried
    for method, path, operation, names in last:
        if not OWNED & set(names):
            continue
        tried += 1
        body = BODIES.get(operation)
        theirs, mine, none = (
            two.ask(key, method, filled(path, ids), body) for key, ids in ((THEIRS, two.mine), (MINE, two.mine), (THEIRS, NOBODYS))
        )
        if operation in DENIED:
            assert {(one.status, one.code) for one in (theirs, mine, none)} == {(403, "DENIED")}
            continue
        if (theirs.status, theirs.code) != (404, "NOT_FOUND"):
            wrong.append((method, path, "is there", theirs.status, theirs.body))
        # but for the name it is word for word what is said of a thing that nobody has
        said, never = (json.loads(one.body)["error"]["message"] for one in (theirs, none))
        for name, own in two.mine.items():
            said = said.replace(own, NOBODYS.get(name, own))
        if said != never:
            wrong.append((method, path, "is told apart", said, never))
        if mine.status == 404:
            wrong.append((method, path, "is not there for its own", mine.status, mine.body))
    assert not wrong
    assert tried > 12


def test_a_project_of_somebody_elses_name_is_not_made(two: Two) -> None:
    answer = two.ask(THEIRS, "POST", "/projects", {"name": "shop"})
    assert (answer.status, answer.code) == (404, "NOT_FOUND")
    assert two.ask(THEIRS, "POST", "/projects", {"name": "third"}).status == 404


def test_what_is_asked_for_in_words_beside_the_path_is_not_there_either(two: Two, services: Services) -> None:
    command = two.mine["command"]
    for target in (
        "/commands?project=shop",
        "/agents/usage?project=shop",
        "/agents/usage?project=none",
        "/checkouts?project=shop",
        "/sessions?project=shop",
    ):
        assert two.ask(THEIRS, "GET", target).status == 404, target
    for target in ("/events?subject=shop", f"/events?subject={command}"):
        assert json.loads(two.ask(THEIRS, "GET", target).body)["data"]["items"] == [], target
    found = known.receipt(services, two.mine["receipt"])
    for body in ({"receipt": found.id}, {"document": plain(found)}):
        assert two.ask(THEIRS, "POST", "/receipts/verify", body).status == 404
        assert two.ask(MINE, "POST", "/receipts/verify", body).status == 200
    resumed = two.ask(THEIRS, "POST", "/projects/other/agents", {"prompt": "go on", "agent": "bundled", "resume": command})
    assert (resumed.status, resumed.code) == (404, "NOT_FOUND")


def test_no_list_counts_what_is_somebody_elses(two: Two) -> None:
    for target in (
        "/projects", "/projects?all=true", "/commands", "/commands?limit=1", f"/commands?before={two.mine['command']}", "/agents/usage", "/agents",
        "/events", "/events?after=1", "/events?limit=1000", "/credentials", "/projects/other", "/projects/other/status", "/projects/other/logs", "/projects/other/receipts", "/operations", "/webhooks", "/deliveries", "/keys",
        "/sessions", "/sessions?all=true", "/commands?session=" + two.theirs["session"], "/checkouts", "/checkouts?ended=true", f"/checkouts?before={two.mine['checkout']}", "/projects/other/branches",
    ):  # fmt: skip
        answer = two.ask(THEIRS, "GET", target)
        assert answer.status < 500, (target, answer.body)
        for own in two.mine.values():
            assert own.encode() not in answer.body, target
    assert {event["subject"] for event in json.loads(two.ask(THEIRS, "GET", "/events").body)["data"]["items"]} <= set(two.theirs.values())


GUESSES = ("*", "%25", "%2a", "_", "cmd_", "prj_", "sho", "shop%00", "shop%20", "SHOP", "shop.", ".shop", "other,shop", "[%22shop%22]", "shop%2f..", "..", "'", "%22", "%f0%9f%92%a9", "0", "-1", "null")  # fmt: skip


def test_guessing_leads_nowhere(two: Two) -> None:
    for method, path, operation, names in routes(two.app):
        owned = OWNED & set(names)
        near = [text for own in owned for text in (two.mine[own][:-1], two.mine[own][:8], two.mine[own].upper())]
        for guess in (*GUESSES, *near) if owned else ():
            target = re.sub(r"\{([^}]*)\}", guess, path) + ("?path=README.md" if path.endswith("/files") else "")
            answer = two.ask(THEIRS, method, target, BODIES.get(operation))
            assert 400 <= answer.status < 500, (method, target, answer.status, answer.body)
            assert b"words of shop" not in answer.body
            assert not [own for own in two.mine.values() if own != "shop" and own.encode() in answer.body], target
            assert b"did you mean shop" not in answer.body, target
    for query in (
        "project=*",
        "project=%25",
        "project=",
        "project=other&project=shop",
        "project[]=shop",
        "before=*",
        "before=cmd_0000",
        "limit=-1",
        "limit=x",
    ):
        answer = two.ask(THEIRS, "GET", f"/commands?{query}")
        assert answer.status < 500, query
        assert two.mine["command"].encode() not in answer.body, query
    for name in (["shop"], {"name": "shop"}, None, 1, "*", ""):
        assert two.ask(THEIRS, "POST", "/projects", {"name": name}).status in (404, 422), name
