"""rdev git."""

import typer

from rdev_cli.domain.command import CommandKind
from rdev_cli.faces.cli.arguments import Detached, Limit, Repeat, Some, one
from rdev_cli.faces.cli.face import Misused, Tailed, duration, hand, noun
from rdev_cli.faces.cli.running import run

app = noun("")


@app.command("git", cls=Tailed, help="Run git in a project's work tree, in its pod.", epilog="rdev git shop -- log --oneline")
def git(ctx: typer.Context, project: Some = None, timeout: Limit = None, no_wait: Detached = False, idempotency_key: Repeat = None) -> None:
    here = hand(ctx)
    here.remote = True
    if not here.tail:
        raise Misused("there is nothing for git to do", f"it stands after `--`: rdev git {project or 'PROJECT'} -- log --oneline")
    limit = duration(timeout, "timeout")
    raise typer.Exit(
        run(
            ctx,
            here,
            project=one(ctx, project),
            kind=CommandKind.GIT,
            argv=("git", "--no-pager", *here.tail),
            limit=limit,
            key=idempotency_key,
            wait=not no_wait,
        )
    )
