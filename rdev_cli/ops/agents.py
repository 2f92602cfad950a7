"""Agents: run one on a project, under the same runner as every command."""

from dataclasses import replace

from rdev_cli.domain.agent import AgentSpec, AgentTask
from rdev_cli.domain.command import OPEN, Command, CommandKind, CommandState, Launch
from rdev_cli.domain.errors import Unavailable
from rdev_cli.domain.values import CommandId
from rdev_cli.ops import commands, known, workspaces
from rdev_cli.ops.ledger import Pace, Scope, operation
from rdev_cli.ports import World


@operation("agent.run", Scope.PROJECTS_EXECUTE, Pace.LONG)
def run(world: World, spec: AgentSpec) -> commands.Running:
    """Run a coding agent on a project and commit what it changed.

    One run at a time in a work tree: a second one is Conflict BUSY, naming the command. Commits of the forge are
    brought in first. After exit 0 the runner commits, though nobody looks on; a failed run leaves the work tree as it is.
    """
    project = known.ready(world, spec.project)
    agent = world.agents.named(spec.agent)
    program = agent.program()
    if program is None:
        raise Unavailable(
            f"{spec.agent} is not installed on this machine",
            hint=f"install it, or say where it is: rdev context set NAME --agent {spec.agent}=PATH; rdev demo shows the job without it",
            code="TOOL_MISSING",
            tool=spec.agent,
        )
    for other in world.store.commands(project=project.name, states=OPEN):
        commands.follow(world, other, wait=0)  # one that ended while nobody looked holds nothing up
    notes = list(commands.revive(world, project))
    if not workspaces.bring_in(world, project):
        notes.append(f"the repository and the work tree of {project.name} both moved on; this run's commit will go to a branch of its own")
    command = Command(
        id=CommandId(world.new_id("cmd")), project=project.name, project_id=project.id, kind=CommandKind.AGENT, argv=(spec.agent, spec.prompt[:2000]),
        state=CommandState.RUNNING, actor=world.actor, created_at=world.clock.now(), timeout_seconds=spec.timeout_seconds,
        network=spec.network and project.network, agent=spec.agent, model=spec.model,
    )  # fmt: skip
    # without isolation the pod is no boundary, so the agent gets no shell
    tools = spec.tools if world.cluster.isolated else tuple(t for t in spec.tools if t != "Bash")
    task = AgentTask(prompt=spec.prompt, model=spec.model, tools=tools)
    launch = Launch(
        id=command.id,
        argv=agent.argv(program, task),
        environment=(*agent.environment(), *spec.environment),
        stdin=True,
        limit_seconds=spec.timeout_seconds,
        network=command.network,
        commit=_subject(spec.prompt) if spec.commit else "",
        tools=program.paths,
    )
    running = commands.start(world, project, command, launch, exclusive=True)
    if running.input is not None:
        running.input.write(spec.prompt.encode("utf-8", "replace"))
        running.input.finish()
    return replace(running, input=None, notes=(*notes, *running.notes))


def _subject(prompt: str) -> str:
    line = " ".join(prompt.split())
    return line if len(line) <= 72 else line[:69] + "..."
