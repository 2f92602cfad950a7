"""A stand-in for the API that lets pods be this machine: an exec is a process, its streams are pipes, and pods are read from a dictionary."""

import os
import select
import subprocess
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from rdev_cli.adapters.kubernetes.socket import V5, Broken, Closed, Status
from rdev_cli.domain.errors import NotFound


class PipeExec:
    """Exec as the port's client sees it, over the pipes of a process; `cut` breaks it as a lost connection does."""

    def __init__(self, process: "subprocess.Popen[bytes]", protocol: str) -> None:
        self.process, self.protocol, self.status = process, protocol, None
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        self._in = process.stdin.fileno()
        self._open = {process.stdout.fileno(): 1, process.stderr.fileno(): 2}
        self._lock, self._ended, self.broken = threading.Lock(), False, False

    def send(self, data: bytes) -> None:
        view = memoryview(data)
        with self._lock:
            while view:
                if self.broken or self._ended or self.process.poll() is not None:
                    raise Broken("gone")
                try:
                    if select.select([], [self._in], [], 0.1)[1]:
                        view = view[os.write(self._in, view[:4096]) :]
                except (OSError, ValueError) as e:
                    raise Broken(str(e)) from e

    def end(self) -> bool:
        if self.protocol != V5:
            return False
        with self._lock:
            self._shut()
        return True

    def _shut(self) -> None:
        if not self._ended:
            self._ended = True
            self.process.stdin.close()

    def read(self, wait: float) -> tuple[int, bytes] | None:
        if self.broken:
            raise Closed("cut")
        while self._open:
            ready = select.select(list(self._open), [], [], wait)[0]
            if not ready:
                return None
            for fd in ready:
                if data := os.read(fd, 1 << 15):
                    return self._open[fd], data
                del self._open[fd]
        self.status = Status(code=self.process.wait())
        raise Closed("over")

    def cut(self) -> None:
        self.broken = True
        self._let_go()

    def close(self) -> None:
        self._let_go()

    def _let_go(self) -> None:
        with self._lock:
            self._shut()
        for pipe in (self.process.stdout, self.process.stderr):
            pipe.close()
        self._open = {}


class PipeApi:
    """The calls of Api that commands need; `shell` is what `sh` means in its pods."""

    def __init__(self, shell: Sequence[str], environment: Mapping[str, str], protocol: str = V5) -> None:
        self._shell, self._environment, self._protocol = tuple(shell), dict(environment), protocol
        self.pods: dict[str, Any] = {}
        self.execs: list[PipeExec] = []

    def add(self, name: str, uid: str = "u-1", container: str = "c-1") -> None:
        """Let a pod be there, running."""
        box = {"name": "box", "ready": True, "containerID": container, "state": {"running": {}}}
        self.pods[name] = {
            "metadata": {"name": name, "uid": uid},
            "status": {"phase": "Running", "containerStatuses": [box], "conditions": [{"type": "Ready", "status": "True"}]},
        }

    def get(self, path: str, *, timeout: float = 0) -> Any:
        name = path.rpartition("/")[2]
        if name not in self.pods:
            raise NotFound(f"there is no pod {name}", hint="make it")
        return self.pods[name]

    def exec(
        self,
        namespace: str,
        pod: str,
        container: str,
        argv: Sequence[str],
        *,
        stdin: bool = False,
        terminal: bool = False,
        timeout: float = 0,
    ) -> PipeExec:
        assert argv[0] == "sh"
        self.get(pod)
        process = subprocess.Popen(
            [*self._shell, *argv[1:]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=self._environment,
            start_new_session=True, bufsize=0,
        )  # fmt: skip
        self.execs.append(PipeExec(process, self._protocol))
        return self.execs[-1]
