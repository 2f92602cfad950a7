"""The real Claude Code in rdev's own sandbox, on the scripted model: run by `.ci/run`, with the binary in RDEV_LAB_BIN."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rdev_cli.adapters.scripted import ScriptedModel, ToolCall, Turn

pytestmark = pytest.mark.agents

EDITS = (
    Turn(
        text="I write the page.",
        tools=(ToolCall(name="Write", input={"file_path": "site/about.html", "content": "<title>about</title></html>\n"}),),
    ),
    Turn(tools=(ToolCall(name="Read", input={"file_path": "README.md"}),)),
    Turn(tools=(ToolCall(name="Edit", input={"file_path": "README.md", "old_string": "# shop\n", "new_string": "# the shop\n"}),)),
    Turn(text="Both are done."),
)
SLEEPS = (
    Turn(text="This takes long.", tools=(ToolCall(name="Bash", input={"command": "touch began; while :; do sleep 1; done"}),)),
    Turn(text="Over."),
)


@pytest.fixture
def claude(rdev, project) -> str:
    """A project whose agent is the real binary; a machine without it fails."""
    binary = Path(os.environ["RDEV_LAB_BIN"]) / "claude"
    set_ = rdev("context", "set", "local", "--agent-path", f"claude={binary}")
    assert set_.returncode == 0, set_.stderr
    return project


@pytest.fixture
def model() -> Iterator[Callable[..., dict[str, str]]]:
    """Start a scripted model; return the environment that leads an agent to it."""
    started: list[ScriptedModel] = []

    def start(script) -> dict[str, str]:
        one = ScriptedModel(script)
        one.__enter__()
        started.append(one)
        return {"ANTHROPIC_BASE_URL": one.url, "ANTHROPIC_API_KEY": "canary-of-a-key"}

    yield start
    for one in started:
        one.close()


def _until(done: Callable[[], object], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


def _workspace(rdev, home) -> Path:
    pod = json.loads(rdev("project", "show", "shop", "-o", "json").stdout)["pod"]
    return Path(home["XDG_STATE_HOME"]) / "rdev" / "local" / "pods" / pod / "workspace"


def _inside(workspace: Path) -> list[str]:
    """The processes whose working directory is the pod's work tree, seen from outside."""
    found = []
    for link in Path("/proc").glob("[0-9]*/cwd"):
        try:
            if os.readlink(link).startswith(str(workspace)):
                found.append(link.parent.name)
        except OSError:
            continue
    return found


def test_it_edits_files_and_rdev_commits_and_shows_the_diff(rdev, claude, model, home):
    done = rdev("claude", claude, "add an about page and rename the shop", env=model(EDITS), timeout=120)
    assert done.returncode == 0, done.stderr
    text = done.stdout.decode()
    assert "Both are done." in text
    assert "site/about.html" in text
    assert "2 files changed" in text
    assert b"> Edit" in done.stderr
    shown = rdev("git", claude, "--", "show", "--format=%an|%s|%b").stdout.decode()
    assert shown.startswith("rdev|add an about page and rename the shop|Rdev-Command: cmd_")
    assert "+# the shop" in shown
    for path in Path(home["XDG_STATE_HOME"]).rglob("*"):
        if path.is_file():
            assert b"canary-of-a-key" not in path.read_bytes(), path


def test_a_program_gets_tokens_session_and_typed_events(rdev, claude, model):
    answer = json.loads(rdev("claude", claude, "add an about page", "-o", "json", env=model(EDITS), timeout=120).stdout)
    assert (answer["state"], answer["exit_code"], answer["delivered"]) == ("completed", 0, "main")
    assert answer["input_tokens"] > 0
    assert answer["output_tokens"] > 0
    assert answer["session"]
    kinds = [e["kind"] for e in json.loads(rdev("events", "--subject", answer["id"], "-o", "json").stdout)["items"]]
    assert kinds.count("agent.used") == 3
    assert kinds.count("agent.finished") == 1


