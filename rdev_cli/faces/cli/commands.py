"""rdev command."""

import sys
from typing import Annotated

import typer

from rdev_cli.domain.codec import to_json
from rdev_cli.domain.command import OPEN, CommandKind, CommandState, status
from rdev_cli.domain.errors import Invalid, TimedOut
from rdev_cli.domain.values import id_like, shown
from rdev_cli.faces.cli.arguments import Patience, one
from rdev_cli.faces.cli.face import Misused, checked, does, duration, hand, noun, say
from rdev_cli.faces.cli.running import tell
from rdev_cli.faces.cli.show import emit, show
from rdev_cli.ops import commands, known

app = noun("Commands: durable runs, with an outcome and a replayable output.")

Id = Annotated[str, typer.Argument(metavar="COMMAND", help="Its id, or a unique beginning of it.", show_default=False)]
Whole = Annotated[str, typer.Argument(metavar="COMMAND", help="Its whole id.", show_default=False)]
Offset = Annotated[int, typer.Option("--offset", min=0, help="From this byte of stdout on.")]
StderrOffset = Annotated[int, typer.Option("--stderr-offset", min=0, help="From this byte of stderr on.")]


def _id(value: str) -> None:
    if not id_like(value, "cmd"):
        raise Invalid(f"'{shown(value)}' is no command id", hint="rdev command list shows the ids: cmd_…")


@does(app, "list", commands.list_)
def list_(
    ctx: typer.Context,
    project: Annotated[str | None, typer.Option("--project", "-p", metavar="PROJECT", help="Only this project's.")] = None,
    session: Annotated[
        str | None, typer.Option("--session", metavar="SESSION", help="Only this session's: its id, or a unique beginning of it.")
    ] = None,
    running: Annotated[bool, typer.Option("--running", help="Only those that run.")] = False,
    before: Annotated[
        str | None, typer.Option("--before", metavar="COMMAND", help="Only those older than this one.", callback=checked(_id))
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=10000, help="At most so many.")] = 50,
) -> None:
    chosen = "" if project is None else one(ctx, project)
    if session == "":
        raise Misused("the id is empty", "rdev session list shows the ids: ses_…")
    found = commands.list_(hand(ctx).world(), project=chosen, session=session or "", running=running, before=before or "", limit=limit)
    empty = "nothing matches" if project or session or running or before else "no commands yet; run one: rdev exec PROJECT -- ls"
    show(ctx, found, empty=empty, more="rdev command list --before {}")


@does(app, "show", commands.show)
def show_(ctx: typer.Context, command: Id) -> None:
    show(ctx, commands.show(hand(ctx).world(), command))


@does(app, "output", commands.output)
def output(
    ctx: typer.Context,
    command: Id,
    stderr: Annotated[bool, typer.Option("--stderr", help="What it wrote on stderr, instead of stdout.")] = False,
    offset: Offset = 0,
    stderr_offset: StderrOffset = 0,
) -> None:
    from rdev_cli.faces.cli import live  # noqa: PLC0415

    here = hand(ctx)
    world = here.world()
    found = commands.show(world, command)
    if not here.human:
        show(ctx, commands.output(world, found, offset=offset, stderr_offset=stderr_offset))
        return
    found, progress = commands.follow(world, found, wait=0)
    stream = live.Stream(world.spool.path(found.id, "err" if stderr else "out"), stderr_offset if stderr else offset, live.to_fd(1))
    try:
        stream.pour(progress.stderr if stderr else progress.stdout)
    finally:
        stream.close()
    tell(found)


@does(app, "attach", commands.follow)
def attach(
    ctx: typer.Context,
    command: Id,
    offset: Offset = 0,
    stderr_offset: StderrOffset = 0,
    timeout: Patience = None,
) -> None:
    """Replay and follow; it ends as the command ended, and Ctrl-C leaves the command running."""
    from rdev_cli.faces.cli import live  # noqa: PLC0415

    here = hand(ctx)
    limit = duration(timeout, "timeout")
    world = here.world()
    found = known.command(world, command)
    if found.kind is CommandKind.AGENT:
        from rdev_cli.faces.cli.working import look  # noqa: PLC0415

        return look(ctx, here, found, own=False, limit=limit)
    streams = None
    if here.human:
        streams = live.both(world, found.id, stdout=offset, stderr=stderr_offset)
    elif here.output == "jsonl":
        streams = live.lines(world, found, stdout=offset, stderr=stderr_offset)
    found = live.follow(here, world, found, streams, own=False, limit=limit)
    if here.output == "jsonl":
        from rdev_cli.domain.lines import ended  # noqa: PLC0415 -- only for who reads lines

        emit(to_json(ended(found)))
    elif not here.human:
        show(ctx, commands.output(world, found))
    else:
        tell(found)
        if found.state is CommandState.CANCELLED:
            say(f"rdev: {found.id}: it was cancelled")
    raise typer.Exit(status(found))


@does(app, "cancel", commands.cancel)
def cancel(ctx: typer.Context, command: Whole, timeout: Patience = None) -> None:
    limit = duration(timeout, "timeout")
    world = hand(ctx).world()
    ended = commands.cancel(world, command, wait=limit) if limit else commands.cancel(world, command)
    show(ctx, ended)
    if ended.state in OPEN and limit:
        raise TimedOut(f"{ended.id} has not ended yet", hint=f"it was told to: rdev command show {ended.id}", command=ended.id)
    if ended.state in OPEN:
        from rdev_cli.domain.errors import Pending  # noqa: PLC0415

        raise Pending(f"{ended.id} has not ended yet", hint=f"rdev command show {ended.id}")
    sys.stdout.flush()
