"""Agents: run one on a project, under the same runner as every command."""

from dataclasses import replace

from rdev_cli.domain.agent import AgentSpec, AgentTask
from rdev_cli.domain.command import OPEN, Command, CommandKind, CommandState, Launch
from rdev_cli.domain.errors import Cancelled, Failed, OutcomeUnknown, Partial, TimedOut, Unavailable
from rdev_cli.domain.values import CommandId
from rdev_cli.ops import commands, known, workspaces
from rdev_cli.ops.ledger import Pace, Scope, operation
from rdev_cli.ops.workspaces import Fit
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
            hint=f"install it, or say where it is: rdev context set NAME --agent-path {spec.agent}=PATH; rdev demo shows the job without it",
            code="TOOL_MISSING",
            tool=spec.agent,
        )
    commands.reconcile(world, project.name)  # one that ended while nobody looked holds nothing up
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

    def bring_in() -> tuple[str, ...]:
        found = workspaces.bring_in(world, project)
        if found is Fit.APART:
            return (f"the repository and the work tree of {project.name} both moved on; this run's commit will go to a branch of its own",)
        if found is Fit.BLOCKED:
            return (f"newer commits of {project.name} could not be brought in: what was changed in the work tree is in their way",)
        return ()

    running = commands.start(world, project, command, launch, alone=bring_in)
    if running.input is not None:
        running.input.write(spec.prompt.encode("utf-8", "replace"))
        running.input.finish()
    return replace(running, input=None)


def verdict(world: World, command: Command) -> None:
    """Raise what a run that did not end well means to whoever asked for it; nothing for one that did its work.

    Partial when its commit did not reach the branch, Cancelled, OutcomeUnknown, TimedOut, or Failed with the agent's own words.
    """
    look = f"rdev git {command.project} -- status"
    if command.state in OPEN:
        return
    if command.state is CommandState.COMPLETED:
        if command.reason == "undelivered":
            raise Partial(
                "the agent's commit could not be brought to the repository; it is in the pod",
                left=(command.project,),
                hint=f"rdev events --subject {command.id} says why; rdev project sync {command.project} takes it there",
                code="UNDELIVERED",
            )
        if command.delivered.startswith("rdev/rescue/"):
            raise workspaces.rescued(command.delivered)
        return
    if command.state is CommandState.CANCELLED:
        raise Cancelled(f"{command.id} was cancelled", hint=f"the work tree is as it was left: {look}", command=command.id)
    if command.state is CommandState.LOST:
        raise OutcomeUnknown(f"{command.id} ended without a record", hint=f"look at the work tree: {look}", command=command.id)
    if command.reason == "timeout":
        raise TimedOut(
            f"{command.id} was stopped at its time limit",
            hint="give more time with --timeout; the work tree is as it was left",
            command=command.id,
        )
    if command.reason == "setup":
        raise Failed(
            f"{command.agent} could not be started", hint="rdev doctor looks for the cause", code="AGENT_FAILED", command=command.id
        )
    raise Failed(
        f"{command.agent} ended badly (exit code {command.exit_code})",
        hint=f"the work tree is as it was left: {look}",
        code="AGENT_FAILED",
        command=command.id,
        said=command.answer or world.spool.read(command.id, "err", 0, 1 << 16).decode(errors="replace")[-2000:],
    )


def _subject(prompt: str) -> str:
    line = " ".join(prompt.split())
    return line if len(line) <= 72 else line[:69] + "..."
