"""Following a command: its bytes as they come, its end as it was, and the terminal as it was before."""

import os
import select
import sys
import threading
from collections.abc import Callable
from typing import Any, Literal

import typer

from rdev_cli.domain.codec import to_json
from rdev_cli.domain.command import OPEN, Command, Progress
from rdev_cli.domain.errors import NotFound, OutcomeUnknown, TimedOut
from rdev_cli.faces.cli.face import Hand, say
from rdev_cli.faces.cli.show import emit
from rdev_cli.ops import commands
from rdev_cli.ports.cluster import Input

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rdev_cli.wiring.services import Services

_SLICE = 1 << 20


class Stream:
    """One spooled stream, poured out from any byte on."""

    def __init__(self, path: os.PathLike[str], offset: int, out: Callable[[int, int, int, bool], int]) -> None:
        self._path, self.offset, self._out = path, offset, out
        self._fd = -1

    def pour(self, end: int, *, last: bool = True) -> None:
        """Hand on what came since the last time, up to `end`; unless that is the `last` of it, more may follow."""
        if end <= self.offset:
            return
        if self._fd < 0:
            try:
                self._fd = os.open(self._path, os.O_RDONLY)
            except FileNotFoundError as e:
                raise NotFound(
                    "what it printed is no longer kept", hint="rdev command show still has its outcome", code="OUTPUT_GONE"
                ) from e
        while self.offset < end:
            moved = self._out(self._fd, self.offset, min(end - self.offset, _SLICE), last)
            if moved == 0:
                break
            self.offset += moved

    def close(self) -> None:
        """Close the spool."""
        if self._fd >= 0:
            os.close(self._fd)


def to_fd(target: int) -> Callable[[int, int, int, bool], int]:
    """Return what moves bytes of a spool to a descriptor, without touching them where the kernel can."""
    plain = False

    def move(fd: int, offset: int, count: int, last: bool) -> int:  # noqa: ARG001 -- bytes are bytes
        nonlocal plain
        if not plain:
            try:
                return os.sendfile(target, fd, offset, count)
            except BrokenPipeError:
                raise
            except OSError:
                plain = True  # a terminal, a file opened to append, another system
        data = os.pread(fd, min(count, 1 << 16), offset)
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(target, view) :]
            except BlockingIOError:
                select.select([], [target], [])  # somebody else made our stdout non-blocking
        return len(data)

    return move


def both(world: "Services", id: str, *, stdout: int = 0, stderr: int = 0) -> tuple[Stream, Stream]:
    """Return a command's two streams from these bytes on, to be poured into our own two."""
    return Stream(world.spool.path(id, "out"), stdout, to_fd(1)), Stream(world.spool.path(id, "err"), stderr, to_fd(2))


def lines(world: "Services", command: Command, *, stdout: int = 0, stderr: int = 0) -> tuple[Stream, Stream]:
    """Return a command's two streams from these bytes on, to be told as JSON lines on stdout.

    The `id` of a line is the position after it, `<stdout offset>-<stderr offset>`: whoever goes on from there gets every byte once.
    """
    pair: list[Stream] = []

    def after(at: int, stream: str) -> str:
        return f"{at}-{pair[1].offset}" if stream == "stdout" else f"{pair[0].offset}-{at}"

    pair += [
        Stream(world.spool.path(command.id, "out"), stdout, to_events(command, "stdout", after)),
        Stream(world.spool.path(command.id, "err"), stderr, to_events(command, "stderr", after)),
    ]
    return pair[0], pair[1]


def to_events(
    command: Command, stream: Literal["stdout", "stderr"], after: Callable[[int, str], str]
) -> Callable[[int, int, int, bool], int]:
    """Return what tells bytes of a spool as JSON lines, never splitting a UTF-8 character."""
    from rdev_cli.domain.lines import OutputLine  # noqa: PLC0415 -- only for who reads lines
    from rdev_cli.domain.output import whole  # noqa: PLC0415

    def move(fd: int, offset: int, count: int, last: bool) -> int:
        data = os.pread(fd, min(count, 1 << 16), offset)
        # half a character waits for its other half, but not for ever
        ready = whole(data) or (data if last else b"")
        if ready:
            emit(to_json(OutputLine(command=command.id, stream=stream, offset=offset, id=after(offset + len(ready), stream), data=ready)))
        return len(ready)

    return move


