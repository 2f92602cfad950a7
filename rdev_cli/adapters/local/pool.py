"""The Pool port on this machine: directories that are prepared, each for one session and never for a second."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rdev_cli.adapters.local import sandbox
from rdev_cli.adapters.shared.files import private_folder, remove_tree, write_whole
from rdev_cli.domain.errors import Conflict
from rdev_cli.domain.worker import POOL, Evidence, Standing, worker_pod

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rdev_cli.domain.project import Project
    from rdev_cli.ports.cluster import Cluster

_MARK, _TAKEN = "worker.json", "worker.of."  # what a directory's mark is called while nobody has it, and once a session has


class LocalPool:
    """A directory is idle as long as it has its mark; whoever renames that mark has it, and there is one of those."""

    reused = "a directory serves once"
    image = ""

    def __init__(self, cluster: Cluster, folder: Path, installation: str) -> None:
        self._cluster, self._pods, self._installation = cluster, folder / "pods", installation

    def ready(self) -> None:
        self._cluster.ready()

    def lends(self, *, network: bool) -> bool:  # noqa: ARG002 -- each command has a network or none
        return True

    def make(self, worker: str) -> None:
        pod = private_folder(self._pods / worker_pod(worker))
        sandbox.furnish(pod)
        marks = {"installation": self._installation, "id": worker, "name": POOL}
        write_whole(pod / _MARK, json.dumps(marks).encode())

    def standing(self) -> Sequence[Standing]:
        try:
            names = sorted(name for name in os.listdir(self._pods) if name.startswith(f"rdev-{POOL}-"))
        except FileNotFoundError:
            return ()
        found = []
        for name in names:
            if (mark := self._mark(name)) is not None:
                session = mark.removeprefix(_TAKEN) if mark != _MARK else ""
                whose = json.loads((self._pods / name / mark).read_bytes())
                if whose["installation"] == self._installation:
                    found.append(Standing(worker=whose["id"], pod=name, session=session))
        return found

    def _mark(self, pod: str) -> str | None:
        """Return the name of a directory's mark, None if it has none."""
        try:
            return next((one for one in os.listdir(self._pods / pod) if one == _MARK or one.startswith(_TAKEN)), None)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def claim(self, worker: str, place: Project) -> bool:
        pod = self._pods / worker_pod(worker)
        try:
            os.rename(pod / _MARK, pod / f"{_TAKEN}{place.id}")  # of two that want it one finds it
        except (FileNotFoundError, NotADirectoryError):
            return self._mark(pod.name) == f"{_TAKEN}{place.id}"
        return True

    def scrub(self, worker: str, place: Project) -> Evidence:  # noqa: ARG002
        return Evidence(clean=False, doubts=(self.reused,), at=datetime.now(UTC))

    def prove(self, worker: str) -> Evidence:
        pod = self._pods / worker_pod(worker)
        doubts = []
        if self._mark(pod.name) != _MARK:
            doubts.append("its directory has gone, or somebody has it")
        elif os.listdir(pod / "workspace") or os.listdir(pod / "home") != [".gitconfig"]:
            doubts.append("there are files in it")
        return Evidence(clean=not doubts, doubts=tuple(doubts), facts=() if doubts else ("no files",), at=datetime.now(UTC))

    def give_back(self, worker: str, place: Project) -> None:  # noqa: ARG002
        raise Conflict(self.reused, hint="rdev pool fill makes another", code="CHANGED", pod=place.pod)

    def destroy(self, worker: str) -> bool:
        pod = self._pods / worker_pod(worker)
        there = pod.is_dir()
        remove_tree(pod)
        return there
