"""The runner's processes on this machine: whether they live, and how they are ended. What they do is shared/runner.sh's."""

import os
import re
import signal
from pathlib import Path

from rdev_cli.adapters.shared.runner import read

_CHILD = re.compile(rb'"child-pid": ([0-9]+)')


def _ids(folder: Path) -> tuple[int, int, int, int, int, int] | None:
    try:
        main, start, core, child, *more = map(int, (folder / "pid").read_text().split())
    except (OSError, ValueError):
        return None
    core_start, child_start = more or (-1, -1)  # a command that an older rdev started: nobody started then
    return main, start, core, child, core_start, child_start


def _running(pid: int, start: int) -> bool:
    try:
        words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        if Path("/proc/self/stat").exists():
            return False
        try:
            os.kill(pid, 0)
        except OSError:
            return False
        return True
    # a number given again to a stranger has another start; a zombie does nothing any more
    return words[0] != "Z" and (start == 0 or int(words[19]) == start)


def alive(folder: Path) -> bool:
    """Say whether the runner of that folder still works; one that has just made its folder counts as working."""
    ids = _ids(folder)
    if ids is not None:
        return _running(ids[0], ids[1])
    try:
        made = os.stat(folder).st_mtime
    except OSError:
        return False
    import time  # noqa: PLC0415 -- the rare case

    return time.time() - made < 10


def stop(folder: Path, reason: str) -> None:
    """Ask the runner to end its command: TERM to the group, its grace, KILL. Nothing happens if it has ended."""
    ids = _ids(folder)
    if ids is None or not _running(ids[0], ids[1]):
        return
    if reason == "timeout":
        (folder / "stop.timeout").touch()
    _send(ids[2], signal.SIGTERM)


def outlived(folder: Path) -> bool:
    """End what a runner that was killed itself has left running; say whether any of it still lives."""
    ids = _ids(folder)
    if ids is None or _running(ids[0], ids[1]):
        return False
    _, _, core, child, core_start, child_start = ids
    if _running(core, core_start):
        _send(core, signal.SIGTERM)  # it still does what a stop asks for: TERM, the grace, KILL
        return True
    if _running(child, child_start):
        _send(_group(folder, child), signal.SIGKILL)
        _send(child, signal.SIGKILL)
        return True
    return False


def signal_group(folder: Path, number: signal.Signals) -> None:
    """Send a signal to all that the command started. Nothing happens if it has ended."""
    ids = _ids(folder)
    if ids is None or not _running(ids[0], ids[1]):
        return
    _send(_group(folder, ids[3]), number)


def _group(folder: Path, child: int) -> int:
    """Return what `kill` takes for all that a command started; it must be known that the command lives."""
    found = _CHILD.search(read(folder / "box", 0, 4096))
    if found:
        return -int(found[1])
    try:
        # without setsid it has no group of its own
        return -child if os.getpgid(child) == child else child
    except ProcessLookupError:
        return child


def overdue(folder: Path) -> bool:
    """Say whether a command is past a limit that its runner cannot hold, having no sleep; only until it is told to stop."""
    try:
        limit = int((folder / "limit").read_text())
        since = os.stat(folder / "limit").st_mtime
    except (OSError, ValueError):
        return False
    import time  # noqa: PLC0415 -- the rare case

    return time.time() - since > limit and not (folder / "stop.timeout").exists()


def _send(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass
