"""Bare repositories on this machine: what forges do in them, whether they are the forge's own or a mirror of what it has elsewhere."""

import fcntl
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from rdev_cli.adapters.shared.files import private_folder, remove_tree, write_whole
from rdev_cli.adapters.shared.git import STRICT, git, telling
from rdev_cli.domain.errors import Conflict, Failed, NotFound
from rdev_cli.domain.project import ownership
from rdev_cli.domain.values import shown
from rdev_cli.ports.timing import LONG_RUNNING

if TYPE_CHECKING:
    from rdev_cli.domain.project import Project
    from rdev_cli.domain.review import Pull
    from rdev_cli.domain.standing import Commit

HEX = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
WHO = "rdev <rdev@localhost>"
_LATEST = 253402214400  # the last day that a datetime can name, in every time zone
# newer gits believe what HEAD's .gitattributes say, which could hide a change as binary
PLAIN = ("-c", "attr.tree=4b825dc642cb6eb9a060e54bf8d69288fbee4904", "-c", "core.quotePath=true", "-c", "diff.suppressBlankEmpty=false")


def owner(path: Path) -> dict[str, str] | None:
    """Return what a repository says of whose it is; None if it says nothing."""
    try:
        found: dict[str, str] = json.loads((path / "rdev.json").read_bytes())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def mark(project: "Project", installation: str, *, of: str = "") -> dict[str, str]:
    """Return what stands on the repository of a project, and of the places of its sessions too; `of`: what it is a mirror of."""
    return {**ownership(project, installation), "id": project.owner_id, **({"mirror": of} if of else {})}


def make(path: Path, project: "Project", installation: str, *, of: str = "") -> None:
    """Make an empty repository that says whose it is."""
    private_folder(path.parent)
    # made whole under another name first: a repository without its mark is nobody's and would be in the way
    part = private_folder(path.parent / f".new-{project.owner_id}")
    git(part, "init", "--quiet", "--bare", "--template=", f"--initial-branch={project.branch}", "--end-of-options", str(part))
    write_whole(part / "rdev.json", json.dumps(mark(project, installation, of=of)).encode())
    os.rename(part, path)


def remove(path: Path, project: "Project") -> None:
    """Remove a repository, and what was begun of one."""
    remove_tree(path.parent / f".new-{project.owner_id}")
    doomed = path.parent / f".old-{project.owner_id}"
    if path.is_dir():
        os.rename(path, doomed)  # from here on the name is free, whatever happens
    remove_tree(doomed)


def seed(path: Path, project: "Project", files: Mapping[str, tuple[bytes, bool]]) -> None:
    """Put one first commit of these files on the project's branch."""
    when = int(project.created_at.timestamp())  # the record's own time: the same commit however often
    lines = [
        f"commit refs/heads/{project.branch}\nauthor {WHO} {when} +0000\ncommitter {WHO} {when} +0000\n".encode(),
        _data(f"Create {project.name} from the skeleton\n".encode()),
    ]
    for name in sorted(files):
        content, executable = files[name]
        lines += [f"M {'100755' if executable else '100644'} inline {name}\n".encode(), _data(content)]
    git(path, "fast-import", "--quiet", "--done", stdin=b"".join([*lines, b"done\n"]))


def _data(content: bytes) -> bytes:
    return b"data %d\n%s\n" % (len(content), content)


def standing(path: Path, branch: str) -> str:
    """Return the commit that a branch is at, empty if there is none."""
    try:
        loose = (path / "refs" / "heads" / branch).read_text().strip()
    except (OSError, ValueError):
        loose = ""
    if HEX.fullmatch(loose):
        return loose  # what git would say, without a process
    if not path.is_dir():
        return ""
    code, out = git(path, "rev-parse", "--quiet", "--verify", "--end-of-options", f"refs/heads/{branch}", ok=(0, 1))
    return out.decode().strip() if code == 0 else ""


