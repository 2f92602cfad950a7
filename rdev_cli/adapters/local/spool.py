"""The Spool port on a folder: in `local` the runner's own folders are the spool."""

import os
from collections.abc import Sequence
from pathlib import Path

from rdev_cli.adapters.shared.files import remove_tree
from rdev_cli.ports.timing import Clock

KEPT_DAYS = 7


class FolderSpool:
    """What commands printed, a folder each."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self._folder, self._clock = folder, clock

    def path(self, id: str, stream: str) -> Path:
        return self._folder / id / stream

    def drop(self, id: str) -> None:
        remove_tree(self._folder / id)

    def sweep(self, keep: Sequence[str]) -> int:
        if not self._folder.is_dir():
            return 0
        old = self._clock.now().timestamp() - KEPT_DAYS * 86400
        dropped = 0
        with os.scandir(self._folder) as entries:
            for entry in entries:
                if entry.name not in keep and entry.stat(follow_symlinks=False).st_mtime < old:
                    remove_tree(Path(entry.path))
                    dropped += 1
        return dropped
