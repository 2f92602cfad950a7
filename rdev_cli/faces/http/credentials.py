"""/credentials: values that agents need; they go in and never come out."""

from typing import Any

from rdev_cli.domain.errors import Invalid
from rdev_cli.faces.http.bodies import Body, either
from rdev_cli.faces.http.face import Routes, serves
from rdev_cli.ops import credentials
from rdev_cli.ports import World

routes: Routes = []


class Value(Body):
    """A value: one of the two."""

    value: str | None = None
    value_b64: str | None = None


class Env(Body):
    """Lines KEY=VALUE, as .env files have them."""

    text: str


@serves(routes, "GET", "/credentials", credentials.list_, answer="credential-list")
def list_(world: World) -> Any:
    return credentials.list_(world)


@serves(routes, "PUT", "/credentials/{name}", credentials.set_, answer="credential")
def set_(world: World, name: str, body: Value) -> Any:
    value = either(body.value, body.value_b64, "value")
    if value is None:
        raise Invalid("there is no value", hint='"value": "…", or base64 as "value_b64"', field="value")
    return credentials.set_(world, name, value)


@serves(routes, "POST", "/credentials/import", credentials.import_, answer="credential-list")
def import_(world: World, body: Env) -> Any:
    return credentials.import_(world, body.text.encode())


@serves(routes, "DELETE", "/credentials/{name}", credentials.remove, answer="credential")
def remove(world: World, name: str) -> Any:
    return credentials.remove(world, name)


@serves(routes, "POST", "/credentials/{name}/test", credentials.try_, answer="check-list")
def test(world: World, name: str) -> Any:
    return credentials.try_(world, name)
