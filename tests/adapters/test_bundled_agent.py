"""The bundled agent, run as a program of its own against the scripted model."""

import http.server
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from rdev_cli.adapters.agents import bundled
from rdev_cli.adapters.agents.claude_code import ClaudeCode
from rdev_cli.adapters.agents.registry import Bundled, KnownAgents
from rdev_cli.adapters.scripted import ScriptedModel, ToolCall, Turn
from rdev_cli.domain.agent import DEFAULT_TOOLS, AgentEvent, AgentEventKind, AgentTask
from rdev_cli.domain.errors import NotFound

KEY = "sk-of-the-agent"


def _argv(model: str = "", tools: Sequence[str] = DEFAULT_TOOLS) -> tuple[str, ...]:
    agent = Bundled()
    program = agent.program()
    assert program is not None
    return agent.argv(program, AgentTask(prompt="", model=model, tools=tuple(tools)))


def _environment(url: str, **more: str) -> dict[str, str]:
    return {"PATH": os.defpath, "ANTHROPIC_BASE_URL": url, "ANTHROPIC_API_KEY": KEY, **more}


def _run(
    workspace: Path, environment: dict[str, str], argv: tuple[str, ...] = (), prompt: bytes = b"go"
) -> tuple[subprocess.CompletedProcess[bytes], list[AgentEvent]]:
    ran = subprocess.run(argv or _argv(), input=prompt, capture_output=True, cwd=workspace, env=environment, timeout=60, check=False)
    return ran, [event for line in ran.stdout.splitlines() for event in Bundled().parse(line)]


def _play(workspace: Path, *calls: ToolCall, tools: Sequence[str] = DEFAULT_TOOLS) -> list[AgentEvent]:
    """Have the agent use tools, and return what they answered."""
    with ScriptedModel([Turn(tools=calls), Turn(text="That was it.")]) as model:
        ran, events = _run(workspace, _environment(model.url), _argv(tools=tools))
    assert (ran.returncode, ran.stderr) == (0, b"")
    return [event for event in events if event.kind is AgentEventKind.ANSWERED]


def _call(name: str, **given: Any) -> ToolCall:
    return ToolCall(name=name, input=given)


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    return workspace


def test_it_does_what_the_model_says_and_tells_it_as_claude_does(workspace: Path) -> None:
    script = [
        Turn(text="I write it.", tools=(_call("Write", file_path="a/b.txt", content="hellö\r\n"),)),
        Turn(text="It is written."),
    ]
    with ScriptedModel(script) as model:
        ran, events = _run(workspace, _environment(model.url), _argv(model="some-model"))
        assert model.requests == 2
    assert (ran.returncode, ran.stderr) == (0, b"")
    assert (workspace / "a" / "b.txt").read_bytes() == "hellö\r\n".encode()
    assert [(event.kind, event.tool, event.target, event.text) for event in events] == [
        (AgentEventKind.STARTED, "", "", ""),
        (AgentEventKind.SAID, "", "", "I write it."),
        (AgentEventKind.USED, "Write", "a/b.txt", ""),
        (AgentEventKind.ANSWERED, "", "", "wrote a/b.txt"),
        (AgentEventKind.SAID, "", "", "It is written."),
        (AgentEventKind.FINISHED, "", "", "It is written."),
    ]
    first, last = events[0], events[-1]
    assert first.model == "some-model"
    assert first.session == last.session != ""
    assert last.input_tokens > 0
    assert last.output_tokens > 0
    assert not last.failed


def test_it_reads_and_edits_what_is_there(workspace: Path) -> None:
    (workspace / "a").write_bytes(b"one two\r\ntwo\n")
    answers = _play(
        workspace,
        _call("Edit", file_path="a", old_string="two", new_string="x"),
        _call("Edit", file_path="a", old_string="one", new_string="1"),
        _call("Edit", file_path="a", old_string="two", new_string="2", replace_all=True),
        _call("Edit", file_path="a", old_string="", new_string="x"),
        _call("Read", file_path=str(workspace / "a")),
    )
    assert [answer.failed for answer in answers] == [True, False, False, True, False]
    assert "2 times" in answers[0].text
    assert answers[4].text == "1 2\r\n2\n"


@pytest.mark.parametrize("name", ["../out", "link/out", "{outside}/out", "a/../../out", "", "a\0b"])
def test_files_outside_of_the_workspace_are_refused(workspace: Path, name: str) -> None:
    (workspace / "link").symlink_to(workspace.parent)
    (workspace.parent / "out").write_text("theirs")
    name = name.format(outside=workspace.parent)
    answers = _play(
        workspace,
        _call("Read", file_path=name),
        _call("Write", file_path=name, content="mine"),
        _call("Edit", file_path=name, old_string="theirs", new_string="mine"),
    )
    assert [answer.failed for answer in answers] == [True] * 3
    assert (workspace.parent / "out").read_text() == "theirs"


