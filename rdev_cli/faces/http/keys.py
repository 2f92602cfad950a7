"""/keys: what callers show, and what each is allowed by it."""

from typing import Annotated, Any

from pydantic import Field

from rdev_cli.domain.access import KeySpec, scope
from rdev_cli.faces.http.bodies import YEAR, Body
from rdev_cli.faces.http.face import Reply, Routes, serves, whole
from rdev_cli.ops import keys
from rdev_cli.ports import World

routes: Routes = []


class Creation(Body):
    """A key to make; without projects it is for all, without networks from anywhere, and null lasts for ever."""

    name: str
    scopes: list[str]
    projects: Annotated[list[str], Field(default_factory=list)]
    cidrs: Annotated[list[str], Field(default_factory=list)]
    expires_seconds: Annotated[int, Field(ge=1, le=YEAR)] | None = None


@serves(routes, "POST", "/keys", keys.create, answer="key-created", status=201)
def create(world: World, body: Creation) -> Any:
    made = keys.create(
        world,
        KeySpec(
            name=body.name, scopes=tuple(scope(one) for one in body.scopes), projects=tuple(body.projects), cidrs=tuple(body.cidrs),
            expires_seconds=body.expires_seconds,
        ),
    )  # fmt: skip
    return Reply(made, headers={"location": f"/keys/{made.id}", "cache-control": "no-store"})


@serves(routes, "GET", "/keys", keys.list_, answer="key-list")
def list_(world: World) -> Any:
    return keys.list_(world)


@serves(routes, "GET", "/keys/{key}", keys.show, answer="key")
def show(world: World, key: str) -> Any:
    return keys.show(world, whole(key, "key", "key"))


@serves(routes, "DELETE", "/keys/{key}", keys.revoke, answer="key")
def revoke(world: World, key: str) -> Any:
    return keys.revoke(world, whole(key, "key", "key"))
