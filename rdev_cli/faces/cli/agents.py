"""rdev agent."""

from typing import Annotated

import typer

from rdev_cli.domain.agent import LATEST
from rdev_cli.domain.report import Verdict
from rdev_cli.domain.values import name as name_rule
from rdev_cli.faces.cli.arguments import Detached, Limit, Offline, PassphraseFile, Repeat, Some, one
from rdev_cli.faces.cli.claude import Conversation, Model, NoCommit, Prompt, Resume, Tools, run
from rdev_cli.faces.cli.face import Placed, checked, does, duration, hand, noun
from rdev_cli.faces.cli.show import show
from rdev_cli.ops import agents

app = noun("Agents: what works on a project; run one, look at them, and at what they used.")


def _name(value: str) -> None:
    name_rule(value, "agent")


@does(app, "run", agents.run, epilog='rdev agent run shop "add a /health page" --agent opencode', cls=Placed)
def run_(
    ctx: typer.Context,
    project: Some = None,
    prompt: Prompt = None,
    agent: Annotated[
        str | None, typer.Option("--agent", metavar="NAME", help="Which agent; the project's, else the context's.", callback=checked(_name))
    ] = None,
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
        ctx, agent or "", project, prompt, model=model, tools=tools, resume=conversation or (LATEST if resume else ""), commit=not no_commit,
        limit=duration(timeout, "timeout"), network=not no_network, wait=not no_wait, key=idempotency_key,
    )  # fmt: skip


@does(app, "list", agents.list_)
def list_(ctx: typer.Context) -> None:
    show(ctx, agents.list_(hand(ctx).world()))


@does(app, "show", agents.show)
def show_(ctx: typer.Context, agent: Annotated[str, typer.Argument(metavar="AGENT", help="The agent.", callback=checked(_name))]) -> None:
    show(ctx, agents.show(hand(ctx).world(), agent))


@does(app, "health", agents.health, cls=Placed)
def health(
    ctx: typer.Context,
    agent: Annotated[
        str | None, typer.Argument(metavar="[AGENT]", help="Only this one.", callback=checked(_name), show_default=False)
    ] = None,
) -> None:
    here = hand(ctx)
    found = agents.health(here.world(), agent or "")
    show(ctx, found)
    if any(check.verdict is Verdict.FAILED for check in found):
        raise typer.Exit(9)


@does(app, "usage", agents.usage)
def usage(
    ctx: typer.Context,
    project: Annotated[
        str | None, typer.Argument(metavar="[PROJECT]", help="Only on this project; all by default.", show_default=False)
    ] = None,
    since: Annotated[str | None, typer.Option("--since", metavar="DURATION", help="Only runs that began within so long: 8h, 30d.")] = None,
) -> None:
    chosen = "" if project is None else one(ctx, project)
    found = agents.usage(hand(ctx).world(), project=chosen, since_seconds=duration(since, "since"))
    show(ctx, found, empty="no agent has run yet")
