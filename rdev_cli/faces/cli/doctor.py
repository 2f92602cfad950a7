"""rdev doctor."""

import typer

from rdev_cli.domain.report import Verdict
from rdev_cli.faces.cli.arguments import Isolation
from rdev_cli.faces.cli.face import does, hand, noun
from rdev_cli.faces.cli.show import show
from rdev_cli.ops import doctor

app = noun("")


@does(app, "doctor", doctor.check, "doctor")
def doctor_(ctx: typer.Context, isolation: Isolation = None) -> None:
    here = hand(ctx)
    here.options["isolation"] = isolation
    found = doctor.check(here.world())
    show(ctx, found)
    if any(check.verdict is Verdict.FAILED for check in found):
        raise typer.Exit(9)
