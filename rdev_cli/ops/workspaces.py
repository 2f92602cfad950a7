"""A pod's work tree and the forge: commits travel as bundles, and git runs in the pod only, by these fixed texts."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import Enum
from typing import IO, TYPE_CHECKING, cast

from rdev_cli.domain.errors import Conflict, Denied, Failed, Partial, Unavailable
from rdev_cli.ports.forge import Delivery
from rdev_cli.ports.timing import LONG_RUNNING, STANDARD

if TYPE_CHECKING:
    from rdev_cli.domain.project import Project
    from rdev_cli.ports import World
    from rdev_cli.ports.forge import Gate

# What a repository or its owner configured must not decide what these run: hooks and monitors are off. It could
# only hurt the pod itself, which the same agent may do anyway.
GIT = """
export GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null GIT_TERMINAL_PROMPT=0 GIT_ALLOW_PROTOCOL=file
g() { git -c core.hooksPath=/dev/null -c core.fsmonitor=false -c gc.auto=0 -c maintenance.auto=false "$@"; }
"""
# stdin: a bundle. Fills a work tree that is not whole, else brings the branch forward. FRESH: nobody worked in this pod yet, so what
# is there is rdev's own and half made. 3: both sides moved on; 4: changed files are in the way; 5: there are files and no rdev made them
_IN = (
    GIT
    + """