def main(path: Path) -> str:
    """Return the branch that the repository is about, empty if there is no repository."""
    try:
        return (path / "HEAD").read_text().strip().removeprefix("ref: refs/heads/")
    except OSError:
        return ""


def branches(path: Path) -> list[tuple[str, str]]:
    """Return (name, commit) of each branch, by name."""
    if not path.is_dir():
        return []
    _, out = git(path, "for-each-ref", "--format=%(objectname) %(refname)", "--end-of-options", "refs/heads/")
    lines = (line.split(" ", 1) for line in out.decode("utf-8", "surrogateescape").splitlines())
    return sorted((ref.removeprefix("refs/heads/"), sha) for sha, ref in lines)


def move(path: Path, branch: str, new: str, old: str) -> bool:
    """Bring a branch from one commit to another, `old` empty for one that is not there; return whether it still stood where it was said."""
    code, _ = git(path, "update-ref", "--end-of-options", f"refs/heads/{branch}", new, old or "0" * len(new), ok=(0, 1, 128))
    return code == 0


def ancestor(path: Path, old: str, new: str) -> bool:
    """Say whether `new` has `old` in its history; False where one of them is not there."""
    code, _ = git(path, "merge-base", "--is-ancestor", "--end-of-options", old, new, ok=(0, 1, 128))
    return code == 0


def has(path: Path, sha: str) -> bool:
    """Say whether a commit is there."""
    if not HEX.fullmatch(sha) or not path.is_dir():
        return False
    code, _ = git(path, "cat-file", "-e", "--end-of-options", f"{sha}^{{commit}}", ok=(0, 1, 128))
    return code == 0


def must_have(path: Path, *commits: str) -> None:
    """Raise NotFound for a commit that is not there."""
    for sha in commits:
        if not has(path, sha):
            raise NotFound(
                f"there is no commit {sha[:64]!r} in {path.stem}", hint="rdev git PROJECT -- log shows what is there", commit=sha
            )


def merge_base(path: Path, a: str, b: str) -> str:
    """Return the best common ancestor of two commits, empty if they have none."""
    code, out = git(path, "merge-base", "--end-of-options", a, b, ok=(0, 1))
    return out.decode().split("\n", 1)[0] if code == 0 else ""


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold a lock on a folder while the block runs; it goes with its holder, however that ends."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


@contextmanager
def borrowing(path: Path, prefix: str = "incoming-") -> Iterator[Path]:
    """Give a repository of a moment that borrows another one's objects; what is made there stays there."""
    import tempfile  # noqa: PLC0415 -- slow to load, and `exec` looks at a head only

    with tempfile.TemporaryDirectory(dir=path, prefix=prefix) as folder:
        waiting = Path(folder)
        for part in ("objects/info", "objects/pack", "refs"):
            (waiting / part).mkdir(parents=True)
        (waiting / "objects/info/alternates").write_text("../../objects\n")
        (waiting / "HEAD").write_text("ref: refs/heads/none\n")
        yield waiting


def sweep(path: Path) -> None:
    """Remove what was killed while it borrowed."""
    for waiting in path.glob("incoming-*"):
        remove_tree(waiting)


@contextmanager
def bundle(path: Path, branch: str, commit: str = "") -> Iterator[BinaryIO]:
    """Give a branch as a bundle; with `commit` it is at that commit in there."""
    import tempfile  # noqa: PLC0415 -- slow to load, and `exec` needs none

    with tempfile.TemporaryFile(dir=private_folder(path.parent)) as file:
        if commit:
            must_have(path, commit)
            with borrowing(path) as waiting:
                git(waiting, "update-ref", "--end-of-options", f"refs/heads/{branch}", commit)
                _bundled(waiting, branch, file)
        else:
            _bundled(path, branch, file)
        file.seek(0)
        yield file


def _bundled(path: Path, branch: str, file: BinaryIO) -> None:
    git(path, "bundle", "create", "--quiet", "-", "--end-of-options", f"refs/heads/{branch}", stdout=file)


