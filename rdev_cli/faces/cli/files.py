"""rdev cp."""

import re
import sys
import threading
from typing import Annotated

import typer

from rdev_cli.domain.errors import Invalid, RdevError
from rdev_cli.domain.files import CopySpec, Left, Tally
from rdev_cli.domain.values import shown, sized
from rdev_cli.faces.cli.arguments import Limit, one
from rdev_cli.faces.cli.face import Placed, does, duration, hand, noun, say
from rdev_cli.faces.cli.show import show
from rdev_cli.ops import files

app = noun("")

_WORDS = {Left.LINK: "links", Left.SPECIAL: "special files", Left.GIT: "what is git's own"}


class _Progress(threading.Thread):
    """Says how far a copy is, once a second after the first, in one line of a terminal."""

    def __init__(self, tally: Tally) -> None:
        super().__init__(daemon=True)
        self._tally, self._over, self._wrote = tally, threading.Event(), False
        self.start()

    def run(self) -> None:
        """Say it until `end`."""
        while not self._over.wait(1.0):
            tally = self._tally
            of = f" of {sized(tally.total)}" if tally.total is not None else ""
            sys.stderr.write(f"\r\x1b[K{tally.files} files, {sized(tally.bytes)}{of}")
            sys.stderr.flush()
            self._wrote = True

    def end(self) -> None:
        """Take the line away."""
        self._over.set()
        self.join()
        if self._wrote:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


@does(
    app,
    "cp",
    files.copy,
    "cp",
    epilog="rdev cp shop:dist . · rdev cp site/. shop:public --merge · rdev cp shop:app.log - | less",
    cls=Placed,
)
def cp(
    ctx: typer.Context,
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="PROJECT:PATH, or what is on this machine; - is stdin.", show_default=False)
    ],
    target: Annotated[
        str, typer.Argument(metavar="TARGET", help="Where it goes: the other one of the two; - is stdout.", show_default=False)
    ],
    merge: Annotated[
        bool, typer.Option("--merge", help="Copy into a folder that is not empty, and replace files of the same name.")
    ] = False,
    timeout: Limit = None,
) -> None:
    here = hand(ctx)
    limit = duration(timeout, "timeout")
    there, out = _there(source), True
    if there is None:
        there, out = _there(target), False
    elif _there(target) is not None:
        raise typer.BadParameter("one of the two is on this machine: copy it there first", param_hint="'TARGET'")
    if there is None:
        raise typer.BadParameter("one of the two is PROJECT:PATH", param_hint="'TARGET'")
    local = target if out else source
    if out and local == "-" and not here.human:
        raise Invalid("the file goes to stdout, so the answer cannot", hint="leave out -o, or name a file", code="USAGE")
    project = one(ctx, there[0] or None)
    spec = CopySpec(project=project, path=there[1], here=local, out=out, merge=merge, timeout_seconds=limit)
    tally = Tally()
    progress = _Progress(tally) if here.human and sys.stderr.isatty() else None
    try:
        copied = files.copy(here.world(), spec, tally)
    except RdevError:
        if progress is not None:
            progress.end()
        _unlucky(tally, human=here.human)
        raise
    finally:
        if progress is not None and progress.is_alive():
            progress.end()
    for note in copied.notes:
        say(f"note: {note}")
    if here.human:
        for reason, words in _WORDS.items():
            named = [entry.path for entry in copied.done.skipped if entry.reason is reason]
            if named:
                say(f"left out {words}: {', '.join(shown(path) for path in named[:3])}{', ...' if len(named) > 3 else ''}")
    if local != "-" or not out:
        show(ctx, copied.done)


def _unlucky(tally: Tally, *, human: bool) -> None:
    """Name what was not copied; a program has it in the error."""
    if human and tally.failed_count > 1:
        for entry in tally.failed[:10]:
            say(f"not copied: {shown(entry.path)} ({entry.reason.value.replace('_', ' ')})")
        if tally.failed_count > 10:
            say(f"not copied: {tally.failed_count - 10} more")


def _there(text: str) -> tuple[str, str] | None:
    """Return project and path of PROJECT:PATH, the project empty for :PATH; None for a path on this machine."""
    found = re.fullmatch(r"([^/:]*):(.*)", text, re.DOTALL)
    return (found[1], found[2]) if found and not text.startswith(".") else None
