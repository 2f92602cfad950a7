"""The places that the contract of the runner is held against; a new one is a class like LocalPlace and a line in PLACES."""

import base64
import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import pytest

from rdev_cli.adapters.kubernetes import hand
from rdev_cli.adapters.kubernetes.cluster import KubernetesCluster
from rdev_cli.adapters.kubernetes.commands import PodCommands
from rdev_cli.adapters.kubernetes.manifests import RUN
from rdev_cli.adapters.local.cluster import LocalCluster
from rdev_cli.adapters.local.spool import FolderSpool
from rdev_cli.adapters.shared import runner
from rdev_cli.domain.command import Launch, Progress
from rdev_cli.domain.project import Project, ProjectState, pod_name
from rdev_cli.domain.values import ProjectId
from rdev_cli.ports.cluster import Cluster, Input, Spool
from rdev_cli.wiring.services import SystemClock
from tests.support import lab
from tests.support.pipes import PipeApi

PATIENCE = 20.0  # seconds until a test gives up; nothing here is about speed


class Place(Protocol):
    """What a place must offer beside the ports, so that the suite can look behind them."""

    cluster: Cluster
    spool: Spool
    project: Project

    def another(self) -> Cluster:
        """Another rdev on the same place: nothing is shared but the place itself."""
        ...

    def processes(self) -> list[tuple[int, bytes, bytes]]:
        """(number, command line, environment) of every live process, in the pod and of the runner, zombies left out."""
        ...

    def numbers(self, id: str) -> list[int]:
        """What the runner of a command wrote down as its `pid`."""
        ...

    def kill(self, pid: int) -> None:
        """Kill a process, by a number of `processes` or `numbers`."""
        ...

    def cut(self, source: Input) -> None:
        """Break the way that stdin takes, as happens to a caller that is killed or loses its connection."""
        ...

    def close(self) -> None: ...


def contracted(end: str = "contract") -> Project:
    id = ProjectId(f"prj_01j9contract{end}")
    return Project(
        id=id, name="shop", description="", source="", network=True, state=ProjectState.READY,
        pod=pod_name("shop", id), repository="", branch="main",
        created_at=datetime.now(UTC), updated_at=datetime.now(UTC),
    )  # fmt: skip


