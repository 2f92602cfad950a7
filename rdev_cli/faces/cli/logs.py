"""rdev logs."""

from typing import Annotated

import typer

from rdev_cli.domain.errors import NotFound
from rdev_cli.faces.cli.arguments import Some, one
from rdev_cli.faces.cli.face import Verb, hand, noun
from rdev_cli.faces.cli.show import show
from rdev_cli.ops import commands

app = noun("")


@app.command("logs", cls=Verb, help="Show the output of a project's newest command.")
def logs(
    ctx: typer.Context, project: Some = None, follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on until it ends.")] = False
) -> None:
    from rdev_cli.faces.cli import live  # noqa: PLC0415

    here = hand(ctx)
    world, name = here.world(), one(ctx, project)
    found = commands.list_(world, project=name, limit=1)
    if not found:
        raise NotFound(f"no command has run in {name} yet", hint=f"rdev exec {name} -- ls", project=name)
    if not here.human:
        show(ctx, commands.output(world, found[0]))
        return
    streams = (
        live.Stream(world.spool.path(found[0].id, "out"), 0, live.to_fd(1)),
        live.Stream(world.spool.path(found[0].id, "err"), 0, live.to_fd(2)),
    )
    if follow:
        live.follow(here, world, found[0], streams, own=False)
        return
    _, progress = commands.follow(world, found[0], wait=0)
    for stream, end in zip(streams, (progress.stdout, progress.stderr), strict=True):
        stream.pour(end)
        stream.close()
