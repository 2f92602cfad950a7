"""/commands, and what starts them in a project: durable runs, with an outcome and a replayable output."""

from base64 import b64encode
from typing import Annotated, Any

from fastapi import Query
from pydantic import Field

from rdev_cli.domain.command import CommandKind
from rdev_cli.domain.errors import Invalid
from rdev_cli.domain.values import id_like
from rdev_cli.faces.http.bodies import Body, Seconds, either
from rdev_cli.faces.http.face import Reply, Routes, begin, serves, whole
from rdev_cli.ops import agents, commands
from rdev_cli.ports import World

routes: Routes = []
_Offset = Annotated[int, Query(ge=0, le=1 << 40)]


class Run(Body):
    """A command to run; its stdin is empty unless one of the two says what is on it."""

    argv: list[str]
    stdin: str | None = None
    stdin_b64: str | None = None
    timeout_seconds: Seconds = 0
    network: bool = True


class Line(Body):
    """A line of sh to run."""

    command: str
    stdin: str | None = None
    stdin_b64: str | None = None
    timeout_seconds: Seconds = 0
    network: bool = True


class Git(Body):
    """What git shall do in the work tree: the words after `git`."""

    argv: list[str]
    timeout_seconds: Seconds = 0


class Prompt(Body):
    """What a coding agent shall do; what is left out is the project's choice."""

    prompt: str
    model: str = ""
    tools: Annotated[list[str], Field(default_factory=list)]
    resume: str = ""
    timeout_seconds: Seconds = 0
    commit: bool = True
    network: bool = True


class AgentRun(Prompt):
    """The same, of any agent."""

    agent: str = ""


def run(world: World, project: str, kind: CommandKind, body: Run | Line | Git, **words: Any) -> Reply:
    """Run a command in a project's pod, or in a session's, which its id stands for."""
    asked = {**words, "project": project, "kind": kind.value, "timeout_seconds": body.timeout_seconds}
    if not isinstance(body, Git):
        asked["network"] = body.network
        if (stdin := either(body.stdin, body.stdin_b64, "stdin")) is not None:
            asked["stdin_b64"] = b64encode(stdin).decode()
    return begin(world, commands.run, **asked)


@serves(routes, "POST", "/projects/{project}/exec", commands.run, answer="accepted", status=202)
def exec_(world: World, project: str, body: Run) -> Any:
    return run(world, project, CommandKind.EXEC, body, argv=body.argv)


@serves(routes, "POST", "/projects/{project}/shell", commands.run, answer="accepted", status=202, form="shell")
def shell(world: World, project: str, body: Line) -> Any:
    return run(world, project, CommandKind.SHELL, body, line=body.command)


@serves(routes, "POST", "/projects/{project}/git", commands.run, answer="accepted", status=202, form="git")
def git(world: World, project: str, body: Git) -> Any:
    if not body.argv:
        raise Invalid("there is nothing for git to do", hint='"argv": ["log", "--oneline"]', field="argv")
    return run(world, project, CommandKind.GIT, body, argv=body.argv)


def agent(world: World, project: str, name: str, body: Prompt) -> Reply:
    """Let an agent run in a project's pod, or in a session's, which its id stands for."""
    if id_like(body.resume, "cmd"):
        whole(body.resume, "cmd", "command")
    return begin(world, agents.run, **{**body.model_dump(), "project": project, "agent": name})


@serves(routes, "POST", "/projects/{project}/agents", agents.run, answer="accepted", status=202)
def run_agent(world: World, project: str, body: AgentRun) -> Any:
    return agent(world, project, body.agent, body)


@serves(routes, "POST", "/projects/{project}/claude", agents.run, answer="accepted", status=202, form="claude")
def claude(world: World, project: str, body: Prompt) -> Any:
    return agent(world, project, "claude", body)


@serves(routes, "GET", "/commands", commands.list_, answer="command-list")
def list_(
    world: World,
    project: str = "",
    session: str = "",
    running: bool = False,
    before: str = "",
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
) -> Any:
    if before:
        whole(before, "cmd", "command")
    if session:
        whole(session, "ses", "session")
    return commands.list_(world, project=project, session=session, running=running, before=before, limit=limit)


@serves(routes, "GET", "/commands/{command}", commands.show, answer="command")
def show(world: World, command: str) -> Any:
    return commands.show(world, whole(command, "cmd", "command"))


@serves(routes, "GET", "/commands/{command}/output", commands.output, answer="command-output")
def output(world: World, command: str, offset: _Offset = 0, stderr_offset: _Offset = 0) -> Any:
    found = commands.show(world, whole(command, "cmd", "command"))
    return commands.output(world, found, offset=offset, stderr_offset=stderr_offset)


@serves(routes, "POST", "/commands/{command}/cancel", commands.cancel, answer="command")
def cancel(world: World, command: str) -> Any:
    return commands.cancel(world, whole(command, "cmd", "command"))
