"""/sessions: pods for a while, each on a branch of a project, and what is done in them."""

from typing import Annotated, Any

from fastapi import Query
from pydantic import Field

from rdev_cli.domain.command import CommandKind
from rdev_cli.domain.errors import Invalid
from rdev_cli.domain.session import IDLE, TTL
from rdev_cli.faces.http.bodies import YEAR, Body
from rdev_cli.faces.http.commands import AgentRun, Git, Line, Prompt, Run, agent, run
from rdev_cli.faces.http.face import Routes, begin, serves, whole
from rdev_cli.ops import agents, commands, jobs, known, sessions
from rdev_cli.ports import World

routes: Routes = []
_Time = Annotated[int, Field(ge=1, le=YEAR, description="Seconds.")]


class SessionStart(Body):
    """A session to start; without a branch it gets one of its own."""

    project: str
    branch: str = ""
    agent: str = ""
    idle_seconds: _Time = IDLE
    ttl_seconds: _Time = TTL


def _known(world: World, session: str) -> str:
    return known.session(world, whole(session, "ses", "session"), whole=True).id


@serves(routes, "POST", "/sessions", sessions.start, answer="accepted", status=202)
def start(world: World, body: SessionStart) -> Any:
    jobs.session_spec(body.model_dump())
    return begin(world, sessions.start, **body.model_dump())


@serves(routes, "GET", "/sessions", sessions.list_, answer="session-list")
def list_(
    world: World,
    project: str = "",
    live: bool = False,
    all_: Annotated[bool, Query(alias="all")] = False,
    before: str = "",
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
) -> Any:
    if before:
        whole(before, "ses", "session")
    return sessions.list_(world, project=project, live=live, all=all_, before=before, limit=limit)


@serves(routes, "GET", "/sessions/{session}", sessions.show, answer="session")
def show(world: World, session: str) -> Any:
    return sessions.show(world, whole(session, "ses", "session"))


@serves(routes, "DELETE", "/sessions/{session}", sessions.end, answer="accepted", status=202)
def end(world: World, session: str, discard: bool = False) -> Any:
    return begin(world, sessions.end, session=_known(world, session), discard=discard)


@serves(routes, "POST", "/sessions/{session}/exec", commands.run, answer="accepted", status=202, form="session")
def exec_(world: World, session: str, body: Run) -> Any:
    return run(world, _known(world, session), CommandKind.EXEC, body, argv=body.argv)


@serves(routes, "POST", "/sessions/{session}/shell", commands.run, answer="accepted", status=202, form="session.shell")
def shell(world: World, session: str, body: Line) -> Any:
    return run(world, _known(world, session), CommandKind.SHELL, body, line=body.command)


@serves(routes, "POST", "/sessions/{session}/git", commands.run, answer="accepted", status=202, form="session.git")
def git(world: World, session: str, body: Git) -> Any:
    if not body.argv:
        raise Invalid("there is nothing for git to do", hint='"argv": ["log", "--oneline"]', field="argv")
    return run(world, _known(world, session), CommandKind.GIT, body, argv=body.argv)


@serves(routes, "POST", "/sessions/{session}/agents", agents.run, answer="accepted", status=202, form="session")
def run_agent(world: World, session: str, body: AgentRun) -> Any:
    return agent(world, _known(world, session), body.agent, body)


@serves(routes, "POST", "/sessions/{session}/claude", agents.run, answer="accepted", status=202, form="session.claude")
def claude(world: World, session: str, body: Prompt) -> Any:
    return agent(world, _known(world, session), "claude", body)
