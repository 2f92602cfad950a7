"""A cluster without processes: pods are dictionaries, and a handful of programs is played."""

import json
import secrets
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import BinaryIO

from rdev_cli.domain.command import Ending, Launch, Outcome, Progress
from rdev_cli.domain.errors import Conflict, NotFound, Unavailable
from rdev_cli.domain.log import LogSpec, PodLog
from rdev_cli.domain.project import Project, ownership
from rdev_cli.domain.report import Check
from rdev_cli.domain.resource import POD, Inventory, Owned
from rdev_cli.ops import keeping, workspaces
from rdev_cli.ports.cluster import Ran, Spool, Started
from tests.fakes.forge import Commits, commit, history, pack
from tests.fakes.trouble import Trouble


@dataclass
class Pod:
    """A work tree: the commit it is at, the one it last had from the forge, and the files that no commit has yet."""

    owner: dict[str, str]
    head: str = ""
    had: str = ""
    start: str = ""  # where the head was when the last run began
    marked: str | None = None  # the commit of the forge that it had last, None until its work tree is filled
    keep: str = ""  # the commit that holds all that is here
    commits: Commits = field(default_factory=dict)
    new: list[str] = field(default_factory=list)
    uid: str = field(default_factory=lambda: secrets.token_hex(8))
    born: datetime = field(default_factory=lambda: datetime.now(UTC))
    version: int = 1


@dataclass
class Run:
    """A command that was started."""

    pod: Pod
    launch: Launch
    sizes: dict[str, int]
    outcome: Outcome | None = None


class MemoryInput:
    """The stdin of a command; of the programs played only `cat` reads it."""

    def __init__(self, cluster: "MemoryCluster", id: str) -> None:
        self._cluster, self._id = cluster, id

    def write(self, data: bytes) -> bool:
        run = self._cluster.runs[self._id]
        if run.launch.argv[0] == "cat" and run.outcome is None:
            self._cluster.print(self._id, "out", data)
        return run.outcome is None

    def finish(self) -> None:
        if self._cluster.runs[self._id].launch.argv[0] == "cat":
            self._cluster.end(self._id, 0)

    def resize(self, rows: int, columns: int) -> None:
        pass


