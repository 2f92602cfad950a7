"""The main job as a user types it: demo, agent runs, their commits, and what happens when things go wrong."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

pytestmark = pytest.mark.state

SUPPORT = Path(__file__).parents[1] / "support"


def _json(done: "subprocess.CompletedProcess[bytes]") -> dict:
    return json.loads(done.stdout)


def _local(home: Mapping[str, str]) -> Path:
    return Path(home["XDG_STATE_HOME"]) / "rdev" / "local"


def _workspace(rdev, home: Mapping[str, str]) -> Path:
    return _local(home) / "pods" / _json(rdev("project", "show", "shop", "-o", "json"))["pod"] / "workspace"


def _git(folder: Path, *argv: str) -> str:
    who = {"GIT_AUTHOR_NAME": "u", "GIT_AUTHOR_EMAIL": "u@x", "GIT_COMMITTER_NAME": "u", "GIT_COMMITTER_EMAIL": "u@x"}
    env = {**os.environ, **who}
    return subprocess.run(["git", "-C", str(folder), *argv], env=env, capture_output=True, check=True, text=True).stdout.strip()


def _push(rdev, tmp_path: Path, text: str) -> str:
    """Do what a colleague does: clone, commit, push; return the commit."""
    clone = tmp_path / f"clone-{text}"
    _git(tmp_path, "clone", "-q", _json(rdev("project", "show", "shop", "-o", "json"))["repository"], str(clone))
    (clone / f"{text}.txt").write_text(text)
    _git(clone, "add", ".")
    _git(clone, "commit", "-qm", text)
    _git(clone, "push", "-q", "origin", "main")
    return _git(clone, "rev-parse", "HEAD")


def _until(done: Callable[[], object], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


@pytest.fixture
def agent(rdev, project) -> str:
    """A project, and an agent for it that is quick and does what its prompt says."""
    assert rdev("context", "set", "local", "--agent-path", f"claude={SUPPORT / 'claude'}").returncode == 0
    return project


def test_the_demo_tells_the_main_job_and_leaves_nothing(rdev, home):
    done = rdev("demo", "--agent", "bundled")
    text = done.stdout.decode()
    assert done.returncode == 0, done.stderr
    for line in ("> Write site/health.html", "> Bash sh scripts/check.sh", "2 files changed", "gone: record", "Three things to type next"):
        assert line in text
    assert rdev("project", "list", "-o", "name").stdout == b""
    assert [p.name for part in ("repos", "pods", "spool") for p in (_local(home) / part).iterdir()] == []


def test_the_demo_answers_a_program_with_one_document(rdev):
    done = rdev("demo", "--agent", "bundled", "--keep", "-o", "json")
    answer = _json(done)
    assert (done.returncode, answer["agent"], answer["kept"]) == (0, "bundled", True)
    assert answer["command"]["delivered"] == "main"
    shown = rdev("git", answer["project"], "--", "show", "--stat", "--format=%s")
    assert b"site/health.html" in shown.stdout
    assert b"Rdev-Command: " + answer["command"]["id"].encode() in rdev("git", answer["project"], "--", "log", "-1").stdout


def test_without_bubblewrap_the_demo_runs_plain_and_says_so(rdev):
    """Only the demo's own agent may: everything else is refused with the line that installs it."""
    env = {"PYTHONPATH": str(SUPPORT / "no_bubblewrap"), "PATH": _path_without("bwrap")}
    done = rdev("demo", env=env)
    assert done.returncode == 0, done.stderr
    assert b"without isolation" in done.stderr
    refused = rdev("project", "create", "shop", "-o", "json", env=env)
    error = json.loads(refused.stderr)["error"]
    assert (refused.returncode, error["code"]) == (6, "TOOL_MISSING")
    assert "pip install" in error["hint"]
    assert rdev("project", "list", "-o", "name", env=env).stdout == b""
    assert rdev("project", "create", "shop", "--isolation", "none", env=env).returncode == 0
    assert rdev("exec", "shop", "--isolation", "none", "--no-network", "--", "true", env=env).returncode == 125


def _path_without(program: str) -> str:
    return ":".join(p for p in os.environ["PATH"].split(":") if not (Path(p) / program).exists())


def test_an_agent_s_work_ends_in_a_commit_on_the_branch(rdev, agent):
    done = rdev("claude", agent, "add a page\nwith two lines")
    assert done.returncode == 0, done.stderr
    assert b"It is done." in done.stdout
    assert b"commit " in done.stdout
    assert b"page.txt" in done.stdout
    assert b"> Write page.txt" in done.stderr
    repository = Path(_json(rdev("project", "show", agent, "-o", "json"))["repository"])
    message = _git(repository, "log", "-1", "--format=%an <%ae>%n%B", "main")
    assert message.startswith("rdev <rdev@localhost>\nadd a page with two lines\n\nRdev-Command: cmd_")


