"""rdev ps."""

import typer

from rdev_cli.faces.cli.face import Verb, hand, noun
from rdev_cli.faces.cli.show import show
from rdev_cli.ops import commands

app = noun("")


@app.command("ps", cls=Verb, help="List the commands that run.")
def ps(ctx: typer.Context) -> None:
    show(ctx, commands.list_(hand(ctx).world(), running=True, limit=1000), empty="nothing runs")
