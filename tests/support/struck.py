"""Runs rdev and strikes it down at the N-th step: `struck.py N SIGNAL -- ARGV...`.

A step is the moment before or after anything that leaves a mark outside the process: a commit of the database, a git
process, a folder, a rename, a call of a pod or of the forge. Prints nothing of its own; after the last step rdev just ends.

`struck.py look FILE -- ARGV...` strikes nobody, and writes into FILE which steps differ by what stands in the user's home:
a process that is killed at one of the others leaves what it leaves at the one before.
"""

import json
import os
import signal
import sys

from points import Commit, around  # beside this script

LOOKING = sys.argv[1] == "look"
POINTS = {"step": 0, "struck": 0 if LOOKING else int(sys.argv[1])}
NUMBER = None if LOOKING else signal.Signals[sys.argv[2]]
SEEN: list[tuple[int, object]] = []


def strike() -> None:
    POINTS["step"] += 1
    if LOOKING:
        seen = home()
        if not SEEN or SEEN[-1][1] != seen:
            SEEN.append((POINTS["step"], seen))
    elif POINTS["step"] == POINTS["struck"]:
        os.kill(os.getpid(), NUMBER)


def home() -> object:
    found = []
    for folder, _, files in os.walk(os.environ["HOME"]):
        for path in (folder, *(os.path.join(folder, name) for name in files)):
            try:
                one = os.lstat(path)
            except FileNotFoundError:
                continue
            found.append((path, one.st_ino, one.st_mode, one.st_size, one.st_mtime_ns))
    return sorted(found)


def main() -> int:
    from rdev_cli.adapters import copies
    from rdev_cli.adapters.local import cluster, forge, pulls
    from rdev_cli.adapters.shared import bare, contents, origins
    from rdev_cli.adapters.sqlite.database import Database
    from rdev_cli.faces.cli.main import main as rdev

    begin = Database.writing

    def writing(self):
        return Commit(begin(self), strike)

    Database.writing = writing
    for module in (bare, contents, origins, copies):
        around(module, "git", strike)
    around(pulls, "write_whole", strike)
    for name in ("rename", "mkdir", "replace"):
        around(os, name, strike)
    for name in ("ensure_pod", "delete_pod", "run", "start", "stop"):
        around(cluster.LocalCluster, name, strike)
    for name in ("ensure_repository", "seed", "take", "delete_repository"):
        around(forge.LocalForge, name, strike)
    for module in (bare, cluster):
        around(module, "remove_tree", strike)
    if not LOOKING:
        return rdev(sys.argv[4:])
    code = rdev(sys.argv[4:])
    with open(sys.argv[2], "w") as file:
        json.dump({"all": POINTS["step"], "differ": [step for step, _ in SEEN]}, file)
    return code


if __name__ == "__main__":
    sys.exit(main())
