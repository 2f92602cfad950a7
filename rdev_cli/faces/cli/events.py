"""rdev events."""

import sys
from typing import Annotated

import typer

from rdev_cli.faces.cli.face import checked, does, hand, noun, write
from rdev_cli.faces.cli.show import columns, show
from rdev_cli.faces.cli.tables import rows
from rdev_cli.ops import events

app = noun("")


@does(app, "events", events.read, "events", epilog="rdev events --follow -o jsonl | jq .kind")
def events_(
    ctx: typer.Context,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on, until Ctrl-C.")] = False,
    after: Annotated[int | None, typer.Option("--after", min=0, metavar="SEQ", help="Only what came after this line.")] = None,
    subject: Annotated[
        str | None, typer.Option("--subject", metavar="ID|NAME", help="Only what is about this.", callback=checked(events.subject_rule))
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=10000, help="At most so many (the newest, without --after).")] = 100,
) -> None:
    here = hand(ctx)
    world = here.world()
    about = subject or ""
    if follow and here.output in ("json", "yaml"):
        raise typer.BadParameter("a stream has no end, so it cannot be one document: use -o jsonl", param_hint="'--output'")
    page = (
        events.newest(world, subject=about, limit=limit) if after is None else events.read(world, after=after, subject=about, limit=limit)
    )
    if not follow:
        empty = "nothing matches" if subject or after else "nothing has happened yet"
        show(ctx, page, empty=empty, more="rdev events --after {}")
        return
    start, first = after or 0, True
    while True:
        if page.items and here.human:
            write(sys.stdout, rows(page.items, wide=here.output == "wide", head=first, columns=columns()))
        elif page.items:
            show(ctx, page)
        if page.items:
            first, start = False, page.items[-1].seq
        else:
            world.stop.wait(0.2)
        if world.stop.is_set():
            raise typer.Exit(130)
        page = events.read(world, after=start, subject=about, limit=1000)
