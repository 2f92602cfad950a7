"""rdev claude."""

import sys
from typing import Annotated, TextIO

import typer

from rdev_cli.domain.agent import AgentSpec
from rdev_cli.domain.codec import plain, to_json
from rdev_cli.domain.command import Command, CommandState, status
from rdev_cli.domain.errors import Failed, Invalid, OutcomeUnknown, Partial, TimedOut
from rdev_cli.domain.event import Event
from rdev_cli.faces.cli.arguments import Detached, Isolation, Limit, Name, Offline
from rdev_cli.faces.cli.face import Hand, does, duration, hand, noun, read, say, write
from rdev_cli.faces.cli.show import clean, emit, show
from rdev_cli.ops import agents, events, known

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rdev_cli.wiring.services import Services

app = noun("")


@does(app, "claude", agents.run, "claude", epilog='rdev claude shop "add a /health page" · rdev claude shop - <prompt.md')
def claude(
    ctx: typer.Context,
    project: Name,
    prompt: Annotated[str, typer.Argument(metavar="PROMPT|-", help="What to do; - reads it from stdin.", show_default=False)],
    model: Annotated[str, typer.Option("--model", metavar="MODEL", help="The model; the agent's own choice by default.")] = "",
    no_commit: Annotated[bool, typer.Option("--no-commit", help="Leave the changes in the work tree.")] = False,
    timeout: Limit = None,
    no_network: Offline = False,
    no_wait: Detached = False,
    isolation: Isolation = None,
) -> None:
    here = hand(ctx)
    here.options["isolation"] = isolation
    if prompt == "-":
        prompt = read(here, (4 << 20) + 8).decode("utf-8", "replace")
    if prompt.startswith("-"):
        raise Invalid("the prompt begins with '-'", hint="put `--` in front of it", field="prompt")
    raise typer.Exit(
        run(
            ctx,
            here,
            "claude",
            project,
            prompt,
            model=model,
            commit=not no_commit,
            limit=duration(timeout, "timeout"),
            network=not no_network,
            wait=not no_wait,
        )
    )


def run(
    ctx: typer.Context,
    here: Hand,
    agent: str,
    project: str,
    prompt: str,
    *,
    model: str = "",
    commit: bool = True,
    limit: int = 0,
    network: bool = True,
    wait: bool = True,
) -> int:
    """Run an agent and follow it to its end; return the exit code."""
    world = here.world()
    spec = AgentSpec(
        project=project, prompt=prompt, agent=agent, model=model, timeout_seconds=limit, commit=commit, network=network,
        environment=world.agent_environment(agent),
    )  # fmt: skip
    running = agents.run(world, spec)
    for note in running.notes:
        say(f"note: {note}")
    if not wait:
        show(ctx, running.command) if not here.human else write(sys.stdout, f"{running.command.id}\n")
        return 0
    return look(ctx, here, running.command)


def watch(here: Hand, world: "Services", command: Command, *, own: bool = True, into: TextIO | None = None, indent: str = "") -> Command:
    """Follow an agent and tell readable lines (or, for a program, its journal events) while it works; return it as it ended."""
    from rdev_cli.faces.cli import live  # noqa: PLC0415 -- with the work, not with help

    told = 0

    def tell() -> None:
        nonlocal told
        for event in events.read(world, after=told, subject=command.id, limit=1000):
            told = event.seq
            if here.human:
                line = words(event)
                if line:
                    write(into or sys.stderr, f"{indent}{line}\n")
            elif here.output == "jsonl":
                emit(to_json(event))

    command = live.follow(here, world, command, None, each=tell, own=own)
    tell()
    return command


def look(ctx: typer.Context, here: Hand, command: Command, *, own: bool = True) -> int:
    """Follow an agent to its end, then show its last words and the commit; raise if it went wrong."""
    world = here.world()
    command = watch(here, world, command, own=own)
    if here.output == "jsonl":
        emit(to_json({"type": "ended", **plain(command)}))
    elif not here.human:
        show(ctx, command)
    else:
        _person(here, command)
    return verdict(world, command)


def words(event: Event) -> str:
    """Return an agent's event as a line for a person, empty for what a person need not see."""
    data = event.data
    text = clean(" ".join(str(data.get("text", "")).split()))
    short = text if len(text) <= 160 else text[:157] + "..."
    if event.kind == "agent.said":
        return f"  {short}"
    if event.kind == "agent.used":
        return f"> {clean(str(data.get('tool', '')))} {clean(str(data.get('target', '')))}".rstrip()
    if event.kind == "agent.answered" and data.get("failed"):
        return f"! {short}"
    return ""


def _person(here: Hand, command: Command) -> None:
    if command.answer:
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


def verdict(world: "Services", command: Command) -> int:
    """Return 0 for an agent that did its work, else raise the error that says what happened."""
    if command.state is CommandState.COMPLETED:
        if command.reason == "undelivered":
            raise Partial(
                "the agent's commit could not be brought to the repository; it is in the pod",
                left=(command.project,),
                hint=f"rdev events --subject {command.id} says why; the next run of an agent takes it along",
                code="UNDELIVERED",
            )
        if command.delivered.startswith("rdev/rescue/"):
            raise Partial(
                f"the branch had moved on meanwhile, so the commit went to {command.delivered}",
                left=(command.delivered,),
                hint=f"merge it where you work: git merge origin/{command.delivered}",
                code="RESCUED",
                branch=command.delivered,
            )
        return 0
    if command.state is CommandState.CANCELLED:
        return status(command)
    if command.state is CommandState.LOST:
        raise OutcomeUnknown(
            f"{command.id} ended without a record", hint=f"look at the work tree: rdev git {command.project} -- status", command=command.id
        )
    if command.reason == "timeout":
        raise TimedOut(
            f"{command.id} was stopped at its time limit",
            hint="give more time with --timeout; the work tree is as it was left",
            command=command.id,
        )
    said = _errors(world, command)
    raise Failed(
        f"{command.agent} ended badly (exit code {command.exit_code})",
        hint=f"the work tree is as it was left: rdev git {command.project} -- status",
        code="AGENT_FAILED",
        command=command.id,
        said=command.answer or said,
    )


def _errors(world: "Services", command: Command) -> str:
    try:
        with world.spool.path(command.id, "err").open("rb") as file:
            return bytes(file.read(1 << 16)).decode(errors="replace")[-2000:]
    except OSError:
        return ""
