"""Pruning the journal: the oldest lines go, the chain stays provable, and whoever cuts it otherwise is seen."""

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from rdev_cli.adapters.sqlite.database import SCHEMA, Database
from rdev_cli.adapters.sqlite.store import SqliteStore
from rdev_cli.domain.access import local
from rdev_cli.domain.report import Verdict

pytestmark = pytest.mark.state

START = datetime(2026, 1, 1, tzinfo=UTC)


class Clock:
    """A day passes with every line."""

    def __init__(self) -> None:
        self.day = 0

    def now(self) -> datetime:
        self.day += 1
        return day(self.day)

    def monotonic(self) -> float:
        return 0.0


def day(number: float) -> datetime:
    return START + timedelta(days=number)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "rdev/local/state.db"


@pytest.fixture
def store(path: Path) -> Iterator[SqliteStore]:
    """A journal of five lines: line N was written on day N."""
    one = SqliteStore(Database(path), Clock(), local("local:test"))
    for number in range(1, 6):
        append(one, "test.written", number=number)
    yield one
    one.close()


def append(store: SqliteStore, kind: str, **data: object) -> None:
    with store.transaction() as tx:
        tx.append(kind, "s", data)


def prune(store: SqliteStore, before: datetime) -> tuple[int, int, str]:
    with store.transaction() as tx:
        count, through, last = tx.prune(before)
        if count:
            tx.append("journal.pruned", "journal", {"count": count, "through": through, "hash": last})
    return count, through, last


def raw(path: Path, *statements: str) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def chain(store: SqliteStore) -> tuple[Verdict, str]:
    return next((check.verdict, check.found) for check in store.check() if check.name == "journal.chain")


def seqs(store: SqliteStore) -> list[int]:
    return [event.seq for event in store.events(after=0)]


def test_what_is_older_goes_and_the_chain_holds_from_the_anchor_on(store: SqliteStore) -> None:
    hashes = {event.seq: event.hash for event in store.events(after=0)}
    assert store.prunable(day(3)) == (2, 2, hashes[2])
    assert seqs(store) == [1, 2, 3, 4, 5]
    assert prune(store, day(3)) == (2, 2, hashes[2])
    assert seqs(store) == [3, 4, 5, 6]
    assert chain(store) == (Verdict.OK, "4 lines, unbroken; 2 before them were pruned")
    append(store, "test.written")
    assert (store.last_event(), chain(store)[0]) == (7, Verdict.OK)


def test_a_second_pruning_counts_from_the_first(store: SqliteStore) -> None:
    prune(store, day(3))
    assert prune(store, day(4.5))[:2] == (2, 4)
    assert chain(store) == (Verdict.OK, "3 lines, unbroken; 4 before them were pruned")


def test_nothing_so_old_changes_nothing(store: SqliteStore) -> None:
    assert prune(store, day(0)) == (0, 0, "0" * 64)
    assert (seqs(store), chain(store)) == ([1, 2, 3, 4, 5], (Verdict.OK, "5 lines, unbroken"))
    prune(store, day(3))
    anchor = store.prunable(day(0))
    assert anchor[:2] == (0, 2)
    assert prune(store, day(0)) == anchor


def test_all_lines_may_go_but_the_one_that_says_so(store: SqliteStore) -> None:
    assert prune(store, day(100))[:2] == (5, 5)
    assert seqs(store) == [6]
    assert chain(store) == (Verdict.OK, "1 lines, unbroken; 5 before them were pruned")


def test_an_old_line_behind_a_young_one_stays(path: Path, store: SqliteStore) -> None:
    store._clock.day = -10  # somebody put the clock back
    append(store, "test.written")
    assert prune(store, day(3))[:2] == (2, 2)
    assert seqs(store)[:4] == [3, 4, 5, 6]
    assert chain(store)[0] is Verdict.OK


@pytest.mark.parametrize(
    ("statement", "seen"),
    [
        ("delete from events where seq = 3", "line 3 is missing"),
        ("update events set actor = 'local:evil' where seq = 4", "line 4 was changed"),
        ("update journal_anchor set seq = 0", "line 1 is missing"),
        ("update journal_anchor set hash = '00'", "line 3 was changed"),
        ("delete from events", "the journal ends at line 2, but line 6 was written"),
    ],
)
def test_whoever_changes_a_pruned_journal_is_seen(statement: str, seen: str, path: Path, store: SqliteStore) -> None:
    prune(store, day(3))
    raw(path, statement)
    verdict, found = chain(store)
    assert verdict is Verdict.FAILED
    assert seen in found


def test_whoever_cuts_the_beginning_and_moves_the_anchor_is_seen(path: Path, store: SqliteStore) -> None:
    raw(
        path,
        "update journal_anchor set seq = 2, hash = (select hash from events where seq = 2)",
        "delete from events where seq <= 2",
    )
    assert chain(store) == (Verdict.FAILED, "the lines up to 2 were removed, and no line says who pruned them")


def test_a_pruned_journal_is_smaller_once_it_is_compacted(path: Path, store: SqliteStore) -> None:
    for _ in range(50):
        append(store, "test.written", text="x" * 10_000)
    store.close()  # what waits in a write-ahead log is in the file then
    full = path.stat().st_size
    prune(store, day(1000))
    store.compact()
    store.close()
    assert path.stat().st_size < full / 2
    assert chain(store)[0] is Verdict.OK


def test_a_state_from_before_pruning_is_brought_up_with_its_lines(path: Path, store: SqliteStore) -> None:
    store.close()
    raw(path, "drop table journal_anchor", "delete from _sqlite_migrations where name = 'm003_anchor'", "pragma user_version = 1")
    assert chain(store) == (Verdict.OK, "5 lines, unbroken")
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("pragma user_version").fetchone()[0] == SCHEMA


@pytest.mark.parametrize("read", [lambda s: s.events(after=0, limit=2), lambda s: s.events(after=1, limit=2)])
def test_a_reader_goes_on_at_the_first_line_that_is_left(read: Callable[[SqliteStore], list[object]], store: SqliteStore) -> None:
    prune(store, day(3))
    assert [event.seq for event in read(store)] == [3, 4]
