"""The state of a context: one SQLite file under contention, on a full disk, half migrated, tampered with. T-DB-1, 2, 4, 7; T-SEC-5."""

import contextlib
import ctypes
import json
import os
import resource
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from rdev_cli.adapters.shared.files import private_folder, write_whole
from rdev_cli.adapters.sqlite import database, migrations
from rdev_cli.adapters.sqlite.database import SCHEMA, Database, wal_is_safe
from rdev_cli.adapters.sqlite.store import SqliteStore
from rdev_cli.domain.access import local
from rdev_cli.domain.errors import Conflict, Denied, RdevError, Unavailable
from rdev_cli.domain.project import Project, ProjectState
from rdev_cli.domain.repeat import Kept, KeptState
from rdev_cli.domain.report import Verdict
from rdev_cli.domain.values import ProjectId
from rdev_cli.ports.store import Writing

pytestmark = pytest.mark.state

Rdev = Callable[..., "subprocess.CompletedProcess[bytes]"]
RDEV = str(Path(sys.executable).with_name("rdev"))
GOLDEN = Path(__file__).parents[1] / "golden" / "schema.sql"


class Clock:
    """A clock that stands still."""

    def now(self) -> datetime:
        return datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

    def monotonic(self) -> float:
        return 0.0


def opened(path: Path) -> SqliteStore:
    return SqliteStore(Database(path), Clock(), local("local:test"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "rdev/local/state.db"


@pytest.fixture
def store(path: Path) -> Iterator[SqliteStore]:
    one = opened(path)
    yield one
    one.close()


def project(name: str = "shop", id: str = "prj_1") -> Project:
    now = Clock().now()
    return Project(
        id=ProjectId(id), name=name, description="", source="", network=True, state=ProjectState.READY, pod=f"rdev-{name}", repository="/r", branch="main",
        created_at=now, updated_at=now,
    )  # fmt: skip


def raw(path: Path, *statements: str) -> None:
    """Change the file as somebody would who is not rdev."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def python(code: str, *args: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-c", code, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)


# the library


def test_t_db_1_only_a_sqlite_without_the_wal_bug_uses_wal(store: SqliteStore) -> None:
    good, bad = (
        [(3, 51, 3), (3, 52, 0), (3, 50, 7), (3, 44, 6), (4, 0, 0)],
        [(3, 51, 2), (3, 51, 0), (3, 50, 6), (3, 49, 1), (3, 45, 0), (3, 44, 5), (3, 40, 1)],
    )
    assert [wal_is_safe(v) for v in good + bad] == [True] * len(good) + [False] * len(bad)
    check = next(check for check in store.check() if check.name == "state.library")
    assert sqlite3.sqlite_version in check.found
    assert f"journal mode {'wal' if wal_is_safe() else 'delete'}" in check.found
    assert re_date(check.found)
    assert (check.verdict is Verdict.OK) == wal_is_safe()


def re_date(text: str) -> bool:
    """Say whether a text names a source id: the date of the library's own sources."""
    return any(word[:2] == "20" and word[4:5] == "-" for word in text.replace("(", " ").split())


def test_the_schema_is_the_golden_one(path: Path, store: SqliteStore) -> None:
    store.projects()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        found = [
            row[0]
            for row in connection.execute("select sql from sqlite_master where sql is not null and name not like '_sqlite%' order by name")
        ]
        assert connection.execute("pragma user_version").fetchone()[0] == SCHEMA
        for table, sql in connection.execute("select name, sql from sqlite_master where type = 'table' and name not like '_sqlite%'"):
            assert sql.endswith("strict"), table
    assert "\n".join(f"{sql};" for sql in found) + "\n" == GOLDEN.read_text()


def test_every_connection_checks_foreign_keys_and_syncs(store: SqliteStore) -> None:
    with store._database.reading() as connection:
        assert [connection.execute(f"pragma {name}").fetchone()[0] for name in ("foreign_keys", "synchronous")] == [1, 2]


# contention


WRITER = """
import sys
from pathlib import Path
from rdev_cli.wiring.services import SystemClock
from rdev_cli.adapters.sqlite.database import Database
from rdev_cli.adapters.sqlite.store import SqliteStore
from rdev_cli.domain.access import local
store = SqliteStore(Database(Path(sys.argv[1])), SystemClock(), local("local:" + sys.argv[2]))
for number in range(int(sys.argv[3])):
    with store.transaction() as tx:
        tx.append("test.written", sys.argv[2], {"number": number})
"""


def test_t_db_2_ten_processes_write_and_none_is_locked_out(path: Path, store: SqliteStore) -> None:
    writers = [python(WRITER, str(path), f"p{number}", "20") for number in range(10)]
    for writer in writers:
        assert writer.communicate(timeout=60) == (b"", b"")
        assert writer.returncode == 0
    events = store.events(after=0, limit=1000)
    assert [event.seq for event in events] == list(range(1, 201))
    for number in range(10):
        assert [event.data["number"] for event in events if event.subject == f"p{number}"] == list(range(20))
    assert [check.verdict for check in store.check() if check.name != "state.library"] == [Verdict.OK, Verdict.OK]


def test_t_db_2_the_first_start_of_eight_at_once(home: Mapping[str, str], tmp_path: Path, rdev: Rdev) -> None:
    for _ in range(2):
        subprocess.run(["rm", "-rf", f"{home['XDG_STATE_HOME']}/rdev"], check=True, timeout=10)
        line = f"for i in 1 2 3 4 5 6 7 8; do {RDEV} events -o json & done; wait"
        ran = subprocess.run(["sh", "-c", line], env=dict(home), cwd=tmp_path, capture_output=True, timeout=60, check=False)
        assert (ran.stdout, ran.stderr) == (b'{"items":[],"next":null}\n' * 8, b"")
    ids = rdev("project", "create", "shop")
    assert ids.returncode == 0
    assert len((Path(home["XDG_STATE_HOME"]) / "rdev/installation").read_text().strip()) == 20


def test_t_db_2_threads_have_connections_of_their_own(path: Path) -> None:
    base = Database(path)

    def work(number: int) -> int:
        one = SqliteStore(base, Clock(), local(f"local:{number}"))
        try:
            for _ in range(20):
                with one.transaction() as tx:
                    tx.append("test.written", "x", {})
        finally:
            one.close()
        return number

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(work, range(4))) == [0, 1, 2, 3]
    one = opened(path)
    assert one.last_event() == 80
    one.close()


def test_t_db_2_a_writer_that_never_ends_is_named_after_the_patience(
    path: Path, store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.projects()
    monkeypatch.setattr(database, "PATIENCE", 0.2)
    other = opened(path)
    with store.transaction(), pytest.raises(Unavailable, match="busy") as busy, other.transaction():
        pass
    assert (busy.value.code, busy.value.context["path"]) == ("STATE_BUSY", str(path))
    other.close()


# transactions


def test_a_change_and_its_event_are_kept_together_or_not_at_all(store: SqliteStore) -> None:
    for event_first in (True, False):
        with pytest.raises(ZeroDivisionError), store.transaction() as tx:  # noqa: PT012
            for step in (0, 1) if event_first else (1, 0):
                if step:
                    tx.put_project(project())
                else:
                    tx.append("project.created", "shop", {})
            raise ZeroDivisionError
        assert (store.projects(), store.last_event(), store.events(after=0)) == ([], 0, [])
    with store.transaction() as tx:
        tx.put_project(project())
        tx.append("project.created", "shop", {})
        assert tx.find_project("shop") == project()
    assert (store.projects(), store.last_event()) == ([project()], 1)


def test_a_second_project_of_a_name_is_a_conflict(store: SqliteStore) -> None:
    with store.transaction() as tx:
        tx.put_project(project())
    with pytest.raises(Conflict, match="already a project shop"), store.transaction() as tx:
        tx.put_project(project(id="prj_2"))


# the chain


def lines(store: SqliteStore, count: int = 5) -> None:
    for number in range(count):
        with store.transaction() as tx:
            tx.append("test.written", f"s{number}", {"number": number, "text": "é\u202e", "bad": "\ud800"})


@pytest.mark.parametrize(
    ("statement", "seen"),
    [
        ("update events set actor = 'local:evil' where seq = 3", "line 3 was changed"),
        ("update events set data = '{}' where seq = 5", "line 5 was changed"),
        ("update events set at = '2020-01-01T00:00:00.000Z' where seq = 1", "line 1 was changed"),
        ("update events set hash = '00' where seq = 2", "line 2 was changed"),
        ("delete from events where seq = 3", "line 3 is missing"),
        ("delete from events where seq = 1", "line 1 is missing"),
        ("delete from events where seq >= 4", "ends at line 3, but line 5 was written"),
        ("delete from events", "ends at line 0, but line 5 was written"),
        ("update journal_head set seq = 4", "ends at line 5, but line 4 was written"),
        ("insert into events select 6, at, kind, subject, actor, data, hash, project from events where seq = 5", "line 6 was changed"),
        ("update events set data = 'not json' where seq = 3", "line 3 cannot be read"),
        ("update events set at = 'yesterday' where seq = 2", "line 2 cannot be read"),
        ("delete from journal_head", "head is missing"),
    ],
)
def test_whoever_changes_the_journal_is_seen(statement: str, seen: str, path: Path, store: SqliteStore) -> None:
    def chain() -> tuple[Verdict, str]:
        return next((check.verdict, check.found) for check in store.check() if check.name == "journal.chain")

    lines(store)
    assert chain() == (Verdict.OK, "5 lines, unbroken")
    raw(path, statement)
    verdict, found = chain()
    assert verdict is Verdict.FAILED
    assert seen in found


def test_the_doctor_fails_on_a_changed_line(rdev: Rdev, project: str, home: Mapping[str, str]) -> None:
    raw(Path(home["XDG_STATE_HOME"]) / "rdev/local/state.db", "update events set subject = 'other' where seq = 1")
    ran = rdev("doctor", "-o", "json")
    found = {check["name"]: check for check in json.loads(ran.stdout)["items"]}
    assert ran.returncode == 9
    assert (found["journal.chain"]["verdict"], found["journal.chain"]["found"]) == ("failed", "line 1 was changed")


def test_an_event_reads_as_it_was_written(store: SqliteStore) -> None:
    data = {"text": "é \U0001f600 \n\x1b", "n": 1, "f": 0.1, "none": None, "list": ["a", 1], "deep": {"a": {"b": True}}}
    with store.transaction() as tx:
        tx.append("test.written", "x", data)
    assert store.events(after=0)[0].data == data
    assert store.acting(local("key:other")).events(after=0) == store.events(after=0)


# leases


def test_a_lease_is_one_owners_until_the_databases_clock_says_otherwise(store: SqliteStore) -> None:
    def take(owner: str, seconds: float = 60) -> int:
        with store.transaction() as tx:
            return tx.take("x", owner=owner, seconds=seconds).attempt

    assert take("a") == 1
    with pytest.raises(Conflict) as busy:
        take("b")
    assert (busy.value.code, busy.value.context["owner"], busy.value.context["lease"]) == ("BUSY", "a", "x")
    assert str(os.getpid()) in busy.value.message
    assert take("a", seconds=0.05) == 2  # its owner may take it again; the attempt grows
    time.sleep(0.1)
    assert take("b") == 3  # its time is over
    with store.transaction() as tx:
        tx.release("x", "a")  # not a's any more
    with pytest.raises(Conflict):
        take("c")
    with store.transaction() as tx:
        tx.release("x", "b")
    assert take("c") == 4  # attempts never go back, though it was given back


def test_a_lost_lease_refuses_every_write_with_it(store: SqliteStore) -> None:
    with store.transaction() as tx:
        first = tx.take("project:shop", owner="a", seconds=0.0)
    with store.transaction() as tx:
        second = tx.take("project:shop", owner="b", seconds=60)
    with pytest.raises(Conflict) as lost, store.transaction() as tx:  # noqa: PT012
        tx.put_project(project())
        tx.hold(first, 60)
    assert (lost.value.code, store.projects()) == ("LEASE_LOST", [])
    with store.transaction() as tx:
        tx.hold(second, 60)


def test_the_same_owner_with_an_older_attempt_has_lost_it_too(store: SqliteStore) -> None:
    with store.transaction() as tx:
        old = tx.take("x", owner="a", seconds=60)
        tx.take("x", owner="a", seconds=60)
    with pytest.raises(Conflict, match="taken over"), store.transaction() as tx:
        tx.hold(old, 60)


HOLDER = """
import sys, time
from pathlib import Path
from rdev_cli.wiring.services import SystemClock
from rdev_cli.adapters.sqlite.database import Database
from rdev_cli.adapters.sqlite.store import SqliteStore
from rdev_cli.domain.access import local
store = SqliteStore(Database(Path(sys.argv[1])), SystemClock(), local("x"))
with store.transaction() as tx:
    tx.take("x", owner="other", seconds=3600)
print("held", flush=True)
time.sleep(60)
"""


def test_the_lease_of_a_dead_process_is_free_and_a_living_ones_is_not(path: Path, store: SqliteStore) -> None:
    other = python(HOLDER, str(path))
    assert other.stdout is not None
    assert other.stderr is not None
    with other.stdout, other.stderr:
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(Conflict, match=f"process {other.pid}"), store.transaction() as tx:
            tx.take("x", owner="me", seconds=60)
        other.send_signal(signal.SIGKILL)
        other.wait(10)
    with store.transaction() as tx:
        assert tx.take("x", owner="me", seconds=60).attempt == 2


@pytest.mark.parametrize("change", [{"place": "another container"}, {"place": ""}, {"boot": ""}, {"start": ""}])
def test_a_holder_that_cannot_be_looked_at_counts_as_living(change: dict[str, str], path: Path, store: SqliteStore) -> None:
    with store.transaction() as tx:
        tx.take("x", owner="other", seconds=3600)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        held = {**json.loads(connection.execute("select holder from leases").fetchone()[0]), "pid": 2**30, **change}
        connection.execute("update leases set holder = ?", [json.dumps(held)])
        connection.commit()
    with pytest.raises(Conflict), store.transaction() as tx:
        tx.take("x", owner="me", seconds=60)
    raw(path, "update leases set holder = json_set(holder, '$.pid', 1073741824)")


# idempotency


def test_an_answer_is_remembered_for_24_hours_from_its_request_on(path: Path, store: SqliteStore) -> None:
    begun = Kept(id="key", fingerprint="print", seed="seed", state=KeptState.OPEN)
    done = replace(begun, state=KeptState.DONE, answer="answer")
    with store.transaction() as tx:
        tx.remember(begun)
    assert (store.recall("key"), store.recall("other")) == (begun, None)
    raw(path, "update idempotency set until = until - 60")
    with store.transaction() as tx:
        tx.remember(done)
    raw(path, "update idempotency set until = until + 60")
    assert store.recall("key") == done
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert 86390 < connection.execute("select until - (julianday('now') - 2440587.5) * 86400.0 from idempotency").fetchone()[0] <= 86400
    raw(path, "update idempotency set until = until - 86401")
    assert store.recall("key") is None
    with store.transaction() as tx:
        tx.remember(replace(begun, fingerprint="another"))
    assert store.recall("key") == replace(begun, fingerprint="another")
    with store.transaction() as tx:
        tx.let_go("key")
    assert store.recall("key") is None


# disks


def powerless() -> None:
    """Take from a child that is root what lets root write anywhere (CAP_DAC_OVERRIDE); nobody else has it."""
    ctypes.CDLL(None).prctl(24, 1, 0, 0, 0)


@contextlib.contextmanager
def read_only(folder: Path) -> Iterator[None]:
    folder.chmod(0o500)
    try:
        yield
    finally:
        folder.chmod(0o700)


def test_t_db_4_a_full_disk_fails_whole_names_the_path_and_all_is_well_after(path: Path, store: SqliteStore) -> None:
    lines(store, 3)
    store.close()
    code = WRITER.replace("range(int(sys.argv[3]))", "range(1)").replace('{"number": number}', '{"number": "x" * 200000}')
    full = subprocess.Popen(
        [sys.executable, "-c", "import sys\nfrom rdev_cli.domain.errors import RdevError\ntry:\n" + "".join(f"    {line}\n" for line in code.splitlines())
         + "except RdevError as e:\n    print(type(e).__name__, e.code, e.message)\n", str(path), "me"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (120_000, 120_000)),
    )  # fmt: skip
    out, err = full.communicate(timeout=30)
    assert err == b""
    assert out.startswith(b"Unavailable STATE_UNWRITABLE cannot write the state ")
    assert str(path).encode() in out
    again = opened(path)
    assert again.last_event() == 3
    lines(again, 1)
    assert [check.verdict for check in again.check() if check.name != "state.library"] == [Verdict.OK, Verdict.OK]
    again.close()


def test_t_db_4_a_folder_that_cannot_be_written_is_6_and_named(home: Mapping[str, str], tmp_path: Path, rdev: Rdev, project: str) -> None:
    local = Path(home["XDG_STATE_HOME"]) / "rdev/local"

    def run(*typed: str) -> "subprocess.CompletedProcess[bytes]":
        return subprocess.run(
            [RDEV, *typed], env=dict(home), cwd=tmp_path, capture_output=True, timeout=30, check=False, preexec_fn=powerless
        )

    before = (local / "state.db").read_bytes()
    (local / "state.db").chmod(0o400)
    with read_only(local):
        ran = run("project", "create", "other")
    assert (ran.returncode, ran.stdout) == (6, b""), ran
    assert str(local).encode() in ran.stderr
    assert b"Traceback" not in ran.stderr
    assert b"rdev failed" not in ran.stderr
    assert (local / "state.db").read_bytes() == before
    (local / "state.db").chmod(0o600)
    assert rdev("project", "create", "other").returncode == 0
    (tmp_path / "file").write_text("")
    for place in (f"{tmp_path}/file", "/proc/nowhere"):
        ran = rdev("project", "list", env={"XDG_STATE_HOME": place})
        assert (ran.returncode, ran.stdout) == (6, b""), ran
        assert place.encode() in ran.stderr


def test_t_db_4_a_full_disk_stops_a_create_and_nothing_is_left(home: Mapping[str, str], tmp_path: Path, rdev: Rdev) -> None:
    assert rdev("project", "list").returncode == 0
    state = Path(home["XDG_STATE_HOME"]) / "rdev"
    size = (state / "local/state.db").stat().st_size
    ran = subprocess.run(
        [RDEV, "project", "create", "shop", "-o", "json"], env=dict(home), cwd=tmp_path, capture_output=True, timeout=30, check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, size // 2)),
    )  # fmt: skip
    assert (ran.returncode, ran.stdout, json.loads(ran.stderr)["error"]["code"]) == (6, b"", "STATE_UNWRITABLE"), ran
    assert rdev("project", "create", "shop").returncode == 0
    assert json.loads(rdev("doctor", "-o", "json").stdout)["items"]


@pytest.mark.parametrize("damage", [b"not a database at all " * 300, b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_file_that_is_no_state_is_named_and_left_alone(damage: bytes, path: Path) -> None:
    private_folder(path.parent)
    path.write_bytes(damage)
    one = opened(path)
    with pytest.raises(Unavailable) as broken:
        one.projects()
    assert (broken.value.code, broken.value.context["path"]) == ("STATE_DAMAGED", str(path))
    assert path.read_bytes() == damage


# migrations


SECOND = """
import os, sys, time
from pathlib import Path
from rdev_cli.adapters.sqlite import database, migrations
@migrations.steps()
def m999_more(db):
    "One more step, for these tests."
    db.execute("create table more (id integer primary key) strict")
    db.execute("insert into more values (1)")
    print("half", flush=True)
    time.sleep(float(sys.argv[2]))
    db.execute("create table and_more (id integer primary key) strict")
database.SCHEMA += 1
base = database.Database(Path(sys.argv[1]))
assert base.connection().execute("select count(*) from and_more").fetchone()[0] == 0
assert base.connection().execute("select count(*) from more").fetchone()[0] == 1
print("done", flush=True)
"""


def version(path: Path) -> int:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("pragma user_version").fetchone()[0])


def test_t_db_7_kill_9_in_the_middle_of_a_migration_leaves_the_old_state_and_its_copy(path: Path, store: SqliteStore) -> None:
    lines(store)
    store.close()
    killed = python(SECOND, str(path), "30")
    assert killed.stdout is not None
    assert killed.stderr is not None
    with killed.stdout, killed.stderr:
        assert killed.stdout.readline() == b"half\n"
        killed.send_signal(signal.SIGKILL)
        killed.wait(10)
    assert version(path) == SCHEMA
    assert (store.last_event(), [check.verdict for check in store.check()][1:]) == (5, [Verdict.OK, Verdict.OK])
    store.close()
    backup = path.with_name(f"state.db.before-{SCHEMA + 1}")
    assert (version(backup), stat.S_IMODE(backup.stat().st_mode)) == (SCHEMA, 0o600)
    copy = opened(backup)
    assert copy.events(after=0) == store.events(after=0)
    copy.close()
    store.close()
    assert python(SECOND, str(path), "0").communicate(timeout=30) == (b"half\ndone\n", b"")
    assert version(path) == SCHEMA + 1


def test_t_db_7_of_two_that_migrate_at_once_one_does_it_and_both_go_on(path: Path, store: SqliteStore) -> None:
    lines(store)
    store.close()
    both = [python(SECOND, str(path), "0.3") for _ in range(2)]
    said = sorted(one.communicate(timeout=30) for one in both)
    assert said == [(b"done\n", b""), (b"half\ndone\n", b"")]
    assert [one.returncode for one in both] == [0, 0]
    assert sorted(entry.name for entry in path.parent.iterdir() if "part" in entry.name) == []


def test_t_db_7_a_state_without_credentials_gets_their_table_and_keeps_all_else(path: Path, store: SqliteStore) -> None:
    lines(store)
    with store._database.reading() as connection:
        (golden,) = connection.execute("select sql from sqlite_master where name = 'credentials'").fetchone()
    store.close()
    raw(path, "drop table credentials", "delete from _sqlite_migrations where name = 'm002_credentials'", "pragma user_version = 1")
    again = opened(path)
    assert (again.credentials(), again.last_event()) == ([], 5)
    with again._database.reading() as connection:
        assert connection.execute("select sql from sqlite_master where name = 'credentials'").fetchone() == (golden,)
    again.close()
    assert (version(path), version(path.with_name(f"state.db.before-{SCHEMA}"))) == (SCHEMA, 1)


def test_t_db_7_a_copy_that_was_cut_off_is_made_again(path: Path, store: SqliteStore) -> None:
    lines(store)
    with store._database.reading() as connection:
        backup = path.with_name(f"state.db.before-{SCHEMA + 1}")
        backup.with_name(f"state.db.before-{SCHEMA + 1}.{os.getpid()}.part").write_bytes(b"half a copy")
        migrations._back_up(connection, backup)
    copy = opened(backup)
    assert copy.last_event() == 5
    copy.close()
    store.close()  # a write-ahead log goes with its last connection
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["state.db", backup.name]


def test_t_db_7_a_newer_state_is_refused_with_the_versions(rdev: Rdev, project: str, home: Mapping[str, str]) -> None:
    path = Path(home["XDG_STATE_HOME"]) / "rdev/local/state.db"
    raw(path, "pragma user_version = 999")
    before = path.read_bytes()
    ran = rdev("project", "list")
    assert (ran.returncode, ran.stdout) == (5, b"")
    assert b"schema 999" in ran.stderr
    assert f"schema {SCHEMA}".encode() in ran.stderr
    assert b"install the newer version" in ran.stderr
    assert rdev("exec", project, "--", "true").returncode == 125
    assert path.read_bytes() == before


def test_a_state_that_is_up_to_date_loads_no_migrations(path: Path, store: SqliteStore) -> None:
    store.projects()
    code = (
        "import sys; from pathlib import Path; from rdev_cli.adapters.sqlite.database import Database; Database(Path(sys.argv[1])).connection();"
        "sys.exit('sqlite_utils' in sys.modules)"
    )
    one = python(code, str(path))
    assert (one.communicate(timeout=30), one.returncode) == ((b"", b""), 0)


# modes


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
def test_t_sec_5_nothing_of_rdevs_is_open_to_others_whatever_the_umask(mask: int, home: Mapping[str, str], tmp_path: Path) -> None:
    def run(*typed: str) -> None:
        ran = subprocess.run([RDEV, *typed], env=dict(home), cwd=tmp_path, capture_output=True, timeout=60, check=False, umask=mask)
        assert ran.returncode == 0, ran.stderr

    run("project", "create", "shop")
    run("exec", "shop", "--", "sh", "-c", "echo out; echo err >&2; umask >umask; touch made")
    run("context", "set", "other", "--isolation", "none", "--log-file", str(tmp_path / "log"))
    run("project", "create", "shop", "--context", "other")
    run("events")
    places = [Path(home[key]) / "rdev" for key in ("XDG_STATE_HOME", "XDG_CONFIG_HOME")]
    seen = 0
    for place in places:
        for entry in [place, *place.rglob("*")]:
            parts = entry.relative_to(place).parts
            if entry.is_symlink() or (len(parts) > 3 and parts[1] == "pods" and parts[3] in ("workspace", "home") and len(parts) > 4):
                continue  # a pod's work is its own; the folder above it is closed
            assert stat.S_IMODE(entry.stat().st_mode) & 0o077 == 0, (oct(entry.stat().st_mode), entry)
            seen += 1
    assert seen > 30
    assert stat.S_IMODE((tmp_path / "log").stat().st_mode) == 0o600
    (workspace,) = (places[0] / "local/pods").glob("*/workspace")
    assert ((workspace / "umask").read_text().strip(), stat.S_IMODE((workspace / "made").stat().st_mode)) == ("0022", 0o644)


def test_t_sec_5_what_was_open_is_closed(path: Path) -> None:
    private_folder(path.parent)
    path.write_bytes(b"")
    path.chmod(0o644)
    path.parent.chmod(0o755)
    one = opened(path)
    lines(one, 1)
    one.close()
    assert (stat.S_IMODE(path.stat().st_mode), stat.S_IMODE(path.parent.stat().st_mode)) == (0o600, 0o700)


def test_t_sec_5_the_journals_beside_the_state_are_as_private(path: Path, store: SqliteStore) -> None:
    with store.transaction() as tx:
        tx.append("test.written", "x", {})
        beside = list(path.parent.glob("state.db-*"))
        assert beside
        assert {stat.S_IMODE(entry.stat().st_mode) for entry in beside} == {0o600}


@pytest.mark.parametrize("what", ["rdev", "rdev/local"])
def test_t_sec_5_a_state_folder_that_is_a_link_is_refused(what: str, rdev: Rdev, home: Mapping[str, str], tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    link = Path(home["XDG_STATE_HOME"]) / what
    link.parent.mkdir(parents=True, mode=0o700)
    link.symlink_to(elsewhere)
    ran = rdev("project", "create", "shop")
    assert (ran.returncode, ran.stdout) == (4, b"")
    assert f"{link} is a link" in ran.stderr.decode()
    assert list(elsewhere.iterdir()) == []


def test_t_sec_5_a_state_file_that_is_a_link_is_refused(path: Path, tmp_path: Path) -> None:
    private_folder(path.parent)
    path.symlink_to(tmp_path / "target")
    with pytest.raises(Conflict, match="is a link"):
        opened(path).projects()
    assert not (tmp_path / "target").exists()


def test_a_folder_that_is_a_file_and_one_of_another_user_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "file").chmod(0o644)
    with pytest.raises(Unavailable, match="is no folder"):
        private_folder(tmp_path / "file")
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o644
    own = private_folder(tmp_path / "a/b")
    monkeypatch.setattr(os, "geteuid", lambda: own.stat().st_uid + 1)
    with pytest.raises(Denied, match="another user"):
        private_folder(own)


def test_a_write_is_whole_or_not_at_all(tmp_path: Path) -> None:
    file = tmp_path / "f"
    write_whole(file, b"old")
    (tmp_path / f".f.{os.getpid()}.part").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Unavailable, match="cannot write"):
        write_whole(file, b"new")
    assert file.read_bytes() == b"old"
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("text", ["", "short\n", "../../x\n", "A" * 20])
def test_an_installation_without_its_id_does_nothing(text: str, rdev: Rdev, project: str, home: Mapping[str, str]) -> None:
    file = Path(home["XDG_STATE_HOME"]) / "rdev/installation"
    file.write_text(text)
    ran = rdev("project", "create", "other")
    assert (ran.returncode, ran.stdout) == (6, b"")
    assert str(file).encode() in ran.stderr


def test_the_store_is_what_the_port_says(store: SqliteStore) -> None:
    with store.transaction() as tx:
        one: Writing = tx
        assert one.find_command("cmd_none") is None
    assert isinstance(Unavailable("x"), RdevError)
