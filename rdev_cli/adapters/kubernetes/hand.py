"""The client of pod.sh: what it is sent to do in a pod, and what it tells: the command's bytes, and rdev's own lines between them."""

from __future__ import annotations

import os
import shlex
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from rdev_cli.adapters.kubernetes.manifests import HOME, RUN, WORKSPACE, script
from rdev_cli.adapters.kubernetes.socket import Broken
from rdev_cli.adapters.shared import runner
from rdev_cli.domain.errors import Unavailable
from rdev_cli.ports.timing import STANDARD

if TYPE_CHECKING:
    from rdev_cli.adapters.kubernetes.socket import Exec
    from rdev_cli.domain.command import Launch
    from rdev_cli.domain.project import Project

STREAMS = ("out", "err")
SILENCE = 20.0  # seconds; pod.sh says a word every five
_BLOCK = 1 << 16  # pod.sh skips whole blocks of a stream
# Takes a text by stdin, up to a line that the first line names, and becomes it: an argv would be part of a URL.
BOOT = 'unset n l t; IFS= read -r n; while IFS= read -r l && [ "$l" != "$n" ]; do t="$t$l\n"; done; [ "$l" = "$n" ] || exit 125; eval "$t"'
_NAMES = "t n l mark run work home what id skip_out skip_err more header input needs shell runner"


