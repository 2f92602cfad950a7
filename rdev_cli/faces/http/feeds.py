"""What streams tell of, read once for all who listen: a thread follows, encodes each event, and hands it to the event loop."""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from rdev_cli.domain.command import OPEN, Command, CommandState
from rdev_cli.domain.errors import RdevError
from rdev_cli.domain.event import Event
from rdev_cli.domain.job import WAITING, Job
from rdev_cli.domain.lines import OutputLine, ended
from rdev_cli.domain.output import whole
from rdev_cli.domain.session import Session, SessionState
from rdev_cli.faces.http.frames import frame, trouble
from rdev_cli.ops import commands, events, jobs, sessions
from rdev_cli.wiring.log import log

if TYPE_CHECKING:
    from rdev_cli.wiring.services import Services

Position = tuple[int, ...]  # (seq,) of the journal, (stdout, stderr) of a command

NAP = 0.05  # seconds between two looks, in which what happens is gathered
HELD = 1 << 20  # bytes of a feed that are kept encoded; whoever is behind that reads from where things are kept
BATCHES = 256
PAGE = 200  # lines of the journal that are read at a time for whoever is behind
SLICE = 1 << 16  # bytes of a command's stream in one event, at most


def text(at: Position) -> str:
    """Return a position as a client is told it."""
    return "-".join(map(str, at))


def reached(at: Position, other: Position) -> bool:
    """Say whether a position is at another or behind it, in every part."""
    return all(mine >= theirs for mine, theirs in zip(at, other, strict=True))


@dataclass(frozen=True, slots=True)
class View:
    """What of a feed a client is shown."""

    projects: frozenset[str] | None = None  # None: of all projects, and what belongs to none
    subject: str = ""  # empty: about anything

    def shows(self, event: Event) -> bool:
        """Say whether a line of the journal is shown."""
        return (self.projects is None or event.project in self.projects) and self.subject in ("", event.subject)


EVERYTHING = View()


@dataclass(slots=True)
class Batch:
    """What came at once, encoded; a batch begins where the one before it ended."""

    start: Position
    end: Position
    pieces: Sequence[tuple[Event | None, bytes]]
    size: int = field(init=False)
    _seen: dict[View, bytes] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.size = sum(len(data) for _, data in self.pieces)

    def seen(self, view: View) -> bytes:
        """Return what a view shows of it, put together once for all who have that view."""
        found = self._seen.get(view)
        if found is None:
            found = self._seen[view] = b"".join(data for event, data in self.pieces if event is None or view.shows(event))
        return found


