"""The runner's client: its command line, and what its folder says. The runner itself is runner.sh."""

import os
import shlex
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
    file = folder / "exit"
    try:
        words, at = file.read_text().split(), datetime.fromtimestamp(os.stat(file).st_mtime, UTC)
    except OSError:
        return None
    return record(words, truncated=(folder / "out.cut").exists() or (folder / "err.cut").exists(), at=at)


def record(words: Sequence[str], *, truncated: bool, at: datetime | None) -> Outcome:
    """Return what the words of an exit record say: the code, how it ended, and a cause where one is known."""
    try:
        return Outcome(code=int(words[0]), ending=Ending(words[1]), truncated=truncated, at=at, cause="".join(words[2:3]))
    except (ValueError, IndexError):
        return Outcome(code=-1, ending=Ending.LOST, truncated=truncated, at=at)
