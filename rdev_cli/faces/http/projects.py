"""/projects."""

from typing import Any

from rdev_cli.faces.http.face import Routes, serves
from rdev_cli.ops import projects
from rdev_cli.ports import World

routes: Routes = []


@serves(routes, "GET", "/projects", projects.list_, answer="project-list")
def list_(world: World) -> Any:
    return projects.list_(world)


@serves(routes, "GET", "/projects/{project}", projects.show, answer="project-shown")
def show(world: World, project: str) -> Any:
    return projects.show(world, project)
