"""Claude Code: its program, its command line, and words for what it prints."""

import json
import math
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rdev_cli.domain.agent import AgentEvent, AgentEventKind, AgentTask, Program

LINE_MAX = 16 << 20  # bytes; a longer line tells nothing
TEXT_MAX = 1 << 16  # characters of what it says
ANSWER_MAX = 2000  # characters of a tool's result
TARGET_MAX = 200  # characters, also of the names it gives
_COUNT_MAX = 2**63 - 1  # the ledger's integers are SQLite's

# the first of these in a tool's input says what it was used on
_TARGETS = ("file_path", "notebook_path", "command", "pattern", "url", "query", "description")

_NO_KEY = re.compile(
    r"not logged in|please run /login|invalid api key|there is no key|invalid x-api-key|authentication_error"
    r"|oauth token (has expired|(has been )?revoked)|invalid (bearer )?token",
    re.IGNORECASE,
)

# outside of these a sandbox may show nothing of the host
_SHOWN = Path("/usr")


class ClaudeCode:
    """The `claude` program; `path` is the configured one, else it is looked up on PATH."""

    name = "claude"
    variables: tuple[str, ...] = (
        "ANTHROPIC_API_KEY",
        "ANTHROPIC_AUTH_TOKEN",
        "CLAUDE_CODE_OAUTH_TOKEN",
        "ANTHROPIC_BASE_URL",
        "ANTHROPIC_MODEL",
    )

    def __init__(self, path: str = "") -> None:
        self._path = path

    def program(self) -> Program | None:
        """Return the program on this machine, None if it is not here."""
        found = shutil.which(os.path.expanduser(self._path or "claude"))
        if found is None:
            return None
        file = Path(found).resolve()
        interpreter = _interpreter(file)
        if interpreter is None:
            return Program(agent=self.name, argv=(str(file),), paths=outside((file,)))
        # the interpreter by its own path: a sandbox's PATH need not lead to it, as `env node` would have it
        return Program(agent=self.name, argv=(*interpreter, str(file)), paths=outside((Path(interpreter[0]), _package(file))))

    def argv(self, program: Program, task: AgentTask) -> tuple[str, ...]:
        """Return the command line for a task; the prompt comes by stdin, and within 3 seconds or it gives up."""
        tools = ",".join(task.tools)
        return (
            *program.argv,
            "-p",
            "--output-format",
            "stream-json",
            "--verbose",
            "--permission-mode",
            "acceptEdits",
            # --allowedTools alone only says what needs no asking: Bash ran without being named there
            f"--tools={tools}",
            *((f"--allowedTools={tools}",) if tools else ()),
            *((f"--model={task.model}",) if task.model else ()),
        )

    def environment(self) -> tuple[tuple[str, str], ...]:
        """Return what it always needs: no updates, no telemetry."""
        return (("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1"),)

    def parse(self, line: bytes) -> Sequence[AgentEvent]:
        """Return what one line of its stream tells; nothing for a line that tells nothing. Never raises."""
        if len(line) > LINE_MAX:
            return ()
        try:
            document = json.loads(line)
        except (ValueError, RecursionError):
            return ()
        if not isinstance(document, dict):
            return ()
        match document.get("type"):
            case "system" if document.get("subtype") == "init":
                return (
                    AgentEvent(
                        kind=AgentEventKind.STARTED,
                        session=_name(document.get("session_id")),
                        model=_name(document.get("model")),
                    ),
                )
            case "system" if document.get("subtype") == "api_retry":
                return (AgentEvent(kind=AgentEventKind.RETRIED, text=_retry(document)),)
            case "assistant":
                return [event for block in _blocks(document) for event in _said(block)]
            case "user":
                return [_answered(block) for block in _blocks(document) if block.get("type") == "tool_result"]
            case "result":
                return (_finished(document),)
            case _:
                return ()

    def advice(self, words: str) -> str:
        """Return what to type about its last words: it names a way to log in that does not lead into a pod."""
        if not _NO_KEY.search(words):
            return ""
        return "set ANTHROPIC_API_KEY (or CLAUDE_CODE_OAUTH_TOKEN, which claude setup-token prints) in your environment, and try again"


