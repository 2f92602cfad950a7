"""rdev claude."""

import sys
from typing import Annotated

import typer

from rdev_cli.domain.agent import AgentSpec
from rdev_cli.faces.cli.arguments import Detached, Limit, Offline, Some, last
from rdev_cli.faces.cli.face import Hand, Worded, does, duration, hand, noun, read, say, write
from rdev_cli.faces.cli.show import show
from rdev_cli.faces.cli.working import look
from rdev_cli.ops import agents

app = noun("")


@does(app, "claude", agents.run, "claude", epilog='rdev claude shop "add a /health page" · rdev claude shop - <prompt.md', cls=Worded)
def claude(
    ctx: typer.Context,
    project: Some = None,
    prompt: Annotated[str | None, typer.Argument(metavar="PROMPT|-", help="What to do; - reads it from stdin.", show_default=False)] = None,
    model: Annotated[str, typer.Option("--model", metavar="MODEL", help="The model; the agent's own choice by default.")] = "",
    no_commit: Annotated[bool, typer.Option("--no-commit", help="Leave the changes in the work tree.")] = False,
    timeout: Limit = None,
    no_network: Offline = False,
    no_wait: Detached = False,
) -> None:
    here = hand(ctx)
    project, prompt = last(ctx, project, prompt, "PROMPT")
    if prompt == "-":
        prompt = read(here, (4 << 20) + 8).decode("utf-8", "replace")
    run(
        ctx, here, "claude", project, prompt, model=model, commit=not no_commit, limit=duration(timeout, "timeout"), network=not no_network,
        wait=not no_wait,
    )  # fmt: skip


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
) -> None:
    """Run an agent and follow it to its end; raise if it went wrong."""
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
    else:
        if here.human:
            say(f"{running.command.id} works on {project}; rdev command cancel {running.command.id} ends it")
        look(ctx, here, running.command)
