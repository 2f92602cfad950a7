"""Looking on while checks are run: each line's output as it comes, and what came of it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rdev_cli.domain.command import OPEN, Command, Progress
from rdev_cli.domain.review import CheckRun
from rdev_cli.domain.values import spoken
from rdev_cli.faces.cli.face import Hand, say

if TYPE_CHECKING:
    from rdev_cli.faces.cli.live import Stream
    from rdev_cli.wiring.services import Services


def audience(here: Hand, world: "Services") -> "Onlooker | None":
    """Return what tells a person, or whoever reads lines of JSON, how checks go on; None for whoever wants the answer alone."""
    here.standing = "the pod of the checks may still be there: rdev gc ends it"
    return Onlooker(here, world) if here.human or here.output == "jsonl" else None


def came_to(run: CheckRun) -> str:
    """Return in a word or two what came of a line."""
    if run.reason:
        words = {
            "skipped": "not run",
            "timeout": "stopped at the time limit",
            "setup": "could not be started",
            "lost": "its outcome is unknown",
        }
        return words.get(run.reason, run.reason)
    return "passed" if run.exit_code == 0 else f"exit code {run.exit_code}"


def first(line: str) -> str:
    """Return the first line of a text, and how many more there are."""
    head, *more = line.split("\n")
    return f"{head} (and {len(more)} more lines)" if more else head


class Onlooker:
    """Pours the bytes of each line into our own two streams, or tells them as JSON lines."""

    def __init__(self, here: Hand, world: "Services") -> None:
        self._here, self._world = here, world
        self._streams: tuple[Stream, Stream] | None = None
        self._noted: set[str] = set()

    def noted(self, notes: Sequence[str]) -> None:
        """Tell a person what was not told yet."""
        for note in notes if self._here.human else ():
            if note not in self._noted:
                say(f"note: {note}")
                self._noted.add(note)

    def began(self, step: str, line: str, command: Command) -> None:
        """Say which line begins."""
        from rdev_cli.faces.cli import live  # noqa: PLC0415 -- with the work, not with help

        if self._here.human:
            say(f"--- {step}" + (f": {first(line)}" if first(line) != step else ""))
            self._streams = live.both(self._world, command.id)
        else:
            self._streams = live.lines(self._world, command)

    def came(self, command: Command, progress: Progress) -> None:
        """Hand on what came since the last time."""
        last = command.state not in OPEN
        if self._streams is not None:
            self._streams[0].pour(progress.stdout, last=last)
            self._streams[1].pour(progress.stderr, last=last)
        if last:
            self._close()
            if not self._here.human:
                from rdev_cli.domain.codec import to_json  # noqa: PLC0415 -- only for who reads lines
                from rdev_cli.domain.lines import ended  # noqa: PLC0415
                from rdev_cli.faces.cli.show import emit  # noqa: PLC0415

                emit(to_json(ended(command)))

    def ended(self, run: CheckRun) -> None:
        """Say what came of it."""
        if self._here.human:
            took = f" ({spoken(run.duration_ms / 1000)})" if run.command else ""
            say(f"--- {run.step}: {came_to(run)}{took}")

    def _close(self) -> None:
        for stream in self._streams or ():
            stream.close()
        self._streams = None
