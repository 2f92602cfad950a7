"""rdev project."""

from typing import Annotated

import typer

from rdev_cli.domain.codec import plain
from rdev_cli.domain.project import Project, ProjectSpec
from rdev_cli.domain.standing import ProjectSync
from rdev_cli.faces.cli.arguments import Name, Repeat, Some, one
from rdev_cli.faces.cli.face import Placed, confirm, does, duration, hand, noun, say
from rdev_cli.faces.cli.once import told
from rdev_cli.faces.cli.show import show
from rdev_cli.ops import projects

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rdev_cli.ports import World

app = noun("Projects: a record, a repository and a pod under one name.")

Wait = Annotated[
    str | None, typer.Option("--timeout", metavar="DURATION", help="How long to wait while another process works on it (30s).")
]


@does(app, "create", projects.create, epilog="rdev project create shop · rdev project create shop --from ~/src/shop", cls=Placed)
def create(
    ctx: typer.Context,
    project: Name,
    description: Annotated[str, typer.Option("--description", "-d", metavar="TEXT", help="One line about it.")] = "",
    source: Annotated[
        str | None, typer.Option("--from", metavar="DIR|URL", help="Take history and branches from there instead of the skeleton.")
    ] = None,
    no_network: Annotated[bool, typer.Option("--no-network", help="No command of it ever reaches the network.")] = False,
    agent: Annotated[str, typer.Option("--agent", metavar="NAME", help="The agent that works on it; the context's by default.")] = "",
    model: Annotated[str, typer.Option("--model", metavar="MODEL", help="That agent's model.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be done.")] = False,
    timeout: Wait = None,
    idempotency_key: Repeat = None,
) -> None:
    here = hand(ctx)
    here.options["wait_seconds"] = duration(timeout, "timeout")
    if source == "":
        raise typer.BadParameter("the folder or URL is empty", param_hint="'--from'")
    spec = ProjectSpec(name=project, description=description, source=source or "", network=not no_network, agent=agent, model=model)
    world = here.world()
    if dry_run:
        show(ctx, projects.plan_create(world, spec))
        return
    here.standing = f"{project} may be half made: rdev project create {project} goes on, rdev project delete {project} clears it"
    before = world.store.find_project(project)
    made = told(world, idempotency_key, projects.create, plain(spec), Project, lambda there: projects.create(there, spec))
    if here.human and (before is None or before.id != made.id or before.state is not made.state):
        say(f"created {made.name}; clone it: git clone {made.repository}")
    show(ctx, made)


@does(app, "list", projects.list_)
def list_(
    ctx: typer.Context,
    all_: Annotated[bool, typer.Option("--all", help="Those of others too whose pods stand in the same place.")] = False,
) -> None:
    world, none = hand(ctx).world(), "no projects yet; make one: rdev project create NAME"
    show(ctx, projects.found(world) if all_ else projects.list_(world), empty=none)


@does(app, "show", projects.show)
def show_(ctx: typer.Context, project: Some = None) -> None:
    show(ctx, projects.show(hand(ctx).world(), one(ctx, project)))


@does(app, "set", projects.set_, epilog="rdev project set shop --agent opencode --model anthropic/claude-sonnet-4-5")
def set_(
    ctx: typer.Context,
    project: Name,
    agent: Annotated[str | None, typer.Option("--agent", metavar="NAME", help="The agent that works on it; empty: the context's.")] = None,
    model: Annotated[str | None, typer.Option("--model", metavar="MODEL", help="That agent's model; empty: its own choice.")] = None,
    description: Annotated[str | None, typer.Option("--description", "-d", metavar="TEXT", help="One line about it.")] = None,
) -> None:
    show(ctx, projects.set_(hand(ctx).world(), project, agent=agent, model=model, description=description))


@does(app, "status", projects.status)
def status(ctx: typer.Context, project: Some = None) -> None:
    show(ctx, projects.status(hand(ctx).world(), one(ctx, project)))


@does(app, "sync", projects.sync)
def sync(ctx: typer.Context, project: Some = None, timeout: Wait = None, idempotency_key: Repeat = None) -> None:
    here = hand(ctx)
    here.options["wait_seconds"] = duration(timeout, "timeout")
    chosen = one(ctx, project)
    asked = {"project": chosen}
    show(ctx, told(here.world(), idempotency_key, projects.sync, asked, ProjectSync, lambda there: projects.sync(there, chosen)))


@does(app, "adopt", projects.adopt, epilog="rdev project list --all · rdev project adopt shop · rdev project adopt rdev-shop-1a2b3c4d")
def adopt(
    ctx: typer.Context,
    project: Annotated[str, typer.Argument(metavar="NAME", help="The project's name, or its pod's.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be done.")] = False,
    timeout: Wait = None,
    idempotency_key: Repeat = None,
) -> None:
    here = hand(ctx)
    here.options["wait_seconds"] = duration(timeout, "timeout")
    world = here.world()
    if dry_run:
        show(ctx, projects.plan_adopt(world, project))
        return

    def act(there: "World") -> Project:
        plan = projects.plan_adopt(there, project)
        confirm(ctx, f"{plan.would[:1].upper()}{plan.would[1:]}, into context {world.settings.context}: {', '.join(plan.steps)}?", yes=yes)
        here.standing = f"{plan.project} may be half taken over: rdev project adopt {plan.project} goes on"
        return projects.adopt(there, project)

    made = told(world, idempotency_key, projects.adopt, {"project": project}, Project, act)
    if here.human:
        say(f"{made.name} is a project here; clone it: git clone {made.repository}")
    show(ctx, made)


@does(app, "delete", projects.delete)
def delete(
    ctx: typer.Context,
    project: Name,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be removed.")] = False,
    timeout: Wait = None,
) -> None:
    here = hand(ctx)
    here.options["wait_seconds"] = duration(timeout, "timeout")
    world = here.world()
    plan = projects.plan_delete(world, project)
    if dry_run:
        show(ctx, plan)
        return
    confirm(ctx, f"Delete {project} in context {world.settings.context}: {', '.join(plan.steps)}?", yes=yes)
    here.standing = f"{project} may be half removed: rdev project delete {project} goes on"
    gone = projects.delete(world, project)
    if here.human:
        say(f"deleted {gone.name}")
    else:
        show(ctx, gone)
