"""What rdev asks of a coding agent: a command line, and words for what it prints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from rdev_cli.domain.agent import AgentEvent, AgentTask, Program
    from rdev_cli.domain.report import Check
    from rdev_cli.domain.values import Secret
    from rdev_cli.ports.timing import Stop


class Agent(Protocol):
    """One agent. Its program runs in a pod; nothing of this code does."""

    name: str
    version_flag: str  # what makes its program say its version; empty: nobody knows
    variables: tuple[str, ...]  # what it takes from the caller's environment and from the credentials

    def program(self) -> Program | None:
        """Return the agent's program on this machine, None if it is not here."""
        ...

    def argv(self, program: Program, task: AgentTask) -> tuple[str, ...]:
        """Return its command line for a task; the prompt is not in it, it comes by stdin."""
        ...

    def screen(self, program: Program, task: AgentTask) -> tuple[str, ...] | None:
        """Return the command line of its own interactive screen, None if it has none."""
        ...

    def environment(self, task: AgentTask, given: Collection[str]) -> tuple[tuple[str, str], ...]:
        """Return the variables that it needs for a task; `given` names those of its own that have a value. No secrets among them."""
        ...

    def parse(self, line: bytes) -> Sequence[AgentEvent]:
        """Return what one line of its stream tells; nothing for a line that tells nothing. Never raises, remembers nothing."""
        ...

    def advice(self, words: str) -> str:
        """Return what to type about the last words of a run that ended badly, empty if they are no known trouble."""
        ...


class Agents(Protocol):
    """The agents there are."""

    def named(self, name: str) -> Agent:
        """Return an agent; NotFound lists those there are."""
        ...

    def all(self) -> Sequence[Agent]: ...

    def tried(self, variable: str, value: Secret, *, base_url: str, stop: Stop) -> Check | None:
        """Ask whoever a value is for whether it takes it, within 10 seconds; None for a variable that nobody can be asked about."""
        ...
