"""/agents: which there are, whether they can run, what they have used."""

from typing import Annotated, Any

from fastapi import Query

from rdev_cli.faces.http.bodies import YEAR
from rdev_cli.faces.http.face import Routes, serves
from rdev_cli.ops import agents
from rdev_cli.ports import World

routes: Routes = []


@serves(routes, "GET", "/agents", agents.list_, answer="agent-list")
def list_(world: World) -> Any:
    return agents.list_(world)


@serves(routes, "GET", "/agents/health", agents.health, answer="check-list")
def health(world: World, agent: str = "") -> Any:
    return agents.health(world, agent)


@serves(routes, "GET", "/agents/usage", agents.usage, answer="usage-list")
def usage(world: World, project: str = "", since_seconds: Annotated[int, Query(ge=0, le=YEAR)] = 0) -> Any:
    return agents.usage(world, project=project, since_seconds=since_seconds)


@serves(routes, "GET", "/agents/{agent}", agents.show, answer="agent")
def show(world: World, agent: str) -> Any:
    return agents.show(world, agent)
