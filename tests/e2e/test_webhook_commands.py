"""rdev webhook, and a server that delivers: what a person types, what comes back, and what an endpoint gets."""

import json
import subprocess
import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from standardwebhooks import Webhook as Reference

from tests.e2e.test_answers import ANSWERS, check
from tests.support.receiver import Receiver
from tests.support.serving import start

Rdev = Callable[..., "subprocess.CompletedProcess[bytes]"]
Spawn = Callable[..., "subprocess.Popen[bytes]"]
ALLOW = {"RDEV_WEBHOOK_ALLOW": "127.0.0.0/8", "RDEV_WEBHOOK_BACKOFF": "0.05"}


@pytest.fixture
def allowed(rdev: Rdev) -> Rdev:
    """The executable, where the loopback is let through."""

    def run(*args: str, **more: Any) -> "subprocess.CompletedProcess[bytes]":
        return rdev(*args, env=ALLOW, **more)

    return run


def answer(ran: "subprocess.CompletedProcess[bytes]", verb: str, code: int = 0) -> Any:
    assert ran.returncode == code, ran.stderr
    document = json.loads(ran.stdout)
    check(ANSWERS["webhook", verb], document, verb)
    return document


def test_a_webhook_is_added_tested_replayed_rotated_and_removed(allowed: Rdev, endpoint: Receiver, project: str) -> None:
    made = answer(allowed("webhook", "add", "--url", endpoint.url, "--event", "command.*", "--project", project, "-o", "json"), "add")
    assert (made["events"], made["projects"], made["state"]) == (["command.*"], [project], "enabled")
    listed = answer(allowed("webhook", "list", "-o", "json"), "list")
    assert "secret" not in listed["items"][0]
    tried = answer(allowed("webhook", "test", made["id"][:12], "-o", "json"), "test")
    assert (tried["state"], tried["attempts"][0]["status"]) == ("delivered", 200)
    headers, body = endpoint.messages[0]
    assert Reference(made["secret"]).verify(body, dict(headers))["type"] == "webhook.test"
    new = answer(allowed("webhook", "rotate", made["id"], "-o", "json"), "rotate")
    answer(allowed("webhook", "replay", tried["id"], "-o", "json"), "replay")
    headers, body = endpoint.messages[1]
    for secret in (made["secret"], new["secret"]):
        Reference(secret).verify(body, dict(headers))
    assert endpoint.ids() == [tried["id"]] * 2
    listed = answer(allowed("webhook", "deliveries", made["id"], "-o", "json"), "deliveries")
    assert [len(one["attempts"]) for one in listed["items"]] == [2]
    events = json.loads(allowed("events", "--subject", made["id"], "-o", "json").stdout)
    check("event-list", events, "events")
    assert [event["kind"] for event in events["items"]] == ["webhook.added", "webhook.tested", "webhook.rotated", "webhook.replayed"]
    refused = allowed("webhook", "remove", made["id"])
    assert (refused.returncode, b"--yes" in refused.stderr) == (2, True)
    answer(allowed("webhook", "remove", made["id"], "--yes", "-o", "json"), "remove")
    assert answer(allowed("webhook", "list", "-o", "json"), "list")["items"] == []


def test_a_person_sees_the_secret_once_and_is_told_so(allowed: Rdev, endpoint: Receiver) -> None:
    made = allowed("webhook", "add", "--url", endpoint.url, "--event", "command.completed")
    assert b"whsec_" in made.stdout
    assert b"not shown again" in made.stderr
    assert b"whsec_" not in allowed("webhook", "list", "-o", "wide").stdout
    id = allowed("webhook", "list", "-o", "name").stdout.decode().strip()
    shown = allowed("webhook", "test", id)
    assert b"200" in shown.stdout
    assert allowed("webhook", "deliveries").stdout.count(b"webhook.test") == 1


def test_a_test_that_is_refused_is_9_and_one_that_reaches_nobody_is_6(allowed: Rdev, rdev: Rdev, endpoint: Receiver) -> None:
    id = answer(allowed("webhook", "add", "--url", endpoint.url, "--event", "command.*", "-o", "json"), "add")["id"]
    endpoint.status = 403
    tried = answer(allowed("webhook", "test", id, "-o", "json"), "test", code=9)
    assert tried["attempts"][0]["error"] == "it answered 403"
    answer(allowed("webhook", "replay", tried["id"], "-o", "json"), "replay", code=9)
    count = len(endpoint.messages)
    closed = answer(rdev("webhook", "test", id, "-o", "json"), "test", code=6)  # the rule is asked again, without what was let through
    assert "not public" in closed["attempts"][0]["error"]
    endpoint.close()
    answer(allowed("webhook", "test", id, "-o", "json"), "test", code=6)
    assert len(endpoint.messages) == count


