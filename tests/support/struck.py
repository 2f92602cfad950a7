"""Runs rdev and strikes it down at the N-th step: `struck.py N SIGNAL -- ARGV...`.

A step is the moment before or after anything that leaves a mark outside the process: a commit of the database, a git
process, a folder, a rename, a call of a pod or of the forge. Prints nothing of its own; after the last step rdev just ends.
"""

import os
import signal
import sys

POINTS = {"left": int(sys.argv[1])}
NUMBER = signal.Signals[sys.argv[2]]


def strike() -> None:
    POINTS["left"] -= 1
    if POINTS["left"] == 0:
        os.kill(os.getpid(), NUMBER)


def around(owner: object, name: str) -> None:
    real = getattr(owner, name)

    def struck(*args, **kwargs):
        strike()
        result = real(*args, **kwargs)
        strike()
        return result

    setattr(owner, name, struck)


def main() -> int:
    from rdev_cli.adapters.local import cluster, forge
    from rdev_cli.adapters.sqlite.database import Database
    from rdev_cli.faces.cli.main import main as rdev

    begin = Database.writing

    def writing(self):
        return _Commit(begin(self))

    Database.writing = writing
    around(forge, "git")
    for name in ("rename", "mkdir", "replace"):
        around(os, name)
    for name in ("ensure_pod", "delete_pod", "run", "start", "stop"):
        around(cluster.LocalCluster, name)
    for name in ("ensure_repository", "seed", "take", "delete_repository"):
        around(forge.LocalForge, name)
    for module in (forge, cluster):
        around(module, "remove_tree")
    return rdev(sys.argv[4:])


class _Commit:
    def __init__(self, real) -> None:
        self._real = real

    def __enter__(self):
        strike()
        return self._real.__enter__()

    def __exit__(self, *error):
        result = self._real.__exit__(*error)
        strike()
        return result


if __name__ == "__main__":
    sys.exit(main())