def message(what: str, id: str, mark: str, *, more: str = "", skip: tuple[int, int] = (0, 0), launch: Launch | None = None) -> bytes:
    """Return what BOOT takes: pod.sh and what it shall do. `skip`: bytes of the streams that are here already."""
    words = {
        "mark": mark, "run": RUN, "work": WORKSPACE, "home": HOME, "what": what, "id": id, "more": more,
        "skip_out": str(skip[0] // _BLOCK), "skip_err": str(skip[1] // _BLOCK),
    }  # fmt: skip
    rest: list[str] = []
    if launch is not None:
        needs = "" if launch.terminal is None else "script"
        words |= {"input": "1" if launch.stdin or launch.terminal else "0", "needs": needs, "shell": shlex.join(runner.SHELL)}
        words["header"], words["runner"], rest = _launched(launch)
    return _text(words, rest)


def terminal(launch: Launch, nonce: str) -> bytes:
    """Return what BOOT takes where a command gets the connection's own terminal; its header comes next."""
    assert launch.terminal is not None
    rows, columns = launch.terminal
    inside = ["sh", "-c", 'stty sane rows "$1" cols "$2"; shift 2; exec "$@"', "rdev", str(rows), str(columns), *launch.argv]
    words = {"run": RUN, "work": WORKSPACE, "home": HOME, "what": "terminal", "id": launch.id}
    return _text(words, runner.launch_argv(launch, nonce, inside)) + runner.header(launch, nonce)


def _text(words: dict[str, str], rest: list[str]) -> bytes:
    return boot(words, f"set -- {shlex.join(rest)}\n{script('pod.sh')}", unset=_NAMES)


def boot(words: dict[str, str], text: str, *, unset: str) -> bytes:
    """Return a script and what it is to find in its variables, as BOOT takes them."""
    end = os.urandom(16).hex()
    front = f"unset {unset}\n" + "".join(f"{name}={shlex.quote(word)}\n" for name, word in words.items())
    return f"{end}\n{front}{text}\n{end}\n".encode("utf-8", "surrogateescape")


def _launched(launch: Launch) -> tuple[str, str, list[str]]:
    """Return what goes first through the runner's stdin, the runner, and its arguments after the folder."""
    nonce = os.urandom(16).hex()
    argv: list[str] | None = None
    if launch.terminal is not None:
        rows, columns = launch.terminal
        inside = shlex.join(["/bin/sh", "-c", 'exec "$@"', "rdev", *launch.argv])
        # the environment is taken outside the terminal, which would echo it
        argv = ["script", "-qefc", f"tty >&9; exec 9>&-; stty rows {rows:d} cols {columns:d}; exec {inside}", "/dev/null"]
    inner = runner.launch_argv(launch, nonce, argv)
    mode = "tty" if launch.terminal is not None else "plain"
    front = len(runner.SHELL) + 1
    whole = runner.runner_argv("", launch, mode, inner)
    return runner.header(launch, nonce).decode("utf-8", "surrogateescape"), whole[front], whole[front + 3 :]


@dataclass(slots=True)
class Line:
    """A connection to pod.sh; the command's bytes go to `folder`, the spool."""

    exec: Exec
    mark: bytes
    folder: Path
    at: list[int | None]  # the next byte of each stream, None until pod.sh says where it begins
    follows: bool = False  # nothing but `ok` goes through its stdin
    plain: bool = False  # a terminal: nothing but the command's bytes, and the server's word on its end
    heard: float = field(default_factory=time.monotonic)
    _held: bytes = b""  # the beginning of one of our lines, perhaps
    _early: bytes = b""  # of stderr, before it is known where it begins
    _unread: list[list[str]] = field(default_factory=list)  # lines of ours that came together with one that was waited for

    def next(self, wait: float) -> list[list[str]] | None:
        """Read once, waiting at most `wait` seconds: spool the command's bytes, return rdev's own lines; None: nothing came.

        Closed or Broken as the connection is, Broken too after a silence that pod.sh would not keep.
        """
        if self._unread:
            lines, self._unread = self._unread, []
            return lines
        got = self.exec.read(max(0.0, min(wait, SILENCE)))
        now = time.monotonic()
        if got is None:
            if now - self.heard > SILENCE:
                raise Broken(f"no word for {SILENCE:.0f} s")
            return None
        self.heard = now
        channel, data = got
        if channel == 2:
            self.put(1, data)
            return []
        lines = []
        data = self._held + data
        while (begin := data.find(self.mark)) >= 0 and (stop := data.find(b"\n", begin)) >= 0:
            self.put(0, data[:begin])
            words = data[begin + len(self.mark) : stop].decode(errors="replace").split()
            data = data[stop + 1 :]
            if words[0] == "from" and self.at[0] is None:
                self.at = [int(words[1]), int(words[2])]
                early, self._early = self._early, b""
                self.put(1, early)
            lines.append(words)
        keep = begin if begin >= 0 else beginning(data, self.mark)
        self._held = data[keep:]
        self.put(0, data[:keep])
        return lines

    def answer(self, word: str) -> list[str]:
        """Return what follows the word that pod.sh is to say; Broken or Closed if it does not."""
        end = time.monotonic() + STANDARD
        while (left := end - time.monotonic()) > 0:
            lines = self.next(left) or []
            for number, words in enumerate(lines):
                if words[0] == word:
                    self._unread = lines[number + 1 :]
                    return words[1:]
        raise Broken(f"no answer in {STANDARD:.0f} s")

    def put(self, stream: int, data: bytes) -> None:
        """Write bytes of a stream where they belong; others may do the same at the same time, with the same bytes."""
        if not data:
            return
        at = self.at[stream]
        if at is None:
            # which of the two streams is heard first is not said; pod.sh names their beginnings on stdout, before anything else there
            self._early += data if stream == 1 else b""
            return
        self.at[stream] = at + len(data)
        skip = max(0, runner.size(self.folder / STREAMS[stream]) - at)
        if skip >= len(data):
            return
        fd = os.open(self.folder / STREAMS[stream], os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            view, at = memoryview(data)[skip:], at + skip
            while view:
                moved = os.pwrite(fd, view, at)
                view, at = view[moved:], at + moved
        finally:
            os.close(fd)


def beginning(data: bytes, mark: bytes) -> int:
    """Return where the beginning of a mark may stand at the end of data; its length if there is none."""
    at = data.find(mark[:1], max(0, len(data) - len(mark) + 1))
    while at >= 0 and not mark.startswith(data[at:]):
        at = data.find(mark[:1], at + 1)
    return at if at >= 0 else len(data)


def write(path: Path, text: str, *, at: float | None = None) -> None:
    """Write a record that is there whole or not at all; several threads and processes may do so at once."""
    part = path.with_name(f".{path.name}.{os.urandom(8).hex()}")
    fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(fd, text.encode())
        if at is not None:
            os.utime(fd, (at, at))
    finally:
        os.close(fd)
    os.replace(part, path)


def broken(project: Project) -> Unavailable:
    """Return the error for a word that did not come."""
    return Unavailable(f"the connection to {project.pod} broke", hint="try again", code="CLUSTER_UNREACHABLE")


def no_shell(project: Project, why: str) -> Unavailable:
    """Return the error for an image that pod.sh cannot run in; `why` is the server's word."""
    return Unavailable(
        f"the image of {project.pod} has no sh that rdev could use: {why[-200:]}",
        hint="rdev context set NAME --image one with sh, cat, mkdir and mv",
        code="TOOL_MISSING",
        tool="sh",
    )
