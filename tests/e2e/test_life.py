"""The life of commands and pods: who looks too early, what is deleted or killed meanwhile, and how repository and work tree meet."""

import contextlib
import json
import os
import shlex
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from rdev_cli.adapters.local import sandbox
from rdev_cli.ops import workspaces
from rdev_cli.wiring.services import Services

pytestmark = pytest.mark.state

SUPPORT = Path(__file__).parents[1] / "support"
PATIENCE = 60.0


def _until(done: Callable[[], object], seconds: float = PATIENCE) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


def _local(home: Mapping[str, str]) -> Path:
    return Path(home["XDG_STATE_HOME"]) / "rdev" / "local"


def _project(rdev) -> dict:
    return json.loads(rdev("project", "show", "shop", "-o", "json").stdout)


def _pod(rdev, home: Mapping[str, str]) -> Path:
    return _local(home) / "pods" / _project(rdev)["pod"]


def _commands(rdev) -> list[dict]:
    return json.loads(rdev("command", "list", "-o", "json").stdout)["items"]


def _error(done: "subprocess.CompletedProcess[bytes]") -> dict:
    return json.loads(done.stderr)["error"]


def _git(folder: Path, *argv: str) -> str:
    who = {"GIT_AUTHOR_NAME": "u", "GIT_AUTHOR_EMAIL": "u@x", "GIT_COMMITTER_NAME": "u", "GIT_COMMITTER_EMAIL": "u@x"}
    return subprocess.run(
        ["git", "-C", str(folder), *argv], env={**os.environ, **who}, capture_output=True, check=True, text=True
    ).stdout.strip()


def _push(rdev, tmp_path: Path, text: str, *, file: str = "", force: bool = False) -> str:
    """Do what a colleague does: clone, commit, push; with `force` in place of the newest commit. Return the commit."""
    clone = tmp_path / f"clone-{text}"
    _git(tmp_path, "clone", "-q", _project(rdev)["repository"], str(clone))
    (clone / (file or f"{text}.txt")).write_text(text)
    _git(clone, "add", ".")
    _git(clone, "commit", "-qm", text, *(["--amend"] if force else []))
    _git(clone, "push", "-q", *(["--force"] if force else []), "origin", "main")
    return _git(clone, "rev-parse", "HEAD")


def _commit(rdev, text: str) -> None:
    """Commit something in the pod, as a person does."""
    done = rdev("shell", "shop", f"echo {text} >{text}.txt && git add . && git -c user.name=u -c user.email=u@x commit -qm {text}")
    assert done.returncode == 0, done.stderr


