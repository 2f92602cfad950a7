"""The warm pool of this machine as it is typed: made, lent to sessions, destroyed, and never taken for something that is left over."""

import json
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.state

Rdev = Callable[..., "subprocess.CompletedProcess[bytes]"]


def told(rdev: Rdev, *words: str) -> list[dict[str, Any]]:
    ran = rdev(*words, "-o", "json")
    assert ran.returncode == 0, ran.stderr.decode()
    found: list[dict[str, Any]] = json.loads(ran.stdout)["items"]
    return found


@pytest.fixture
def pods(home: Mapping[str, str]) -> Path:
    return Path(home["XDG_STATE_HOME"]) / "rdev/local/pods"


def test_a_session_gets_a_worker_and_its_end_destroys_it(rdev: Rdev, project: str, pods: Path) -> None:
    workers = told(rdev, "pool", "fill", "2")
    assert [one["state"] for one in workers] == ["idle", "idle"]
    assert {one["evidence"] for one in workers} == {"serves once: a directory serves once"}
    ran = rdev("session", "start", project, "-o", "json")
    assert ran.returncode == 0, ran.stderr.decode()
    session = json.loads(ran.stdout)
    [mine] = [one for one in told(rdev, "pool", "list") if one["session"] == session["id"]]
    assert (mine["state"], mine["project"], mine["leases"], mine["pod"]) == ("busy", project, 1, session["pod"])
    assert rdev("exec", session["id"], "--", "sh", "-c", "echo mine >~/secret").returncode == 0
    found = [one for one in told(rdev, "doctor") if one["name"].startswith("leftover")]
    assert [one["verdict"] for one in found if one["name"] in ("leftover", "leftover.pod")] == ["ok"], found
    assert rdev("session", "end", session["id"]).returncode == 0
    assert not (pods / mine["pod"]).exists()
    [left] = told(rdev, "pool", "list")
    assert (left["state"], (pods / left["pod"] / "workspace").is_dir()) == ("idle", True)
    assert [one["clean"] for one in told(rdev, "pool", "audit")] == [True]
    (pods / left["pod"] / "home" / "planted").touch()
    assert rdev("pool", "audit").returncode == 9
    assert told(rdev, "pool", "drain", "--yes") == []
    assert not list(pods.glob("rdev-pool-*"))
    kinds = [event["kind"] for event in told(rdev, "events", "--limit", "1000") if event["kind"].startswith("worker.")]
    assert kinds == ["worker.made", "worker.made", "worker.claimed", "worker.destroyed", "worker.destroyed"]


def test_nobody_is_asked_without_a_terminal_and_what_sessions_have_goes_with_them(rdev: Rdev, project: str, pods: Path) -> None:
    told(rdev, "pool", "fill", "1")
    refused = rdev("pool", "drain")
    assert (refused.returncode, b"--yes" in refused.stderr) == (2, True)
    session = json.loads(rdev("session", "start", project, "-o", "json").stdout)["id"]
    [left] = told(rdev, "pool", "drain", "--yes")
    assert (left["state"], left["session"]) == ("draining", session)
    assert rdev("session", "end", session).returncode == 0
    assert told(rdev, "pool", "list") == []
    assert not list(pods.glob("rdev-pool-*"))


def test_the_size_of_a_context_is_what_fill_makes_without_a_number(rdev: Rdev) -> None:
    refused = rdev("pool", "fill")
    assert refused.returncode == 2
    assert b"rdev pool fill 3" in refused.stderr
    for wrong in ("-1", "101", "many"):
        assert rdev("context", "set", "local", "--pool", wrong).returncode == 2
    assert rdev("context", "set", "local", "--pool", "2").returncode == 0
    assert json.loads(rdev("context", "show", "-o", "json").stdout)["pool"] == 2
    assert len(told(rdev, "pool", "fill")) == 2
    assert len(told(rdev, "pool", "fill")) == 2


def test_a_fill_that_is_killed_leaves_what_the_next_one_takes_away(
    rdev: Rdev, spawn: Callable[..., "subprocess.Popen[bytes]"], pods: Path
) -> None:
    for wait in (0.2, 0.3, 0.4, 0.5, 0.6):
        process = spawn("pool", "fill", "100")
        time.sleep(wait)
        process.send_signal(signal.SIGKILL)
        process.wait()
    workers = told(rdev, "pool", "fill", "1")
    assert {one["state"] for one in workers} <= {"idle"}
    assert {one["pod"] for one in workers} == {path.name for path in pods.glob("rdev-pool-*")}
    assert told(rdev, "pool", "drain", "--yes") == []
    assert not list(pods.glob("rdev-pool-*"))
