"""Commands in pods: one connection starts the runner there and follows its folder; the local spool takes the runner's own shape."""

from __future__ import annotations

import json
import os
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rdev_cli.adapters.kubernetes import hand, terminals
from rdev_cli.adapters.kubernetes.hand import STREAMS, Line, broken, no_shell, write
from rdev_cli.adapters.kubernetes.inputs import PodInput
from rdev_cli.adapters.kubernetes.losses import fate, identity
from rdev_cli.adapters.kubernetes.socket import Broken, Closed
from rdev_cli.adapters.shared import own, runner
from rdev_cli.adapters.shared.files import private_folder, remove_tree
from rdev_cli.adapters.shared.trace import trace
from rdev_cli.domain.command import Ending, Launch, Outcome, Progress
from rdev_cli.domain.errors import Cancelled, Denied, Invalid, NotFound, RdevError, Unavailable
from rdev_cli.ports.cluster import Ran, Started
from rdev_cli.ports.timing import HEAVY_WRITE, LOOKUP, STANDARD

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from typing import BinaryIO

    from rdev_cli.adapters.kubernetes.api import Api
    from rdev_cli.domain.project import Project

PATIENCE = 45.0  # seconds without a word of the pod while the API answers: then its node counts as lost
BACK = 30.0  # seconds that a container has to come back, so that a record of before can still be read
# Starts and looks at the same time. More of them wait here: at the node each would only make the others slower, past the time that they have
_AT_ONCE = 16
_AWAY = (Unavailable, Cancelled)  # a stop ends a call, not the command that it was about: whoever said stop ends that, or lets it run
_ARGUMENT = 131071  # what Linux takes as one argument, in bytes


@dataclass(frozen=True, slots=True)
class _Lost:
    """No outcome can come any more; `found`: there was such a command."""

    cause: str
    found: bool = True


@dataclass(slots=True)
class _Watch:
    """What this process knows of a command that it looks at."""

    lock: threading.Lock = field(default_factory=threading.Lock)  # one looks at a time: whoever follows, or whoever waits for stdin's end
    line: Line | None = None
    input: PodInput | None = None
    more: str = ""  # what the next connection says of stdin: `in`, all of it came, or `broken`
    whole: bool = False  # the pod knows that all of stdin came
    seen: bool = False  # this connection has told what was there
    since: float = 0.0  # of the first failure to reach it, 0: none
    again: float = 0.0  # when to try again
    pause: float = 0.0
    limit: float = 0.0  # when to end it, where the pod cannot; 0: it can
    stopped: bool = False
    reason: str = ""  # why somebody here asked it to stop
    sizes: tuple[int, int] = (-1, -1)  # where the streams ended, as far as the last connection knew