def test_a_tool_used_wrongly_is_an_answer_and_no_end(workspace: Path) -> None:
    os.mkfifo(workspace / "fifo")
    (workspace / "binary").write_bytes(b"\xff")
    (workspace / "kept").write_text("kept")
    answers = _play(
        workspace,
        _call("Read", file_path="nowhere"),
        _call("Read", file_path="fifo"),
        _call("Write", file_path="fifo", content="x"),
        _call("Read", file_path="binary"),
        _call("Write", file_path=".", content="x"),
        _call("Write", file_path="kept", content="\ud800"),
        _call("Write", file_path=5),
        _call("Nothing"),
        _call("Bash", command="echo out; echo err >&2; exit 3"),
    )
    assert [answer.failed for answer in answers] == [True] * 9
    assert "there is no tool Nothing" in answers[7].text
    assert answers[8].text.split("\n") == ["out", "err", "", "exit code 3"]
    assert (workspace / "kept").read_text() == "kept"


def test_tools_that_were_not_given_cannot_be_used(workspace: Path) -> None:
    (answer,) = _play(workspace, _call("Bash", command="touch made"), tools=("Read", "Write", "Glob"))
    assert answer.failed
    assert not (workspace / "made").exists()


def test_what_it_runs_does_not_see_the_key(workspace: Path) -> None:
    (answer,) = _play(workspace, _call("Bash", command="env"))
    assert "PATH=" in answer.text
    assert KEY not in answer.text


def test_what_a_command_leaves_in_the_background_ends_with_it(workspace: Path) -> None:
    began = time.monotonic()
    (answer,) = _play(workspace, _call("Bash", command="sleep 600 & echo $!"))
    assert time.monotonic() - began < 30
    assert _gone(int(answer.text))


def test_a_command_that_prints_without_end_is_kept_to_a_bound(workspace: Path) -> None:
    (answer,) = _play(workspace, _call("Bash", command="head -c 50000000 /dev/zero | tr '\\0' x; echo end >&2"))
    assert not answer.failed
    assert answer.text.startswith("xxx")


def test_a_command_that_does_not_end_is_ended(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workspace)
    monkeypatch.setattr(bundled, "BASH_SECONDS", 0.2)
    with pytest.raises(bundled.Wrong, match="started\n\nended after"):
        bundled.bash({"command": "echo started; sleep 600"})


def test_stopping_it_ends_the_command_that_it_runs(workspace: Path) -> None:
    script = [Turn(tools=(_call("Bash", command="echo $$ > pid.new; mv pid.new pid; sleep 600"),))]
    with ScriptedModel(script) as model:
        child = subprocess.Popen(
            _argv(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=workspace,
            env=_environment(model.url),
        )
        with child:
            assert child.stdin is not None
            child.stdin.write(b"go")
            child.stdin.close()
            child.stdin = None
            deadline = time.monotonic() + 30
            while not (workspace / "pid").exists() and time.monotonic() < deadline:
                time.sleep(0.01)
            child.send_signal(signal.SIGTERM)
            _, stderr = child.communicate(timeout=30)
    assert (child.returncode, stderr) == (128 + signal.SIGTERM, b"")
    assert _gone(int((workspace / "pid").read_text()))


def test_an_empty_prompt_is_refused(workspace: Path) -> None:
    ran, events = _run(workspace, _environment("http://127.0.0.1:9"), prompt=b" \n")
    assert (ran.returncode, events) == (2, [])
    assert ran.stderr.startswith(b"error: the prompt is empty")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"ANTHROPIC_API_KEY": ""}, "there is no key"),
        ({"ANTHROPIC_BASE_URL": "ftp://x"}, "is not an http address"),
        ({"ANTHROPIC_BASE_URL": "http://x:port"}, "is not an http address"),
        ({"ANTHROPIC_BASE_URL": "http://127.0.0.1:1"}, "did not answer"),
        ({"ANTHROPIC_API_KEY": f"{KEY}\nx: y"}, "did not answer"),
    ],
)
def test_an_agent_that_cannot_reach_its_model_says_so_in_one_line(workspace: Path, change: dict[str, str], words: str) -> None:
    ran, events = _run(workspace, {**_environment("http://127.0.0.1:1"), **change})
    assert ran.returncode == 1
    (line,) = ran.stderr.decode().splitlines()
    assert words in line
    assert KEY not in ran.stderr.decode() + ran.stdout.decode()
    assert events[-1].kind is AgentEventKind.FINISHED
    assert events[-1].failed


