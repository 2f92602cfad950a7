"""What rdev asks of a place that runs pods."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from typing import BinaryIO

    from rdev_cli.domain.command import Launch, Progress
    from rdev_cli.domain.log import LogSpec, PodLog
    from rdev_cli.domain.project import Project
    from rdev_cli.domain.report import Check
    from rdev_cli.domain.resource import Inventory, Owned


class Input(Protocol):
    """The stdin of a command that was started with one."""

    def write(self, data: bytes) -> bool:
        """Hand over bytes in order, blocking; False once the command reads no more."""
        ...

    def finish(self) -> None:
        """Say that this was all: only now may the command see end of file."""
        ...

    def give_up(self) -> None:
        """Close it before its end: the command's outcome is then unknown."""
        ...

    def resize(self, rows: int, columns: int) -> None:
        """Tell a terminal its new size."""
        ...


class Channel(Protocol):
    """A connection to a port in a pod: a stream socket of this machine, whatever stands behind it."""

    def detach(self) -> int:
        """Hand over the descriptor; closing that one closes all of it."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """A command that runs; `note` says in which way the place falls short of what was asked, else empty."""

    input: Input | None = None
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """A short command of rdev's own, run to its end."""

    code: int
    stderr: bytes


class Cluster(Protocol):
    """Pods and the runner in them. Every call is safe to repeat."""

    here: bool  # True: programs are this machine's; False: they are an image's
    isolated: bool  # False: a command can touch what its user can touch

    def ready(self) -> None:
        """Raise what keeps pods from being made here: Unavailable TOOL_MISSING, with the line that installs it."""
        ...

    def ensure_pod(self, project: Project) -> bool:
        """Make the project's pod unless it is there; return whether it was made. Unavailable if it cannot.

        It is present only once it is marked: until then its work tree may be empty or half filled, and no command of a user runs in it.
        """
        ...

    def mark_pod(self, project: Project, commit: str) -> None:
        """Write on the pod that its work tree is filled, and which commit of the forge it had last."""
        ...

    def pod_present(self, project: Project) -> bool:
        """Say whether there is a marked pod; Conflict if it is another's."""
        ...

    def pod_commit(self, project: Project) -> str:
        """Return the commit that the pod was marked with, empty if nobody knows. Cheap: asked before every command."""
        ...

    def image(self, project: Project) -> str:
        """Return what the project's pod was made of: an image with its digest, or `local` where programs are this machine's; empty if it is gone."""
        ...

    def pod_kept(self, project: Project) -> bool:
        """Say whether a pod that is missing would find its filled work tree again, if it were made anew; Conflict if that is another's."""
        ...

    def sweep(self, project: Project) -> None:
        """End and remove what rdev's own short commands left when it was killed; the caller holds the project or its work tree."""
        ...

    def delete_pod(self, project: Project) -> bool:
        """Remove the pod with its workspace and home, and all else that is the project's here; return whether there was anything.

        Only this installation's. Everything is attempted: Partial joins what failed, and its `objects` tell of each thing whether it
        was deleted, absent or failed, and why.
        """
        ...

    def owned(self) -> Inventory:
        """Return everything here that carries this installation's id: all of it, or it raises."""
        ...

    def others(self) -> Sequence[Owned]:
        """Return the project pods here that carry another installation's id, or none."""
        ...

    def remove(self, thing: Owned) -> bool:
        """Remove exactly this thing; False if it is gone. Conflict CHANGED, and it lives, if it is another now or was changed since."""
        ...

    def hand_over(self, pod: Owned, *, installation: str, project: str, id: str) -> None:
        """Write other marks of ownership on a pod and on all that belongs to it; Conflict CHANGED if they are not those any more that it names.

        Repeating it changes nothing.
        """
        ...

    def start(self, project: Project, launch: Launch) -> Started:
        """Start a durable command; the same id again starts nothing and looks at the first.

        The command outlives the caller. Unavailable or Invalid if it could not be started.
        """
        ...

    def advance(self, project: Project, id: str, *, after: tuple[int, int] = (-1, -1), wait: float) -> Progress:
        """Bring the local spool up to date, waiting at most `wait` seconds for news: bytes beyond `after` (stdout, stderr), or the end.

        The outcome comes from the runner's exit record alone; Ending.LOST when there can be none any more: then nothing of the
        command lives, for what a killed runner left is ended first.
        """
        ...

    def stop(self, project: Project, id: str, reason: str) -> None:
        """Ask the runner to end the command's group: TERM, the grace, KILL. `reason`: cancelled or timeout."""
        ...

    def signal(self, project: Project, id: str, number: int) -> None:
        """Send a signal to the command's group."""
        ...

    def run(
        self,
        project: Project,
        argv: Sequence[str],
        *,
        stdin: BinaryIO | None = None,
        stdout: BinaryIO | None = None,
        timeout: float,
    ) -> Ran:
        """Run rdev's own short command in the pod (no network) to its end, bytes in and out exact."""
        ...

    def dial(self, project: Project, port: int, *, timeout: float) -> Channel:
        """Connect to a port that a program of this pod listens at, on the pod's own loopback or on all its addresses.

        Only ever to this pod, which is looked at before and after: NotFound NO_POD if it is not there or another's. Unavailable NOT_LISTENING
        if nothing of it listens there; where only the far end knows that, the channel ends without a byte. Unavailable NO_NETWORK
        where a pod without network has no way in.
        """
        ...

    def expose(self, project: Project, host: str) -> None:
        """Lead a host name to rdev's own server, where the place has a word for that. Repeating it changes nothing."""
        ...

    def conceal(self, project: Project, host: str = "") -> None:
        """Take away what leads this name to rdev's server, or every name of the pod; nothing happens if there is none."""
        ...

    def log(self, project: Project, spec: LogSpec, *, after: str, most: int) -> PodLog | None:
        """Return what the pod's own log holds after a position (empty: from its beginning), None where pods have none. Never waits for more.

        At most the last `most` bytes of it. NotFound if there is no such log.
        """
        ...

    def attempt(self, argv: Sequence[str], *, tools: Sequence[str], network: bool, timeout: float) -> tuple[int, bytes]:
        """Run a program in an empty throwaway pod that sees `tools`; return its exit code and what it printed (64 KiB)."""
        ...

    def checks(self) -> Sequence[Check]:
        """Prove from inside what isolation is really in force."""
        ...


class Spool(Protocol):
    """Where the output of commands is kept on this machine (7 days, bounded)."""

    def path(self, id: str, stream: str) -> Path:
        """Return the file of a stream (`out` or `err`), which may not exist yet."""
        ...

    def read(self, id: str, stream: str, offset: int, limit: int) -> bytes:
        """Return at most `limit` bytes of a stream from a byte on, empty where there is none."""
        ...

    def drop(self, id: str) -> None:
        """Forget a command's output."""
        ...

    def sweep(self, keep: Callable[[], Sequence[str]]) -> int:
        """Forget what is older than 7 days, and the oldest of what is over the bound, but nothing that `keep` names.

        At most once an hour; returns how many commands were forgotten.
        """
        ...
