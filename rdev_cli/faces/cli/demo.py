"""rdev demo."""

import os
import shlex
import sys
from typing import Annotated

import typer

from rdev_cli.domain.agent import AgentSpec
from rdev_cli.domain.command import Command
from rdev_cli.domain.errors import RdevError, Unavailable
from rdev_cli.domain.lines import Demo
from rdev_cli.domain.project import Project, ProjectSpec
from rdev_cli.domain.values import Secret
from rdev_cli.faces.cli.face import Hand, Placed, clean, hand, noun, say, write
from rdev_cli.faces.cli.show import show
from rdev_cli.faces.cli.working import watch
from rdev_cli.ops import agents, commands, projects

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rdev_cli.wiring.services import Services

app = noun("")


def _bold(text: str) -> str:
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or not sys.stdout.isatty()
    return text if plain else typer.style(text, bold=True)


def _step(here: Hand, number: int, what: str, typed: str) -> None:
    if here.human:
        write(sys.stdout, f"\n{_bold(f'{number}  {what}')}\n   $ {typed}\n")


def _agent(world: "Services", given: str) -> str:
    if given:
        world.agents.named(given)
        return given
    # the model is a script on this machine, which no pod of a cluster reaches: there the bundled agent plays it
    there = world.cluster.here and world.cluster.isolated and world.agents.named("claude").program()
    return "claude" if there else "bundled"


def _isolated(here: Hand) -> tuple["Services", str]:
    """Return a world that can run the demo: without bubblewrap the bundled agent, and it alone, may run plain."""
    world = here.world()
    try:
        world.cluster.ready()
    except Unavailable as e:
        if e.code != "TOOL_MISSING":
            raise
        say(f"warning: {e.message}; the demo's own agent runs without isolation")
        say(f"hint:    {e.hint}")
        here.close()
        return here.again(isolation="none"), "bundled"
    return world, ""


@app.command(
    "demo",
    cls=Placed,
    help="The main job, narrated live on a scripted model, then cleaned up.\n\n"
    "Creates a project, runs a coding agent on it in an isolated environment, shows what it changed, deletes everything. "
    "The model is a script on this machine, so no key is needed and nothing is sent anywhere; Claude Code is used if it is here.",
)
def demo(
    ctx: typer.Context,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the project, to look at it.")] = False,
    agent: Annotated[str, typer.Option("--agent", metavar="NAME", help="claude or bundled; what is here, by default.")] = "",
) -> None:
    here = hand(ctx)
    world, forced = _isolated(here)
    chosen = forced or _agent(world, agent)
    name = f"demo-{os.urandom(2).hex()}"
    project: Project | None = None
    here.standing = f"the project {name} may still be there: rdev project delete {name}"
    try:
        place = "an isolated place to work" if world.cluster.isolated else "a place to work"
        _step(here, 1, f"Create a project: a repository from the skeleton, and {place}", f"rdev project create {name}")
        project = projects.create(world, ProjectSpec(name=name, description="A project of the demo."))
        if here.human:
            write(sys.stdout, f"   {clean(project.repository)}\n")
        command = _work(here, world, project, chosen)
        agents.verdict(world, command)
        if here.human:
            _look(world, project, command)
    except BaseException as e:
        if project is not None:
            _away(here, world, project, keep=False)
            if isinstance(e, RdevError):
                e.hint = "the demo's project is deleted; rdev demo begins again"  # its own hint speaks of that project
        raise
    _away(here, world, project, keep=keep)
    if here.human:
        _next(project if keep else None)
    else:
        show(ctx, Demo(project=name, agent=chosen, command=command, kept=keep))


def _work(here: Hand, world: "Services", project: Project, agent: str) -> Command:
    from rdev_cli.wiring.demo import PROMPT  # noqa: PLC0415 -- only a demo that came this far

    _step(here, 2, "Let a coding agent work on it", f'rdev claude {project.name} "{PROMPT}"')
    if not world.cluster.here:
        say("   a pod does not reach the model on this machine: the small agent that comes with rdev plays its turns there")
    elif agent == "bundled":
        say("   Claude Code is not used here: the agent is the small one that comes with rdev")
    with world.demo_model() as model:
        spec = AgentSpec(
            project=project.name, prompt=PROMPT, agent=agent,
            environment=(("ANTHROPIC_BASE_URL", Secret(model.url)), ("ANTHROPIC_API_KEY", Secret("no-key-needed"))),
        )  # fmt: skip
        running = agents.run(world, spec)
        for note in running.notes:
            say(f"   note: {note}")
        return watch(here, world, running.command, into=sys.stdout, indent="   ")


def _look(world: "Services", project: Project, command: Command) -> None:
    typed = f"git clone {shlex.quote(project.repository)} {project.name} && git -C {project.name} show --stat"
    write(sys.stdout, f"\n{_bold('3  Look at what it changed')}\n   $ {typed}\n")
    found = world.forge.commit(project, command.commit) if command.commit else None
    if found is not None:
        write(sys.stdout, f"   {found.sha[:10]} {clean(found.subject)} ({clean(found.author)})\n")
        write(sys.stdout, "".join(f"   {clean(line).strip()}\n" for line in found.stat.splitlines()))


def _away(here: Hand, world: "Services", project: Project, *, keep: bool) -> None:
    if keep:
        return
    _step(here, 4, "Delete everything", f"rdev project delete {project.name}")
    signal, here.signal = here.signal, 0
    world.stop = type(world.stop)()  # a Ctrl-C stopped the work, not the cleaning up
    try:
        projects.delete(world, project.name)
    except RdevError as e:
        say(f"warning: {e.message}; {e.hint}")
    here.signal = signal
    if here.human:
        left = commands.list_(world, running=True).items
        write(sys.stdout, f"   gone: record, repository, pod{'' if left else '; nothing runs'}\n")


def _next(kept: Project | None) -> None:
    things = (
        (f"rdev git {kept.name} -- show", f"git clone {kept.repository}", f"rdev project delete {kept.name}")
        if kept
        else (
            "rdev project create shop                   a project of your own (--from DIR takes your repository)",
            'rdev claude shop "add an about page"       your own work, with your own key in ANTHROPIC_API_KEY',
            "rdev doctor                                what isolation is in force here, proved from inside",
        )
    )
    write(sys.stdout, f"\n{_bold('Three things to type next')}\n" + "".join(f"   {thing}\n" for thing in things))
