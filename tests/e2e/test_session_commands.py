"""rdev session as a user types it: what is printed, what is refused, and what is the same as with a project."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.conftest import Rdev, Spawn

pytestmark = pytest.mark.state


@pytest.fixture
def session(rdev: Rdev, project: str) -> str:
    """A session of the project."""
    return str(json.loads(rdev("session", "start", project, "-o", "json").stdout)["id"])


def _error(ran: object) -> tuple[int, str]:
    return ran.returncode, json.loads(ran.stderr)["error"]["code"]  # type: ignore[attr-defined]


def test_what_works_in_a_project_works_in_a_session_and_leaves_the_project_alone(
    rdev: Rdev, project: str, session: str, tmp_path: Path
) -> None:
    short = session[:12]
    assert rdev("session", "exec", "-i", short, "--", "tee", "note", input=b"kept\n").stdout == b"kept\n"
    assert rdev("exec", session, "--", "cat", "note").stdout == b"kept\n"
    assert rdev("session", "shell", short, "cat note | tr k K").stdout == b"Kept\n"
    assert rdev("session", "git", short, "--", "status", "--short").stdout == b"?? note\n"
    assert rdev("session", "files", short, ":note", "here").returncode == 0
    assert (tmp_path / "here").read_bytes() == b"kept\n"
    assert rdev("cp", "here", f"{session}:again").returncode == 0
    assert rdev("session", "exec", short, "--", "cat", "again").stdout == b"kept\n"
    assert rdev("logs", session).stdout == b"kept\n"
    assert rdev("exec", project, "--", "ls", "note").returncode != 0
    listed = json.loads(rdev("command", "list", "--session", short, "-o", "json").stdout)["items"]
    assert {one["session_id"] for one in listed} == {session}
    assert len(listed) == 5
    kinds = [json.loads(line)["kind"] for line in rdev("session", "events", short, "-o", "jsonl").stdout.splitlines()]
    assert kinds[:2] == ["session.requested", "session.started"]
    assert kinds.count("command.completed") == 5
    assert kinds.count("file.copied") == 2


def test_following_the_events_ends_with_the_session(rdev: Rdev, spawn: Spawn, session: str) -> None:
    follower = spawn("session", "events", session, "--follow", "-o", "jsonl")
    assert rdev("session", "end", session).returncode == 0
    out, _ = follower.communicate(timeout=60)
    assert follower.returncode == 0
    assert json.loads(out.splitlines()[-1])["kind"] == "session.ended"


def test_what_is_wrong_is_said_with_what_to_type(rdev: Rdev, project: str, session: str) -> None:
    assert _error(rdev("session", "end", session[:12], "-o", "json")) == (2, "INVALID")
    assert _error(rdev("session", "show", "ses_0000", "-o", "json")) == (3, "NOT_FOUND")
    assert _error(rdev("session", "show", project, "-o", "json")) == (2, "INVALID")
    assert _error(rdev("session", "attach", session, "-o", "json")) == (5, "USAGE")
    assert _error(rdev("session", "start", project, "--idle", "0s", "-o", "json")) == (2, "USAGE")
    assert _error(rdev("session", "start", session, "-o", "json")) == (2, "INVALID_NAME")
    assert _error(rdev("project", "sync", session, "-o", "json")) == (2, "INVALID_NAME")
    assert _error(rdev("session", "end", session, "--discard", "-o", "json")) == (2, "CONFIRMATION")
    assert rdev("session", "end", session).returncode == 0
    assert _error(rdev("session", "exec", session, "-o", "json", "--", "true")) == (125, "ENDED")
    assert _error(rdev("session", "start", "none", "-o", "json")) == (3, "NOT_FOUND")


def test_a_branch_that_is_given_goes_on_where_it_is(rdev: Rdev, project: str, session: str) -> None:
    assert rdev("session", "shell", session, "echo kept >note").returncode == 0
    rescue = json.loads(rdev("session", "end", session, "-o", "json").stdout)["rescue"]
    second = json.loads(rdev("session", "start", project, "--branch", rescue, "-o", "json").stdout)
    assert rdev("session", "exec", second["id"], "--", "cat", "note").stdout == b"kept\n"


def test_gc_sweeps_sessions_before_anything_else(rdev: Rdev, project: str) -> None:
    session = json.loads(rdev("session", "start", project, "--idle", "1s", "-o", "json").stdout)["id"]
    assert rdev("session", "shell", session, "echo kept >note").returncode == 0
    for _ in range(20):
        if b"ended 1 session whose time was over" in rdev("gc").stderr:
            break
    ended = json.loads(rdev("session", "show", session, "-o", "json").stdout)
    assert (ended["state"], ended["reason"], ended["rescue"]) == ("ended", "idle", f"rdev/rescue/{session}")


MESS = r"""
git config user.name ann && git config user.email ann@localhost
echo put-aside >>README.md && git stash --quiet
git checkout --quiet -b other && echo elsewhere >elsewhere && git add elsewhere && git commit --quiet -m elsewhere
git checkout --quiet -
echo committed >committed && git add committed && git commit --quiet -m committed
echo staged >staged && git add staged
echo new >'a new
name'
mkdir empty inside && git init --quiet inside && echo inside >inside/file && mkdir inside/deep && git init --quiet inside/deep && echo deep >inside/deep/file
echo locked >locked && chmod 000 locked
printf '%s\n' ignored ig/ >>.gitignore && mkdir ig && touch ignored ig/nored
rm -r site
ln -s /etc/passwd link
"""


def test_everything_that_git_can_keep_is_kept_and_index_and_head_are_as_they_were(
    rdev: Rdev, project: str, session: str, home: dict[str, str]
) -> None:
    assert rdev("session", "shell", session, MESS).returncode == 0
    ended = json.loads(rdev("session", "end", session, "-o", "json").stdout)
    repository = json.loads(rdev("project", "show", project, "-o", "json").stdout)["repository"]

    def git(*words: str) -> str:
        return subprocess.run(["git", "-C", repository, *words], capture_output=True, check=True, text=True).stdout

    tree = git("ls-tree", "-r", "-z", "--name-only", ended["rescue"]).split("\0")
    assert {"committed", "staged", "a new\nname", "inside/file", "inside/deep/file", "locked", "link", "README.md"} <= set(tree)
    assert not {one for one in tree if one.startswith(("ig", "site/", "inside/.git"))}
    assert git("show", f"{ended['rescue']}:locked") == "locked\n"
    parents = [git("log", "-1", "--format=%s", one).strip() for one in git("log", "-1", "--format=%P", ended["rescue"]).split()]
    assert parents[:2] == ["committed", "elsewhere"]
    assert parents[2].startswith("WIP on")
    assert f"Rdev-Session: {session}" in git("log", "-1", "--format=%B", ended["rescue"])
    assert git("fsck", "--strict") == ""


def test_a_work_tree_that_git_cannot_read_keeps_the_session_until_somebody_gives_it_up(rdev: Rdev, session: str) -> None:
    assert rdev("session", "shell", session, "rm -rf .git && echo precious >note").returncode == 0
    ended = rdev("session", "end", session, "-o", "json")
    assert _error(ended) == (7, "PARTIAL")
    assert "--discard" in json.loads(ended.stderr)["error"]["hint"]
    assert json.loads(rdev("session", "show", session, "-o", "json").stdout)["state"] == "ending"
    gone = json.loads(rdev("session", "end", session, "--discard", "--yes", "-o", "json").stdout)
    assert (gone["state"], gone["rescue"]) == ("ended", "")
