"""The files that settings come from: where they are, and how one is read that others could have written or that was only sent."""

from __future__ import annotations

import json
import os
import re
import stat
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rdev_cli.adapters.shared.files import private_folder, write_whole
from rdev_cli.domain.errors import Denied, Invalid, RdevError

_TICK = 50_000_000  # ns: a coarse clock's step, and some


@dataclass(frozen=True, slots=True, kw_only=True)
class Folders:
    """rdev's places on this machine."""

    config: Path
    state: Path
    cache: Path


def folders(environ: Mapping[str, str]) -> Folders:
    """Return rdev's places by the XDG rules; a relative path in a variable is ignored, as they say."""
    home = environ.get("HOME") or os.path.expanduser("~")

    def place(variable: str, default: str) -> Path:
        value = environ.get(variable, "")
        return Path(value if value.startswith("/") else os.path.join(home, default)) / "rdev"

    return Folders(
        config=place("XDG_CONFIG_HOME", ".config"), state=place("XDG_STATE_HOME", ".local/state"), cache=place("XDG_CACHE_HOME", ".cache")
    )


def refuse_unsafe(path: Path) -> None:
    """Raise Denied for a file that another user could have written: its owner, its mode, its folder's mode.

    A link is followed, and the file behind it and the folders of both are judged.
    """
    found = os.stat(path)
    if found.st_uid not in (os.geteuid(), 0):
        raise Denied(f"{path} belongs to another user", hint=f"chown it, or remove it: rm {path}", code="CONFIG_UNSAFE", file=str(path))
    if found.st_mode & 0o022:
        raise Denied(f"{path} can be written by others", hint=f"chmod 600 {path}", code="CONFIG_UNSAFE", file=str(path))
    for folder in {path.parent, Path(os.path.realpath(path)).parent}:
        mode = os.stat(folder).st_mode
        if mode & 0o002 and not mode & stat.S_ISVTX:
            raise Denied(f"{folder} can be written by everybody", hint=f"chmod 700 {folder}", code="CONFIG_UNSAFE", file=str(path))


def read_yaml(path: Path, cache: Path) -> Any:
    """Return the data of a YAML file, from its JSON twin while that is of the same file; importing YAML costs more than all the rest."""
    # a folder that somebody sent may hold a pipe of that name, on which a plain open would wait for ever
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    found = os.fstat(fd)
    if not stat.S_ISREG(found.st_mode):
        os.close(fd)
        raise Invalid(f"{path} is no file", hint="move it away", file=str(path))
    with os.fdopen(fd, "rb") as file:
        key = [str(path), found.st_mtime_ns, found.st_size, found.st_ino, found.st_ctime_ns]
        twin = cache / f"{re.sub('[^A-Za-z0-9]', '-', str(path))[-100:]}.json"
        try:
            kept = json.loads(twin.read_bytes())
            if kept["of"] == key and os.stat(twin).st_uid == os.geteuid():
                return kept["data"]
        except (OSError, ValueError, KeyError, TypeError):
            pass
        from rdev_cli.adapters.shared import safe_yaml  # noqa: PLC0415 -- no twin: only then is YAML loaded

        data = safe_yaml.load(file.read(safe_yaml.BYTES + 1), str(path))
    if time.time_ns() - found.st_ctime_ns < _TICK:
        return data  # it may change again within the same tick of the file system's clock, and no twin would tell
    try:
        encoded = json.dumps({"of": key, "data": data}).encode()
        private_folder(cache)
        write_whole(twin, encoded)
    except (RdevError, OSError, TypeError, ValueError):
        pass  # no twin, then: the next command reads YAML again
    return data
