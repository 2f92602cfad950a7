"""Commands in pods: one connection starts the runner there and follows its folder; the local spool takes the runner's own shape."""

from __future__ import annotations

import json
import os
import shlex
import time
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rdev_cli.adapters.kubernetes.losses import fate, identity
from rdev_cli.adapters.kubernetes.manifests import HOME, RUN, WORKSPACE
from rdev_cli.adapters.kubernetes.socket import V5, Broken, Closed
from rdev_cli.adapters.shared import runner
from rdev_cli.adapters.shared.files import private_folder, remove_tree
from rdev_cli.adapters.shared.trace import trace
from rdev_cli.domain.command import GRACE, Ending, Launch, Outcome, Progress
from rdev_cli.domain.errors import Invalid, NotFound, RdevError, Unavailable
from rdev_cli.ports.cluster import Ran, Started
from rdev_cli.ports.timing import LOOKUP, STANDARD

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import BinaryIO

    from rdev_cli.adapters.kubernetes.api import Api
    from rdev_cli.adapters.kubernetes.socket import Exec
    from rdev_cli.domain.project import Project
    from rdev_cli.ports.cluster import Input

SILENCE = 20.0  # seconds; pod.sh says a word every five
PATIENCE = 45.0  # seconds without the pod while the API answers: then its node counts as lost
BACK = 30.0  # seconds that a container has to come back, so that a record of before can still be read
_BLOCK = 1 << 16  # pod.sh skips whole blocks of a stream
_SLICE = 1 << 15
_LINES = 1 << 13  # bytes of stdin that go as lines, which need no second connection at their end; more goes as it is
_ARGUMENT = 131071  # what Linux takes as one argument, in bytes
# Takes a text by stdin, up to a line that the first line names, and becomes it: an argv would be part of a URL.
_BOOT = 'unset n l t; IFS= read -r n; while IFS= read -r l && [ "$l" != "$n" ]; do t="$t$l\n"; done; [ "$l" = "$n" ] || exit 125; eval "$t"'
_NAMES = "t n l mark run work home what id skip_out skip_err more header input needs shell runner"


@cache
def _script() -> str:
    text = (Path(__file__).parent / "pod.sh").read_text()
    return "\n".join(line.lstrip() for line in text.splitlines() if not line.lstrip().startswith("#"))


def _escape(data: bytes) -> bytes:
    """Return bytes as printf's %b takes them, on one line."""
    return b"".join(_ESCAPES[byte] for byte in data)


_ESCAPES = [bytes((byte,)) if 0x20 <= byte < 0x7F and byte != 0x5C else b"\\0%03o" % byte for byte in range(256)]


@dataclass(slots=True)
class _Line:
    """A connection to pod.sh: the command's bytes and rdev's own lines between them."""

    exec: Exec
    mark: bytes
    at: list[int | None]  # the next byte of each stream, None until pod.sh says where it begins
    heard: float
    held: bytes = b""  # the beginning of one of our lines, perhaps
    early: bytes = b""  # of stderr, before it is known where it begins
    unread: list[list[str]] = field(default_factory=list)  # lines of ours that came together with one that was waited for
    plain: bool = False  # a terminal: nothing but the command's bytes, and the server's word on its end
    follows: bool = False  # nothing but `ok` goes through its stdin


@dataclass(frozen=True, slots=True)
class _Lost:
    """No outcome can come any more; `found`: there was such a command."""

    cause: str
    found: bool = True


@dataclass(slots=True)
class _Watch:
    """What this process knows of a command that it looks at."""

    line: _Line | None = None
    input: PodInput | None = None
    since: float = 0.0  # of the first failure to reach it, 0: none
    again: float = 0.0  # when to try again
    pause: float = 0.0
    seen: bool = False
    limit: float = 0.0  # when to end it, where the pod cannot; 0: it can
    stopped: bool = False
    reason: str = ""  # why somebody here asked it to stop
    sizes: tuple[int, int] = (-1, -1)  # where the streams ended, as far as the last connection knew
    broken: bool = False  # its stdin broke


