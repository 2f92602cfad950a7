"""rdev serve: the one place where the command line starts the other faces, HTTP and the loops."""

import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Annotated

import typer

from rdev_cli.domain.answers import Served
from rdev_cli.domain.errors import Unavailable
from rdev_cli.faces.cli.face import Hand, Placed, checked, hand, noun, say, write
from rdev_cli.faces.cli.show import show

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rdev_cli.faces.http.metrics import Gauged
    from rdev_cli.faces.http.server import Serving
    from rdev_cli.faces.loops.clockwork import Loop
    from rdev_cli.wiring.services import Services
    from rdev_cli.wiring.serving import Health

app = noun("")

# what the extra brings, as far as the server cannot begin without it
_NEEDED = ("fastapi", "uvicorn", "prometheus_client", "httpx", "standardwebhooks")
_HEALTH, _WORK, _SETTLE, _DELIVER, _USED, _LEFT = 30.0, 0.1, 2.0, 1.0, 60.0, 3600.0  # seconds between the passes of a loop


@app.command(
    "serve",
    cls=Placed,
    help="Serve projects, commands and agents over HTTP, until it is stopped.\n\n"
    "Prints its URL once it listens, and logs to stderr. It serves one context, and shares its state with this command line. "
    "To be reached from elsewhere it needs a key (rdev key create) and TLS: a certificate, or a proxy in front of it.",
)
def serve(
    ctx: typer.Context,
    host: Annotated[str, typer.Option("--host", metavar="HOST", help="The address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Its port; 0 takes a free one.")] = 8080,
    unix: Annotated[str | None, typer.Option("--unix", metavar="SOCKET", help="Listen at a socket of this path (0600) instead.")] = None,
    allow_host: Annotated[
        list[str] | None, typer.Option("--allow-host", metavar="HOST", help="One more name that clients may ask for; may be repeated.")
    ] = None,
    trusted_proxy: Annotated[
        list[str] | None,
        typer.Option("--trusted-proxy", metavar="CIDR", help="Whose X-Forwarded-For is believed, and who ends TLS; may be repeated."),
    ] = None,
    tls_cert: Annotated[str | None, typer.Option("--tls-cert", metavar="PEM", help="The certificate, with its chain.")] = None,
    tls_key: Annotated[str | None, typer.Option("--tls-key", metavar="PEM", help="Its key.")] = None,
    rate: Annotated[str, typer.Option("--rate", metavar="N/min", help="How many requests a key may make.")] = "600/min",
    max_body: Annotated[str, typer.Option("--max-body", metavar="SIZE", help="The largest body of a request.")] = "1Mi",
) -> None:
    from rdev_cli.wiring import serving  # noqa: PLC0415 -- with the server, not with its help

    here = hand(ctx)
    spec = serving.ServeSpec(
        host=host, port=port, unix=serving.path(unix), allow_hosts=tuple(allow_host or ()), trusted_proxies=serving.proxies(trusted_proxy or ()),
        tls_cert=serving.path(tls_cert, "tls-cert"), tls_key=serving.path(tls_key, "tls-key"), rate=serving.rate(rate), max_body=serving.size(max_body),
    )  # fmt: skip
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise Unavailable(f"the server's parts are not installed: {', '.join(missing)}", hint="pip install 'rdev[serve]'", code="TOOL_MISSING")
    given = {key: str(here.options[key]) for key in ("context", "isolation") if here.options.get(key)}
    world, admin = serving.serving(os.environ, given)
    os.environ.pop(serving.ADMIN_KEY, None)  # no program that the server starts is to find it
    ...
