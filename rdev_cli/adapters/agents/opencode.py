"""OpenCode: its program, its command line, its settings, and words for what it prints."""

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from rdev_cli.adapters.agents.finding import Finder, find
from rdev_cli.adapters.agents.reading import ANSWER_MAX, cost, count, document, inner, name, target, text
from rdev_cli.domain.agent import AgentEvent, AgentEventKind, AgentTask, Program

# all that it has; what a task does not name is taken away
_TOOLS = ("bash", "edit", "write", "read", "glob", "grep", "skill", "task", "todowrite", "webfetch", "websearch")
_WRITES = {"edit", "write"}  # one right for it: taking one away takes both


class OpenCode:
    """The `opencode` program; `path` is the configured one, else it is looked up on PATH."""

    name = "opencode"
    version_flag = "--version"
    variables: tuple[str, ...] = ("ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", "OPENAI_API_KEY", "OPENROUTER_API_KEY", "GEMINI_API_KEY")

    def __init__(self, path: str = "", *, find: Finder = find) -> None:
        self._path, self._find = path, find

    def program(self) -> Program | None:
        """Return the program on this machine, None if it is not here."""
        return self._find(self.name, self._path or "opencode", ())

    def argv(self, program: Program, task: AgentTask) -> tuple[str, ...]:
        """Return the command line for a task; the prompt comes by stdin."""
        return (*program.argv, "run", "--format", "json", *_chosen(task))

    def screen(self, program: Program, task: AgentTask) -> tuple[str, ...]:
        """Return the command line of its own screen."""
        return (*program.argv, *_chosen(task))

    def environment(self, task: AgentTask, given: Collection[str]) -> tuple[tuple[str, str], ...]:
        """Return its settings: no updates, no sharing, no tools but the task's, and the model's server where one is given.

        The settings name variables and hold none of their values.
        """
        allowed = {tool.lower() for tool in task.tools}
        allowed |= _WRITES if allowed & _WRITES else set()
        refused = {tool: False for tool in _TOOLS if tool not in allowed}
        settings: dict[str, Any] = {"autoupdate": False, "share": "disabled", "tools": refused}
        if "ANTHROPIC_BASE_URL" in given:
            settings["provider"] = {"anthropic": {"options": {"baseURL": "{env:ANTHROPIC_BASE_URL}/v1"}}}
        return (
            ("OPENCODE_CONFIG_CONTENT", json.dumps(settings, separators=(",", ":"))),
            ("OPENCODE_DISABLE_AUTOUPDATE", "1"),
            ("OPENCODE_DISABLE_MODELS_FETCH", "1"),
        )

    def advice(self, words: str) -> str:
        """Return what to type about its last words."""
        if not any(said in words.lower() for said in ("api key", "unauthorized", "authentication", "x-api-key")):
            return ""
        return "rdev credential set ANTHROPIC_API_KEY (or the key of the model's provider), or export it; then try again"

    def parse(self, line: bytes) -> Sequence[AgentEvent]:
        """Return what one line of its stream tells; nothing for a line that tells nothing. Never raises."""
        said = document(line)
        part = inner(said.get("part"))
        match said.get("type"):
            case "step_start":
                return (AgentEvent(kind=AgentEventKind.STARTED, session=name(said.get("sessionID"))),)
            case "text" if words := text(part.get("text")):
                return (AgentEvent(kind=AgentEventKind.SAID, text=words),)
            case "tool_use":
                return _used(part)
            case "step_finish":
                return _stepped(part)
            case "error":
                error = inner(said.get("error"))
                words = text(inner(error.get("data")).get("message")) or name(error.get("name")) or "error"
                return (AgentEvent(kind=AgentEventKind.FINISHED, text=words, failed=True, session=name(said.get("sessionID"))),)
            case _:
                return ()


def _chosen(task: AgentTask) -> tuple[str, ...]:
    model = task.model if "/" in task.model else f"anthropic/{task.model}"
    return (*((f"--model={model}",) if task.model else ()), *((f"--session={task.resume}",) if task.resume else ()))


def _used(part: Mapping[str, Any]) -> Sequence[AgentEvent]:
    """A tool's use comes as one line, when it has ended."""
    state = inner(part.get("state"))
    failed = state.get("status") == "error" or part.get("tool") == "invalid" or inner(state.get("metadata")).get("exit") not in (None, 0)
    return (
        AgentEvent(kind=AgentEventKind.USED, tool=name(part.get("tool")), target=target(state.get("input"))),
        AgentEvent(kind=AgentEventKind.ANSWERED, text=text(state.get("error") or state.get("output"), ANSWER_MAX), failed=failed),
    )


def _stepped(part: Mapping[str, Any]) -> Sequence[AgentEvent]:
    """A step ends with what it alone has cost; the last one ends the run."""
    tokens = inner(part.get("tokens"))
    cache = inner(tokens.get("cache"))
    spent = AgentEvent(
        kind=AgentEventKind.SPENT,
        input_tokens=count(tokens.get("input"), cache.get("read"), cache.get("write")),
        output_tokens=count(tokens.get("output"), tokens.get("reasoning")),
        cost_usd=cost(part.get("cost")),
    )
    if part.get("reason") in ("tool-calls", "tool_calls"):
        return (spent,)
    return (spent, AgentEvent(kind=AgentEventKind.FINISHED))
