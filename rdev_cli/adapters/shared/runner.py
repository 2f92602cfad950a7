"""The runner's client: its command line, and what its folder says. The runner itself is runner.sh."""

import os
import re
import shlex
import signal
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from rdev_cli.domain.command import Ending, Launch, Outcome

SHORTCOMINGS = {
    "no-setsid": "there is no setsid here: processes that outlive the command's first one may stay",
    "no-sleep": "there is no sleep here: a time limit holds only while rdev looks on",
}
SHELL = ("/bin/sh",)
_CHILD = re.compile(rb'"child-pid": ([0-9]+)')


@cache
def script(name: str) -> str:
    """Return the text of runner.sh or launch.sh without its comments: it travels inline with every command."""
    text = (Path(__file__).parent / name).read_text()
    return "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))


def launch_argv(launch: Launch, nonce: str, argv: Sequence[str] | None = None) -> list[str]:
    """Return the argv that takes the environment from stdin and then becomes the command (or `argv`)."""
    takes_stdin = "1" if launch.stdin or launch.terminal else "0"
    return [*SHELL, "-c", script("launch.sh"), "rdev", nonce, takes_stdin, launch.id, *(argv or launch.argv)]


def runner_argv(folder: Path | str, launch: Launch, mode: str, argv: Sequence[str]) -> list[str]:
    """Return the argv of the runner around `argv`; mode `box` where a sandbox reports its process on descriptor 9."""
    blocks, stdin = max(1, launch.cap // 512), "1" if launch.stdin or launch.terminal else "0"
    return [
        *SHELL, "-c", script("runner.sh"), "rdev",
        str(folder), str(blocks), str(launch.limit_seconds), str(launch.grace_seconds), stdin, mode, *argv,
    ]  # fmt: skip


def header(launch: Launch, nonce: str) -> bytes:
    """Return what goes first through the runner's stdin: the commit's message, the command's own variables, the nonce."""
    lines = "".join(f"export {key}={shlex.quote(value)}\n" for key, value in launch.environment)
    return f"{launch.commit}\n{lines}{nonce}\n".encode("utf-8", "surrogateescape")


def size(path: Path) -> int:
    """Return a stream's length in bytes, 0 while it is not there."""
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def read(path: Path, offset: int, limit: int) -> bytes:
    """Return at most `limit` bytes of a stream from an offset; nothing while it is not there."""
    try:
        fd = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return b""
    try:
        return os.pread(fd, limit, offset)
    finally:
        os.close(fd)


def outcome(folder: Path) -> Outcome | None:
    """Return what the exit record says, None while there is none."""
    record = folder / "exit"
    try:
        words, at = record.read_text().split(), datetime.fromtimestamp(os.stat(record).st_mtime, UTC)
    except OSError:
        return None
    cut = (folder / "out.cut").exists() or (folder / "err.cut").exists()
    try:
        return Outcome(code=int(words[0]), ending=Ending(words[1]), truncated=cut, at=at)
    except (ValueError, IndexError):
        return Outcome(code=-1, ending=Ending.LOST, truncated=cut, at=at)


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
