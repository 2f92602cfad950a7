"""rdev doctor."""

import typer

from rdev_cli.domain.report import Verdict
from rdev_cli.faces.cli.face import Placed, does, hand, noun
from rdev_cli.faces.cli.show import show
from rdev_cli.ops import doctor

app = noun("")


@does(app, "doctor", doctor.check, "doctor", cls=Placed)
def doctor_(ctx: typer.Context) -> None:
    found = doctor.check(hand(ctx).world())
    show(ctx, found)
    if any(check.verdict is Verdict.FAILED for check in found):
        raise typer.Exit(9)
