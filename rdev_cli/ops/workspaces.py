"""A pod's work tree and the forge: commits travel as bundles, and git runs in the pod only, by these fixed texts."""

from __future__ import annotations

import re
from typing import IO, TYPE_CHECKING, cast

from rdev_cli.domain.errors import Failed
from rdev_cli.ports.timing import LONG_RUNNING, STANDARD

if TYPE_CHECKING:
    from rdev_cli.domain.project import Project
    from rdev_cli.ports import World
    from rdev_cli.ports.forge import Delivery

# What a repository or its owner configured must not decide what these run: hooks and monitors are off. It could
# only hurt the pod itself, which the same agent may do anyway.
_GIT = """
export GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null GIT_TERMINAL_PROMPT=0 GIT_ALLOW_PROTOCOL=file
g() { git -c core.hooksPath=/dev/null -c core.fsmonitor=false -c gc.auto=0 -c maintenance.auto=false "$@"; }
"""
# stdin: a bundle. Makes the work tree if it is not whole, else brings the branch forward; 3: both sides moved on
_IN = (
    _GIT
    + """
branch=$1 file=$HOME/.rdev-in.$$
trap 'rm -f "$file"' EXIT
cat >"$file" || exit 1
[ -e .git ] || g init --quiet --template= --initial-branch="$branch" || exit 1
g fetch --quiet --no-tags --no-write-fetch-head --end-of-options "$file" "+refs/heads/$branch:refs/rdev/forge" || exit 1
if g rev-parse --quiet --verify refs/rdev/whole >/dev/null; then
  g merge --ff-only --quiet refs/rdev/forge >/dev/null 2>&1 || exit 3
else
  g update-ref "refs/heads/$branch" refs/rdev/forge && g reset --hard --quiet && g update-ref refs/rdev/whole HEAD
fi
"""
)
_HEADS = _GIT + "g rev-parse --quiet --verify HEAD || echo; g rev-parse --quiet --verify refs/rdev/forge || echo\n"
# stdout: a bundle of what the forge lacks, or, if the pod's idea of that was tampered with, of everything
_OUT = (
    _GIT
    + """
[ -z "$1" ] || g bundle create --quiet - HEAD --not "$1" 2>/dev/null || g bundle create --quiet - HEAD
[ -n "$1" ] || g bundle create --quiet - HEAD
"""
)
# stdin: a message. Commits the whole work tree under it; nothing happens if nothing changed
_COMMIT = (
    _GIT
    + """
export GIT_AUTHOR_NAME=rdev GIT_AUTHOR_EMAIL=rdev@localhost GIT_COMMITTER_NAME=rdev GIT_COMMITTER_EMAIL=rdev@localhost
g add --all --end-of-options . || exit 1
g diff --cached --quiet || g -c commit.gpgSign=false commit --quiet --no-verify --cleanup=whitespace --file=-
"""
)
_HEX = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


def _scratch() -> IO[bytes]:
    import tempfile  # noqa: PLC0415 -- slow to load, and `exec` needs none of this

    return cast("IO[bytes]", tempfile.TemporaryFile())


def _heads(world: World, project: Project) -> tuple[str, str]:
    """Return the commit that the pod's HEAD is at, and the last one it had from the forge (empty: none)."""
    with _scratch() as out:
        world.cluster.run(project, ("sh", "-c", _HEADS), stdout=out, timeout=STANDARD)  # type: ignore[arg-type]
        out.seek(0)
        lines = [line.decode(errors="replace") for line in out.read(4096).splitlines()]
    head, had, *_ = [*(line if _HEX.fullmatch(line) else "" for line in lines), "", ""]
    return head, had


def bring_in(world: World, project: Project, *, fresh: bool = False) -> bool:
    """Bring the forge's newer commits into the pod's work tree; False if both sides moved on and it was left as it is."""
    if not fresh and _heads(world, project)[1] == world.forge.head(project):
        return True
    with world.forge.bundle(project) as bundle:
        ran = world.cluster.run(project, ("sh", "-c", _IN, "rdev", project.branch), stdin=bundle, timeout=LONG_RUNNING)
    if ran.code not in (0, 3):
        raise Failed(
            f"the work tree of {project.name} could not be brought up to date",
            hint=f"rdev git {project.name} -- status",
            code="WORKTREE",
            said=ran.stderr.decode(errors="replace")[-2000:],
        )
    return ran.code == 0


def commit(world: World, project: Project, subject: str, command: str) -> None:
    """Commit whatever changed in the pod's work tree, as the runner does after an agent's run; Failed if git could not."""
    with _scratch() as message:
        message.write(f"{subject}\n\nRdev-Command: {command}\n".encode("utf-8", "replace"))
        message.seek(0)
        ran = world.cluster.run(project, ("sh", "-c", _COMMIT), stdin=message, timeout=STANDARD)  # type: ignore[arg-type]
    if ran.code != 0:
        raise Failed(
            f"git could not commit what is in the work tree of {project.name}",
            hint=f"rdev git {project.name} -- status",
            code="WORKTREE",
            said=ran.stderr.decode(errors="replace")[-2000:],
        )


def deliver(world: World, project: Project, command: str) -> tuple[str, Delivery | None]:
    """Bring the pod's newest commit to the forge; return (commit, where it went), ("", None) if there is none new."""
    head, had = _heads(world, project)
    if not head or head in (had, world.forge.head(project)):
        return "", None
    with _scratch() as out:
        ran = world.cluster.run(project, ("sh", "-c", _OUT, "rdev", had), stdout=out, timeout=LONG_RUNNING)  # type: ignore[arg-type]
        if ran.code != 0:
            raise Failed(
                "git in the pod could not bundle the commit",
                hint=f"rdev git {project.name} -- log",
                code="BAD_BUNDLE",
                said=ran.stderr.decode(errors="replace")[-2000:],
            )
        out.seek(0)
        return head, world.forge.receive(project, out, sha=head, rescue=f"rdev/rescue/{command}")  # type: ignore[arg-type]
