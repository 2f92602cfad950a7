"""rdev journal."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from rdev_cli.domain.codec import stamp
from rdev_cli.domain.errors import Invalid
from rdev_cli.domain.values import seconds, shown
from rdev_cli.faces.cli.face import checked, confirm, does, hand, noun, say
from rdev_cli.faces.cli.show import show
from rdev_cli.ops import journal

app = noun("The journal's upkeep: what is old, and the proof of what is left.")


@app.callback()
def _group() -> None:
    # with one verb and no callback the library would make that verb the command itself
    pass


def _time(text: str) -> datetime | timedelta:
    """Return a time, or how long ago; a date is its beginning in UTC, and a time without a zone is UTC too."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        try:
            return timedelta(seconds=seconds(text, "before"))
        except Invalid as e:
            hint = "how long ago (90s, 30m, 8h, 90d), or a date: 2026-01-31, 2026-01-31T12:00:00Z"
            raise Invalid(f"'{shown(text)}' is no time", hint=hint, field="before") from e
    return found if found.tzinfo else found.replace(tzinfo=UTC)


@does(app, "prune", journal.prune, epilog="rdev journal prune --before 90d · rdev journal prune --before 2026-01-31 --dry-run")
def prune(
    ctx: typer.Context,
    before: Annotated[
        str,
        typer.Option(
            "--before", metavar="DURATION|DATE", help="How long ago, or a date (in UTC).", show_default=False, callback=checked(_time)
        ),
    ],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be removed.")] = False,
) -> None:
    world, given = hand(ctx).world(), _time(before)
    moment = world.clock.now() - given if isinstance(given, timedelta) else given
    plan = journal.plan(world, moment)
    if dry_run:
        show(ctx, plan)
        return
    if plan.count:
        question = f"Remove {plan.count} lines of the journal of {world.settings.context}, all before {stamp(moment)}, for good?"
        confirm(ctx, question, yes=yes)
    found = journal.prune(world, moment)
    if hand(ctx).human:
        say(f"removed {found.count} lines" if found.count else "nothing is so old")
    else:
        show(ctx, found)
