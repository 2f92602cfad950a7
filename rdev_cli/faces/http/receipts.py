"""/receipts: what was checked on which tree, held against what is there, and run again."""

import json
from typing import Annotated, Any

from fastapi import Query

from rdev_cli.domain.errors import Invalid
from rdev_cli.faces.http.bodies import Body
from rdev_cli.faces.http.ci import Limit
from rdev_cli.faces.http.face import Routes, begin, serves, whole
from rdev_cli.ops import checks, receipts
from rdev_cli.ports import World

routes: Routes = []


class ReceiptGiven(Body):
    """A receipt by its id, or the document itself; one of the two."""

    receipt: str = ""
    document: dict[str, Any] | None = None


class ReplaySpec(Body):
    """How long running it again may take."""

    timeout_seconds: Limit = checks.LIMIT


@serves(routes, "GET", "/projects/{project}/receipts", receipts.list_, answer="receipt-list")
def list_(world: World, project: str, before: Annotated[str, Query()] = "", limit: Annotated[int, Query(ge=1, le=10000)] = 50) -> Any:
    return receipts.list_(world, project, before=whole(before, "rcp", "receipt") if before else "", limit=limit)


@serves(routes, "GET", "/receipts/{receipt}", receipts.show, answer="receipt")
def show(world: World, receipt: str) -> Any:
    return receipts.show(world, whole(receipt, "rcp", "receipt"))


@serves(routes, "POST", "/receipts/verify", receipts.verify, answer="check-list")
def verify(world: World, body: ReceiptGiven) -> Any:
    if bool(body.receipt) == (body.document is not None):
        raise Invalid("either an id or a document is needed", hint='{"receipt": "rcp_…"} or {"document": {…}}', field="receipt")
    if body.document is None:
        return receipts.verify(world, whole(body.receipt, "rcp", "receipt"))
    return receipts.verify(world, json.dumps(body.document).encode())


@serves(routes, "POST", "/receipts/{receipt}/replay", receipts.replay, answer="accepted", status=202)
def replay(world: World, receipt: str, body: ReplaySpec) -> Any:
    return begin(world, receipts.replay, receipt=whole(receipt, "rcp", "receipt"), **body.model_dump())
