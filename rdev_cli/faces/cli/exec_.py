"""rdev exec."""

from typing import Annotated

import typer

from rdev_cli.domain.command import CommandKind
from rdev_cli.domain.errors import Invalid
from rdev_cli.faces.cli.arguments import Detached, Limit, Offline, Some, one
from rdev_cli.faces.cli.face import Tailed, does, duration, hand, noun
from rdev_cli.faces.cli.running import run
from rdev_cli.ops import commands

app = noun("")


@does(app, "exec", commands.run, "exec", epilog="rdev exec shop -- go test ./... · tar c . | rdev exec -i shop -- tar x", cls=Tailed)
def exec_(
    ctx: typer.Context,
    project: Some = None,
    stdin: Annotated[bool, typer.Option("-i", "--stdin", help="Forward stdin, and close it at its end.")] = False,
    terminal: Annotated[bool, typer.Option("-t", "--tty", help="Give it a terminal.")] = False,
    timeout: Limit = None,
    no_network: Offline = False,
    no_wait: Detached = False,
) -> None:
    here = hand(ctx)
    if terminal and no_wait:
        raise Invalid("--no-wait and -t do not go together", hint="a terminal has somebody in front of it: leave one out", code="USAGE")
    here.remote = True
    if not here.tail:
        raise typer.BadParameter("name what to run after `--`: rdev exec PROJECT -- ARGV...", param_hint="'ARGV'")
    limit = duration(timeout, "timeout")
    raise typer.Exit(
        run(
            ctx, here, project=one(ctx, project), kind=CommandKind.EXEC, argv=tuple(here.tail), stdin=stdin or terminal, terminal=terminal,
            limit=limit, network=not no_network, wait=not no_wait,
        )
    )  # fmt: skip
