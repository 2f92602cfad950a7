"""rdev logs."""

import sys
from typing import Annotated

import typer

from rdev_cli.domain.codec import to_json
from rdev_cli.domain.command import CommandKind
from rdev_cli.domain.log import LogSpec, PodLog
from rdev_cli.domain.output import PAGE
from rdev_cli.domain.values import id_like
from rdev_cli.faces.cli.arguments import Some, one
from rdev_cli.faces.cli.face import Hand, Misused, Verb, does, duration, hand, noun, say, send
from rdev_cli.faces.cli.running import tell
from rdev_cli.faces.cli.show import emit, show
from rdev_cli.ops import commands
from rdev_cli.ops import logs as pods

app = noun("")

_MOST = 32 << 20  # bytes of a log that are shown at once; a node keeps 10 MiB of it, by default
_PAUSE = 0.5  # seconds between two looks at a pod's log


@does(app, "logs", pods.read, "logs", epilog="rdev logs shop -f · rdev logs shop --since 10m --tail 100 --timestamps", cls=Verb)
def logs(
    ctx: typer.Context,
    project: Some = None,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on until it ends.")] = False,
    since: Annotated[
        str | None, typer.Option("--since", metavar="DURATION", help="A pod's log: nothing older than this: 90s, 30m, 8h.")
    ] = None,
    tail: Annotated[int | None, typer.Option("--tail", min=0, help="A pod's log: its last so many lines.")] = None,
    previous: Annotated[bool, typer.Option("-p", "--previous", help="A pod's log: of the container before its last restart.")] = False,
    timestamps: Annotated[bool, typer.Option("--timestamps", help="A pod's log: each line with its time.")] = False,
) -> None:
    here = hand(ctx)
    if id_like(project or "", "cmd"):
        verb = "attach" if follow else "output"
        raise Misused("a project is meant here, and that is a command", f"rdev command {verb} {project}")
    spec = LogSpec(
        project=one(ctx, project), since_seconds=duration(since, "since"), tail=-1 if tail is None else tail, previous=previous,
        timestamps=timestamps,
    )  # fmt: skip
    most = _MOST if here.human or follow else PAGE
    page = pods.read(here.world(), spec, most=most)
    if page is None:
        _newest(ctx, here, spec.project, follow=follow)
    elif follow and (here.human or here.output == "jsonl"):
        _follow(here, spec, page)
    elif here.human:
        _tell(here, page)
    else:
        show(ctx, page)


def _follow(here: Hand, spec: LogSpec, page: PodLog) -> None:
    world = here.world()
    _tell(here, page)
    while not page.ended:
        if world.stop.wait(_PAUSE):
            raise typer.Exit(128 + here.signal)
        following = pods.read(world, spec, after=page.next, most=_MOST)
        if following is None:
            return
        page = following
        _tell(here, page)


def _tell(here: Hand, page: PodLog) -> None:
    if page.cut and here.human:
        say("note: this is only the end of it")
    if here.human:
        send(sys.stdout, page.log)
    elif page.log:
        emit(to_json(page))


def _newest(ctx: typer.Context, here: Hand, project: str, *, follow: bool) -> None:
    """Show what a project's newest command printed."""
    from rdev_cli.faces.cli import live, working  # noqa: PLC0415 -- with the work, not with help

    world = here.world()
    found = commands.newest(world, project)
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
