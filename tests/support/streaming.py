"""The application on uvicorn with limits of a test's choice, and a look at what its streams hold: `python -m tests.support.streaming [--stall S] …`."""

import argparse
import json
import os
import socket
import sys
import threading

import uvicorn

from rdev_cli.domain.values import Secret
from rdev_cli.faces.http import stream
from rdev_cli.faces.http.app import create_app
from rdev_cli.faces.http.wire import Wire
from rdev_cli.ops import keys
from rdev_cli.wiring.services import Services


class _Server(uvicorn.Server):
    """Says stop to the world when it is told to stop."""

    def __init__(self, config: uvicorn.Config, services: Services) -> None:
        super().__init__(config)
        self._services = services

    def handle_exit(self, sig: int, frame: object) -> None:
        self._services.stop.set("cancelled")
        super().handle_exit(sig, frame)  # type: ignore[arg-type]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--stall", type=float, default=stream.STALL)
    parser.add_argument("--beat", type=float, default=stream.BEAT)
    parser.add_argument("--per-key", type=int, default=stream.PER_KEY)
    given = parser.parse_args()
    admin = keys.admin_key(os.environ.pop("RDEV_ADMIN_KEY"))
    assert isinstance(admin, Secret)
    services = Services()
    app = create_app(services, lambda key, address: keys.authenticate(services, key, address=address, admin=admin))
    stream.BEAT = given.beat
    found = stream.Streams(services, lambda grant: keys.standing(services, grant), services.stop, per_key=given.per_key, stall=given.stall)
    app.state.streams = found

    async def outer(scope, receive, send) -> None:
        if scope.get("path") != "/counts":
            await app(scope, receive, send)
            return
        threads = sum(each.name == "stream" for each in threading.enumerate())
        body = json.dumps({"opened": found.opened, "active": found.active, "readers": threads}).encode()
        headers = [(b"content-length", str(len(body)).encode()), (b"connection", b"close")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    listening = socket.create_server(("127.0.0.1", 0), backlog=2048)
    sys.stdout.write(f"{listening.getsockname()[1]}\n")
    sys.stdout.flush()
    config = uvicorn.Config(outer, http=Wire, log_level="error", timeout_graceful_shutdown=8, lifespan="off", proxy_headers=False)
    _Server(config, services).run([listening])


if __name__ == "__main__":
    main()
