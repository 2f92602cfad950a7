"""/projects/…/checkouts, /checkouts, /projects/…/branches: leave to write a branch, for whoever clones by themselves."""

from typing import Annotated, Any

from fastapi import Query
from pydantic import Field

from rdev_cli.domain.checkout import LASTS, CheckoutSpec
from rdev_cli.faces.http.bodies import YEAR, Body
from rdev_cli.faces.http.face import Reply, Routes, serves, whole
from rdev_cli.ops import checkouts
from rdev_cli.ports import World

routes: Routes = []

Lasts = Annotated[int, Field(ge=60, le=YEAR, description="Seconds for which its credential counts, from now on.")]


class CheckoutStart(Body):
    """A checkout to start; without a branch it starts from the project's, and shall go back there."""

    branch: str = ""
    lasts_seconds: Lasts = LASTS


class CheckoutExtension(Body):
    """Until when a checkout shall go on."""

    lasts_seconds: Lasts = LASTS


@serves(routes, "POST", "/projects/{project}/checkouts", checkouts.start, answer="checkout-started", status=201)
def start(world: World, project: str, body: CheckoutStart) -> Any:
    made = checkouts.start(world, CheckoutSpec(project=project, branch=body.branch, lasts_seconds=body.lasts_seconds))
    return Reply(made, headers={"location": f"/checkouts/{made.id}", "cache-control": "no-store"})


@serves(routes, "GET", "/checkouts", checkouts.list_, answer="checkout-list")
def list_(world: World, project: str = "", ended: bool = False, before: str = "", limit: Annotated[int, Query(ge=1, le=1000)] = 50) -> Any:
    if before:
        whole(before, "chk", "checkout")
    return checkouts.list_(world, project=project, ended=ended, before=before, limit=limit)


@serves(routes, "GET", "/checkouts/{checkout}", checkouts.show, answer="checkout")
def show(world: World, checkout: str) -> Any:
    return checkouts.show(world, whole(checkout, "chk", "checkout"))


@serves(routes, "POST", "/checkouts/{checkout}/extend", checkouts.extend, answer="checkout")
def extend(world: World, checkout: str, body: CheckoutExtension) -> Any:
    return checkouts.extend(world, whole(checkout, "chk", "checkout"), lasts_seconds=body.lasts_seconds)


@serves(routes, "POST", "/checkouts/{checkout}/cancel", checkouts.cancel, answer="checkout")
def cancel(world: World, checkout: str) -> Any:
    return checkouts.cancel(world, whole(checkout, "chk", "checkout"))


@serves(routes, "GET", "/projects/{project}/branches", checkouts.branches, answer="branch-list")
def branches(world: World, project: str) -> Any:
    return checkouts.branches(world, project)
