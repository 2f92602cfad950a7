"""Sitting at a session's terminal: what it shows, what is typed, and how one leaves while it goes on."""

import contextlib
import os
import select
import signal
import sys
import threading
from typing import Any

import typer

from rdev_cli.domain.command import OPEN, Command
from rdev_cli.domain.errors import Conflict, RdevError
from rdev_cli.faces.cli import live
from rdev_cli.faces.cli.face import Hand, say, write
from rdev_cli.ops import commands, sessions, terminals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rdev_cli.ops.terminals import Attached, Keys
    from rdev_cli.wiring.services import Services

_BEFORE = 1 << 13  # bytes of what the terminal showed before, for whoever comes back
_TOUCH = 30.0  # seconds between two notes that somebody sits there, and less where a session ends sooner


class Leaving:
    """Finds in what is typed that somebody wants to leave: ctrl-p ctrl-q anywhere, `~.` at the beginning of a line; `~~` there is one `~`."""

    def __init__(self) -> None:
        self._held, self._begins = b"", True

    def pass_on(self, data: bytes) -> tuple[bytes, bool]:
        """Return what goes on to the terminal, and whether whoever typed it leaves; what follows that is dropped."""
        out = bytearray()
        for byte in data:
            one, held = bytes((byte,)), self._held
            self._held = b""
            if (held, one) in ((b"\x10", b"\x11"), (b"~", b".")):
                return bytes(out), True
            if held == b"~" and one == b"~":
                out += b"~"
                self._begins = False
                continue
            out += held
            if one == b"\x10" or (one == b"~" and self._begins and not held):
                self._held = one
                continue
            out += one
            self._begins = one in b"\r\n"
        return bytes(out), False


class _Sitting:
    """Whoever sits at a terminal: the keys go there in a thread, for as long as they stay."""

    def __init__(self, world: "Services", attached: "Attached", seconds: int) -> None:
        self.keys: Keys = terminals.Keys()
        self.left, self.trouble = threading.Event(), ""
        self._world, self._attached, self._seconds = world, attached, seconds
        self._sender = threading.Thread(target=self._send, daemon=True)
        self._sender.start()
        threading.Thread(target=self._read, daemon=True).start()

    def _send(self) -> None:
        try:
            terminals.send(self._world, self._attached, self.keys, seconds=self._seconds)
        except RdevError as e:
            self.trouble = e.message
        finally:
            self.left.set()

    def _read(self) -> None:
        leaving = Leaving()
        while not self.left.is_set():
            if not select.select([0], [], [], 0.2)[0]:
                continue
            typed = os.read(0, 1 << 12)
            data, leaves = leaving.pass_on(typed)
            if data:
                self.keys.type(data)
            if leaves or not typed:
                self.left.set()

    def end(self) -> None:
        """Leave; the way of the keys is closed behind them."""
        self.left.set()
        self.keys.leave()
        self._sender.join(2.0)


def sit(here: Hand, world: "Services", attached: "Attached", *, look: bool) -> Command | None:
    """Sit at a terminal, or only look on; return it as it ended, None for whoever left it."""
    command, session = attached.command, sessions.show(world, attached.place.session_id)
    _, progress = commands.follow(world, command, wait=0, own=attached.fresh)
    streams = live.both(world, command.id, stdout=_line(world, command.id, progress.stdout), stderr=progress.stderr)
    sitting = None if look else _Sitting(world, attached, session.ttl_seconds)
    terminal: Any = None
    if sitting is not None:
        terminal = live.Terminal(None)
        rows, columns = live.size()
        if not attached.fresh:  # what fills the screen draws itself again when its size changes
            sitting.keys.resize(max(1, rows - 1), columns)
        sitting.keys.resize(rows, columns)
        signal.signal(signal.SIGWINCH, lambda *_: sitting.keys.resize(*live.size()))
    here.standing = f"the terminal goes on: rdev session attach {session.id}"
    try:
        return _followed(world, command, streams, sitting, every=min(_TOUCH, session.idle_seconds / 3))
    finally:
        if sitting is not None:
            sitting.end()
        for stream in streams:
            stream.close()
        if terminal is not None:
            terminal.restore()


def _line(world: "Services", id: str, end: int) -> int:
    """Return where to begin to show what was before: at a whole line of it."""
    begin = max(0, end - _BEFORE)
    tail = world.spool.read(id, "out", begin, end - begin)
    return begin if begin == 0 else begin + tail.find(b"\n") + 1


def _followed(
    world: "Services", command: Command, streams: tuple[live.Stream, live.Stream], sitting: _Sitting | None, *, every: float
) -> Command | None:
    seen, touched = (-1, -1), world.clock.monotonic()
    while True:
        command, progress = commands.follow(world, command, after=seen, wait=0.2)
        seen = progress.stdout, progress.stderr
        for stream, end in zip(streams, seen, strict=True):
            stream.pour(end)
        if command.state not in OPEN:
            return command
        if world.stop.is_set() or (sitting is not None and sitting.left.is_set()):
            return None
        if world.clock.monotonic() - touched > every:
            touched = world.clock.monotonic()
            sessions.touch(world, command.session_id)


def attach(ctx: typer.Context, here: Hand, session: str, *, look: bool) -> int:
    """Attach to a session's terminal and return what to exit with."""
    from rdev_cli.domain.command import CommandKind, status  # noqa: PLC0415
    from rdev_cli.faces.cli.running import run, tell  # noqa: PLC0415

    if not (sys.stdout.isatty() and (look or sys.stdin.isatty()) and here.human):
        raise Conflict(
            "this needs a terminal in front of it",
            hint=f"rdev session exec {session} -- COMMAND runs something in the session; rdev session events {session} tells what happens",
            code="USAGE",
        )
    world = here.world()
    rows, columns = live.size()
    attached = terminals.attach(world, session, rows=rows, columns=columns)
    for note in attached.notes:
        say(f"note: {note}")
    say(
        f"{attached.command.id} in {attached.place.session_id}; "
        + ("Ctrl-C" if look else "ctrl-p ctrl-q, or ~. on a new line,")
        + " leaves it"
    )
    sitting = sit(here, world, attached, look=look)
    if sitting is None:
        write(sys.stderr, "\n")
        say(f"you left; it goes on: rdev session attach {attached.place.session_id}")
        return 0
    if sitting.exit_code == terminals.NO_TOOL and not world.spool.read(sitting.id, "out", 0, 1):
        say("note: the image has no script(1), so this terminal ends with its connection and cannot be found again")
        argv = ("sh", "-c", 'exec "$(command -v bash || command -v sh)" -i')
        return run(ctx, here, project=attached.place.session_id, kind=CommandKind.SHELL, argv=argv, stdin=True, terminal=True)
    with contextlib.suppress(BrokenPipeError):
        tell(sitting)
    return status(sitting)
