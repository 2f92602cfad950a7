"""/pool: pods that are made before a session needs one, and what is proved of them."""

from typing import Annotated, Any

from pydantic import Field

from rdev_cli.domain.worker import MOST
from rdev_cli.faces.http.bodies import Body
from rdev_cli.faces.http.face import Routes, begin, serves
from rdev_cli.ops import pool
from rdev_cli.ports import World

routes: Routes = []


class Fill(Body):
    """How many workers shall be idle; 0: as many as the context wants."""

    size: Annotated[int, Field(ge=0, le=MOST)] = 0


@serves(routes, "GET", "/pool", pool.list_, answer="worker-list")
def list_(world: World) -> Any:
    return pool.list_(world)


@serves(routes, "POST", "/pool", pool.fill, answer="accepted", status=202)
def fill(world: World, body: Fill) -> Any:
    return begin(world, pool.fill, **body.model_dump())


@serves(routes, "POST", "/pool/drain", pool.drain, answer="accepted", status=202)
def drain(world: World) -> Any:
    return begin(world, pool.drain)


@serves(routes, "GET", "/pool/audit", pool.audit, answer="audit-list")
def audit(world: World) -> Any:
    return pool.audit(world)
