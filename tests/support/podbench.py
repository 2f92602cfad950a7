"""A pod of a test's own in the real cluster, and the words that tests of its commands say all the time."""

import secrets
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rdev_cli.adapters.kubernetes.cluster import KubernetesCluster
from rdev_cli.domain.command import Launch, Outcome
from rdev_cli.domain.project import Project, ProjectState, pod_name
from rdev_cli.domain.values import ProjectId
from tests.support import lab

NAMED = 60.0  # seconds in which a loss has a name


def _project() -> Project:
    id, now = ProjectId(f"prj_01j9faults{secrets.token_hex(4)}"), datetime.now(UTC)
    return Project(
        id=id, name="shop", description="", source="", network=True, state=ProjectState.READY, pod=pod_name("shop", id), repository="",
        branch="main", created_at=now, updated_at=now,
    )  # fmt: skip


class PodBench:
    """A pod of its own, and the ways to reach it."""

    def __init__(self, folder: Path, namespace: str) -> None:
        self.folder, self.namespace, self.project = folder, namespace, _project()
        self.clusters: list[KubernetesCluster] = []
        self.cluster = self.another()
        self.cluster.ensure_pod(self.project)

    def another(self, port: int = 0) -> KubernetesCluster:
        self.clusters.append(lab.cluster(self.folder, self.namespace, over=lab.before(port) if port else None))
        return self.clusters[-1]

    def kubectl(self, *words: str, **more: Any) -> bytes:
        return lab.kubectl("-n", self.namespace, *words, **more)

    def start(self, *argv: str, over: KubernetesCluster | None = None) -> str:
        id = f"cmd_{secrets.token_hex(8)}"
        (over or self.cluster).start(self.project, Launch(id=id, argv=argv))
        return id

    def ends(self, id: str, *, over: KubernetesCluster | None = None, within: float = NAMED) -> Outcome:
        end, seen = time.monotonic() + within, (-1, -1)
        while time.monotonic() < end:
            progress = (over or self.cluster).advance(self.project, id, after=seen, wait=1.0)
            seen = progress.stdout, progress.stderr
            if progress.outcome is not None:
                return progress.outcome
        raise AssertionError(f"{id} has no end after {within:.0f} s")

    def prints(self, id: str, text: bytes) -> None:
        end = time.monotonic() + 30
        while text not in self.read(id, "out"):
            assert time.monotonic() < end
            self.cluster.advance(self.project, id, wait=0.5)

    def read(self, id: str, stream: str) -> bytes:
        path = self.folder / "spool" / id / stream
        return path.read_bytes() if path.exists() else b""

    def close(self) -> None:
        for one in self.clusters:
            lab.close(one)
