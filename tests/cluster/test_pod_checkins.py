"""Check-ins of sessions on a real cluster: reviewed in a pod that goes again, and a conflict that is solved in the session's own pod."""

import json
import subprocess

import pytest

pytestmark = pytest.mark.cluster


@pytest.fixture
def project(there):
    """A project with its pod, deleted in the end."""
    made = there("project", "create", "shop", "-o", "json")
    assert made.returncode == 0, made.stderr
    yield json.loads(made.stdout)
    there("project", "delete", "shop", "--yes")


def begun(there, line):
    """Start a session and run a line in it; return its id."""
    said = there("session", "start", "shop", "-o", "json")
    assert said.returncode == 0, said.stderr.decode()
    id = json.loads(said.stdout)["id"]
    assert there("shell", id, line).returncode == 0
    return id


def test_two_sessions_change_the_same_and_the_second_merges_the_first_in_its_own_pod(there, project, left):
    before = sorted(left())
    one, two = (begun(there, f"echo {name} > README.md; git add README.md") for name in ("one", "two"))
    first = there("checkin", one, "--merge", "-m", "One", "-o", "json")
    assert first.returncode == 0, first.stderr.decode()
    assert json.loads(first.stdout)["verdict"] == "passed"
    refused = there("checkin", two, "--merge", "-m", "Two", "-o", "json")
    error = json.loads(refused.stderr)["error"]
    assert (refused.returncode, error["code"], error["context"]["files"]) == (5, "MERGE_CONFLICT", ["README.md"])
    assert "refs/rdev/target" in error["hint"]
    assert there("git", two, "--", "-c", "user.name=me", "-c", "user.email=me@localhost", "merge", "refs/rdev/target").returncode == 1
    unmerged = there("checkin", two, "-o", "json")
    assert json.loads(unmerged.stderr)["error"]["code"] == "WORKTREE_DIRTY"
    assert there("shell", two, "echo both > README.md; git add README.md").returncode == 0
    second = there("checkin", two, "--merge", "-m", "Two, with one", "-o", "json")
    assert second.returncode == 0, second.stderr.decode()
    assert json.loads(second.stdout)["pull"]["number"] == error["context"]["pull"]
    shown = subprocess.run(["git", "-C", project["repository"], "show", "main:README.md"], capture_output=True, check=True)
    assert shown.stdout == b"both\n"
    assert sorted(left()) == before  # sessions and the pods of their checks are gone
