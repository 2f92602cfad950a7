"""rdev's own short commands in a pod, carried to their end: bytes in, bytes out as they come, and nothing else than a whole outcome."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

from rdev_cli.adapters.shared import runner
from rdev_cli.domain.command import GRACE, Ending, Progress
from rdev_cli.domain.errors import Unavailable
from rdev_cli.ports.cluster import Ran, Started
from rdev_cli.ports.timing import STANDARD

if TYPE_CHECKING:
    from pathlib import Path
    from typing import BinaryIO

CAP = 1 << 40  # they move whole repositories and files


class Advance(Protocol):
    """Brings the spool up to date, as the Cluster port does."""

    def __call__(self, *, after: tuple[int, int] = (-1, -1), wait: float) -> Progress: ...


def carried(folder: Path, started: Started, advance: Advance, stdin: BinaryIO | None, stdout: BinaryIO | None, timeout: float) -> Ran:
    """Carry a command that was started to its end; Unavailable if it did not end by itself within `timeout` seconds and some patience."""
    end, told = time.monotonic() + timeout + GRACE + STANDARD, 0
    if stdin is not None and started.input is not None:
        while chunk := stdin.read(1 << 20):
            if not started.input.write(chunk):
                break
            advance(wait=0)  # what it prints meanwhile must not stand in its way
        started.input.finish()
    progress = advance(wait=0)
    while True:
        told = _pour(folder / "out", told, progress.stdout, stdout)
        if progress.outcome is not None or time.monotonic() > end:  # its limit ends it
            break
        progress = advance(after=(progress.stdout, progress.stderr), wait=timeout)
    errors = runner.read(folder / "err", 0, 1 << 16)
    how = progress.outcome.ending if progress.outcome is not None else Ending.LOST
    if progress.outcome is None or how is not Ending.EXITED:
        raise Unavailable(
            f"rdev's own command in the pod did not run to its end ({progress.outcome.cause if progress.outcome and progress.outcome.cause else how.value})",
            hint="rdev doctor looks for the cause",
            said=errors.decode(errors="replace")[-500:],
        )
    return Ran(code=progress.outcome.code, stderr=errors)


def _pour(path: Path, at: int, end: int, into: BinaryIO | None) -> int:
    """Hand on what a spooled stream has from `at` to `end`; return how far that came."""
    while into is not None and at < end and (data := runner.read(path, at, min(end - at, 1 << 20))):
        into.write(data)
        at += len(data)
    return at
