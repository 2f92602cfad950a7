"""What rdev asks of this machine's files, to copy from and to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from typing import BinaryIO

    from rdev_cli.domain.files import Entry, Parts


class Writing(Protocol):
    """A file that is being written beside its place."""

    def write(self, data: bytes) -> None:
        """Append bytes; Unavailable NO_ROOM if the disk does not take them."""
        ...

    def keep(self, *, executable: bool) -> None:
        """Put it in its place whole, durable and with the mode 0644 or 0755; Conflict if what stands there is no file.

        Nothing stays of one that is neither kept nor dropped.
        """
        ...

    def drop(self) -> None:
        """Forget it."""
        ...


class Target(Protocol):
    """Where a copy goes. Nothing outside of it is ever written, whatever anybody puts in the way meanwhile; no link is followed."""

    place: str  # where it went, as a person calls it

    def begin(self, name: str, *, tree: bool, merge: bool, total: int) -> None:
        """Check what can be checked, then make the top: below the target under that name if the target is a folder, else the target.

        An empty name means the target itself. Conflict NOT_EMPTY for a folder that is not empty (unless `merge`) and for something
        else in its place, Unavailable NO_ROOM if `total` bytes do not fit; then nothing was written.
        """
        ...

    def folder(self, path: Parts) -> None:
        """Make a folder unless it is there; Conflict if something else is, Invalid for a name that cannot be."""
        ...

    def file(self, path: Parts) -> Writing:
        """Begin a file; Conflict if its folder is none (a link is none), Invalid for a name that cannot be."""
        ...


class Source(Protocol):
    """What is copied from: one file, or a folder. Below it no link is followed."""

    name: str  # its own, empty for what is in a folder and for stdin
    tree: bool

    def walk(self) -> Iterator[Entry]:
        """Yield everything there is, each folder before what is in it and its files together; of one file the file alone."""
        ...

    def read(self, entry: Entry) -> AbstractContextManager[BinaryIO]:
        """Open a file; Conflict if it is none any more, Denied if it cannot be read."""
        ...


class Files(Protocol):
    """The files of this machine, as the caller may read and write them; `-` is stdin or stdout."""

    def target(self, path: str) -> AbstractContextManager[Target]:
        """Look at where a copy shall go; nothing is written yet.

        NotFound if its folder is not there, Denied if that is another user's or cannot be written in, Unavailable NO_ROOM if it is full.
        """
        ...

    def source(self, path: str) -> AbstractContextManager[Source]:
        """Open what shall be copied; NotFound, Denied, or Invalid if it is neither file nor folder."""
        ...
