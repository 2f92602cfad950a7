"""rdev logs."""

import sys
from typing import Annotated

import typer

from rdev_cli.domain.command import CommandKind
from rdev_cli.domain.values import id_like
from rdev_cli.faces.cli.arguments import Some, one
from rdev_cli.faces.cli.face import Misused, Verb, hand, noun
from rdev_cli.faces.cli.running import tell
from rdev_cli.faces.cli.show import show
from rdev_cli.ops import commands

app = noun("")


@app.command("logs", cls=Verb, help="Show the output of a project's newest command.")
def logs(
    ctx: typer.Context, project: Some = None, follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on until it ends.")] = False
) -> None:
    from rdev_cli.faces.cli import live, working  # noqa: PLC0415 -- with the work, not with help

    here = hand(ctx)
    if id_like(project or "", "cmd"):
        verb = "attach" if follow else "output"
        raise Misused("a project is meant here, and that is a command", f"rdev command {verb} {project}")
    world = here.world()
    found = commands.newest(world, one(ctx, project))
    if not (here.human or (follow and here.output == "jsonl")):
        show(ctx, commands.output(world, found))
    elif found.kind is CommandKind.AGENT and follow:
        working.watch(here, world, found, own=False, into=sys.stdout)
    elif found.kind is CommandKind.AGENT:
        working.tell(here, world, found.id, 0, sys.stdout)
    elif follow:
        found = live.follow(here, world, found, live.both(world, found.id) if here.human else live.lines(world, found), own=False)
        if here.human:
            tell(found)
    else:
        found, progress = commands.follow(world, found, wait=0)
        for stream, end in zip(live.both(world, found.id), (progress.stdout, progress.stderr), strict=True):
            stream.pour(end)
            stream.close()
        tell(found)
