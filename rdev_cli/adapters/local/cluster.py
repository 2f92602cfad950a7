"""Pods of `local`: a folder each, a sandbox for every command, the one runner around it."""

from __future__ import annotations

import fcntl
import json
import os
import select
import shlex
import shutil
import signal
import struct
import subprocess
import termios
import threading
import time
from typing import TYPE_CHECKING

from rdev_cli.adapters.local import owned, processes, sandbox
from rdev_cli.adapters.shared import own, runner
from rdev_cli.adapters.shared.files import private_folder, remove_tree, write_whole
from rdev_cli.adapters.shared.trace import trace
from rdev_cli.domain.command import GRACE, Ending, Launch, Outcome, Progress
from rdev_cli.domain.errors import Conflict, Invalid, NotFound, Unavailable
from rdev_cli.domain.project import ownership
from rdev_cli.ports.cluster import Ran, Started

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path
    from typing import BinaryIO

    from rdev_cli.domain.log import LogSpec, PodLog
    from rdev_cli.domain.project import Project
    from rdev_cli.domain.report import Check
    from rdev_cli.domain.resource import Inventory, Owned
    from rdev_cli.ports.cluster import Channel, Input

# With job control a shell puts the command in front of the terminal, so that Ctrl-C is the command's and does not end the sandbox
# around it. Between the two stands one that takes signals and lives: a shell whose job died of SIGINT dies of it too and tells no code, and
# the words of a shell about a death do not reach the terminal. The first cannot leave orderly: it wants to put its old
# group back, which is outside and has no number here.
_IN_FRONT = """
exec 3>&1 5>&2 2>/dev/null
code=$(/bin/sh -c '
  set -m
  (trap : HUP INT QUIT TERM; exec 2>/dev/null; (exec "$@" 2>&5 4>&- 5>&-); exit)
  echo "$?" >&4
  kill -KILL $$
' rdev "$@" 4>&1 >&3 2>&5 3>&-)
exit "${code:-125}"
"""


class LocalInput:
    """The stdin of a command that this process started."""

    def __init__(self, pipe: int, folder: Path) -> None:
        self._pipe, self._folder = pipe, folder

    def write(self, data: bytes) -> bool:
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._pipe, view) :]
        except BrokenPipeError:
            return False
        return True

    def finish(self) -> None:
        # the runner takes an end without this mark for a break
        (self._folder / "in").touch()
        self.give_up()

    def give_up(self) -> None:
        os.close(self._pipe)

    def resize(self, rows: int, columns: int) -> None:
        try:
            pts = (self._folder / "box").read_text().strip()
            fd = os.open(pts, os.O_RDWR | os.O_NOCTTY)
        except OSError:
            return  # not there yet, or already gone: the size was given at the start too
        try:
            fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        finally:
            os.close(fd)


