"""What is left over, and what has no record: `rdev gc`, `rdev project list --all`, `rdev project adopt`, as they are typed. T-GC-1, 4."""

import json
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Mapping
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from rdev_cli.domain.codec import stamp

pytestmark = pytest.mark.state

Rdev = Callable[..., "subprocess.CompletedProcess[bytes]"]


@pytest.fixture
def state(home: Mapping[str, str]) -> Path:
    return Path(home["XDG_STATE_HOME"]) / "rdev/local"


@pytest.fixture
def left(rdev: Rdev, project: str, state: Path) -> Path:
    """A pod whose project was deleted, and that is there all the same; beside it a project that lives."""
    assert rdev("project", "create", "gone").returncode == 0
    [pod] = state.glob("pods/rdev-gone-*")
    shutil.copytree(pod, state / "kept", symlinks=True)
    assert rdev("project", "delete", "gone", "--yes").returncode == 0
    (state / "kept").rename(pod)
    return pod


def pass_two_hours(state: Path, pod: Path) -> None:
    """Let everything have been two hours earlier: the clock of a machine is not a test's to turn."""
    with closing(sqlite3.connect(state / "state.db", isolation_level=None)) as connection:
        for uid, there, here in connection.execute("select uid, there, here from orphans").fetchall():
            earlier = [stamp(datetime.fromisoformat(at) - timedelta(hours=2)) for at in (there, here)]
            connection.execute("update orphans set there = ?, here = ? where uid = ?", [*earlier, uid])
    seen = pod.stat()
    os.utime(pod, (seen.st_atime - 7200, seen.st_mtime - 7200))


def listed(rdev: Rdev, *more: str) -> dict[str, str]:
    ran = rdev("gc", *more, "-o", "json")
    assert ran.returncode == 0, ran.stderr
    return {one["name"]: one["state"] for one in json.loads(ran.stdout)["items"]}


def test_gc_lists_what_is_left_over_and_removes_it_when_it_was_seen_for_an_hour_and_its_number_is_named(
    rdev: Rdev, left: Path, state: Path, project: str
) -> None:
    assert listed(rdev) == {left.name: "waiting"}
    assert listed(rdev, "--apply", "--yes", "--allow", "9") == {left.name: "waiting"}
    said = rdev("gc")
    assert b"waiting" in said.stdout
    assert b"seen without its project for" in said.stdout
    pass_two_hours(state, left)
    assert listed(rdev) == {left.name: "garbage"}
    asked = rdev("gc", "--apply", "--allow", "1")
    assert (asked.returncode, b"--yes" in asked.stderr) == (2, True)
    many = rdev("gc", "--apply", "--yes", "-o", "json")
    assert (many.returncode, json.loads(many.stderr)["error"]["code"], many.stdout) == (8, "TOO_MANY", b"")
    assert left.exists()
    assert listed(rdev, "--apply", "--yes", "--allow", "1") == {left.name: "deleted"}
    assert not left.exists()
    assert listed(rdev) == {}
    assert rdev("exec", project, "--", "true").returncode == 0
    [event] = json.loads(rdev("events", "--subject", "gc", "-o", "json").stdout)["items"]
    assert [one["name"] for one in event["data"]["objects"]] == [left.name]
    assert Path(event["data"]["file"]).read_text().count(left.name) == 2
    assert b"not rdev's" not in rdev("doctor").stdout
    assert rdev("uninstall", "--yes").returncode == 0
    assert not state.exists()


def test_gc_speaks_to_a_person(rdev: Rdev, left: Path, state: Path) -> None:
    rdev("gc")
    pass_two_hours(state, left)
    said = rdev("gc")
    assert b"rdev gc --apply removes 1 of them" in said.stderr
    done = rdev("gc", "--apply", "--yes", "--allow", "1")
    assert b"removed 1 of 1" in done.stderr
    assert rdev("gc").stderr == b"everything has its record\n"


