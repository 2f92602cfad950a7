"""The Spool port on a folder: in `local` the runner's own folders are the spool."""

import errno
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from rdev_cli.adapters.shared import runner
from rdev_cli.adapters.shared.files import remove_tree
from rdev_cli.ports.timing import Clock

KEPT_DAYS = 7
BOUND = 20 << 30  # bytes of output that are kept, beside what still runs
EVERY = 3600  # seconds between two sweeps


class FolderSpool:
    """What commands printed, a folder each."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self._folder, self._clock = folder, clock

    def path(self, id: str, stream: str) -> Path:
        return self._folder / id / stream

    def read(self, id: str, stream: str, offset: int, limit: int) -> bytes:
        return runner.read(self.path(id, stream), offset, limit)

    def drop(self, id: str) -> None:
        remove_tree(self._folder / id)

    def sweep(self, keep: Callable[[], Sequence[str]]) -> int:
        now, mark = self._clock.now().timestamp(), self._folder.with_name("swept")
        try:
            if 0 <= now - os.stat(mark).st_mtime < EVERY:
                return 0
        except FileNotFoundError:
            if not self._folder.is_dir():
                return 0
        try:
            mark.touch(0o600)
            os.utime(mark, (now, now))
        except OSError as e:
            if e.errno in (errno.EACCES, errno.EROFS):
                return 0  # what cannot be written cannot be forgotten
            raise
        kept, found = {*keep()}, []
        with os.scandir(self._folder) as entries:
            for entry in entries:
                if entry.name not in kept:
                    size = sum(runner.size(Path(entry.path) / stream) for stream in ("out", "err"))
                    found.append((entry.stat(follow_symlinks=False).st_mtime, size, entry.path))
        total, dropped = 0, 0
        for at, size, path in sorted(found, reverse=True):  # the newest first: they stay
            total += size
            if at < now - KEPT_DAYS * 86400 or (total > BOUND and Path(path).name.startswith("cmd_")):
                remove_tree(Path(path))
                dropped += 1
        return dropped
