"""What a store promises about records, operations and the journal; a new one is a line in STORES.

There is no twin: SQLite in a folder of the test's own is as quick, and remembers as the real one does. How it behaves under contention, on
full disks and under attack is `tests/adapters/test_state.py`'s.
"""

import inspect
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from rdev_cli.adapters.sqlite.database import Database
from rdev_cli.adapters.sqlite.store import SqliteStore
from rdev_cli.adapters.sqlite.writing import SqliteWriting
from rdev_cli.domain.access import local
from rdev_cli.domain.command import OPEN, Command, CommandKind, CommandState
from rdev_cli.domain.errors import Conflict
from rdev_cli.domain.operation import Operation, OperationState, StepState
from rdev_cli.domain.project import Project, ProjectState
from rdev_cli.domain.repeat import Kept, KeptState
from rdev_cli.domain.values import CommandId, OperationId, ProjectId
from rdev_cli.ports import store as port
from rdev_cli.wiring.services import SystemClock

pytestmark = pytest.mark.state

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def sqlite(folder: Path) -> Callable[[], SqliteStore]:
    return lambda: SqliteStore(Database(folder / "rdev/local/state.db"), SystemClock(), local("local:test"))


STORES = {"sqlite": sqlite}


@pytest.fixture(params=list(STORES))
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], port.Store]]:
    """Open the store, as often as a test likes: each sees what the others wrote."""
    make, made = STORES[request.param](tmp_path), []
    yield lambda: made.append(make()) or made[-1]
    for one in made:
        one.close()


@pytest.fixture
def store(opened: Callable[[], port.Store]) -> port.Store:
    return opened()


def project(name: str = "shop", id: str = "prj_1") -> Project:
    return Project(
        id=ProjectId(id), name=name, description="é \U0001f600", source="/src", network=False, state=ProjectState.CREATING, pod=f"rdev-{name}",
        repository=f"/r/{name}.git", branch="trunk", created_at=AT, updated_at=AT,
    )  # fmt: skip


def command(id: str, owner: Project, state: CommandState = CommandState.RUNNING) -> Command:
    return Command(
        id=CommandId(id), project=owner.name, project_id=owner.id, kind=CommandKind.AGENT, argv=("claude", "é\udcff", ""), state=state,
        actor="local:test", created_at=AT,
    )  # fmt: skip


def operation(id: str, subject: str) -> Operation:
    return Operation(
        id=OperationId(id),
        kind="project.create",
        subject=subject,
        state=OperationState.RUNNING,
        spec={"name": "é"},
        actor="a",
        created_at=AT,
    )


@pytest.mark.parametrize(("asked", "given"), [(port.Store, SqliteStore), (port.Writing, SqliteWriting)])
def test_a_store_has_the_calls_of_the_port_in_its_shape(asked, given):
    for name, call in vars(asked).items():
        if inspect.isfunction(call) and not name.startswith("_"):
            there, here = inspect.signature(call).parameters, inspect.signature(getattr(given, name)).parameters
            assert [(p.name, p.kind) for p in there.values()] == [(p.name, p.kind) for p in here.values()], name


def test_a_project_is_found_by_name_as_it_was_put_and_replaced_by_id(opened, store):
    changed = replace(project(), state=ProjectState.READY, name="other")
    with store.transaction() as tx:
        tx.put_project(project())
        assert tx.find_project("shop") == project()
    assert opened().find_project("shop") == project()
    with store.transaction() as tx:
        tx.put_project(changed)
    assert (store.find_project("shop"), store.find_project("other"), opened().projects()) == (None, changed, [changed])


def test_projects_are_listed_by_name_and_no_two_have_the_same(store):
    for name in ("b", "a", "c"):
        with store.transaction() as tx:
            tx.put_project(project(name, f"prj_{name}"))
    with pytest.raises(Conflict), store.transaction() as tx:
        tx.put_project(project("a", "prj_other"))
    assert [one.id for one in store.projects()] == ["prj_a", "prj_b", "prj_c"]


def test_a_project_that_is_dropped_takes_its_commands_along_and_leaves_the_journal(store):
    with store.transaction() as tx:
        for one in (project(), project("other", "prj_2")):
            tx.put_project(one)
            tx.put_command(command(f"cmd_{one.name}", one))
            tx.append("project.created", one.name, {})
    with store.transaction() as tx:
        tx.drop_project(project())
        tx.drop_project(project("never", "prj_3"))
    assert [one.id for one in store.commands()] == ["cmd_other"]
    assert [event.subject for event in store.events(after=0)] == ["shop", "other"]


def test_a_command_is_found_as_it_was_put_and_replaced_by_id(opened, store):
    ended = replace(
        command("cmd_1", project()), state=CommandState.FAILED, ended_at=AT, exit_code=9, reason="timeout", duration_ms=5, truncated=True,
        cost_usd=0.25, answer="é",
    )  # fmt: skip
    with store.transaction() as tx:
        tx.put_project(project())
        tx.put_command(command("cmd_1", project()))
        assert tx.find_command("cmd_1") == command("cmd_1", project())
        assert tx.find_command("cmd_") is None
        tx.put_command(ended)
    assert opened().find_commands("cmd_1") == [ended]


