"""What rdev asks of git on the user's own machine: clones that a checkout lives in. Nothing in one of them ever runs a program."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rdev_cli.domain.checkout import Copy, Mark
    from rdev_cli.domain.values import Secret


class Copies(Protocol):
    """Clones on this machine. Every call may be repeated; Unavailable TOOL_MISSING where there is no git."""

    def claim(self, folder: str, mark: Mark) -> tuple[str, Mark]:
        """Make the folder and write the mark into it; return its whole path, and the mark that counts.

        A folder whose clone for the same was not finished keeps its mark. Conflict FOLDER_TAKEN, and nothing is changed, if anything
        else is there; NotFound if its parent is not.
        """
        ...

    def clone(self, folder: str, mark: Mark, *, base: str, helper: Sequence[str], account: str, token: Secret) -> None:
        """Fill a claimed folder anew: all branches, `mark.branch` made at `base` and checked out, and `helper` asked for credentials from now on.

        The token reaches git alone, for this once, and stands in no file, no URL and no argv. Unavailable if the forge does not answer.
        """
        ...

    def undo(self, folder: str, checkout: str) -> None:
        """Remove a folder whose clone was not finished; one that is whole, or another's, stays."""
        ...

    def look(self, folder: str) -> Copy:
        """Return how the work in a folder, or in the clone above it, stands; NotFound NO_CHECKOUT if there is none."""
        ...

    def commit_staged(self, copy: Copy, message: str) -> str:
        """Commit what is staged and return the commit; the head, if nothing is. Conflict if the branch moved meanwhile."""
        ...

    def blobs_added(self, copy: Copy, base: str, sha: str) -> Iterator[tuple[str, int, bytes]]:
        """Yield (path, size, beginning) of each file content that `sha` has in its history and `base` has not, as the Forge port does."""
        ...

    def push(self, copy: Copy, sha: str, *, url: str, branch: str, account: str, token: Secret) -> None:
        """Bring a commit onto a branch in the forge, fast-forward or not at all. Where that is, the caller says: a mark may be anybody's.

        Conflict HEAD_MOVED if the branch there has other commits, Denied PUSH_REFUSED if it may not be written, Unavailable if nobody answers.
        """
        ...

    def forget(self, folder: str) -> None:
        """Make a plain clone of it: no helper, no mark. What it holds stays."""
        ...
