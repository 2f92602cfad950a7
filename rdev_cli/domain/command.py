"""A command: one run of an agent, a shell line, git or any argv in a pod."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from rdev_cli.domain.errors import Invalid
from rdev_cli.domain.values import CommandId, ProjectId

CAP = 2 << 30  # bytes a stream may spool before the runner cuts it, visibly
TERMINAL = "terminal"  # the first word of the argv of a session's terminal, which ends no sooner than its shell
GRACE = 5  # seconds between TERM and KILL


class CommandKind(StrEnum):
    """What was asked for."""

    EXEC = "exec"
    SHELL = "shell"
    GIT = "git"
    AGENT = "agent"


class CommandState(StrEnum):
    """Where a command is in its life; `lost` means that its outcome cannot be known."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    LOST = "lost"


OPEN = (CommandState.PENDING, CommandState.RUNNING)


class Ending(StrEnum):
    """How the runner says that a command ended (the second word of its `exit` file)."""

    EXITED = "exited"
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"
    STDIN = "stdin"  # stdin broke before its end
    SETUP = "setup"  # the command itself never ran
    LOST = "lost"  # no exit record: said by rdev, never by the runner


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What the `exit` file says."""

    code: int
    ending: Ending
    truncated: bool = False  # the cap, or a full disk, cut a stream
    at: datetime | None = None  # when the record was written, None if nobody knows
    cause: str = ""  # what befell the pod: Deleted, Evicted, OOMKilled, Restarted, NodeLost; empty: nothing that is known


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a command has come: bytes in the spool, and the outcome once there is one."""

    stdout: int
    stderr: int
    outcome: Outcome | None = None
    found: bool = True  # False: there is no trace of it, because it was not started yet, or is no longer kept


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """What a runner is asked to start.

    `environment` reaches the command alone, through the runner's stdin: never an argv, never a file.
    `commit` is the message under which the work tree is committed after exit 0; empty: no commit.
    `tools` are host paths that a local sandbox shows read-only at the same place.
    """

    id: str
    argv: tuple[str, ...]
    environment: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    stdin: bool = False
    terminal: tuple[int, int] | None = None  # rows, columns
    limit_seconds: int = 0  # 0: none
    grace_seconds: int = GRACE
    cap: int = CAP
    network: bool = True
    commit: str = ""
    tools: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.argv or not self.argv[0]:
            raise Invalid("there is nothing to run", hint="rdev exec PROJECT -- ARGV...", field="argv")
        if "\n" in self.commit:
            raise Invalid("the message of a commit is one line", hint="take its first line", field="commit")
        for part in self.argv:
            if "\0" in part:
                raise Invalid("an argument holds a NUL byte", hint="no program can be given one", field="argv")


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One command and its outcome, as everybody sees it."""

    id: CommandId
    project: str
    project_id: ProjectId
    session_id: str = ""  # the session that it ran in, empty for the project's own pod
    kind: CommandKind
    argv: tuple[str, ...]
    state: CommandState
    actor: str
    created_at: datetime
    ended_at: datetime | None = None
    exit_code: int | None = None
    reason: str = ""  # why it did not simply exit: timeout, cancelled, stdin, setup, lost; undelivered: its commit stayed in the pod
    cause: str = ""  # what befell its pod: Deleted, Evicted, OOMKilled, Restarted, NodeLost; empty: nothing that is known
    duration_ms: int | None = None
    timeout_seconds: int = 0
    stdout_bytes: int = 0
    stderr_bytes: int = 0
    truncated: bool = False
    network: bool = True
    agent: str = ""
    model: str = ""
    session: str = ""  # the agent's own id of its conversation
    commit: str = ""  # the commit that the work ended in
    delivered: str = ""  # the branch of the forge that it reached
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0
    answer: str = ""  # the agent's last words

    @property
    def screen(self) -> bool:
        """Say whether this is an agent's own screen: a run without a prompt."""
        return self.kind is CommandKind.AGENT and len(self.argv) == 1

    @property
    def is_terminal(self) -> bool:
        """Say whether this is a session's terminal."""
        return self.kind is CommandKind.SHELL and self.argv[:1] == (TERMINAL,)

    @property
    def place_id(self) -> str:
        """The id under which its pod and its work tree are known: the session's, or the project's."""
        return self.session_id or self.project_id

    @property
    def target(self) -> str:
        """What a person types to do something in the same pod."""
        return self.session_id or self.project


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecSpec:
    """What a caller asks for; an argv is never joined or split."""

    project: str
    argv: tuple[str, ...]
    kind: CommandKind = CommandKind.EXEC
    stdin: bool = False
    terminal: tuple[int, int] | None = None
    timeout_seconds: int = 0
    network: bool = True


_BEFELL = {
    "Deleted": "its pod was deleted",
    "Evicted": "its pod was evicted from its node",
    "OOMKilled": "it ran out of the memory that its pod may use",
    "Restarted": "the container of its pod was restarted",
    "NodeLost": "the node of its pod does not answer, so it may still be running",
}


def befell(command: Command) -> str:
    """Return in words what befell a command's pod, empty if nothing that is known."""
    return _BEFELL.get(command.cause, "")


def status(command: Command) -> int:
    """Return the exit code that `exec`, `shell` and `git` end with: the command's own, or what stands for its fate."""
    if command.state is CommandState.LOST:
        return 74
    if command.reason:
        return {"timeout": 124, "cancelled": 130, "setup": 125, "undelivered": 7}[command.reason]
    return command.exit_code if command.exit_code is not None else 74