class PodInput:
    """The stdin of a command that this process started. One thread may write while another follows."""

    def __init__(self, exec: Exec | None, *, lines: bool) -> None:
        self._exec, self._lines, self._sent, self._raw = exec, lines, 0, False
        self.deaf = exec is None  # the command reads no more
        self.finished = False

    def write(self, data: bytes) -> bool:
        view, size = memoryview(data), _SLICE
        if not self._raw and not self._lines and self._sent + len(data) > _LINES:
            self._send(b"raw\n")
            self._raw = True
        self._sent += len(data)
        for at in range(0, len(view), size):
            part = bytes(view[at : at + size])
            if self.deaf or not self._send(part if self._raw else b"." + _escape(part) + b"\n"):
                return False
        return True

    def finish(self) -> None:
        self.finished = True
        if not self._raw:
            self._send(b"end\n")
        elif self._exec is not None:
            with suppress(Broken):
                self._exec.end()  # pod.sh answers `in`, and whoever follows says that this was all

    def give_up(self) -> None:
        if not self._raw:
            self._send(b"cut\n")
        elif self._exec is not None:
            with suppress(Broken):
                self._exec.end()

    def resize(self, rows: int, columns: int) -> None:
        if not self._raw:
            self._send(b"size %d %d\n" % (rows, columns))

    @property
    def whole(self) -> bool:
        """Say whether the connection still takes a word after stdin's end."""
        return self.finished and not self._raw

    def _send(self, data: bytes) -> bool:
        if self._exec is None:
            return False
        try:
            self._exec.send(data)
        except Broken:
            self.deaf = True
            return False
        return True


class _TerminalInput:
    """The keys for a terminal that is the connection's own."""

    def __init__(self, exec: Exec) -> None:
        self._exec = exec

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