def follow(
    hand: Hand,
    world: "Services",
    command: Command,
    streams: tuple[Stream, Stream] | None,
    *,
    each: Callable[[], Any] | None = None,
    own: bool = True,
    limit: int = 0,
) -> Command:
    """Follow a command to its end and return it as it ended.

    `own`: this invocation started it, so Ctrl-C and a reader that went away end it; whoever only looks on lets it run.
    `limit`: seconds after which the wait ends (TimedOut), and the command goes on; 0: none.
    """
    hand.standing = f"{command.id} may still be running: rdev command show {command.id}, rdev command cancel {command.id}"
    asked, told, seen = 0.0, False, (-1, -1)  # a first look comes back at once
    began = world.clock.monotonic()
    try:
        while True:
            command, progress = commands.follow(world, command, after=seen, wait=0.2, own=own)
            seen = progress.stdout, progress.stderr
            if streams is not None:
                _pour(command, streams, progress)
            if each is not None:
                each()
            if command.state not in OPEN:
                return command
            if world.stop.is_set():
                if not own or hand.signal != 2:
                    say(f"{command.id} goes on: rdev command attach {command.id}")
                    raise typer.Exit(128 + hand.signal)
                if not asked:
                    commands.ask_to_stop(world, command)
                    asked = world.clock.monotonic()
                elif not told and world.clock.monotonic() - asked > 0.5 and hand.human and sys.stderr.isatty():
                    say("stopping; Ctrl-C again leaves at once")
                    told = True
            if limit and world.clock.monotonic() - began > limit:
                raise TimedOut(f"{command.id} has not ended yet", hint=f"it goes on: rdev command attach {command.id}", command=command.id)
    except BrokenPipeError:
        if own:
            commands.ask_to_stop(world, command)  # as a shell's pipe would end it
        raise
    finally:
        for stream in streams or ():
            stream.close()


def _pour(command: Command, streams: tuple[Stream, Stream], progress: Progress) -> None:
    last = command.state not in OPEN
    try:
        streams[0].pour(progress.stdout, last=last)
        streams[1].pour(progress.stderr, last=last)
    except BrokenPipeError:
        raise
    except OSError as e:
        # not the command's fault and not its code; sysexits calls 74 an input/output error
        say(f"error: cannot hand on its output: {e.strerror}")
        say(f"hint:  it is kept: rdev command attach {command.id}")
        raise typer.Exit(74) from e


class Feed(threading.Thread):
    """Hands this process's stdin to a command, in the background, and closes it at its end; `broken` says what kept it from that."""

    def __init__(self, source: Input) -> None:
        super().__init__(daemon=True)
        self._source, self.broken = source, ""
        self.start()

    def run(self) -> None:
        """Read to the end, or until the command reads no more."""
        try:
            while data := _stdin():
                if not self._source.write(data):
                    return
            self._source.finish()
        except OSError as e:
            self.broken = e.strerror or str(e)
            self._source.give_up()  # the runner sees a break, and says so


def _stdin() -> bytes:
    while True:
        try:
            return os.read(0, 1 << 16)
        except BlockingIOError:  # somebody else made our stdin non-blocking
            select.select([0], [], [])


def deliver(world: "Services", command: Command, source: Input) -> None:
    """Hand over stdin to its end, or to the command's, and follow nothing; a stop ends the command, whose stdin is then not whole."""
    feed = Feed(source)
    while feed.is_alive() and command.state in OPEN:
        feed.join(0.1)
        command, _ = commands.follow(world, command, wait=0)
        if world.stop.is_set():
            commands.ask_to_stop(world, command)
            raise world.stop.error(command.id)
    if feed.broken:
        raise OutcomeUnknown(
            f"cannot read stdin: {feed.broken}", hint=f"rdev command show {command.id} says how it ended", command=command.id
        )


class Terminal:
    """The caller's terminal, raw while a command has it, and always put back."""

    def __init__(self, source: Input | None) -> None:
        self._source, self._saved = source, None if not sys.stdin.isatty() else self._raw()

    def _raw(self) -> Any:
        import signal  # noqa: PLC0415 -- only for -t
        import termios  # noqa: PLC0415
        import tty  # noqa: PLC0415

        saved = termios.tcgetattr(0)
        tty.setraw(0)
        signal.signal(signal.SIGWINCH, lambda *_: self._resize())
        return saved

    def _resize(self) -> None:
        if self._source is not None:
            self._source.resize(*size())

    def restore(self) -> None:
        """Put the terminal back."""
        if self._saved is not None:
            import termios  # noqa: PLC0415

            termios.tcsetattr(0, termios.TCSADRAIN, self._saved)
            self._saved = None


def size() -> tuple[int, int]:
    """Return the terminal's rows and columns."""
    try:
        found = os.get_terminal_size(0)
    except OSError:
        return 24, 80
    return found.lines or 24, found.columns or 80
