"""The process that listens: its socket, uvicorn with every limit set, and how it ends."""

import asyncio
import contextlib
import errno
import logging
import os
import resource
import socket
import ssl
import stat
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path

import h11
import uvicorn
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from starlette.middleware import Middleware

from rdev_cli.domain.access import Grant
from rdev_cli.domain.errors import Conflict, Invalid, Unavailable
from rdev_cli.domain.values import Secret
from rdev_cli.faces.http import page, signing_in, stream, system
from rdev_cli.faces.http.app import create_app
from rdev_cli.faces.http.front import Front
from rdev_cli.faces.http.guards import Guard
from rdev_cli.faces.http.limits import Hosts, Proxies
from rdev_cli.faces.http.metrics import Gauged, Looped, Metrics
from rdev_cli.faces.http.visits import Visits
from rdev_cli.faces.http.wire import Wire
from rdev_cli.ops import keys
from rdev_cli.ports.timing import LOOKUP, Stop
from rdev_cli.wiring.log import log
from rdev_cli.wiring.services import Services
from rdev_cli.wiring.serving import Health, ServeSpec, preview_base

GRACE = LOOKUP  # seconds that requests and streams have once the server was told to stop
HEADERS = LOOKUP  # seconds in which a request's line and headers must be whole, from the connection's or the last answer's end on
IDLE = 5  # seconds that a connection stays open for another request
_HEAD = 32 << 10  # bytes of a request's line and headers
_CONNECTIONS = 10_000
_OWN = 256  # descriptors that are not connections


def listen(spec: ServeSpec) -> socket.socket:
    """Return the socket, bound and listening; Conflict ADDRESS_IN_USE if somebody else has the address, Invalid if it is none of this machine."""
    try:
        return _unix(Path(spec.unix)) if spec.unix else _internet(spec.host, spec.port)
    except OSError as e:
        where = spec.unix or f"{spec.host} port {spec.port}"
        if e.errno == errno.EADDRINUSE:
            hint = "give another one: --unix PATH" if spec.unix else "another server may run; --port 0 takes a free one"
            raise Conflict(f"{where} is taken", hint=hint, code="ADDRESS_IN_USE") from e
        if e.errno in (errno.EACCES, errno.EPERM):
            raise Unavailable(f"no right to listen at {where}", hint="take a port above 1023, or a folder of yours", code="MACHINE") from e
        raise Invalid(f"cannot listen at {where}: {e.strerror}", hint="--host takes an address of this machine", field="host") from e


def _internet(host: str, port: int) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    opened = socket.socket(family, kind, protocol)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind(address)
        opened.listen(2048)
    except BaseException:
        opened.close()
        raise
    return opened


def _unix(path: Path) -> socket.socket:
    if path.exists() or path.is_symlink():
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise OSError(errno.EEXIST, "something else is there")
        with socket.socket(socket.AF_UNIX) as asked:
            try:
                asked.connect(str(path))
            except ConnectionRefusedError:
                path.unlink()  # its server is gone
            else:
                raise OSError(errno.EADDRINUSE, "taken")
    opened = socket.socket(socket.AF_UNIX)
    old = os.umask(0o177)
    try:
        opened.bind(str(path))  # of mode 0600 from its first moment
        opened.listen(2048)
    except BaseException:
        opened.close()
        raise
    finally:
        os.umask(old)
    return opened


def url(spec: ServeSpec, opened: socket.socket) -> str:
    """Return where the server is, as a client writes it."""
    if spec.unix:
        return f"unix:{spec.unix}"
    host, port = opened.getsockname()[:2]
    return f"{'https' if spec.tls_cert else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"


def permitted(spec: ServeSpec, world: Services, admin: Secret | None) -> bool:
    """Say whether there is a key that opens anything; refuse to be public without one, or where a key could be read on its way."""
    with_key = admin is not None or any(key.revoked_at is None for key in keys.list_(world))
    if spec.tls_cert:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(spec.tls_cert, spec.tls_key)
        except OSError as e:
            raise Invalid(
                f"the certificate {spec.tls_cert} and its key cannot be used: {e.strerror or e}",
                hint="two PEM files that fit",
                field="tls-cert",
            ) from e
    if spec.public and not (spec.tls_cert or spec.trusted_proxies):
        raise Invalid(
            f"{spec.host} can be reached from elsewhere, and a key could be read on its way",
            hint="give --tls-cert FILE --tls-key FILE, or name the proxy that ends TLS: --trusted-proxy 10.0.0.5",
            code="NOT_ENCRYPTED",
            field="host",
        )
    if spec.public and not with_key:
        raise Invalid(
            f"{spec.host} can be reached from elsewhere, and there is no key yet",
            hint="make one first: rdev key create --name me --scope admin; or set RDEV_ADMIN_KEY",
            code="NO_KEY",
            field="host",
        )
    return with_key


