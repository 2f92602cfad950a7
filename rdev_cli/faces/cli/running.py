"""What exec, shell and git share: start a command, follow it, end as it ended."""

import sys

import typer

from rdev_cli.domain.codec import to_json
from rdev_cli.domain.command import Command, CommandKind, ExecSpec, status
from rdev_cli.faces.cli.face import Hand, say
from rdev_cli.faces.cli.show import emit, show
from rdev_cli.ops import commands

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rdev_cli.faces.cli.live import Stream
    from rdev_cli.wiring.services import Services

_SAYS = {
    "timeout": "it was stopped at its time limit",
    "stdin": "stdin broke before its end, so nobody can know what the command made of it",
    "lost": "its outcome cannot be known: there is no exit record",
}


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
) -> int:
    """Run a command to its end, its bytes exact and its exit code its own; with `wait` off say its id and leave."""
    from rdev_cli.faces.cli import live  # noqa: PLC0415 -- with the work, not with help

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
    running = commands.run(world, spec)
    command = running.command
    for note in running.notes:
        say(f"note: {note}")
    if not wait:
        show(ctx, command) if not here.human else sys.stdout.write(f"{command.id}\n")
        return 0
    streams = None
    if here.human or here.output == "name":
        streams = (
            live.Stream(world.spool.path(command.id, "out"), 0, live.to_fd(1)),
            live.Stream(world.spool.path(command.id, "err"), 0, live.to_fd(2)),
        )
    elif here.output == "jsonl":
        streams = _events(world, command)
    screen = live.Terminal(running.input) if terminal else None
    try:
        if running.input is not None:
            live.feed(running.input)
        command = live.follow(here, world, command, streams)
    finally:
        if screen is not None:
            screen.restore()
    if here.output == "jsonl":
        emit(to_json({"type": "ended", **_document(command)}))
    elif not (here.human or here.output == "name"):
        show(ctx, commands.output(world, command))
    elif command.reason in _SAYS:
        say(f"rdev: {command.id}: {_SAYS[command.reason]}")
    elif command.reason == "setup":
        say(f"rdev: {command.id}: the command could not be started: rdev doctor looks for the cause")
    return status(command)


def _events(world: "Services", command: Command) -> "tuple[Stream, Stream]":
    from rdev_cli.faces.cli import live  # noqa: PLC0415

    pair: list[live.Stream] = []

    def position() -> str:
        return f"{pair[0].offset}-{pair[1].offset}"

    pair += [
        live.Stream(world.spool.path(command.id, name), 0, live.to_events(command, label, position))
        for name, label in (("out", "stdout"), ("err", "stderr"))
    ]
    return pair[0], pair[1]


def _document(command: "object") -> dict[str, object]:
    from rdev_cli.domain.codec import plain  # noqa: PLC0415

    found: dict[str, object] = plain(command)
    return found
