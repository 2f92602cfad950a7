"""Check-ins over HTTP: of a session, and of what was pushed of a checkout."""

from typing import Any

from rdev_cli.faces.http.bodies import Body
from rdev_cli.faces.http.face import Routes, begin, serves, whole
from rdev_cli.ops import checkins
from rdev_cli.ports import World

routes: Routes = []


class CheckingIn(Body):
    """What the commit of staged changes says, and whether a change that passed its review is merged."""

    message: str = ""
    merge: bool = False


@serves(routes, "POST", "/sessions/{session}/checkin", checkins.run, answer="accepted", status=202)
def of_session(world: World, session: str, body: CheckingIn) -> Any:
    return begin(world, checkins.run, session=whole(session, "ses", "session"), message=body.message, merge=body.merge)


@serves(routes, "POST", "/checkouts/{checkout}/checkin", checkins.run, answer="accepted", status=202, form="checkout")
def of_checkout(world: World, checkout: str, body: CheckingIn) -> Any:
    return begin(world, checkins.run, checkout=whole(checkout, "chk", "checkout"), message=body.message, merge=body.merge)
