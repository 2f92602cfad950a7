"""/projects/{project}/ci: the steps of a repository's pipeline, in a clean pod."""

from typing import Annotated, Any

from pydantic import Field

from rdev_cli.faces.http.bodies import Body
from rdev_cli.faces.http.face import Routes, begin, serves
from rdev_cli.ops import checks, ci
from rdev_cli.ports import World

routes: Routes = []
Limit = Annotated[int, Field(ge=1, le=7 * 86400, description="Seconds that all steps may take together.")]


class PipelineRun(Body):
    """Which commit: the newest of a branch (the project's, by default), or the one named."""

    branch: str = ""
    commit: str = ""
    timeout_seconds: Limit = checks.LIMIT


@serves(routes, "POST", "/projects/{project}/ci", ci.run, answer="accepted", status=202)
def run(world: World, project: str, body: PipelineRun) -> Any:
    return begin(world, ci.run, project=project, **body.model_dump())
