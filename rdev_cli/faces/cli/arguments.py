"""Arguments and options that several commands share."""

from typing import Annotated

import typer

from rdev_cli.domain.repeat import key
from rdev_cli.faces.cli.face import Misused, checked, hand

Name = Annotated[str, typer.Argument(metavar="PROJECT", help="The project.", show_default=False)]
Some = Annotated[
    str | None, typer.Argument(metavar="[PROJECT]", help="The project; the one that .rdev.yaml names, by default.", show_default=False)
]
Limit = Annotated[str | None, typer.Option("--timeout", metavar="DURATION", help="End it after so long: 90s, 30m, 8h.")]
Patience = Annotated[
    str | None, typer.Option("--timeout", metavar="DURATION", help="Stop waiting for its end after so long; the command goes on.")
]
Offline = Annotated[bool, typer.Option("--no-network", help="Without any network.")]
Repeat = Annotated[
    str | None,
    typer.Option(
        "--idempotency-key", metavar="WORD", help="Do it once: the same again under this key, within 24h, tells what the first did.",
        callback=checked(key),
    ),
]  # fmt: skip
Detached = Annotated[bool, typer.Option("--no-wait", help="Start it, print its id and leave; rdev command attach ID follows it.")]


PassphraseFile = Annotated[
    str | None,
    typer.Option("--passphrase-file", metavar="FILE", help="A file with the vault's passphrase; a terminal is asked, by default."),
]


def last(ctx: typer.Context, project: str | None, word: str | None, what: str) -> tuple[str, str]:
    """Return the project and the last argument; where the folder names the project, that one may stand alone."""
    if project is not None and word is not None:
        return one(ctx, project), word
    found = hand(ctx).world().settings.project if project is not None else ""
    if not project or not found or project == found:  # a project's name alone is no prompt and no line
        raise Misused("there is no line to run", f"{ctx.command_path} {found or project or 'PROJECT'} '{what}'")
    return found, project


def one(ctx: typer.Context, given: str | None) -> str:
    """Return the project given, or the one that the folder names; an empty word is a mistake, not a wish for the folder's."""
    found = given if given is not None else hand(ctx).world().settings.project
    if given == "":
        raise Misused("the project's name is empty", "rdev project list shows the ones there are")
    if not found:
        more = "rdev project list shows the ones there are, and `project: NAME` in .rdev.yaml stands for it"
        typed = " ".join((ctx.command_path, "PROJECT", *getattr(ctx.command, "rest", ())))
        raise Misused("no project is named", f"{typed}; {more}")
    return found