def test_a_program_gets_the_record_with_tokens_and_cost(rdev, agent):
    answer = _json(rdev("claude", agent, "add a page", "-o", "json"))
    kept = {
        key: answer[key] for key in ("state", "exit_code", "input_tokens", "output_tokens", "cost_usd", "model", "session", "delivered")
    }
    assert kept == {
        "state": "completed", "exit_code": 0, "input_tokens": 100, "output_tokens": 20, "cost_usd": 0.25,
        "model": "model-1", "session": "ses-1", "delivered": "main",
    }  # fmt: skip
    events = _json(rdev("events", "--subject", answer["id"], "-o", "json"))["items"]
    kinds = [event["kind"] for event in events]
    assert kinds == [
        "command.started", "agent.started", "agent.said", "agent.used", "agent.answered", "agent.finished", "command.completed", "commit.delivered",
    ]  # fmt: skip
    assert len({(event["kind"], event["data"].get("offset")) for event in events}) == len(events)


def test_a_prompt_comes_from_stdin_and_is_no_argument_of_any_process(rdev, spawn, agent, home):
    process = spawn("claude", agent, "-", stdin=subprocess.PIPE)
    process.stdin.write(b"please wait, canary-7f3a")
    process.stdin.close()
    workspace = _workspace(rdev, home)
    _until(lambda: (workspace / "page.txt").exists())
    assert not [p for p in Path("/proc").glob("[0-9]*/cmdline") if b"canary-7f3a" in _read(p)]
    (workspace / "go").touch()
    assert process.wait(30) == 0


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_an_agent_gets_its_declared_variables_and_nobody_else_does(rdev, agent, home):
    env = {"ANTHROPIC_API_KEY": "canary-key-11", "AWS_SECRET_ACCESS_KEY": "canary-key-22", "RANDOM_THING": "canary-key-33"}
    assert rdev("claude", agent, "write the environment", env=env).returncode == 0
    inside = (_workspace(rdev, home) / "environment.txt").read_text()
    assert "ANTHROPIC_API_KEY=canary-key-11" in inside
    assert "canary-key-22" not in inside
    assert "canary-key-33" not in inside
    assert b"canary" not in rdev("shell", agent, "env", env=env).stdout
    local = _local(home)
    for path in [*local.glob("state.db*"), *(p for p in local.glob("spool/*/*") if p.is_file())]:
        assert b"canary-key" not in path.read_bytes(), path


def test_an_agent_that_fails_ends_9_with_its_own_words_and_leaves_the_tree(rdev, agent):
    done = rdev("claude", agent, "fail please")
    assert done.returncode == 9
    assert b"the model said no" in done.stdout + done.stderr
    assert rdev("git", agent, "--", "status", "--porcelain").stdout == b"?? page.txt\n"
    assert rdev("git", agent, "--", "log", "--format=%s").stdout.count(b"\n") == 1


def test_no_commit_leaves_the_changes_in_the_work_tree(rdev, agent):
    answer = _json(rdev("claude", agent, "add a page", "--no-commit", "-o", "json"))
    assert (answer["state"], answer["commit"]) == ("completed", "")
    assert rdev("git", agent, "--", "status", "--porcelain").stdout == b"?? page.txt\n"


def test_a_run_that_changes_nothing_says_so(rdev, agent):
    done = rdev("claude", agent, "do nothing")
    assert done.returncode == 0
    assert b"nothing was committed" in done.stderr


def test_newer_commits_of_the_repository_are_brought_in_before_a_run(rdev, agent, tmp_path):
    _push(rdev, tmp_path, "colleague")
    assert rdev("claude", agent, "add a page").returncode == 0
    assert rdev("git", agent, "--", "log", "--format=%s").stdout == b"add a page\ncolleague\nCreate shop from the skeleton\n"


def test_where_both_sides_moved_on_the_commit_goes_to_a_rescue_branch(rdev, spawn, agent, home, tmp_path):
    process = spawn("claude", agent, "please wait", "-o", "json")
    workspace = _workspace(rdev, home)
    _until(lambda: (workspace / "page.txt").exists())
    theirs = _push(rdev, tmp_path, "meanwhile")
    (workspace / "go").touch()
    out, err = process.communicate(timeout=30)
    answer, error = json.loads(out), json.loads(err)["error"]
    assert (process.returncode, error["code"]) == (7, "RESCUED")
    assert answer["delivered"] == f"rdev/rescue/{answer['id']}"
    repository = Path(_json(rdev("project", "show", agent, "-o", "json"))["repository"])
    assert _git(repository, "rev-parse", "main") == theirs
    assert _git(repository, "rev-parse", answer["delivered"]) == answer["commit"]


