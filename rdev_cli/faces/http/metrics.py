"""What a server counts, as Prometheus reads it: requests, commands, streams, loops, and how its providers stand."""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from rdev_cli.domain.command import OPEN
from rdev_cli.domain.event import Event
from rdev_cli.ops import debts
from rdev_cli.ports import World
from rdev_cli.wiring.serving import Standing

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
MOST = 200  # projects that have lines of their own; what all others do is counted together
_REST = "(others)"
_PAGE, _PAGES = 1000, 50  # lines of the journal, and pages of them, that one look goes through
disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each, of no use to anybody
_SECONDS = (0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 4 * 3600)


class Looped(Protocol):
    """What a loop tells of itself."""

    @property
    def name(self) -> str:
        """Its name."""
        ...

    @property
    def passes(self) -> int:
        """How many passes were good."""
        ...

    @property
    def failures(self) -> int:
        """How many failed."""
        ...

    @property
    def well_at(self) -> float:
        """The end of the last good pass, in Unix seconds."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Gauged:
    """One figure that somebody else keeps: read when it is asked for."""

    name: str
    words: str
    kind: type[CounterMetricFamily] | type[GaugeMetricFamily]
    read: Callable[[], Iterable[tuple[tuple[str, ...], float]]]
    labels: tuple[str, ...] = ()


class Metrics:
    """A server's own figures, in a registry of their own."""

    def __init__(self, world: World, *, health: Callable[[], Sequence[Standing]] = tuple, loops: Sequence[Looped] = ()) -> None:
        self.registry = CollectorRegistry()
        labels = ("method", "path", "status")
        self._requests = Counter("http_requests", "Requests answered.", labels, registry=self.registry)
        self._seconds = Histogram("http_request_duration_seconds", "How long they took.", labels, registry=self.registry)
        self._flying = Gauge("http_requests_in_flight", "Requests that are being answered.", registry=self.registry)
        self.registry.register(_Commands(world))
        self.keep(*_of_providers(health), *_of_loops(loops), *_of_checkouts(world))

    def keep(self, *gauges: Gauged) -> None:
        """Tell these too."""
        self.registry.register(_Kept(gauges))

    def began(self) -> None:
        """Count a request that came in."""
        self._flying.inc()

    def ended(self, method: str, path: str, status: int, seconds: float) -> None:
        """Count a request that is over; `path` is a route's, never a request's; 0 is the status of one that nobody waited for."""
        self._flying.dec()
        words = (method if method in METHODS else "OTHER", path, str(status))
        self._requests.labels(*words).inc()
        self._seconds.labels(*words).observe(seconds)

    def page(self) -> tuple[bytes, str]:
        """Return the page that Prometheus reads, and what kind of page it is."""
        return generate_latest(self.registry), CONTENT_TYPE_LATEST


class _Kept(Collector):
    """What others keep."""

    def __init__(self, gauges: Sequence[Gauged]) -> None:
        self._gauges = gauges

    def collect(self) -> Iterator[Metric]:
        for one in self._gauges:
            family = one.kind(one.name, one.words, labels=one.labels)
            for values, figure in one.read():
                family.add_metric(values, figure)
            yield family

    def describe(self) -> Iterable[Metric]:
        return ()


def _of_providers(health: Callable[[], Sequence[Standing]]) -> Sequence[Gauged]:
    def gauge(name: str, words: str, read: Callable[[Standing], float]) -> Gauged:
        return Gauged(
            name=f"rdev_external_system_{name}", words=words, kind=GaugeMetricFamily, labels=("system",),
            read=lambda: [((one.name,), read(one)) for one in health()],
        )  # fmt: skip

    return (
        gauge("healthy", "1 if it was well when it was last looked at.", lambda one: float(not one.code)),
        gauge("latency_seconds", "How long that look took.", lambda one: one.seconds),
        gauge("last_check_timestamp", "When that was, in Unix seconds.", lambda one: one.at.timestamp() if one.at else 0.0),
    )


def _of_loops(loops: Sequence[Looped]) -> Sequence[Gauged]:
    def gauge(name: str, words: str, kind: type[CounterMetricFamily] | type[GaugeMetricFamily], field: str) -> Gauged:
        return Gauged(
            name=f"rdev_loop_{name}", words=words, kind=kind, labels=("loop",),
            read=lambda: [((one.name,), float(getattr(one, field))) for one in loops],
        )  # fmt: skip

    return (
        gauge("passes", "Good passes of a loop.", CounterMetricFamily, "passes"),
        gauge("failures", "Passes that failed.", CounterMetricFamily, "failures"),
        gauge("last_success_timestamp", "The end of the last good pass, in Unix seconds; 0: none yet.", GaugeMetricFamily, "well_at"),
    )


def _of_checkouts(world: World) -> Sequence[Gauged]:
    live = lambda: [((), float(len(debts.owed(world)) - len(debts.overdue(world))))]  # noqa: E731
    late = lambda: [((), float(len(debts.overdue(world))))]  # noqa: E731
    return (
        Gauged(name="rdev_tokens_live", words="Credentials of checkouts that count.", kind=GaugeMetricFamily, read=live),
        Gauged(name="rdev_tokens_past_expiry", words="Those that should be gone by now and are not.", kind=GaugeMetricFamily, read=late),
    )


class _Commands(Collector):
    """Commands, by what the journal says of them since the server started, whoever ran them; read when somebody looks."""

    def __init__(self, world: World) -> None:
        self._world, self._seq, self._lock = world, world.store.last_event(), threading.Lock()
        self._projects: set[str] = set()
        labels = ("project", "type", "status")
        self._total = Counter("rdev_commands", "Commands that ended.", labels, registry=None)
        self._seconds = Histogram("rdev_command_duration_seconds", "How long they ran.", labels, registry=None, buckets=_SECONDS)

    def collect(self) -> Iterator[Metric]:
        with self._lock:
            for _ in range(_PAGES):
                page = self._world.store.events(after=self._seq, limit=_PAGE)
                for event in page:
                    self._count(event)
                    self._seq = event.seq
                if len(page) < _PAGE:
                    break
            active = GaugeMetricFamily("rdev_commands_active", "Commands that run.", labels=("project", "type", "status"))
            running: dict[tuple[str, str, str], int] = {}
            for one in self._world.store.commands(states=OPEN, limit=_PAGE):
                words = (self._named(one.project), one.kind.value, one.state.value)
                running[words] = running.get(words, 0) + 1
            for words, count in running.items():
                active.add_metric(words, count)
        yield active
        yield from self._total.collect()
        yield from self._seconds.collect()

    def describe(self) -> Iterable[Metric]:
        return ()

    def _count(self, event: Event) -> None:
        noun, _, how = event.kind.partition(".")
        if noun != "command" or "duration_ms" not in event.data:
            return
        found = self._world.store.find_commands(event.subject)
        words = (self._named(str(event.data.get("project", ""))), found[0].kind.value if found else "unknown", how)
        self._total.labels(*words).inc()
        self._seconds.labels(*words).observe(float(event.data["duration_ms"]) / 1000)

    def _named(self, project: str) -> str:
        if project in self._projects or len(self._projects) < MOST:
            self._projects.add(project)
            return project
        return _REST
