"""Agents: run one on a project, under the same runner as every command; look at them, and at what they used."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from rdev_cli.domain.agent import DEFAULT_TOOLS, LATEST, AgentInfo, AgentSpec, AgentTask, Program
from rdev_cli.domain.codec import stamp
from rdev_cli.domain.command import OPEN, Command, CommandKind, CommandState, Launch, befell
from rdev_cli.domain.errors import Cancelled, Conflict, Failed, NotFound, OutcomeUnknown, Partial, RdevError, TimedOut, Unavailable
from rdev_cli.domain.project import Project
from rdev_cli.domain.report import Check, Verdict
from rdev_cli.domain.usage import Usage
from rdev_cli.domain.values import CommandId, id_like
from rdev_cli.ops import commands, known, settling, workspaces
from rdev_cli.ops.ledger import Pace, Scope, operation
from rdev_cli.ops.workspaces import Fit
from rdev_cli.ports import World
from rdev_cli.ports.agent import Agent
from rdev_cli.ports.timing import STANDARD


@operation("agent.run", Scope.PROJECTS_EXECUTE, Pace.LONG)
def run(world: World, spec: AgentSpec, *, id: str = "") -> commands.Running:
    """Run a coding agent on a project and commit what it changed.

    One run at a time in a work tree: a second one is Conflict BUSY, naming the command. Commits of the forge are
    brought in first. After exit 0 the runner commits, though nobody looks on; a failed run leaves the work tree as it is.
    Without a prompt it is the agent's own screen, on the caller's terminal: what that leaves is committed by `keep`.
    """
    # `id`: of a record that waits to be started, or of a start that was cut off, which goes on; a fresh one by default
    plan = planned(world, spec, id=id)
    project, command, agent, task = plan.project, plan.command, plan.agent, plan.task
    commands.reconcile(world, project.name)  # one that ended while nobody looked holds nothing up
    given = spec.environment or world.agent_environment(agent.name)
    launch = Launch(
        id=command.id,
        argv=plan.argv,
        environment=(*agent.environment(task, {name for name, _ in given}), *((name, value.reveal()) for name, value in given)),
        stdin=True,
        terminal=None if spec.prompt else spec.terminal,
        limit_seconds=spec.timeout_seconds,
        network=command.network,
        commit=_subject(spec.prompt) if spec.commit and spec.prompt else "",
        tools=plan.tools,
    )

    def bring_in() -> tuple[str, ...]:
        found = workspaces.bring_in(world, project)
        if found is Fit.APART:
            return (f"the repository and the work tree of {project.name} both moved on; this run's commit will go to a branch of its own",)
        if found is Fit.BLOCKED:
            return (f"newer commits of {project.name} could not be brought in: what was changed in the work tree is in their way",)
        return ()

    running = commands.start(world, project, command, launch, alone=bring_in)
    if not spec.prompt:
        return running
    if running.input is not None:
        running.input.write(spec.prompt.encode("utf-8", "replace"))
        running.input.finish()
    return replace(running, input=None)


@dataclass(frozen=True, slots=True)
class Planned:
    """An agent's run before it is started: its record, and what it is started with."""

    project: Project
    command: Command
    agent: Agent
    task: AgentTask
    argv: tuple[str, ...]
    tools: tuple[str, ...]


def planned(world: World, spec: AgentSpec, *, id: str = "") -> Planned:
    """Return what a run would be; it raises what `run` would refuse before anything is recorded."""
    project = known.ready(world, spec.project)
    agent = world.agents.named(spec.agent or usual(world, project))
    program = _program(world, agent)
    task = _task(world, project, agent, spec)
    argv = agent.argv(program, task) if spec.prompt else agent.screen(program, task)
    if argv is None:
        raise Conflict(
            f"{agent.name} has no screen of its own", hint=f'give it a prompt: rdev agent run {project.name} "what to do"', code="NO_SCREEN"
        )
    command = Command(
        id=CommandId(id or world.new_id("cmd")), project=project.name, project_id=project.owner_id, session_id=project.session_id, kind=CommandKind.AGENT,
        argv=(agent.name, spec.prompt[:2000]) if spec.prompt else (agent.name,), state=CommandState.RUNNING, actor=world.actor,
        created_at=world.clock.now(), timeout_seconds=spec.timeout_seconds, network=spec.network and project.network, agent=agent.name,
        model=task.model,
    )  # fmt: skip
    return Planned(project, command, agent, task, argv, program.paths)


