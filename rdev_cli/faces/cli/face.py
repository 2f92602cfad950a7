"""What every command of the terminal shares: options, the world, one way to answer, one way to fail."""

import os
import select
import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TextIO, TypeVar

import typer
from typer.core import TyperCommand, TyperOption

from rdev_cli.domain.errors import Cancelled, Invalid, RdevError, Unavailable
from rdev_cli.domain.values import clean as clean  # noqa: PLC0414 -- whoever prints has it from here
from rdev_cli.domain.values import name as name_rule
from rdev_cli.domain.values import seconds
from rdev_cli.ops.ledger import entry_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rdev_cli.domain.values import Secret
    from rdev_cli.wiring.services import Services

F = TypeVar("F", bound=Callable[..., Any])
FORMATS = ("table", "wide", "json", "yaml", "name", "jsonl")
DOES: dict[str, str] = {}  # operation -> how a person types it

EXITS: Mapping[str, int] = {
    "RdevError": 1, "Invalid": 2, "NotFound": 3, "Denied": 4, "Conflict": 5, "Unavailable": 6, "Partial": 7, "Pending": 8,
    "Failed": 9, "OutcomeUnknown": 74, "TimedOut": 124, "Cancelled": 130,
}  # fmt: skip


class Misused(typer.BadParameter):
    """What was typed lacks something, or is put in the wrong place; the hint says what to type."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint

    def format_message(self) -> str:
        """Return the sentence alone."""
        return str(self.message)


class ReaderLeft(Exception):
    """Whoever read our stdout has left."""


class Hand:
    """One invocation: the shared options, the words after `--`, and the world, built when first asked for."""

    def __init__(self, tail: Sequence[str] | None, words: Sequence[str] = ()) -> None:
        self.tail = tail  # what stood after `--` of exec and git, None if there was no `--`
        self.words, self.logs, self._began = words, False, time.monotonic()
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

            given = {key: str(self.options[key]) for key in ("context", "isolation", "passphrase_file") if self.options.get(key)}
            wait = self.options.get("wait_seconds") or 0
            self._world = Services(flags={**given, **flags}, patience=float(wait), ask=self._ask, tell=say)
            for warning in self._world.settings.warnings:
                say(f"warning: {warning}")
        return self._world

    def _ask(self, question: str) -> "Secret | None":
        from rdev_cli.faces.cli.hidden import ask  # noqa: PLC0415 -- the rare case

        return ask(self, question)

    def again(self, **flags: str) -> "Services":
        """Return a fresh world with other settings."""
        self.close()
        self._world = None
        return self.world(**flags)

    def begin(self, command: str) -> None:
        """Open the log if somebody wants one, and write down what was asked."""
        file = self.options.get("log_file") or ""
        if self.options.get("verbose") or file:
            from rdev_cli.wiring.log import log, set_up  # noqa: PLC0415 -- costs more than a short command does

            set_up(verbose=bool(self.options.get("verbose")), file=file, json_lines=self.options.get("log_format") == "json")
            self.logs = True
            log().info("began", extra={"command": command, "argv": list(self.words[:20])})

    def end(self, code: int) -> None:
        """Write into the log how it ended."""
        if self.logs:
            from rdev_cli.wiring.log import log  # noqa: PLC0415

            log().info("ended", extra={"exit_code": code, "duration_ms": round((time.monotonic() - self._began) * 1000)})

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
    """Tell a person something, beside the answer; its lines may hold foreign text."""
    write(sys.stderr, "\n".join(clean(line) for line in text.split("\n")) + end)


def write(stream: TextIO, text: str) -> None:
    """Write text at once, whatever the terminal's encoding can show."""
    try:
        send(stream, text.encode(stream.encoding or "utf-8", stream.errors or "backslashreplace"))
    except BrokenPipeError:
        if stream is not sys.stderr:
            raise
    except OSError as e:
        if stream is not sys.stderr:  # talk that nobody can be told is no reason to stop the work
            raise unwritable(e) from e


def send(stream: TextIO, data: bytes) -> None:
    """Write bytes to the last one at once; Python's own buffers lose some where somebody else made the stream non-blocking."""
    stream.flush()
    raw, view = getattr(stream.buffer, "raw", stream.buffer), memoryview(data)
    while view:
        done = raw.write(view)
        if done is None:
            select.select([], [raw], [])
        view = view[done or 0 :]


def unwritable(error: OSError) -> Unavailable:
    """Return what to say when the answer cannot be written: what was done stays done."""
    return Unavailable(
        f"cannot write the answer to stdout: {error.strerror}", hint="what was asked for is done; only the answer is lost", code="STDOUT"
    )


def read(here: Hand, most: int) -> bytes:
    """Return stdin to its end, at most that many bytes; a signal ends the wait, which a plain read would sleep through."""
    data = b""
    while len(data) < most and (part := _some(here)):
        data += part
    return data[:most]


def _some(here: Hand) -> bytes:
    while not select.select([0], [], [], 0.2)[0]:
        if here.signal:
            raise Cancelled("stopped while it waited for stdin")
    return os.read(0, 1 << 16)


def checked(check: Callable[[str], object]) -> Callable[..., Any]:
    """Return an option's callback that makes a refusal of `check` a usage error."""

    def callback(ctx: typer.Context, param: Any, value: Any) -> Any:  # noqa: ARG001 -- a callback's shape
        if value is not None:
            try:
                check(value)
            except RdevError as e:
                raise typer.BadParameter(f"{e.message}; {e.hint}") from e
        return value

    return callback


