"""/sessions/{session}/previews: ports of a session under addresses of their own. previewing.py serves what is behind them."""

from typing import Annotated, Any

from pydantic import Field
from starlette.requests import Request

from rdev_cli.domain.preview import port as port_rule
from rdev_cli.faces.http.bodies import Body
from rdev_cli.faces.http.face import Reply, Routes, serves, whole
from rdev_cli.ops import known, previews
from rdev_cli.ports import World

routes: Routes = []


class PreviewOpening(Body):
    """A port to open."""

    port: Annotated[int, Field(ge=1, le=65535, description="Where a program in the session listens.")]


@serves(routes, "POST", "/sessions/{session}/previews", previews.open_, answer="preview", status=201)
def open_(world: World, session: str, body: PreviewOpening, request: Request) -> Any:
    base = str(getattr(request.app.state, "previews", ""))
    made = previews.open_(world, whole(session, "ses", "session"), body.port, base=base)
    return Reply(made, headers={"location": f"/sessions/{made.session}/previews/{made.port}"})


@serves(routes, "GET", "/sessions/{session}/previews", previews.list_, answer="preview-list")
def list_(world: World, session: str) -> Any:
    return previews.list_(world, whole(session, "ses", "session"))


@serves(routes, "DELETE", "/sessions/{session}/previews/{port}", previews.close, answer="preview")
def close(world: World, session: str, port: str) -> Any:
    of = known.session(world, whole(session, "ses", "session"))  # before anything else is said of what was asked
    return previews.close(world, of.id, port_rule(port))
