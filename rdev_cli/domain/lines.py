"""What is told while a command is followed, line by line, and at the end of a demo."""

from dataclasses import dataclass
from typing import Literal

from rdev_cli.domain.command import Command
from rdev_cli.domain.values import CommandId


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputLine:
    """A piece of a command's output; `id` is the position after it, `<stdout offset>-<stderr offset>`."""

    command: CommandId
    stream: Literal["stdout", "stderr"]
    offset: int  # where it begins, in bytes
    id: str
    data: bytes
    type: Literal["output"] = "output"


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedLine(Command):
    """The last line of a command that was followed: the command as it ended."""

    type: Literal["ended"] = "ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class Demo:
    """What the demo did."""

    project: str
    agent: str
    command: Command
    kept: bool


def ended(command: Command) -> EndedLine:
    """Return the line that says how a command ended."""
    return EndedLine(**{name: getattr(command, name) for name in Command.__slots__})
