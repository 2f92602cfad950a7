"""/projects: a record, a repository and a pod under one name."""

from typing import Annotated, Any

from fastapi import Query

from rdev_cli.domain.access import Scope
from rdev_cli.domain.errors import Denied
from rdev_cli.domain.log import LogSpec
from rdev_cli.domain.project import ProjectSpec
from rdev_cli.faces.http.bodies import YEAR, Body
from rdev_cli.faces.http.face import Routes, begin, serves
from rdev_cli.ops import commands, logs, projects
from rdev_cli.ports import World

routes: Routes = []


class ProjectCreation(Body):
    """A project to make."""

    name: str
    description: str = ""
    source: str = ""
    network: bool = True
    agent: str = ""
    model: str = ""


class ProjectChange(Body):
    """What a project says of itself; what is left out stays as it is."""

    agent: str | None = None
    model: str | None = None
    description: str | None = None


@serves(routes, "GET", "/projects", projects.list_, answer="project-list|project-found-list")
def list_(world: World, all_: Annotated[bool, Query(alias="all")] = False) -> Any:
    if not all_:
        return projects.list_(world)
    if world.grant.projects is not None:
        raise Denied("this key is for some projects only", hint="leave `all` out, or ask with a key for all of them", code="FORBIDDEN")
    return projects.found(world)


@serves(routes, "POST", "/projects", projects.create, answer="accepted", status=202)
def create(world: World, body: ProjectCreation) -> Any:
    spec = ProjectSpec(**body.model_dump())
    if spec.source and not spec.source.startswith("https://") and not world.grant.allows(Scope.ADMIN):
        # a folder or another protocol would be read with the server's own rights
        raise Denied("only an admin may take a source that is not https", hint="give an https:// URL", code="FORBIDDEN", field="source")
    return begin(world, projects.create, **body.model_dump())


@serves(routes, "GET", "/projects/{project}", projects.show, answer="project-shown")
def show(world: World, project: str) -> Any:
    return projects.show(world, project)


@serves(routes, "PATCH", "/projects/{project}", projects.set_, answer="project")
def set_(world: World, project: str, body: ProjectChange) -> Any:
    return projects.set_(world, project, agent=body.agent, model=body.model, description=body.description)


@serves(routes, "DELETE", "/projects/{project}", projects.delete, answer="accepted", status=202)
def delete(world: World, project: str) -> Any:
    return begin(world, projects.delete, project=project)


@serves(routes, "GET", "/projects/{project}/status", projects.status, answer="project-status")
def status(world: World, project: str) -> Any:
    return projects.status(world, project)


@serves(routes, "POST", "/projects/{project}/sync", projects.sync, answer="accepted", status=202)
def sync(world: World, project: str) -> Any:
    return begin(world, projects.sync, project=project)


@serves(routes, "POST", "/projects/{project}/adopt", projects.adopt, answer="accepted", status=202)
def adopt(world: World, project: str) -> Any:
    return begin(world, projects.adopt, project=project)


@serves(routes, "GET", "/projects/{project}/logs", logs.read, answer="pod-log|command-output")
def logs_(
    world: World,
    project: str,
    since_seconds: Annotated[int, Query(ge=0, le=YEAR)] = 0,
    tail: Annotated[int, Query(ge=-1, le=1_000_000)] = -1,
    previous: bool = False,
    timestamps: bool = False,
    after: str = "",
) -> Any:
    spec = LogSpec(project=project, since_seconds=since_seconds, tail=tail, previous=previous, timestamps=timestamps)
    page = logs.read(world, spec, after=after)
    return page if page is not None else commands.output(world, commands.newest(world, project))
