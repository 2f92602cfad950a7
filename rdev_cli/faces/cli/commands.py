"""rdev command."""

import sys
from typing import Annotated

import typer

from rdev_cli.domain.codec import plain, to_json
from rdev_cli.domain.command import OPEN, CommandKind, status
from rdev_cli.faces.cli.arguments import one
from rdev_cli.faces.cli.face import does, hand, noun
from rdev_cli.faces.cli.show import emit, show
from rdev_cli.ops import commands, known

app = noun("Commands: durable runs, with an outcome and a replayable output.")

Id = Annotated[str, typer.Argument(metavar="COMMAND", help="Its id, or a unique beginning of it.", show_default=False)]
Whole = Annotated[str, typer.Argument(metavar="COMMAND", help="Its whole id.", show_default=False)]


@does(app, "list", commands.list_)
def list_(
    ctx: typer.Context,
    project: Annotated[str | None, typer.Option("--project", "-p", metavar="PROJECT", help="Only this project's.")] = None,
    running: Annotated[bool, typer.Option("--running", help="Only those that run.")] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, max=10000, help="At most so many.")] = 50,
) -> None:
    chosen = "" if project is None else one(ctx, project)
    found = commands.list_(hand(ctx).world(), project=chosen, running=running, limit=limit)
    show(ctx, found, empty="no commands yet; run one: rdev exec PROJECT -- ls")


@does(app, "show", commands.show)
def show_(ctx: typer.Context, command: Id) -> None:
    show(ctx, commands.show(hand(ctx).world(), command))


@does(app, "output", commands.output)
def output(
    ctx: typer.Context,
    command: Id,
    stderr: Annotated[bool, typer.Option("--stderr", help="What it wrote on stderr, instead of stdout.")] = False,
    offset: Annotated[int, typer.Option("--offset", min=0, help="From this byte on.")] = 0,
) -> None:
    from rdev_cli.faces.cli import live  # noqa: PLC0415

    here = hand(ctx)
    world = here.world()
    found = commands.show(world, command)
    if not here.human:
        show(ctx, commands.output(world, found))
        return
    _, progress = commands.follow(world, found, wait=0)
    stream = live.Stream(world.spool.path(found.id, "err" if stderr else "out"), offset, live.to_fd(1))
    try:
        stream.pour(progress.stderr if stderr else progress.stdout)
    finally:
        stream.close()


@does(app, "attach", commands.follow)
def attach(
    ctx: typer.Context,
    command: Id,
    offset: Annotated[int, typer.Option("--offset", min=0, help="From this byte of stdout on.")] = 0,
    stderr_offset: Annotated[int, typer.Option("--stderr-offset", min=0, help="From this byte of stderr on.")] = 0,
) -> None:
    """Replay and follow; it ends as the command ended, and Ctrl-C leaves the command running."""
    from rdev_cli.faces.cli import live, running  # noqa: PLC0415

    here = hand(ctx)
    world = here.world()
    found = known.command(world, command)
    if found.kind is CommandKind.AGENT and here.human:
        from rdev_cli.faces.cli.claude import look  # noqa: PLC0415

        raise typer.Exit(look(ctx, here, found, own=False))
    streams = None
    if here.human:
        streams = (
            live.Stream(world.spool.path(found.id, "out"), offset, live.to_fd(1)),
            live.Stream(world.spool.path(found.id, "err"), stderr_offset, live.to_fd(2)),
        )
    elif here.output == "jsonl":
        streams = running._events(world, found)  # noqa: SLF001 -- exec's own way to tell bytes as lines
        streams[0].offset, streams[1].offset = offset, stderr_offset
    found = live.follow(here, world, found, streams, own=False)
    if here.output == "jsonl":
        emit(to_json({"type": "ended", **plain(found)}))
    elif not here.human:
        show(ctx, commands.output(world, found))
    raise typer.Exit(status(found))


@does(app, "cancel", commands.cancel)
def cancel(ctx: typer.Context, command: Whole) -> None:
    ended = commands.cancel(hand(ctx).world(), command)
    show(ctx, ended)
    if ended.state in OPEN:
        from rdev_cli.domain.errors import Pending  # noqa: PLC0415

        raise Pending(f"{ended.id} has not ended yet", hint=f"rdev command show {ended.id}")
    sys.stdout.flush()
