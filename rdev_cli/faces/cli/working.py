"""Following an agent at work: readable lines for a person, its journal events for a program, and how it went at the end."""

import sys
from typing import TextIO

import typer

from rdev_cli.domain.codec import to_json
from rdev_cli.domain.command import Command, CommandState
from rdev_cli.domain.event import Event
from rdev_cli.faces.cli.face import Hand, clean, say, write
from rdev_cli.faces.cli.show import emit, show
from rdev_cli.ops import agents, events, known

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rdev_cli.ops.commands import Running
    from rdev_cli.wiring.services import Services


def watch(
    here: Hand, world: "Services", command: Command, *, own: bool = True, into: TextIO | None = None, indent: str = "", limit: int = 0
) -> Command:
    """Follow an agent and tell readable lines (or, for a program, its journal events) while it works; return it as it ended."""
    from rdev_cli.faces.cli import live  # noqa: PLC0415 -- with the work, not with help

    told = 0

    def each() -> None:
        nonlocal told
        told = tell(here, world, command.id, told, into or sys.stderr, indent)

    command = live.follow(here, world, command, None, each=each, own=own, limit=limit)
    each()
    return command


def tell(here: Hand, world: "Services", id: str, after: int, into: TextIO, indent: str = "") -> int:
    """Tell what the journal says of a command after a line of it; return the last line told."""
    while page := events.read(world, after=after, subject=id, limit=1000).items:
        for event in page:
            if here.output == "jsonl":
                emit(to_json(event))
            elif here.human and (line := words(event)):
                write(into, f"{indent}{line}\n")
        after = page[-1].seq
    return after


def look(ctx: typer.Context, here: Hand, command: Command, *, own: bool = True, limit: int = 0) -> None:
    """Follow an agent to its end, then show its last words and the commit; raise if it went wrong."""
    world = here.world()
    command = watch(here, world, command, own=own, limit=limit)
    if here.output == "jsonl":
        from rdev_cli.domain.lines import ended  # noqa: PLC0415 -- only for who reads lines

        emit(to_json(ended(command)))
    elif not here.human:
        show(ctx, command)
    else:
        _person(here, command)
    agents.verdict(world, command)


def words(event: Event) -> str:
    """Return an agent's event as a line for a person, empty for what a person need not see."""
    data = event.data
    text = clean(" ".join(str(data.get("text", "")).split()))
    short = text if len(text) <= 160 else text[:157] + "..."
    if event.kind == "agent.said":
        return f"  {short}"
    if event.kind == "agent.used":
        return f"> {clean(str(data.get('tool', '')))} {clean(str(data.get('target', '')))}".rstrip()
    if event.kind == "agent.retried":
        return f"~ {short}"
    if event.kind == "agent.answered" and data.get("failed"):
        return f"! {short}"
    return ""


def _person(here: Hand, command: Command) -> None:
    if command.answer and command.state is CommandState.COMPLETED:  # of a run that ended badly the error tells them
        write(sys.stdout, "".join(clean(line) + "\n" for line in command.answer.splitlines()))
    if command.commit:
        world = here.world()
        found = world.forge.commit(known.project(world, command.project), command.commit)
        write(sys.stdout, f"\ncommit {command.commit[:10]} on {clean(command.delivered)}: {clean(found.subject) if found else ''}\n")
        if found:
            write(sys.stdout, "".join(clean(line).rstrip() + "\n" for line in found.stat.splitlines()))
    elif command.state is CommandState.COMPLETED and not command.reason:
        say("nothing was committed: no file changed")
    tokens = f", {command.input_tokens} tokens in, {command.output_tokens} out" if command.input_tokens else ""
    took = f" in {command.duration_ms / 1000:.1f}s" if command.duration_ms is not None else ""
    say(f"{command.id} {command.state.value}{took}{tokens}{f', {command.cost_usd:.4f} USD' if command.cost_usd else ''}")


def screen(here: Hand, running: "Running", *, commit: bool) -> None:
    """Hand the terminal to an agent's own screen until it ends, then commit what it left; raise if it went wrong."""
    from rdev_cli.faces.cli import live  # noqa: PLC0415 -- with the work, not with help

    world, command = here.world(), running.command
    terminal = live.Terminal(running.input)
    try:
        if running.input is not None:
            live.Feed(running.input)
        command = live.follow(here, world, command, live.both(world, command.id))
    finally:
        terminal.restore()
    if command.state is CommandState.COMPLETED and commit:
        command = agents.keep(world, command, subject=f"Work with {command.agent}")
    _person(here, command)
    agents.verdict(world, command)