class PodCommands:
    """What the Cluster port says of commands, in the pods of one namespace."""

    def __init__(self, api: Api, *, namespace: str, container: str, spool: Path) -> None:
        self._api, self._namespace, self._container, self._spool = api, namespace, container, spool
        self._watches: dict[str, _Watch] = {}
        self._known: dict[str, Mapping[str, str]] = {}

    def know(self, pod: Mapping[str, Any]) -> None:
        """Take a pod that somebody has just read, so that the next start need not ask for it again."""
        self._known[str(pod["metadata"]["name"])] = identity(pod, self._container)

    def _identity(self, project: Project) -> Mapping[str, str]:
        known = self._known.pop(project.pod, None)  # once: the pod may be another by the next start
        if known is None:
            found = self._pod(project)
            if found is None:
                raise NotFound(f"there is no pod {project.pod}", hint=f"rdev project show {project.name}", pod=project.pod)
            known = identity(found, self._container)
        return known

    # start

    def start(self, project: Project, launch: Launch) -> Started:
        if not launch.network and project.network:
            raise Invalid(
                "the network of one command cannot be closed in a pod that has one",
                hint="rdev project create NAME --no-network makes a pod without one",
                field="network",
            )
        return self._start(project, launch)

    def _start(self, project: Project, launch: Launch, *, own: bool = False) -> Started:
        for part in launch.argv:
            if len(os.fsencode(part)) > _ARGUMENT:
                raise Invalid("an argument is longer than Linux allows", hint="give the text by stdin (-i) or in a file", field="argv")
        trace("runner", launch.argv)
        folder = private_folder(self._spool) / launch.id
        if runner.outcome(folder) is not None:
            return Started()
        folder.mkdir(0o700, exist_ok=True)
        if not own and not (folder / "pod").exists():
            _write(folder / "pod", json.dumps(self._identity(project)))
        watch = self._watches.setdefault(launch.id, _Watch())
        takes = launch.stdin or launch.terminal is not None
        said = self._send_off(project, launch, folder, watch)
        if said is None:  # it may have been started: whoever follows finds out
            return Started(input=PodInput(None, lines=True) if takes else None)
        words = said.split()
        if words[:1] == ["exists"]:
            return Started()
        if words == ["no", "script"]:
            return self._plain_terminal(project, launch, folder, watch)
        if words[:1] != ["ready"]:
            self._leave(launch.id)
            raise Unavailable(f"the runner could not start: {said or 'no answer'}", hint="rdev doctor looks for the cause", pod=project.pod)
        note = "; ".join(runner.SHORTCOMINGS[word] for word in words[1:] if word in runner.SHORTCOMINGS)
        if "no-sleep" in words and launch.limit_seconds:
            watch.limit = time.monotonic() + launch.limit_seconds
        if not takes:
            return Started(note=note)
        assert watch.line is not None
        watch.input = PodInput(watch.line.exec, lines=launch.terminal is not None or watch.line.exec.protocol != V5)
        return Started(input=watch.input, note=note)

    def _send_off(self, project: Project, launch: Launch, folder: Path, watch: _Watch) -> str | None:
        """Send the runner off and return its first line; None if every connection broke before anybody could know."""
        end, pause, again = time.monotonic() + STANDARD, 0.0, False
        while True:
            try:
                watch.line = self._open(project, launch.id, folder, "start", launch=launch)
                words = self._answer(watch.line, folder, "said")
                # the same id starts nothing twice; what broke may have been the answer to the first time
                mine = words == ["exists"] and again and not (launch.stdin or launch.terminal)
                return "ready" if mine else " ".join(words)
            except (Broken, Closed) as e:
                trace(f"the connection to {project.pod} broke at the start of {launch.id}: {e}")
                refusal = watch.line.exec.status if watch.line is not None else None
                self._hang_up(watch)
                if refusal is not None and refusal.code is None and (time.monotonic() + pause > end or "executable file" in refusal.reason):
                    raise _no_shell(project, refusal.reason) from e
            except Unavailable as e:
                if not e.context.get("sent"):
                    raise
            again = True
            if time.monotonic() + pause > end:
                return None
            time.sleep(pause)
            pause = min(max(0.05, pause * 2), 2.0)

    def _plain_terminal(self, project: Project, launch: Launch, folder: Path, watch: _Watch) -> Started:
        """Start a command in a terminal of the connection's own, which ends with it."""
        self._hang_up(watch)
        assert launch.terminal is not None
        rows, columns = launch.terminal
        nonce, end, mark = (os.urandom(16).hex() for _ in range(3))
        inside = ["sh", "-c", f'stty sane rows {rows:d} cols {columns:d}; exec "$@"', "rdev", *launch.argv]
        words = {"run": RUN, "work": WORKSPACE, "home": HOME, "what": "terminal", "id": launch.id}
        text = f"unset {_NAMES}\n" + "".join(f"{name}={shlex.quote(word)}\n" for name, word in words.items())
        text += f"set -- {shlex.join(runner.launch_argv(launch, nonce, inside))}\n{_script()}"
        # nothing is echoed or changed on its way before the command has the terminal; no word of this is sent before that is so
        boot = f"stty raw -echo || exit 126; echo {mark}; {_BOOT}"
        exec = self._api.exec(self._namespace, project.pod, self._container, ["sh", "-c", boot], stdin=True, terminal=True, timeout=STANDARD)
        line = watch.line = _Line(exec, mark.encode() + b"\n", [0, 0], time.monotonic(), plain=True)
        try:
            said = b""
            while mark.encode() not in said:
                got = exec.read(STANDARD)
                if got is None:
                    raise Broken(f"no answer in {STANDARD:.0f} s")
                said += got[1]
            exec.send(f"{end}\n{text}\n{end}\n".encode("utf-8", "surrogateescape") + runner.header(launch, nonce))
        except (Broken, Closed) as e:
            self._leave(launch.id)
            raise Unavailable(
                f"the image of {project.pod} has neither script(1) nor a working stty(1), so there is no terminal to give",
                hint="use an image that has one of them, or leave out -t",
                code="TOOL_MISSING",
                tool="script",
            ) from e
        watch.seen = True
        if launch.limit_seconds:
            watch.limit = time.monotonic() + launch.limit_seconds
        (folder / "out").touch(0o600)
        return Started(input=_TerminalInput(line.exec), note="there is no script(1) in the image, so this terminal ends with its connection")

    def _open(self, project: Project, id: str, folder: Path | None, what: str, *, more: str = "", launch: Launch | None = None) -> _Line:
        """Connect to the pod and send pod.sh with what it shall do; any RdevError of the API, Broken if the connection is gone at once."""
        mark = f"\x1e{os.urandom(16).hex()}"
        skip = [runner.size(folder / name) // _BLOCK if folder is not None and launch is None else 0 for name in ("out", "err")]
        words = {
            "mark": mark, "run": RUN, "work": WORKSPACE, "home": HOME, "what": what, "id": id, "more": more,
            "skip_out": str(skip[0]), "skip_err": str(skip[1]),
        }  # fmt: skip
        rest: list[str] = []
        if launch is not None:
            needs = "" if launch.terminal is None else "script"
            words |= {"input": "1" if launch.stdin or launch.terminal else "0", "needs": needs, "shell": shlex.join(runner.SHELL)}
            words["header"], words["runner"], rest = self._launch(launch)
        end = os.urandom(16).hex()
        text = f"unset {_NAMES}\n" + "".join(f"{name}={shlex.quote(word)}\n" for name, word in words.items())
        text += f"set -- {shlex.join(rest)}\n{_script()}"
        exec = self._api.exec(
            self._namespace, project.pod, self._container, ["sh", "-c", _BOOT], stdin=True, timeout=STANDARD if launch else LOOKUP
        )
        line = _Line(exec, mark.encode() + b" ", [0, 0] if launch is not None else [None, None], time.monotonic(), follows=what == "follow")
        try:
            exec.send(f"{end}\n{text}\n{end}\n".encode("utf-8", "surrogateescape"))
        except BaseException:
            exec.close()
            raise
        return line

    @staticmethod
    def _launch(launch: Launch) -> tuple[str, str, list[str]]:
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

    # what pod.sh tells

    def _next(self, line: _Line, folder: Path, wait: float) -> list[list[str]] | None:
        """Read once, waiting at most `wait` seconds: spool the command's bytes, return rdev's own lines; None: nothing came.

        Closed or Broken as the connection is, Broken too after a silence that pod.sh would not keep.
        """
        if line.unread:
            lines, line.unread = line.unread, []
            return lines
        got = line.exec.read(max(0.0, min(wait, SILENCE)))
        now = time.monotonic()
        if got is None:
            if now - line.heard > SILENCE:
                raise Broken(f"no word for {SILENCE:.0f} s")
            return None
        line.heard = now
        channel, data = got
        if channel == 2:
            self._put(line, folder, 1, data)
            return []
        lines = []
        data = line.held + data
        while (begin := data.find(line.mark)) >= 0 and (stop := data.find(b"\n", begin)) >= 0:
            self._put(line, folder, 0, data[:begin])
            words = data[begin + len(line.mark) : stop].decode(errors="replace").split()
            data = data[stop + 1 :]
            if words[0] == "from" and line.at[0] is None:
                line.at = [int(words[1]), int(words[2])]
                early, line.early = line.early, b""
                self._put(line, folder, 1, early)
            lines.append(words)
        keep = begin if begin >= 0 else _beginning(data, line.mark)
        line.held = data[keep:]
        self._put(line, folder, 0, data[:keep])
        return lines

    def _answer(self, line: _Line, folder: Path, word: str) -> list[str]:
        """Return what follows the word that pod.sh is to say; Broken or Closed if it does not."""
        end = time.monotonic() + STANDARD
        while (left := end - time.monotonic()) > 0:
            lines = self._next(line, folder, left) or []
            for number, words in enumerate(lines):
                if words[0] == word:
                    line.unread = lines[number + 1 :]
                    return words[1:]
        raise Broken(f"no answer in {STANDARD:.0f} s")

    def _put(self, line: _Line, folder: Path, stream: int, data: bytes) -> None:
        """Write bytes of a stream where they belong; others may do the same at the same time, with the same bytes."""
        if not data:
            return
        at = line.at[stream]
        if at is None:
            # which of the two streams is heard first is not said; pod.sh names their beginnings on stdout, before anything else there
            line.early += data if stream == 1 else b""
            return
        line.at[stream] = at + len(data)
        skip = max(0, runner.size(folder / _STREAMS[stream]) - at)
        if skip >= len(data):
            return
        fd = os.open(folder / _STREAMS[stream], os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            view, at = memoryview(data)[skip:], at + skip
            while view:
                moved = os.pwrite(fd, view, at)
                view, at = view[moved:], at + moved
        finally:
            os.close(fd)

    # follow

    def advance(self, project: Project, id: str, *, after: tuple[int, int] = (-1, -1), wait: float) -> Progress:
        folder, watch = self._spool / id, self._watches.setdefault(id, _Watch())
        end = time.monotonic() + wait
        looked = False
        while True:
            outcome, sizes = runner.outcome(folder), self._sizes(folder)
            if outcome is not None:
                self._leave(id)
            if outcome is not None or (looked and (sizes != after or time.monotonic() >= end)):
                return Progress(stdout=sizes[0], stderr=sizes[1], outcome=outcome)
            if watch.limit and time.monotonic() > watch.limit:
                self.stop(project, id, "timeout")
            lost = self._look(project, id, folder, watch, end)
            looked = True
            if lost is not None and runner.outcome(folder) is None:  # unless somebody else has seen its end meanwhile
                self._leave(id)
                sizes = self._sizes(folder)
                outcome = Outcome(code=-1, ending=Ending.LOST, cause=lost.cause)
                return Progress(stdout=sizes[0], stderr=sizes[1], outcome=outcome, found=lost.found)

    @staticmethod
    def _sizes(folder: Path) -> tuple[int, int]:
        return runner.size(folder / "out"), runner.size(folder / "err")

    def _look(self, project: Project, id: str, folder: Path, watch: _Watch, end: float) -> _Lost | None:
        """Bring the spool up to date once, waiting until `end` (of the monotonic clock) for news."""
        if watch.line is None:
            left, pause = end - time.monotonic(), watch.again - time.monotonic()
            if pause > 0:
                time.sleep(max(0.0, min(pause, left)))
                if pause > left:
                    return None
            folder.mkdir(0o700, parents=True, exist_ok=True)
            try:
                watch.line = self._open(project, id, folder, "follow", more="broken" if watch.broken else "")
            except Broken as e:
                return self._trouble(project, folder, watch, e)
            except RdevError as e:
                if e.code == "FORBIDDEN":
                    raise
                return self._trouble(project, folder, watch, e)
            watch.seen = False
        try:
            return self._hear(project, id, folder, watch, end)
        except (Broken, Closed) as e:
            watch.broken = watch.broken or (watch.input is not None and not watch.input.whole)
            return self._trouble(project, folder, watch, e)

    def _hear(self, project: Project, id: str, folder: Path, watch: _Watch, end: float) -> _Lost | None:
        line = watch.line
        assert line is not None
        if line.plain:
            return self._hear_terminal(id, folder, watch, line, end)
        before, last = list(line.at), None
        # a first look takes what is there, and an end what belongs to it, however short the wait
        first = time.monotonic() + STANDARD
        while True:
            until = end if watch.seen and last is None else max(end, first)
            # what is there is taken in one go; a wait ends with the first news
            news = watch.seen and last is None and line.at != before
            lines = self._next(line, folder, 0.0 if news else until - time.monotonic())
            for words in lines or ():
                match words[0]:
                    case "seen" | "alive":
                        watch.seen, watch.since, watch.pause = True, 0.0, 0.0
                    case "deaf" if watch.input is not None:
                        watch.input.deaf = True
                    case "in" if watch.input is not None:
                        # heard over the very connection that all of stdin went through
                        more = "in" if watch.input.finished else "broken"
                        follows = self._open(project, id, folder, "follow", more=more)
                        self._hang_up(watch)
                        watch.line, watch.seen = follows, False
                        return None
                    case "gone":
                        return self._gone(project, folder, watch)
                    case "dead":
                        return self._dead(project, folder, watch)
                    case "end":
                        last = words[1:]
            if last is not None and self._complete(project, id, folder, watch, last):
                return None
            if lines is None and (news or time.monotonic() >= until):
                if last is not None:
                    raise Broken("it ended, but not all that it printed came")
                return None
            if news and time.monotonic() >= end:
                return None

    def _hear_terminal(self, id: str, folder: Path, watch: _Watch, line: _Line, end: float) -> _Lost | None:
        try:
            got = line.exec.read(max(0.0, end - time.monotonic()))
            while got is not None:
                self._put(line, folder, 0, got[1])
                got = line.exec.read(0.0)
        except Closed:
            status = line.exec.status
            if status is None or status.code is None:
                return _Lost("")
            ending = Ending(watch.reason) if watch.reason else Ending.EXITED
            _write(folder / "exit", f"{status.code} {ending.value}\n")
            self._leave(id)
        return None

    def _complete(self, project: Project, id: str, folder: Path, watch: _Watch, words: list[str]) -> bool:
        """Record an end in the spool once all that belongs to it is there; say whether it is."""
        line = watch.line
        assert line is not None
        at = (line.at[0] or 0, line.at[1] or 0)
        if words[:2] == ["?", "?"]:  # the pod cannot tell: two connections that saw the same have to do
            if watch.sizes != at:
                watch.sizes = at
                raise Broken("a second look, since the pod cannot tell how much there is")
        elif at != (int(words[0]), int(words[1])):
            return False
        for name, cut in zip(_STREAMS, words[3], strict=True):
            (folder / name).touch(0o600)
            if cut == "1":
                (folder / f"{name}.cut").touch(0o600)
        _write(folder / "exit", " ".join(words[4:]) + "\n", at=time.time() - max(0, int(words[2] or 0)))
        if line.follows or watch.input is None or watch.input.whole:
            with suppress(Broken, Closed):
                line.exec.send(b"ok\n")
                while line.exec.read(1.0) is not None:
                    pass
        else:
            self._ask(project, id, "remove")
        self._hang_up(watch)
        return True

    # losses

    def _pod(self, project: Project) -> Mapping[str, Any] | None:
        try:
            return self._api.get(f"/api/v1/namespaces/{self._namespace}/pods/{project.pod}")
        except NotFound:
            return None

    def _record(self, folder: Path) -> Mapping[str, str]:
        try:
            found: Mapping[str, str] = json.loads((folder / "pod").read_bytes())
        except (OSError, ValueError):
            return {}
        return found

    def _trouble(self, project: Project, folder: Path, watch: _Watch, why: Exception) -> _Lost | None:
        """Judge a connection that broke or could not be made; None: try again later."""
        trace(f"lost sight of {folder.name}: {why}")
        heard = watch.line.heard if watch.line is not None else time.monotonic()
        self._hang_up(watch)
        watch.since = watch.since or heard
        known = self._record(folder)
        try:
            found = self._pod(project)
        except Unavailable as e:
            trace(f"the cluster does not answer: {e.message}")
            watch.since = 0.0  # the node is not to blame
        else:
            fate_, lasted = fate(found, known, self._container), time.monotonic() - watch.since
            if fate_.over:
                return _Lost(fate_.cause, found=bool(known))
            if lasted > (PATIENCE if not fate_.cause else BACK):
                return _Lost(fate_.cause or "NodeLost", found=bool(known))
        watch.again = time.monotonic() + watch.pause
        watch.pause = min(max(0.05, watch.pause * 2), 2.0)
        return None

    def _gone(self, project: Project, folder: Path, watch: _Watch) -> _Lost | None:
        """Judge a pod that has no folder of a command: it is another pod, or the command was never started."""
        try:
            found = fate(self._pod(project), known := self._record(folder), self._container)
        except Unavailable as e:
            return self._trouble(project, folder, watch, e)
        return _Lost(found.cause, found=bool(found.cause and known))

    def _dead(self, project: Project, folder: Path, watch: _Watch) -> _Lost | None:
        try:
            return _Lost(fate(self._pod(project), self._record(folder), self._container).cause)
        except Unavailable as e:
            return self._trouble(project, folder, watch, e)

    def _hang_up(self, watch: _Watch) -> None:
        if watch.line is not None:
            watch.line.exec.close()
            watch.line = None

    def _leave(self, id: str) -> None:
        watch = self._watches.pop(id, None)
        if watch is not None:
            self._hang_up(watch)

    def close(self) -> None:
        """Let go of every command that is followed; they run on."""
        for id in list(self._watches):
            self._leave(id)

    # end

    def _ask(self, project: Project, id: str, what: str, more: str = "") -> str:
        """Let pod.sh do something and return its word; empty if there is no such pod."""
        try:
            line = self._open(project, id, None, what, more=more)
        except NotFound:
            return ""
        except Broken as e:
            raise Unavailable(f"the connection to {project.pod} broke", hint="try again", code="CLUSTER_UNREACHABLE") from e
        try:
            end = time.monotonic() + LOOKUP + GRACE
            while (left := end - time.monotonic()) > 0:
                for words in self._next(line, self._spool, left) or ():
                    return words[0]
        except (Broken, Closed) as e:
            raise Unavailable(f"the connection to {project.pod} broke", hint="try again", code="CLUSTER_UNREACHABLE") from e
        finally:
            line.exec.close()
        return ""

    def stop(self, project: Project, id: str, reason: str) -> None:
        watch = self._watches.setdefault(id, _Watch())
        if not watch.stopped and runner.outcome(self._spool / id) is None:
            # before it has begun it hears nothing, and whoever wants it to end asks again
            watch.reason = watch.reason or reason
            watch.stopped = self._ask(project, id, "stop", reason) not in ("", "early", "none")

    def signal(self, project: Project, id: str, number: int) -> None:
        if runner.outcome(self._spool / id) is None:
            self._ask(project, id, "signal", str(number))

    # rdev's own

    def run(
        self, project: Project, argv: Sequence[str], *, stdin: BinaryIO | None = None, stdout: BinaryIO | None = None, timeout: float
    ) -> Ran:
        id = f"run_{project.id[-8:]}_{os.urandom(8).hex()}"
        launch = Launch(id=id, argv=tuple(argv), stdin=stdin is not None, limit_seconds=max(1, int(timeout)))
        folder, progress = self._spool / id, None
        end = time.monotonic() + timeout + GRACE + STANDARD
        try:
            started = self._start(project, launch, own=True)
            if stdin is not None and started.input is not None:
                while chunk := stdin.read(1 << 20):
                    if not started.input.write(chunk):
                        break
                started.input.finish()
            progress = self.advance(project, id, wait=0)
            while progress.outcome is None and time.monotonic() < end:  # its limit ends it
                progress = self.advance(project, id, after=(progress.stdout, progress.stderr), wait=timeout)
            errors = runner.read(folder / "err", 0, 1 << 16)
            how = progress.outcome.ending if progress.outcome is not None else Ending.LOST
            if progress.outcome is None or how is not Ending.EXITED:
                raise Unavailable(
                    f"rdev's own command in the pod did not run to its end ({how.value})",
                    hint="rdev doctor looks for the cause",
                    said=errors.decode(errors="replace")[-500:],
                )
            if stdout is not None:
                with (folder / "out").open("rb") as spooled:
                    while chunk := spooled.read(1 << 20):
                        stdout.write(chunk)
            return Ran(code=progress.outcome.code, stderr=errors)
        finally:
            if id in self._watches:  # cut off: it must not go on in a folder that is gone
                self._leave(id)
                self._ask(project, id, "sweep")
            remove_tree(folder)

    def sweep(self, project: Project) -> None:
        prefix = f"run_{project.id[-8:]}_"
        left = list(self._spool.glob(f"{prefix}*"))
        if left:  # each has a folder here before it has one in the pod
            self._ask(project, prefix, "sweep")
        for folder in left:
            remove_tree(folder)


_STREAMS = ("out", "err")


def _write(path: Path, text: str, *, at: float | None = None) -> None:
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


def _beginning(data: bytes, mark: bytes) -> int:
    """Return where the beginning of a mark may stand at the end of data; its length if there is none."""
    at = data.find(mark[:1], max(0, len(data) - len(mark) + 1))
    while at >= 0 and not mark.startswith(data[at:]):
        at = data.find(mark[:1], at + 1)
    return at if at >= 0 else len(data)


def _no_shell(project: Project, why: str) -> Unavailable:
    return Unavailable(
        f"the image of {project.pod} has no sh that rdev could use: {why[-200:]}",
        hint="rdev context set NAME --image one with sh, cat, mkdir and mv",
        code="TOOL_MISSING",
        tool="sh",
    )


def _is_an_input(one: PodInput) -> Input:
    return one