def unpack(path: Path, bundle: BinaryIO, sha: str, *, look: Callable[[Path], None] | None = None) -> None:
    """Bring a bundle's objects in, if each of them is sound, all that they name is there, and `sha` is a commit among them.

    They wait in a repository of their own that borrows this one's, where `look` may look at them: what is refused leaves nothing behind.
    """
    import shutil  # noqa: PLC0415 -- as below
    import tempfile  # noqa: PLC0415 -- slow to load, and `exec` looks at a head only

    if not HEX.fullmatch(sha):
        raise bad("the pod named no commit")
    if bundle.readline(64) not in (b"# v2 git bundle\n", b"# v3 git bundle\n"):
        raise bad("the pod sent no bundle")
    line, whole = b"", True  # what it says of itself counts for nothing; behind an empty line the pack follows
    while not (line == b"\n" and whole):
        whole = line.endswith(b"\n") or not line
        if not (line := bundle.readline(4096)):
            raise bad("the pod sent a bundle that ends before its pack")
    with borrowing(path) as waiting, tempfile.TemporaryFile(dir=path) as pack:
        shutil.copyfileobj(bundle, pack, 1 << 20)
        pack.seek(0)
        try:
            git(waiting, "index-pack", "--stdin", "--fix-thin", STRICT, stdin=pack, timeout=LONG_RUNNING)
        except Failed as e:
            said = e.context["said"]
            raise bad(f"the pod sent objects that are not sound: {telling(said)}", said=said) from e
        _, got = git(waiting, "rev-parse", "--quiet", "--verify", "--end-of-options", f"{sha}^{{commit}}", ok=(0, 1, 128))
        if got.decode().strip() != sha:
            raise bad("the bundle holds another commit than the pod named")
        if look is not None:
            look(waiting)
        # an index last: with it git finds the pack
        for file in sorted((waiting / "objects/pack").glob("pack-*"), key=lambda file: file.suffix == ".idx"):
            os.replace(file, path / "objects/pack" / file.name)


def bad(message: str, **context: str) -> Failed:
    """Return what to say of a bundle that is not what it says."""
    return Failed(message, hint="rdev git PROJECT -- log shows what is there", code="BAD_BUNDLE", **context)


def rescue_names(rescue: str) -> Iterator[str]:
    """Yield the branches that can take what fits nowhere else, the first of them by choice."""
    yield rescue
    for number in range(2, 1000):
        yield f"{rescue}-{number}"


def joined(path: Path, *, base: str, head: str, message: str) -> str:
    """Return a commit that joins two others, the first as its first parent; Conflict MERGE_CONFLICT with the files where both changed the same.

    Nothing refers to it yet.
    """
    code, out = git(
        path, *PLAIN, "merge-tree", "--write-tree", "-z", "--name-only", "--no-messages", "--end-of-options", base, head, ok=(0, 1)
    )
    tree, *rest = out.decode("utf-8", "surrogateescape").split("\0")
    if code != 0:
        files = tuple(sorted({name for name in rest if name}))
        raise Conflict(
            f"{len(files)} file{'s' if len(files) != 1 else ''} changed on both sides: {', '.join(files[:5])}{', …' if len(files) > 5 else ''}",
            hint="bring the newer commits in where you work, solve it there, and check in again",
            code="MERGE_CONFLICT",
            files=files,
        )
    own = "-c", "user.name=rdev", "-c", "user.email=rdev@localhost"
    _, made = git(
        path, *own, "commit-tree", f"-p{base}", f"-p{head}", "-F-", "--end-of-options", tree, stdin=message.encode("utf-8", "replace")
    )
    return made.decode().strip()


def joining(path: Path, base: str, head: str) -> str:
    """Return the commit by which a branch's first line got `head`, empty if it did not: the merge, or `head` itself."""
    _, out = git(path, "rev-list", "--first-parent", "--parents", "--max-count=2000", "--end-of-options", base)
    for line in out.decode().splitlines():
        sha, *parents = line.split()
        if sha == head or head in parents[1:]:
            return sha
    return ""


