"""A pool without processes: its workers are pods of the cluster's twin, and what a session leaves in one is a set of words."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from rdev_cli.domain.errors import Conflict
from rdev_cli.domain.project import Project, ownership
from rdev_cli.domain.worker import POOL, Evidence, Standing, worker_pod
from tests.fakes.cluster import MemoryCluster, Pod
from tests.fakes.trouble import Trouble


@dataclass
class Warm:
    """A worker's pod: who has it, what is in it that the scrub takes away, and what it cannot take away."""

    worker: str
    session: str = ""
    left: set[str] = field(default_factory=set)
    stubborn: set[str] = field(default_factory=set)
    doubt: str = ""


class MemoryPool:
    """The Pool port in memory."""

    def __init__(self, cluster: MemoryCluster, *, reused: str = "", network: bool = True) -> None:
        self._cluster, self.reused, self._network = cluster, reused, network
        self.image, self.warm = "memory:1", dict[str, Warm]()
        self.trouble = Trouble()
        self._lock = threading.Lock()

    def ready(self) -> None:
        self._cluster.ready()

    def lends(self, *, network: bool) -> bool:
        return network or not self._network

    def make(self, worker: str) -> None:
        with self.trouble.around("make"):
            self.warm[worker] = Warm(worker)
            self._nobodys(worker)

    def _nobodys(self, worker: str) -> None:
        self._cluster.pods[worker_pod(worker)] = Pod({"installation": self._cluster._installation, "id": worker, "name": POOL})

    def standing(self) -> Sequence[Standing]:
        return [Standing(worker=one.worker, pod=worker_pod(one.worker), session=one.session, doubt=one.doubt) for one in self.warm.values()]

    def claim(self, worker: str, place: Project) -> bool:
        with self.trouble.around("claim"), self._lock:
            one = self.warm.get(worker)
            if one is None or one.doubt or one.session not in ("", place.id):
                return False
            if not one.session:
                one.session = place.id
                self._cluster.pods[place.pod].owner = ownership(place, self._cluster._installation)
            return True

    def scrub(self, worker: str, place: Project) -> Evidence:
        with self.trouble.around("scrub"):
            one = self.warm.get(worker)
            if one is None or one.session not in ("", place.id):
                return self._evidence("its pod has gone")
            removed, one.left = len(one.left), set()
            return self._evidence(*([one.doubt] if one.doubt else []), *sorted(one.stubborn), removed=removed)

    def prove(self, worker: str) -> Evidence:
        one = self.warm.get(worker)
        return self._evidence("its pod has gone") if one is None else self._evidence(*sorted(one.left | one.stubborn))

    @staticmethod
    def _evidence(*doubts: str, removed: int = 0) -> Evidence:
        facts = () if doubts else ("processes", "files")
        return Evidence(clean=not doubts, doubts=doubts, removed=removed, facts=facts, at=datetime.now(UTC))

    def give_back(self, worker: str, place: Project) -> None:
        with self.trouble.around("give_back"):
            one = self.warm[worker]
            if one.session not in ("", place.id):
                raise Conflict(f"{place.pod} is not what it was", hint="look at it again", code="CHANGED")
            one.session = ""
            self._nobodys(worker)

    def destroy(self, worker: str) -> bool:
        with self.trouble.around("destroy"):
            self._cluster.pods.pop(worker_pod(worker), None)
            return self.warm.pop(worker, None) is not None
