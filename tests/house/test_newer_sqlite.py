"""What is about the state, on a SQLite that is new enough for WAL: that it really is in use, here and in what is started, and what is run on it."""

import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Mapping

import pytest

from tests.house.listing import ROOT

pytestmark = pytest.mark.state

NEWER = os.environ.get("RDEV_TEST_NEWER_SQLITE") == "1"
WAL_IS_SAFE = (3, 51, 3)
USE = ROOT / "tests" / "support" / "newer_sqlite"


def _version(env: Mapping[str, str], code: str = "import sqlite3; print(sqlite3.sqlite_version)") -> tuple[int, ...]:
    ran = subprocess.run([sys.executable, "-c", code], env=dict(env), capture_output=True, text=True, timeout=60, check=True)
    return tuple(map(int, ran.stdout.split(".")))


def test_this_run_uses_the_sqlite_that_it_was_asked_to_use(home: Mapping[str, str]) -> None:
    if NEWER:
        assert sqlite3.sqlite_version_info >= WAL_IS_SAFE
    assert _version(home) == sqlite3.sqlite_version_info, "a process with a user's environment uses another SQLite"


@pytest.mark.skipif(sys.platform != "linux" or os.uname().machine != "x86_64", reason="the wheel is built for this machine only")
def test_the_shim_puts_a_newer_sqlite_in_place_of_the_old_one(home: Mapping[str, str]) -> None:
    env = {**home, "PYTHONPATH": str(USE)}
    assert _version(env) >= WAL_IS_SAFE
    assert _version(env, "from sqlite3 import dbapi2; print(dbapi2.sqlite_version)") >= WAL_IS_SAFE


@pytest.mark.skipif(sys.platform != "linux" or os.uname().machine != "x86_64", reason="the wheel is built for this machine only")
def test_sqlite_utils_works_with_it(home: Mapping[str, str]) -> None:
    code = (
        "import sqlite3, sqlite_utils\n"
        "c = sqlite3.connect(':memory:'); d = sqlite_utils.Database(c, execute_plugins=False)\n"
        "d['t'].insert({'id': 1, 'a': 'b'}, pk='id'); assert list(d['t'].rows) == [{'id': 1, 'a': 'b'}]\n"
        "assert sqlite_utils.utils.sqlite3.Connection is sqlite3.Connection\n"
        "print(sqlite3.sqlite_version)"
    )
    assert _version({**home, "PYTHONPATH": str(USE)}, code) >= WAL_IS_SAFE


def test_whoever_opens_the_state_s_file_is_run_on_both() -> None:
    opens = re.compile(r"^import sqlite3|^from sqlite3|\bDatabase\(|\bSqliteStore\(", re.MULTILINE)
    modules = {path.relative_to(ROOT): path.read_text() for path in (ROOT / "tests").rglob("test_*.py")}
    found = [path for path, text in modules.items() if opens.search(text)]
    assert len(found) > 6
    assert [str(path) for path in found if "pytestmark = pytest.mark.state" not in modules[path]] == []
