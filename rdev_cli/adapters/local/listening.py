"""Ports that programs of a pod listen at on this machine's loopback: found, proved to be that pod's, and connected to."""

from __future__ import annotations

import contextlib
import os
import socket
from typing import TYPE_CHECKING

from rdev_cli.domain.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
    from pathlib import Path

_LISTEN = "0A"
_ANY4, _HERE4 = "00000000", "0100007F"
_ANY6, _HERE6, _MAPPED = "0" * 32, "0" * 24 + "01000000", "0" * 16 + "FFFF0000" + _HERE4
# what takes a connection to the address: whoever listens at more than one of these, all must be the pod's, for the kernel chooses
_WAYS = (
    (socket.AF_INET, "127.0.0.1", {"tcp": (_ANY4, _HERE4), "tcp6": (_ANY6, _MAPPED)}),
    (socket.AF_INET6, "::1", {"tcp6": (_ANY6, _HERE6)}),
)


def dial(port: int, own: Callable[[Collection[int]], bool] | None, *, timeout: float) -> socket.socket:
    """Connect to a port of the loopback that only the pod's own programs listen at; Unavailable NOT_LISTENING if there is none.

    `own` says whether these sockets, by their inodes, are the pod's; None: nobody can tell. They are looked at before and after,
    and no socket ever has another's inode: what was connected to is what was looked at.
    """
    for family, address, tables in _WAYS:
        before = _listeners(port, tables) if own else []
        if own and not (before and own(before)):
            continue
        try:
            made = socket.socket(family)
        except OSError:
            continue  # a machine without IPv6
        try:
            made.settimeout(timeout)
            made.connect((address, port))
            if own is None or _listeners(port, tables) == before:
                made.settimeout(None)
                return made
        except OSError:
            pass
        made.close()
    raise Unavailable(
        f"nothing of this session listens at port {port}",
        hint=f"start it there, at 127.0.0.1 or 0.0.0.0: rdev session exec SESSION --no-wait -- PROGRAM; with its port {port}",
        code="NOT_LISTENING",
        port=port,
    )


def _listeners(port: int, tables: Mapping[str, Sequence[str]]) -> list[int]:
    """Return the inodes of the sockets that listen at a port, at one of the addresses of each table."""
    found, end = [], f":{port:04X}"
    for table, addresses in tables.items():
        with contextlib.suppress(OSError), open(f"/proc/net/{table}", encoding="ascii") as lines:
            for line in lines:
                words = line.split()
                if words[3] == _LISTEN and words[1].endswith(end) and words[1][: -len(end)] in addresses:
                    found.append(int(words[9]))
    return sorted(found)


def told() -> bool:
    """Say whether this machine tells whose sockets they are."""
    return os.path.exists("/proc/net/tcp")


def sockets(pod: Path, *, isolated: bool) -> set[int]:
    """Return the inodes of all sockets that programs of a pod hold: those that see its work tree, where each has a sandbox."""
    found: set[int] = set()
    try:
        tree = os.stat(pod / "workspace")
    except OSError:
        return found
    with os.scandir("/proc") as entries:
        numbers = [entry.path for entry in entries if entry.name.isdigit()]
    for at in numbers:
        if _sees(at, tree) if isolated else _lives(at, pod):
            found.update(_held(at))
    return found


def _sees(at: str, tree: os.stat_result) -> bool:
    """Say whether a process has this folder for its work tree."""
    try:
        seen = os.stat(os.path.join(at, "root", "workspace"))
    except OSError:
        return False  # it has ended, is somebody else's, or in no sandbox
    return (seen.st_dev, seen.st_ino) == (tree.st_dev, tree.st_ino)


def _lives(at: str, pod: Path) -> bool:
    """Say whether a process without a sandbox is the pod's, by its home or its folder."""
    with contextlib.suppress(OSError):
        with open(f"{at}/environ", "rb") as file:
            if b"HOME=" + os.fsencode(pod / "home") in file.read().split(b"\0"):
                return True
        return os.readlink(f"{at}/cwd").startswith(f"{pod}/")
    return False


def _held(at: str) -> Iterator[int]:
    with contextlib.suppress(OSError), os.scandir(f"{at}/fd") as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                name = os.readlink(entry.path)
                if name.startswith("socket:["):
                    yield int(name[8:-1])
