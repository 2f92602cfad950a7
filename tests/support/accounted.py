"""Runs rdev on a forge with accounts: `accounted.py FOLDER N -- ARGV...`; at the N-th step (0: never) it is killed as by kill -9.

A step is the moment before or after anything that leaves a mark outside the process: a commit of the database, a git process in the
clone, a folder, a link, a rename, a call of the forge, a change of the vault. `look` in the place of N prints on stderr, as JSON, which steps differ by what stands on
the disk: a process that is killed at one of the others leaves what it leaves at the one before.
"""

import json
import os
import signal
import sys
from pathlib import Path

from points import Commit, around  # beside this script

FOLDER, AT = Path(sys.argv[1]), sys.argv[2]
STEPS = [0]
SEEN: list[tuple[int, object]] = []


def disk() -> object:
    """Everything below the folder that the home and the accounts are in, but for what a write-ahead log makes of a read."""
    found = []
    for folder, _, files in os.walk(FOLDER.parent):
        if f"{folder}/".startswith(f"{FOLDER.parent}/kept/"):
            continue
        for path in (folder, *(os.path.join(folder, name) for name in files if not name.endswith(("-shm", "-journal")))):
            one = os.lstat(path)
            found.append((path, one.st_ino, one.st_mode, one.st_size, one.st_mtime_ns))
    return sorted(found)


def strike() -> None:
    STEPS[0] += 1
    if AT == "look" and (not SEEN or SEEN[-1][1] != disk()):
        SEEN.append((STEPS[0], disk()))
    if AT.isdecimal() and STEPS[0] == int(AT):
        os.kill(os.getpid(), signal.SIGKILL)


def main() -> int:
    from rdev_cli.adapters import copies
    from rdev_cli.adapters.sqlite.database import Database
    from rdev_cli.adapters.vault.sealed import SealedFile
    from rdev_cli.faces.cli.main import main as rdev
    from rdev_cli.wiring.services import Services
    from tests.support.accounts import AccountForge, Accounts

    Services.forge = property(lambda self: AccountForge(self.folder, self.installation, Accounts(FOLDER)))
    if AT != "0":
        begin = Database.writing
        Database.writing = lambda self: Commit(begin(self), strike)
        around(copies, "git", strike)
        for name in ("rename", "mkdir", "replace", "link"):
            around(os, name, strike)
        for name in ("admit", "extend", "dismiss", "ensure_branch", "delete_branch"):
            around(AccountForge, name, strike)
        for name in ("put", "drop"):
            around(SealedFile, name, strike)
    code = rdev(sys.argv[4:])
    if AT == "look":
        sys.stderr.write(f"\n{json.dumps([step for step, _ in SEEN])}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
