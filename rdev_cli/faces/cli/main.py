"""The hand: the command tree, built only where it is used, and what goes wrong turned into words and an exit code."""

import importlib
import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import Any

import typer
from typer.core import TyperGroup

from rdev_cli.domain.codec import to_json
from rdev_cli.domain.errors import RdevError
from rdev_cli.faces.cli.face import EXITS, Hand, say

# What stands at the root: module, and one line of help. A test holds the lines to the ledger's and the modules'.
TREE: dict[str, tuple[str, str]] = {
    "demo": ("demo", "The main job, narrated live on a scripted model, then cleaned up."),
    "project": ("projects", "Projects: a record, a repository and a pod under one name."),
    "claude": ("claude", "Run Claude Code on a project and commit what it changed."),
    "exec": ("exec_", "Run a command in a project's pod."),
    "shell": ("shell", "Run a line of sh in a project's pod."),
    "git": ("git", "Run git in a project's work tree, in its pod."),
    "command": ("commands", "Commands: durable runs, with an outcome and a replayable output."),
    "ps": ("ps", "List the commands that run."),
    "logs": ("logs", "Show the output of a project's newest command."),
    "events": ("events", "Show what happened: who did what, on what, with which outcome."),
    "context": ("contexts", "Contexts: named places to work, and the settings in force."),
    "doctor": ("doctor", "Look at everything that rdev stands on, and prove what can be proved."),
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

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the branch that is named; a near miss is named in the error."""
        if args and args[0] not in TREE:
            self.commands = dict.fromkeys(TREE)  # type: ignore[assignment] # names are all that the suggestion looks at
        return super().resolve_command(ctx, args)

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
        epilog="New here? Type: rdev demo",
        no_args_is_help=True,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    )


def _split(argv: Sequence[str]) -> tuple[list[str], list[str] | None]:
    """Return rdev's words and, for exec and git, what stands after `--`."""
    if argv and argv[0] in _TAILED and "--" in argv:
        at = argv.index("--")
        return list(argv[:at]), list(argv[at + 1 :])
    return list(argv), None


def _wanted(argv: Sequence[str]) -> str:
    """Return the format asked for, also when the words could not be understood."""
    for here, word in enumerate(argv):
        if word in ("-o", "--output") and here + 1 < len(argv):
            return argv[here + 1]
        if word.startswith("--output="):
            return word.partition("=")[2]
        if word.startswith("-o") and len(word) > 2:
            return word[2:].removeprefix("=")
    return os.environ.get("RDEV_OUTPUT", "")


def tell(error: RdevError, form: str) -> None:
    """Print an error: words for a person, a document for a program; always on stderr."""
    from rdev_cli.faces.cli.show import clean  # noqa: PLC0415 -- only when something went wrong

    if form in ("json", "jsonl", "yaml"):
        body = {"error": {"code": error.code, "message": error.message, "hint": error.hint, "context": error.context}}
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
            os.write(2, f"\nleft at once{'; ' + hand.standing if hand.standing else ''}\n".encode())
            os._exit(130)
        hand.stopped(number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup stays nohup
            signal.signal(number, on_signal)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line; return its exit code (docs/errors.md has the table)."""
    words = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a terminal that cannot show a character shows its number
    mine, tail = _split(words)
    hand = Hand(tail)
    _listen(hand)
    try:
        code = _run(hand, mine)
        sys.stdout.flush()
    except BrokenPipeError:
        # whoever read our stdout has left: so do we, and the interpreter must not complain when it flushes
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        code = 141
    finally:
        hand.close()
    if hand.signal and code in (0, EXITS["Cancelled"]):
        return 128 + hand.signal if code else 0
    return code


def _run(hand: Hand, words: list[str]) -> int:
    form = _wanted(words)
    try:
        code = root()(words, prog_name="rdev", standalone_mode=False, obj=hand)
    except RdevError as e:
        _note(hand, e)
        tell(e, form)
        exit_code = next(EXITS[kind.__name__] for kind in type(e).__mro__ if kind.__name__ in EXITS)
        return 125 if hand.remote and exit_code not in (124, 130) else exit_code
    except typer.Abort:
        return 130
    except typer.TyperException as e:
        return _misused(e, words, form)
    except BrokenPipeError:
        raise
    except Exception as e:
        _note(hand, e)
        if hand.options.get("verbose"):
            raise
        tell(
            RdevError(f"rdev failed: {type(e).__name__}: {e}", hint="this is rdev's fault; the same with -v shows where", code="INTERNAL"),
            form,
        )
        return 1
    return code if isinstance(code, int) else 0


def _misused(error: "typer.TyperException", words: list[str], form: str) -> int:
    from rdev_cli.domain.errors import Invalid  # noqa: PLC0415

    if type(error).__name__ == "NoArgsIsHelpError":
        say(error.format_message())
        return 2
    ctx = getattr(error, "ctx", None)
    path = ctx.command_path if ctx is not None else "rdev"
    message = error.format_message()
    hint = f"{path} --help shows how it is typed"
    if words and words[0] in _TAILED and "unexpected extra argument" in message:
        message = "what to run stands after `--`"
        hint = f"rdev {words[0]} {words[1] if len(words) > 1 else 'PROJECT'} -- {' '.join(words[2:]) or 'ARGV...'}"
    tell(Invalid(message[:1].lower() + message[1:].rstrip("."), hint=hint, code="USAGE"), form)
    return 2


def _note(hand: Hand, error: BaseException) -> None:
    if hand.options.get("verbose") or hand.options.get("log_file"):
        from rdev_cli.wiring.log import log  # noqa: PLC0415 -- only when somebody reads it

        log().error("failed", extra={"error": f"{type(error).__name__}: {error}", "code": getattr(error, "code", "INTERNAL")})