class Feed:
    """One thing that is followed, as the event loop sees it: the newest of it, and where it stands."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake  # everybody who listens
        self.ready = asyncio.Event()
        self.head: Position = ()
        self.last = b""  # how it ended, once it has
        self.failure: RdevError | None = None  # what ended it, if it has not come to its own end
        self._batches: deque[Batch] = deque()
        self._held = 0

    def begin(self, head: Position) -> None:
        """Say from where on things are told; also that what lies before is too much to be told."""
        self.head = head
        self._batches.clear()
        self._held = 0
        self.ready.set()
        self._wake()

    def come(self, batch: Batch) -> None:
        """Take what came, and let go of what is oldest."""
        self._batches.append(batch)
        self._held += batch.size
        self.head = batch.end
        while len(self._batches) > 1 and (self._held > HELD or len(self._batches) > BATCHES):
            self._held -= self._batches.popleft().size
        self._wake()

    def end(self, last: bytes, error: RdevError | None = None) -> None:
        """Say that nothing more will come; `error`, if that is not how the thing itself ended."""
        self.last = last
        self.failure = error
        self.ready.set()
        self._wake()

    def after(self, at: Position, view: View) -> tuple[bytes, Position, bool]:
        """Return (what comes next, the position after it, True), or (nothing, where what is held begins, False) to whoever is behind that."""
        ahead: list[Batch] = []
        for batch in reversed(self._batches):
            if not reached(batch.start, at):
                break
            ahead.append(batch)
        mark = ahead[-1].start if ahead else self.head
        if mark != at:
            return b"", mark, False
        found, size = [], 0
        while ahead and size < SLICE:
            batch = ahead.pop()
            found.append(batch.seen(view))
            size, at = size + len(found[-1]), batch.end
        return found[0] if len(found) == 1 else b"".join(found), at, True


class Source(Protocol):
    """How a thing is followed. Everything here runs in threads."""

    def follow(self, tell: "Teller", stop: threading.Event) -> None:
        """Tell what happens from now on, until its end or until `stop`."""
        ...

    def page(self, world: "Services", view: View, at: Position, until: Position) -> tuple[bytes, Position]:
        """Return what a caller is shown of what lies between two positions, a page of it, and the position after that."""
        ...


class Teller:
    """A feed, as the thread that follows sees it: whatever is said here is done in the event loop."""

    def __init__(self, feed: Feed, loop: asyncio.AbstractEventLoop) -> None:
        self._feed, self._loop = feed, loop

    def _say(self, what: Callable[..., None], *words: object) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody listens any more
            self._loop.call_soon_threadsafe(what, *words)

    def begin(self, head: Position) -> None:
        """Say where things stand."""
        self._say(self._feed.begin, head)

    def come(self, batch: Batch) -> None:
        """Say what came."""
        self._say(self._feed.come, batch)

    def end(self, last: bytes, error: RdevError | None = None) -> None:
        """Say that this was all."""
        self._say(self._feed.end, last, error)


def following(source: Source, feed: Feed, loop: asyncio.AbstractEventLoop, world: "Services") -> Callable[[], None]:
    """Follow a thing in a thread of its own; return what ends that."""
    stop, tell = threading.Event(), Teller(feed, loop)

    def run() -> None:
        try:
            source.follow(tell, stop)
        except RdevError as e:
            tell.end(trouble(e), e)
        except Exception as e:  # noqa: BLE001 -- a loop's body: whoever listens must be told
            log().error("failed", exc_info=True, extra={"error": type(e).__name__})
            failed = RdevError("rdev failed while it followed this", hint="its log has more; come again to go on")
            tell.end(trouble(failed), failed)
        finally:
            world.store.close()

    threading.Thread(target=run, name="stream", daemon=True).start()
    return stop.set


class Journal:
    """The journal, by pages."""

    def __init__(self, world: "Services") -> None:
        self._world = world

    def follow(self, tell: Teller, stop: threading.Event) -> None:
        """Tell each new line."""
        at = events.last(self._world)
        tell.begin((at,))
        while not stop.wait(NAP):
            while page := events.read(self._world, after=at, limit=1000).items:
                end = page[-1].seq
                tell.come(Batch((at,), (end,), [(event, line(event)) for event in page]))
                at = end

    def page(self, world: "Services", view: View, at: Position, until: Position) -> tuple[bytes, Position]:
        """Return lines of the journal, or where it begins, if what was asked for is gone."""
        (after,), (end,) = at, until
        found = world.store.events(after=after, subject=view.subject, limit=PAGE)
        # looked at after the page: what was pruned before it was read is seen
        oldest = self._world.store.events(after=0, limit=1)
        start = oldest[0].seq - 1 if oldest else end
        if start > after:
            return reset((start,), "what lies between was pruned"), (start,)
        shown = [event for event in found if event.seq <= end and view.shows(event)]
        past = found[-1].seq if len(found) == PAGE else end
        return b"".join(map(line, shown)), (min(past, end),)


def line(event: Event) -> bytes:
    """Return a line of the journal as an event: what `rdev events -o jsonl` prints of it."""
    return frame("event", event, str(event.seq))


def reset(at: Position, why: str) -> bytes:
    """Return the event that says: there is a gap, and from where on things are told."""
    return frame("reset", {"start": text(at), "reason": why}, text(at))


class Output:
    """What a command prints, by bytes of its two streams, and its end."""

    def __init__(self, world: "Services", command: Command) -> None:
        self._world, self._command = world, command

    def follow(self, tell: Teller, stop: threading.Event) -> None:
        """Tell each new byte, and how the command ended."""
        command, at = self._command, (0, 0)
        seen, begun = (-1, -1), False
        while True:
            if command.state is CommandState.PENDING:  # whoever starts it comes to it later
                found = self._world.store.find_commands(command.id)
                command, seen = found[0] if found else command, (0, 0)
            if command.state is not CommandState.PENDING:
                command, progress = commands.follow(self._world, command, after=seen, wait=0.5 if begun else 0)
                seen = progress.stdout, progress.stderr
            last = command.state not in OPEN
            if not begun or sum(seen) - sum(at) > HELD:
                at = seen if last else (self._whole("out", seen[0]), self._whole("err", seen[1]))
                tell.begin(at)
                begun = True
            for batch, now in self._batches(at, seen, last=last):
                tell.come(batch)
                at = now
            if last:
                tell.end(frame("complete", ended(command), text(at)))
                return
            if stop.wait(NAP):
                return

    def _whole(self, stream: str, end: int) -> int:
        """Return where the last whole character before a byte ends."""
        tail = self._world.spool.read(self._command.id, stream, max(0, end - 4), min(4, end))
        return end - len(tail) + len(whole(tail))

    def _batches(self, at: tuple[int, int], end: tuple[int, int], *, last: bool) -> Iterator[tuple[Batch, tuple[int, int]]]:
        while at[0] < end[0] or at[1] < end[1]:
            pieces, now = self._pieces(at, end, last=last)
            if now == at:
                return
            yield Batch(at, now, [(None, piece) for piece in pieces]), now
            at = now

    def _pieces(self, at: tuple[int, int], end: tuple[int, int], *, last: bool) -> tuple[list[bytes], tuple[int, int]]:
        """Return an event for each stream, as far as there is something of it, and the position after them."""
        id, found = self._command.id, []
        for part, stream in enumerate(("out", "err")):
            offset, left = at[part], end[part] - at[part]
            data = self._world.spool.read(id, stream, offset, min(SLICE, left)) if left > 0 else b""
            # half a character waits for its other half, but not for ever
            data = data if last and len(data) == left else whole(data)
            if data:
                at = (offset + len(data), at[1]) if part == 0 else (at[0], offset + len(data))
                told = OutputLine(command=id, stream="stderr" if part else "stdout", offset=offset, id=text(at), data=data)
                found.append(frame("output", told, text(at)))
        return found, at

    def page(self, world: "Services", view: View, at: Position, until: Position) -> tuple[bytes, Position]:  # noqa: ARG002 -- one view of it
        """Return a piece of each stream, or where to go on, if it is gone."""
        pieces, now = self._pieces((at[0], at[1]), (until[0], until[1]), last=True)
        if now == at:
            return reset(until, "what it printed is no longer kept"), until
        return b"".join(pieces), now


class Life:
    """What happens in a session, and how it ended."""

    def __init__(self, world: "Services", session: Session) -> None:
        self._world, self._session = world, session

    def follow(self, tell: Teller, stop: threading.Event) -> None:
        """Tell each new line of the journal that is about it or about one of its commands."""
        at, begun, over = 0, False, False
        while True:
            found = sessions.show(self._world, self._session.id)  # before the journal: an end is told with all that came before it
            over = found.state is SessionState.ENDED
            while page := sessions.events(self._world, self._session.id, after=at, limit=1000).items:
                end = page[-1].seq
                if begun:
                    tell.come(Batch((at,), (end,), [(event, line(event)) for event in page]))
                at = end
            if not begun:
                tell.begin((at,))  # whoever listens from the beginning reads what was before by pages
                begun = True
            if over:
                tell.end(frame("complete", found, str(at)))
                return
            if stop.wait(NAP):
                return

    def page(self, world: "Services", view: View, at: Position, until: Position) -> tuple[bytes, Position]:  # noqa: ARG002 -- one view of it
        """Return lines of the journal."""
        found = world.store.events(after=at[0], session=self._session.id, limit=PAGE)
        shown = [event for event in found if event.seq <= until[0]]
        return b"".join(map(line, shown)), (found[-1].seq,) if len(found) == PAGE and found[-1].seq < until[0] else until


class Done:
    """An operation that somebody asked for and did not wait for: its end."""

    def __init__(self, world: "Services", job: Job) -> None:
        self._world, self._job = world, job

    def follow(self, tell: Teller, stop: threading.Event) -> None:
        """Tell how it ended."""
        tell.begin((0,))
        while (job := jobs.show(self._world, self._job.id)).state in WAITING:
            if stop.wait(0.2):
                return
        tell.end(frame("complete", job, "0"))

    def page(self, world: "Services", view: View, at: Position, until: Position) -> tuple[bytes, Position]:  # noqa: ARG002 -- it has none
        """Return nothing: there is nothing before the end."""
        return b"", until
