"""Arguments and options that several commands share."""

from typing import Annotated

import typer

from rdev_cli.domain.errors import Invalid
from rdev_cli.faces.cli.face import checked, hand

Name = Annotated[str, typer.Argument(metavar="PROJECT", help="The project.", show_default=False)]
Some = Annotated[
    str | None, typer.Argument(metavar="[PROJECT]", help="The project; the one that .rdev.yaml names, by default.", show_default=False)
]
Limit = Annotated[str | None, typer.Option("--timeout", metavar="DURATION", help="End it after so long: 90s, 30m, 8h.")]
Offline = Annotated[bool, typer.Option("--no-network", help="Without any network.")]
Detached = Annotated[bool, typer.Option("--no-wait", help="Start it, print its id and leave; rdev command attach ID follows it.")]


PassphraseFile = Annotated[
    str | None,
    typer.Option("--passphrase-file", metavar="FILE", help="A file with the vault's passphrase; a terminal is asked, by default."),
]


def _kind(value: str) -> None:
    if value not in ("bubblewrap", "none"):
        raise Invalid(f"there is no isolation '{value}'", hint="bubblewrap or none")


Isolation = Annotated[str | None, typer.Option("--isolation", metavar="KIND", help="bubblewrap or none.", callback=checked(_kind))]


def one(ctx: typer.Context, given: str | None) -> str:
    """Return the project given, or the one that the folder names; an empty word is a mistake, not a wish for the folder's."""
    found = given if given is not None else hand(ctx).world().settings.project
    if given == "":
        raise typer.BadParameter("the project's name is empty", param_hint="'PROJECT'")
    if not found:
        raise typer.BadParameter("name a project, or put `project: NAME` into .rdev.yaml", param_hint="'PROJECT'")
    return found
