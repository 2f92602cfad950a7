"""What a session's work tree holds and no branch of the forge: looked at, committed, and kept before its pod goes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from rdev_cli.domain.errors import Conflict, Failed
from rdev_cli.domain.session import Tree, rescue_branch
from rdev_cli.ops import workspaces
from rdev_cli.ops.workspaces import GIT, scratch
from rdev_cli.ports.timing import LONG_RUNNING, STANDARD

if TYPE_CHECKING:
    from datetime import datetime

    from rdev_cli.domain.project import Project
    from rdev_cli.ports import World

SHOWN = 200  # paths that are named; the others are counted
# HEAD, then what `git status` says of every path, each ended by a NUL
_LOOK = GIT + "g rev-parse --quiet --verify HEAD || echo; g status --porcelain=v1 -z --no-renames --untracked-files=all"
# stdin: a message. Commits what is staged and nothing else, then says HEAD. 3: nothing is staged
_STAGED = (
    GIT
    + """
export GIT_AUTHOR_NAME="$1" GIT_AUTHOR_EMAIL=rdev@localhost GIT_COMMITTER_NAME=rdev GIT_COMMITTER_EMAIL=rdev@localhost
! g diff --cached --quiet || exit 3
g -c commit.gpgSign=false commit --quiet --no-verify --cleanup=whitespace --file=- || exit 1
g rev-parse --verify HEAD
"""
)
# stdin: a message. Says the commit that holds everything here, and puts it at refs/rdev/keep: HEAD, or one on top of it with the files
# as they are, what other branches have, and what was put aside. Index and HEAD stay. The same again is the same commit, for its time is
# given. Of a repository inside this one git would keep a number only: unless it is a submodule, its files are taken. 6: no work tree of rdev's
_KEEP = (
    GIT
    + """
export GIT_AUTHOR_NAME=rdev GIT_AUTHOR_EMAIL=rdev@localhost GIT_COMMITTER_NAME=rdev GIT_COMMITTER_EMAIL=rdev@localhost
export GIT_AUTHOR_DATE="@$1 +0000" GIT_COMMITTER_DATE="@$1 +0000"
g rev-parse --quiet --verify refs/rdev/whole >/dev/null || exit 6
head=$(g rev-parse --quiet --verify 'HEAD^{commit}') || head=
index=$HOME/.rdev-keep.$$ message=$HOME/.rdev-why.$$ paths=$HOME/.rdev-paths.$$
trap 'rm -f "$index" "$index.lock" "$message" "$paths"' EXIT
cat >"$message" || exit 1
cp "$(g rev-parse --git-path index)" "$index" 2>/dev/null || rm -f "$index"
inside() { find . -mindepth 2 -name .git -prune -exec sh -c "$1" rdev {} \\; ; }
{ printf '.\\0'; inside 'd=${1#./}; printf ":(exclude,literal)%s\\0" "${d%/.git}"'; } >"$paths"
all() { GIT_INDEX_FILE=$index g add --all --pathspec-from-file="$paths" --pathspec-file-nul; }
if ! all 2>/dev/null; then
  find . -path ./.git -prune -o ! -type l ! -perm -600 -exec chmod u+rwX {} + 2>/dev/null
  all || exit 1
fi
GIT_INDEX_FILE=$index inside 'd=${1#./} d=${d%/.git}
  case $(git ls-tree HEAD -- "$d" 2>/dev/null) in 160000*) exit ;; esac
  find "$d" -name .git -prune -o \\( -type f -o -type l \\) -print0 | git update-index --add --replace -z --stdin' || exit 1
tree=$(GIT_INDEX_FILE=$index g write-tree) || exit 1
also=
for sha in $(g for-each-ref --count=200 --format='%(objectname)' refs/heads) $(g rev-list --max-count=200 -g refs/stash -- 2>/dev/null); do
  for seen in $head refs/rdev/forge; do
    ! g merge-base --is-ancestor "$sha" "$seen" 2>/dev/null || continue 2
  done
  also="$also -p $sha"
done
if [ -n "$head" ] && [ -z "$also" ] && [ "$tree" = "$(g rev-parse "$head^{tree}")" ]; then
  keep=$head
