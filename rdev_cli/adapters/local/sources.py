"""Files and trees of this machine that are copied from: below the top no link is followed, and only regular files are opened."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, BinaryIO, cast

from rdev_cli.adapters.local.trees import LastFolder, down, said
from rdev_cli.domain.errors import Conflict, Denied, Invalid, NotFound
from rdev_cli.domain.files import Entry, Left, git_like, in_git

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rdev_cli.domain.files import Parts


class TreeSource:
    """The Source port on a file or a folder, opened once."""

    def __init__(self, path: str, stack: ExitStack) -> None:
        full = os.path.realpath(path)
        if any(git_like(part) for part in full.split("/")):
            raise in_git(path)
        try:
            self._top = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError) as e:
            raise NotFound(f"there is no {path} here", hint="name a file or a folder that is there", path=path) from e
        except OSError as e:
            if e.errno == errno.ENXIO:  # a socket
                raise _odd(path) from e
            raise Denied(f"cannot read {path}: {e.strerror}", hint="give the right to it", path=path) from e
        stack.callback(os.close, self._top)
        self._stat = os.fstat(self._top)
        self.tree = stat.S_ISDIR(self._stat.st_mode)
        if not self.tree and not stat.S_ISREG(self._stat.st_mode):
            raise _odd(path)
        self.name = "" if self.tree and os.path.basename(path) == "." else os.path.basename(path.rstrip("/") if path.strip("/") else full)
        if self.name == "..":
            self.name = os.path.basename(full)
        self._folder = LastFolder()
        stack.callback(self._folder.close)

    def walk(self) -> Iterator[Entry]:
        if not self.tree:
            yield _entry((), self._stat)
            return
        waiting: list[Parts] = [()]
        while waiting:
            path = waiting.pop()
            try:
                folder = down(self._top, path)
            except OSError as e:
                yield Entry(path=path, left=Left.UNREADABLE if e.errno == errno.EACCES else Left.CHANGED)
                continue
            try:
                names = sorted(os.listdir(folder))
                found = [(name, _looked_at(name, folder)) for name in names]
            finally:
                os.close(folder)
            if path:
                yield Entry(path=path, folder=True)
            below = []
            for name, there in found:
                if there is None:
                    continue
                if stat.S_ISDIR(there.st_mode) and not git_like(name):
                    below.append((*path, name))
                else:
                    yield _entry((*path, name), there)
            waiting += reversed(below)

    @contextmanager
    def read(self, entry: Entry) -> Iterator[BinaryIO]:
        what = "/".join(entry.path) or self.name
        try:
            if entry.path:
                flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
                fd = os.open(entry.path[-1], flags, dir_fd=self._folder.of(self._top, entry.path))
            else:
                os.lseek(self._top, 0, os.SEEK_SET)
                fd = os.dup(self._top)
        except OSError as e:
            raise said(e, what) from e
        with os.fdopen(fd, "rb", buffering=0) as file:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise Conflict(f"{what} is no file any more", hint="copy it again", path=what)
            yield cast("BinaryIO", file)


def _odd(path: str) -> Invalid:
    return Invalid(f"{path} is neither a file nor a folder", hint="only these are copied", field="source")


def _looked_at(name: str, folder: int) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _entry(path: Parts, there: os.stat_result) -> Entry:
    mode = there.st_mode
    if path and git_like(path[-1]):
        return Entry(path=path, left=Left.GIT)
    if not stat.S_ISREG(mode):
        return Entry(path=path, left=Left.LINK if stat.S_ISLNK(mode) else Left.SPECIAL)
    return Entry(path=path, size=there.st_size, executable=bool(mode & 0o111))
