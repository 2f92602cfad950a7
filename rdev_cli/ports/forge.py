"""What rdev asks of a place that keeps repositories."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from datetime import datetime
    from typing import BinaryIO

    from rdev_cli.domain.project import Project
    from rdev_cli.domain.report import Check
    from rdev_cli.domain.review import Pull
    from rdev_cli.domain.standing import Commit
    from rdev_cli.domain.values import Secret
    from rdev_cli.ports.timing import Stop

ONE_FILE = 1 << 20  # the most that `read` gives, and that `blobs_added` gives of one
PATCH = 1 << 20  # the most of a patch that `changes` keeps, unless its caller says otherwise


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """Where a commit went: fast-forward onto `branch`, or to a rescue branch when both sides had moved on."""

    branch: str
    rescued: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """A branch, and where it stands."""

    name: str
    sha: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """A branch that went from one commit to another; empty where it was or is not there."""

    name: str
    old: str
    new: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A file that a change touches; what is binary has no lines, what is gone no size."""

    path: str  # bytes that are no UTF-8 stand as surrogates
    added: int
    removed: int
    binary: bool
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What lies between two commits, as git prints it."""

    files: tuple[Change, ...]
    patch: bytes  # its beginning
    cut: bool  # there is more
    patch_sha256: str  # of all of it


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Leave to write one branch for a while; the name says whose it is and until when: `rdev-co-<8 of the checkout's id>-<unix time>`."""

    name: str
    branch: str
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Admitted:
    """Who may write now: the account and its token, both empty where a forge has none; what each push of it must say, if anything."""

    account: str
    token: Secret
    push_option: str = ""


def access_name(checkout: str, expires_at: datetime) -> str:
    """Return the name under which a forge knows the holder of a checkout."""
    return f"rdev-co-{checkout[-8:]}-{int(expires_at.timestamp())}"


Gate = Callable[[Iterable[tuple[str, int, bytes]]], None]  # looks at contents: each one's path, its size, and its beginning