class LocalPlace:
    def __init__(self, folder: Path, isolation: str, caller: Mapping[str, str] | None = None) -> None:
        self._folder, self._isolation = folder, isolation
        self._caller = caller or {"PATH": os.environ["PATH"], "LANG": "C.UTF-8"}
        self.project = contracted()
        self.cluster = self.another()
        self.cluster.ensure_pod(self.project)
        self.spool = FolderSpool(folder / "spool", SystemClock())

    def another(self) -> Cluster:
        return LocalCluster(self._folder, installation="contract", isolation=self._isolation, shown=(), caller=self._caller)

    def processes(self) -> list[tuple[int, bytes, bytes]]:
        found = []
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and (line := (entry / "cmdline").read_bytes()):
                    found.append((int(entry.name), line, (entry / "environ").read_bytes()))
            except OSError:
                continue  # it has ended, or is somebody else's
        return found

    def _runs(self) -> Path:
        return self._folder / "spool"

    def numbers(self, id: str) -> list[int]:
        return [int(word) for word in (self._runs() / id / "pid").read_text().split()]

    def kill(self, pid: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    def cut(self, source: Input) -> None:
        os.close(source._pipe)

    def close(self) -> None:
        self.cluster.delete_pod(self.project)


class PodPlace(LocalPlace):
    """The runner as it is in pods, by way of pod.sh, on this machine: a pod is a folder and an exec is a process with pipes."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self._folder = folder
        for name, part in (("RUN", "run"), ("WORKSPACE", "workspace"), ("HOME", "home")):
            (folder / part).mkdir(parents=True)
            patch.setattr(hand, name, str(folder / part))
        self.project = contracted()
        self.api = PipeApi(runner.SHELL, {"PATH": os.environ["PATH"], "LANG": "C.UTF-8"})
        self.api.add(self.project.pod)
        self.cluster = self.another()
        self.spool = FolderSpool(folder / "spool", SystemClock())

    def another(self) -> Cluster:
        return PodCommands(self.api, namespace="n", container="box", spool=self._folder / "spool")

    def _runs(self) -> Path:
        return self._folder / "run"

    def cut(self, source: Input) -> None:
        source._exec.cut()

    def close(self) -> None:
        for one in self.api.execs:
            one.close()
            one.process.wait(30)


def _shells() -> dict[str, tuple[str, ...]]:
    """The shells of this machine that the runner promises to work under, beside whatever /bin/sh is."""
    known = {"dash": (), "bash": ("--posix",), "busybox": ("sh",)}
    found = {name: (path, *words) for name, words in known.items() if (path := shutil.which(name))}
    # one that plays its own tools whatever PATH says would play the command, too: it is tried in an image that has nothing else
    if (
        "busybox" in found
        and subprocess.run([*found["busybox"], "-c", "command -v setsid"], env={"PATH": "/nowhere"}, capture_output=True).returncode == 0
    ):
        del found["busybox"]
    return {name: argv for name, argv in found.items() if os.path.realpath(argv[0]) != os.path.realpath("/bin/sh")}


SHELLS = {"sh": ("/bin/sh",), **_shells()}
PLACES: dict[str, Callable[[Path, pytest.MonkeyPatch], Place]] = {"bubblewrap": lambda folder, _: LocalPlace(folder, "bubblewrap")}
for _name, _argv in SHELLS.items():

    def _plain(folder: Path, patch: pytest.MonkeyPatch, argv: tuple[str, ...] = _argv) -> Place:
        patch.setattr(runner, "SHELL", argv)
        return LocalPlace(folder, "none")

    def _pod(folder: Path, patch: pytest.MonkeyPatch, argv: tuple[str, ...] = _argv) -> Place:
        patch.setattr(runner, "SHELL", argv)
        return PodPlace(folder, patch)

    PLACES["none" if _name == "sh" else f"none-{_name}"] = _plain
    PLACES["pod" if _name == "sh" else f"pod-{_name}"] = _pod


class KubernetesPlace:
    """A pod of a real cluster; kubectl looks behind."""

    def __init__(self, folder: Path, namespace: str, project: Project, *, small: bool) -> None:
        self._folder, self._namespace, self.project, self._small = folder, namespace, project, small
        self._clusters: list[KubernetesCluster] = []
        self.cluster = self.another()
        self._inside("sh", "-c", "rm -rf /workspace/* /home/rdev/*")
        self.spool = FolderSpool(folder / "spool", SystemClock())

    def another(self) -> Cluster:
        self._clusters.append(lab.cluster(self._folder, self._namespace, small=self._small))
        return self._clusters[-1]

    def _inside(self, *argv: str) -> bytes:
        return lab.kubectl("-n", self._namespace, "exec", self.project.pod, "--", *argv)

    def processes(self) -> list[tuple[int, bytes, bytes]]:
        words = self._inside("sh", "-c", _PROCESSES).split(b"\n")
        found = []
        for line in words[:-1]:
            pid, *rest = (base64.b64decode(word) for word in line.split(b" "))
            if rest[0] and b"looks behind" not in rest[0]:
                found.append((int(pid), rest[0], rest[1]))
        return found

    def numbers(self, id: str) -> list[int]:
        return [int(word) for word in self._inside("cat", f"{RUN}/{id}/pid").split()]

    def kill(self, pid: int) -> None:
        self._inside("sh", "-c", f"kill -KILL {pid}; :")

    def cut(self, source: Input) -> None:
        source._exec._wire.close()

    def close(self) -> None:
        for one in self._clusters:
            lab.close(one)


_PROCESSES = """: looks behind; cd /proc && for pid in [0-9]*; do
  line=$(base64 -w0 <$pid/cmdline) && env=$(base64 -w0 <$pid/environ) && echo "$(printf %s "$pid" | base64) $line $env"
done 2>/dev/null; :"""


class Bench:
    """A place with the words that tests say all the time."""

    def __init__(self, place: Place) -> None:
        self.place, self.cluster, self.project = place, place.cluster, place.project
        self.inputs: dict[str, Input | None] = {}
        self.notes: dict[str, str] = {}

    def launch(self, *argv: str, **more: object) -> Launch:
        return Launch(id=f"cmd_{secrets.token_hex(8)}", argv=argv, **more)  # type: ignore[arg-type]

    def start(self, *argv: str, **more: object) -> str:
        launch = self.launch(*argv, **more)
        started = self.cluster.start(self.project, launch)
        self.inputs[launch.id], self.notes[launch.id] = started.input, started.note
        return launch.id

    def sh(self, line: str, **more: object) -> str:
        return self.start("sh", "-c", line, **more)

    def ends(self, id: str, cluster: Cluster | None = None) -> Progress:
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            progress = (cluster or self.cluster).advance(self.project, id, wait=1.0)
            if progress.outcome is not None:
                return progress
        raise AssertionError(f"{id} has not ended; it printed {self.out(id)!r} {self.err(id)!r}")

    def prints(self, id: str, text: bytes, cluster: Cluster | None = None) -> bytes:
        end = time.monotonic() + PATIENCE
        while text not in (out := self.out(id)):
            assert time.monotonic() < end, f"{id} never printed {text!r}, only {out!r}"
            progress = (cluster or self.cluster).advance(self.project, id, wait=0.5)
            assert progress.outcome is None or text in self.out(id), f"{id} ended ({progress.outcome}) without {text!r}: {self.out(id)!r}"
        return out

    def out(self, id: str) -> bytes:
        return self._read(id, "out")

    def err(self, id: str) -> bytes:
        return self._read(id, "err")

    def _read(self, id: str, stream: str) -> bytes:
        path = self.place.spool.path(id, stream)
        return path.read_bytes() if path.exists() else b""

    def left(self, marker: str) -> list[bytes]:
        """Return what runs with the marker on its command line, once that is nothing or has lasted too long."""
        end = time.monotonic() + 15
        while (found := [line for _, line, _ in self.place.processes() if marker.encode() in line]) and time.monotonic() < end:
            time.sleep(0.02)
        return found

    def kill_all(self, marker: str) -> None:
        """Kill whatever has the marker on its command line."""
        for pid, line, _ in self.place.processes():
            if marker.encode() in line:
                self.place.kill(pid)

    def end_all(self) -> None:
        """End what a failed test left running, so that the next one is not disturbed."""
        for id in self.inputs:
            if self.cluster.advance(self.project, id, wait=0).outcome is None:
                self.cluster.signal(self.project, id, signal.SIGKILL)
                self.ends(id)


@pytest.fixture
def marker() -> str:
    """A word that stands on no other command line of this machine."""
    return f"marker{secrets.token_hex(8)}"


@pytest.fixture(params=list(SHELLS))
def shell(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The runner under one of the shells; returns its path."""
    monkeypatch.setattr(runner, "SHELL", SHELLS[request.param])
    return SHELLS[request.param][0]


@pytest.fixture
def bare(tmp_path: Path, shell: str) -> Iterator[Callable[..., Bench]]:
    """Make a place without isolation whose PATH holds nothing but what is asked for."""

    made = []

    def make(*tools: str, **scripts: str) -> Bench:
        folder = tmp_path / "bin"
        folder.mkdir()
        for tool in tools:
            found = shutil.which(tool)
            assert found
            (folder / tool).symlink_to(found)
        for name, text in scripts.items():
            (folder / name).write_text(text)
            (folder / name).chmod(0o755)
        made.append(Bench(LocalPlace(tmp_path / "place", "none", {"PATH": str(folder)})))
        return made[-1]

    yield make
    for bench in made:
        bench.end_all()


@pytest.fixture(scope="session")
def lab_namespace() -> Iterator[str]:
    """A namespace of this suite's own in the real cluster."""
    with lab.namespace() as name:
        yield name


def _running(namespace: str, folder: Path, *, small: bool) -> Project:
    project = contracted(secrets.token_hex(4))
    one = lab.cluster(folder, namespace, small=small)
    one.ensure_pod(project)
    lab.close(one)
    return project


@pytest.fixture(scope="session")
def lab_project(lab_namespace: str, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose pod runs, for all tests that leave it running."""
    return _running(lab_namespace, tmp_path_factory.mktemp("lab"), small=False)


@pytest.fixture(scope="session")
def lab_small_project(lab_namespace: str, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The same in an image that has nothing but busybox."""
    return _running(lab_namespace, tmp_path_factory.mktemp("lab"), small=True)


_CLUSTERS = {"kubernetes": "lab_project", "kubernetes-small": "lab_small_project"}


@pytest.fixture(params=[*PLACES, *(pytest.param(name, marks=pytest.mark.cluster) for name in _CLUSTERS)])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    for name in ("HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "user"))
    if request.param in _CLUSTERS:
        namespace, project = (request.getfixturevalue(name) for name in ("lab_namespace", _CLUSTERS[request.param]))
        found: Place = KubernetesPlace(tmp_path / "place", namespace, project, small=request.param == "kubernetes-small")
    else:
        found = PLACES[request.param](tmp_path / "place", monkeypatch)
    yield found
    found.close()


@pytest.fixture
def bench(place: Place) -> Iterator[Bench]:
    found = Bench(place)
    yield found
    found.end_all()
