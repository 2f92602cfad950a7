"""rdev doctor as a user types it: what it proves, and what it says when things are broken."""

import contextlib
import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from rdev_cli.adapters.local.sandbox import find_bubblewrap
from rdev_cli.adapters.sqlite.database import wal_is_safe

pytestmark = pytest.mark.state

ROLLBACK = pytest.mark.skipif(wal_is_safe(), reason="a WAL wants a file of its own beside the state, to read too")
RDEV = str(Path(sys.executable).with_name("rdev"))


def verdicts(ran):
    return {check["name"]: check["verdict"] for check in json.loads(ran.stdout)["items"]}


def test_every_wall_of_the_sandbox_is_tried_and_holds(rdev):
    found = verdicts(rdev("doctor", "-o", "json"))
    assert {name: verdict for name, verdict in found.items() if name.startswith("isolation")} == dict.fromkeys(
        (
            "isolation", "isolation.writes", "isolation.machine", "isolation.keys", "isolation.home", "isolation.state",
            "isolation.processes", "isolation.network", "isolation.no-network",
        ),
        "ok",
    )  # fmt: skip


# when things are broken


@pytest.fixture
def fixed(home, rdev):
    """Run the executable where its state is mounted read-only, or what `mount` says in words of bubblewrap."""
    state = home["XDG_STATE_HOME"]

    def run(*args, mount=("--ro-bind", state, state)):
        front = [find_bubblewrap(), "--dev-bind", "/", "/", *mount, "--", RDEV]
        return subprocess.run([*front, *args], env=home, capture_output=True, stdin=subprocess.DEVNULL, timeout=60, check=False)

    return run


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("update events set data = 'not json' where seq = 2", "line 2 cannot be read"),
        ("update events set at = 'yesterday' where seq = 1", "line 1 cannot be read"),
        ("delete from journal_head", "the journal's head is missing"),
    ],
)
def test_a_line_of_the_journal_that_cannot_be_read_is_a_finding(rdev, project, home, statement, found):
    with contextlib.closing(sqlite3.connect(f"{home['XDG_STATE_HOME']}/rdev/local/state.db")) as db, db:
        db.execute(statement)
    ran = rdev("doctor", "-o", "json")
    assert ran.returncode == 9
    checks = {check["name"]: check for check in json.loads(ran.stdout)["items"]}
    assert (checks["journal.chain"]["verdict"], checks["journal.chain"]["found"]) == ("failed", found)
    assert checks["isolation.writes"]["verdict"] == "ok"


@ROLLBACK
def test_a_state_that_is_read_only_is_a_finding_and_the_rest_is_looked_at(rdev, project, fixed):
    ran = fixed("doctor", "-o", "json")
    assert ran.returncode == 9
    checks = {check["name"]: check for check in json.loads(ran.stdout)["items"]}
    assert {checks[name]["verdict"] for name in ("state.writable", "isolation.probe")} == {"failed"}
    assert "state.db cannot be written" in checks["state.writable"]["found"]
    assert "write" in checks["isolation.probe"]["hint"]
    assert {checks[name]["verdict"] for name in ("state.integrity", "journal.chain", "isolation")} == {"ok"}
    assert "agent.bundled" in checks


def test_a_state_that_cannot_be_made_is_a_finding_and_the_rest_is_looked_at(rdev, home):
    Path(home["XDG_STATE_HOME"]).write_text("a file, and no folder")
    ran = rdev("doctor", "-o", "json")
    assert ran.returncode == 9
    found = verdicts(ran)
    assert found["state.open"] == found["isolation"] == "failed"
    assert {"files.config", "agent.bundled"} <= set(found)


def test_a_disk_without_room_is_named_with_what_helps(rdev, project, fixed, home):
    pods = f"{home['XDG_STATE_HOME']}/rdev/local/pods"
    # the smallest there is: a page, which the first file takes
    ran = fixed("doctor", "-o", "json", mount=("--size", "4096", "--tmpfs", pods))
    checks = {check["name"]: check for check in json.loads(ran.stdout)["items"]}
    assert (ran.returncode, checks["isolation.probe"]["verdict"]) == (9, "failed")
    assert "No space left on device" in checks["isolation.probe"]["found"]
    assert "room" in checks["isolation.probe"]["hint"]


@ROLLBACK
def test_what_only_reads_works_where_nothing_can_be_written(rdev, project, fixed):
    assert rdev("exec", project, "--", "true").returncode == 0
    pending = rdev("exec", "--no-wait", project, "--", "true").stdout.decode().strip()  # its end is not in the records yet
    for typed in (("project", "list"), ("project", "show", project), ("command", "list"), ("ps",), ("events",)):
        ran = fixed(*typed, "-o", "json")
        assert (ran.returncode, ran.stderr) == (0, b""), typed
        assert json.loads(ran.stdout)
    assert json.loads(fixed("command", "list", "-o", "json").stdout)["items"][0]["id"] == pending
    refused = fixed("project", "create", "other", "-o", "json")
    assert (refused.returncode, json.loads(refused.stderr)["error"]["code"]) == (6, "STATE_UNWRITABLE")


def test_a_pod_of_a_session_is_nothing_that_is_left_over(rdev, project):
    started = rdev("session", "start", project, "-o", "name")
    assert started.returncode == 0, started.stderr
    found = {check["name"]: check for check in json.loads(rdev("doctor", "-o", "json").stdout)["items"]}
    assert found["leftover"]["verdict"] == "ok"
    assert not [name for name in found if name.startswith("leftover.")]
