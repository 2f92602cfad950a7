"""rdev uninstall."""

from typing import Annotated

import typer

from rdev_cli.domain.premises import Fate
from rdev_cli.domain.values import sized
from rdev_cli.faces.cli.face import confirm, does, hand, noun, say
from rdev_cli.faces.cli.show import show
from rdev_cli.ops import premises

app = noun("")


@does(app, "uninstall", premises.remove, "uninstall", epilog="rdev uninstall --dry-run")
def uninstall(
    ctx: typer.Context,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be removed.")] = False,
    keep_config: Annotated[bool, typer.Option("--keep-config", help="Leave the settings.")] = False,
) -> None:
    here = hand(ctx)
    if here.options.get("context"):
        raise typer.BadParameter("it removes what is there of every context, not of one", param_hint="'--context'")
    world = here.world()
    plan = premises.plan(world, keep_config=keep_config)
    if dry_run:
        show(ctx, plan, empty="rdev keeps nothing here")
        return
    going, ending = ([one for one in plan if one.fate is fate] for fate in (Fate.REMOVED, Fate.ENDED))
    if here.human:
        show(ctx, plan, empty="rdev keeps nothing here")
    if going or ending:
        size = sized(sum(one.bytes for one in going))
        first = f"End what runs ({', '.join(one.name for one in ending)}) and remove" if ending else "Remove"
        confirm(ctx, f"{first} {size} in {len(going)} places, for good?", yes=yes)
    here.standing = "some of it may be removed: rdev uninstall goes on"
    done = premises.remove(world, keep_config=keep_config)
    if not here.human:
        show(ctx, done)
        return
    say("removed; the package itself: pip uninstall rdev" if going else "nothing was removed; the package itself: pip uninstall rdev")
