"""What HTTP answers as `data` is byte for byte what the command prints with -o json."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from rdev_cli.domain.access import Scope
from rdev_cli.domain.codec import to_json
from rdev_cli.faces.http.face import SERVED
from rdev_cli.ops.ledger import LEDGER, Pace
from tests.conftest import Rdev

# operation -> how it is asked for, both ways. A new operation that is answered at once must get a line here.
SAME: dict[str, tuple[str, tuple[str, ...]]] = {
    "project.list": ("GET /projects", ("project", "list")),
    "project.show": ("GET /projects/shop", ("project", "show", "shop")),
    "project.set": ("PATCH /projects/shop", ("project", "set", "shop", "--description", "a shop")),
    "project.status": ("GET /projects/shop/status", ("project", "status", "shop")),
    "project.logs": ("GET /projects/shop/logs", ("logs", "shop")),
    "command.list": ("GET /commands?project=shop&limit=1", ("command", "list", "--project", "shop", "--limit", "1")),
    "command.show": ("GET /commands/{command}", ("command", "show", "{command}")),
    "command.output": ("GET /commands/{command}/output?offset=2", ("command", "output", "{command}", "--offset", "2")),
    "command.cancel": ("POST /commands/{command}/cancel", ("command", "cancel", "{command}")),
    "agent.list": ("GET /agents", ("agent", "list")),
    "agent.show": ("GET /agents/claude", ("agent", "show", "claude")),
    "agent.health": ("GET /agents/health?agent=bundled", ("agent", "health", "bundled")),
    "agent.usage": ("GET /agents/usage?project=shop", ("agent", "usage", "shop")),
    "credential.list": ("GET /credentials", ("credential", "list")),
    "credential.test": ("POST /credentials/GITEA_TOKEN/test", ("credential", "test", "GITEA_TOKEN")),
    "context.list": ("GET /contexts", ("context", "list")),
    "context.show": ("GET /contexts/local", ("context", "show", "local")),
    "context.view": ("GET /settings", ("context", "view")),
    "webhook.list": ("GET /webhooks", ("webhook", "list")),
    "webhook.deliveries": ("GET /deliveries", ("webhook", "deliveries")),
    "event.list": ("GET /events?subject=shop", ("events", "--subject", "shop")),
    "journal.prune": ("POST /journal/prune", ("journal", "prune", "--before", "2026-01-01", "--dry-run")),
    "gc.collect": ("GET /gc", ("gc",)),
    "receipt.list": ("GET /projects/shop/receipts", ("receipt", "list", "shop")),
    "pool.list": ("GET /pool", ("pool", "list")),
    "pool.audit": ("GET /pool/audit", ("pool", "audit")),
    "operation.list": ("GET /operations", ("operation", "list")),
    "key.list": ("GET /keys", ("key", "list")),
    "session.list": ("GET /sessions?project=shop", ("session", "list", "--project", "shop")),
    "checkout.list": ("GET /checkouts", ("checkout", "list")),
    "branch.list": ("GET /projects/shop/branches", ("branch", "list", "shop")),
}
# each of these answers another document every time, or is no document; its form is compared instead of its bytes
ELSE = {
    "credential.set": "PUT /credentials/OTHER_TOKEN",
    "credential.import": "POST /credentials/import",
    "credential.remove": "DELETE /credentials/GITEA_TOKEN",
    "doctor.check": "GET /doctor",
}
OWN_TESTS = {
    "file.copy": "the bytes of a file",
    "command.attach": "a stream",
    **dict.fromkeys(("receipt.show", "receipt.verify"), "of a receipt that was written: test_receipt_routes.py"),
    "operation.show": "of an operation that was asked for over HTTP",
    **{f"webhook.{verb}": "of an endpoint: test_webhook_routes.py" for verb in ("add", "test", "replay", "rotate", "remove")},
    **{f"preview.{verb}": "of a session that was started: test_preview_routes.py" for verb in ("open", "list", "close")},
    "session.show": "of a session that was started: test_session_routes.py",
    "session.events": "a stream",
    "key.create": "another key every time",
    **dict.fromkeys(
        ("checkout.start", "checkout.show", "checkout.extend", "checkout.cancel"), "of a checkout that was made: test_checkout_routes.py"
    ),
    "key.show": "of a key that was made",
    "key.revoke": "of a key that was made",
    **dict.fromkeys(("webhook.add", "webhook.remove", "webhook.test", "webhook.replay", "webhook.rotate"), "of an endpoint that was added"),
}
BODIES: dict[str, Any] = {
    "project.set": {"description": "a shop"},
    "credential.set": {"value": "x"},
    "credential.import": {"text": "A_TOKEN=1\nB_TOKEN=2\n"},
    "journal.prune": {"before": "2026-01-01T00:00:00Z", "dry_run": True},
}


@pytest.fixture
def command(project: str, rdev: Rdev) -> str:
    """A command that printed what is no UTF-8."""
    ran = rdev("exec", project, "-o", "json", "--", "sh", "-c", r"printf '\303\251\377 \342\200\256end'; exit 3")
    return str(json.loads(ran.stdout)["id"])


@pytest.fixture
def ask(caller: Any, command: str) -> Callable[[str, Any], bytes]:
    """Ask as an admin and return the bytes that stand as `data`."""
    client = caller(Scope.ADMIN)

    def run(what: str, body: Any = None) -> bytes:
        method, path = what.format(command=command).split(" ")
        answer = client.request(method, path, json=body)
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "application/json"
        head, tail = b'{"data":', b',"meta":' + to_json(answer.json()["meta"]).encode() + b"}"
        assert answer.content.startswith(head)
        assert answer.content.endswith(tail)
        return answer.content[len(head) : -len(tail)]

    return run


def test_every_operation_that_is_answered_at_once_is_compared() -> None:
    served = {name for name in SERVED if LEDGER[name].pace is Pace.MOMENT} | {"gc.collect"}
    compared = {*SAME, *ELSE, *OWN_TESTS}
    assert served <= compared, "both ways belong into SAME"
    for name, (what, _) in SAME.items():
        assert name not in SERVED or any(_is(what, path) for path in SERVED[name]), name


def _is(what: str, route: str) -> bool:
    typed, found = (one.partition("?")[0].split("/") for one in (what, route))
    return len(typed) == len(found) and all(b.startswith("{") or a == b for a, b in zip(typed, found, strict=True))


def test_the_bytes_are_the_same(ask: Any, rdev: Rdev, command: str) -> None:
    assert rdev("credential", "set", "GITEA_TOKEN", input=b"secret-value").returncode == 0
    wrong = {}
    for name, (what, argv) in SAME.items():
        if name in SERVED:
            data = ask(what, BODIES.get(name))
            printed = rdev(*(word.format(command=command) for word in argv), "-o", "json").stdout
            if data + b"\n" != printed:
                wrong[name] = (data, printed)
    assert not wrong


def test_what_differs_every_time_has_the_same_form(ask: Any, rdev: Rdev) -> None:
    assert rdev("credential", "set", "GITEA_TOKEN", input=b"secret-value").returncode == 0
    for name, what in ELSE.items():
        data = ask(what, BODIES.get(name))
        assert data == to_json(json.loads(data)).encode()
        assert b"secret-value" not in data
