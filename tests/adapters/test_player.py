"""The bundled agent in an image: it does what the demo's turns say, in the lines of Claude Code, and nothing else."""

import shutil
import subprocess
from pathlib import Path

import pytest

from rdev_cli.adapters.agents.registry import Bundled, KnownAgents
from rdev_cli.adapters.shelf import PackagedShelf
from rdev_cli.domain.agent import AgentEventKind, AgentTask
from rdev_cli.wiring.demo import PROMPT, script

SHELLS = [argv for argv in (("sh",), ("dash",), ("bash", "--posix"), ("busybox", "sh")) if shutil.which(argv[0])]


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    for path, (content, _) in PackagedShelf().skeleton({"name": "shop", "description": ""}).items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(content)
    return tmp_path


def play(workspace: Path, prompt: str, shell: tuple[str, ...] = ("sh",)):
    program = Bundled(here=False).program()
    assert program is not None
    argv = Bundled(here=False).argv(program, AgentTask(prompt=prompt, model="", tools=()))
    assert argv[0] == "/bin/sh"
    ran = subprocess.run([*shell, *argv[1:]], input=prompt.encode(), capture_output=True, cwd=workspace, timeout=30, check=False)
    assert ran.stderr == b""
    return ran.returncode, [event for line in ran.stdout.splitlines() for event in Bundled().parse(line)]


@pytest.mark.parametrize("shell", SHELLS, ids=lambda argv: argv[0])
def test_it_says_and_does_what_the_demos_turns_say(workspace: Path, shell: tuple[str, ...]) -> None:
    front = (workspace / "site/index.html").read_text()
    code, events = play(workspace, PROMPT, shell)
    assert code == 0
    turns = script(shell=True)
    assert [e.text for e in events if e.kind is AgentEventKind.SAID] == [turn.text for turn in turns if turn.text]
    calls = [call for turn in turns for call in turn.tools if call.name != "Read"]
    assert [e.tool for e in events if e.kind is AgentEventKind.USED] == [call.name for call in calls]
    assert (workspace / "site/health.html").read_text() == calls[0].input["content"]
    assert (workspace / "site/index.html").read_text() == front.replace(calls[1].input["old_string"], calls[1].input["new_string"])
    assert (events[-1].kind, events[-1].failed) == (AgentEventKind.FINISHED, False)


def test_it_knows_no_other_prompt_and_says_what_does(workspace: Path) -> None:
    code, events = play(workspace, "write a shop")
    assert (code, events[-1].failed, "rdev agent list" in events[-1].text) == (2, True, True)


def test_a_page_that_is_not_as_it_expects_ends_it_badly_and_stays(workspace: Path) -> None:
    (workspace / "site/index.html").write_text("mine\n")
    code, events = play(workspace, PROMPT)
    assert (code, events[-1].failed) == (1, True)
    assert (workspace / "site/index.html").read_text() == "mine\n"


def test_the_agents_of_an_image_are_its_own_and_not_looked_for_here() -> None:
    known = KnownAgents({"claude": {"path": "/opt/claude"}, "bot": {"path": "bot", "args": ["-x"]}}, here=False)
    found = {name: known.named(name).program() for name in ("claude", "opencode", "bot")}
    assert {name: (program.argv, program.paths) for name, program in found.items() if program} == {
        "claude": (("/opt/claude",), ()), "opencode": (("opencode",), ()), "bot": (("bot", "-x"), ()),
    }  # fmt: skip
