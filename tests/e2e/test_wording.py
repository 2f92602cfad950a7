"""What rdev tells a person: that it is true, that it can be typed, and that it fits the terminal."""

import json
import os
import pty
import re
import select
import shlex
import signal
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from rdev_cli.domain.errors import Invalid
from rdev_cli.domain.values import CommandId
from rdev_cli.ops import commands, known
from rdev_cli.wiring.services import Services
from tests.e2e.test_hand import on_terminal
from tests.hostile_names import drives

Rdev = Callable[..., "subprocess.CompletedProcess[bytes]"]
Spawn = Callable[..., "subprocess.Popen[bytes]"]
SUPPORT = Path(__file__).parents[1] / "support"


@pytest.fixture
def agent(rdev: Rdev, project: str) -> str:
    """A project, and an agent for it that does what its prompt says."""
    assert rdev("context", "set", "local", "--agent-path", f"claude={SUPPORT / 'claude'}").returncode == 0
    return project


# the demo


def test_a_demo_that_is_stopped_is_130_and_promises_nothing(spawn: Spawn, rdev: Rdev, tmp_path: Path) -> None:
    program = tmp_path / "claude"
    line = json.dumps({"type": "assistant", "message": {"content": [{"type": "text", "text": "I begin."}]}})
    program.write_text(f"#!/bin/sh\ncat >/dev/null\nprintf '%s\\n' {shlex.quote(line)}\nexec sleep 600\n")
    program.chmod(0o755)
    assert rdev("context", "set", "local", "--agent-path", f"claude={program}").returncode == 0
    process = spawn("demo", "--agent", "claude")
    assert process.stdout is not None
    told = b""
    while b"I begin." not in told:
        told += process.stdout.readline()
    process.send_signal(signal.SIGINT)
    out, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"Three things" not in out
    assert b"Look at what" not in out
    assert b"gone: record" in out
    assert b"rdev git" not in said
    assert rdev("project", "list", "-o", "name").stdout == b""


def test_a_demo_without_isolation_does_not_claim_a_check_that_nobody_ran(rdev: Rdev) -> None:
    ran = rdev("demo", "--agent", "bundled", "--isolation", "none")
    assert ran.returncode == 0, ran.stderr
    assert b"Bash" not in ran.stdout
    assert b"check passes" not in ran.stdout
    assert b"an isolated place" not in ran.stdout
    assert b"2 files changed" in ran.stdout


def test_what_the_demo_types_to_look_at_the_commit_works(rdev: Rdev, home: Mapping[str, str], tmp_path: Path) -> None:
    ran = rdev("demo", "--agent", "bundled", "--keep")
    line = next(line for line in ran.stdout.decode().splitlines() if "$ git clone" in line).partition("$ ")[2]
    shown = subprocess.run(["sh", "-c", line], env=dict(home), cwd=tmp_path, capture_output=True, timeout=30, check=False)
    assert shown.returncode == 0, shown.stderr
    assert b"site/health.html" in shown.stdout


# ids


def test_an_ambiguous_beginning_names_no_command(home: Mapping[str, str], rdev: Rdev, project: str, tmp_path: Path) -> None:
    assert rdev("exec", project, "--", "true").returncode == 0
    world = Services(environ=home, cwd=tmp_path)
    (one,) = commands.list_(world).items
    two = replace(one, id=CommandId(one.id[:-1] + ("0" if one.id[-1] != "0" else "1")))
    with pytest.raises(Invalid) as alone:
        known.command(world, one.id[:-1], whole=True)
    assert one.id in alone.value.hint
    with world.store.transaction() as tx:
        tx.put_command(two)
    for whole in (True, False):
        with pytest.raises(Invalid) as raised:
            known.command(world, one.id[:-1], whole=whole)
        assert "more than one" in raised.value.message
        assert one.id not in raised.value.hint
        assert two.id not in raised.value.hint
    world.close()


# git in the pod