def test_t_exec_8_a_cancel_in_mid_run_leaves_no_process(rdev, spawn, claude, model, home):
    process = spawn("claude", claude, "work for long", env=model(SLEEPS))
    workspace = _workspace(rdev, home)
    _until((workspace / "began").exists)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    _until(lambda: not _inside(workspace), 10)
    assert json.loads(rdev("command", "list", "-o", "json").stdout)["items"][0]["state"] == "cancelled"
    assert b"began" in rdev("git", claude, "--", "status", "--porcelain").stdout


def test_t_exec_7_after_a_killed_client_attach_replays_every_byte_and_the_work_is_committed(rdev, spawn, claude, model, home):
    script = (
        *EDITS[:1],
        Turn(tools=(ToolCall(name="Bash", input={"command": "touch began; until [ -e go ]; do sleep 0.1; done; rm go began"}),)),
        EDITS[-1],
    )
    process = spawn("claude", claude, "add an about page", env=model(script))
    workspace = _workspace(rdev, home)
    _until((workspace / "began").exists)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=30)
    id = rdev("ps", "-o", "name").stdout.decode().strip()
    early = rdev("command", "output", id).stdout
    (workspace / "go").touch()
    attached = rdev("command", "attach", id, timeout=120)
    assert attached.returncode == 0, attached.stderr
    assert b"Both are done." in attached.stdout
    whole = rdev("command", "output", id).stdout
    assert whole.startswith(early)
    assert whole == b"".join(rdev("command", "output", id, "--offset", str(at)).stdout[:4096] for at in range(0, len(whole), 4096))
    lines = [json.loads(line) for line in whole.splitlines()]
    assert (lines[0]["type"], lines[-1]["type"]) == ("system", "result")
    assert b"site/about.html" in rdev("git", claude, "--", "show", "--stat").stdout
    _until(lambda: not _inside(workspace), 10)  # the runner's own shells leave a moment after its record


def test_t_exec_9_a_time_limit_ends_it_with_124(rdev, claude, model):
    done = rdev("claude", claude, "work for long", "--timeout", "6s", env=model(SLEEPS), timeout=120)
    assert done.returncode == 124, done.stderr


def test_the_demo_uses_it_and_the_doctor_proves_it_from_inside(rdev, claude):
    demo = rdev("demo", "-o", "json", timeout=120)
    answer = json.loads(demo.stdout)
    assert (demo.returncode, answer["agent"], answer["command"]["delivered"]) == (0, "claude", "main")
    checks = {c["name"]: c for c in json.loads(rdev("doctor", "-o", "json").stdout)["items"]}
    assert checks["agent.claude"]["verdict"] == "ok"
    assert "Claude Code" in checks["agent.claude"]["found"]


def test_a_model_that_refuses_is_an_agent_that_failed(rdev, claude, tmp_path):
    env = {"ANTHROPIC_BASE_URL": "http://127.0.0.1:9", "ANTHROPIC_API_KEY": "x"}
    done = rdev("claude", claude, "anything", "--timeout", "20s", env=env, timeout=120)
    assert done.returncode in (9, 124), done.stderr
    assert b"error:" in done.stderr


# OpenCode: the same promises


@pytest.fixture
def opencode(rdev, project) -> str:
    """A project whose agent is the real OpenCode; a machine without it fails."""
    binary = Path(os.environ["RDEV_LAB_BIN"]) / "opencode"
    set_ = rdev("context", "set", "local", "--agent-path", f"opencode={binary}", "--agent-model", "opencode=anthropic/claude-sonnet-4-5")
    assert set_.returncode == 0, set_.stderr
    assert rdev("project", "set", project, "--agent", "opencode").returncode == 0
    return project