@pytest.mark.parametrize("window", ["9m", "0s", "1", "-1h"])
def test_t_gc_4_the_window_is_never_under_ten_minutes(rdev: Rdev, window: str) -> None:
    assert rdev("gc", f"--older-than={window}").returncode == 2
    assert rdev("gc", "--older-than", "10m").returncode == 0


def test_t_gc_1_a_state_that_was_lost_makes_nothing_garbage_and_its_project_can_be_adopted(rdev: Rdev, project: str, state: Path) -> None:
    made = rdev("exec", project, "--", "sh", "-c", "echo kept >file && git add file && git -c user.name=n -c user.email=m commit -qm kept")
    assert made.returncode == 0, made.stderr
    head = rdev("git", project, "--", "rev-parse", "HEAD").stdout.strip()
    [pod] = state.glob("pods/rdev-shop-*")
    for path in state.glob("state.db*"):
        path.unlink()
    shutil.rmtree(state / "repos")
    assert listed(rdev) == {pod.name: "kept"}
    pass_two_hours(state, pod)
    assert listed(rdev, "--apply", "--yes", "--allow", "9") == {pod.name: "kept"}
    [found] = json.loads(rdev("project", "list", "--all", "-o", "json").stdout)["items"]
    assert (found["name"], found["pod"], found["whose"], found["state"]) == ("shop", pod.name, "nobody", "")
    assert b"without a record" in rdev("project", "list", "--all").stdout
    assert json.loads(rdev("project", "list", "-o", "json").stdout)["items"] == []
    asked = rdev("project", "adopt", "shop")
    assert (asked.returncode, b"--yes" in asked.stderr) == (2, True)
    plan = json.loads(rdev("project", "adopt", "shop", "--dry-run", "-o", "json").stdout)
    assert len(plan["steps"]) == 3
    taken = rdev("project", "adopt", "shop", "--yes", "-o", "json")
    assert taken.returncode == 0, taken.stderr
    adopted = json.loads(taken.stdout)
    assert (adopted["state"], adopted["pod"], adopted["id"] != found["id"]) == ("ready", pod.name, True)
    assert rdev("git", "shop", "--", "rev-parse", "HEAD").stdout.strip() == head
    assert subprocess.run(["git", "-C", adopted["repository"], "rev-parse", "main"], capture_output=True, check=True).stdout.strip() == head
    assert rdev("exec", "shop", "--", "cat", "file").stdout == b"kept\n"
    assert rdev("project", "sync", "shop").returncode == 0
    assert listed(rdev) == {}
    assert rdev("project", "delete", "shop", "--yes").returncode == 0
    assert not pod.exists()


def test_a_pod_of_another_installation_is_shown_and_only_an_adoption_touches_it(rdev: Rdev, project: str, state: Path) -> None:
    [pod] = state.glob("pods/rdev-shop-*")
    mark = json.loads((pod / "pod.json").read_bytes())
    theirs = pod.with_name("rdev-other-12345678")
    shutil.copytree(pod, theirs, symlinks=True)
    (theirs / "pod.json").write_text(json.dumps({**mark, "installation": "f" * 20, "name": "other", "id": "prj_theirs00000012345678"}))
    assert listed(rdev) == {}
    found = {one["name"]: one["whose"] for one in json.loads(rdev("project", "list", "--all", "-o", "json").stdout)["items"]}
    assert found == {"shop": "here", "other": "another"}
    for typed in (("exec", "other", "--", "true"), ("project", "delete", "other", "--yes"), ("project", "show", "other")):
        assert rdev(*typed).returncode in (3, 125)
    assert rdev("project", "adopt", "nope", "--yes").returncode == 3
    assert rdev("project", "adopt", "shop", "--yes").returncode == 5
    assert rdev("project", "adopt", "other", "--yes").returncode == 0
    assert rdev("exec", "other", "--", "true").returncode == 0
    assert rdev("project", "list", "-o", "name").stdout == b"other\nshop\n"