class MemoryCluster:
    """The Cluster port in memory; it plays true, false, echo, touch, cat and sleep, which runs until it is ended, and lines of sh of one of these."""

    here, isolated = False, True

    def __init__(self, spool: Spool, installation: str = "memory") -> None:
        self._spool, self._installation = spool, installation
        self.pods: dict[str, Pod] = {}
        self.runs: dict[str, Run] = {}
        self.planted: list[Owned] = []  # what stands there beside the pods
        self.place, self.ahead = "memory", timedelta()  # which place it is, and how far its clock is ahead of the machine's
        self.logs: list[bytes] = []  # lines that pods wrote themselves; none: they have no log
        self.listening: dict[tuple[str, int], Callable[[socket.socket], None]] = {}  # (pod, port) -> who takes a connection
        self.exposed: dict[str, str] = {}  # host -> the pod that it leads to
        self.trouble = Trouble()

    def ready(self) -> None:
        with self.trouble.around("ready"):
            pass

    def ensure_pod(self, project: Project) -> bool:
        with self.trouble.around("ensure_pod"):
            there = self.pod_present(project)
            if not there:
                self.pods.setdefault(project.pod, Pod(ownership(project, self._installation)))
            return not there

    def _own(self, project: Project) -> Pod | None:
        found = self.pods.get(project.pod)
        if found is not None and found.owner != ownership(project, self._installation):
            raise Conflict(f"the pod {project.pod} is another's", hint="look at your own")
        return found

    def mark_pod(self, project: Project, commit: str) -> None:
        self.pods[project.pod].marked = commit

    def pod_present(self, project: Project) -> bool:
        found = self._own(project)
        return found is not None and found.marked is not None

    def pod_kept(self, project: Project) -> bool:
        return self.pod_present(project)

    def pod_commit(self, project: Project) -> str:
        found = self._own(project)
        return (found.marked if found else None) or ""

    def image(self, project: Project) -> str:
        return "memory" if self.pod_present(project) else ""

    def sweep(self, project: Project) -> None:
        pass

    def delete_pod(self, project: Project) -> bool:
        with self.trouble.around("delete_pod"):
            return self._own(project) is not None and bool(self.pods.pop(project.pod))

    # what belongs to somebody

    def _things(self) -> list[Owned]:
        pods = [
            Owned(
                kind=POD, name=name, namespace="rdev", uid=pod.uid, version=str(pod.version), installation=pod.owner["installation"],
                project=pod.owner["name"], project_id=pod.owner["id"], created_at=pod.born,
            )
            for name, pod in self.pods.items()
        ]  # fmt: skip
        return [*pods, *self.planted]

    def owned(self) -> Inventory:
        with self.trouble.around("owned"):
            mine = tuple(thing for thing in self._things() if thing.installation == self._installation)
            return Inventory(place=self.place, installation=self._installation, at=datetime.now(UTC) + self.ahead, items=mine)

    def others(self) -> Sequence[Owned]:
        return [thing for thing in self._things() if thing.kind == POD and thing.installation != self._installation]

    def remove(self, thing: Owned) -> bool:
        with self.trouble.around("remove"), self.trouble.around(f"remove {thing.kind}"):
            found = next((one for one in self._things() if (one.kind, one.name) == (thing.kind, thing.name)), None)
            if found is None:
                return False
            if (found.uid, found.version) != (thing.uid, thing.version):
                raise Conflict(f"{thing.name} is not what it was", hint="look at it again", code="CHANGED")
            self.pods = {name: pod for name, pod in self.pods.items() if pod.uid != thing.uid}
            self.planted = [one for one in self.planted if one.uid != thing.uid]
            return True

    def hand_over(self, pod: Owned, *, installation: str, project: str, id: str) -> None:
        with self.trouble.around("hand_over"):
            found, new = self.pods.get(pod.name), {"installation": installation, "id": id, "name": project}
            if found is None or found.owner not in ({"installation": pod.installation, "id": pod.project_id, "name": pod.project}, new):
                raise Conflict(f"{pod.name} is not what it was", hint="look at it again", code="CHANGED")
            found.owner, found.version = new, found.version + 1

    # commands

    def start(self, project: Project, launch: Launch) -> Started:
        with self.trouble.around("start"):
            if launch.id in self.runs:
                return Started()
            pod = self.pods[project.pod]
            self.runs[launch.id] = Run(pod, launch, {"out": 0, "err": 0})
            program, *words = launch.argv
            if program == "sh":  # a line of one of these programs
                program, *words = words[-1].split()
            for stream in ("out", "err"):
                self.print(launch.id, stream, b"")
            if program == "echo":
                self.print(launch.id, "out", " ".join(words).encode() + b"\n")
            if program == "touch":
                pod.new += words
            if program in ("true", "echo", "touch"):
                self.end(launch.id, 0)
            elif program not in ("cat", "sleep"):
                self.end(launch.id, 1 if program == "false" else 127)
            return Started(input=MemoryInput(self, launch.id) if launch.stdin else None)

    def print(self, id: str, stream: str, data: bytes) -> None:
        """Let a command print."""
        path = self._spool.path(id, stream)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            file.write(data)
        self.runs[id].sizes[stream] += len(data)

    def end(self, id: str, code: int, ending: Ending = Ending.EXITED) -> None:
        """Let a command end, and commit as the runner does; nothing happens to one that has ended."""
        run = self.runs[id]
        if run.outcome is not None:
            return
        run.outcome, pod = Outcome(code=code, ending=ending), run.pod
        if code == 0 and run.launch.commit and pod.new:
            pod.head, pod.new = self._commit(pod, run.launch.commit), []

    @staticmethod
    def _commit(pod: Pod, subject: str) -> str:
        files = {**(pod.commits[pod.head]["files"] if pod.head else {}), **{name: f"{name}\n" for name in pod.new}}
        return commit(pod.commits, pod.head, subject, files)

    def advance(self, project: Project, id: str, *, after: tuple[int, int] = (-1, -1), wait: float) -> Progress:
        with self.trouble.around("advance"):
            run = self.runs.get(id)
            if run is None:
                return Progress(stdout=0, stderr=0, outcome=Outcome(code=-1, ending=Ending.LOST), found=False)
            return Progress(stdout=run.sizes["out"], stderr=run.sizes["err"], outcome=run.outcome)

    def stop(self, project: Project, id: str, reason: str) -> None:
        with self.trouble.around("stop"):
            self.end(id, 143, Ending(reason))

    def signal(self, project: Project, id: str, number: int) -> None:
        self.end(id, 128 + number)

    def run(
        self, project: Project, argv: Sequence[str], *, stdin: BinaryIO | None = None, stdout: BinaryIO | None = None, timeout: float
    ) -> Ran:
        with self.trouble.around("run"):
            pod, text = self.pods[project.pod], argv[2]
            if text == workspaces._HEADS:
                pod.start = pod.head if argv[4] else pod.start
                holds = "in" if pod.head and pod.had in history(pod.commits, pod.head) else ""
                stdout.write(f"{pod.head}\n{pod.had}\n{pod.start}\n{holds}\n".encode())
            elif text == workspaces._OUT:
                stdout.write(pack(pod.commits, pod.keep if argv[5] == "refs/rdev/keep" else pod.head))
            elif text == keeping._KEEP:
                pod.keep = self._commit(pod, "Keep what was not checked in") if pod.new else pod.head
                stdout.write(f"{pod.keep}\n".encode())
            elif text == keeping._LOOK:
                stdout.write(f"{pod.head}\n".encode() + b"".join(b"?? " + name.encode() + b"\0" for name in pod.new))
            else:
                assert text == workspaces._IN, "the twin knows rdev's own texts only"
                given = json.loads(stdin.read())
                pod.commits |= given["commits"]
                pod.had = given["head"]
                if pod.head in ("", *history(pod.commits, pod.had)):
                    pod.head = pod.had
                elif pod.had not in history(pod.commits, pod.head):
                    pod.start = pod.head
                    return Ran(code=3, stderr=b"")
                pod.start = pod.head
            return Ran(code=0, stderr=b"")

    def dial(self, project: Project, port: int, *, timeout: float) -> socket.socket:
        with self.trouble.around("dial"):
            if not self.pod_present(project):
                raise NotFound("the pod is not there", hint="look at your own", code="NO_POD")
            if (project.pod, port) not in self.listening:
                raise Unavailable(f"nothing listens at {port}", hint="start it", code="NOT_LISTENING")
            ours, theirs = socket.socketpair()
            self.listening[project.pod, port](theirs)
            return ours

    def expose(self, project: Project, host: str) -> None:
        with self.trouble.around("expose"):
            self.exposed[host] = project.pod

    def conceal(self, project: Project, host: str = "") -> None:
        with self.trouble.around("conceal"):
            self.exposed = {name: pod for name, pod in self.exposed.items() if pod != project.pod or (host and name != host)}

    def log(self, project: Project, spec: LogSpec, *, after: str, most: int) -> PodLog | None:
        lines = self.logs[int(after or "0") :]
        if not self.logs:
            return None
        return PodLog(
            project=project.name, pod=project.pod, log=b"".join(lines), next=str(len(self.logs)), ended=project.pod not in self.pods
        )

    def attempt(self, argv: Sequence[str], *, tools: Sequence[str], network: bool, timeout: float) -> tuple[int, bytes]:
        return 0, b""

    def checks(self) -> Sequence[Check]:
        return ()
