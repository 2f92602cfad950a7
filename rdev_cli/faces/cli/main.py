"""The hand: the command tree, built only where it is used, and what goes wrong turned into words and an exit code."""

import contextlib
import importlib
import os
import re
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import Any

import typer
from typer.core import TyperGroup

from rdev_cli.domain.errors import RdevError, Unavailable
from rdev_cli.faces.cli.face import EXITS, Hand, ReaderLeft, clean, say

# What stands at the root: module, and one line of help. A test holds the lines to the ledger's and the modules'.
TREE: dict[str, tuple[str, str]] = {
    "demo": ("demo", "The main job, narrated live on a scripted model, then cleaned up."),
    "project": ("projects", "Projects: a record, a repository and a pod under one name."),
    "agent": ("agents", "Agents: what works on a project; run one, look at them, and at what they used."),
    "claude": ("claude", "Run Claude Code on a project and commit what it changed."),
    "exec": ("exec_", "Run a command in a project's pod."),
    "shell": ("shell", "Run a line of sh in a project's pod."),
    "git": ("git", "Run git in a project's work tree, in its pod."),
    "session": ("sessions", "Sessions: a pod of its own for a while, on a branch of a project, with an end."),
    "preview": ("previews", "Previews: ports of sessions, under addresses that nobody can guess."),
    "pool": ("pool", "The warm pool: pods that are made before a session needs one, and proved clean before the next has them."),
    "command": ("commands", "Commands: durable runs, with an outcome and a replayable output."),
    "operation": ("operations", "Operations that were asked for over HTTP: how each stands, and what became of it."),
    "ci": ("ci", "Pipelines: the steps of .woodpecker.yml, run in a clean pod."),
    "receipt": ("receipts", "Receipts: what was checked on which tree, signed; held against what is there, and run again."),
    "cp": ("files", "Copy files and folders out of a project's pod, or into it."),
    "ps": ("ps", "List the commands that run."),
    "logs": ("logs", "Show the log of a project's pod; in `local`, the output of its newest command."),
    "events": ("events", "Show what happened: who did what, on what, with which outcome."),
    "journal": ("journal", "The journal's upkeep: what is old, and the proof of what is left."),
    "checkin": (
        "checkin",
        "Check in what a session or a checkout made: its branch, a pull request, a review, and the merge if that is asked for.",
    ),
    "credential": ("credentials", "Credentials: values that agents need and nobody else may see."),
    "checkout": ("checkouts", "Checkouts: a branch on your own machine, with a credential that reaches nothing else and ends."),
    "branch": ("branches", "Branches: what a project's repository holds, and the commit that each is at."),
    "webhook": ("webhooks", "Webhooks: endpoints elsewhere that are told what happens."),
    "key": ("keys", "Keys: what a caller of `rdev serve` shows, and what it is allowed by it."),
    "serve": ("serve", "Serve projects, commands and agents over HTTP, until it is stopped."),
    "context": ("contexts", "Contexts: named places to work, and the settings in force."),
    "gc": ("gc", "List what is left over of projects that are gone, and remove it."),
    "doctor": ("doctor", "Look at tools, files, state, journal and isolation, and say what to type about what is wrong."),
    "completion": ("completion", "Print the completion script of a shell: commands, options and live names at Tab."),
    "schema": ("schema", "Show the JSON Schema of a document that rdev prints."),
    "uninstall": ("uninstall", "Remove everything that rdev keeps on this machine, in every context."),
    "version": ("version", "Show the version."),
}
_TAILED = ("exec", "git")  # what stands after their `--` is the command's own and is not looked at


class Root(TyperGroup):
    """The root of the tree; a branch is imported when it is named."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002
        """Return the names in the order in which help shows them."""
        return list(TREE)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002
        """Return one branch, built now."""
        if cmd_name not in TREE:
            return None
        module = importlib.import_module(f"rdev_cli.faces.cli.{TREE[cmd_name][0]}")
        command = typer.main.get_command(module.app)
        command.name = cmd_name
        return command

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002
        """List the branches without building any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, words) for name, (_, words) in TREE.items()])