def test_a_commit_by_hand_has_an_author_and_the_owners_own_one_wins(rdev: Rdev, project: str) -> None:
    def author() -> str:
        made = rdev("git", project, "--", "commit", "--quiet", "--allow-empty", "-m", "x")
        assert made.returncode == 0, made.stderr
        return rdev("git", project, "--", "log", "-1", "--format=%an <%ae> %cn").stdout.decode().strip()

    assert author() == "rdev <rdev@localhost> rdev"
    assert rdev("git", project, "--", "config", "--global", "user.name", "Ada").returncode == 0
    assert author() == "Ada <rdev@localhost> Ada"
    assert rdev("git", project, "--", "config", "user.name", "Grace").returncode == 0
    assert author() == "Grace <rdev@localhost> Grace"


# an agent without a key, and a model that does not answer


def stand_in(rdev: Rdev, tmp_path: Path, *lines: str, code: int) -> None:
    """Make a claude that prints these lines of its stream."""
    program = tmp_path / "claude"
    said = "".join(f"printf '%s\\n' {shlex.quote(line)}\n" for line in lines)
    program.write_text(f"#!/bin/sh\ncat >/dev/null\n{said}exit {code}\n")
    program.chmod(0o755)
    assert rdev("context", "set", "local", "--agent-path", f"claude={program}").returncode == 0


def test_an_agent_without_a_key_is_told_where_a_key_goes(rdev: Rdev, project: str, tmp_path: Path) -> None:
    words = "Not logged in · Please run /login"
    stand_in(
        rdev, tmp_path,
        json.dumps({"type": "system", "subtype": "init", "session_id": "s"}),
        json.dumps({"type": "assistant", "message": {"content": [{"type": "text", "text": words}]}}),
        json.dumps({"type": "result", "subtype": "success", "is_error": True, "result": words}),
        code=1,
    )  # fmt: skip
    ran = rdev("claude", project, "add a page")
    assert ran.returncode == 9
    assert "hint:  rdev credential set ANTHROPIC_API_KEY (or CLAUDE_CODE_OAUTH_TOKEN" in ran.stderr.decode()
    assert (ran.stdout + ran.stderr).decode().count(words) == 2  # as it was said, and as the reason of the end
    error = json.loads(rdev("claude", project, "add a page", "-o", "json").stderr)["error"]
    assert (error["code"], error["context"]["said"]) == ("AGENT_FAILED", words)


def test_a_run_shows_its_id_at_the_start_and_each_time_the_model_is_asked_again(rdev: Rdev, project: str, tmp_path: Path) -> None:
    retry = {"type": "system", "subtype": "api_retry", "attempt": 1, "max_retries": 10, "error_status": 529, "error": "overloaded"}
    stand_in(rdev, tmp_path, json.dumps(retry), json.dumps({"type": "result", "is_error": False, "result": "done"}), code=0)
    ran = rdev("claude", project, "add a page")
    assert ran.returncode == 0, ran.stderr
    first, second, *_ = ran.stderr.decode().splitlines()
    id = rdev("command", "list", "-o", "name").stdout.decode().strip()
    assert first == f"{id} works on shop; rdev command cancel {id} ends it"
    assert second == "~ the model did not answer (529 overloaded); attempt 1 of 10"
    assert rdev("claude", project, "add a page", "-o", "json").stderr == b""


# waiting


def test_a_timeout_of_attach_and_cancel_ends_the_wait_and_not_the_command(rdev: Rdev, project: str) -> None:
    line = "trap '' TERM; echo up; until [ -e go ]; do sleep 0.1; done; exit 6"
    id = rdev("exec", "--no-wait", project, "--", "sh", "-c", line).stdout.decode().strip()
    attached = rdev("command", "attach", id, "--timeout", "1s")
    assert (attached.returncode, attached.stdout) == (124, b"up\n")
    assert f"rdev command attach {id}" in attached.stderr.decode()
    assert json.loads(rdev("command", "show", id, "-o", "json").stdout)["state"] == "running"
    cancelled = rdev("command", "cancel", id, "--timeout", "1s")
    assert cancelled.returncode == 124
    assert f"rdev command show {id}" in cancelled.stderr.decode()
    assert rdev("command", "attach", id, "--timeout", "60s").returncode == 130


def test_the_first_ctrl_c_says_that_a_second_one_leaves_at_once(spawn: Spawn, project: str) -> None:
    master, slave = pty.openpty()
    process = spawn("exec", project, "--", "sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.1; done", stderr=slave)
    os.close(slave)
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    process.send_signal(signal.SIGINT)
    said = b""
    while b"Ctrl-C again leaves at once" not in said:
        assert select.select([master], [], [], 30)[0], said
        said += os.read(master, 4096)
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 130
    os.close(master)


