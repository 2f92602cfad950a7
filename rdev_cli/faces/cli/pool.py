"""rdev pool."""

from typing import Annotated

import typer

from rdev_cli.domain.worker import WorkerState
from rdev_cli.faces.cli.face import confirm, does, hand, noun, say
from rdev_cli.faces.cli.show import show
from rdev_cli.ops import pool

app = noun("The warm pool: pods that are made before a session needs one, and proved clean before the next has them.")


@does(app, "list", pool.list_)
def list_(ctx: typer.Context) -> None:
    show(ctx, pool.list_(hand(ctx).world()), empty="the pool is empty; rdev pool fill 3 makes three workers")


@does(app, "fill", pool.fill, epilog="rdev pool fill 3 · for good, by the server: rdev context set NAME --pool 3")
def fill(
    ctx: typer.Context,
    size: Annotated[
        int | None,
        typer.Argument(metavar="[NUMBER]", min=1, max=100, help="How many shall be idle; the context's own number.", show_default=False),
    ] = None,
) -> None:
    here = hand(ctx)
    here.standing = "some workers may be made: rdev pool list shows them, rdev pool fill goes on"
    found = pool.fill(here.world(), size or 0)
    show(ctx, found, empty="the context wants no workers: rdev context set NAME --pool 3")
    if here.human and found and all(one.evidence.startswith("serves once") for one in found):
        say(f"note: {found[0].evidence}; each is destroyed when its session ends")


@does(app, "drain", pool.drain)
def drain(ctx: typer.Context, yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False) -> None:
    here = hand(ctx)
    world = here.world()
    idle = sum(one.state is not WorkerState.BUSY for one in pool.list_(world))
    if idle:
        confirm(ctx, f"Destroy the workers of context {world.settings.context} that nobody has ({idle})?", yes=yes)
    here.standing = "some workers may stand: rdev pool drain goes on"
    show(ctx, pool.drain(world), empty="the pool is empty")
    if here.human and world.settings.pool_size():
        say(f"a server of this context makes new ones: rdev context set {world.settings.context} --pool 0")


@does(app, "audit", pool.audit)
def audit(ctx: typer.Context) -> None:
    found = pool.audit(hand(ctx).world())
    show(ctx, found, empty="no worker is idle, so there is nothing to look at; rdev pool list shows who has them")
    if not all(one.clean for one in found):
        raise typer.Exit(9)
