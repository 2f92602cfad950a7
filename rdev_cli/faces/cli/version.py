"""rdev version."""

import platform
import sys

import typer

from rdev_cli import __version__
from rdev_cli.faces.cli.face import Verb, hand

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command("version", cls=Verb, help="Show the version.")
def version(ctx: typer.Context) -> None:
    if hand(ctx).human or hand(ctx).output == "name":
        sys.stdout.write(f"rdev {__version__}\n" if hand(ctx).human else f"{__version__}\n")
        return
    from rdev_cli.domain.answers import Version  # noqa: PLC0415 -- a document needs more than a line does
    from rdev_cli.faces.cli.show import show  # noqa: PLC0415

    show(ctx, Version(version=__version__, python=platform.python_version()))