# foreign text


def test_a_folders_name_cannot_drive_the_terminal(rdev: Rdev, tmp_path: Path) -> None:
    folder = tmp_path / "evil\x1b[2J\u202e"
    folder.mkdir()
    (folder / ".rdev.yaml").write_text("color: red\n")
    ran = rdev("project", "list", cwd=folder)
    assert ran.returncode == 0
    assert b"is ignored" in ran.stderr
    assert drives(ran.stderr) == []


# what was meant


@pytest.mark.parametrize(
    ("typed", "hint"),
    [
        ("claude shop add a page", "rdev claude shop 'add a page'"), ("claude --model x shop add a page", "rdev claude --model x shop 'add a page'"),
        ("shell shop ls -la", "rdev shell shop 'ls -la'"), ("exec shop --tty ls", "rdev exec shop --tty -- ls"),
        ("exec --timeout 5s shop ls -l", "rdev exec --timeout 5s shop -- ls -l"), ("git shop log", "rdev git shop -- log"),
        ("-o name project list", "rdev project list -o name"), ("-v ps", "rdev ps -v"),
    ],
)  # fmt: skip
def test_words_in_the_wrong_place_are_shown_in_the_right_one(typed: str, hint: str, rdev: Rdev) -> None:
    ran = rdev(*typed.split())
    assert ran.returncode == 2
    assert ran.stderr.decode().endswith(f"\nhint:  {hint}\n")


def test_a_slip_in_an_option_is_no_reason_to_quote(rdev: Rdev) -> None:
    ran = rdev("claude", "shop", "add", "--modle", "x")
    assert b"--model" in ran.stderr
    assert b"'add" not in ran.stderr


def test_help_may_be_typed_as_a_word(rdev: Rdev) -> None:
    assert rdev("help").stdout == rdev("--help").stdout
    assert rdev("help", "project", "create").stdout == rdev("project", "create", "--help").stdout


def test_where_the_folder_names_the_project_it_may_be_left_out(rdev: Rdev, agent: str, tmp_path: Path) -> None:
    (tmp_path / ".rdev.yaml").write_text("project: shop\n")
    assert rdev("shell", "echo hello").stdout == b"hello\n"
    assert rdev("shell", agent, "echo hello").stdout == b"hello\n"
    assert rdev("claude", "add a page").returncode == 0
    assert rdev("claude", "-", input=b"add a page").returncode == 0
    for typed in (("claude", agent), ("shell", agent), ("claude",), ("shell",)):  # a project alone is no prompt
        ran = rdev(*typed)
        said = b"needs a terminal" if typed[0] == "claude" else b"no line to run"  # without a prompt it is the agent's screen
        assert (ran.returncode, said in ran.stderr) == (2, True)
    (tmp_path / ".rdev.yaml").unlink()
    assert rdev("shell", "echo hello").returncode == 2


def test_a_filter_that_matches_nothing_says_so(rdev: Rdev, project: str) -> None:
    for typed in (("events", "--after", "99"), ("events", "--subject", "other"), ("command", "list", "--project", project)):
        ran = rdev(*typed)
        assert (ran.returncode, ran.stdout, ran.stderr) == (0, b"", b"nothing matches\n"), typed


# contexts


def test_a_context_shows_what_was_set(rdev: Rdev, tmp_path: Path) -> None:
    (tmp_path / "go").mkdir()
    typed = ("context", "set", "work", "--show", "go", "--agent-path", f"claude={SUPPORT / 'claude'}", "--agent-env", "claude.LIMIT=8")
    ran = rdev(*typed)
    assert ran.returncode == 0, ran.stderr
    for line in (f"show             {tmp_path}/go", f"claude path      {SUPPORT}/claude", "claude env LIMIT  8"):
        assert " ".join(line.split()) in " ".join(ran.stdout.decode().split())
    document = json.loads(rdev("context", "show", "work", "-o", "json").stdout)
    assert document["show"] == [f"{tmp_path}/go"]
    assert document["agents"] == {"claude": {"env": {"LIMIT": "8"}, "path": f"{SUPPORT}/claude"}}


