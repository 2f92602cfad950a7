"""rdev key, as it is typed."""

import json
import re
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import pytest

from tests.conftest import Rdev

pytestmark = pytest.mark.state

KEY = re.compile(rb"rdev_sk_[a-z0-9]{8}_[0-9a-f]{32}\n")


@pytest.fixture
def made(rdev: Rdev) -> dict[str, str]:
    ran = rdev("key", "create", "--name", "ci", "--scope", "sessions:read", "--scope", "projects:read", "--project", "shop", "-o", "json")
    assert ran.returncode == 0, ran.stderr
    return dict(json.loads(ran.stdout))


def test_a_new_key_stands_alone_on_stdout_for_a_person_and_is_shown_once(rdev: Rdev) -> None:
    ran = rdev("key", "create", "--name", "ci", "--scope", "sessions:read", "--cidr", "10.0.0.0/8", "--expires", "30d")
    assert (ran.returncode, bool(KEY.fullmatch(ran.stdout))) == (0, True)
    assert b"shown this once" in ran.stderr
    key = ran.stdout.strip()
    assert key not in ran.stderr
    for words in (("key", "list", "-o", "wide"), ("key", "list", "-o", "json"), ("events", "-o", "json")):
        shown = rdev(*words)
        assert shown.returncode == 0
        assert key[-32:] not in shown.stdout
        assert key[8:16] in shown.stdout


def test_a_key_is_listed_by_what_it_allows_and_named_by_its_id(rdev: Rdev, made: Mapping[str, str]) -> None:
    id = made["id"]
    assert rdev("key", "list", "-o", "name").stdout == f"{id}\n".encode()
    assert rdev("key", "show", id, "-o", "name").stdout == f"{id}\n".encode()
    card = rdev("key", "show", id[:-2]).stdout.decode()
    for words in ("in force", "projects:read, sessions:read", "shop", "anywhere", f"rdev_sk_{made['prefix']}_", "never"):
        assert words in card


def test_a_key_is_revoked_by_its_whole_id_and_a_person_is_asked(rdev: Rdev, made: Mapping[str, str]) -> None:
    id = made["id"]
    assert rdev("key", "revoke", id).returncode == 2
    assert rdev("key", "revoke", id[:-2], "--yes").returncode == 2
    assert json.loads(rdev("key", "show", id, "-o", "json").stdout)["revoked_at"] is None
    ran = rdev("key", "revoke", id, "--yes")
    assert (ran.returncode, ran.stdout, id in ran.stderr.decode()) == (0, b"", True)
    again = json.loads(rdev("key", "revoke", id, "--yes", "-o", "json").stdout)
    assert again["revoked_at"] is not None
    assert b"revoked" in rdev("key", "list").stdout
    assert rdev("key", "revoke", f"key_{'0' * 20}", "--yes").returncode == 3


def test_keys_in_force_are_completed_by_their_ids(rdev: Rdev, made: Mapping[str, str], home: Mapping[str, str]) -> None:
    other = rdev("key", "create", "--name", "old", "--scope", "admin", "-o", "name").stdout.decode().strip()
    assert rdev("key", "revoke", other, "--yes").returncode == 0
    for words in (("key", "show", ""), ("key", "revoke", "key_")):
        assert rdev("__complete", *words).stdout.decode().splitlines() == [":words", f"{made['id']}\tci"]
    assert b"sessions:read" in rdev("__complete", "key", "create", "--scope", "sess").stdout
    with closing(sqlite3.connect(Path(home["XDG_STATE_HOME"]) / "rdev/local/state.db")) as db, db:
        db.execute("update keys set id = 'key_$(touch canary)' where revoked_at is null")
    assert rdev("__complete", "key", "show", "").stdout == b":words\n"


@pytest.mark.parametrize(
    ("flag", "value", "right"),
    [("--scope", "session:read", "sessions:read"), ("--cidr", "10.0.0.1/8", "10.0.0.0/8"), ("--expires", "30", "30m"), ("--project", "My Shop", "my-shop")],
)  # fmt: skip
def test_a_flag_that_makes_no_sense_is_answered_with_what_does(rdev: Rdev, flag: str, value: str, right: str) -> None:
    ran = rdev("key", "create", "--name", "ci", "--scope", "admin", flag, value)
    assert (ran.returncode, ran.stdout) == (2, b"")
    assert right in ran.stderr.decode()


def test_help_says_that_a_key_is_shown_once(rdev: Rdev) -> None:
    assert b"shown once" in rdev("key", "create", "--help").stdout