def test_either_kind_of_key_is_sent_as_the_api_wants_it(workspace: Path) -> None:
    with _api((200, {"content": [], "stop_reason": "end_turn"})) as api:
        _run(workspace, _environment(api.url))
        environment = _environment(api.url + "/base/", ANTHROPIC_AUTH_TOKEN="token", ANTHROPIC_MODEL="chosen")
        _run(workspace, {**environment, "ANTHROPIC_API_KEY": ""}, prompt="grüße".encode())
    (path, headers, _), (other_path, other_headers, body) = api.asked
    assert (path, headers["x-api-key"], headers["authorization"]) == ("/v1/messages", KEY, None)
    assert (other_path, other_headers["x-api-key"]) == ("/base/v1/messages", None)
    assert other_headers["authorization"] == "Bearer token"
    assert body["model"] == "chosen"
    assert body["messages"] == [{"role": "user", "content": "grüße"}]


def test_it_asks_again_where_the_api_says_later(workspace: Path) -> None:
    done = {"content": [{"type": "text", "text": "ok"}], "stop_reason": "end_turn", "usage": {"output_tokens": 2}}
    with _api((529, {}), (200, done)) as api:
        ran, events = _run(workspace, _environment(api.url))
    assert len(api.asked) == 2
    assert (ran.returncode, events[-1].text, events[-1].output_tokens) == (0, "ok", 2)


@pytest.mark.parametrize(
    ("status", "answer", "words"),
    [
        (401, {"error": {"message": "bad key"}}, "API error 401: bad key"),
        (302, {}, "API error 302"),
        (200, {"content": None}, "not a reply"),
        (200, {"content": [], "stop_reason": "max_tokens"}, "stopped early: max_tokens"),
    ],
)
def test_a_reply_that_is_none_fails_the_run(workspace: Path, status: int, answer: object, words: str) -> None:
    with _api((status, answer)) as api:
        ran, events = _run(workspace, _environment(api.url))
    assert len(api.asked) == 1
    assert ran.returncode == 1
    assert words in ran.stderr.decode()
    assert events[-1].failed
    assert words in events[-1].text


def test_a_model_that_never_stops_is_stopped(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workspace)
    monkeypatch.setattr(bundled, "TURNS", 3)
    with ScriptedModel([Turn(tools=(_call("Read", file_path="a"),))] * 10) as model:
        for name, value in _environment(model.url).items():
            monkeypatch.setenv(name, value)
        with pytest.raises(bundled.Wrong, match="not done after 3 turns"):
            bundled.work("go", "m", ["Read"], "s", {})
        assert model.requests == 3


def test_its_program_needs_nothing_but_what_it_names() -> None:
    program = Bundled().program()
    assert program is not None
    for part in (program.argv[0], program.argv[-1]):
        assert any(Path(part).is_relative_to(path) for path in (*program.paths, "/usr"))
    assert all(Path(path).exists() for path in program.paths)
    assert "-I" in program.argv
    imports = [line for line in Path(bundled.__file__).read_text().splitlines() if "import" in line.split(" ")[:1]]
    assert imports
    assert not [line for line in imports if "rdev" in line]


def test_nothing_in_the_workspace_is_imported(workspace: Path) -> None:
    (workspace / "json.py").write_text("raise SystemExit(99)")
    environment = _environment("http://127.0.0.1:1", PYTHONPATH=str(workspace))
    ran, _ = _run(workspace, environment)
    assert ran.returncode == 1


def test_agents_are_found_by_name_and_configured_by_name(tmp_path: Path) -> None:
    configured = tmp_path / "my-claude"
    configured.write_bytes(b"\x7fELF")
    configured.chmod(0o755)
    agents = KnownAgents({"claude": {"path": str(configured)}, "mine": {"path": str(configured), "output": "jsonl"}})
    assert [agent.name for agent in agents.all()] == ["claude", "opencode", "bundled", "mine"]
    program = agents.named("claude").program()
    assert program is not None
    assert program.argv == (str(configured),)
    assert agents.named("bundled").parse(b'{"type":"result"}') == ClaudeCode().parse(b'{"type":"result"}')


def test_an_unknown_agent_is_answered_with_those_there_are() -> None:
    with pytest.raises(NotFound) as caught:
        KnownAgents({}).named("nobody")
    assert "bundled, claude" in caught.value.hint


def _gone(pid: int) -> bool:
    """Tell whether a process has ended, reaped or not, within a while."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state == "Z":
            return True
        time.sleep(0.01)
    return False


class _Api(http.server.ThreadingHTTPServer):
    """Answers one thing after the other, the last for ever, and notes what was asked."""

    def __init__(self, answers: tuple[tuple[int, object], ...]) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, Any, Any]] = []
        super().__init__(("127.0.0.1", 0), _Answer)
        self.url = f"http://127.0.0.1:{self.server_port}"


class _Answer(http.server.BaseHTTPRequestHandler):
    server: _Api

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append((self.path, self.headers, body))
        status, answer = self.server.answers.pop(0) if len(self.server.answers) > 1 else self.server.answers[0]
        self.send_response(status)
        self.send_header("Location", f"{self.server.url}/elsewhere")
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def _api(*answers: tuple[int, object]) -> Iterator[_Api]:
    with _Api(answers) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