def test_what_no_sandbox_may_see_is_not_shown_to_one(rdev: Rdev, home: Mapping[str, str], tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/")
    state = f"{home['XDG_STATE_HOME']}/rdev"
    for folder in (
        "/",
        home["HOME"],
        "~",
        str(tmp_path),
        home["XDG_STATE_HOME"],
        state,
        "/nonexistent",
        "/etc/passwd",
        str(tmp_path / "link"),
    ):
        ran = rdev("context", "set", "work", "--show", folder)
        assert (ran.returncode, ran.stdout) == (2, b""), folder
        assert b"--show" in ran.stderr
    assert rdev("context", "list", "-o", "name").stdout == b"local\n"
    assert rdev("context", "set", "work", "--show", "/usr/share").returncode == 0


# narrow terminals


def screen(home: Mapping[str, str], tmp_path: Path, *typed: str, columns: int, **env: str) -> list[str]:
    """Return the lines that a terminal of that width shows."""
    code, got = on_terminal(home, tmp_path, *typed, columns=columns, **env)
    assert code == 0, got
    return got.decode().replace("\r\n", "\n").splitlines()


def test_no_word_is_broken_on_a_narrow_terminal_and_nothing_is_lost(
    rdev: Rdev, project: str, home: Mapping[str, str], tmp_path: Path
) -> None:
    assert rdev("exec", project, "--", "echo", *(f"word{number}" for number in range(9))).returncode == 0
    for typed in (("command", "list"), ("events",), ("context", "list"), ("project", "list"), ("context", "view")):
        heads = rdev(*typed).stdout.decode().splitlines()[0].split()
        shown = screen(home, tmp_path, *typed, columns=40)
        assert set(heads) <= {line.split()[0] for line in shown if line.strip()} or set(heads) <= set(shown[0].split()), (typed, shown)
        told = {word for line in shown for word in line.split()}
        lost = set(rdev(*typed).stdout.decode().split()) - told
        assert [word for word in lost if word not in ("now", "ago") and not re.fullmatch("[0-9.]+s", word)] == [], typed
        long = [line for line in shown if len(line) > 40]
        assert all(len(line.split()) <= 2 for line in long), (typed, long)  # a path, which no line can hold


def test_a_terminal_that_is_a_little_narrow_shortens_the_last_column_visibly(
    rdev: Rdev, project: str, home: Mapping[str, str], tmp_path: Path
) -> None:
    assert rdev("exec", project, "--", "echo", *(f"word{number}" for number in range(9))).returncode == 0
    head, line = screen(home, tmp_path, "command", "list", columns=80)
    assert head.split()[-1] == "COMMAND"
    assert len(line) <= 80
    assert line.endswith("...")
    assert "word8" in screen(home, tmp_path, "command", "list", "-o", "wide", columns=80)[1]
    assert "word8" in screen(home, tmp_path, "command", "list", columns=80, COLUMNS="200")[1]
    assert b"word8" in rdev("command", "list", env={"COLUMNS": "40"}).stdout


# secrets


def test_a_key_that_is_typed_is_masked_in_the_log(rdev: Rdev, project: str, tmp_path: Path) -> None:
    key = "sk-canary-0123456789"
    env = {"ANTHROPIC_API_KEY": key, "ANTHROPIC_MODEL": "echo"}
    log = tmp_path / "rdev.log"
    ran = rdev("exec", project, "-v", "--log-file", str(log), "--", "echo", f"{'x' * 190}{key}", env=env)
    assert ran.stdout.endswith(f"{key}\n".encode())
    for text in (ran.stderr.decode(), log.read_text()):
        assert "canary" not in text
        assert "•••" in text
        assert "echo" in text  # a model's name is no secret
    rdev("project", "show", f"a {key}", "--log-file", str(log), env=env)
    assert "canary" not in log.read_text()


def test_a_usage_error_of_exec_is_2_and_every_other_failure_before_the_command_125(rdev: Rdev, project: str) -> None:
    for typed, code in (
        (("exec", "--no-such-flag", project, "--", "true"), 2),
        (("exec", project), 2),
        (("exec", "nosuch", "--", "true"), 125),
        (("exec", "NOSUCH", "--", "true"), 125),
        (("exec", project, "--context", "nosuch", "--", "true"), 125),
    ):
        assert rdev(*typed).returncode == code, typed
