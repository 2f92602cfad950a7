"""rdev gc."""

from typing import Annotated

import typer

from rdev_cli.domain.errors import Invalid, RdevError
from rdev_cli.domain.resource import SHORTEST, WINDOW, OrphanState
from rdev_cli.domain.values import seconds, spoken
from rdev_cli.faces.cli.face import checked, confirm, does, hand, noun, say
from rdev_cli.faces.cli.show import show
from rdev_cli.ops import checkouts, gc, sessions

app = noun("")


def _window(text: str) -> None:
    if seconds(text, "older-than") < SHORTEST:
        raise Invalid(f"{text} is too short: what is made just now may not have its record yet", hint=f"{SHORTEST // 60}m is the least")


@does(app, "gc", gc.collect, "gc", epilog="rdev gc · rdev gc --apply · rdev gc --apply --yes --allow 12")
def gc_(
    ctx: typer.Context,
    apply: Annotated[bool, typer.Option("--apply", help="Remove what is garbage.")] = False,
    older_than: Annotated[
        str | None,
        typer.Option(
            "--older-than", metavar="DURATION", help="How long it must have been seen without its project (1h).", callback=checked(_window)
        ),
    ] = None,
    allow: Annotated[int, typer.Option("--allow", metavar="NUMBER", min=0, help="Let so many go in one run.")] = 0,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    here = hand(ctx)
    world, window = here.world(), seconds(older_than, "older-than") if older_than else WINDOW
    context = world.settings.context  # one that there is not is told once, and not for each that it has not
    try:
        if (ended := sessions.sweep(world)) and here.human:
            say(f"ended {ended} {'session' if ended == 1 else 'sessions'} whose time was over")
    except RdevError as e:  # its pod keeps its record, and the rest can be looked at
        say(f"warning: not every session that is over has ended: {e.message}")
    try:
        if (ended := checkouts.sweep(world)) and here.human:
            say(f"took away {ended} {'credential' if ended == 1 else 'credentials'} of checkouts whose time was over")
    except RdevError as e:
        say(f"warning: not every checkout that is over has ended: {e.message}")
    found = gc.look(world, window=window, allow=allow if apply else None)
    garbage = [one for one in found if one.state is OrphanState.GARBAGE]
    if here.human or not apply:
        show(ctx, found, empty="everything has its record")
    if not apply:
        if here.human and garbage:
            say(f"rdev gc --apply removes {len(garbage)} of them")
        return
    if not garbage:
        if here.human:
            say(f"nothing to remove: it takes two runs, {spoken(window)} apart" if found else "nothing to remove")
        else:
            show(ctx, found)
        return
    names = ", ".join(f"{one.kind} {one.name}" for one in garbage[:5]) + (f" and {len(garbage) - 5} more" if len(garbage) > 5 else "")
    confirm(ctx, f"Remove {names} from context {context}, for good?", yes=yes)
    here.standing = "some of it may be removed: rdev gc --apply goes on"
    done = gc.collect(world, {one.uid for one in garbage}, window=window, allow=allow)
    if here.human:
        say(f"removed {sum(one.state is OrphanState.DELETED for one in done)} of {len(garbage)}; rdev events --subject gc tells which")
    else:
        show(ctx, done)
