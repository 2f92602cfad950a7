"""Trees written so that nothing outside of them can be hit: by descriptors of folders, and never by paths."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

from rdev_cli.domain.errors import Conflict, Denied, Invalid, NotFound, RdevError, Unavailable
from rdev_cli.domain.files import git_like, in_git
from rdev_cli.domain.values import sized

if TYPE_CHECKING:
    from rdev_cli.domain.files import Parts
    from rdev_cli.ports.files import Writing

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_BELOW = _FOLDER | os.O_NOFOLLOW
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS)
_IN_THE_WAY = (errno.ENOTDIR, errno.ELOOP, errno.EEXIST, errno.EISDIR, errno.ENOENT, errno.ENOTEMPTY)
_NO_NAME = (errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ)


def said(error: OSError, what: str) -> RdevError:
    """Return what an error means for one entry (Conflict, Invalid, Denied) or for the whole copy (Unavailable)."""
    if error.errno in _IN_THE_WAY:
        return Conflict(f"something else is in the place of {what}", hint="move it away", code="IN_THE_WAY", path=what)
    if error.errno in _NO_NAME:
        return Invalid(f"there can be no file {what} here: {error.strerror}", hint="give it another name in the pod", field="name")
    if error.errno in (errno.EACCES, errno.EPERM):
        return Denied(f"no right to {what}", hint="give the right to it", path=what)
    return Unavailable(f"cannot write {what}: {error.strerror}", hint="make room, or copy to another disk", code="NO_ROOM", path=what)


def down(top: int, path: Parts) -> int:
    """Return a descriptor of a folder below another, reached name by name through real folders."""
    found = os.dup(top)
    try:
        for name in path:
            below = os.open(name, _BELOW, dir_fd=found)
            os.close(found)
            found = below
    except BaseException:
        os.close(found)
        raise
    return found


def _made(name: str, above: int) -> int:
    """Return a descriptor of a folder, made 0755 whatever the umask unless it is there."""
    made = True
    try:
        os.mkdir(name, 0o755, dir_fd=above)
    except FileExistsError:
        made = False
    found = os.open(name, _BELOW, dir_fd=above)
    if made:
        os.fchmod(found, 0o755)
    return found


class LastFolder:
    """The folder that was last asked for, kept open: files come folder by folder."""

    def __init__(self) -> None:
        self._path: Parts | None = None
        self._fd, self._wrote = -1, False

    def of(self, top: int, path: Parts) -> int:
        """Return the folder of a path below a top."""
        if self._path != path[:-1]:
            self.close()
            self._fd, self._path = down(top, path[:-1]), path[:-1]
        return self._fd

    def wrote(self) -> None:
        """Note that its names have to last."""
        self._wrote = True

    def close(self) -> None:
        """Make what was written last, and close it."""
        if self._fd >= 0:
            try:
                if self._wrote:
                    os.fsync(self._fd)
            finally:
                os.close(self._fd)
                self._fd, self._path, self._wrote = -1, None, False


class _Part:
    """A file beside its place."""

    def __init__(self, tree: TreeTarget, folder: int, name: str) -> None:
        self._tree, self._folder, self._name = tree, folder, name
        self._part = f".rdev-{os.urandom(8).hex()}.part"
        self._fd = os.open(self._part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=folder)

    def write(self, data: bytes) -> None:
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._fd, view) :]
        except OSError as e:
            self.drop()
            raise said(e, self._name) from e

    def keep(self, *, executable: bool) -> None:
        try:
            os.fchmod(self._fd, 0o755 if executable else 0o644)
            os.fsync(self._fd)
            if not self._tree.may_replace(self._name, self._folder):
                raise FileExistsError(errno.EEXIST, "in the way")
            os.replace(self._part, self._name, src_dir_fd=self._folder, dst_dir_fd=self._folder)
            self._tree.put(os.fstat(self._fd))
        except OSError as e:
            self.drop()
            raise said(e, self._name) from e
        os.close(self._fd)
        self._fd = -1

    def drop(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
            with suppress(OSError):
                os.unlink(self._part, dir_fd=self._folder)


class TreeTarget:
    """The Target port on a folder, opened once; everything below it is reached from its descriptor."""

    def __init__(self, path: str, stack: ExitStack) -> None:
        self.place, self._stack = path, stack
        inside = os.path.isdir(path)
        folder, self._name = (path, "") if inside else os.path.split(path.rstrip("/"))
        folder = folder or "."
        if any(git_like(part) for part in (*os.path.realpath(folder).split("/"), self._name)):
            raise in_git(path)
        try:
            self._base = os.open(folder, _FOLDER)
        except (FileNotFoundError, NotADirectoryError) as e:
            raise NotFound(f"there is no folder {folder}", hint=f"mkdir -p {folder}", path=folder) from e
        except OSError as e:
            raise Denied(f"cannot open the folder {folder}: {e.strerror}", hint="give the right to it", path=folder) from e
        stack.callback(os.close, self._base)
        self._inside, self._slash = inside, path.endswith("/") and not inside
        _fit(self._base, folder)
        self._top, self._file = self._base, self._name
        self._folder = LastFolder()
        self._part: _Part | None = None
        stack.callback(self._end)
        self._put: set[tuple[int, int]] = set()

    def begin(self, name: str, *, tree: bool, merge: bool, total: int) -> None:
        if self._inside:
            self._file, self.place = name, os.path.join(self.place, name)
        if self._slash and not tree:
            raise NotFound(f"there is no folder {self.place}", hint=f"mkdir -p {self.place}", path=self.place)
        if git_like(self._file):
            raise in_git(self.place)
        try:
            if self._file:
                self._look(tree=tree, merge=merge)
            elif not merge:
                self._must_be_empty(self._base)
            room = _room(self._base)
            if total > room:
                raise Unavailable(
                    f"{sized(total)} do not fit into {self.place}, where {sized(room)} are free",
                    hint="make room, or copy to another disk",
                    code="NO_ROOM",
                    path=self.place,
                )
            if tree and self._file:
                self._top = _made(self._file, self._base)
                self._stack.callback(os.close, self._top)
        except OSError as e:
            raise said(e, self.place) from e

    def _look(self, *, tree: bool, merge: bool) -> None:
        """Look at what stands in the place of the top, if anything does."""
        try:
            mode = os.stat(self._file, dir_fd=self._base, follow_symlinks=False).st_mode
        except FileNotFoundError:
            return
        if stat.S_ISDIR(mode) != tree or not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
            raise Conflict(
                f"{self.place} is there, and no {'folder' if tree else 'file'}",
                hint="move it away, or copy to another place",
                code="IN_THE_WAY",
                path=self.place,
            )
        if tree:
            fd = os.open(self._file, _BELOW, dir_fd=self._base)
            try:
                _fit(fd, self.place)
                if not merge:
                    self._must_be_empty(fd)
            finally:
                os.close(fd)

    def _must_be_empty(self, folder: int) -> None:
        with os.scandir(folder) as entries:
            if next(entries, None) is not None:
                raise Conflict(
                    f"{self.place} is not empty",
                    hint="--merge copies into it, and replaces files of the same name",
                    code="NOT_EMPTY",
                    path=self.place,
                )

    def folder(self, path: Parts) -> None:
        try:
            os.close(_made(path[-1], self._folder.of(self._top, path)))
            self._folder.wrote()
        except OSError as e:
            raise said(e, "/".join(path)) from e

    def file(self, path: Parts) -> Writing:
        if self._part is not None:
            self._part.drop()
        try:
            # a name that is too long would only be found out when the file is whole
            above = self._folder.of(self._top, path) if path else self._base
            name = path[-1] if path else self._file
            with suppress(FileNotFoundError):
                os.stat(name, dir_fd=above, follow_symlinks=False)
            self._part = _Part(self, above, name)
        except OSError as e:
            raise said(e, "/".join(path) or self.place) from e
        return self._part

    def may_replace(self, name: str, folder: int) -> bool:
        """Say whether a file may take a name: nothing stands there, or a file that this copy did not bring itself.

        Two names can be one to a file system that does not tell `a` from `A`, or one way to write a letter from another.
        """
        try:
            there = os.stat(name, dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            return True
        return stat.S_ISREG(there.st_mode) and (there.st_dev, there.st_ino) not in self._put

    def put(self, found: os.stat_result) -> None:
        """Note that this copy brought a file."""
        self._put.add((found.st_dev, found.st_ino))
        self._folder.wrote()

    def _end(self) -> None:
        if self._part is not None:
            self._part.drop()
        with suppress(OSError):  # a disk that does not make it last has said so when the files were written
            self._folder.close()
            os.fsync(self._base)


def _fit(folder: int, path: str) -> None:
    """Raise what keeps files from being written in a folder, as far as that can be known without writing one."""
    owner, fs = os.fstat(folder).st_uid, os.fstatvfs(folder)
    if owner not in (0, os.geteuid()):
        raise Denied(f"{path} belongs to another user, who could change what is written there", hint="copy to a folder of yours", path=path)
    if fs.f_flag & os.ST_RDONLY:
        raise Denied(f"{path} is on a disk that can only be read", hint="copy to another place", path=path)
    if not os.access(".", os.W_OK | os.X_OK, dir_fd=folder, effective_ids=True):
        raise Denied(f"no right to write in {path}", hint="copy to a folder of yours", path=path)
    if _room(folder) == 0 or (fs.f_files and not fs.f_ffree):
        raise Unavailable(f"the disk of {path} is full", hint="make room, or copy to another disk", code="NO_ROOM", path=path)


def _room(folder: int) -> int:
    fs = os.fstatvfs(folder)
    return (fs.f_bfree if os.geteuid() == 0 else fs.f_bavail) * fs.f_frsize
