"""The Premises port: rdev's folders by the XDG rules, told apart from what others put there."""

import json
import os
import re
import shlex
import shutil
import stat
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from rdev_cli.adapters.local import processes
from rdev_cli.adapters.shared.files import remove_tree
from rdev_cli.domain.command import GRACE
from rdev_cli.domain.errors import Unavailable
from rdev_cli.domain.premises import Part, PartKind
from rdev_cli.domain.report import Check, Verdict

_NAMES = {
    PartKind.POD: re.compile(r"rdev-[a-z][-a-z0-9]*-[0-9a-z]{8}|\.probe-.+"),
    PartKind.OUTPUT: re.compile(r"(cmd|run)_[0-9a-z_]+"),
    PartKind.REPOSITORY: re.compile(r"[a-z][-a-z0-9]*\.git|\.(new|old)-prj_[0-9a-z]+"),
    PartKind.STATE: re.compile(
        r"state\.db(-wal|-shm|-journal|\.before-[0-9]+(\.[0-9]+\.part)?)?|swept|removed\.jsonl|cluster\.json|vault\.(json|key|lock)|serving\.[0-9]+|\.?wrk_[0-9a-z]+\.json(\.[0-9]+\.part)?|\.serving\.[0-9]+\.part|\.vault\.(json|key)\.[0-9]+\.part"
    ),
    PartKind.CACHE: re.compile(r".+\.json|\..+\.json\.[0-9]+\.part"),
    PartKind.CONFIG: re.compile(r"config\.yaml|\.config\.yaml\.[0-9]+\.part"),
    PartKind.INSTALLATION: re.compile(r"installation|\.?installation\.[0-9.]+(part)?"),
}
_FOLDERS = {"pods": PartKind.POD, "spool": PartKind.OUTPUT, "repos": PartKind.REPOSITORY, "pool": PartKind.STATE}
_TOOLS = (
    ("script", "`exec -t` has no terminal to give", "apt install bsdutils"),
    ("setsid", "processes that outlive a command's first one may stay", "apt install util-linux"),
)


