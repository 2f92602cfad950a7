"""rdev shell."""

from typing import Annotated

import typer

from rdev_cli.domain.command import CommandKind
from rdev_cli.faces.cli.arguments import Detached, Limit, Offline, Repeat, Some, last
from rdev_cli.faces.cli.face import Worded, duration, hand, noun
from rdev_cli.faces.cli.running import run

app = noun("")


@app.command("shell", cls=Worded, help="Run a line of sh in a project's pod.", epilog="rdev shell shop 'ls | wc -l'")
def shell(
    ctx: typer.Context,
    project: Some = None,
    line: Annotated[str | None, typer.Argument(metavar="LINE", help="The line, as one word.", show_default=False)] = None,
    stdin: Annotated[bool, typer.Option("-i", "--stdin", help="Forward stdin, and close it at its end.")] = False,
    timeout: Limit = None,
    no_network: Offline = False,
    no_wait: Detached = False,
    idempotency_key: Repeat = None,
) -> None:
    here = hand(ctx)
    here.remote = True
    project, line = last(ctx, project, line, "LINE")
    raise typer.Exit(
        run(
            ctx, here, project=project, kind=CommandKind.SHELL, argv=("sh", "-c", line), stdin=stdin, limit=duration(timeout, "timeout"),
            network=not no_network, wait=not no_wait, key=idempotency_key,
        )
    )  # fmt: skip