class _Bounded(Wire):
    """HTTP/1.1 in which a request's headers have a time, too, and a request that is none is answered in our shape."""

    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._arm()

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._disarm()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.conn.their_state is h11.IDLE and not self.transport.is_closing():
            self._arm()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 -- the library's words are not ours
        if self.transport.is_closing() or self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            self.transport.close()
            return
        body = b'{"error":{"code":"BAD_REQUEST","context":{},"hint":"send HTTP/1.1","message":"this is no HTTP request"}}'
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), (b"connection", b"close")]
        for event in (h11.Response(status_code=400, headers=headers, reason=b"Bad Request"), h11.Data(data=body), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _arm(self) -> None:
        self._disarm()
        self._timer = self.loop.call_later(HEADERS, self._late)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _late(self) -> None:
        if self.conn.their_state is h11.IDLE:
            self.transport.abort()  # it may not read, either


class _Fronted(Front, _Bounded):
    """Both: what is asked of a preview goes to its proxy, all else to the app."""

    def leave(self) -> None:
        self._disarm()
        super().leave()


class _Server(uvicorn.Server):
    """uvicorn that is told when to stop by the process it runs in."""

    def __init__(self, config: uvicorn.Config, *, ready: Callable[[], None], signalled: Callable[[], bool], stop: Stop) -> None:
        super().__init__(config)
        self._ready, self._signalled, self._stop = ready, signalled, stop

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to whoever started the server."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()

    async def on_tick(self, counter: int) -> bool:
        if self._signalled():
            self._stop.set("cancelled")
        return await super().on_tick(counter) or self._stop.is_set()


class Door:
    """Tells what the holder of a key may do, and gathers when keys were used, until a loop writes that down."""

    def __init__(self, world: Services, admin: Secret | None) -> None:
        self._world, self._admin = world, admin
        self.used: dict[str, datetime] = {}

    def __call__(self, presented: str, address: str) -> Grant:
        """Return what a key allows whoever shows it from an address; Denied if that is nothing."""
        grant = keys.authenticate(self._world, presented, address=address, admin=self._admin)
        if grant.key:
            self.used[grant.key] = self._world.clock.now()
        return grant


class Serving:
    """One server on its socket, until it is told to stop."""

    def __init__(
        self, spec: ServeSpec, world: Services, opened: socket.socket, *, door: Door, metrics: Metrics, health: Health,
        loops: Sequence[Looped] = (), stop: Stop,
    ) -> None:  # fmt: skip
        self._spec, self._opened, self._stop = spec, opened, stop
        own = {"localhost", signing_in.APART, "127.0.0.1", "::1"} | ({spec.host} if not spec.unix else set())
        public = world.settings.public_url().partition("://")[2].partition("/")[0].partition(":")[0]  # as the forge calls it
        allowed = (*spec.allow_hosts, *([public] if public else []))
        hosts = Hosts(tuple(own - {"0.0.0.0", "::"}), 0 if spec.unix else opened.getsockname()[1], allowed)  # noqa: S104 -- no name of this server
        proxies, only_proxies = Proxies(spec.trusted_proxies), spec.public and not spec.tls_cert
        guard = Middleware(
            Guard,
            hosts=hosts,
            proxies=proxies,
            metrics=metrics,
            clock=world.clock,
            rate=spec.rate,
            max_body=spec.max_body,
            only_proxies=only_proxies,
        )
        self.visits = visits = Visits(world, domain=world.settings.preview_domain, hosts=hosts, proxies=proxies, only_proxies=only_proxies)
        more = (system.routes(metrics, health.standing, world.clock), page.routes(health.standing, loops))
        self.app = create_app(world, door, guards=(guard,), more=more)
        self.app.state.stop, self.app.state.sittings.used = stop, door.used
        self.app.state.previews = preview_base(world.settings.preview_domain, url(spec, opened))
        streams = stream.streams(self.app)
        metrics.keep(
            Gauged(name="rdev_sse_connections", words="Streams opened.", kind=CounterMetricFamily, read=lambda: [((), streams.opened)]),
            Gauged(
                name="rdev_preview_connections",
                words="Connections to previews.",
                kind=CounterMetricFamily,
                read=lambda: [((), visits.opened)],
            ),
            Gauged(
                name="rdev_preview_connections_active",
                words="Connections to previews that are open.",
                kind=GaugeMetricFamily,
                read=lambda: [((), visits.active)],
            ),
            Gauged(
                name="rdev_preview_bytes",
                words="Bytes that went through previews.",
                kind=CounterMetricFamily,
                read=lambda: [((), visits.bytes)],
            ),
            Gauged(name="rdev_sse_connections_active", words="Streams open.", kind=GaugeMetricFamily, read=lambda: [((), streams.active)]),
        )

    def run(self, *, ready: Callable[[], None], signalled: Callable[[], bool]) -> bool:
        """Serve until it is told to stop, then let what is under way end; return whether something would not within the grace."""
        for name in ("uvicorn.error", "asyncio"):  # what the libraries complain of is ours to tell, in our form
            logger = logging.getLogger(name)
            logger.handlers, logger.propagate = list(log().handlers), False
            logger.setLevel(logging.ERROR)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        most = min(hard if hard != resource.RLIM_INFINITY else 1 << 20, _CONNECTIONS + _OWN)
        if soft < most:
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        config = uvicorn.Config(
            self.app,
            http=type("_Connection", (_Fronted,), {"visits": self.visits}),
            ws="none",
            loop="asyncio",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            limit_concurrency=max(64, min(_CONNECTIONS, max(soft, most) - _OWN)),
            timeout_keep_alive=IDLE,
            timeout_graceful_shutdown=round(GRACE),
            h11_max_incomplete_event_size=_HEAD,
            ssl_certfile=self._spec.tls_cert or None,
            ssl_keyfile=self._spec.tls_key or None,
        )
        server = _Server(config, ready=ready, signalled=signalled, stop=self._stop)
        loop = asyncio.new_event_loop()
        try:
            loop.run_until_complete(server.serve([self._opened]))
        finally:
            self._stop.set("cancelled")
            if self._spec.unix:
                with contextlib.suppress(OSError):
                    os.unlink(self._spec.unix)
        # a thread cannot be stopped from outside: the loop that waits for its answer would wait for ever
        left = bool(server.server_state.tasks)
        if not left:
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()
        return left