def _keep(name: str, check: Callable[[str], object] | None = None) -> Callable[..., Any]:
    def callback(ctx: typer.Context, param: Any, value: Any) -> Any:
        if value is not None and value is not False:
            if check is not None:
                checked(check)(ctx, param, value)
            source = ctx.get_parameter_source(name)
            if name != "context" or source is None or source.name == "COMMANDLINE":  # the settings read the environment themselves
                hand(ctx).options[name] = value
        return value

    return callback


def _context(value: str) -> None:
    name_rule(value, "context name")


def _format(value: str) -> None:
    if value not in FORMATS:
        raise Invalid(f"there is no format '{value}'", hint=f"one of {', '.join(FORMATS)}")


def _kind(value: str) -> None:
    if value not in ("bubblewrap", "none"):
        raise Invalid(f"there is no isolation '{value}'", hint="bubblewrap or none")


def _log_format(value: str) -> None:
    if value not in ("text", "json"):
        raise Invalid(f"there is no log format '{value}'", hint="text or json")


def _shared() -> list[TyperOption]:
    return [
        TyperOption(
            param_decls=["output", "-o", "--output"], metavar="FORMAT", expose_value=False, callback=_keep("output", _format),
            help="table, wide, json, yaml, name or jsonl.",
        ),
        TyperOption(
            param_decls=["context", "--context"], metavar="NAME", expose_value=False, callback=_keep("context", _context),
            help="The context to work in.",
        ),
        TyperOption(
            param_decls=["verbose", "-v", "--verbose"], is_flag=True, default=False, expose_value=False, callback=_keep("verbose"),
            help="Say on stderr what rdev does.",
        ),
        TyperOption(
            param_decls=["log_file", "--log-file"], metavar="FILE", expose_value=False, callback=_keep("log_file"),
            help="Write the same to a file (bounded, 0600).",
        ),
        TyperOption(
            param_decls=["log_format", "--log-format"], metavar="KIND", expose_value=False, callback=_keep("log_format", _log_format),
            help="text or json, for both.",
        ),
    ]  # fmt: skip


def _isolation() -> TyperOption:
    return TyperOption(
        param_decls=["isolation", "--isolation"], metavar="KIND", expose_value=False, callback=_keep("isolation", _kind),
        help="bubblewrap or none.",
    )  # fmt: skip


class Verb(TyperCommand):
    """A command with the options that all commands share; each option has a twin in the environment, RDEV_ and its long name."""

    rest: tuple[str, ...] = ()  # what its usage shows after its arguments

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.params = [*self.params, *_shared()]
        for param in self.params:
            if isinstance(param, TyperOption) and param.name != "isolation":  # the settings read that one, to say where it came from
                param.envvar, param.show_envvar = twin(max(param.opts, key=len)), False  # the root's help tells of them

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return the words of the usage line; the parser's braces around what must be given say nothing."""
        return [*(piece.strip("{}") for piece in super().collect_usage_pieces(ctx)), *self.rest]

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        hand(ctx).begin(ctx.command_path)
        try:
            return super().invoke(ctx)
        except BrokenPipeError as e:
            raise ReaderLeft from e  # the library would take it for itself, and end with 1


class Placed(Verb):
    """A command that also says how it is isolated."""

    def __init__(self, **kwargs: Any) -> None:
        params = kwargs.pop("params", None) or []
        super().__init__(**kwargs, params=[*params, _isolation()])


class Worded(Placed):
    """A command whose first argument may be left out, but not its last, which the parser cannot tell."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return the words of the usage line, the last argument among those that must be given."""
        *front, last = super().collect_usage_pieces(ctx)
        return [*front, last.strip("[]")]


class Tailed(Placed):
    """A command that takes another command's words after `--`, untouched."""

    rest = ("--", "ARGV...")


def twin(flag: str) -> str:
    """Return the variable that stands for a flag: RDEV_NO_WAIT for --no-wait."""
    return "RDEV_" + flag.lstrip("-").replace("-", "_").upper()


def noun(words: str) -> typer.Typer:
    """Return an empty group of commands."""
    return typer.Typer(
        help=words, no_args_is_help=True, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False,
        pretty_exceptions_show_locals=False,
    )  # fmt: skip


def does(
    group: typer.Typer, name: str, op: Callable[..., Any], typed: str = "", *, epilog: str = "", cls: type[Verb] = Verb
) -> Callable[[F], F]:
    """Attach a command to a group, taking its words from the operation it calls."""
    entry = entry_of(op)
    DOES[entry.name] = typed or f"{entry.name.partition('.')[0]} {name}"
    words = (op.__doc__ or "").strip()
    return group.command(name, cls=cls, help=words, short_help=entry.summary, epilog=epilog or None)


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
        asked = question[:1].lower() + question[1:]
        words = hand(ctx).words
        at = words.index("--") if "--" in words else len(words)
        typed = shlex.join(["rdev", *words[:at], "--yes", *words[at:]])
        raise Invalid(f"nobody can be asked here: {asked}", hint=f"say yes on the command line: {typed}", code="CONFIRMATION")
    say(f"{question} [y/N] ", end="")
    if _some(hand(ctx)).strip().lower() not in (b"y", b"yes"):
        say("nothing was changed")
        raise typer.Exit(130)
