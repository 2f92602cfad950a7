"""Garbage collection over the real transport while the API server turns requests away in the middle of it: T-GC-7."""

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from rdev_cli.adapters.kubernetes import owned
from rdev_cli.adapters.kubernetes.api import Api
from rdev_cli.adapters.kubernetes.cluster import KubernetesCluster
from rdev_cli.adapters.kubernetes.manifests import Shape, claim, pod, policy, project_labels
from rdev_cli.domain.errors import Partial, RdevError, Unavailable
from rdev_cli.domain.project import Project, ProjectSpec
from rdev_cli.ops import gc, projects
from rdev_cli.ports.timing import Stop
from tests.fakes.world import MemoryWorld
from tests.support.apiserver import RESET_AFTER, ApiServer, status

BUSY = status(429, reason="TooManyRequests", after="0")
DOWN = status(503, reason="ServiceUnavailable")
CLAIMS, PODS = "GET /api/v1/namespaces/rdev/persistentvolumeclaims", "/api/v1/namespaces/rdev/pods"


class Weather:
    """A world with three projects in a scripted cluster, and two whose record has gone while their pods stayed."""

    def __init__(self, folder: Path, server: ApiServer, api: Api) -> None:
        self.server, self.world, self.ahead = server, MemoryWorld(folder), timedelta()
        self.world.clock = self
        server.put("/api/v1/namespaces/rdev", {})
        kept = [projects.create(self.world, ProjectSpec(name=name)) for name in ("a", "b", "c")]
        gone = [projects.create(self.world, ProjectSpec(name=name)) for name in ("x", "y")]
        for one in gone:
            projects.delete(self.world, one.name)
        for one in (*kept, *gone):
            self._put(one, whole=one in kept)
        self.left = [f"{PODS}/{one.pod}" for one in gone]
        self.world.cluster = KubernetesCluster(
            api, folder=folder / "context", context="lab", namespace="rdev", shape=Shape(image="box"),
            installation=self.world.installation, stop=Stop,
        )  # fmt: skip
        self.pass_()

    def _put(self, project: Project, *, whole: bool) -> None:
        marks, shape = project_labels(project, self.world.installation), Shape(image="box")
        things = [pod(project.pod, marks, shape, claimed=True), claim(project.pod, marks, shape), policy(project.pod, marks, "none")]
        for kind, thing in zip(owned.KINDS, things, strict=True):
            if whole or kind == "Pod":
                thing["metadata"]["namespace"] = "rdev"
                self.server.put(f"{owned.KINDS[kind].format('rdev')}/{project.pod}", thing)

    def now(self) -> datetime:
        return (datetime.now(UTC) + self.ahead).replace(microsecond=0)

    def monotonic(self) -> float:
        return 0.0

    def pass_(self) -> None:
        """Let two hours go by, here and at the server."""
        self.ahead += timedelta(hours=2)
        self.server.date = format_datetime(self.now(), usegmt=True)

    def collect(self) -> dict[str, str]:
        found = gc.look(self.world)
        return {one.name: one.state.value for one in gc.collect(self.world, {one.uid for one in found})}

    def times(self, line: str) -> list[float]:
        return [asked.at for asked in self.server.asked if line == f"{asked.method} {asked.path}"]


@pytest.fixture
def weather(tmp_path: Path, server: ApiServer, api: Api) -> Iterator[Weather]:
    one = Weather(tmp_path, server, api)
    gc.look(one.world)
    one.pass_()
    yield one
    one.world.close()


def test_t_gc_7_a_run_that_is_turned_away_in_the_middle_waits_and_goes_on(weather):
    first, second = weather.left
    weather.server.trouble(BUSY, DOWN, on=CLAIMS)
    weather.server.trouble(status(429, after="1"), DOWN, on=f"DELETE {first}")
    weather.server.trouble(RESET_AFTER, on=f"DELETE {second}")  # it is removed, and nobody hears of it
    before = dict(weather.server.objects)
    assert weather.collect() == {path.rpartition("/")[2]: "deleted" for path in weather.left}
    assert weather.server.troubles_left == 0
    assert before.keys() - weather.server.objects.keys() == set(weather.left)
    asked = weather.times(f"DELETE {first}")
    assert len(asked) == 3
    assert asked[1] - asked[0] >= 1.0, "the server asked for a second"
    [event] = [one for one in weather.world.store.events(after=0, subject="gc") if one.kind == "gc.collected"]
    assert [one["result"] for one in event.data["objects"]] == ["deleted", "deleted"]


@pytest.mark.parametrize("kind", list(owned.KINDS))
@pytest.mark.parametrize("fault", [BUSY, DOWN], ids=["429", "503"])
def test_t_gc_7_a_list_that_stays_refused_removes_nothing(weather, kind, fault):
    weather.server.trouble(*[fault] * 6, on=f"GET {owned.KINDS[kind].format('rdev')}?")
    before = dict(weather.server.objects)
    with pytest.raises(RdevError) as error:
        weather.collect()
    assert isinstance(error.value, Unavailable)
    assert weather.server.troubles_left == 0
    assert weather.server.objects == before
    assert not [asked for asked in weather.server.asked if asked.method == "DELETE"]


def test_t_gc_7_a_removal_that_stays_refused_is_named_and_the_next_run_does_it(weather):
    first, second = weather.left
    weather.server.trouble(*[DOWN] * 6, on=f"DELETE {first}")
    with pytest.raises(Partial) as partial:
        weather.collect()
    names = [path.rpartition("/")[2] for path in weather.left]
    assert {one["name"]: one["result"] for one in partial.value.context["objects"]} == dict(zip(names, ("failed", "deleted"), strict=True))
    assert first in weather.server.objects
    assert second not in weather.server.objects
    assert weather.collect() == {names[0]: "deleted"}
    assert first not in weather.server.objects


def test_t_gc_7_what_is_listed_on_a_cluster_that_stands_still_is_what_goes(weather):
    weather.server.trouble(*itertools.islice(itertools.cycle((BUSY, DOWN)), 4), on=CLAIMS)
    listed = {one.name for one in gc.look(weather.world) if one.state.value == "garbage"}
    assert {name for name, state in weather.collect().items() if state == "deleted"} == listed
    assert listed == {path.rpartition("/")[2] for path in weather.left}
