"""What a caller who is bound to projects sees of a store, and what it can touch: every call, with every kind of caller. T-SCOPE-2.

A new call of the ports must get a line here.
"""

import inspect
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from rdev_cli.adapters.sqlite.database import Database
from rdev_cli.adapters.sqlite.store import SqliteStore
from rdev_cli.domain.access import Grant, Key, Scope, local
from rdev_cli.domain.checkout import Checkout, CheckoutState, Debt
from rdev_cli.domain.command import Command, CommandKind, CommandState
from rdev_cli.domain.credential import Credential
from rdev_cli.domain.errors import Denied, NotFound
from rdev_cli.domain.job import Job, JobState, Work
from rdev_cli.domain.lease import Lease
from rdev_cli.domain.operation import Operation, OperationState, StepState
from rdev_cli.domain.preview import Preview
from rdev_cli.domain.project import Project, ProjectState
from rdev_cli.domain.resource import Mark
from rdev_cli.domain.review import CheckRun, Finding, Receipt, Severity, Signer, Verdict
from rdev_cli.domain.session import Session, SessionState
from rdev_cli.domain.values import CommandId, OperationId, ProjectId, SessionId
from rdev_cli.domain.webhook import Delivery, Webhook
from rdev_cli.domain.worker import Worker, WorkerState
from rdev_cli.ports import store as port
from rdev_cli.ports.store import Record
from rdev_cli.wiring.services import SystemClock

AT = datetime(2026, 1, 2, 3, 4, 5, 678000, UTC)


def project(name: str) -> Project:
    return Project(
        id=ProjectId(f"prj_{name}"), name=name, description="", source="", network=True, state=ProjectState.READY, pod=f"rdev-{name}",
        repository=f"/r/{name}.git", branch="main", created_at=AT, updated_at=AT,
    )  # fmt: skip


def command(name: str, id: str = "") -> Command:
    return Command(
        id=CommandId(id or f"cmd_{name}"), project=name, project_id=ProjectId(f"prj_{name}"), kind=CommandKind.AGENT, argv=("claude",),
        state=CommandState.RUNNING, actor="local:test", created_at=AT, agent="claude", input_tokens=7,
    )  # fmt: skip


def session(name: str, id: str = "") -> Session:
    return Session(
        id=SessionId(id or f"ses_{name}"), project=name, project_id=ProjectId(f"prj_{name}"), state=SessionState.READY, pod=f"rdev-{name}-ses",
        branch="rdev/x", actor="local:test", created_at=AT, active_at=AT,
    )  # fmt: skip


def operation(name: str, id: str = "") -> Operation:
    return Operation(
        id=OperationId(id or f"opn_{name}"), kind="project.create", subject=f"project:{name}", state=OperationState.RUNNING, spec={}, actor="a",
        created_at=AT,
    )  # fmt: skip


def key(name: str, *projects: str) -> Key:
    return Key(
        id=f"key_{name}", name=name, prefix=name[:4] * 2, scopes=(Scope.ADMIN,), projects=projects, created_at=AT, created_by="local:test"
    )


pytestmark = pytest.mark.state


def work(name: str, id: str = "") -> Work:
    job = Job(id=id or f"opn_job{name}", operation="project.sync", project=name, state=JobState.PENDING, actor="a", created_at=AT)
    return Work(job=job, request={}, grant=local("a"))


def webhook(name: str, *projects: str, id: str = "") -> Webhook:
    return Webhook(
        id=id or f"whk_{name}",
        url="https://hooks.example",
        events=("nothing.happened",),
        projects=projects,
        created_at=AT,
        created_by="a",
        place="file",
    )


def delivery(name: str, id: str = "") -> Delivery:
    return Delivery(id=id or f"dlv_{name}", webhook=f"whk_{name}", kind="nothing.happened", seq=1, created_at=AT, queued_at=AT, due_at=AT)


SHOP, LEASE = project("shop"), Lease(name="workspace:prj_shop", owner="cmd_shop", attempt=1)
CREDENTIAL = Credential(name="GITEA_TOKEN", place="file", updated_at=AT)
HIDDEN: tuple[type[Exception], ...] = (NotFound,)
SHUT: tuple[type[Exception], ...] = (Denied,)

