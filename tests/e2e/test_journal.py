"""rdev journal prune as a person and a program meet it."""

import json
import subprocess
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.e2e.test_hand import on_terminal

pytestmark = pytest.mark.state

Rdev = Callable[..., "subprocess.CompletedProcess[bytes]"]


def kinds(rdev: Rdev) -> list[str]:
    return [line["kind"] for line in json.loads(rdev("events", "-o", "json").stdout)["items"]]


def soon() -> str:
    """A moment that is past when the next command begins, and before which all that was done lies."""
    return (datetime.now(UTC) + timedelta(milliseconds=1)).isoformat()


def test_what_is_pruned_is_gone_and_the_journal_says_so_and_still_proves_itself(rdev: Rdev, project: str) -> None:
    assert len(kinds(rdev)) == 2
    ran = rdev("journal", "prune", "--before", soon(), "--yes", "-o", "json")
    assert ran.returncode == 0, ran.stderr
    said = json.loads(ran.stdout)
    assert (said["count"], said["through"], said["done"]) == (2, 2, True)
    (line,) = json.loads(rdev("events", "-o", "json").stdout)["items"]
    assert (line["kind"], line["seq"], line["data"]["through"], line["data"]["hash"]) == ("journal.pruned", 3, 2, said["hash"])
    chain = next(check for check in json.loads(rdev("doctor", "-o", "json").stdout)["items"] if check["name"] == "journal.chain")
    assert (chain["verdict"], chain["found"]) == ("ok", "1 lines, unbroken; 2 before them were pruned")
    assert rdev("exec", project, "--", "true").returncode == 0
    assert kinds(rdev) == ["journal.pruned", "command.started", "command.completed"]


def test_a_dry_run_says_the_same_and_changes_nothing(rdev: Rdev, project: str) -> None:
    before = kinds(rdev)
    would = json.loads(rdev("journal", "prune", "--before", soon(), "--dry-run", "-o", "json").stdout)
    assert (would["count"], would["through"], would["done"]) == (2, 2, False)
    assert kinds(rdev) == before


def test_nothing_so_old_asks_nothing_and_leaves_no_line(rdev: Rdev, project: str) -> None:
    before = kinds(rdev)
    ran = rdev("journal", "prune", "--before", "90d")
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, b"", b"nothing is so old\n")
    assert rdev("journal", "prune", "--before", "2020-01-31").returncode == 0
    assert kinds(rdev) == before


def test_nobody_to_ask_is_a_refusal_that_names_the_flag(rdev: Rdev, project: str) -> None:
    before = kinds(rdev)
    ran = rdev("journal", "prune", "--before", soon())
    assert (ran.returncode, ran.stdout) == (2, b"")
    assert b"--yes" in ran.stderr
    assert kinds(rdev) == before


def test_a_person_is_asked_and_may_say_no(rdev: Rdev, project: str, home: Mapping[str, str], tmp_path: Path) -> None:
    before, moment = kinds(rdev), soon()
    code, said = on_terminal(home, tmp_path, "journal", "prune", "--before", moment, typing=b"n\n", columns=200)
    assert (code, b"Remove 2 lines" in said, kinds(rdev)) == (130, True, before)
    code, said = on_terminal(home, tmp_path, "journal", "prune", "--before", moment, typing=b"y\n", columns=200)
    assert (code, b"removed 2 lines" in said, kinds(rdev)) == (0, True, ["journal.pruned"])


@pytest.mark.parametrize("text", ["soon", "90", "", "2026-13-01", "-1d", "2099-01-01"])
def test_what_is_no_past_time_is_refused(text: str, rdev: Rdev) -> None:
    ran = rdev("journal", "prune", f"--before={text}", "--yes")
    assert (ran.returncode, ran.stdout) == (2, b"")
    assert b"2026-01-31" in ran.stderr
