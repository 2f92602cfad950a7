"""rdev credential."""

import os
import sys
from typing import Annotated

import typer

from rdev_cli.domain.credential import FILE_MAX, VALUE_MAX, credential_name
from rdev_cli.domain.errors import Cancelled, Invalid
from rdev_cli.domain.report import Verdict
from rdev_cli.faces.cli.arguments import PassphraseFile
from rdev_cli.faces.cli.face import Misused, confirm, does, hand, noun, read, say
from rdev_cli.faces.cli.hidden import ask
from rdev_cli.faces.cli.show import show
from rdev_cli.ops import credentials

app = noun("Credentials: values that agents need and nobody else may see.")


def _named(value: str) -> str:
    return credential_name(value)  # before anything is logged or asked: what was typed may be the value


Name = Annotated[
    str,
    typer.Argument(
        metavar="NAME", help="The credential, which is the variable that an agent gets: ANTHROPIC_API_KEY.", show_default=False,
        callback=_named,
    ),
]  # fmt: skip


def _stdin(ctx: typer.Context, value: str | None) -> str | None:
    if value not in (None, "-"):  # what was typed may be the value itself, so it is not repeated
        hint = f"rdev credential set {ctx.params.get('name', 'NAME')} asks for it; or pipe it in, or use --from-file FILE"
        raise Misused("a value is no argument: every user of the machine could read it", hint)
    return value


@does(
    app, "set", credentials.set_, epilog="rdev credential set ANTHROPIC_API_KEY · pass show key | rdev credential set ANTHROPIC_API_KEY -"
)
def set_(
    ctx: typer.Context,
    name: Name,
    stdin: Annotated[
        str | None,
        typer.Argument(metavar="[-]", help="Read the value from stdin, also done for a pipe; a terminal is asked.", callback=_stdin),
    ] = None,
    from_file: Annotated[str | None, typer.Option("--from-file", metavar="FILE", help="Read the value from a file.")] = None,
    passphrase_file: PassphraseFile = None,
) -> None:
    here = hand(ctx)
    here.options["passphrase_file"] = passphrase_file
    if stdin and from_file:
        raise typer.BadParameter("the value comes from stdin or from a file, not from both", param_hint="'--from-file'")
    if from_file:
        value = _file(from_file, VALUE_MAX + 3)
    elif sys.stdin.isatty():
        typed = ask(here, f"The value of {name} (not shown): ")
        if typed is None:
            raise Cancelled("nobody can be asked here", hint="pipe the value in, or use --from-file FILE")
        value = typed.reveal().encode()
    else:
        value = read(here, VALUE_MAX + 3)
    show(ctx, credentials.set_(here.world(), name, value))


@does(app, "list", credentials.list_)
def list_(ctx: typer.Context) -> None:
    show(ctx, credentials.list_(hand(ctx).world()), empty="there are no credentials; rdev credential set NAME keeps one")


@does(app, "import", credentials.import_, epilog="rdev credential import .env")
def import_(
    ctx: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE|-", help="The file; - reads stdin.", show_default=False)],
    passphrase_file: PassphraseFile = None,
) -> None:
    here = hand(ctx)
    here.options["passphrase_file"] = passphrase_file
    text = read(here, FILE_MAX + 1) if file == "-" else _file(file, FILE_MAX + 1)
    show(ctx, credentials.import_(here.world(), text))


@does(app, "remove", credentials.remove)
def remove(ctx: typer.Context, name: Name, yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False) -> None:
    here = hand(ctx)
    world = here.world()
    found = credentials.known(world, name)
    confirm(ctx, f"Remove the credential {name} of context {world.settings.context} for good?", yes=yes)
    gone = credentials.remove(world, found.name)
    if here.human:
        say(f"removed {gone.name}")
    else:
        show(ctx, gone)


@does(app, "test", credentials.try_)
def try_(ctx: typer.Context, name: Name, passphrase_file: PassphraseFile = None) -> None:
    here = hand(ctx)
    here.options["passphrase_file"] = passphrase_file
    found = credentials.try_(here.world(), name)
    show(ctx, found)
    verdicts = {check.verdict for check in found}
    if code := 9 if Verdict.FAILED in verdicts else 6 if Verdict.WARNING in verdicts else 0:
        raise typer.Exit(code)


def _file(path: str, most: int) -> bytes:
    """Return what a file holds, at most that many bytes."""
    try:
        with open(os.path.expanduser(path), "rb") as file:
            return file.read(most)
    except OSError as e:
        raise Invalid(f"cannot read {path}: {e.strerror}", hint="name a file that there is, or - for stdin", file=path) from e
