"""What a server is told, and the world it serves: one context, no caller's environment, nobody to ask, and how its providers stand."""

import contextlib
import fcntl
import ipaddress
import logging
import os
import queue
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from logging.handlers import QueueHandler

from rdev_cli.domain.access import network
from rdev_cli.domain.errors import Invalid, RdevError, Unavailable
from rdev_cli.domain.values import Secret, shown
from rdev_cli.ops.keys import admin_key
from rdev_cli.ports import World
from rdev_cli.ports.timing import LOOKUP
from rdev_cli.wiring.log import log, set_up
from rdev_cli.wiring.services import Services

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

ADMIN_KEY = "RDEV_ADMIN_KEY"
_HOST = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9.]{0,251}[A-Za-z0-9])?")
_SIZE = re.compile(r"([1-9][0-9]{0,6})(Ki|Mi)?")
_RATE = re.compile(r"([1-9][0-9]{0,6})/min")
_LINES = 10_000  # of the log, that nobody has written yet
_MOST = 1 << 30  # bytes of a body: it is held in memory while a request is read


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeSpec:
    """Where to listen, who is let in, and how much."""

    host: str = "127.0.0.1"
    port: int = 8080  # 0: a free one
    unix: str = ""  # the path of a socket, instead of host and port
    allow_hosts: tuple[str, ...] = ()
    trusted_proxies: tuple[Network, ...] = ()
    tls_cert: str = ""
    tls_key: str = ""
    rate: int = 600  # requests a minute and key
    max_body: int = 1 << 20  # bytes

    def __post_init__(self) -> None:
        if not self.unix and not is_address(self.host) and not _HOST.fullmatch(self.host):
            raise Invalid(f"'{shown(self.host)}' is no host", hint="an address or a name: --host 127.0.0.1", field="host")
        if self.unix and not (self.unix.startswith("/") and self.unix.isprintable() and len(self.unix.encode()) <= 100):
            raise Invalid(
                f"'{shown(self.unix)}' is no path of a socket",
                hint="an absolute one of at most 100 bytes: --unix /run/rdev.sock",
                field="unix",
            )
        for one in self.allow_hosts:
            name, colon, port = one.rpartition(":") if re.search(r":[0-9]+$", one) and not is_address(one) else (one, "", "")
            if not (_HOST.fullmatch(name) or is_address(name.strip("[]"))) or (colon and not 0 < int(port) < 65536):
                raise Invalid(
                    f"'{shown(one)}' is no host", hint="the name that clients ask for: --allow-host rdev.example.org", field="allow-host"
                )
        if bool(self.tls_cert) != bool(self.tls_key):
            missing = "tls-key" if self.tls_cert else "tls-cert"
            raise Invalid("a certificate and its key go together", hint=f"give --{missing} FILE too", field=missing)

    @property
    def public(self) -> bool:
        """Say whether anybody but this machine's own processes can reach it; a name other than localhost may be any address."""
        return not self.unix and self.host != "localhost" and not (is_address(self.host) and ipaddress.ip_address(self.host).is_loopback)


def is_address(text: str) -> bool:
    """Say whether a text is an IP address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def preview_base(domain: str, url: str) -> str:
    """Return under which address previews are seen that a server at this URL has: the domain's, else names of this machine; empty for no server."""
    if domain:
        return f"https://{domain}"
    scheme, _, rest = url.partition("://")
    if url.startswith("unix:"):
        return "http://localhost"  # whoever leads browsers to the socket's file knows the port
    return f"{scheme}://localhost:{rest.rpartition(':')[2]}" if rest else ""


@contextlib.contextmanager
def announced(world: Services, url: str) -> Iterator[None]:
    """Let the command line of this context know where this server is, for as long as its process lives."""
    path = world.folder / f"serving.{os.getpid()}"
    part = path.with_name(f".{path.name}.part")  # whoever looks finds it locked, or not at all
    with part.open("w", encoding="utf-8") as file:
        part.chmod(0o600)
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(url)
        file.flush()
        part.rename(path)
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def running(world: Services) -> Sequence[str]:
    """Return the URLs of the servers of this context that run, the newest last; what one left that was killed is taken away."""
    found = []
    for path in world.folder.glob("serving.[0-9]*"):
        try:
            with path.open(encoding="utf-8") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                    path.unlink(missing_ok=True)
                except BlockingIOError:
                    found.append((os.fstat(file.fileno()).st_mtime_ns, file.read(1000)))
        except OSError:
            continue  # gone meanwhile
    return [url for _, url in sorted(found)]


def proxies(given: Sequence[str]) -> tuple[Network, ...]:
    """Return the networks that proxies may come from; Invalid for one that is none, and for all addresses, as anybody could then say who they are."""
    found = []
    for text in given:
        try:
            one = network(text)
        except Invalid as e:
            raise Invalid(e.message, hint=e.hint, field="trusted-proxy") from e
        if one.prefixlen == 0:
            raise Invalid("every address would be trusted to say who it is", hint="name the proxy's own: 10.0.0.5", field="trusted-proxy")
        found.append(one)
    return tuple(found)


