"""rdev exec."""

import shlex
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from rdev_cli.domain.command import CommandKind
from rdev_cli.domain.errors import Invalid
from rdev_cli.faces.cli.arguments import Detached, Limit, Offline, Repeat, Some, one
from rdev_cli.faces.cli.face import Misused, Tailed, does, duration, hand, noun, say
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
    idempotency_key: Repeat = None,
) -> None:
    here = hand(ctx)
    if terminal and no_wait:
        raise Invalid("--no-wait and -t do not go together", hint="a terminal has somebody in front of it: leave one out", code="USAGE")
    here.remote = True
    if not here.tail:
        raise Misused("there is nothing to run", f"it stands after `--`: rdev exec {project or 'PROJECT'} -- ARGV...")
    limit = duration(timeout, "timeout")
    project = one(ctx, project)
    code = run(
        ctx, here, project=project, kind=CommandKind.EXEC, argv=tuple(here.tail), stdin=stdin or terminal, terminal=terminal,
        limit=limit, network=not no_network, wait=not no_wait, key=idempotency_key,
    )  # fmt: skip
    if here.human and (hint := _meant(project, here.tail, code, alone=not (stdin or no_wait))):
        say(f"hint:  {hint}")
    raise typer.Exit(code)


def _meant(project: str, argv: Sequence[str], code: int, *, alone: bool) -> str:
    """Return what to type for a command that cannot do here what it was meant to, empty for every other one."""
    if code == 127 and (len(argv[0].split()) > 1 or argv[0] in ("cd", "export", "source", ".", "alias")):
        return f"that is a line for a shell: rdev shell {project} {shlex.quote(argv[0] if len(argv) == 1 else shlex.join(argv))}"
    interactive = len(argv) == 1 and argv[0].rpartition("/")[2] in ("sh", "bash", "zsh", "fish", "python", "python3", "node")
    if code == 0 and alone and interactive and sys.stdin.isatty() and sys.stderr.isatty():
        return f"it had nothing to read: rdev exec -it {project} -- {shlex.quote(argv[0])}"
    return ""
