"""Small true things about files: private folders, whole writes, removal of trees that others wrote."""

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from rdev_cli.domain.errors import Denied, Unavailable


def private_folder(path: Path) -> Path:
    """Return the folder, made 0700 whatever the umask, its parents too; Denied if it is a link or another's."""
    for folder in (*reversed(path.parents), path):
        if folder.is_dir():
            continue
        try:
            os.mkdir(folder, 0o700)
        except FileExistsError:
            pass
        except OSError as e:
            raise Unavailable(
                f"cannot make the folder {folder}: {e.strerror}", hint="make room or give the right to write there", path=str(folder)
            ) from e
    found = os.lstat(path)
    if stat.S_ISLNK(found.st_mode):
        raise Denied(f"{path} is a link; rdev's folders must not be", hint="put a real folder there", path=str(path))
    if not stat.S_ISDIR(found.st_mode):
        raise Unavailable(f"{path} is no folder", hint="move it away", path=str(path))
    if found.st_uid != os.geteuid():
        raise Denied(f"{path} belongs to another user", hint="set XDG_STATE_HOME to a folder of yours", path=str(path))
    if stat.S_IMODE(found.st_mode) != 0o700:
        os.chmod(path, 0o700)
    return path


def write_whole(path: Path, data: bytes) -> None:
    """Write a 0600 file so that a reader sees the old bytes or the new, never half; durable when it returns.

    Unavailable, and the old bytes still there, if it cannot be written.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        _write(part, path, data)
    except OSError as e:
        raise Unavailable(f"cannot write {path}: {e.strerror}", hint="make room or give the right to write there", path=str(path)) from e


def _write(part: Path, path: Path, data: bytes) -> None:
    fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(part, 0o600)
        os.replace(part, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(part)
        raise


def remove_tree(path: Path) -> None:
    """Remove a tree that somebody else filled: closed folders and any depth too, nothing there is fine.

    No link is followed and no right changed outside, whatever takes the place of what meanwhile.
    """
    if not os.path.lexists(path):  # a file system that is read-only would refuse to remove even nothing
        return
    parent = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if _unlink(path.name, parent):
            return
        with _folder(path.name, parent) as root:
            while names := os.listdir(root):
                for name in names:
                    if not _unlink(name, root):
                        _flatten(name, root)
        os.rmdir(path.name, dir_fd=parent)
    finally:
        os.close(parent)


def _unlink(name: str, parent: int) -> bool:
    """Remove an entry and return whether it is gone; False for a folder."""
    try:
        os.unlink(name, dir_fd=parent)
    except FileNotFoundError:
        pass
    except IsADirectoryError:
        return False
    return True


def _flatten(name: str, root: int) -> None:
    """Empty a folder of the root and remove it; its own folders move up to the root, so that depth costs neither stack nor descriptors."""
    with _folder(name, root) as folder:
        for entry in os.listdir(folder):
            if not _unlink(entry, folder):
                with _folder(entry, folder):  # a folder that is closed cannot be moved
                    os.rename(entry, os.urandom(16).hex(), src_dir_fd=folder, dst_dir_fd=root)
    os.rmdir(name, dir_fd=root)


@contextlib.contextmanager
def _folder(name: str, parent: int) -> Iterator[int]:
    """Open a folder, and no link, to its owner's every right; a cache of read-only folders cannot be emptied otherwise."""
    found = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)  # takes no right to read
    try:
        if os.fstat(found).st_mode & 0o700 != 0o700:
            os.chmod(f"/proc/self/fd/{found}", 0o700)  # fchmod wants a descriptor that can read
        opened = os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=found)
    finally:
        os.close(found)
    try:
        yield opened
    finally:
        os.close(opened)
