"""/hooks/gitea: where a forge tells that something happened; whoever may tell is known by a signature, and rdev looks for itself."""

import json
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from rdev_cli.domain.codec import stamp, to_json
from rdev_cli.domain.errors import Denied, Invalid, NotFound, RdevError
from rdev_cli.faces.http.face import Routes, request_id
from rdev_cli.ops import hooks_in, known
from rdev_cli.wiring.log import log

if TYPE_CHECKING:
    from rdev_cli.wiring.services import Services

PATH = hooks_in.PATH
_KEPT = 4096  # ids of messages that are remembered, so that none is taken twice
_FRESH = 30.0  # seconds for which the secret is not looked up again, whoever knocks


class Inbox:
    """What was told lately, and which projects are being looked at; one for a server."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._busy: set[str] = set()
        self._again: set[str] = set()
        self._secret, self._asked = hooks_in.Nothing, 0.0

    def verified(self, world: "Services", body: bytes, signature: str) -> bool:
        """Say whether a message is the forge's."""
        now = world.clock.monotonic()
        with self._lock:
            if not self._asked or now - self._asked > _FRESH:
                try:
                    self._secret = hooks_in.secret(world)
                except NotFound:
                    self._secret = hooks_in.Nothing
                self._asked = now
            secret = self._secret
        return secret is not hooks_in.Nothing and hooks_in.signed(secret, body, signature)

    def new(self, delivery: str) -> bool:
        """Say whether a message was not here before."""
        with self._lock:
            if delivery in self._seen:
                return False
            self._seen[delivery] = None
            while len(self._seen) > _KEPT:
                self._seen.popitem(last=False)
            return True

    def look(self, world: "Services", project: str) -> None:
        """Look at a project, once for all that came meanwhile."""
        with self._lock:
            if project in self._busy:
                self._again.add(project)
                return
            self._busy.add(project)
        try:
            while True:
                with self._lock:
                    self._again.discard(project)
                moved = hooks_in.look(world, project)
                log().info(f"the forge told of {project}: {len(moved)} branches moved")
                with self._lock:
                    if project not in self._again:
                        self._busy.discard(project)
                        return
        except RdevError as e:
            log().warning(f"the forge told of {project}, which cannot be looked at", extra={"error": e.message, "code": e.code})
        finally:
            with self._lock:
                self._busy.discard(project)


def meant(world: "Services", body: bytes) -> str:
    """Return the project whose repository a message is about; NotFound for one that is none here, by its whole address."""
    try:
        said = json.loads(body)
        repository = said["repository"]
        name, full = str(repository["name"]), str(repository["full_name"])
    except (ValueError, KeyError, TypeError) as e:
        raise Invalid("this is no message of a repository", hint="Gitea sends JSON", code="BAD_REQUEST") from e
    found = world.store.find_project(name) if len(name) <= 40 else None
    if found is None or not world.forge.url(found.name).lower().endswith(f"/{full.lower()}.git"):
        raise NotFound("there is no project of this repository here", hint="rdev project list shows the ones there are")
    return known.project(world, found.name).name


def routes() -> Routes:
    """Return the route, with an inbox of its own."""
    inbox = Inbox()

    async def take(request: Request) -> Response:
        world: Services = request.app.state.services
        body, headers = await request.body(), request.headers
        if not await run_in_threadpool(inbox.verified, world, body, headers.get("x-gitea-signature", "")):
            raise Denied("this message is not signed as the forge signs", hint="it is told so when a project is made", code="UNAUTHORIZED")
        project = await run_in_threadpool(meant, world, body)
        fresh = inbox.new(headers.get("x-gitea-delivery", "")[:64])
        text = to_json(
            {
                "data": {"project": project, "taken": fresh},
                "meta": {"request_id": request_id(request), "timestamp": stamp(world.clock.now())},
            }
        )
        task = BackgroundTask(inbox.look, world, project) if fresh else None
        return Response(text.encode(), 202, media_type="application/json", background=task)

    route = Route(PATH, take, methods=["POST"], include_in_schema=False)
    return [route]