def root() -> Root:
    """Return the command tree."""
    from typer.core import TyperOption  # noqa: PLC0415 -- with the tree, not with the module

    def version(ctx: typer.Context, param: Any, value: bool) -> None:  # noqa: ARG001 -- a callback's shape
        if value:
            from rdev_cli import __version__  # noqa: PLC0415

            sys.stdout.write(f"rdev {__version__}\n")
            raise typer.Exit

    option = TyperOption(
        param_decls=["version", "--version"],
        is_flag=True,
        default=False,
        is_eager=True,
        expose_value=False,
        callback=version,
        help="Show the version.",
    )
    return Root(
        name="rdev",
        params=[option],
        help="Run coding agents and plain commands in isolated environments, and carry their work to review, CI and deploy.",
        epilog="New here? Type: rdev demo. An option's twin in the environment: RDEV_NO_WAIT=1 for --no-wait.",
        no_args_is_help=True,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    )


def _split(argv: Sequence[str]) -> tuple[list[str], list[str] | None]:
    """Return rdev's words and, for exec and git, a session's too, what stands after `--`."""
    verb = argv[1:2] if argv[:1] == ["session"] else argv[:1]
    if verb and verb[0] in _TAILED and "--" in argv:
        at = argv.index("--")
        return list(argv[:at]), list(argv[at + 1 :])
    return list(argv), None


def _wanted(argv: Sequence[str]) -> str:
    """Return the format asked for, also when the words could not be understood."""
    found = os.environ.get("RDEV_OUTPUT", "")
    for here, word in enumerate(argv):
        if word == "--":
            break
        if match := re.fullmatch("(?:--output|-[fhityv]*o)(=?.*)", word):  # short flags may stand in front of it in one word
            found = match[1].removeprefix("=") or "".join(argv[here + 1 : here + 2])
    return found


def tell(error: RdevError, form: str) -> None:
    """Print an error: words for a person, a document for a program; always on stderr."""
    if form in ("json", "jsonl", "yaml"):
        from rdev_cli.domain.answers import ErrorDocument, Problem  # noqa: PLC0415
        from rdev_cli.domain.codec import to_json  # noqa: PLC0415

        body = ErrorDocument(error=Problem(code=error.code, message=error.message, hint=error.hint, context=error.context))
        with contextlib.suppress(OSError):
            sys.stderr.buffer.write((to_json(body) + "\n").encode())
            sys.stderr.flush()
        return
    say(f"error: {clean(error.message)}")
    if said := error.context.get("said"):
        for line in str(said).splitlines()[-5:]:
            say(f"       {clean(line)}")
    if error.hint:
        say(f"hint:  {clean(error.hint)}")


