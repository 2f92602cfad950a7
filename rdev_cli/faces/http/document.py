"""/openapi.json and /docs: what is served here, for programs and for people."""

import json
from functools import cache
from importlib import resources

from starlette.requests import Request
from starlette.responses import Response

from rdev_cli.faces.http.face import Routes, public


@cache
def _page() -> bytes:
    return (resources.files("rdev_cli") / "_data" / "docs.html").read_bytes()


def _openapi(request: Request) -> Response:
    return Response(json.dumps(request.app.openapi(), separators=(",", ":")).encode(), media_type="application/json")


def _docs(request: Request) -> Response:  # noqa: ARG001 -- the same for everybody
    policy = "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'"
    return Response(_page(), headers={"content-security-policy": policy}, media_type="text/html; charset=utf-8")


routes: Routes = []
public(routes, "/openapi.json", _openapi)
public(routes, "/docs", _docs)
