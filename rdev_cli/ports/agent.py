"""What rdev asks of a coding agent: a command line, and words for what it prints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rdev_cli.domain.agent import AgentEvent, AgentTask, Program


class Agent(Protocol):
    """One agent. Its program runs in a pod; nothing of this code does."""

    name: str
    variables: tuple[str, ...]  # what it takes from the caller's environment

    def program(self) -> Program | None:
        """Return the agent's program on this machine, None if it is not here."""
        ...

    def argv(self, program: Program, task: AgentTask) -> tuple[str, ...]:
        """Return its command line for a task; the prompt is not in it, it comes by stdin."""
        ...

    def environment(self) -> tuple[tuple[str, str], ...]:
        """Return the variables that it always needs, no secrets among them."""
        ...

    def parse(self, line: bytes) -> Sequence[AgentEvent]:
        """Return what one line of its stream tells; nothing for a line that tells nothing. Never raises."""
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
