"""rdev ci."""

from typing import Annotated

import typer

from rdev_cli.domain.review import Checked, Verdict
from rdev_cli.faces.cli.arguments import Limit, Some, one
from rdev_cli.faces.cli.checking import audience
from rdev_cli.faces.cli.face import Placed, does, duration, hand, noun, say
from rdev_cli.faces.cli.show import show
from rdev_cli.ops import ci

app = noun("Pipelines: the steps of .woodpecker.yml, run in a clean pod.")


@app.callback()
def group() -> None:
    """Pipelines: the steps of .woodpecker.yml, run in a clean pod."""


@does(app, "run", ci.run, epilog="rdev ci run shop · rdev ci run shop --branch feature/cart", cls=Placed)
def run(
    ctx: typer.Context,
    project: Some = None,
    branch: Annotated[str | None, typer.Option("--branch", metavar="BRANCH", help="Of this branch; the project's, by default.")] = None,
    commit: Annotated[str | None, typer.Option("--commit", metavar="SHA", help="Of this commit; the branch's newest, by default.")] = None,
    timeout: Limit = None,
) -> None:
    here, limit = hand(ctx), duration(timeout, "timeout")
    project = one(ctx, project)
    world = here.world()
    more, tell = {"limit_seconds": limit} if limit else {}, audience(here, world)
    checked = ci.run(world, project, branch=branch or "", commit=commit or "", tell=tell, **more)
    if here.human and tell is not None:
        tell.noted(checked.notes)
        say(f"rdev: {project} at {checked.commit[:10]}: {checked.verdict.value}")
    else:
        show(ctx, checked)
    ended(checked)


def ended(checked: Checked) -> None:
    """End as checks ended: 9 if one failed, 124 if it was the time that was over."""
    if checked.verdict is Verdict.FAILED:
        raise typer.Exit(124 if any(run.reason == "timeout" for run in checked.runs) else 9)