class LocalPremises:
    """What rdev keeps on this machine."""

    def __init__(self, *, config: Path, state: Path, cache: Path) -> None:
        self._config, self._state, self._cache = config, state, cache

    def parts(self) -> Sequence[Part]:
        found = [*self._of_state()]
        for folder, kind in ((self._cache, PartKind.CACHE), (self._config, PartKind.CONFIG)):
            found += self._inside(folder, kind, "")
        return found

    def _of_state(self) -> Iterator[Part]:
        for path in _entries(self._state):
            if not os.path.islink(path) and path.is_dir() and any(os.path.lexists(path / name) for name in ("state.db", *_FOLDERS)):
                yield from self._of_context(path)
            else:
                yield self._part(path, PartKind.INSTALLATION, "")
        if os.path.islink(self._state):
            yield self._part(self._state, PartKind.STATE, "")

    def _of_context(self, folder: Path) -> Iterator[Part]:
        for path in _entries(folder):
            kind = _FOLDERS.get(path.name)
            if kind is not None and not os.path.islink(path) and path.is_dir():
                yield from self._inside(path, kind, folder.name)
            else:
                yield self._part(path, PartKind.STATE, folder.name)

    def _inside(self, folder: Path, kind: PartKind, context: str) -> Iterator[Part]:
        if os.path.islink(folder):
            yield self._part(folder, kind, context)
            return
        for path in _entries(folder):
            yield self._part(path, kind, context)

    def _part(self, path: Path, kind: PartKind, context: str) -> Part:
        foreign = self._foreign(path, kind)
        running = not foreign and kind is PartKind.OUTPUT and processes.alive(path)
        try:
            age = time.time() - os.lstat(path).st_mtime
        except FileNotFoundError:
            age = 0.0
        return Part(kind=kind, context=context, path=str(path), bytes=_bytes(path), seconds=age, running=running, foreign=foreign)

    def _foreign(self, path: Path, kind: PartKind) -> str:
        """Return why a path is not rdev's to remove, empty if it is rdev's."""
        try:
            found = os.lstat(path)
        except FileNotFoundError:
            return ""  # gone meanwhile
        if stat.S_ISLNK(found.st_mode):
            return "it is a link"
        if found.st_uid != os.geteuid():
            return "it belongs to another user"
        folder = kind in _FOLDERS.values() and kind is not PartKind.STATE
        if not _NAMES[kind].fullmatch(path.name) or stat.S_ISDIR(found.st_mode) != folder:
            return "it is not rdev's"
        mark = {PartKind.POD: "pod.json", PartKind.REPOSITORY: "rdev.json"}.get(kind)
        if mark is None or path.name.startswith("."):
            return ""
        try:
            whose = json.loads((path / mark).read_bytes())["installation"]
        except FileNotFoundError:
            # a pod gets its mark last of all, a repository together with its name
            return "" if kind is PartKind.POD else "it has no mark of rdev"
        except (OSError, ValueError, KeyError, TypeError):
            return "its mark cannot be read"
        return "" if whose == self.installation() else "it belongs to another installation"

    def installation(self) -> str:
        try:
            return (self._state / "installation").read_text(errors="replace").strip()
        except OSError:
            return ""

    def room(self) -> int:
        there = next((path for path in (self._state, *self._state.parents) if path.is_dir()), Path("/"))
        return shutil.disk_usage(there).free

    def end(self, running: Sequence[Part]) -> Sequence[Part]:
        for part in running:
            processes.stop(Path(part.path), "cancelled")
        end, left = time.monotonic() + GRACE + 5.0, list(running)
        while left := [part for part in left if processes.alive(Path(part.path))]:
            if time.monotonic() > end:
                break
            time.sleep(0.05)
        return left

    def remove(self, part: Part) -> None:
        path = Path(part.path)
        if self._foreign(path, part.kind):
            return
        try:
            if path.is_dir():
                remove_tree(path)
            else:
                path.unlink(missing_ok=True)
        except OSError as e:
            raise Unavailable(f"cannot remove {path}: {e.strerror}", hint=f"rm -r {shlex.quote(str(path))}", path=str(path)) from e

    def note(self, context: str, line: str) -> str:
        path = self._state / context / "removed.jsonl"
        try:
            fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            with os.fdopen(fd, "w") as file:
                file.write(f"{line}\n")
                file.flush()
                os.fsync(fd)
        except OSError as e:
            raise Unavailable(
                f"cannot write {path}: {e.strerror}", hint="make room or give the right to write there", path=str(path)
            ) from e
        return str(path)

    def tidy(self) -> None:
        contexts = [path for path in _entries(self._state) if not os.path.islink(path) and path.is_dir()]
        inside = [context / name for context in contexts for name in _FOLDERS]
        for folder in (*inside, *contexts, self._state, self._cache, self._config):
            if not os.path.islink(folder):
                try:
                    os.rmdir(folder)
                except OSError:
                    pass  # not there, or something that is not rdev's is in it

    def checks(self) -> Sequence[Check]:
        found = [_tool(*tool) for tool in _TOOLS]
        others, loose = [], []
        for path in self._private():
            try:
                seen = os.lstat(path)
            except FileNotFoundError:
                continue
            if seen.st_uid != os.geteuid():
                others.append(path)
            elif not stat.S_ISLNK(seen.st_mode) and seen.st_mode & 0o077:
                loose.append(path)
        if others:
            hint = f"sudo chown -R $(id -un) {shlex.quote(str(self._state))}"
            found.append(Check(name="files.owner", verdict=Verdict.FAILED, found=f"{_some(others)}: of another user", hint=hint))
        if loose:
            words = f"{_some(loose)}: open to others, though the folder above is not"
            hint = f"chmod go-rwx {' '.join(shlex.quote(str(path)) for path in loose[:3])}"
            found.append(Check(name="files.open", verdict=Verdict.WARNING, found=words, hint=hint))
        if not others and not loose:
            found.append(Check(name="files.private", verdict=Verdict.OK, found="everything below the state is this user's alone"))
        return found

    def _private(self) -> Iterator[Path]:
        """Yield what must be this user's alone; what stands in a pod's own folders is for the pod to say."""
        for path in _entries(self._state):
            yield path
            for inner in _entries(path):
                yield inner
                if inner.name in _FOLDERS:
                    yield from _entries(inner)


def _entries(folder: Path) -> list[Path]:
    """Return what a folder holds, nothing for what is no folder, is a link, or cannot be read."""
    if os.path.islink(folder):
        return []
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _bytes(path: Path) -> int:
    """Return what a file or a tree takes of the disk; what cannot be looked at counts nothing."""
    total = 0
    for folder, below, files in os.walk(path):
        for name in (*below, *files):
            try:
                total += os.lstat(os.path.join(folder, name)).st_blocks * 512
            except OSError:
                continue
    try:
        return total + os.lstat(path).st_blocks * 512
    except OSError:
        return total


def _tool(name: str, without: str, hint: str) -> Check:
    path = shutil.which(name)
    if path is None:
        return Check(name=f"tool.{name}", verdict=Verdict.WARNING, found=f"not on this machine: {without}", hint=hint)
    return Check(name=f"tool.{name}", verdict=Verdict.OK, found=path)


def _some(paths: Sequence[Path]) -> str:
    more = f" and {len(paths) - 3} more" if len(paths) > 3 else ""
    return ", ".join(map(str, paths[:3])) + more