else
  keep=$(g commit-tree "$tree" ${head:+-p "$head"} $also <"$message") || exit 1
fi
g update-ref refs/rdev/keep "$keep" && echo "$keep"
"""
)
_HEX = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


def tree(world: World, place: Project) -> Tree:
    """Return what is in a session's work tree: its commit, whether something is staged, and which paths were changed beside that."""
    with scratch() as out:
        ran = world.cluster.run(place, ("sh", "-c", _LOOK, "rdev"), stdout=out, timeout=STANDARD)  # type: ignore[arg-type]
        if ran.code != 0:
            raise _broken(place, ran.stderr)
        out.seek(0)
        head, _, rest = out.read().partition(b"\n")
    staged, dirty, unmerged = False, list[str](), list[str]()
    for one in rest.split(b"\0"):
        if len(one) < 4:
            continue
        index, work, path = chr(one[0]), chr(one[1]), one[3:].decode("utf-8", "surrogateescape")
        if "U" in (index, work) or (index, work) in (("A", "A"), ("D", "D")):
            unmerged.append(path)
            continue
        staged = staged or index not in " ?"
        if work != " ":
            dirty.append(path)
    at = head.decode(errors="replace")
    return Tree(
        head=at if _HEX.fullmatch(at) else "",
        staged=staged,
        dirty=tuple(dirty[:SHOWN]),
        dirty_count=len(dirty),
        unmerged=tuple(unmerged[:SHOWN]),
    )


def commit_staged(world: World, place: Project, message: str, actor: str) -> str:
    """Commit what is staged in a session's work tree, in the name of an actor, and return the commit; Conflict NOTHING_STAGED if nothing is."""
    with scratch() as given, scratch() as out:
        given.write(f"{message}\n\nRdev-Session: {place.session_id}\n".encode("utf-8", "replace"))
        given.seek(0)
        ran = world.cluster.run(place, ("sh", "-c", _STAGED, "rdev", actor), stdin=given, stdout=out, timeout=STANDARD)  # type: ignore[arg-type]
        out.seek(0)
        said = out.read(200).decode(errors="replace").strip()
    if ran.code == 3:
        raise Conflict(
            f"nothing is staged in {place.target}", hint=f"rdev git {place.target} -- add FILE…, then again", code="NOTHING_STAGED"
        )
    if ran.code != 0 or not _HEX.fullmatch(said):
        raise _broken(place, ran.stderr)
    return said


def keep(world: World, place: Project, *, at: datetime, known: str) -> str:
    """Bring everything that a session's work tree holds and its branch at the forge does not to a branch of its own; return that branch.

    Files as they are, commits, other branches, what was put aside; not what git ignores. Empty if there is nothing of the kind:
    `known` is the commit that the session began at. Repeating it changes nothing. `at`: the time that the commit gets.
    """
    with scratch() as given, scratch() as out:
        given.write(f"Keep what was not checked in of {place.session_id}\n\nRdev-Session: {place.session_id}\n".encode())
        given.seek(0)
        argv = ("sh", "-c", _KEEP, "rdev", str(int(at.timestamp())))
        ran = world.cluster.run(place, argv, stdin=given, stdout=out, timeout=LONG_RUNNING)  # type: ignore[arg-type]
        out.seek(0)
        sha = out.read(200).decode(errors="replace").strip()
    if ran.code != 0 or not _HEX.fullmatch(sha):
        raise _broken(place, ran.stderr)
    newest = world.forge.head(place)
    if sha in (known, newest) or (newest and world.forge.ancestor(place, sha, newest)):
        return ""
    return workspaces.carry(
        world, place, sha, ref="refs/rdev/keep", had=newest or known, branch=rescue_branch(place.session_id),
        rescue=f"{rescue_branch(place.session_id)}-{sha[:12]}",
    ).branch  # fmt: skip


def _broken(place: Project, stderr: bytes) -> Failed:
    return Failed(
        f"git in the work tree of {place.target} does not work",
        hint=f"rdev git {place.target} -- status",
        code="WORKTREE",
        said=stderr.decode(errors="replace")[-2000:],
    )