def size(text: str) -> int:
    """Return the bytes in a size such as 4096, 512Ki or 10Mi; Invalid for anything else, and for more than 1 GiB."""
    match = _SIZE.fullmatch(text)
    found = int(match[1]) * {None: 1, "Ki": 1 << 10, "Mi": 1 << 20}[match[2]] if match else 0
    if not 0 < found <= _MOST:
        raise Invalid(f"'{shown(text)}' is no size", hint="bytes, Ki or Mi, at most 1024Mi: 1Mi", field="max-body")
    return found


def rate(text: str) -> int:
    """Return the number in `N/min`; Invalid for anything else."""
    match = _RATE.fullmatch(text)
    if match is None:
        raise Invalid(f"'{shown(text)}' is no rate", hint="a number of requests a minute: 600/min", field="rate")
    return int(match[1])


def path(text: str | None, field: str) -> str:
    """Return the path that a flag gave, empty if it was not given; Invalid if it is none."""
    if text is not None and not (text and text.isprintable()):
        raise Invalid(f"'{shown(text)}' is no path", hint=f"--{field} takes one", field=field)
    return text or ""


def log_all(*, file: str, json_lines: bool) -> Callable[[], bool]:
    """Send the log to stderr, and to a file if one was named: a server tells every request. Return what ends it, and says if that went well.

    A thread of its own writes it, so that nobody who stops reading the log stops the server; what is too much is left out.
    """
    set_up(verbose=True, file=file, json_lines=json_lines)
    lines: queue.Queue[logging.LogRecord | None] = queue.Queue(_LINES)
    handlers = list(log().handlers)

    def write() -> None:
        while (record := lines.get()) is not None:
            for handler in handlers:
                handler.handle(record)

    writer = threading.Thread(target=write, name="log", daemon=True)
    log().handlers[:] = [QueueHandler(lines)]
    log().setLevel(logging.INFO)
    writer.start()

    def over() -> bool:
        with contextlib.suppress(queue.Full):
            lines.put_nowait(None)
            writer.join(1)
        return not writer.is_alive()

    return over


def serving(environ: Mapping[str, str], flags: Mapping[str, str]) -> tuple[Services, Secret | None]:
    """Return the world that a server serves, and the first key if there is one.

    Nothing that its agents could be given comes from the environment: whoever starts a server lends nobody a key of theirs.
    """
    admin = environ.get(ADMIN_KEY)
    own = {key: value for key, value in environ.items() if key != ADMIN_KEY}
    theirs = {variable for agent in Services(environ=own, flags=flags).agents.all() for variable in agent.variables}
    kept = {key: value for key, value in own.items() if key not in theirs}
    return Services(environ=kept, flags=flags), admin_key(admin) if admin else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How one of the things that a server stands on was, when it was last looked at."""

    name: str
    code: str = ""  # empty: it is well
    error: str = ""
    seconds: float = 0.0  # how long the look took
    at: datetime | None = None
    well_at: datetime | None = None


class Health:
    """How the state and the providers stand: looked at now and then, and remembered; a change is logged."""

    def __init__(self, world: World, limit: float = LOOKUP) -> None:
        self._world, self._limit = world, limit
        self._probes: dict[str, Callable[[], object]] = {"state": self._state, "cluster": self._cluster}
        self._running: dict[str, threading.Thread] = {}
        self._found: dict[str, Standing] = {}

    def standing(self) -> Sequence[Standing]:
        """Return what was found last; nothing before the first look."""
        return [self._found[name] for name in self._probes if name in self._found]

    def look(self) -> bool:
        """Look at everything at once; what does not answer within the limit is not well, and is not asked again before it has answered."""
        results: dict[str, tuple[RdevError | None, float]] = {}

        def ask(name: str, probe: Callable[[], object]) -> None:
            began, error = time.monotonic(), None
            try:
                probe()
            except RdevError as e:
                error = e
            except Exception as e:  # noqa: BLE001 -- a loop's body: what a probe meets is what it found
                error = RdevError(f"{type(e).__name__}: {e}")
            finally:
                self._world.store.close()
            results[name] = error, time.monotonic() - began

        end = time.monotonic() + self._limit
        for name, probe in self._probes.items():
            if name not in self._running or not self._running[name].is_alive():
                self._running[name] = threading.Thread(target=ask, args=(name, probe), name=f"look at {name}", daemon=True)
                self._running[name].start()
        for name, thread in self._running.items():
            thread.join(max(0.0, end - time.monotonic()))
            silent = Unavailable(f"no answer within {self._limit:.0f} seconds", code="SILENT")
            self._note(name, *results.get(name, (silent, self._limit)))
        return False

    def _note(self, name: str, error: RdevError | None, seconds: float) -> None:
        before, now = self._found.get(name), self._world.clock.now()
        well_at = now if error is None else before.well_at if before else None
        code, words = (error.code, error.message) if error else ("", "")
        self._found[name] = Standing(name=name, code=code, error=words, seconds=seconds, at=now, well_at=well_at)
        if code and (before is None or before.code != code):
            log().warning(f"{name} is not well", extra={"code": code, "error": words})
        elif before is not None and before.code and not code:
            log().info(f"{name} is well again")

    def _state(self) -> None:
        owner = self._world.new_id("own")
        name = f"look:{owner}"
        with self._world.store.transaction() as tx:  # a row that comes and goes: written to the disk, and seen by nobody
            tx.take(name, owner=owner, seconds=LOOKUP)
            tx.forget(name)
        self._world.store.last_event()

    def _cluster(self) -> None:
        self._world.cluster.ready()
        self._world.cluster.owned()
