"""An agent run: a prompt, what the agent says and does, what it cost."""

from dataclasses import dataclass
from enum import StrEnum

from rdev_cli.domain.errors import Invalid
from rdev_cli.domain.values import Secret, tool, word

DEFAULT_TOOLS = ("Read", "Edit", "Write", "Glob", "Grep", "Bash")
PROMPT_MAX = 1 << 20  # characters
LATEST = "latest"


class AgentEventKind(StrEnum):
    """What an agent's stream tells."""

    STARTED = "agent.started"
    SAID = "agent.said"  # text
    USED = "agent.used"  # a tool, with its input
    ANSWERED = "agent.answered"  # a tool's result
    RETRIED = "agent.retried"  # the model did not answer, and is asked again
    SPENT = "agent.spent"  # tokens and cost of a part of the run, to be added up
    FINISHED = "agent.finished"  # the result; its tokens and cost, if it tells any, are those of the whole run


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentEvent:
    """One thing an agent said or did; `offset` is where its line begins on the command's stdout."""

    kind: AgentEventKind
    offset: int = 0
    text: str = ""
    tool: str = ""
    target: str = ""  # what the tool was used on, in a few words
    failed: bool = False
    session: str = ""
    model: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSpec:
    """What a caller asks of an agent."""

    project: str
    prompt: str  # empty: the agent's own screen
    agent: str = ""  # empty: the project's, else the context's
    model: str = ""  # empty: the project's, else the context's, else the agent's own choice
    tools: tuple[str, ...] = ()  # empty: the context's, else DEFAULT_TOOLS
    resume: str = ""  # the conversation to go on with: its id, or LATEST
    terminal: tuple[int, int] | None = None  # rows and columns of the screen
    timeout_seconds: int = 0
    commit: bool = True
    network: bool = True
    # handed over by the caller's own environment; never journaled, never an argument of a process
    environment: tuple[tuple[str, Secret], ...] = ()

    def __post_init__(self) -> None:
        for one in self.tools:
            tool(one)
        for what, value in (("model", self.model), ("conversation", self.resume)):
            if value:
                word(value, what)
        if self.terminal is not None and not self.prompt:
            return
        if not self.prompt.strip():
            raise Invalid("the prompt is empty", hint='rdev claude PROJECT "what to do", or - to read it from stdin', field="prompt")
        if len(self.prompt) > PROMPT_MAX:
            raise Invalid("the prompt is longer than 1 MiB", hint="put the text in a file of the project", field="prompt")
        if "\0" in self.prompt:
            raise Invalid("the prompt holds a NUL byte", hint="remove it", field="prompt")


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentTask:
    """An agent's own view of a run: what it needs to build its command line."""

    prompt: str
    model: str
    tools: tuple[str, ...]
    resume: str = ""  # the agent's own id of the conversation to go on with


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """An agent's program on this machine: argv in front, and what a sandbox must show read-only to run it."""

    agent: str
    argv: tuple[str, ...]
    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentInfo:
    """An agent as people look at one: where it is, and what it would run with here."""

    name: str
    default: bool
    program: str  # empty: not on this machine
    model: str  # empty: the agent's own choice
    tools: tuple[str, ...]
    variables: tuple[str, ...]  # what it takes from the caller's environment and from the credentials
    given: tuple[str, ...]  # those of them that are there now