def outside(paths: Sequence[Path]) -> tuple[str, ...]:
    """Return the paths that a sandbox does not show anyway."""
    return tuple(dict.fromkeys(str(path) for path in paths if not path.is_relative_to(_SHOWN)))


def _interpreter(file: Path) -> tuple[str, ...] | None:
    """Return the command that a script's first line names, None for a binary."""
    try:
        with file.open("rb") as stream:
            first = stream.readline(4096)
    except OSError:
        return None  # it may be run though not read
    if not first.startswith(b"#!"):
        return None
    words = os.fsdecode(first[2:].strip()).split(maxsplit=1)  # the kernel hands over the rest as one argument
    if words and Path(words[0]).name == "env":
        words = (words[1] if len(words) > 1 else "").removeprefix("-S").split()
    found = shutil.which(words[0]) if words else None
    return (str(Path(found).resolve()), *words[1:]) if found else None


def _package(file: Path) -> Path:
    """Return the nearest folder with a package.json, else the script alone."""
    home = Path.home().resolve()
    for folder in file.parents:
        # a package.json in a home, or above it, would bare the home to the agent
        if home.is_relative_to(folder):
            break
        if (folder / "package.json").is_file():
            return folder
    return file


def _blocks(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    message = document.get("message")
    content = message.get("content") if isinstance(message, dict) else None
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return [block for block in content if isinstance(block, dict)] if isinstance(content, list) else []


def _said(block: Mapping[str, Any]) -> Sequence[AgentEvent]:
    match block.get("type"):
        case "text" if text := _text(block.get("text"), TEXT_MAX):
            return (AgentEvent(kind=AgentEventKind.SAID, text=text),)
        case "tool_use":
            return (AgentEvent(kind=AgentEventKind.USED, tool=_name(block.get("name")), target=_target(block.get("input"))),)
        case _:
            return ()


def _target(given: object) -> str:
    if isinstance(given, dict):
        for key in _TARGETS:
            value = given.get(key)
            if isinstance(value, str) and value.strip():
                return _text(value.strip().splitlines()[0], TARGET_MAX)
    return ""


def _answered(block: Mapping[str, Any]) -> AgentEvent:
    content = block.get("content")
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, dict)]
        content = "\n".join(part for part in parts if isinstance(part, str))
    return AgentEvent(kind=AgentEventKind.ANSWERED, text=_text(content, ANSWER_MAX), failed=block.get("is_error") is True)


def _retry(document: Mapping[str, Any]) -> str:
    status = document.get("error_status")
    why = " ".join(part for part in (str(status) if type(status) is int else "", _name(document.get("error"))) if part)
    of = f" of {most}" if (most := _count(document.get("max_retries"))) else ""
    return f"the model did not answer{f' ({why})' if why else ''}; attempt {_count(document.get('attempt'))}{of}"


def _finished(document: Mapping[str, Any]) -> AgentEvent:
    usage = document.get("usage")
    spent: Mapping[str, Any] = usage if isinstance(usage, dict) else {}
    # no result text means that a limit ended it: the subtype names the limit
    words = document.get("result") or document.get("subtype")
    return AgentEvent(
        kind=AgentEventKind.FINISHED,
        text=_text(words, TEXT_MAX),
        session=_name(document.get("session_id")),
        failed=document.get("is_error") is not False,
        input_tokens=_count(spent.get("input_tokens"), spent.get("cache_read_input_tokens"), spent.get("cache_creation_input_tokens")),
        output_tokens=_count(spent.get("output_tokens")),
        cost_usd=_cost(document.get("total_cost_usd")),
    )


def _name(value: object) -> str:
    return _text(value, TARGET_MAX)


def _text(value: object, most: int) -> str:
    if not isinstance(value, str):
        return ""
    cut = value if len(value) <= most else value[: most - 1] + "…"
    # JSON may hold halves of surrogate pairs, which no UTF-8 can carry on
    return cut.encode("utf-8", "replace").decode()


def _count(*values: object) -> int:
    total = sum(value for value in values if type(value) is int and value > 0)
    return min(total, _COUNT_MAX)


def _cost(value: object) -> float:
    # a bool is an int, JSON's parser takes NaN, and an int may be too large for a float
    if type(value) is int:
        value = float(min(max(value, 0), _COUNT_MAX))
    return value if isinstance(value, float) and math.isfinite(value) and value > 0 else 0.0