class PodCommands:
    """What the Cluster port says of commands, in the pods of one namespace."""

    def __init__(self, api: Api, *, namespace: str, container: str, spool: Path) -> None:
        self._api, self._namespace, self._container, self._spool = api, namespace, container, spool
        self._watches: dict[str, _Watch] = {}
        self._known: dict[str, Mapping[str, str]] = {}
        self._gate = threading.BoundedSemaphore(_AT_ONCE)
        self._answered: dict[str, float] = {}  # when each pod last said anything to anybody here

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
        watch = self._watches.setdefault(launch.id, _Watch())
        if watch.line is not None or runner.outcome(folder) is not None:
            return Started()
        folder.mkdir(0o700, exist_ok=True)
        if not own and not (folder / "pod").exists():
            write(folder / "pod", json.dumps(self._identity(project)))
        takes = launch.stdin or launch.terminal is not None
        try:
            with self._gate:
                said = self._send_off(project, launch, folder, watch)
        except BaseException:
            if watch.line is not None:  # a Ctrl-C: whoever waited for it takes it as not started
                self._leave(launch.id)
                with suppress(RdevError):
                    self._ask(project, launch.id, "sweep")
            raise
        if said is None:  # it may have been started: whoever follows finds out
            return Started(input=PodInput(None, terminal=False) if takes else None)
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
        if not takes or watch.line is None:
            return Started(note=note)
        watch.input = PodInput(
            watch.line.exec, terminal=launch.terminal is not None, settle=lambda: self._settle(project, launch.id, folder, watch)
        )
        return Started(input=watch.input, note=note)

    def _send_off(self, project: Project, launch: Launch, folder: Path, watch: _Watch) -> str | None:
        """Send the runner off and return its first line; None if every connection broke before anybody could know."""
        end, pause, again = time.monotonic() + STANDARD, 0.0, False
        while True:
            try:
                watch.line = self._open(project, launch.id, folder, "start", launch=launch)
                words = watch.line.answer("said")
                self._answered[project.pod] = time.monotonic()
                # the same id starts nothing twice; what broke may have been the answer to the first time
                mine = words == ["exists"] and again and not (launch.stdin or launch.terminal)
                return "ready" if mine else " ".join(words)
            except (Broken, Closed) as e:
                trace(f"the connection to {project.pod} broke at the start of {launch.id}: {e}")
                refusal = watch.line.exec.status if watch.line is not None else None
                self._hang_up(watch)
                if refusal is not None and refusal.code is None and (time.monotonic() + pause > end or "executable file" in refusal.reason):
                    raise no_shell(project, refusal.reason) from e
            except Unavailable as e:
                if not e.context.get("sent"):
                    raise
            again = True
            if time.monotonic() + pause > end:
                return None
            time.sleep(pause)
            pause = min(max(0.05, pause * 2), 2.0)

    def _plain_terminal(self, project: Project, launch: Launch, folder: Path, watch: _Watch) -> Started:
        self._hang_up(watch)
        watch.line, source = terminals.opened(self._api, self._namespace, project.pod, self._container, launch, folder)
        watch.seen = True
        if launch.limit_seconds:
            watch.limit = time.monotonic() + launch.limit_seconds
        return Started(input=source, note=terminals.NOTE)

    def _open(self, project: Project, id: str, folder: Path, what: str, *, more: str = "", launch: Launch | None = None) -> Line:
        """Connect to the pod and send pod.sh with what it shall do; any RdevError of the API, Broken if the connection is gone at once."""
        mark = f"\x1e{os.urandom(16).hex()}"
        skip = self._sizes(folder) if what == "follow" else (0, 0)
        opened = self._api.exec(
            self._namespace, project.pod, self._container, ["sh", "-c", hand.BOOT], stdin=True, timeout=STANDARD if launch else LOOKUP
        )
        try:
            opened.send(hand.message(what, id, mark, more=more, skip=skip, launch=launch))
        except BaseException:
            opened.close()
            raise
        return Line(opened, mark.encode() + b" ", folder, [0, 0] if launch is not None else [None, None], follows=what == "follow")

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
            with watch.lock:
                lost = self._look(project, id, folder, watch, end) if runner.outcome(folder) is None else None
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
                with self._gate:
                    watch.line = self._open(project, id, folder, "follow", more=watch.more)
            except Denied:
                raise
            except (Broken, RdevError) as e:
                return self._trouble(project, folder, watch, e)
            watch.seen = False
        try:
            return self._hear(project, id, folder, watch, end)
        except (Broken, Closed) as e:
            if watch.input is not None and not watch.whole and not watch.more:
                watch.more = "broken"
            return self._trouble(project, folder, watch, e)

    def _hear(self, project: Project, id: str, folder: Path, watch: _Watch, end: float) -> _Lost | None:
        line = watch.line
        assert line is not None
        if line.plain:
            if terminals.ended(line, watch.reason, end):
                self._hang_up(watch)
            return None
        before, last = list(line.at), None
        # a first look takes what is there, and an end what belongs to it, however short the wait
        first = time.monotonic() + STANDARD
        while True:
            until = end if watch.seen and last is None else max(end, first)
            # what is there is taken in one go; a wait ends with the first news
            news = watch.seen and last is None and line.at != before
            lines = line.next(0.0 if news else until - time.monotonic())
            if lines is not None:
                self._answered[project.pod] = line.heard
            for words in lines or ():
                match words[0]:
                    case "from":  # the pod answers, whatever becomes of this connection
                        watch.since, watch.pause = 0.0, 0.0
                    case "seen":
                        watch.seen = True
                    case "whole":
                        watch.whole, watch.more = True, ""
                    case "deaf" if watch.input is not None:
                        watch.input.deaf = True
                    case "in" if watch.input is not None:
                        # heard over the very connection that all of stdin went through
                        watch.more = "in" if watch.input.finished else "broken"
                        self._hang_up(watch)
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

    def _settle(self, project: Project, id: str, folder: Path, watch: _Watch) -> None:
        """Wait until the pod knows that all of stdin came, or nobody reads it any more."""
        end = time.monotonic() + HEAVY_WRITE
        while not watch.whole and runner.outcome(folder) is None and time.monotonic() < end:
            with watch.lock:
                if watch.whole or self._look(project, id, folder, watch, time.monotonic() + 0.2) is not None:
                    return
            if watch.input is not None and watch.input.deaf:
                return

    def _complete(self, project: Project, id: str, folder: Path, watch: _Watch, words: list[str]) -> bool:
        """Record an end in the spool once all that belongs to it is there; say whether it is."""
        line = watch.line
        assert line is not None
        if len(words) < 6:
            raise Broken("its last word is not whole")
        at = (line.at[0] or 0, line.at[1] or 0)
        if words[:2] == ["?", "?"]:  # the pod cannot tell: two connections that saw the same have to do
            if watch.sizes != at:
                watch.sizes = at
                raise Broken("a second look, since the pod cannot tell how much there is")
        elif at != (int(words[0]), int(words[1])):
            return False
        for name, cut in zip(STREAMS, words[3], strict=True):
            (folder / name).touch(0o600)
            if cut == "1":
                (folder / f"{name}.cut").touch(0o600)
        write(folder / "exit", " ".join(words[4:]) + "\n", at=time.time() - max(0, int(words[2] or 0)))
        if line.follows or watch.input is None or watch.input.open:
            with suppress(Broken, Closed):
                line.exec.send(b"ok\n")
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
        except _AWAY as e:
            trace(f"the cluster does not answer: {e.message}")
            watch.since = 0.0  # the node is not to blame
        else:
            # a node that answers others is only slow to answer this one
            silent = max(watch.since, self._answered.get(project.pod, 0.0))
            fate_, lasted = fate(found, known, self._container), time.monotonic() - silent
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
        except _AWAY as e:
            return self._trouble(project, folder, watch, e)
        return _Lost(found.cause, found=bool(found.cause and known))

    def _dead(self, project: Project, folder: Path, watch: _Watch) -> _Lost | None:
        try:
            return _Lost(fate(self._pod(project), self._record(folder), self._container).cause)
        except _AWAY as e:
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
            line = self._open(project, id, self._spool, what, more=more)
        except NotFound:
            return ""
        except Broken as e:
            raise broken(project) from e
        try:
            return line.answer("did")[0]
        except (Broken, Closed) as e:
            raise broken(project) from e
        finally:
            line.exec.close()

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
        launch = Launch(id=id, argv=tuple(argv), stdin=stdin is not None, limit_seconds=max(1, int(timeout)), cap=own.CAP)
        folder = self._spool / id
        try:
            started = self._start(project, launch, own=True)
            return own.carried(folder, started, lambda **more: self.advance(project, id, **more), stdin, stdout, timeout)
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