@contextmanager
def _stopped(home: Mapping[str, str], step: int, *words: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Run rdev up to a step and hold it there; the block lets it go on."""
    argv = [sys.executable, str(SUPPORT / "struck.py"), str(step), "SIGSTOP", "--", *words]
    process = subprocess.Popen(argv, env=dict(home), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        _until(lambda: Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T")
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=PATIENCE)


def _killed(home: Mapping[str, str], step: int, *words: str) -> int:
    argv = [sys.executable, str(SUPPORT / "struck.py"), str(step), "SIGKILL", "--", *words]
    done = subprocess.run(argv, env=dict(home), capture_output=True, timeout=PATIENCE, check=False, stdin=subprocess.DEVNULL)
    assert b"Traceback" not in done.stderr, done.stderr.decode()
    return done.returncode


@pytest.fixture
def agent(rdev, project) -> str:
    """A project, and an agent for it that is quick and does what its prompt says."""
    assert rdev("context", "set", "local", "--agent-path", f"claude={SUPPORT / 'claude'}").returncode == 0
    return project


# a command that is only just starting; 1: before its record, 2: the record is there, and no runner yet


def test_t_saga_4_a_command_that_is_only_just_starting_is_not_lost_to_whoever_looks(rdev, home, project):
    with _stopped(home, 2, "exec", project, "--", "sh", "-c", "echo ran; exit 3") as starting:
        seen = rdev("ps", "-o", "name").stdout.decode().strip()
        assert json.loads(rdev("command", "show", seen, "-o", "json").stdout)["state"] == "running"
        starting.send_signal(signal.SIGCONT)
        assert starting.communicate(timeout=PATIENCE) == (b"ran\n", b"")
        assert starting.returncode == 3
    assert [(one["id"], one["state"], one["exit_code"]) for one in _commands(rdev)] == [(seen, "failed", 3)]


def test_a_command_whose_starter_was_killed_is_lost_at_once(rdev, home, project):
    assert _killed(home, 2, "exec", project, "--", "true") == -signal.SIGKILL
    assert rdev("ps", "-o", "name").stdout == b""
    (lost,) = _commands(rdev)
    assert lost["state"] == "lost"
    attached = rdev("command", "attach", lost["id"])
    assert (attached.returncode, attached.stdout) == (74, b"")
    assert b"outcome cannot be known" in attached.stderr


def test_t_saga_4_a_command_that_comes_after_the_delete_finds_no_project(rdev, home, project):
    with _stopped(home, 1, "exec", "-o", "json", project, "--", "true") as starting:
        assert rdev("project", "delete", project, "--yes").returncode == 0
        starting.send_signal(signal.SIGCONT)
        _, err = starting.communicate(timeout=PATIENCE)
    assert (starting.returncode, json.loads(err)["error"]["code"]) == (125, "NOT_FOUND")


def _stopped_between_two_looks(process, home) -> None:
    """Stop a follower where it holds nothing of the state: in the middle of a look it would keep everybody else from writing."""
    end = time.monotonic() + PATIENCE
    while True:
        process.send_signal(signal.SIGSTOP)
        _until(lambda: Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T")
        with contextlib.closing(sqlite3.connect(_local(home) / "state.db", timeout=0, isolation_level=None)) as connection:
            try:
                connection.execute("begin exclusive")
                connection.execute("rollback")
            except sqlite3.OperationalError:
                assert time.monotonic() < end
            else:
                return
        process.send_signal(signal.SIGCONT)
        time.sleep(0.02)


def test_t_saga_4_an_exec_whose_project_is_gone_when_it_looks_again_ends_74(rdev, spawn, home, project):
    process = spawn("exec", project, "--", "sh", "-c", "echo up; exec sleep 600")
    assert process.stdout.readline() == b"up\n"
    _stopped_between_two_looks(process, home)
    assert rdev("project", "delete", project, "--yes").returncode == 0
    process.send_signal(signal.SIGCONT)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 74
    assert b"forgotten with its project" in err
    assert b"hint:" in err


def test_t_saga_4_exec_and_delete_at_once_leave_nothing_that_runs(rdev, spawn, home, project, left_behind):
    marker = f"marker{os.getpid()}x{time.monotonic_ns()}"
    line = f"sleep 600; : {marker}"
    execs = [spawn("exec", project, "--", "sh", "-c", line) for _ in range(3)]
    delete = spawn("project", "delete", project, "--yes")
    delete.communicate(timeout=PATIENCE)
    assert delete.returncode == 0
    for process in execs:
        process.communicate(timeout=PATIENCE)
        assert process.returncode in (74, 125, 130)
    assert left_behind(marker) == []
    assert [p.name for part in ("repos", "pods", "spool") for p in (_local(home) / part).glob("*")] == []


# a runner that was killed itself


@pytest.mark.parametrize("ends", ["command", "project"])
def test_what_a_killed_runner_left_is_ended_by_whoever_looks_and_by_delete(rdev, home, project, left_behind, ends):
    marker = f"marker{os.getpid()}x{time.monotonic_ns()}"
    trap = "trap '' TERM; " if ends == "command" else ""
    line = f"{trap}echo up; while :; do sleep 0.1; done; : {marker}"
    id = rdev("exec", "--no-wait", project, "--", "sh", "-c", line).stdout.decode().strip()
    _until(lambda: rdev("command", "output", id).stdout)
    os.kill(int((_local(home) / "spool" / id / "pid").read_text().split()[0]), signal.SIGKILL)
    assert left_behind(marker, 0) != []
    if ends == "command":
        cancelled = rdev("command", "cancel", id, "-o", "json")
        assert json.loads(cancelled.stdout)["state"] == "lost"
    else:
        assert rdev("project", "delete", project, "--yes").returncode == 0
    assert left_behind(marker) == []  # the runner's own shells leave a moment later


def test_an_exec_whose_runner_s_folder_vanished_ends_74_and_leaves_nothing(rdev, spawn, home, project, left_behind):
    marker = f"marker{os.getpid()}x{time.monotonic_ns()}"
    process = spawn("exec", project, "--", "sh", "-c", f"echo up; sleep 600; : {marker}")
    assert process.stdout.readline() == b"up\n"
    shutil.rmtree(_local(home) / "spool" / rdev("ps", "-o", "name").stdout.decode().strip())
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 74
    assert b"outcome cannot be known" in err
    assert left_behind(marker) == []


# pods that are made again


def test_t_saga_4_several_commands_that_find_no_pod_make_one_and_all_see_its_files(rdev, spawn, home, project):
    shutil.rmtree(_pod(rdev, home))
    several = [spawn("exec", project, "--", "cat", "README.md") for _ in range(3)]
    answers = [process.communicate(timeout=PATIENCE) for process in several]
    assert [process.returncode for process in several] == [0, 0, 0], answers
    assert len({out for out, _ in answers}) == 1
    assert sum(b"made again" in err for _, err in answers) == 1


@pytest.mark.parametrize("part", [0, 1])
def test_t_saga_1_a_pod_whose_revival_was_killed_at_a_step_is_whole_for_the_next_command(rdev, home, project, part):
    """Every second step, in two shares: between two of them at most one thing was left outside."""
    pod, reached = _pod(rdev, home), 0
    for step in range(1 + 2 * part, 1000, 4):
        shutil.rmtree(pod)
        code = _killed(home, step, "exec", project, "--", "true")
        if code == 0:
            break
        assert code == -signal.SIGKILL
        again = rdev("exec", project, "--", "sh", "-c", "git status --porcelain && git log --format=%s")
        assert (again.returncode, again.stdout) == (0, b"Create shop from the skeleton\n"), (step, again)
        reached = step
    assert reached > 15
    assert rdev("project", "sync", project).returncode == 0
    assert list((_local(home) / "spool").glob("run_*")) == []


def test_t_saga_1_create_from_a_source_killed_at_a_step_completes_when_typed_again(rdev, home, tmp_path):
    """Every eleventh step: those that the source adds are few, and the others are struck one by one where nothing is taken over."""
    source = tmp_path / "mine"
    source.mkdir()
    _git(source, "init", "-q", "-b", "main")
    (source / "a.txt").write_text("one")
    _git(source, "add", ".")
    _git(source, "commit", "-qm", "first")
    reached = 0
    for step in range(2, 1000, 11):
        shutil.rmtree(home["XDG_STATE_HOME"], ignore_errors=True)
        code = _killed(home, step, "project", "create", "shop", "--from", str(source))
        if code == 0:
            break
        assert rdev("project", "create", "shop", "--from", str(source)).returncode == 0, step
        assert rdev("git", "shop", "--", "log", "--format=%s").stdout == b"first\n"
        reached = step
    assert reached > 25


@pytest.mark.parametrize("part", [0, 1])
def test_t_saga_1_an_agent_s_run_killed_at_a_step_is_settled_and_the_next_one_works(rdev, home, agent, part):
    """Every fifth step, in two shares: a run has many that are alike, and each costs two runs."""
    reached = 0
    for step in range(1 + 5 * part, 1000, 10):
        code = _killed(home, step, "claude", agent, f"page {step}")
        if code == 0:
            break
        assert code == -signal.SIGKILL
        _until(lambda: rdev("ps", "-o", "name").stdout == b"")  # it goes to its own end, seen or not
        again = rdev("claude", agent, f"again {step}")
        assert again.returncode == 0, (step, again.stderr.decode())
        reached = step
    assert reached > 20
    assert rdev("project", "sync", agent).returncode == 0
    repository = Path(_project(rdev)["repository"])
    commits = _git(repository, "log", "--format=%H %(trailers:key=Rdev-Command,valueonly,separator=)", "main").splitlines()
    made = dict(line.split() for line in commits if " cmd_" in line)
    known = {one["commit"]: one["id"] for one in _commands(rdev) if one["state"] == "completed"}
    assert made == known
    assert {one["delivered"] for one in _commands(rdev) if one["commit"]} == {"main"}
    assert _git(repository, "for-each-ref", "--format=%(refname)") == "refs/heads/main"
    assert list(repository.glob("tmp*")) == []
    assert list((_local(home) / "spool").glob("run_*")) == []


# commits


def test_a_commit_that_was_delivered_but_not_recorded_is_named_by_whoever_looks_next(rdev, home, agent, tmp_path):
    id = rdev("claude", agent, "add a page", "--no-wait").stdout.decode().strip()
    _until((_local(home) / "spool" / id / "exit").exists)
    world = Services(environ=home, cwd=tmp_path)
    try:  # as far as one came that was killed before the record
        sha, where = workspaces.deliver(world, world.store.find_project(agent), id)
    finally:
        world.close()
    assert where.branch == "main"
    shown = json.loads(rdev("command", "show", id, "-o", "json").stdout)
    assert (shown["state"], shown["commit"], shown["delivered"]) == ("completed", sha, "main")


def test_what_killed_deliveries_left_is_swept_by_the_next_run(rdev, home, agent):
    repository, pod = Path(_project(rdev)["repository"]), _pod(rdev, home)
    (repository / "incoming-abc" / "objects" / "pack").mkdir(parents=True)
    left = _local(home) / "spool" / f"run_{pod.name[-8:]}_abc"
    left.mkdir(parents=True)
    os.utime(left, (0, 0))  # nobody is just starting there
    assert rdev("claude", agent, "add a page").returncode == 0
    assert not list(repository.glob("incoming*"))
    assert _git(repository, "for-each-ref", "--format=%(refname)") == "refs/heads/main"
    assert not list((_local(home) / "spool").glob("run_*"))


def test_a_run_that_changed_nothing_reports_no_commit_after_a_force_push(rdev, agent, tmp_path):
    _commit(rdev, "mine")
    assert rdev("project", "sync", agent).returncode == 0
    _push(rdev, tmp_path, "instead", force=True)
    done = rdev("claude", agent, "do nothing")
    assert done.returncode == 0, done.stderr
    assert b"both moved on" in done.stderr
    assert b"nothing was committed" in done.stderr
    assert _git(Path(_project(rdev)["repository"]), "for-each-ref", "--format=%(refname)") == "refs/heads/main"


def test_work_that_no_rdev_checked_out_is_never_overwritten(rdev, agent):
    rdev("shell", agent, "rm -rf .git; echo MINE >CLAUDE.md")
    refused = rdev("claude", agent, "add a page", "-o", "json")
    assert (refused.returncode, _error(refused)["code"]) == (5, "WORKTREE_FOREIGN")
    assert rdev("exec", agent, "--", "cat", "CLAUDE.md").stdout == b"MINE\n"
    typed = _error(refused)["hint"].partition(" puts them aside")[0]
    assert rdev(*shlex.split(typed)[1:]).returncode == 0
    assert rdev("claude", agent, "add a page").returncode == 0
    assert rdev("shell", agent, "cat ~/kept/CLAUDE.md; git log --format=%s").stdout == b"MINE\nadd a page\nCreate shop from the skeleton\n"


# repository and work tree


def test_newer_commits_are_told_before_a_command_and_brought_in_by_sync(rdev, project, tmp_path):
    sha = _push(rdev, tmp_path, "colleague")
    for words in (("exec", project, "--", "true"), ("shell", project, "true"), ("git", project, "--", "status", "-s")):
        done = rdev(*words)
        assert done.returncode == 0
        assert f"newer commits ({sha[:10]}); rdev project sync shop" in done.stderr.decode()
    assert f"commit      {sha[:10]}" in rdev("project", "status", project).stdout.decode()
    synced = rdev("project", "sync", project, "-o", "json")
    assert json.loads(synced.stdout) == {"brought_in": True, "commit": sha, "delivered": False, "project": project}
    done = rdev("exec", project, "--", "cat", "colleague.txt")
    assert (done.stdout, done.stderr) == (b"colleague", b"")
    assert json.loads(rdev("project", "status", project, "-o", "json").stdout)["pod_head"] == sha
    assert b"both stood there" in rdev("project", "sync", project).stdout


def test_sync_brings_the_work_tree_s_own_commits_to_the_repository(rdev, project):
    _commit(rdev, "mine")
    synced = json.loads(rdev("project", "sync", project, "-o", "json").stdout)
    assert (synced["brought_in"], synced["delivered"]) == (False, True)
    assert _git(Path(_project(rdev)["repository"]), "rev-parse", "main") == synced["commit"]
    assert rdev("exec", project, "--", "true").stderr == b""


def test_sync_refuses_where_both_moved_on_and_the_hint_joins_them(rdev, project, tmp_path):
    _commit(rdev, "mine")
    theirs = _push(rdev, tmp_path, "theirs")
    for _ in range(2):
        refused = rdev("project", "sync", project, "-o", "json")
        assert (refused.returncode, _error(refused)["code"]) == (5, "DIVERGED")
    assert "merge refs/rdev/forge" in _error(refused)["hint"]
    assert _git(Path(_project(rdev)["repository"]), "rev-parse", "main") == theirs
    merged = rdev("git", project, "--", "-c", "user.name=u", "-c", "user.email=u@x", "merge", "-q", "--no-edit", "refs/rdev/forge")
    assert merged.returncode == 0, merged.stderr
    assert json.loads(rdev("project", "sync", project, "-o", "json").stdout)["delivered"] is True
    assert _git(Path(_project(rdev)["repository"]), "log", "--format=%s", "-1", "main").startswith("Merge")


def test_sync_refuses_where_changed_files_are_in_the_way_and_leaves_them(rdev, project, tmp_path):
    rdev("shell", project, "echo MINE >README.md")
    _push(rdev, tmp_path, "theirs", file="README.md")
    refused = rdev("project", "sync", project, "-o", "json")
    assert (refused.returncode, _error(refused)["code"]) == (5, "WORKTREE_DIRTY")
    assert rdev("exec", project, "--", "cat", "README.md").stdout == b"MINE\n"
    assert rdev("git", project, "--", "stash", "-u").returncode == 0
    assert rdev("project", "sync", project).returncode == 0
    assert rdev("exec", project, "--", "cat", "README.md").stdout == b"theirs"


def test_sync_waits_for_no_agent_and_names_the_one_at_work(rdev, spawn, home, agent):
    process = spawn("claude", agent, "please wait")
    workspace = _pod(rdev, home) / "workspace"
    _until((workspace / "page.txt").exists)
    refused = rdev("project", "sync", agent, "-o", "json")
    assert (refused.returncode, _error(refused)["code"]) == (5, "BUSY")
    assert _error(refused)["context"]["command"].startswith("cmd_")
    (workspace / "go").touch()
    assert process.wait(PATIENCE) == 0


# output that was cut


def test_output_that_a_full_disk_cut_is_told_by_whoever_shows_it(home, tmp_path):
    """The state is a small file system of its own for this, so the commands run without a sandbox around them."""
    script = """
        state=$2; set -- "$1"
        "$1" context set local --isolation none >/dev/null && "$1" project create shop >/dev/null 2>&1 && "$1" exec shop -- true || exit
        head -c 1000000 /dev/zero >"$state/ballast"
        "$1" exec shop -- head -c 9000000 /dev/zero 2>exec >/dev/null; echo $?
        rm "$state/ballast"
        id=$("$1" command list --limit 1 -o name 2>/dev/null)
        "$1" command attach "$id" 2>attach >/dev/null; echo $?
        "$1" command output "$id" 2>output >/dev/null; "$1" logs shop 2>logs >/dev/null; "$1" command show "$id" >show"""
    state = Path(home["XDG_STATE_HOME"])
    state.mkdir()
    front = [sandbox.find_bubblewrap(), "--dev-bind", "/", "/", "--size", str(8 << 20), "--tmpfs", str(state)]
    argv = [*front, "sh", "-c", script, "sh", str(Path(sys.executable).with_name("rdev")), str(state)]
    ran = subprocess.run(argv, env=dict(home), cwd=tmp_path, capture_output=True, timeout=PATIENCE, check=False)
    assert ran.stdout == b"74\n0\n", ran
    said = (tmp_path / "exec").read_bytes()
    assert b"has ended, but that cannot be recorded" in said
    assert b"rdev command attach cmd_" in said
    for name in ("attach", "output", "logs"):
        assert b"its output was cut" in (tmp_path / name).read_bytes(), name
    assert b", cut\n" in (tmp_path / "show").read_bytes()