class Forge(Protocol):
    """Repositories. Nothing here is ever forced: a branch moves forward or stays.

    Everything on commits takes whole ids; NotFound for a commit that is not there. All of it may be repeated.
    """

    @property
    def accounts(self) -> bool:
        """Whether it has accounts of its own, so that a credential can be made for somebody."""
        ...

    def url(self, project: str) -> str:
        """Return what `git clone` takes."""
        ...

    def ready(self, project: Project) -> None:
        """Raise what `ensure_repository` would, making nothing: Conflict for a name that is somebody else's, Denied, Unavailable."""
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

    def bundle(self, project: Project, commit: str = "") -> AbstractContextManager[BinaryIO]:
        """Give the branch as a git bundle, open for reading; with `commit` it is at that commit in there, and nowhere else."""
        ...

    def receive(self, project: Project, bundle: BinaryIO, *, sha: str, rescue: str, gate: Gate | None = None) -> Delivery:
        """Verify (fsck) a bundle that a pod made, and bring its commit `sha` onto the branch or onto `rescue`.

        `gate` looks at each file content that is new to the branch, before anything of it is kept; what it raises refuses the bundle.

        Repeating it changes nothing. A rescue branch that holds something else stays as it is: the next free of `rescue-2`, `-3` …
        takes the commit. Failed if the bundle is not what it says.
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

    # branches

    def branches(self, project: Project) -> Sequence[Branch]:
        """Return the branches, by name."""
        ...

    def find_branch(self, project: Project, name: str) -> str:
        """Return the commit that a branch is at, empty if there is none of that name."""
        ...

    def ensure_branch(self, project: Project, name: str, sha: str) -> None:
        """Make a branch at a commit; Conflict BRANCH_EXISTS if it is there at another."""
        ...

    def delete_branch(self, project: Project, name: str, sha: str) -> bool:
        """Remove a branch that is still at `sha`; return whether it was there.

        Conflict BRANCH_MOVED if it is elsewhere, BRANCH_PROTECTED if it is the project's own or the forge keeps it for now.
        """
        ...

    # what commits hold

    def tree(self, project: Project, sha: str) -> str:
        """Return the id of a commit's tree."""
        ...

    def read(self, project: Project, sha: str, path: str) -> bytes | None:
        """Return a regular file of a commit; None if there is none there, a link and what a link leads to neither.

        Invalid TOO_LARGE above ONE_FILE bytes.
        """
        ...

    def ancestor(self, project: Project, old: str, new: str) -> bool:
        """Say whether `new` has `old` in its history, or is it; False where one of them is not there."""
        ...

    def merge_base(self, project: Project, a: str, b: str) -> str:
        """Return the best common ancestor of two commits, empty if they have none."""
        ...

    def changes(self, project: Project, base: str, sha: str, *, most: int = PATCH) -> Changes:
        """Return what changes from `base` to `sha`, with at most `most` bytes of the patch. What the repository says of itself counts for nothing."""
        ...

    def blobs_added(self, project: Project, base: str, sha: str) -> Iterator[tuple[str, int, bytes]]:
        """Yield (path, size, first ONE_FILE bytes) of each file content that `sha` has in its history and `base` has not.

        Invalid TOO_LARGE, before the first of them, if that is more than can be looked at.
        """
        ...

    # pull requests

    def open_pull(self, project: Project, *, head: str, base: str, title: str, body: str) -> Pull:
        """Open a pull request from branch to branch; one that is open already is returned as it is."""
        ...

    def pull(self, project: Project, number: int) -> Pull:
        """Return a pull request; NotFound if there is none of that number."""
        ...

    def find_pull(self, project: Project, head: str, base: str) -> Pull | None:
        """Return the open pull request from one branch to another, None if there is none."""
        ...

    def comment(self, project: Project, number: int, text: str) -> None:
        """Say something under a pull request."""
        ...

    def merge(self, project: Project, pull: Pull, *, sha: str, message: str) -> Pull:
        """Merge a pull request whose head is still at `sha`; one that is merged is returned as it is.

        Conflict HEAD_MOVED if it is elsewhere, MERGE_CONFLICT (its context names the files) if both sides changed the same, PULL_CLOSED.
        """
        ...

    def close_pull(self, project: Project, number: int) -> None:
        """Close a pull request without merging it; one that is not open stays as it is."""
        ...

    # who else may write

    def admit(self, project: Project, access: Access) -> Admitted:
        """Let somebody write one branch, and no other one and no tag, under a credential that reaches nothing else.

        Every other branch is protected before the credential exists. The same again replaces the token.
        Conflict if a rule that people made would let it write elsewhere; Denied if rdev itself may not make accounts.
        """
        ...

    def extend(self, project: Project, access: Access) -> str:
        """Let who was admitted go on until `access.expires_at`; return the name from then on. NotFound if nobody has the name any more.

        `access.name` is the old name, or already the new one.
        """
        ...

    def dismiss(self, name: str) -> bool:
        """Take everything away that `admit` gave, under whichever time the name ends in; return whether there was anything."""
        ...

    def admitted(self) -> Sequence[Access]:
        """Return everybody that this installation let in and did not dismiss, as the forge knows them."""
        ...

    # the forge itself

    def checks(self) -> Sequence[Check]:
        """Prove that it answers, knows rdev and lets it do what it must; asks the forge, changes nothing there."""
        ...

    def ensure_hook(self, project: Project, url: str, secret: Secret) -> None:
        """Have the forge tell `url` what happens to the repository, signed; nothing where a forge tells nobody."""
        ...

    def drop_hook(self, project: Project, url: str) -> None:
        """Have it tell that no more."""
        ...

    def news(self, project: Project) -> Sequence[Moved]:
        """Return how the branches moved since what was `told` last, as the forge has them now; nothing where a forge tells nobody."""
        ...

    def told(self, project: Project, moved: Sequence[Moved]) -> None:
        """Remember what of it was told."""
        ...
