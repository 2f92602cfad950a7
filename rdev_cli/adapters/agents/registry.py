"""The agents there are."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from rdev_cli.adapters.agents.claude_code import ClaudeCode
from rdev_cli.adapters.agents.finding import Finder, find, of_image
from rdev_cli.adapters.agents.opencode import OpenCode
from rdev_cli.adapters.agents.program import AnyProgram
from rdev_cli.adapters.shared.interpreter import interpreter
from rdev_cli.domain.agent import AgentEvent, AgentTask, Program
from rdev_cli.domain.errors import NotFound
from rdev_cli.domain.report import Check
from rdev_cli.domain.values import Secret
from rdev_cli.ports.agent import Agent
from rdev_cli.ports.timing import Stop


class Bundled:
    """The agent that comes with rdev and runs with the interpreter that runs rdev; it speaks as Claude Code does."""

    name = "bundled"
    version_flag = "--version"
    variables: tuple[str, ...] = (
        "ANTHROPIC_API_KEY",
        "ANTHROPIC_AUTH_TOKEN",
        "ANTHROPIC_BASE_URL",
        "ANTHROPIC_MODEL",
    )

    def __init__(self, *, here: bool = True) -> None:
        self._here = here

    def program(self) -> Program | None:
        """Return the program, which is always here; an image is given a small one, which only plays the demo."""
        if not self._here:
            text = Path(__file__).resolve().with_name("player.sh").read_text()
            return Program(agent=self.name, argv=("/bin/sh", "-c", text, self.name), paths=())
        front, shown = interpreter()
        script = str(Path(__file__).resolve().with_name("bundled.py"))
        return Program(agent=self.name, argv=(*front, script), paths=(*shown, script))

    def argv(self, program: Program, task: AgentTask) -> tuple[str, ...]:
        """Return the command line for a task; the prompt comes by stdin."""
        model = (f"--model={task.model}",) if task.model else ()
        return (*program.argv, f"--tools={','.join(task.tools)}", *model)

    def screen(self, program: Program, task: AgentTask) -> None:  # noqa: ARG002
        """Return None: it has no screen of its own."""
        return

    def environment(self, task: AgentTask, given: Collection[str]) -> tuple[tuple[str, str], ...]:  # noqa: ARG002
        """Return what it always needs: nothing."""
        return ()

    def parse(self, line: bytes) -> Sequence[AgentEvent]:
        """Return what one line of its stream tells. Never raises."""
        return _CLAUDE.parse(line)

    def advice(self, words: str) -> str:
        """Return what to type about its last words."""
        return _CLAUDE.advice(words)


_CLAUDE = ClaudeCode()
BUILT_IN = ("claude", "opencode", "bundled")


class KnownAgents:
    """Every agent that rdev can run: those it knows, and those that the settings describe (agent name -> its entry there).

    `here`: their programs are this machine's, else an image's.
    """

    def __init__(self, settings: Mapping[str, Mapping[str, Any]], *, here: bool = True) -> None:
        def path(name: str) -> str:
            return str(settings.get(name, {}).get("path", ""))

        finder: Finder = find if here else of_image
        agents: list[Agent] = [ClaudeCode(path("claude"), find=finder), OpenCode(path("opencode"), find=finder), Bundled(here=here)]
        agents += [
            AnyProgram(
                name,
                path(name),
                args=entry.get("args", ()),
                output=entry.get("output", "lines"),
                variables=entry.get("variables", ()),
                find=finder,
            )
            for name, entry in sorted(settings.items())
            if name not in BUILT_IN
        ]
        self._agents = {agent.name: agent for agent in agents}

    def named(self, name: str) -> Agent:
        """Return an agent; NotFound lists those there are."""
        if name not in self._agents:
            names = sorted(self._agents)
            raise NotFound(f"there is no agent {name}", hint=f"the agents are {', '.join(names)}", agents=names)
        return self._agents[name]

    def all(self) -> Sequence[Agent]:
        """Return all of them, the usual one first."""
        return tuple(self._agents.values())

    def tried(self, variable: str, value: Secret, *, base_url: str, stop: Stop) -> Check | None:
        """Ask the Messages API for its keys and tokens, nobody for anything else."""
        from rdev_cli.adapters.agents import trial  # noqa: PLC0415 -- an agent's run needs no HTTP of rdev's own

        return trial.tried(variable, value, base_url=base_url, stop=stop) if variable in trial.VARIABLES else None