def _listen(hand: Hand) -> None:
    """Turn signals into a stop; the second Ctrl-C leaves at once."""

    def on_signal(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        if hand.signal and number == signal.SIGINT:
            with contextlib.suppress(OSError):
                os.write(2, f"\nleft at once{'; ' + hand.standing if hand.standing else ''}\n".encode())
            os._exit(130)
        hand.stopped(number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup stays nohup
            signal.signal(number, on_signal)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line; return its exit code (docs/errors.md has the table)."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words[:1] == ["help"]:
        words = [*words[1:], "--help"]
    _streams()
    os.umask(0o077)  # what others may read of rdev's files is nobody's choice to make by accident
    mine, tail = _split(words)
    hand = Hand(tail, words)
    _listen(hand)
    try:
        code = _run(hand, mine)
    except (ReaderLeft, BrokenPipeError):
        code = 141
    finally:
        hand.close()
    if hand.signal and code == EXITS["Cancelled"]:
        code = 128 + hand.signal
    code = _flush(code)
    hand.end(code)
    return code


def _streams() -> None:
    """See to it that there are three streams: a file opened later must never become stdout."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        stream = getattr(sys, name)
        if stream is None:
            fd = os.open(os.devnull, os.O_RDWR)
            if fd != number:
                os.dup2(fd, number)
                os.close(fd)
            stream = open(number, "w" if number else "r", encoding="utf-8", closefd=False)  # noqa: SIM115 -- stays for good
            setattr(sys, name, stream)
        if number and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a terminal that cannot show a character shows its number


def _flush(code: int) -> int:
    """Write what is left; a stream that takes nothing is given up, so that the interpreter does not complain when it ends."""
    for number, stream in ((1, sys.stdout), (2, sys.stderr)):
        try:
            stream.flush()
        except OSError as e:
            os.dup2(os.open(os.devnull, os.O_WRONLY), number)
            if number == 1 and code == 0:
                code = 141 if isinstance(e, BrokenPipeError) else EXITS["Unavailable"]
    return code


def _run(hand: Hand, words: list[str]) -> int:
    form = _wanted(words)
    try:
        code = root()(words, prog_name="rdev", standalone_mode=False, obj=hand)
    except RdevError as e:
        return _failed(hand, e, form)
    except SystemExit as e:  # the library's one, for help that nobody reads any more
        raise ReaderLeft from e
    except typer.Abort:
        return 130
    except typer.TyperException as e:
        return _misused(e, words, hand.tail, form)
    except (ReaderLeft, BrokenPipeError):
        raise
    except OSError as e:
        where = f" ({e.filename})" if e.filename else ""
        words_ = f"the machine did not do what rdev asked of it{where}: {e.strerror or e}"
        return _failed(hand, Unavailable(words_, hint="rdev doctor looks for the cause", code="MACHINE", path=e.filename), form)
    except Exception as e:  # noqa: BLE001 -- the last resort: a person reads words, never a traceback
        if hand.options.get("verbose"):
            import traceback  # noqa: PLC0415 -- only when a person wants to see where; never with the values of variables

            say(traceback.format_exc(), end="")
        hint = "this is rdev's fault; the same with -v shows where"
        return _failed(hand, RdevError(f"rdev failed: {type(e).__name__}: {e}", hint=hint, code="INTERNAL"), form)
    return code if isinstance(code, int) else 0


def _failed(hand: Hand, error: RdevError, form: str) -> int:
    """Tell an error and return its exit code."""
    if hand.logs:
        from rdev_cli.wiring.log import log  # noqa: PLC0415 -- only when somebody reads it

        log().error("failed", extra={"error": error.message, "code": error.code})
    tell(error, form)
    code = next(EXITS[kind.__name__] for kind in type(error).__mro__ if kind.__name__ in EXITS)
    if hand.remote and code not in (EXITS["OutcomeUnknown"], EXITS["TimedOut"], EXITS["Cancelled"]):
        # once the command runs, rdev's own trouble says nothing about it: it goes on, and can be looked at
        return EXITS["OutcomeUnknown"] if hand.standing else 125
    return code


def _misused(error: "typer.TyperException", words: list[str], tail: Sequence[str] | None, form: str) -> int:
    from rdev_cli.domain.errors import Invalid  # noqa: PLC0415

    if type(error).__name__ == "NoArgsIsHelpError":
        say(error.format_message())
        return 2
    from rdev_cli.faces.cli import meant  # noqa: PLC0415 -- only for a hint

    kind, message = type(error).__name__, error.format_message()
    wrong, hint = "", getattr(error, "hint", "")
    if kind == "MissingParameter":
        hint = _missing(error)
    elif kind in ("UsageError", "NoSuchOption") and words:
        typed = words if tail is None else [*words, "--", *tail]
        wrong, hint = meant.line(typed, getattr(error, "option_name", "")) or ("", hint)
    message = wrong or message.partition(" Did you mean")[0]
    if words[:1] in (["credential"], ["key"]) and kind == "UsageError":
        message = message.partition(" (")[0]  # a word too many may be the value, or the key itself
    if words[:1] == ["key"] and message.startswith("No such command"):
        message = "no such command"  # nor what stands in the place of a verb
    tell(Invalid(message[:1].lower() + message[1:].rstrip("."), hint=hint or meant.usage(words), code="USAGE"), form)
    return 2


def _missing(error: Any) -> str:
    """Return how a command is typed that lacks a word, and where such words can be found."""
    ctx = error.ctx
    needed = (f"{param.opts[0]} {param.metavar}" for param in ctx.command.params if param.required and param.param_type_name == "option")
    typed = " ".join((ctx.command_path, *(piece for piece in ctx.command.collect_usage_pieces(ctx) if piece != "[OPTIONS]"), *needed))
    noun = {"PROJECT": "project", "COMMAND": "command", "AGENT": "agent", "KEY": "key", "CHECKOUT": "checkout"}.get(
        error.param.metavar or ""
    )
    if not noun or ctx.command_path == "rdev project create":
        return f"{typed}; {ctx.command_path} --help says more"
    return f"{typed}; rdev {noun} list shows the ones there are"
