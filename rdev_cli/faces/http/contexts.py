"""/contexts and /settings: where this server works, and what is in force there; what a context is belongs to the server's owner."""

from typing import Any

from rdev_cli.domain.errors import Conflict
from rdev_cli.domain.values import shown
from rdev_cli.faces.http.face import Routes, begin, serves
from rdev_cli.ops import contexts
from rdev_cli.ports import World

routes: Routes = []


@serves(routes, "GET", "/contexts", contexts.list_, answer="context-list")
def list_(world: World) -> Any:
    return contexts.list_(world)


@serves(routes, "GET", "/contexts/{context}", contexts.show, answer="context")
def show(world: World, context: str) -> Any:
    return contexts.show(world, context)


@serves(routes, "POST", "/contexts/{context}/test", contexts.prove, answer="accepted", status=202)
def prove(world: World, context: str) -> Any:
    if not contexts.show(world, context).current:
        raise Conflict(f"this server does not work in {shown(context)}", hint="ask the server that does", context=context)
    return begin(world, contexts.prove)


@serves(routes, "GET", "/settings", contexts.view, answer="setting-list")
def view(world: World) -> Any:
    return contexts.view(world)