@pytest.mark.parametrize(
    ("url", "code", "word"),
    [
        ("https://127.0.0.1/", 4, b"not public"), ("https://metadata.google.internal/", 4, b"its network"), ("http://93.184.215.14/", 4, b"https only"),
        ("https://93.184.215.14:6443/", 4, b"port 6443"), ("https://2130706433/", 2, b"no URL"), ("https://a@b.example.com/", 2, b"no URL"), ("ftp://b.example.com", 2, b"no URL"),
    ],
)  # fmt: skip
def test_t_wh_1_where_nothing_may_be_sent_is_refused_when_it_is_added(url: str, code: int, word: bytes, rdev: Rdev) -> None:
    ran = rdev("webhook", "add", "--url", url, "--event", "command.*")
    assert (ran.returncode, ran.stdout) == (code, b"")
    assert word in ran.stderr
    assert b"hint:" in ran.stderr


def test_an_event_or_an_id_that_there_is_not_is_said_with_what_there_is(allowed: Rdev, endpoint: Receiver) -> None:
    ran = allowed("webhook", "add", "--url", endpoint.url, "--event", "command.complete")
    assert (ran.returncode, ran.stdout) == (2, b"")
    assert b"command.completed" in ran.stderr
    ran = allowed("webhook", "add", "--url", endpoint.url, "--event", "command.*", "--project", "nope")
    assert ran.returncode == 3
    for typed, code in (
        (("test", "whk_nope"), 3),
        (("test", "nope"), 2),
        (("replay", "dlv_nope"), 3),
        (("remove", "whk_nope", "--yes"), 3),
    ):
        assert allowed("webhook", *typed).returncode == code, typed


@pytest.mark.parametrize("variable", ["RDEV_WEBHOOK_ALLOW=everything", "RDEV_WEBHOOK_BACKOFF=soon", "RDEV_WEBHOOK_BACKOFF=0"])
def test_a_variable_that_says_nothing_sensible_is_2(variable: str, rdev: Rdev, endpoint: Receiver) -> None:
    name, _, value = variable.partition("=")
    ran = rdev("webhook", "add", "--url", endpoint.url, "--event", "command.*", env={name: value})
    assert ran.returncode == 2
    assert name.encode() in ran.stderr


def test_a_server_delivers_what_happens_by_hand_and_tries_again_what_failed(
    allowed: Rdev, spawn: Spawn, endpoint: Receiver, project: str, home: Mapping[str, str]
) -> None:
    endpoint.status = 500
    made = answer(allowed("webhook", "add", "--url", endpoint.url, "--event", "command.completed", "-o", "json"), "add")
    server = start(spawn, env=ALLOW)
    assert allowed("exec", project, "--", "true").returncode == 0
    end = time.monotonic() + 30
    while not endpoint.messages and time.monotonic() < end:
        time.sleep(0.02)
    endpoint.status = 200
    found: Any = {}
    while found.get("state") != "delivered" and time.monotonic() < end:
        status, _, document = server.ask("GET", f"/webhooks/{made['id']}/deliveries")
        assert status == 200
        found = (document["data"]["items"] or [{}])[0]
        time.sleep(0.05)
    assert found["state"] == "delivered"
    assert set(endpoint.ids()) == {found["id"]}
    headers, body = endpoint.messages[-1]
    message = Reference(made["secret"]).verify(body, dict(headers))
    assert (message["type"], message["data"]["project"], message["data"]["exit_code"]) == ("command.completed", project, 0)
    assert server.stop() == 0


def test_uninstall_counts_the_secret_of_a_webhook_among_what_it_removes(allowed: Rdev, endpoint: Receiver, home: Mapping[str, str]) -> None:
    answer(allowed("webhook", "add", "--url", endpoint.url, "--event", "command.*", "-o", "json"), "add")
    assert allowed("uninstall", "--yes").returncode == 0
    from pathlib import Path

    assert list(Path(home["XDG_STATE_HOME"]).rglob("vault*")) == []
