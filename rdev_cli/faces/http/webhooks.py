"""/webhooks: endpoints elsewhere that are told what happens, and what was sent to them."""

from typing import Annotated, Any

from fastapi import Query
from pydantic import Field

from rdev_cli.faces.http.bodies import Body
from rdev_cli.faces.http.face import Reply, Routes, serves, whole
from rdev_cli.ops import webhooks
from rdev_cli.ports import World

routes: Routes = []


class WebhookSpec(Body):
    """An endpoint, and what it is told: kinds of events, or all of a noun (`command.*`); of some projects, or of everything."""

    url: str
    events: list[str]
    projects: list[str] = Field(default_factory=list)


def _older(before: str) -> str:
    return whole(before, "dlv", "delivery") if before else ""


@serves(routes, "POST", "/webhooks", webhooks.add, answer="webhook-secret", status=201)
def add(world: World, body: WebhookSpec) -> Any:
    made = webhooks.add(world, url=body.url, events=body.events, projects=body.projects)
    return Reply(made, headers={"location": f"/webhooks/{made.id}/deliveries"})


@serves(routes, "GET", "/webhooks", webhooks.list_, answer="webhook-list")
def list_(world: World) -> Any:
    return webhooks.list_(world)


@serves(routes, "POST", "/webhooks/{webhook}/test", webhooks.try_, answer="delivery")
def test(world: World, webhook: str) -> Any:
    return webhooks.try_(world, whole(webhook, "whk", "webhook"))


@serves(routes, "POST", "/webhooks/{webhook}/rotate", webhooks.rotate, answer="webhook-secret")
def rotate(world: World, webhook: str) -> Any:
    return webhooks.rotate(world, whole(webhook, "whk", "webhook"))


@serves(routes, "GET", "/webhooks/{webhook}/deliveries", webhooks.deliveries, answer="delivery-list")
def deliveries(world: World, webhook: str, before: Annotated[str, Query()] = "", limit: Annotated[int, Query(ge=1, le=10000)] = 50) -> Any:
    return webhooks.deliveries(world, webhook=whole(webhook, "whk", "webhook"), before=_older(before), limit=limit)


@serves(routes, "GET", "/deliveries", webhooks.deliveries, answer="delivery-list", form="all")
def all_deliveries(world: World, before: Annotated[str, Query()] = "", limit: Annotated[int, Query(ge=1, le=10000)] = 50) -> Any:
    return webhooks.deliveries(world, before=_older(before), limit=limit)


@serves(routes, "POST", "/deliveries/{delivery}/replay", webhooks.replay, answer="delivery")
def replay(world: World, delivery: str) -> Any:
    return webhooks.replay(world, whole(delivery, "dlv", "delivery"))


@serves(routes, "DELETE", "/webhooks/{webhook}", webhooks.remove, answer="webhook")
def remove(world: World, webhook: str) -> Any:
    return webhooks.remove(world, whole(webhook, "whk", "webhook"))