def test_a_second_agent_is_told_which_one_is_at_work(rdev, spawn, agent, home):
    first = spawn("claude", agent, "please wait")
    workspace = _workspace(rdev, home)
    _until(lambda: (workspace / "page.txt").exists())
    running = rdev("ps", "-o", "name").stdout.decode().strip()
    second = rdev("claude", agent, "add a page", "-o", "json")
    error = json.loads(second.stderr)["error"]
    assert (second.returncode, error["code"], error["context"]["command"]) == (5, "BUSY", running)
    assert rdev("exec", agent, "--", "true").returncode == 0  # exec and shell are free
    (workspace / "go").touch()
    assert first.wait(30) == 0
    assert rdev("claude", agent, "add a page").returncode == 0


def test_a_killed_client_leaves_the_agent_to_its_end_and_its_commit(rdev, spawn, agent, home):
    process = spawn("claude", agent, "please wait")
    workspace = _workspace(rdev, home)
    _until(lambda: (workspace / "page.txt").exists())
    process.send_signal(signal.SIGKILL)
    process.wait(10)
    id = rdev("ps", "-o", "name").stdout.decode().strip()
    (workspace / "go").touch()
    attached = rdev("command", "attach", id)
    assert attached.returncode == 0, attached.stderr
    assert b"It is done." in attached.stdout
    shown = _json(rdev("command", "show", id, "-o", "json"))
    assert (shown["state"], shown["delivered"]) == ("completed", "main")
    kinds = [event["kind"] for event in _json(rdev("events", "--subject", id, "-o", "json"))["items"]]
    assert kinds.count("agent.finished") == 1
    assert rdev("command", "output", id).stdout.count(b"\n") == 4


def test_a_cancel_in_mid_run_leaves_no_process_and_the_tree_as_it_is(rdev, spawn, agent, home):
    process = spawn("claude", agent, "go on forever")
    workspace = _workspace(rdev, home)
    _until(lambda: (workspace / "page.txt").exists())
    id = rdev("ps", "-o", "name").stdout.decode().strip()
    cancelled = rdev("command", "cancel", id, "-o", "json")
    assert (cancelled.returncode, _json(cancelled)["state"]) == (0, "cancelled")
    assert process.wait(30) == 130
    _until(lambda: not [_read(p.with_name("cmdline")) for p in Path("/proc").glob("[0-9]*/cwd") if _link(p).startswith(str(workspace))], 3)
    assert rdev("git", agent, "--", "status", "--porcelain").stdout == b"?? page.txt\n"


def _link(path: Path) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""


def test_a_time_limit_ends_an_agent_with_124(rdev, agent):
    done = rdev("claude", agent, "go on forever", "--timeout", "1s")
    assert done.returncode == 124
    assert b"time limit" in done.stderr


def test_a_pod_that_is_gone_is_made_again_from_the_repository(rdev, agent, home):
    assert rdev("claude", agent, "add a page").returncode == 0
    import shutil

    shutil.rmtree(_workspace(rdev, home).parent)
    done = rdev("exec", agent, "--", "cat", "page.txt")
    assert (done.returncode, done.stdout) == (0, b"add a page\n")
    assert b"made again" in done.stderr


def test_a_missing_agent_is_named_with_what_to_do(rdev, project):
    refused = rdev("claude", project, "add a page", "-o", "json", env={"PATH": "/usr/bin:/bin"})
    error = json.loads(refused.stderr)["error"]
    assert (refused.returncode, error["code"]) == (6, "TOOL_MISSING")
    assert "rdev context set" in error["hint"]


def test_without_isolation_the_agent_gets_no_shell(rdev, home, tmp_path):
    seen = tmp_path / "argv"
    stand_in = tmp_path / "claude"
    stand_in.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >{seen}\nexec {SUPPORT / "claude"} "$@"\n')
    stand_in.chmod(0o755)
    assert rdev("context", "set", "local", "--isolation", "none", "--agent-path", f"claude={stand_in}").returncode == 0
    assert rdev("project", "create", "shop").returncode == 0
    assert rdev("claude", "shop", "add a page").returncode == 0
    assert "Bash" not in seen.read_text()
    assert "Edit" in seen.read_text()