def usual(world: World, project: Project) -> str:
    """Return the name of the agent that works on a project unless a run says otherwise."""
    return project.agent or world.settings.default_agent()


def _place(world: World, agent: Agent) -> str:
    context = next((context.name for context in world.settings.contexts() if context.current), "local")
    return f"rdev context set {context} --agent-path {agent.name}=PATH"


def _program(world: World, agent: Agent) -> Program:
    program = agent.program()
    if program is None:
        raise Unavailable(
            f"{agent.name} is not installed on this machine",
            hint=f"install it, or say where it is: {_place(world, agent)}; rdev demo shows the job without it",
            code="TOOL_MISSING",
            tool=agent.name,
        )
    return program


def _task(world: World, project: Project, agent: Agent, spec: AgentSpec) -> AgentTask:
    settings = world.settings.agent(agent.name)
    own = project.model if agent.name == usual(world, project) else ""
    tools = spec.tools or tuple(settings.get("tools", DEFAULT_TOOLS))
    return AgentTask(
        prompt=spec.prompt,
        model=spec.model or own or str(settings.get("model", "")),
        # without isolation the pod is no boundary, so the agent gets no shell
        tools=tools if world.cluster.isolated else tuple(tool for tool in tools if tool != "Bash"),
        resume=_conversation(world, project, agent, spec.resume),
    )


def _conversation(world: World, project: Project, agent: Agent, wanted: str) -> str:
    """Return the agent's own id of a conversation: given as such, by a command of it, or the newest one, which a session goes on with."""
    if wanted == LATEST or (not wanted and project.session_id):
        past = world.store.commands(project=project.name, session=project.session_id, limit=1000)
        found = next((c.session for c in past if c.agent == agent.name and c.session and c.place_id == project.id), "")
        if not found and wanted:
            raise NotFound(
                f"{agent.name} has had no conversation in {project.name} yet",
                hint="leave --resume out to begin one",
                code="NO_CONVERSATION",
            )
        return found
    if id_like(wanted, "cmd"):
        command = known.command(world, wanted)
        if command.project != project.name or command.agent != agent.name or not command.session:
            raise NotFound(
                f"{command.id} is no conversation of {agent.name} in {project.name}",
                hint=f"rdev command list --project {project.name} shows its runs",
                code="NO_CONVERSATION",
            )
        return command.session
    return wanted


def keep(world: World, command: Command, *, subject: str) -> Command:
    """Commit what an agent's screen left in the work tree and bring it to the forge; return the command with its commit.

    Conflict BUSY if another agent has begun meanwhile: then its commit takes the changes along.
    """
    project = known.place(world, command)
    if project is None:
        raise settling.forgotten(command)
    with world.store.transaction() as tx:
        tx.take(f"workspace:{project.id}", owner=command.id, seconds=366 * 86400)
    try:
        workspaces.commit(world, project, subject, command.id)
        return settling.delivered(world, project, command)
    finally:
        with world.store.transaction() as tx:
            tx.release(f"workspace:{project.id}", command.id)


@operation("agent.list", Scope.PROJECTS_READ)
def list_(world: World) -> Sequence[AgentInfo]:
    """List the agents that rdev can run here: where each is, and what it would run with."""
    return [_info(world, agent) for agent in world.agents.all()]


@operation("agent.show", Scope.PROJECTS_READ)
def show(world: World, agent: str) -> AgentInfo:
    """Show one agent: where it is, what it would run with, and what it takes from the environment."""
    return _info(world, world.agents.named(agent))


def _info(world: World, agent: Agent) -> AgentInfo:
    program, settings = agent.program(), world.settings.agent(agent.name)
    return AgentInfo(
        name=agent.name,
        default=agent.name == world.settings.default_agent(),
        program=program.argv[-1] if program else "",
        model=str(settings.get("model", "")),
        tools=tuple(settings.get("tools", DEFAULT_TOOLS)),
        variables=agent.variables,
        given=tuple(world.agent_given(agent.name)),
    )


