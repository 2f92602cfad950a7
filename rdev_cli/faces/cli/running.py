"""What exec, shell and git share: start a command, follow it, end as it ended."""

import sys

import typer

from rdev_cli.domain.codec import to_json
from rdev_cli.domain.command import Command, CommandKind, ExecSpec, befell, status
from rdev_cli.faces.cli.face import Hand, say, write
from rdev_cli.faces.cli.show import emit, show
from rdev_cli.ops import commands

_SAYS = {
    "timeout": "it was stopped at its time limit",
    "stdin": "stdin broke before its end, so nobody can know what the command made of it",
    "lost": "its outcome cannot be known: there is no exit record",
    "setup": "the command could not be started: rdev doctor looks for the cause",
}


def tell(command: Command) -> None:
    """Say beside the output what it does not show: why the command did not simply exit, and that bytes of it are missing."""
    if command.reason in _SAYS:
        say(f"rdev: {command.id}: {befell(command) or _SAYS[command.reason]}")
    elif command.cause:
        say(f"rdev: {command.id}: {befell(command)}")
    if command.truncated:
        say(f"rdev: {command.id}: its output was cut: a stream is kept up to 2 GiB, and only while there is room on the disk")


def run(
    ctx: typer.Context,
    here: Hand,
    *,
    project: str,
    kind: CommandKind,
    argv: tuple[str, ...],
    stdin: bool = False,
    terminal: bool = False,
    limit: int = 0,
    network: bool = True,
    wait: bool = True,
    key: str | None = None,
) -> int:
    """Run a command to its end, its bytes exact and its exit code its own; with `wait` off say its id and leave.

    Under an idempotency key it is run once: a repeat follows that one, from its first byte on.
    """
    from rdev_cli.faces.cli import live  # noqa: PLC0415 -- with the work, not with help
    from rdev_cli.faces.cli.once import started  # noqa: PLC0415

    here.remote = True
    world = here.world()
    spec = ExecSpec(
        project=project,
        argv=argv,
        kind=kind,
        stdin=stdin,
        terminal=live.size() if terminal else None,
        timeout_seconds=limit,
        network=network,
    )
    running, own = started(world, key, commands.run, spec, lambda there: commands.run(there, spec))
    command = running.command
    for note in running.notes:
        say(f"note: {note}")
    if not wait:
        if running.input is not None:
            live.deliver(world, command, running.input)
        show(ctx, command) if not here.human else write(sys.stdout, f"{command.id}\n")
        return 0
    streams = live.both(world, command.id) if here.human else live.lines(world, command) if here.output == "jsonl" else None
    screen = live.Terminal(running.input) if terminal else None
    try:
        if running.input is not None:
            live.Feed(running.input)
        command = live.follow(here, world, command, streams, own=own)
    finally:
        if screen is not None:
            screen.restore()
    if here.output == "jsonl":
        from rdev_cli.domain.lines import ended  # noqa: PLC0415 -- only for who reads lines

        emit(to_json(ended(command)))
    elif not here.human:
        show(ctx, commands.output(world, command))
    else:
        tell(command)
    return status(command)
