"""rdev branch."""

import typer

from rdev_cli.faces.cli.arguments import Some, one
from rdev_cli.faces.cli.face import does, hand, noun
from rdev_cli.faces.cli.show import show
from rdev_cli.ops import checkouts

app = noun("Branches: what a project's repository holds, and the commit that each is at.")


@app.callback()
def _group() -> None:
    # with one verb and no callback the library would make that verb the command itself
    pass


@does(app, "list", checkouts.branches)
def list_(ctx: typer.Context, project: Some = None) -> None:
    chosen = one(ctx, project)
    show(ctx, checkouts.branches(hand(ctx).world(), chosen), empty=f"{chosen} has no branch")