branch=$1 fresh=$2 file=$HOME/.rdev-in.$$
rm -f "$HOME"/.rdev-in.*
trap 'rm -f "$file"' EXIT
cat >"$file" || exit 1
[ -z "$fresh" ] || rm -f .git/*.lock
whole=
[ ! -e .git ] || ! g rev-parse --quiet --verify refs/rdev/whole >/dev/null || whole=1
[ -n "$whole$fresh" ] || [ -z "$(ls -A)" ] || exit 5
if [ -z "$whole" ] && [ -n "$fresh" ]; then # somebody waits for it, and there is nothing to join with: the fewest processes
  if [ -e .git ]; then g symbolic-ref HEAD "refs/heads/$branch"; else g init --quiet --template= --initial-branch="$branch"; fi || exit 1
  sha=$(g bundle unbundle "$file") && sha=${sha%% *} && g reset --hard --quiet "$sha" || exit 1
  printf 'update refs/rdev/%s '"$sha"'\\n' forge whole start | g update-ref --stdin
  exit
fi
[ -e .git ] || g init --quiet --template= --initial-branch="$branch" || exit 1
g fetch --quiet --no-tags --no-write-fetch-head --end-of-options "$file" "+refs/heads/$branch:refs/rdev/forge" || exit 1
code=0
if [ -n "$whole" ]; then
  if ! g merge --ff-only --quiet refs/rdev/forge >/dev/null 2>&1; then
    code=3
    ! g merge-base --is-ancestor HEAD refs/rdev/forge || code=4
  fi
else
  g update-ref "refs/heads/$branch" refs/rdev/forge && g reset --hard --quiet && g update-ref refs/rdev/whole HEAD || exit 1
fi
g update-ref refs/rdev/start HEAD && exit $code
"""
)
# four lines, each empty if there is none: HEAD, the forge's commit that was here last, HEAD when the last run began, `in` if the
# second is part of the first. With START the run begins now
_HEADS = (
    GIT
    + """
[ -z "$1" ] || g update-ref refs/rdev/start HEAD
for ref in HEAD refs/rdev/forge refs/rdev/start; do g rev-parse --quiet --verify "$ref" || echo; done
! g merge-base --is-ancestor refs/rdev/forge HEAD || echo in
"""
)
# stdout: a bundle of what the forge lacks, or, if the pod's idea of that was tampered with, of everything
_OUT = (
    GIT
    + """
[ -z "$1" ] || g bundle create --quiet - "$2" --not "$1" 2>/dev/null || g bundle create --quiet - "$2"
[ -n "$1" ] || g bundle create --quiet - "$2"
"""
)
# stdin: a bundle of the branch $1. Its commit is put beside what is here, where a merge finds it
_BESIDE = (
    GIT
    + """
file=$HOME/.rdev-in.$$
trap 'rm -f "$file"' EXIT
cat >"$file" && g fetch --quiet --no-tags --no-write-fetch-head --end-of-options "$file" "+refs/heads/$1:refs/rdev/target"
"""
)
# stdin: a message. Commits the whole work tree under it; nothing happens if nothing changed
_COMMIT = (
    GIT
    + """
export GIT_AUTHOR_NAME=rdev GIT_AUTHOR_EMAIL=rdev@localhost GIT_COMMITTER_NAME=rdev GIT_COMMITTER_EMAIL=rdev@localhost
g add --all --end-of-options . || exit 1
g diff --cached --quiet || g -c commit.gpgSign=false commit --quiet --no-verify --cleanup=whitespace --file=-
"""
)


class Fit(Enum):
    """How the forge's newest commit and a work tree stand to each other."""

    IN = "in"
    APART = "apart"  # both sides moved on
    BLOCKED = "blocked"  # it would fit, but changed files are in the way


_HEX = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


def scratch() -> IO[bytes]:
    """Return a file without a name, for what goes into a pod or comes out of it."""
    import tempfile  # noqa: PLC0415 -- slow to load, and `exec` needs none of this

    return cast("IO[bytes]", tempfile.TemporaryFile())


@dataclass(frozen=True, slots=True)
class _Heads:
    """Commits of a work tree, empty where there is none."""

    head: str
    had: str  # the last one it had from the forge
    start: str  # where HEAD was when the last run began
    holds: bool  # `had` is part of `head`


def _heads(world: World, project: Project, *, start: bool = False) -> _Heads:
    """Look at the pod's commits; `start` notes that a run begins at this HEAD."""
    with scratch() as out:
        argv = ("sh", "-c", _HEADS, "rdev", "start" if start else "")
        world.cluster.run(project, argv, stdout=out, timeout=STANDARD)  # type: ignore[arg-type]
        out.seek(0)
        lines = [line.decode(errors="replace") for line in out.read(4096).splitlines()]
    head, had, began, *_ = [*(line if _HEX.fullmatch(line) else "" for line in lines), "", "", ""]
    return _Heads(head, had, began, lines[3:4] == ["in"])


def head(world: World, project: Project) -> str:
    """Return the commit that the pod's HEAD is at, empty if there is none."""
    return _heads(world, project).head


def behind(world: World, project: Project) -> tuple[str, ...]:
    """Return words for people if the repository has commits that were never brought in; no process, in the pod or outside."""
    had = world.cluster.pod_commit(project)
    try:
        newest = world.forge.head(project) if had else ""
    except (Unavailable, Denied):
        return ()  # it is a word by the way, and whoever needs the forge hears of its trouble
    if not had or not newest or had == newest:
        return ()
    return (f"the repository has newer commits ({newest[:10]}); rdev project sync {project.name} brings them in",)


def bring_in(world: World, project: Project, *, fresh: bool = False) -> Fit:
    """Bring the forge's newer commits into the pod's work tree, and note where the next run begins.

    Says whether they are in; if not, the work tree is as it was. `fresh`: nobody worked in this pod yet. The caller holds the project
    or its work tree. Conflict if there are files that are not of this repository; they are left alone.
    """
    world.cluster.sweep(project)
    world.forge.sweep(project)
    newest = project.filled_with or world.forge.head(project)
    if not fresh:
        found = _heads(world, project, start=True)
        if found.head == newest or (found.had == newest and found.holds):
            world.cluster.mark_pod(project, newest)
            return Fit.IN
    with world.forge.bundle(project, project.filled_with) as bundle:
        argv = ("sh", "-c", _IN, "rdev", project.branch, "fresh" if fresh else "")
        ran = world.cluster.run(project, argv, stdin=bundle, timeout=LONG_RUNNING)
    if ran.code == 5:
        raise Conflict(
            f"the work tree of {project.target} is no checkout of its repository any more, and there are files in it",
            hint=f"rdev shell {project.target} 'mkdir -p ~/kept && find . -mindepth 1 -maxdepth 1 -exec mv {{}} ~/kept/ \\;'"
            " puts them aside; then it is filled again",
            code="WORKTREE_FOREIGN",
            project=project.name,
        )
    if ran.code not in (0, 3, 4):
        raise Failed(
            f"the work tree of {project.target} could not be brought up to date",
            hint=f"rdev git {project.target} -- status",
            code="WORKTREE",
            said=ran.stderr.decode(errors="replace")[-2000:],
        )
    if ran.code == 0:
        world.cluster.mark_pod(project, newest)
    return {0: Fit.IN, 3: Fit.APART, 4: Fit.BLOCKED}[ran.code]


def commit(world: World, project: Project, subject: str, command: str) -> None:
    """Commit whatever changed in the pod's work tree, as the runner does after an agent's run; Failed if git could not."""
    with scratch() as message:
        message.write(f"{subject}\n\nRdev-Command: {command}\n".encode("utf-8", "replace"))
        message.seek(0)
        ran = world.cluster.run(project, ("sh", "-c", _COMMIT), stdin=message, timeout=STANDARD)  # type: ignore[arg-type]
    if ran.code != 0:
        raise Failed(
            f"git could not commit what is in the work tree of {project.target}",
            hint=f"rdev git {project.target} -- status",
            code="WORKTREE",
            said=ran.stderr.decode(errors="replace")[-2000:],
        )


def deliver(world: World, project: Project, command: str) -> tuple[str, Delivery | None]:
    """Bring the commit that a run ended in to the forge; return (commit, where it went), ("", None) if the run made none."""
    found, newest = _heads(world, project), world.forge.head(project)
    if not found.head or found.head == found.start or (not found.start and found.head in (found.had, newest)):
        return "", None
    if found.head == newest:
        # whoever brought it there was killed before that was recorded
        return newest, Delivery(branch=project.branch, rescued=False)
    return found.head, _carry(world, project, found, rescue=f"rdev/rescue/{command}")


def hand_in(world: World, project: Project) -> str:
    """Bring all that a pod's HEAD is made of to a repository that has nothing yet; return the commit, empty if there is none."""
    found = _heads(world, project)
    if found.head and found.head != world.forge.head(project):
        _carry(world, project, replace(found, had=""), rescue=f"rdev/rescue/{found.head[:12]}")
    return found.head


def rescued(branch: str) -> Partial:
    """Return what to say of a commit that went to a branch of its own."""
    return Partial(
        f"the branch had moved on meanwhile, so the commit went to {branch}",
        left=(branch,),
        hint=f"merge it where you work: git merge origin/{branch}",
        code="RESCUED",
        branch=branch,
    )


def sync(world: World, project: Project, *, gate: Gate | None = None) -> tuple[str, str, Delivery | None]:
    """Bring each side's newer commits to the other, fast-forward; return (commit, where HEAD was before, where the pod's own went).

    Conflict, with what to type, if both moved on or changed files are in the way: nothing was changed then. `gate` looks at what
    the pod's own commits hold before they go anywhere.
    """
    before = _heads(world, project)
    fit = bring_in(world, project)
    if fit is Fit.APART:
        raise Conflict(
            f"the repository and the work tree of {project.target} both moved on",
            hint=f"rdev git {project.target} -- -c user.name=NAME -c user.email=MAIL merge refs/rdev/forge joins them; then sync again",
            code="DIVERGED",
            project=project.name,
        )
    if fit is Fit.BLOCKED:
        raise Conflict(
            f"what was changed in the work tree of {project.target} is in the way of newer commits",
            hint=f"rdev git {project.target} -- status shows it; commit it, or put it aside: rdev git {project.target} -- stash -u",
            code="WORKTREE_DIRTY",
            project=project.name,
        )
    found = _heads(world, project)
    if not found.head or found.head == world.forge.head(project):
        return found.head, before.head, None
    return found.head, before.head, _carry(world, project, found, rescue=f"rdev/rescue/{found.head[:12]}", gate=gate)


def set_beside(world: World, project: Project, owner: Project, commit: str) -> None:
    """Put a commit of the project `owner` into the pod at refs/rdev/target, so that it can be merged there; the work tree stays as it is."""
    with world.forge.bundle(owner, commit) as bundle:
        ran = world.cluster.run(project, ("sh", "-c", _BESIDE, "rdev", owner.branch), stdin=bundle, timeout=LONG_RUNNING)
    if ran.code != 0:
        raise Failed(
            f"{commit[:10]} could not be brought into the pod of {project.target}",
            hint=f"rdev git {project.target} -- status",
            code="WORKTREE",
            said=ran.stderr.decode(errors="replace")[-2000:],
        )


def _carry(world: World, project: Project, found: _Heads, *, rescue: str, gate: Gate | None = None) -> Delivery:
    """Bring the pod's HEAD to the forge."""
    where = carry(world, project, found.head, ref="HEAD", had=found.had, rescue=rescue, gate=gate)
    if not where.rescued:
        world.cluster.mark_pod(project, found.head)
    return where


def carry(
    world: World, project: Project, sha: str, *, ref: str, had: str, rescue: str, branch: str = "", gate: Gate | None = None
) -> Delivery:
    """Bring a commit that a ref of the pod is at to a branch of the forge, the project's by default; `had` is one that the forge has."""
    with scratch() as out:
        ran = world.cluster.run(project, ("sh", "-c", _OUT, "rdev", had, ref), stdout=out, timeout=LONG_RUNNING)  # type: ignore[arg-type]
        if ran.code != 0:
            raise Failed(
                "git in the pod could not bundle the commit",
                hint=f"rdev git {project.target} -- log",
                code="BAD_BUNDLE",
                said=ran.stderr.decode(errors="replace")[-2000:],
            )
        out.seek(0)
        there = replace(project, branch=branch) if branch else project
        return world.forge.receive(there, out, sha=sha, rescue=rescue, gate=gate)  # type: ignore[arg-type]