def test_opencode_edits_files_and_rdev_commits_counts_and_goes_on(rdev, opencode, model):
    env = model(EDITS)
    done = rdev("agent", "run", opencode, "add an about page", "-o", "json", env=env, timeout=180)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert (answer["agent"], answer["state"], answer["delivered"], answer["answer"]) == ("opencode", "completed", "main", "Both are done.")
    assert answer["session"].startswith("ses_")
    assert answer["input_tokens"] > answer["output_tokens"] > 0
    assert b"site/about.html" in rdev("git", opencode, "--", "show", "--stat").stdout
    events = json.loads(rdev("events", "--subject", answer["id"], "-o", "json").stdout)["items"]
    kinds = [e["kind"] for e in events]
    assert (kinds.count("agent.started"), kinds.count("agent.used"), kinds.count("agent.finished")) == (1, 3, 1)
    assert sum(e["data"].get("input_tokens", 0) for e in events if e["kind"] == "agent.spent") == answer["input_tokens"]
    again = rdev("agent", "run", opencode, "once more", "--resume", "-o", "json", env=env, timeout=180)
    assert json.loads(again.stdout)["session"] == answer["session"]
    used = json.loads(rdev("agent", "usage", "-o", "json").stdout)["items"]
    assert [(u["agent"], u["runs"]) for u in used] == [("opencode", 2)]


def test_t_exec_8_a_cancel_of_opencode_in_mid_run_leaves_no_process(rdev, spawn, opencode, model, home):
    process = spawn("agent", "run", opencode, "work for long", env=model(SLEEPS))
    workspace = _workspace(rdev, home)
    _until((workspace / "began").exists)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    _until(lambda: not _inside(workspace), 10)
    assert json.loads(rdev("command", "list", "-o", "json").stdout)["items"][0]["state"] == "cancelled"


def test_opencode_gets_no_tool_that_it_was_not_given(rdev, opencode, model):
    env = model((Turn(tools=(ToolCall(name="Bash", input={"command": "touch ran"}),)), Turn(text="Over.")))
    done = rdev("agent", "run", opencode, "try it", "--tools", "Read,Grep", env=env, timeout=180)
    assert done.returncode == 0, done.stderr
    assert rdev("exec", opencode, "--", "test", "-e", "ran").returncode == 1


def test_claude_goes_on_with_its_conversation_and_gets_no_other_tool(rdev, claude, model):
    env = model((Turn(tools=(ToolCall(name="Bash", input={"command": "touch ran"}),)), Turn(text="Over.")))
    first = json.loads(rdev("claude", claude, "one", "--tools", "Read", "-o", "json", env=env, timeout=120).stdout)
    again = json.loads(rdev("claude", claude, "two", "--tools", "Read", "--resume", "-o", "json", env=env, timeout=120).stdout)
    assert again["session"] == first["session"]
    assert again["input_tokens"] > first["input_tokens"]  # it was told the first part again
    assert rdev("exec", claude, "--", "test", "-e", "ran").returncode == 1


def test_every_real_agent_is_proved_from_inside(rdev, claude, opencode):
    checks = {c["name"]: c for c in json.loads(rdev("agent", "health", "-o", "json").stdout)["items"]}
    assert {name: checks[name]["verdict"] for name in ("agent.claude", "agent.opencode")} == {"agent.claude": "ok", "agent.opencode": "ok"}


def test_t_exec_9_a_time_limit_ends_opencode_with_124(rdev, opencode, model):
    done = rdev("agent", "run", opencode, "work for long", "--timeout", "20s", env=model(SLEEPS), timeout=120)
    assert done.returncode == 124, done.stderr


def test_t_exec_7_after_a_killed_client_opencode_works_on_and_attach_replays_it(rdev, spawn, opencode, model, home):
    script = (
        *EDITS[:1],
        Turn(tools=(ToolCall(name="Bash", input={"command": "touch began; until [ -e go ]; do sleep 0.1; done; rm go began"}),)),
        EDITS[-1],
    )
    process = spawn("agent", "run", opencode, "add an about page", env=model(script))
    workspace = _workspace(rdev, home)
    _until((workspace / "began").exists)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=30)
    id = rdev("ps", "-o", "name").stdout.decode().strip()
    (workspace / "go").touch()
    attached = rdev("command", "attach", id, timeout=120)
    assert (attached.returncode, b"Both are done." in attached.stdout) == (0, True), attached.stderr
    assert b"site/about.html" in rdev("git", opencode, "--", "show", "--stat").stdout
