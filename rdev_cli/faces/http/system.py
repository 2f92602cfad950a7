"""/health, /ready and /metrics: that the server is up, that it can work, and what it counted."""

from collections.abc import Callable, Sequence

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from rdev_cli import __version__
from rdev_cli.domain.access import Scope
from rdev_cli.domain.codec import stamp, to_json
from rdev_cli.domain.errors import Unavailable
from rdev_cli.faces.http.face import Guarded, Routes, problem, request_id
from rdev_cli.faces.http.metrics import Metrics
from rdev_cli.ports.timing import Clock
from rdev_cli.wiring.serving import Standing


def routes(metrics: Metrics, standing: Callable[[], Sequence[Standing]], clock: Clock) -> Routes:
    """Return the routes; `standing` tells how the state and the providers were when they were last looked at."""

    def answer(request: Request, data: dict[str, object]) -> Response:
        meta = {"request_id": request_id(request), "timestamp": stamp(clock.now())}
        return Response(to_json({"data": data, "meta": meta}).encode(), media_type="application/json")

    async def health(request: Request) -> Response:
        return answer(request, {"status": "ok", "version": __version__})

    async def ready(request: Request) -> Response:
        found = standing()
        bad = [one for one in found if one.code]
        if found and not bad:
            return answer(request, {"status": "ready", "checks": [{"name": one.name, "checked_at": one.at} for one in found]})
        error = Unavailable(
            f"{', '.join(one.name for one in bad)} cannot be used" if bad else "nothing was looked at yet",
            hint="the server's log says why, and so does rdev doctor" if bad else "ask again in a moment",
            code="NOT_READY",
            checks=[{"name": one.name, "code": one.code, "checked_at": one.at} for one in found],  # no words of a provider: anybody may ask
        )
        return problem(error, id=request_id(request), at=stamp(clock.now()))

    def figures(request: Request) -> Response:  # noqa: ARG001 -- an endpoint's shape
        page, kind = metrics.page()
        return Response(page, media_type=kind)

    public = [Route("/health", health), Route("/ready", ready)]
    for route in public:
        route.methods = {"GET"}  # the library would serve HEAD too
    return [
        *public,
        Guarded("/metrics", figures, scope=Scope.AUDIT_READ, methods=["GET"], include_in_schema=False),
    ]
