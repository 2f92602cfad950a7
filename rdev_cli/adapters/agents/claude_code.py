"""Claude Code: its program, its command line, and words for what it prints."""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from rdev_cli.adapters.agents.finding import Finder, find
from rdev_cli.adapters.agents.reading import ANSWER_MAX, cost, count, document, inner, name, target, text
from rdev_cli.domain.agent import AgentEvent, AgentEventKind, AgentTask, Program

_NO_KEY = re.compile(
    r"not logged in|please run /login|invalid api key|there is no key|invalid x-api-key|authentication_error"
    r"|oauth token (has expired|(has been )?revoked)|invalid (bearer )?token",
    re.IGNORECASE,
)


class ClaudeCode:
    """The `claude` program; `path` is the configured one, else it is looked up on PATH."""

    name = "claude"
    version_flag = "--version"
    variables: tuple[str, ...] = (
        "ANTHROPIC_API_KEY",
        "ANTHROPIC_AUTH_TOKEN",
        "CLAUDE_CODE_OAUTH_TOKEN",
        "ANTHROPIC_BASE_URL",
        "ANTHROPIC_MODEL",
    )

    def __init__(self, path: str = "", *, find: Finder = find) -> None:
        self._path, self._find = path, find

    def program(self) -> Program | None:
        """Return the program on this machine, None if it is not here."""
        return self._find(self.name, self._path or "claude", ())

    def argv(self, program: Program, task: AgentTask) -> tuple[str, ...]:
        """Return the command line for a task; the prompt comes by stdin, and within 3 seconds or it gives up."""
        return (*program.argv, "-p", "--output-format", "stream-json", "--verbose", *_chosen(task))

    def screen(self, program: Program, task: AgentTask) -> tuple[str, ...]:
        """Return the command line of its own screen."""
        return (*program.argv, *_chosen(task))

    def environment(self, task: AgentTask, given: Collection[str]) -> tuple[tuple[str, str], ...]:  # noqa: ARG002 -- the port's shape
        """Return what it always needs: no updates, no telemetry."""
        return (("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1"),)

    def parse(self, line: bytes) -> Sequence[AgentEvent]:
        """Return what one line of its stream tells; nothing for a line that tells nothing. Never raises."""
        said = document(line)
        match said.get("type"):
            case "system" if said.get("subtype") == "init":
                return (AgentEvent(kind=AgentEventKind.STARTED, session=name(said.get("session_id")), model=name(said.get("model"))),)
            case "system" if said.get("subtype") == "api_retry":
                return (AgentEvent(kind=AgentEventKind.RETRIED, text=_retry(said)),)
            case "assistant":
                return [event for block in _blocks(said) for event in _said(block)]
            case "user":
                return [_answered(block) for block in _blocks(said) if block.get("type") == "tool_result"]
            case "result":
                return (_finished(said),)
            case _:
                return ()

    def advice(self, words: str) -> str:
        """Return what to type about its last words: it names a way to log in that does not lead into a pod."""
        if not _NO_KEY.search(words):
            return ""
        return (
            "rdev credential set ANTHROPIC_API_KEY (or CLAUDE_CODE_OAUTH_TOKEN, which claude setup-token prints), or export it; "
            "then try again"
        )


def _chosen(task: AgentTask) -> tuple[str, ...]:
    tools = ",".join(task.tools)
    return (
        "--permission-mode",
        "acceptEdits",
        # --allowedTools alone only says what needs no asking: Bash ran without being named there
        f"--tools={tools}",
        *((f"--allowedTools={tools}",) if tools else ()),
        *((f"--model={task.model}",) if task.model else ()),
        *((f"--resume={task.resume}",) if task.resume else ()),
    )


def _blocks(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    content = inner(document.get("message")).get("content")
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return [block for block in content if isinstance(block, dict)] if isinstance(content, list) else []


def _said(block: Mapping[str, Any]) -> Sequence[AgentEvent]:
    match block.get("type"):
        case "text" if words := text(block.get("text")):
            return (AgentEvent(kind=AgentEventKind.SAID, text=words),)
        case "tool_use":
            return (AgentEvent(kind=AgentEventKind.USED, tool=name(block.get("name")), target=target(block.get("input"))),)
        case _:
            return ()


def _answered(block: Mapping[str, Any]) -> AgentEvent:
    content = block.get("content")
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, dict)]
        content = "\n".join(part for part in parts if isinstance(part, str))
    return AgentEvent(kind=AgentEventKind.ANSWERED, text=text(content, ANSWER_MAX), failed=block.get("is_error") is True)


def _retry(document: Mapping[str, Any]) -> str:
    status = document.get("error_status")
    why = " ".join(part for part in (str(status) if type(status) is int else "", name(document.get("error"))) if part)
    of = f" of {most}" if (most := count(document.get("max_retries"))) else ""
    what = "the model's API refuses the key" if status in (401, 403) else "the model did not answer"
    return f"{what}{f' ({why})' if why else ''}; attempt {count(document.get('attempt'))}{of}"


def _finished(document: Mapping[str, Any]) -> AgentEvent:
    spent = inner(document.get("usage"))
    return AgentEvent(
        kind=AgentEventKind.FINISHED,
        # no result text means that a limit ended it: the subtype names the limit
        text=text(document.get("result") or document.get("subtype")),
        session=name(document.get("session_id")),
        failed=document.get("is_error") is not False,
        input_tokens=count(spent.get("input_tokens"), spent.get("cache_read_input_tokens"), spent.get("cache_creation_input_tokens")),
        output_tokens=count(spent.get("output_tokens")),
        cost_usd=cost(document.get("total_cost_usd")),
    )
