"""rdev operation."""

from typing import Annotated

import typer

from rdev_cli.domain.errors import Invalid
from rdev_cli.domain.values import id_like, shown
from rdev_cli.faces.cli.face import checked, does, hand, noun
from rdev_cli.faces.cli.show import show
from rdev_cli.ops import jobs

app = noun("Operations that were asked for over HTTP: how each stands, and what became of it.")


def _id(value: str) -> None:
    if not (id_like(value, "opn") or id_like(value, "cmd")):
        raise Invalid(f"'{shown(value)}' is no operation's id", hint="rdev operation list shows the ids: opn_…")


@does(app, "list", jobs.list_)
def list_(
    ctx: typer.Context,
    before: Annotated[
        str | None, typer.Option("--before", metavar="OPERATION", help="Only those older than this one.", callback=checked(_id))
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=10000, help="At most so many.")] = 50,
) -> None:
    found = jobs.list_(hand(ctx).world(), before=before or "", limit=limit)
    show(ctx, found, empty="nothing was asked for over HTTP in the last days", more="rdev operation list --before {}")


@does(app, "show", jobs.show)
def show_(
    ctx: typer.Context, operation: Annotated[str, typer.Argument(metavar="OPERATION", help="Its whole id.", callback=checked(_id))]
) -> None:
    show(ctx, jobs.show(hand(ctx).world(), operation))