@operation("agent.health", Scope.PROJECTS_READ)
def health(world: World, agent: str = "") -> Sequence[Check]:
    """Prove that agents can run: each is asked for its version from inside an empty pod, and its keys are looked for."""
    return [check for one in ([world.agents.named(agent)] if agent else world.agents.all()) for check in _health(world, one)]


def _health(world: World, agent: Agent) -> Sequence[Check]:
    found = [proof(world, agent)]
    if agent.name != "bundled" and agent.variables:
        given = world.agent_given(agent.name)
        found.append(
            Check(name=f"agent.{agent.name}.keys", verdict=Verdict.OK, found=f"it is given {', '.join(given)}")
            if given
            else Check(
                name=f"agent.{agent.name}.keys",
                verdict=Verdict.WARNING,
                found="none of its variables has a value",
                hint=f"rdev credential set {agent.variables[0]}, or export {agent.variables[0]}=…",
            )
        )
    return found


def proof(world: World, agent: Agent) -> Check:
    """Look at an agent by asking it for its version from inside an empty pod: what is not shown there cannot run there."""
    name, program = f"agent.{agent.name}", agent.program()
    if program is None:
        hint = f"install it, or say where it is: {_place(world, agent)}"
        return Check(name=name, verdict=Verdict.WARNING, found="not on this machine", hint=hint)
    argv = (*program.argv, agent.version_flag) if agent.version_flag else ("test", "-x", program.argv[0])
    try:
        code, said = world.cluster.attempt(argv, tools=program.paths, network=False, timeout=STANDARD)
    except RdevError as e:
        return Check(name=name, verdict=Verdict.WARNING, found=f"{program.argv[-1]}: {e.message}", hint=e.hint)
    words = said.decode(errors="replace").strip().splitlines()
    if code != 0:
        why = words[-1] if words else "no word"
        if not world.cluster.here:
            hint = f"install it in the image, or say where it is there: rdev context set NAME --agent-path {agent.name}=PATH"
            return Check(name=name, verdict=Verdict.WARNING, found=f"{program.argv[-1]} does not run in the image: {why}", hint=hint)
        return Check(name=name, verdict=Verdict.FAILED, found=f"{program.argv[-1]} does not run in a pod: {why}", hint="reinstall it")
    return Check(name=name, verdict=Verdict.OK, found=f"{words[0] if words else agent.name} ({program.argv[-1]}), proved from inside a pod")


@operation("agent.usage", Scope.PROJECTS_READ)
def usage(world: World, *, project: str = "", since_seconds: int = 0) -> Sequence[Usage]:
    """Sum what runs of agents have used, a line for each project, agent and model: tokens, and cost as the agents say it.

    `since_seconds`: only runs that began within so many seconds, 0 for all. What a deleted project used stands in the journal only.
    """
    if project:
        known.project(world, project)
    commands.reconcile(world, project)
    since = stamp(world.clock.now() - timedelta(seconds=since_seconds)) if since_seconds else ""
    return world.store.usage(project=project, since=since)


def verdict(world: World, command: Command) -> None:
    """Raise what a run that did not end well means to whoever asked for it; nothing for one that did its work.

    Partial when its commit did not reach the branch, Cancelled, OutcomeUnknown, TimedOut, or Failed with the agent's own words.
    """
    look = f"rdev git {command.target} -- status"
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
        why = f": {befell(command)}" if command.cause else ""
        raise OutcomeUnknown(
            f"{command.id} ended without a record{why}", hint=f"look at the work tree: {look}", command=command.id, cause=command.cause
        )
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
    said = command.answer or world.spool.read(command.id, "err", 0, 1 << 16).decode(errors="replace")[-2000:]
    raise Failed(
        f"{command.agent} ended badly (exit code {command.exit_code})",
        hint=world.agents.named(command.agent).advice(said) or f"the work tree is as it was left: {look}",
        code="AGENT_FAILED",
        command=command.id,
        said=said,
    )


def _subject(prompt: str) -> str:
    line = " ".join(prompt.split())
    return line if len(line) <= 72 else line[:69] + "..."
