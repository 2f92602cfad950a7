"""rdev serve: the one place where the command line starts the other faces, HTTP and the loops."""

import os
import sys
from importlib.util import find_spec
from typing import Annotated

import typer

from rdev_cli import __version__
from rdev_cli.domain.errors import Unavailable
from rdev_cli.faces.cli.face import Placed, hand, noun, say, write
from rdev_cli.faces.cli.show import show

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rdev_cli.domain.values import Secret
    from rdev_cli.wiring.services import Services
    from rdev_cli.wiring.serving import ServeSpec

app = noun("")

_NEEDED = ("fastapi", "uvicorn", "prometheus_client", "httpcore", "standardwebhooks")  # what the extra brings


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
        host=host, port=port, unix=serving.path(unix, "unix"), allow_hosts=tuple(allow_host or ()), trusted_proxies=serving.proxies(trusted_proxy or ()),
        tls_cert=serving.path(tls_cert, "tls-cert"), tls_key=serving.path(tls_key, "tls-key"), rate=serving.rate(rate), max_body=serving.size(max_body),
    )  # fmt: skip
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise Unavailable(
            f"the server's parts are not installed: {', '.join(missing)}", hint="pip install 'rdev[serve]'", code="TOOL_MISSING"
        )
    given = {key: str(here.options[key]) for key in ("context", "isolation") if here.options.get(key)}
    world, admin = serving.serving(os.environ, given)
    os.environ.pop(serving.ADMIN_KEY, None)  # no program that the server starts is to find it
    try:
        left = _run(ctx, spec, world, admin)
    finally:
        world.close()
    if left:  # a request that would not end, or a log that nobody reads, has a thread, which the interpreter would wait for
        sys.stdout.flush()
        os._exit(0)


def _run(ctx: typer.Context, spec: "ServeSpec", world: "Services", admin: "Secret | None") -> bool:
    """Serve until a signal; return whether something is still at it."""
    # only now is it known that all of this is there, and it takes half a second
    from rdev_cli.faces.http.metrics import Metrics  # noqa: PLC0415
    from rdev_cli.faces.http.server import Door, Serving, listen, permitted, url  # noqa: PLC0415
    from rdev_cli.faces.loops.clockwork import Clockwork  # noqa: PLC0415
    from rdev_cli.faces.loops.passes import LAST, loops, note_used  # noqa: PLC0415
    from rdev_cli.ports.timing import Stop  # noqa: PLC0415
    from rdev_cli.wiring.serving import Health, announced, log_all  # noqa: PLC0415

    here = hand(ctx)
    with_key = permitted(spec, world, admin)
    opened = listen(spec)
    logged = log_all(file=str(here.options.get("log_file") or ""), json_lines=here.options.get("log_format") == "json")
    stop, health, door = Stop(), Health(world), Door(world, admin)
    clock = Clockwork(world, loops(world, health, door.used, stop), stop, close=world.store.close)
    metrics = Metrics(world, health=health.standing, loops=clock.loops)
    serving = Serving(spec, world, opened, door=door, metrics=metrics, health=health, loops=clock.loops, stop=stop)
    where = url(spec, opened)

    def ready() -> None:
        clock.start()
        say(f"rdev serves the context {world.settings.context} at {where}")
        if not with_key:
            say("nobody has a key yet: rdev key create --name me --scope admin makes one")
        if here.output in ("json", "jsonl", "yaml"):
            from rdev_cli.domain.answers import Served  # noqa: PLC0415

            show(ctx, Served(url=where, context=world.settings.context, version=__version__))
        else:
            write(sys.stdout, where + "\n")

    with announced(world, where):
        left = serving.run(ready=ready, signalled=lambda: here.signal != 0)
    clock.join(LAST)
    note_used(world, door.used)
    return not logged() or left