def test_commands_are_listed_newest_first_by_project_state_page_and_beginning(store):
    other = project("other", "prj_2")
    with store.transaction() as tx:
        tx.put_project(project())
        tx.put_project(other)
        for number, (owner, state) in enumerate([(project(), CommandState.RUNNING), (other, CommandState.PENDING)] * 2):
            tx.put_command(command(f"cmd_{number}", owner, state))
        tx.put_command(command("cmd_4", other, CommandState.COMPLETED))

    def found(**asked: object) -> list[str]:
        return [one.id.removeprefix("cmd_") for one in store.commands(**asked)]

    assert found() == ["4", "3", "2", "1", "0"]
    assert found(project="other") == ["4", "3", "1"]
    assert found(states=OPEN) == ["3", "2", "1", "0"]
    assert found(project="other", states=[CommandState.PENDING], before="cmd_3", limit=5) == ["1"]
    assert found(limit=2) == ["4", "3"]
    assert [one.id for one in store.find_commands("cmd_")] == ["cmd_0", "cmd_1"]
    assert [one.id for one in store.find_commands("cmd_3")] == ["cmd_3"]
    assert store.find_commands("cmd_9") == []


def test_how_far_a_command_was_told_survives_a_change_of_its_record(store):
    with store.transaction() as tx:
        tx.put_project(project())
        tx.put_command(command("cmd_1", project()))
        assert tx.parsed("cmd_1") == 0
        tx.set_parsed("cmd_1", 1 << 40)
    with store.transaction() as tx:
        tx.put_command(command("cmd_1", project(), CommandState.COMPLETED))
        assert tx.parsed("cmd_1") == 1 << 40
    assert (store.parsed("cmd_1"), store.parsed("cmd_never")) == (1 << 40, 0)


def test_what_a_transaction_wrote_is_kept_together_or_not_at_all(opened, store):
    with pytest.raises(ZeroDivisionError), store.transaction() as tx:  # noqa: PT012
        tx.put_project(project())
        tx.put_command(command("cmd_1", project()))
        tx.put_operation(operation("opn_1", "project:shop"))
        tx.append("project.created", "shop", {})
        tx.take("project:shop", owner="a", seconds=60)
        tx.remember(Kept(id="key", fingerprint="print", seed="seed", state=KeptState.OPEN))
        raise ZeroDivisionError
    other = opened()
    assert (other.projects(), other.commands(), other.unfinished(), other.last_event(), other.recall("key")) == ([], [], [], 0, None)
    with other.transaction() as tx:
        tx.take("project:shop", owner="b", seconds=60)


def test_the_journal_is_read_in_order_by_subject_and_page_in_its_writers_name(store):
    assert store.last_event() == 0
    for number, subject in enumerate(["a", "b", "a", "a"], 1):
        with store.acting(local(f"key:{number}")).transaction() as tx:
            tx.append("test.written", subject, {"number": number})
    assert [(e.seq, e.actor, e.kind, e.data["number"]) for e in store.events(after=0, subject="a", limit=2)] == [
        (1, "key:1", "test.written", 1), (3, "key:3", "test.written", 3),
    ]  # fmt: skip
    assert [e.seq for e in store.events(after=2)] == [3, 4]
    assert (store.last_event(), store.events(after=4)) == (4, [])


def test_an_operation_is_unfinished_until_it_is_done_or_undone(opened, store):
    with store.transaction() as tx:
        for number, name in enumerate(["a", "b", "c", "d"]):
            tx.put_operation(operation(f"opn_{number}", f"project:{name}"))
        tx.put_step("opn_1", 0, "first", StepState.INTENT)
        tx.put_step("opn_1", 1, "second", StepState.INTENT)
        tx.put_step("opn_1", 0, "first", StepState.DONE)
        tx.end_operation("opn_0", OperationState.DONE)
        tx.end_operation("opn_2", OperationState.UNDONE)
        tx.end_operation("opn_3", OperationState.UNDO_FAILED)
    found = opened().unfinished()
    assert [(one.id, one.state) for one in found] == [("opn_1", OperationState.RUNNING), ("opn_3", OperationState.UNDO_FAILED)]
    assert found[0] == replace(operation("opn_1", "project:b"), steps=(("first", StepState.DONE), ("second", StepState.INTENT)))
    assert [one.id for one in store.unfinished("project:d")] == ["opn_3"]
    assert store.unfinished("project:a") == []


def test_a_claim_is_one_owners_until_it_is_given_back_and_its_attempts_grow(store):
    with store.transaction() as tx:
        first = tx.take("x", owner="a", seconds=60)
        tx.hold(first, 60)
    with pytest.raises(Conflict) as busy, store.transaction() as tx:
        tx.take("x", owner="b", seconds=60)
    assert (busy.value.code, busy.value.context["owner"]) == ("BUSY", "a")
    with store.transaction() as tx:
        tx.release("x", "b")
        tx.release("x", "a")
        second = tx.take("x", owner="b", seconds=60)
    assert second.attempt > first.attempt
    with pytest.raises(Conflict) as lost, store.transaction() as tx:
        tx.hold(first, 60)
    assert lost.value.code == "LEASE_LOST"