def commit(path: Path, sha: str) -> "Commit | None":
    """Return a commit with what it changed, None if there is no such commit."""
    if not path.is_dir():
        return None
    code, out = git(
        path, "show", "--no-ext-diff", "--no-textconv", "--no-color", "--numstat", "--stat=76", "--format=%H%x00%s%x00%an%x00%ct%x00",
        "--first-parent", "--diff-merges=first-parent", "--end-of-options", sha, "--", ok=(0, 128),
    )  # fmt: skip
    if code != 0:
        return None
    from rdev_cli.domain.standing import Commit  # noqa: PLC0415 -- only who looks at one needs it

    full, subject, author, at, rest = out.decode(errors="replace").split("\0", 4)
    counts = [line.split("\t") for line in rest.splitlines() if re.match(r"[0-9-]+\t[0-9-]+\t", line)]
    return Commit(
        sha=full, subject=subject, author=author, at=_moment(at), files=len(counts),
        insertions=sum(int(c[0]) for c in counts if c[0] != "-"), deletions=sum(int(c[1]) for c in counts if c[1] != "-"),
        stat="\n".join(line for line in rest.splitlines() if line.startswith(" ")),
    )  # fmt: skip


def _moment(seconds: str) -> datetime:
    """Return the time that a commit names: anybody may write anything there, also what no calendar holds."""
    return datetime.fromtimestamp(min(int(seconds), _LATEST) if seconds.isdecimal() else 0, UTC)


def drop(path: Path, branch: str, old: str) -> bool:
    """Remove a branch; return whether it still stood where it was said."""
    code, _ = git(path, "update-ref", "-d", "--end-of-options", f"refs/heads/{branch}", old, ok=(0, 1, 128))
    return code == 0


# what both forges say alike


def branch_exists(project: "Project", name: str, sha: str) -> Conflict:
    """Return what to say of a branch that is there at another commit."""
    return Conflict(
        f"there is a branch {shown(name)} in {project.name} already, at {sha[:10]}",
        hint=f"take another name, or go on with it; rdev branch list {project.name}",
        code="BRANCH_EXISTS",
        branch=name,
        commit=sha,
    )


def branch_in_the_way(project: "Project", name: str) -> Conflict:
    """Return what to say of a branch that git cannot make beside the others: `a` and `a/b` exclude each other."""
    return Conflict(
        f"a branch {shown(name)} does not fit beside the ones of {project.name}",
        hint=f"take another name; rdev branch list {project.name}",
        code="BRANCH_EXISTS",
        branch=name,
    )


def branch_moved(project: "Project", name: str, sha: str) -> Conflict:
    """Return what to say of a branch that is not where its remover saw it."""
    return Conflict(
        f"{shown(name)} moved on to {sha[:10]}, so it stays",
        hint=f"look at it: rdev branch list {project.name}",
        code="BRANCH_MOVED",
        branch=name,
        commit=sha,
    )


def branch_kept(project: "Project", name: str) -> Conflict:
    """Return what to say of a branch that cannot be removed now."""
    return Conflict(
        f"{shown(name)} of {project.name} is protected, so it stays",
        hint="a project's own branch always stays, the others while somebody has a checkout: rdev checkout list",
        code="BRANCH_PROTECTED",
        branch=name,
    )


def head_moved(pull: "Pull", sha: str) -> Conflict:
    """Return what to say of a pull request whose branch has other commits than those that were looked at."""
    return Conflict(
        f"{shown(pull.head)} moved on from {sha[:10]} to {pull.sha[:10]} meanwhile, so it was not merged",
        hint="check in again: the newer commits are looked at then",
        code="HEAD_MOVED",
        branch=pull.head,
        commit=pull.sha,
    )


def pull_closed(pull: "Pull") -> Conflict:
    """Return what to say of a pull request that somebody closed."""
    return Conflict(
        f"the pull request {pull.number} was closed without a merge",
        hint="check in again to open another",
        code="PULL_CLOSED",
        number=pull.number,
    )