# call -> (how it is asked about the project `shop`, what whoever is bound to `shop` gets, and what everybody else who is bound gets);
# errors as tuples of their classes, and Ellipsis for any answer
ASKED: dict[str, tuple[Callable[[Any], object], object, object]] = {
    "find_project": (lambda s: s.find_project("shop"), SHOP, None),
    "projects": (lambda s: [p.name for p in s.projects() if p.name == "shop"], ["shop"], []),
    "find": (lambda s: getattr(s.find(Session, "ses_shop"), "id", None), "ses_shop", None),
    "some": (lambda s: [one.id for one in s.some(Session) if one.project == "shop"], ["ses_shop"], []),
    "find_commands": (lambda s: [c.id for c in s.find_commands("cmd_sho")], ["cmd_shop"], []),
    "commands": (lambda s: [c.id for c in s.commands() if c.project == "shop"], ["cmd_shop"], []),
    "parsed": (lambda s: s.parsed("cmd_shop"), 70, 0),
    "usage": (lambda s: [u.runs for u in s.usage() if u.project == "shop"], [1], []),
    "credentials": (lambda s: s.credentials(), [], []),
    "keys": (lambda s: {k.id for k in s.keys()} & {"key_shop", "key_both", "key_everything"}, {"key_shop"}, set()),  # noqa: SIM118 -- no dict
    "find_key": (lambda s: s.find_key("key_shop"), key("shop", "shop"), None),
    "key_hash": (lambda s: s.key_hash("shopshop"), SHUT, SHUT),
    "events": (lambda s: {e.subject for e in s.events(after=0)} & {"shop", "cmd_shop", "GITEA_TOKEN"}, {"shop", "cmd_shop"}, set()),
    "prunable": (lambda s: s.prunable(AT), SHUT, SHUT),
    "compact": (lambda s: s.compact(), SHUT, SHUT),
    "unfinished": (lambda s: [o.id for o in s.unfinished() if o.subject == "project:shop"], ["opn_shop"], []),
    "known": (lambda s: s.known(), SHUT, SHUT),
    "marks": (lambda s: s.marks("here"), SHUT, SHUT),
    "find_job": (lambda s: getattr(s.find_job("opn_jobshop"), "project", None), "shop", None),
    "jobs": (lambda s: [j.id for j in s.jobs() if j.project == "shop"], ["opn_jobshop"], []),
    "webhooks": (lambda s: [w.id for w in s.webhooks() if w.id != "whk_other"], ["whk_shop"], []),
    "find_webhooks": (lambda s: [w.id for w in s.find_webhooks("whk_sho")], ["whk_shop"], []),
    "deliveries": (lambda s: [d.id for d in s.deliveries() if d.id != "dlv_other"], ["dlv_shop"], []),
    "find_deliveries": (lambda s: [d.id for d in s.find_deliveries("dlv_sho")], ["dlv_shop"], []),
    "body": (lambda s: s.body("dlv_shop"), "{}", HIDDEN),
    "due": (lambda s: s.due("whk_shop", AT, most=9), SHUT, SHUT),
    "check": (lambda s: s.check(), SHUT, SHUT),
}
WRITTEN: dict[str, tuple[Callable[[Any], object], object, object]] = {
    "put_project": (lambda tx: tx.put_project(replace(SHOP, description="new")), None, HIDDEN),
    "drop_project": (lambda tx: tx.drop_project(SHOP), None, None),
    "find_project": (lambda tx: tx.find_project("shop"), SHOP, None),
    "put_command": (lambda tx: tx.put_command(replace(command("shop"), model="new")), None, HIDDEN),
    "find_command": (lambda tx: tx.find_command("cmd_shop"), command("shop"), None),
    "parsed": (lambda tx: tx.parsed("cmd_shop"), 70, 0),
    "put": (lambda tx: tx.put(replace(session("shop"), reason="new")), None, HIDDEN),
    "find": (lambda tx: getattr(tx.find(Session, "ses_shop"), "id", None), "ses_shop", None),
    "drop": (lambda tx: tx.drop(Session, "ses_shop"), None, None),
    "set_parsed": (lambda tx: tx.set_parsed("cmd_shop", 80), None, None),
    "put_credential": (lambda tx: tx.put_credential(replace(CREDENTIAL, place="keyring")), SHUT, SHUT),
    "drop_credential": (lambda tx: tx.drop_credential("GITEA_TOKEN"), SHUT, SHUT),
    "put_key": (lambda tx: tx.put_key(key("new", "shop"), "hash"), None, HIDDEN),
    "revoke_key": (lambda tx: tx.revoke_key("key_shop", AT), None, None),
    "use_key": (lambda tx: tx.use_key("key_shop", AT), SHUT, SHUT),
    "append": (lambda tx: tx.append("project.changed", "shop", {}), None, HIDDEN),
    "prune": (lambda tx: tx.prune(datetime(2100, 1, 1, tzinfo=UTC)), SHUT, SHUT),
    "put_operation": (lambda tx: tx.put_operation(operation("shop", "opn_new")), None, HIDDEN),
    "put_step": (lambda tx: tx.put_step("opn_shop", 0, "pod", StepState.DONE), None, HIDDEN),
    "end_operation": (lambda tx: tx.end_operation("opn_shop", OperationState.DONE), None, HIDDEN),
    "hold": (lambda tx: tx.hold(LEASE, 900), None, HIDDEN),
    "take": (lambda tx: tx.take("project:shop", owner="own", seconds=60), ..., HIDDEN),
    "release": (lambda tx: tx.release("workspace:prj_shop", "cmd_shop"), None, HIDDEN),
    "forget": (lambda tx: tx.forget("workspace:prj_shop"), None, HIDDEN),
    "put_job": (lambda tx: tx.put_job(work("shop", "opn_jobnew")), None, HIDDEN),
    "find_job": (lambda tx: getattr(tx.find_job("opn_jobshop"), "project", None), "shop", None),
    "drop_job": (lambda tx: tx.drop_job("opn_jobshop"), None, None),
    "waiting_jobs": (lambda tx: [w.job.id for w in tx.waiting_jobs() if w.job.project == "shop"], ["opn_jobshop"], []),
    "put_webhook": (lambda tx: tx.put_webhook(replace(webhook("shop", "shop"), url="https://new.example")), None, HIDDEN),
    "drop_webhook": (lambda tx: tx.drop_webhook("whk_shop"), None, None),
    "find_webhook": (lambda tx: getattr(tx.find_webhook("whk_shop"), "id", None), "whk_shop", None),
    "put_delivery": (lambda tx: tx.put_delivery(replace(delivery("shop"), tries=3)), None, HIDDEN),
    "find_delivery": (lambda tx: getattr(tx.find_delivery("dlv_shop"), "id", None), "dlv_shop", None),
    "forget_deliveries": (lambda tx: tx.forget_deliveries(AT), SHUT, SHUT),
    "mark": (lambda tx: tx.mark("here", ["uid"], Mark(there=AT, here=AT)), SHUT, SHUT),
}
# calls that no project is a matter of, each with its reason
ELSE = {
    ("Store", "transaction"): "what is done inside it is asked for below",
    ("Store", "acting"): "it makes the store of a caller",
    ("Store", "last_event"): "a number, that of whichever line is the newest",
    ("Store", "recall"): "a request's own key, which its caller made",
    ("Store", "jobs_wait"): "whether there is anything to do at all, for the loop",
    ("Store", "close"): "a thread's connection",
    ("Writing", "recall"): "a request's own key, which its caller made",
    ("Writing", "remember"): "a request's own key, which its caller made",
    ("Writing", "let_go"): "a request's own key, which its caller made",
}
# further things that whoever is bound to another project may try to touch what is `shop`'s: each NotFound, and without an effect
TRICKS: dict[str, Callable[[Any], object]] = {
    "a project of its own name over another's record": lambda tx: tx.put_project(replace(project("other"), id=SHOP.id)),
    "a command of its own over another's record": lambda tx: tx.put_command(command("other", "cmd_shop")),
    "a command of its own in another's project": lambda tx: tx.put_command(replace(command("other", "cmd_new"), project_id=SHOP.id)),
    "a session of its own over another's record": lambda tx: tx.put(session("other", "ses_shop")),
    "another's session": lambda tx: tx.take("session:ses_shop", owner="own", seconds=60),
    "the check-in of another's session": lambda tx: tx.take("checkin:ses_shop", owner="own", seconds=60),
    "the work tree of another's session": lambda tx: tx.take("workspace:ses_shop", owner="own", seconds=60),
    "the checks of another's session": lambda tx: tx.take("checks:ses_shop", owner="own", seconds=60),
    "an operation on another's session": lambda tx: tx.put_operation(replace(operation("other", "opn_new"), subject="session:ses_shop")),
    "a line about a session of another's": lambda tx: tx.append("session.ended", "ses_shop", {}),
    "a webhook of its own over another's record": lambda tx: tx.put_webhook(webhook("other", "other", id="whk_shop")),
    "a webhook for all projects": lambda tx: tx.put_webhook(webhook("new")),
    "a delivery of its own over another's record": lambda tx: tx.put_delivery(delivery("other", "dlv_shop")),
    "a new delivery by another's webhook": lambda tx: tx.put_delivery(delivery("shop", "dlv_new"), "{}"),
    "a job of its own over another's record": lambda tx: tx.put_job(work("other", "opn_jobshop")),
    "a line about a command of another's": lambda tx: tx.append("command.ended", "cmd_shop", {}),
    "a line that says it is about another's": lambda tx: tx.append("command.ended", "cmd_other", {"project": "shop"}),
    "the start of another's command": lambda tx: tx.take("start:cmd_shop", owner="own", seconds=60),
    "another's work tree": lambda tx: tx.take("workspace:prj_shop", owner="own", seconds=60),
    "a key for another's project beside its own": lambda tx: tx.put_key(key("new", "other", "shop"), "hash"),
    "a key for all projects": lambda tx: tx.put_key(key("new"), "hash"),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "local" / "state.db"


@pytest.fixture
def whole(path: Path) -> Iterator[SqliteStore]:
    """The store of the state's owner, with two projects, what belongs to each, and what belongs to none."""
    store = SqliteStore(Database(path), SystemClock(), local("local:test"))
    with store.transaction() as tx:
        for name in ("shop", "other"):
            tx.put_project(project(name))
            tx.put_command(command(name))
            tx.set_parsed(f"cmd_{name}", 70)
            tx.put(session(name))
            tx.put_operation(operation(name))
            tx.put_key(key(name, name), "hash")
            tx.put_job(work(name))
            tx.put_webhook(webhook(name, name))
            tx.put_delivery(delivery(name), "{}")
            tx.take(f"workspace:prj_{name}", owner=f"cmd_{name}", seconds=600)
            tx.append("project.created", name, {})
            tx.append("command.started", f"cmd_{name}", {})
        tx.put_webhook(webhook("everything"))
        tx.put_webhook(webhook("both", "other", "shop"))
        tx.put_key(key("everything"), "hash")
        tx.put_key(key("both", "other", "shop"), "hash")
        tx.put_credential(CREDENTIAL)
        tx.append("credential.set", CREDENTIAL.name, {"place": "file"})
    yield store
    store.close()


def bound(*projects: str) -> Grant:
    return Grant(actor="key:key_1", scopes=frozenset({Scope.ADMIN}), projects=frozenset(projects), key="key_1")


CALLERS = {"own": bound("shop"), "foreign": bound("other"), "none": bound(), "a pattern": bound("%", "sh*", "sho")}


def dump(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as db:
        tables = [name for (name,) in db.execute("select name from sqlite_master where type = 'table' order by name")]
        return [f"{name} {row}" for name in tables for row in db.execute(f'select * from "{name}"')]


def outcome(call: Callable[[Any], object], on: object) -> object:
    try:
        return call(on)
    except (NotFound, Denied) as e:
        return (type(e),)


@pytest.mark.parametrize(("kind", "cases"), [(port.Store, ASKED), (port.Writing, WRITTEN)])
def test_every_call_of_a_store_has_a_case(kind: type, cases: dict[str, object]) -> None:
    calls = {name for name, call in vars(kind).items() if inspect.isfunction(call) and not name.startswith("_")}
    assert calls == {*cases, *(name for of, name in ELSE if of == kind.__name__)}


def kept(project: str) -> list[Record]:
    facts: dict[str, Any] = {"project": project, "created_at": AT}
    of = project or "none"
    return [
        Preview(id=f"p{of}", session="ses_shop", port=3000, url="http://p.localhost/", actor="a", **facts),
        Checkout(
            id=f"chk_{of}", project_id=ProjectId("prj_shop"), branch="rdev/x", target="main", base="", state=CheckoutState.ACTIVE, url="u",
            account="a", actor="a", expires_at=AT, **facts,
        ),
        Debt(id=f"dbt_{of}", kind="account", subject="a", reason="chk_x", due_at=AT, next_at=AT, **facts),
        Receipt(
            id=f"rcp_{of}", project_id=ProjectId("prj_shop"), branch="rdev/x", target="main", base="b", commit="c", tree="t", diff_sha256="d", image="local",
            verdict=Verdict.FAILED, signer="k", actor="a", findings=(Finding(severity=Severity.ERROR, source="scan", message="é"),),
            checks=(CheckRun(step="s", line="l", command="cmd_x", exit_code=1, duration_ms=3, stdout_sha256="o", stderr_sha256="e"),), **facts,
        ),
        Signer(id=f"sgn_{of}", project_id=ProjectId("prj_shop"), public_key="k", place="file", **facts),
        Worker(id=f"wrk_{of}", pod="rdev-pool-x", state=WorkerState.IDLE, changed_at=AT, **facts),
    ]  # fmt: skip


@pytest.mark.parametrize("project", ["shop", ""])
def test_every_kind_of_record_comes_back_as_it_was_put_to_whoever_may_see_it(whole: SqliteStore, project: str) -> None:
    for record in kept(project):
        kind = type(record)
        with whole.transaction() as tx:
            tx.put(record)
            assert tx.find(kind, record.id) == record
        assert (
            whole.find(kind, record.id)
            == whole.some(kind, beginning=record.id[:5])[0]
            == whole.some(kind, of={"id": [record.id]})[0]
            == record
        )
        assert whole.some(kind, before=record.id) == whole.some(kind, of={"id": []}) == []
        assert whole.some(kind, project="other") == []
        assert (whole.acting(bound("shop")).find(kind, record.id) is not None) == (project == "shop")
        for name in ("other", "shop") if not project else ("other",):
            with whole.acting(bound(name)).transaction() as tx:
                with pytest.raises((NotFound, Denied)):
                    tx.put(record)
                tx.drop(kind, record.id)
        assert whole.find(kind, record.id) == record
        with whole.transaction() as tx:
            tx.drop(kind, record.id)
        assert whole.find(kind, record.id) is None


@pytest.mark.parametrize("who", CALLERS)
@pytest.mark.parametrize("name", ASKED)
def test_a_store_shows_a_bound_caller_what_is_its_own(whole: SqliteStore, name: str, who: str) -> None:
    call, own, stranger = ASKED[name]
    assert outcome(call, whole.acting(CALLERS[who])) == (own if who == "own" else stranger)


@pytest.mark.parametrize("who", CALLERS)
@pytest.mark.parametrize("name", WRITTEN)
def test_a_bound_caller_writes_to_what_is_its_own(whole: SqliteStore, path: Path, name: str, who: str) -> None:
    call, own, stranger = WRITTEN[name]
    before, expected = dump(path), own if who == "own" else stranger
    with whole.acting(CALLERS[who]).transaction() as tx:
        found = outcome(call, tx)
    assert found == expected or (expected is ... and found not in (HIDDEN, SHUT))
    reads = name in ("find", "find_project", "find_command", "parsed", "find_job", "waiting_jobs", "find_webhook", "find_delivery")
    assert (dump(path) != before) == (who == "own" and expected != SHUT and not reads)


@pytest.mark.parametrize("name", [*ASKED, *WRITTEN])
def test_nothing_is_hidden_from_whoever_is_bound_to_nothing(whole: SqliteStore, name: str) -> None:
    with whole.transaction() as tx:
        for cases, on in ((ASKED, whole), (WRITTEN, tx)):
            if name in cases and name not in ("compact", "check"):  # which no transaction allows
                assert outcome(cases[name][0], on) not in (HIDDEN, SHUT)


@pytest.mark.parametrize("name", TRICKS)
def test_a_bound_caller_cannot_reach_another_project_through_its_own(whole: SqliteStore, path: Path, name: str) -> None:
    before = dump(path)
    with whole.acting(bound("other")).transaction() as tx, pytest.raises(NotFound):
        TRICKS[name](tx)
    assert dump(path) == before


def test_pages_of_a_bound_caller_are_whole(whole: SqliteStore) -> None:
    with whole.transaction() as tx:
        for number in range(40):
            owner = "shop" if number % 10 == 0 else "other"
            tx.put_command(command(owner, f"cmd_{number:02}"))
            tx.append("command.started", f"cmd_{number:02}", {})
    mine = whole.acting(bound("shop"))
    assert [c.id for c in mine.commands(before="cmd_shop", limit=3)] == ["cmd_30", "cmd_20", "cmd_10"]
    assert [e.subject for e in mine.events(after=0, limit=6)] == ["shop", "cmd_shop", "cmd_00", "cmd_10", "cmd_20", "cmd_30"]
    assert [c.id for c in mine.find_commands("cmd_")] == ["cmd_00", "cmd_10"]
    assert mine.events(after=0, session="ses_other") == []
    assert mine.commands(project="other") == mine.usage(project="other") == mine.events(after=0, subject="cmd_01") == []


def test_a_refusal_names_no_other_project(whole: SqliteStore) -> None:
    with whole.acting(bound("other")).transaction() as tx:
        for attempt in (
            lambda: tx.put_command(command("other", "cmd_shop")),
            lambda: tx.append("command.ended", "cmd_shop", {}),
            lambda: tx.end_operation("opn_shop", OperationState.DONE),
            lambda: tx.take("workspace:prj_shop", owner="own", seconds=1),
        ):
            with pytest.raises(NotFound) as refused:
                attempt()
            told = f"{refused.value} {refused.value.hint} {refused.value.context}".replace("prj_shop", "").replace("cmd_shop", "")
            assert "shop" not in told.replace("opn_shop", "")
