"""/operations: what was asked for and is done meanwhile, and what became of it."""

from typing import Annotated, Any

from fastapi import Query

from rdev_cli.domain.values import id_like
from rdev_cli.faces.http.face import Routes, serves, whole
from rdev_cli.ops import jobs
from rdev_cli.ports import World

routes: Routes = []


@serves(routes, "GET", "/operations", jobs.list_, answer="operation-list")
def list_(world: World, before: str = "", limit: Annotated[int, Query(ge=1, le=1000)] = 50) -> Any:
    if before:
        _whole(before)
    return jobs.list_(world, before=before, limit=limit)


@serves(routes, "GET", "/operations/{operation}", jobs.show, answer="operation")
def show(world: World, operation: str) -> Any:
    return jobs.show(world, _whole(operation))


def _whole(text: str) -> str:
    return text if id_like(text, "cmd") or id_like(text, "ses") else whole(text, "opn", "operation")