class LocalCluster:
    """The Cluster port on this machine.

    `folder` is the context's state; `isolation` is `bubblewrap` or `none`; `shown` are host folders that
    sandboxes see read-only; `caller` is the environment of whoever runs rdev.
    """

    here = True

    def __init__(self, folder: Path, *, installation: str, isolation: str, shown: Sequence[str], caller: Mapping[str, str]) -> None:
        self.folder = folder
        self._pods, self._spool = folder / "pods", folder / "spool"
        self._installation, self._isolation, self.shown, self._caller = installation, isolation, tuple(shown), caller
        self.isolated = isolation != "none"
        self._own: dict[str, subprocess.Popen[bytes]] = {}
        self._sockets: dict[str, set[int]] = {}  # pod -> the sockets of its programs, as they were when they were last looked through
        self._looking = threading.Lock()

    # pods

    def _pod(self, project: Project) -> Path:
        return self._pods / project.pod

    def pod_present(self, project: Project) -> bool:
        return self._mark(project) is not None

    def pod_kept(self, project: Project) -> bool:
        return self.pod_present(project)  # the folder is pod and work tree in one

    def pod_commit(self, project: Project) -> str:
        return str((self._mark(project) or {}).get("commit", ""))

    def image(self, project: Project) -> str:
        return "local" if self.pod_present(project) else ""

    def mark_pod(self, project: Project, commit: str) -> None:
        mark = {**ownership(project, self._installation), "commit": commit}
        if self._mark(project) != mark:
            write_whole(self._pod(project) / "pod.json", json.dumps(mark).encode())

    def _mark(self, project: Project) -> dict[str, str] | None:
        """Return what stands on a pod, None if it is not there or not whole; Conflict if it is another's."""
        try:
            found: dict[str, str] = json.loads((self._pod(project) / "pod.json").read_bytes())
        except (OSError, ValueError):
            return None
        if not ownership(project, self._installation).items() <= found.items():
            raise Conflict(
                f"the pod {project.pod} belongs to another project or installation",
                hint="rdev project list shows this installation's projects",
                pod=project.pod,
            )
        return found

    def ready(self) -> None:
        if self.isolated:
            sandbox.find_bubblewrap()

    def ensure_pod(self, project: Project) -> bool:
        self.ready()
        if self.pod_present(project):
            return False
        sandbox.furnish(private_folder(self._pod(project)))
        return True

    def delete_pod(self, project: Project) -> bool:
        pod = self._pod(project)
        there = pod.is_dir()
        if (pod / "pod.json").exists():
            self.pod_present(project)
        remove_tree(pod)
        self._sockets.pop(project.pod, None)
        self.sweep(project)
        return there

    def sweep(self, project: Project) -> None:
        for folder in self._spool.glob(f"run_{project.id[-8:]}_*"):
            end = time.monotonic() + GRACE + 1
            while processes.alive(folder) and time.monotonic() < end:
                processes.stop(folder, "cancelled")
                time.sleep(0.05)
            remove_tree(folder)

    def owned(self) -> Inventory:
        return owned.inventory(self._pods, self._installation)

    def others(self) -> Sequence[Owned]:
        return owned.others(self._pods, self._installation)

    def remove(self, thing: Owned) -> bool:
        return owned.remove(self._pods, thing)

    def hand_over(self, pod: Owned, *, installation: str, project: str, id: str) -> None:
        owned.hand_over(self._pods, pod, installation=installation, project=project, id=id)

    # commands

    def start(self, project: Project, launch: Launch) -> Started:
        folder = self._spool / launch.id
        trace("runner", launch.argv)
        with sandbox.key_filter() as keys:
            started = self._start(project, launch, folder, keys)
        if started is None:
            return Started()
        process, line = started
        note = "".join(f"; {runner.SHORTCOMINGS[word]}" for word in line.split()[1:] if word in runner.SHORTCOMINGS)[2:]
        if launch.stdin or launch.terminal:
            assert process.stdin is not None
            pipe = os.dup(process.stdin.fileno())
            process.stdin.close()  # one end only, so that closing it is an end
            return Started(input=LocalInput(pipe, folder), note=note)
        return Started(note=note)

    def _start(self, project: Project, launch: Launch, folder: Path, keys: int) -> tuple[subprocess.Popen[bytes], str] | None:
        """Start the runner and wait for its first line; None if somebody else started this id."""
        private_folder(self._spool)
        nonce = os.urandom(16).hex()
        inner = runner.launch_argv(launch, nonce)
        pod, terminal = self._pod(project), launch.terminal
        sandbox.refuse_links(pod)
        if self._isolation == "none":
            if not launch.network:
                raise Invalid(
                    "without isolation the network cannot be closed", hint="rdev context set local --isolation bubblewrap", field="network"
                )
            front: list[str] = []
            env = sandbox.environment(self._caller, home=str(pod / "home"), visible=None)
        else:
            front = sandbox.box(
                sandbox.find_bubblewrap(),
                pod=pod,
                network=launch.network,
                shown=self.shown,
                tools=launch.tools,
                terminal=terminal is not None,
                filter_fd=keys,
            )
            env = sandbox.environment(self._caller, home=sandbox.HOME, visible=(*self.shown, *launch.tools))
        if terminal is not None:
            if shutil.which("script", path=env["PATH"]) is None:
                raise Unavailable(
                    "there is no script(1) here, so there is no terminal to give",
                    hint="apt install bsdutils",
                    code="TOOL_MISSING",
                    tool="script",
                )
            # the environment is taken outside the terminal, which would echo it
            inside = shlex.join([*front, "/bin/sh", "-c", _IN_FRONT if front else 'exec "$@"', "rdev", *launch.argv])
            line = f"tty >&9; exec 9>&-; stty rows {int(terminal[0])} cols {int(terminal[1])}; exec {inside}"
            argv = [*runner.launch_argv(launch, nonce, ("script", "-qefc", line, "/dev/null"))]
        else:
            argv = [*front, *inner]
        mode = "tty" if terminal is not None else "box" if front else "plain"
        try:
            process = subprocess.Popen(
                runner.runner_argv(folder, launch, mode, argv),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                env=env,
                cwd=pod / "workspace",
                bufsize=0,
                pass_fds=(keys,) if front else (),
            )
        except OSError as e:
            if e.errno == 7:  # E2BIG
                raise Invalid("the command line is longer than this machine allows", hint="give the text by stdin (-i) or in a file") from e
            raise Unavailable(f"cannot start a process: {e.strerror}", hint="rdev doctor looks for the cause") from e
        assert process.stdin is not None and process.stdout is not None  # noqa: PT018 -- both asked for with PIPE
        try:
            process.stdin.write(runner.header(launch, nonce))
        except BrokenPipeError:
            pass  # the runner ended; its first line says why
        if not (launch.stdin or launch.terminal):
            process.stdin.close()
        line = process.stdout.readline().decode(errors="replace").strip()
        if line.startswith("ready"):
            self._own[launch.id] = process
            return process, line
        process.stdout.close()
        process.stdin.close()
        process.wait()
        if line == "exists":
            return None
        raise Unavailable(f"the runner could not start: {line or 'no answer'}", hint="rdev doctor looks for the cause", path=str(folder))

    def advance(self, project: Project, id: str, *, after: tuple[int, int] = (-1, -1), wait: float) -> Progress:  # noqa: ARG002 -- one machine, one spool
        folder, own = self._spool / id, self._own.get(id)
        end, nap = time.monotonic() + wait, 0.002
        while True:
            if processes.overdue(folder):
                processes.stop(folder, "timeout")
            outcome = runner.outcome(folder)  # before the sizes: an exit record says that they are final
            sizes = runner.size(folder / "out"), runner.size(folder / "err")
            left = end - time.monotonic()
            if outcome is None and left > 0 and sizes == after:
                if own is not None and own.stdout is not None:
                    if select.select([own.stdout], [], [], min(left, nap))[0]:
                        own.wait()  # the pipe closes when all is written
                        own = None
                else:
                    if not processes.alive(folder) and not processes.outlived(folder):
                        end = 0.0  # a last look, then it is lost
                    time.sleep(max(0.0, min(left, nap)))
                nap = min(nap * 2, 0.04)
                continue
            if outcome is None and not processes.alive(folder) and not processes.outlived(folder):
                outcome = runner.outcome(folder) or Outcome(code=-1, ending=Ending.LOST)
                sizes = runner.size(folder / "out"), runner.size(folder / "err")
            if outcome is not None:
                self._forget(id, lost=outcome.ending is Ending.LOST)
            return Progress(stdout=sizes[0], stderr=sizes[1], outcome=outcome, found=folder.is_dir())

    def _forget(self, id: str, *, lost: bool = False) -> None:
        process = self._own.pop(id, None)
        if process is not None and process.stdout is not None:
            if lost and process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)  # its folder is gone: it can record nothing, and nobody else could find it
            process.wait()
            process.stdout.close()
            if process.stdin is not None:
                process.stdin.close()

    def stop(self, project: Project, id: str, reason: str) -> None:  # noqa: ARG002
        processes.stop(self._spool / id, reason)

    def signal(self, project: Project, id: str, number: int) -> None:  # noqa: ARG002
        processes.signal_group(self._spool / id, signal.Signals(number))

    def run(
        self, project: Project, argv: Sequence[str], *, stdin: BinaryIO | None = None, stdout: BinaryIO | None = None, timeout: float
    ) -> Ran:
        id = f"run_{project.id[-8:]}_{os.urandom(8).hex()}"
        launch = Launch(
            id=id, argv=tuple(argv), stdin=stdin is not None, limit_seconds=max(1, int(timeout)), network=self._isolation == "none",
            cap=own.CAP,
        )  # fmt: skip
        folder = self._spool / id
        try:
            started = self.start(project, launch)
            return own.carried(folder, started, lambda **more: self.advance(project, id, **more), stdin, stdout, timeout)
        finally:
            if id in self._own:  # cut off: it must not go on in a folder that is gone
                processes.stop(folder, "cancelled")
                self._forget(id)
            remove_tree(folder)

    def dial(self, project: Project, port: int, *, timeout: float) -> Channel:
        from rdev_cli.adapters.local import listening  # noqa: PLC0415 -- only previews need it

        if not self.pod_present(project):
            raise NotFound(
                "the pod is not there any more", hint="rdev session list shows the sessions there are", code="NO_POD", pod=project.pod
            )
        if self.isolated and not project.network:
            raise Unavailable(
                "without network nothing of this pod can be reached from outside", hint="take a project with network", code="NO_NETWORK"
            )
        pod = self._pod(project)

        def own(inodes: Collection[int]) -> bool:
            with self._looking:
                known = self._sockets.get(project.pod, set())
                if not known.issuperset(inodes):
                    known = self._sockets[project.pod] = listening.sockets(pod, isolated=self.isolated)
                return known.issuperset(inodes)

        # where nobody tells whose a socket is there are no sandboxes either, and each command can touch what any other can
        return listening.dial(port, own if listening.told() else None, timeout=timeout)

    def expose(self, project: Project, host: str) -> None:
        pass  # whoever has a domain for this machine leads all of it here

    def conceal(self, project: Project, host: str = "") -> None:
        pass

    def log(self, project: Project, spec: LogSpec, *, after: str, most: int) -> PodLog | None:  # noqa: ARG002
        return None  # a folder writes nothing

    def attempt(self, argv: Sequence[str], *, tools: Sequence[str], network: bool, timeout: float) -> tuple[int, bytes]:
        from rdev_cli.adapters.local.probe import attempt  # noqa: PLC0415 -- only doctor needs it

        return attempt(
            self._pods, argv, isolated=self.isolated, tools=tools, shown=self.shown, caller=self._caller, network=network, timeout=timeout
        )

    def checks(self) -> Sequence[Check]:
        from rdev_cli.adapters.local.probe import probe  # noqa: PLC0415 -- only doctor needs it

        return probe(self)


def _is_an_input(one: LocalInput) -> Input:
    return one
