"""The real claude binary does what its adapter says of it, against the scripted model."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from rdev_cli.adapters.agents.claude_code import ClaudeCode
from rdev_cli.adapters.scripted import ScriptedModel, ToolCall, Turn
from rdev_cli.domain.agent import DEFAULT_TOOLS, AgentEvent, AgentEventKind, AgentTask

pytestmark = pytest.mark.agents


@pytest.fixture
def claude() -> ClaudeCode:
    folder = os.environ.get("RDEV_LAB_BIN")
    assert folder, "RDEV_LAB_BIN names the folder of the agents' binaries"
    agent = ClaudeCode(str(Path(folder) / "claude"))
    assert agent.program() is not None, f"there is no claude in {folder}"
    return agent


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    return workspace


def _start(
    claude: ClaudeCode, workspace: Path, url: str, *, model: str = "", tools: tuple[str, ...] = DEFAULT_TOOLS
) -> subprocess.Popen[bytes]:
    program = claude.program()
    assert program is not None
    return subprocess.Popen(
        claude.argv(program, AgentTask(prompt="", model=model, tools=tools)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=workspace,
        env={
            "PATH": os.defpath,
            "HOME": str(workspace.parent / "home"),
            "ANTHROPIC_BASE_URL": url,
            "ANTHROPIC_API_KEY": "any",
            **dict(claude.environment(AgentTask(prompt="", model=model, tools=tools), ())),
        },
    )


def _run(
    claude: ClaudeCode,
    workspace: Path,
    *script: Turn,
    model: str = "",
    tools: tuple[str, ...] = DEFAULT_TOOLS,
    prompt: bytes = b"write hello",
) -> tuple[int, list[AgentEvent], int]:
    with ScriptedModel(script) as server, _start(claude, workspace, server.url, model=model, tools=tools) as child:
        try:
            stdout, _ = child.communicate(prompt, timeout=60)
        finally:
            child.kill()
        requests = server.requests
    return child.returncode, [event for line in stdout.splitlines() for event in claude.parse(line)], requests


def _call(name: str, **given: str) -> ToolCall:
    return ToolCall(name=name, input=given)


def test_a_scripted_run_makes_the_file_and_tells_everything(claude: ClaudeCode, workspace: Path) -> None:
    code, events, requests = _run(
        claude,
        workspace,
        Turn(text="I write it.", tools=(_call("Write", file_path="hello.txt", content="hello\n"),)),
        Turn(tools=(_call("Bash", command="cat hello.txt; exit 3", description="look"),)),
        Turn(text="It is written."),
        model="claude-sonnet-4-5",
    )
    assert code == 0
    assert (workspace / "hello.txt").read_text() == "hello\n"
    assert requests == 3
    assert [(event.kind, event.tool, event.target) for event in events] == [
        (AgentEventKind.STARTED, "", ""),
        (AgentEventKind.SAID, "", ""),
        (AgentEventKind.USED, "Write", "hello.txt"),
        (AgentEventKind.ANSWERED, "", ""),
        (AgentEventKind.USED, "Bash", "cat hello.txt; exit 3"),
        (AgentEventKind.ANSWERED, "", ""),
        (AgentEventKind.SAID, "", ""),
        (AgentEventKind.FINISHED, "", ""),
    ]
    first, answer, last = events[0], events[5], events[-1]
    assert first.model == "claude-sonnet-4-5"
    assert answer.failed
    assert "hello" in answer.text
    assert last.text == "It is written."
    assert last.session == first.session != ""
    assert last.input_tokens > 0
    assert last.output_tokens > 0
    assert last.cost_usd > 0
    assert not last.failed


def test_a_prompt_of_any_size_comes_by_stdin(claude: ClaudeCode, workspace: Path) -> None:
    code, events, _ = _run(claude, workspace, Turn(text="Read."), prompt=b"-x " * 300_000)
    assert code == 0
    assert events[-1].text == "Read."
    assert events[-1].input_tokens > 200_000


def test_a_tool_that_was_not_given_is_not_there(claude: ClaudeCode, workspace: Path) -> None:
    code, events, _ = _run(
        claude,
        workspace,
        Turn(tools=(_call("Bash", command="touch made", description="make"),)),
        Turn(text="Tried."),
        tools=("Read", "Edit"),
    )
    assert code == 0
    assert [event.failed for event in events if event.kind is AgentEventKind.ANSWERED] == [True]
    assert not (workspace / "made").exists()


def test_a_model_that_refuses_is_a_failure_told_in_its_words(claude: ClaudeCode, workspace: Path) -> None:
    with ScriptedModel([]) as server, _start(claude, workspace, f"{server.url}/nowhere") as child:
        stdout, _ = child.communicate(b"go", timeout=60)
    events = [event for line in stdout.splitlines() for event in claude.parse(line)]
    assert child.returncode == 1
    assert events[-1].kind is AgentEventKind.FINISHED
    assert events[-1].failed
    assert events[-1].text


def test_told_to_stop_it_ends_soon_and_without_a_result(claude: ClaudeCode, workspace: Path) -> None:
    with (
        ScriptedModel([Turn(text="late", pause=60)]) as server,
        _start(claude, workspace, server.url) as child,
    ):
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(b"go")
        child.stdin.close()
        child.stdin = None
        first = claude.parse(child.stdout.readline())
        child.send_signal(signal.SIGTERM)
        stdout, _ = child.communicate(timeout=30)
    assert [event.kind for event in first] == [AgentEventKind.STARTED]
    assert child.returncode == 128 + signal.SIGTERM
    assert b'"result"' not in stdout
