"""Terminals that outlive whoever sits at them: one in a session at a time, for as many people as want it."""

from __future__ import annotations

import os
import threading
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from rdev_cli.domain.command import OPEN, TERMINAL, Command, CommandKind, CommandState, Launch
from rdev_cli.domain.errors import Unavailable
from rdev_cli.domain.values import CommandId
from rdev_cli.ops import commands, known
from rdev_cli.ops.ensure import lease
from rdev_cli.ops.ledger import Scope, operation

if TYPE_CHECKING:
    from typing import BinaryIO

    from rdev_cli.domain.project import Project
    from rdev_cli.ports import World

NO_TOOL = 127  # how a terminal ends that the image has no script(1) for
# A shell in a terminal of script(1). Its keys come through a pipe with a name, which has no end when those who typed have left; so does its size.
_TERMINAL = """
command -v script >/dev/null && command -v mkfifo >/dev/null || exit 127
RDEV_DIR=$HOME/.rdev-terminal-$1 RDEV_ROWS=$2 RDEV_COLS=$3
export RDEV_DIR RDEV_ROWS RDEV_COLS
umask 077
mkdir "$RDEV_DIR" && mkfifo "$RDEV_DIR/keys" "$RDEV_DIR/size" || exit 1
umask 022
TERM=${TERM:-xterm-256color} SHELL=$(command -v bash || command -v sh)
[ "$TERM" != dumb ] || TERM=xterm-256color
export TERM SHELL
script -qefc '
  tty=$(tty)
  stty rows "$RDEV_ROWS" cols "$RDEV_COLS"
  (exec 3<>"$RDEV_DIR/size" >/dev/null 2>&1; while read -r rows cols <&3; do stty rows "$rows" cols "$cols" <"$tty"; done) &
  sizes=$! dir=$RDEV_DIR
  unset RDEV_DIR RDEV_ROWS RDEV_COLS
  "$SHELL" -i
  code=$?
  kill "$sizes"
  rm -rf "$dir"
  exit "$code"
' /dev/null 0<>"$RDEV_DIR/keys"
"""
# stdin: a line for each piece that was typed, as printf's %b takes it, or for a new size. 3: there is no such terminal
_KEYS = """
dir=$HOME/.rdev-terminal-$1 turn=0
until [ -p "$dir/keys" ] && [ -p "$dir/size" ]; do
  turn=$((turn + 1))
  [ "$turn" -lt 100 ] || exit 3
  sleep 0.1 || sleep 1
done
exec 4<>"$dir/keys" 5<>"$dir/size"
while IFS= read -r line; do
  case $line in
    .*) printf %b "${line#.}" >&4 ;;
    size*) printf '%s\\n' "${line#size }" >&5 ;;
  esac
done
"""
_ESCAPES = [bytes((byte,)) if 0x20 <= byte < 0x7F and byte != 0x5C else b"\\0%03o" % byte for byte in range(256)]


@dataclass(frozen=True, slots=True)
class Attached:
    """A terminal that runs, where it does, and words for people; `fresh`: it was begun just now."""

    command: Command
    place: Project
    fresh: bool
    notes: tuple[str, ...] = ()


@operation("session.attach", Scope.SESSIONS_EXECUTE)
def attach(world: World, session: str, *, rows: int = 24, columns: int = 80) -> Attached:
    """Sit down at a session's terminal, which goes on when you leave: ctrl-p ctrl-q, or ~. at the beginning of a line.

    It is found again by the same command, by anybody who may; its shell ends it, and so does the end of the session. It is a command
    like others: command list has it, and what it showed is kept. While nobody sits at it, it does not keep the session from ending.
    """
    # where the image has no script(1) it ends at once with NO_TOOL
    place = known.ready(world, known.session(world, session).id)
    with lease(world, f"session:{place.session_id}"):
        commands.reconcile(world, place.name)
        for one in world.store.commands(session=place.session_id, states=OPEN, limit=1000):
            if one.is_terminal:
                return Attached(one, place, fresh=False)
        mark = os.urandom(8).hex()
        command = Command(
            id=CommandId(world.new_id("cmd")), project=place.name, project_id=place.owner_id, session_id=place.session_id,
            kind=CommandKind.SHELL, argv=(TERMINAL, mark), state=CommandState.RUNNING, actor=world.actor, created_at=world.clock.now(),
            network=place.network,
        )  # fmt: skip
        launch = Launch(id=command.id, argv=("sh", "-c", _TERMINAL, "rdev", mark, str(int(rows)), str(int(columns))), network=place.network)
        begun = commands.start(world, place, command, launch)
    return Attached(begun.command, place, fresh=True, notes=begun.notes)


class Keys:
    """What is typed at a terminal, on its way there: a file of lines that has an end when whoever typed leaves."""

    def __init__(self) -> None:
        self._lines, self._come, self._over = deque[bytes](), threading.Condition(), False

    def type(self, data: bytes) -> None:
        """Send bytes as they were typed."""
        for at in range(0, len(data), 1024):
            self._put(b"." + b"".join(_ESCAPES[byte] for byte in data[at : at + 1024]) + b"\n")

    def resize(self, rows: int, columns: int) -> None:
        """Send a new size."""
        self._put(b"size %d %d\n" % (rows, columns))

    def leave(self) -> None:
        """Say that this was all."""
        with self._come:
            self._over = True
            self._come.notify()

    def _put(self, line: bytes) -> None:
        with self._come:
            self._lines.append(line)
            self._come.notify()

    def read(self, most: int = -1) -> bytes:  # noqa: ARG002 -- a file's; a piece is small
        """Return what has come, waiting for something; nothing at the end."""
        with self._come:
            while not self._lines and not self._over:
                self._come.wait()
            data = b"".join(self._lines)
            self._lines.clear()
            return data


def send(world: World, attached: Attached, keys: Keys, *, seconds: int) -> None:
    """Carry keys to a terminal until their end, for at most so long; Unavailable if they do not arrive: the terminal goes on."""
    argv = ("sh", "-c", _KEYS, "rdev", attached.command.argv[1])
    ran = world.cluster.run(attached.place, argv, stdin=cast("BinaryIO", keys), timeout=seconds)
    if ran.code != 0:
        raise Unavailable("the terminal takes no keys any more", hint=f"rdev session attach {attached.place.target}", code="NO_TERMINAL")
