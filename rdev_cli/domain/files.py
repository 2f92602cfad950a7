"""Copies between a project's pod and this machine: what is asked for, what came of it, and which names may travel."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from rdev_cli.domain.errors import Invalid
from rdev_cli.domain.values import shown, sized

MOST_FILES = 200_000  # files and folders of one copy
MOST_BYTES = 64 << 30  # of one copy: a sparse file can claim any size
SMALL = 1 << 15  # bytes of a file that travels together with others
TOGETHER = 100  # files that do
NAMED = 100  # as many of what was left out are named, the others are counted

Parts: TypeAlias = tuple[str, ...]  # a path below the top of a copy, name by name; empty: the top itself

# what some file systems do not see in a name, so that the rest of it could be `.git` to them
_UNSEEN = re.compile("[\u200c-\u200f\u202a-\u202e\u206a-\u206f\ufeff]")


class Left(StrEnum):
    """Why something was not copied."""

    LINK = "link"
    SPECIAL = "special"  # a fifo, a socket, a device
    GIT = "git"
    UNREADABLE = "unreadable"
    IN_THE_WAY = "in_the_way"  # what stands in its place is no file, or no folder
    CHANGED = "changed"  # it shrank while it was read
    NAME = "name"  # the place that it goes to cannot hold a file of that name


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """Something that was not copied, by its path below what was."""

    path: str
    reason: Left


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """Something on this machine that may be copied: a folder, a file, or what is left out for a reason."""

    path: Parts
    folder: bool = False
    size: int = 0  # bytes
    executable: bool = False
    left: Left | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CopySpec:
    """What shall be copied: `path` in the project's pod (relative to its workspace), `here` on this machine; `-` is stdin or stdout."""

    project: str
    path: str
    here: str
    out: bool  # out of the pod; else into it
    merge: bool = False  # into a folder that is not empty, too
    timeout_seconds: int = 0  # 0: an hour

    def __post_init__(self) -> None:
        for text, field in ((self.path, "path"), (self.here, "here")):
            if "\0" in text:
                raise Invalid("a path holds a NUL byte", hint="no file can have such a name", field=field)
        if not self.here:
            raise Invalid("the path on this machine is empty", hint="the folder you are in is .", field="here")
        if any(git_like(part) for part in self.path.split("/")):
            raise in_git(self.path)


@dataclass(frozen=True, slots=True, kw_only=True)
class Copied:
    """What a copy brought over."""

    project: str
    path: str  # in the pod
    here: str
    out: bool  # out of the pod; else into it
    files: int
    folders: int
    bytes: int
    skipped: tuple[Skipped, ...]  # by rule, the first hundred
    skipped_count: int


class Tally:
    """What a copy has brought over so far; another thread may read it."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Begin again."""
        self.files = self.folders = self.bytes = 0
        self.total: int | None = None  # bytes of all of it, None while nobody knows
        self.skipped: list[Skipped] = []  # by rule, the first hundred
        self.skipped_count = 0
        self.failed: list[Skipped] = []
        self.failed_count = 0

    def skip(self, path: str, reason: Left) -> None:
        """Note what is left out by rule."""
        self.skipped_count += 1
        if len(self.skipped) < NAMED:
            self.skipped.append(Skipped(path=path, reason=reason))

    def fail(self, path: str, reason: Left) -> None:
        """Note what should have been copied, and was not."""
        self.failed_count += 1
        if len(self.failed) < NAMED:
            self.failed.append(Skipped(path=path, reason=reason))


def bounded(count: int, size: int) -> None:
    """Raise Invalid for more than one copy may bring."""
    if count > MOST_FILES:
        raise Invalid(f"more than {MOST_FILES} files and folders are too many for one copy", hint="copy it in parts", field="path")
    if size > MOST_BYTES:
        raise Invalid(
            f"more than {sized(MOST_BYTES)} are too much for one copy (a sparse file counts as long as it says it is)",
            hint="copy it in parts",
            field="path",
        )


def git_like(name: str) -> bool:
    """Say whether some file system takes a name for `.git`, whose files make git run programs."""
    seen = _UNSEEN.sub("", unicodedata.normalize("NFKC", name)).casefold().partition(":")[0].rstrip(" .")
    return seen in (".git", "git~1")


def in_git(path: str) -> Invalid:
    """Return what to say about a path in a repository's own folder."""
    return Invalid(
        f"{shown(path)} belongs to git, and only git touches that",
        hint="rdev project sync PROJECT brings commits over; rdev git PROJECT -- ARGV... runs git in the pod",
        field="path",
    )


def parts(path: bytes) -> Parts | None:
    """Return a path that a pod sent as names, None if it leads anywhere but down."""
    found = tuple(part.decode("utf-8", "surrogateescape") for part in path.split(b"/")) if path else ()
    return None if any(part in ("", ".", "..") or "\0" in part for part in found) else found
