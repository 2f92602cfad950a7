"""Copies of files between a project's pod and this machine; neither side trusts the other's names."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from rdev_cli.domain.errors import Cancelled, Conflict, Denied, Failed, Invalid, NotFound, Partial, RdevError, TimedOut, Unavailable
from rdev_cli.domain.files import Copied, CopySpec, Left, Skipped, Tally, bounded
from rdev_cli.domain.values import shown
from rdev_cli.ops import commands, known
from rdev_cli.ops.ledger import Scope, operation
from rdev_cli.ops.receiving import TELL, Receiver
from rdev_cli.ops.sending import TAKE, Answers, Sender
from rdev_cli.ports.timing import LONG_RUNNING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import BinaryIO

    from rdev_cli.domain.project import Project
    from rdev_cli.ports import World
    from rdev_cli.ports.cluster import Ran
    from rdev_cli.ports.files import Source, Target

HOUR = 6 * LONG_RUNNING  # seconds that a copy may take unless the caller says otherwise
_WORDS = {
    Left.UNREADABLE: "cannot be read",
    Left.IN_THE_WAY: "something else is in its place",
    Left.CHANGED: "changed while it was read",
    Left.NAME: "cannot have that name there",
}


@dataclass(frozen=True, slots=True)
class Copy:
    """What was copied, and words for people."""

    done: Copied
    notes: tuple[str, ...] = ()


@operation("file.copy", Scope.PROJECTS_EXECUTE)
def copy(world: World, spec: CopySpec, tally: Tally | None = None) -> Copy:
    """Copy files and folders out of a project's pod, or into it.

    One side is PROJECT:PATH, relative to the workspace; the other is a path on this machine, or - for stdin or stdout. Only regular
    files and folders travel, with the modes 0644 and 0755; links, devices and what is git's own are left out and named. A file is
    written beside its place, checked, and put there whole. A folder that is not empty is left alone without --merge.
    """
    # `tally` is for whoever wants to look on. Partial if some of it stands; Conflict, Denied, NotFound, Unavailable if nothing does.
    tally, project = tally or Tally(), known.ready(world, spec.project)
    seconds = float(spec.timeout_seconds or HOUR)
    deadline = world.clock.monotonic() + seconds

    def check() -> None:
        world.stop.check("the copy")
        if world.clock.monotonic() > deadline:
            raise TimedOut("the copy took longer than allowed", hint="give more time with --timeout, or copy in parts")

    try:
        if spec.out:
            with world.files.target(spec.here) as target:
                notes = commands.revive(world, project)
                here = _out(world, project, spec, target, tally, check, seconds)
        else:
            with world.files.source(spec.here) as source:
                notes, here = commands.revive(world, project), spec.here
                _in(world, project, spec, source, tally, check, seconds)
    except RdevError as e:
        if not tally.files:
            raise
        _told(world, project, spec, tally)
        if isinstance(e, TimedOut | Cancelled):
            raise
        raise Partial(
            f"{tally.files} files are copied, then: {e.message}",
            left=("the rest",),
            hint=e.hint + "; --merge goes on in the same folder",
            files=tally.files,
            bytes=tally.bytes,
        ) from e
    _told(world, project, spec, tally)
    if tally.failed_count:
        raise _not_all(tally)
    done = Copied(
        project=project.target, path=spec.path, here=here, out=spec.out, files=tally.files, folders=tally.folders, bytes=tally.bytes,
        skipped=tuple(tally.skipped), skipped_count=tally.skipped_count,
    )  # fmt: skip
    return Copy(done, notes)


def _told(world: World, project: Project, spec: CopySpec, tally: Tally) -> None:
    facts = {
        "project": project.name,
        "path": spec.path,
        "out": spec.out,
        "files": tally.files,
        "bytes": tally.bytes,
        "failed": tally.failed_count,
    }
    with world.store.transaction() as tx:
        tx.append("file.copied", project.target, facts)
        if project.session_id:
            known.touched(tx, project.session_id, world.clock.now())


def _not_all(tally: Tally) -> RdevError:
    first: Skipped = tally.failed[0]
    left = tuple(one.path for one in tally.failed)
    words = f"{tally.failed_count} could not be copied, the first is {shown(first.path) or 'the file'}: {_WORDS[first.reason]}"
    hint = "see to these, then copy them again"
    if not tally.files:
        return Conflict(words, hint=hint, code="NOT_COPIED", left=list(left))
    return Partial(f"{tally.files} files are copied; {words}", left=left, hint=hint, files=tally.files, bytes=tally.bytes)


def _run(
    world: World,
    project: Project,
    argv: Sequence[str],
    check: Callable[[], None],
    seconds: float,
    *,
    stdin: Sender | None = None,
    stdout: object = None,
) -> Ran:
    try:
        return world.cluster.run(
            project, ("sh", "-c", *argv), stdin=cast("BinaryIO | None", stdin), stdout=cast("BinaryIO | None", stdout), timeout=seconds
        )
    except Unavailable:
        check()  # its own limit, or a stop, is the reason
        raise


# out of a pod


def _out(world: World, project: Project, spec: CopySpec, target: Target, tally: Tally, check: Callable[[], None], seconds: float) -> str:
    name = _name(spec.path, project.name)

    def begin(tree: bool, total: int) -> None:  # noqa: FBT001 -- the receiver's two facts
        target.begin(name, tree=tree, merge=spec.merge, total=total)

    mark = os.urandom(16).hex()
    receiver = Receiver(target, tally, mark, check=check, begin=begin)
    ran = _run(world, project, (TELL, "rdev", mark, spec.path), check, seconds, stdout=receiver)
    if ran.code != 0:
        raise _untold(spec, project, ran)
    if not receiver.ended:
        raise Unavailable(
            "what the pod sent is not whole",
            hint="copy it again",
            code="BAD_COPY",
            said=ran.stderr.decode(errors="replace")[-500:],
        )
    return target.place


def _name(path: str, project: str) -> str:
    """Return what a copy is called where it goes into a folder: nothing for what is in a folder (`x/.`)."""
    if path in ("", "/"):
        return project
    if path == "." or path.endswith("/."):
        return ""
    name = path.rstrip("/").rpartition("/")[2]
    if name == "..":
        raise Invalid("a path that ends in .. has no name", hint="name the folder itself", field="path")
    return name


def _untold(spec: CopySpec, project: Project, ran: Ran) -> RdevError:
    what, look = f"{shown(spec.path) or 'the workspace'} in the pod of {project.target}", f"rdev exec {project.target} -- ls -la"
    if ran.code == 11:
        return NotFound(f"there is no {what}", hint=f"{look} shows what is there", path=spec.path)
    if ran.code == 12:
        return Invalid(f"{what} is neither a file nor a folder", hint="only these are copied", field="path")
    if ran.code == 13:
        return Denied(f"{what} cannot be read there", hint=f"{look} shows whose it is", path=spec.path)
    return _broken(project, ran)


def _broken(project: Project, ran: Ran) -> RdevError:
    if ran.code in (126, 127):
        return Unavailable(
            f"the image of {project.target} has no sh, cat, mkdir and mv",
            hint="take an image that has them",
            code="TOOL_MISSING",
            tool="sh",
        )
    return Unavailable(
        f"rdev's own script in the pod of {project.target} ended with {ran.code}",
        hint=f"rdev exec {project.target} -- true says whether the pod works; then copy it again",
        code="BAD_COPY",
        said=ran.stderr.decode(errors="replace")[-500:],
    )


# into a pod


def _in(world: World, project: Project, spec: CopySpec, source: Source, tally: Tally, check: Callable[[], None], seconds: float) -> None:
    count = total = 0
    for entry in source.walk():
        count, total = count + 1, total + entry.size
        bounded(count, total)
        if count % 1000 == 0:
            check()
    tally.total = total
    kib = -(-total // 1024)
    for text in ("", "text"):
        words = (spec.path, source.name, "tree" if source.tree else "", "merge" if spec.merge else "", str(kib), os.urandom(8).hex(), text)
        sender, answers = Sender(source, tally, text=bool(text), check=check), Answers(tally)
        ran = _run(world, project, (TAKE, "rdev", *words), check, seconds, stdin=sender, stdout=answers)
        if ran.code != 26:
            break
        tally.clear()
        tally.total = total
    if ran.code != 0:
        tally.folders = 0
        raise _untaken(spec, project, source, ran)


def _untaken(spec: CopySpec, project: Project, source: Source, ran: Ran) -> RdevError:
    what, look = f"{shown(spec.path) or 'the workspace'} in the pod of {project.target}", f"rdev exec {project.target} -- ls -la"
    if ran.code == 21:
        return NotFound(f"there is no folder for {what}", hint=f"rdev exec {project.target} -- mkdir -p FOLDER makes one", path=spec.path)
    if ran.code == 22:
        kind = "folder" if source.tree else "file"
        return Conflict(
            f"something that is no {kind} is in the place of {what}",
            hint=f"{look} shows it; name another",
            code="IN_THE_WAY",
            path=spec.path,
        )
    if ran.code == 23:
        hint = "--merge copies into it, and replaces files of the same name"
        where = f"{spec.path.rstrip('/')}/{source.name}" if source.name else spec.path
        return Conflict(f"{shown(where)} in the pod of {project.target} is not empty", hint=hint, code="NOT_EMPTY", path=spec.path)
    if ran.code == 24:
        return Denied(f"no right to write to {what}", hint=f"{look} shows whose it is", path=spec.path)
    if ran.code in (25, 28):
        return Unavailable(
            f"there is no room for it at {what}", hint=f"rdev exec {project.target} -- df -h . shows the disk", code="NO_ROOM"
        )
    if ran.code == 27:
        return Failed(f"what arrived at {what} is not what was sent, so it was not kept", hint="copy it again", code="BAD_COPY")
    if ran.code == 30:
        return Unavailable(f"the connection to {what} ended before everything was there", hint="copy it again", code="BAD_COPY")
    return _broken(project, ran)
