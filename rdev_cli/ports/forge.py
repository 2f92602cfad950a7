"""What rdev asks of a place that keeps repositories."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager
    from typing import BinaryIO

    from rdev_cli.domain.project import Project
    from rdev_cli.domain.standing import Commit
    from rdev_cli.ports.timing import Stop


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """Where a commit went: fast-forward onto `branch`, or to a rescue branch when both sides had moved on."""

    branch: str
    rescued: bool


class Forge(Protocol):
    """Repositories. Nothing here is ever forced: a branch moves forward or stays."""

    def url(self, project: str) -> str:
        """Return what `git clone` takes."""
        ...

    def ensure_repository(self, project: Project) -> None:
        """Make the project's empty repository unless it is there; Conflict if the name is somebody else's."""
        ...

    def seed(self, project: Project, files: Mapping[str, tuple[bytes, bool]]) -> None:
        """Put one first commit of these files (path -> content, executable) on the branch, unless it has one."""
        ...

    def check_source(self, source: str, stop: Stop) -> str:
        """Return the source in the form in which it is recorded; Invalid, with the reason, if it cannot be one.

        A URL is not contacted; a folder is looked at for at most 5 seconds (TimedOut).
        """
        ...

    def take(self, project: Project, source: str, stop: Stop) -> str:
        """Bring history and branches of a source (a checked one) in; return the name of its main branch.

        Unavailable if it does not answer, Invalid if it holds no commit, Failed if its objects are not sound.
        """
        ...

    def head(self, project: Project) -> str:
        """Return the commit that the branch points at, empty if there is none."""
        ...

    def bundle(self, project: Project) -> AbstractContextManager[BinaryIO]:
        """Give the branch as a git bundle, open for reading."""
        ...

    def receive(self, project: Project, bundle: BinaryIO, *, sha: str, rescue: str) -> Delivery:
        """Verify (fsck) a bundle that a pod made, and bring its commit `sha` onto the branch or onto `rescue`.

        Repeating it changes nothing. Failed if the bundle is not what it says.
        """
        ...

    def sweep(self, project: Project) -> None:
        """Remove what deliveries that were killed left behind; the caller holds the project or its work tree."""
        ...

    def commit(self, project: Project, sha: str) -> Commit | None:
        """Return a commit with what it changed; None if there is no such commit.

        Whatever a commit says about itself is shown: a date that is none becomes the earliest or the latest there is.
        """
        ...

    def delete_repository(self, project: Project) -> bool:
        """Remove the repository; return whether there was one. Only this installation's."""
        ...
