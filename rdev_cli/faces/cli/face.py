"""What every command of the terminal shares: options, the world, one way to answer, one way to fail."""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TextIO, TypeVar

import typer
from typer.core import TyperCommand, TyperOption

from rdev_cli.domain.errors import Invalid, RdevError
from rdev_cli.domain.values import seconds
from rdev_cli.ops.ledger import entry_of
from rdev_cli.ports.timing import STANDARD

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rdev_cli.wiring.services import Services

F = TypeVar("F", bound=Callable[..., Any])
FORMATS = ("table", "wide", "json", "yaml", "name", "jsonl")
DOES: dict[str, str] = {}  # operation -> how a person types it

EXITS: Mapping[str, int] = {
    "RdevError": 1, "Invalid": 2, "NotFound": 3, "Denied": 4, "Conflict": 5, "Unavailable": 6, "Partial": 7, "Pending": 8,
    "Failed": 9, "OutcomeUnknown": 74, "TimedOut": 124, "Cancelled": 130,
}  # fmt: skip


class Hand:
    """One invocation: the shared options, the words after `--`, and the world, built when first asked for."""

    def __init__(self, tail: Sequence[str] | None) -> None:
        self.tail = tail  # what stood after `--` of exec and git, None if there was no `--`
        self.options: dict[str, Any] = {}
        self.remote = False  # exec, shell, git: rdev's own failures are 125
        self.signal = 0
        self.standing = ""  # what a person should know who leaves at once
        self._world: Services | None = None

    @property
    def output(self) -> str:
        """The format asked for."""
        return str(self.options.get("output") or os.environ.get("RDEV_OUTPUT") or "table")

    @property
    def human(self) -> bool:
        """Say whether a person reads the answer."""
        return self.output in ("table", "wide")

    def world(self, **flags: str) -> "Services":
        """Return the world of this invocation; flags are settings given on the command line."""
        if self._world is None:
            from rdev_cli.wiring.services import Services  # noqa: PLC0415 -- a short command needs no world

            given = {key: str(self.options[key]) for key in ("context", "isolation") if self.options.get(key)}
            wait = self.options.get("wait_seconds") or STANDARD
            self._world = Services(flags={**given, **flags}, patience=float(wait))
            for warning in self._world.settings.warnings:
                say(f"warning: {warning}")
        return self._world

    def again(self, **flags: str) -> "Services":
        """Return a fresh world with other settings."""
        self.close()
        self._world = None
        return self.world(**flags)

    def close(self) -> None:
        """Close what the world holds open."""
        if self._world is not None:
            self._world.close()

    def stopped(self, number: int) -> None:
        """Note a signal and ask everything that waits to stop."""
        self.signal = number
        if self._world is not None:
            self._world.stop.set("cancelled")


def hand(ctx: typer.Context) -> Hand:
    """Return this invocation."""
    found: Hand = ctx.obj
    return found


def say(text: str, end: str = "\n") -> None:
    """Tell a person something, beside the answer."""
    write(sys.stderr, text + end)


def write(stream: TextIO, text: str) -> None:
    """Write text at once, whatever the terminal's encoding can show."""
    stream.write(text)
    stream.flush()


def _keep(name: str, check: Callable[[str], object] | None = None) -> Callable[..., Any]:
    def callback(ctx: typer.Context, param: Any, value: Any) -> Any:
        if value is not None and value is not False:
            if check is not None:
                try:
                    check(value)
                except RdevError as e:
                    raise typer.BadParameter(f"{e.message}; {e.hint}") from e
            hand(ctx).options[name] = value
        return value

    return callback


def _format(value: str) -> None:
    if value not in FORMATS:
        raise Invalid(f"there is no format '{value}'", hint=f"one of {', '.join(FORMATS)}")


def _shared() -> list[TyperOption]:
    return [
        TyperOption(
            param_decls=["output", "-o", "--output"], metavar="FORMAT", expose_value=False, callback=_keep("output", _format),
            help="table, wide, json, yaml, name or jsonl.", envvar="RDEV_OUTPUT",
        ),
        TyperOption(
            param_decls=["context", "--context"], metavar="NAME", expose_value=False, callback=_keep("context"),
            help="The context to work in.", envvar="RDEV_CONTEXT",
        ),
        TyperOption(
            param_decls=["verbose", "-v", "--verbose"], is_flag=True, default=False, expose_value=False, callback=_keep("verbose"),
            help="Say on stderr what rdev does.",
        ),
        TyperOption(
            param_decls=["log_file", "--log-file"], metavar="FILE", expose_value=False, callback=_keep("log_file"),
            help="Write the same to a file (bounded, 0600).", envvar="RDEV_LOG_FILE",
        ),
    ]  # fmt: skip


class Verb(TyperCommand):
    """A command with the options that all commands share."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.params = [*self.params, *_shared()]


def noun(words: str) -> typer.Typer:
    """Return an empty group of commands."""
    return typer.Typer(
        help=words, no_args_is_help=True, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False,
        pretty_exceptions_show_locals=False,
    )  # fmt: skip


def does(group: typer.Typer, name: str, op: Callable[..., Any], typed: str = "", *, epilog: str = "") -> Callable[[F], F]:
    """Attach a command to a group, taking its words from the operation it calls."""
    entry = entry_of(op)
    DOES[entry.name] = typed or f"{entry.name.partition('.')[0]} {name}"
    words = (op.__doc__ or "").strip()
    return group.command(name, cls=Verb, help=words, short_help=entry.summary, epilog=epilog or None)


def duration(text: str | None, field: str) -> int:
    """Return the seconds of a duration option, 0 for none; a bad one is a usage error."""
    if text is None:
        return 0
    try:
        return seconds(text, field)
    except RdevError as e:
        raise typer.BadParameter(f"{e.message}; {e.hint}", param_hint=f"'--{field}'") from e


def confirm(ctx: typer.Context, question: str, *, yes: bool) -> None:
    """Ask a person; without a terminal refuse and name the flag."""
    if yes:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise Invalid(f"{question} Nobody can be asked here", hint="say yes on the command line: --yes", code="CONFIRMATION")
    say(f"{question} [y/N] ", end="")
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise typer.Exit(130)
