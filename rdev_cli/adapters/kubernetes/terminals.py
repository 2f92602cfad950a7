"""Terminals where the image has no script(1): the connection's own, which ends with it."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from rdev_cli.adapters.kubernetes import hand
from rdev_cli.adapters.kubernetes.hand import Line, write
from rdev_cli.adapters.kubernetes.socket import Broken, Closed
from rdev_cli.domain.command import Ending, Launch
from rdev_cli.domain.errors import Unavailable
from rdev_cli.ports.timing import STANDARD

if TYPE_CHECKING:
    from pathlib import Path

    from rdev_cli.adapters.kubernetes.api import Api
    from rdev_cli.adapters.kubernetes.socket import Exec
    from rdev_cli.ports.cluster import Input

NOTE = "there is no script(1) in the image, so this terminal ends with its connection"


class TerminalInput:
    """The keys for a terminal that is the connection's own."""

    def __init__(self, exec_: Exec) -> None:
        self._exec = exec_

    def write(self, data: bytes) -> bool:
        try:
            self._exec.send(data)
        except Broken:
            return False
        return True

    def finish(self) -> None:
        self.write(b"\x04")

    def give_up(self) -> None:
        self._exec.close()

    def resize(self, rows: int, columns: int) -> None:
        with suppress(Broken):
            self._exec.resize(rows, columns)


def opened(api: Api, namespace: str, pod: str, container: str, launch: Launch, folder: Path) -> tuple[Line, TerminalInput]:
    """Start a command in a terminal and return its connection and its keys; Unavailable TOOL_MISSING if the image has no stty(1) either."""
    nonce, mark = os.urandom(16).hex(), os.urandom(16).hex()
    # nothing is echoed or changed on its way before the command has the terminal; no word is sent before that is so
    boot = f"stty raw -echo || exit 126; echo {mark}; {hand.BOOT}"
    found = api.exec(namespace, pod, container, ["sh", "-c", boot], stdin=True, terminal=True, timeout=STANDARD)
    try:
        said = b""
        while mark.encode() not in said:
            got = found.read(STANDARD)
            if got is None:
                raise Broken(f"no answer in {STANDARD:.0f} s")
            said += got[1]
        found.send(hand.terminal(launch, nonce))
    except (Broken, Closed) as e:
        found.close()
        raise Unavailable(
            f"the image of {pod} has neither script(1) nor a working stty(1), so there is no terminal to give",
            hint="use an image that has one of them, or leave out -t",
            code="TOOL_MISSING",
            tool="script",
        ) from e
    (folder / "out").touch(0o600)
    return Line(found, b"", folder, [0, 0], plain=True), TerminalInput(found)


def ended(line: Line, reason: str, end: float) -> bool:
    """Spool what a terminal shows until `end` (of the monotonic clock); say whether it ended, and record how. Closed if nobody can know.

    `reason`: why somebody asked it to stop, else empty.
    """
    try:
        got = line.exec.read(max(0.0, end - time.monotonic()))
        while got is not None:
            line.put(0, got[1])
            got = line.exec.read(0.0)
    except Closed:
        status = line.exec.status
        if status is None or status.code is None:
            raise
        write(line.folder / "exit", f"{status.code} {reason or Ending.EXITED.value}\n")
        return True
    return False


def _is_an_input(one: TerminalInput) -> Input:
    return one
