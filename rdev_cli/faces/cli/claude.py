"""rdev claude, and what every way to run an agent shares."""

import shlex
import sys
from typing import Annotated

import typer

from rdev_cli.domain.agent import LATEST, AgentSpec
from rdev_cli.domain.errors import Invalid
from rdev_cli.domain.values import id_like
from rdev_cli.domain.values import name as name_rule
from rdev_cli.faces.cli.arguments import Detached, Limit, Offline, PassphraseFile, Repeat, Some, one
from rdev_cli.faces.cli.face import Misused, Placed, duration, hand, noun, read, say, write
from rdev_cli.faces.cli.show import show
from rdev_cli.faces.cli.working import look
from rdev_cli.ops import agents

app = noun("")

Prompt = Annotated[
    str | None,
    typer.Argument(metavar="[PROMPT|-]", help="What to do; - reads it from stdin; none: the agent's own screen.", show_default=False),
]
Model = Annotated[
    str, typer.Option("--model", metavar="MODEL", help="The model; the project's, the context's, else the agent's own choice.")
]
Tools = Annotated[str, typer.Option("--tools", metavar="TOOL,TOOL", help="All the tools it may use: Read,Edit,Write,Glob,Grep,Bash.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with its last conversation in this project.")]
Conversation = Annotated[
    str, typer.Option("--conversation", metavar="ID|COMMAND", help="Go on with this conversation: its id, or a run of it.")
]
NoCommit = Annotated[bool, typer.Option("--no-commit", help="Leave the changes in the work tree.")]


@app.command(
    "claude", cls=Placed, help="Run Claude Code on a project and commit what it changed.",
    epilog='rdev claude shop "add a /health page" · rdev claude shop - <prompt.md · rdev claude shop --resume "and link to it"',
)  # fmt: skip
def claude(
    ctx: typer.Context,
    project: Some = None,
    prompt: Prompt = None,
    model: Model = "",
    tools: Tools = "",
    resume: Resume = False,
    conversation: Conversation = "",
    no_commit: NoCommit = False,
    timeout: Limit = None,
    no_network: Offline = False,
    no_wait: Detached = False,
    passphrase_file: PassphraseFile = None,
    idempotency_key: Repeat = None,
) -> None:
    hand(ctx).options["passphrase_file"] = passphrase_file
    run(
        ctx, "claude", project, prompt, model=model, tools=tools, resume=conversation or (LATEST if resume else ""), commit=not no_commit,
        limit=duration(timeout, "timeout"), network=not no_network, wait=not no_wait, key=idempotency_key,
    )  # fmt: skip


def run(
    ctx: typer.Context,
    agent: str,
    project: str | None,
    prompt: str | None,
    *,
    model: str,
    tools: str,
    resume: str,
    commit: bool,
    limit: int,
    network: bool,
    wait: bool,
    key: str | None,
) -> None:
    """Run an agent and follow it to its end, or open its screen; raise if it went wrong."""
    here = hand(ctx)
    project, prompt = _asked(ctx, project, prompt)
    size = None
    if prompt is None:
        if not (sys.stdin.isatty() and sys.stdout.isatty() and here.human and wait):
            more = "- instead of it reads it from stdin, and without one an agent opens its screen, which needs a terminal"
            raise Misused("there is no prompt", f"{ctx.command_path} {project} 'what to do'; {more}")
        from rdev_cli.faces.cli.live import size as size_of  # noqa: PLC0415 -- only for a screen

        size = size_of()
    elif prompt == "-":
        prompt = read(here, (4 << 20) + 8).decode("utf-8", "replace")
    world = here.world()
    spec = AgentSpec(
        project=project, prompt=prompt or "", agent=agent, model=model, tools=tuple(t for t in tools.split(",") if t), resume=resume,
        terminal=size, timeout_seconds=limit, commit=commit, network=network,
    )  # fmt: skip
    from rdev_cli.faces.cli.once import started  # noqa: PLC0415 -- with the work, not with help

    running, own = started(world, key, agents.run, spec, lambda there: agents.run(there, spec))
    for note in running.notes:
        say(f"note: {note}")
    if size is not None and own:
        from rdev_cli.faces.cli.working import screen  # noqa: PLC0415

        screen(here, running, commit=commit)
    elif not wait:
        show(ctx, running.command) if not here.human else write(sys.stdout, f"{running.command.id}\n")
    else:
        if here.human:
            say(f"{running.command.id} works on {project}; rdev command cancel {running.command.id} ends it")
        look(ctx, here, running.command, own=own)


def _asked(ctx: typer.Context, project: str | None, prompt: str | None) -> tuple[str, str | None]:
    """Return the project and the prompt; where the folder names the project, the prompt may stand alone: it is no name."""
    if project and not _is_name(project):
        if prompt is not None and _is_name(prompt) and any(c.isspace() for c in project):
            raise Misused("the project comes first", shlex.join([*ctx.command_path.split(), prompt, project]))
        if prompt is None and hand(ctx).world().settings.project:
            return one(ctx, None), project
        if prompt is None and any(c.isspace() for c in project):
            more = "rdev project list shows the ones there are"
            raise Misused("no project is named", f"{ctx.command_path} PROJECT {shlex.quote(project)}; {more}")
    return one(ctx, project), prompt


def _is_name(text: str) -> bool:
    if id_like(text, "ses"):
        return True
    try:
        name_rule(text, "project name")
    except Invalid:
        return False
    return True
