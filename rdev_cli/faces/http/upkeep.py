"""/events, /journal, /gc and /doctor: what happened, and what keeps the state healthy."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import Query
from pydantic import AwareDatetime, ConfigDict, Field

from rdev_cli.domain.resource import SHORTEST, WINDOW
from rdev_cli.faces.http.bodies import YEAR, Body
from rdev_cli.faces.http.face import Routes, begin, serves
from rdev_cli.ops import doctor, events, gc, journal
from rdev_cli.ports import World

routes: Routes = []


class Prune(Body):
    """Which lines of the journal go: those from before a time. `dry_run` only counts them."""

    model_config = ConfigDict(extra="forbid", strict=False)

    before: AwareDatetime
    dry_run: bool = False


class Collection(Body):
    """What was reviewed, by uid, and may go; more than ten things in a run need their number."""

    reviewed: list[str]
    allow: Annotated[int, Field(ge=0, le=1_000_000)] = 0


@serves(routes, "GET", "/events", events.read, answer="event-list")
def read(
    world: World,
    after: Annotated[int, Query(ge=0, le=(1 << 63) - 1)] = 0,
    subject: str = "",
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Any:
    return events.read(world, after=after, subject=subject, limit=limit)


@serves(routes, "POST", "/journal/prune", journal.prune, answer="pruning")
def prune(world: World, body: Prune) -> Any:
    before: datetime = body.before
    return journal.plan(world, before) if body.dry_run else journal.prune(world, before)


@serves(routes, "GET", "/gc", gc.collect, answer="orphan-list", form="look")
def look(world: World, window_seconds: Annotated[int, Query(ge=SHORTEST, le=YEAR)] = round(WINDOW)) -> Any:
    return gc.look(world, window=window_seconds)


@serves(routes, "POST", "/gc", gc.collect, answer="accepted", status=202)
def collect(world: World, body: Collection) -> Any:
    return begin(world, gc.collect, **body.model_dump())


@serves(routes, "GET", "/doctor", doctor.check, answer="check-list")
def check(world: World) -> Any:
    return doctor.check(world)
