"""/commands: durable runs, with an outcome and a replayable output."""

from typing import Any

from rdev_cli.faces.http.face import Routes, serves
from rdev_cli.ops import commands
from rdev_cli.ports import World

routes: Routes = []


@serves(routes, "GET", "/commands/{command}", commands.show, answer="command")
def show(world: World, command: str) -> Any:
    return commands.show(world, command)
