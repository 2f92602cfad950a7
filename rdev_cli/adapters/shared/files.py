"""Small true things about files: private folders, whole writes, removal of trees that others wrote."""

import contextlib
import os
import shutil
import stat
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
    """Remove a tree that somebody else filled: read-only folders too, no link followed, nothing there is fine."""
    if not os.path.lexists(path):
        return
    for folder, _, _ in os.walk(path):  # follows no links; a cache of read-only folders cannot be emptied otherwise
        with contextlib.suppress(OSError):
            os.chmod(folder, 0o700, follow_symlinks=True)
    shutil.rmtree(path)
