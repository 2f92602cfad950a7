"""The forge of `local`: bare repositories in the state folder."""

import json
import os
import re
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from rdev_cli.adapters.shared.files import private_folder, remove_tree, write_whole
from rdev_cli.adapters.shared.git import STRICT, git, telling
from rdev_cli.domain.errors import Conflict, Failed, Invalid, NotFound, Unavailable
from rdev_cli.domain.project import Project, ownership
from rdev_cli.domain.values import shown
from rdev_cli.ports.forge import Delivery
from rdev_cli.ports.timing import FAST_LOOKUP, LONG_RUNNING, Stop

if TYPE_CHECKING:
    from rdev_cli.domain.standing import Commit

_HEX = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
# Neither a user nor a host may begin with `-`, which ssh would take for an option; nor hold `%`, behind which git would find one.
_USER, _HOST = r"[A-Za-z0-9_][A-Za-z0-9_.-]*", r"[A-Za-z0-9][A-Za-z0-9.-]*"
_URL = re.compile(rf"(https://|ssh://({_USER}@)?)({_HOST}|\[[0-9A-Fa-f:.]+\])(:[0-9]+)?/\S*")
_SCP = re.compile(rf"{_USER}@{_HOST}:[^-\s]\S*")
_SECRET = re.compile(r"https://[^/]*@.*|[A-Za-z][A-Za-z0-9+.-]*://[^/@]*:[^/@]*@.*")
_LATEST = 253402214400  # the last day that a datetime can name, in every time zone
_AUTHOR = "rdev <rdev@localhost>"


class LocalForge:
    """The Forge port on bare repositories."""

    def __init__(self, folder: Path, installation: str) -> None:
        self._folder, self._installation = folder / "repos", installation

    def _path(self, project: str) -> Path:
        return self._folder / f"{project}.git"

    def url(self, project: str) -> str:
        return str(self._path(project))

    def _present(self, project: Project) -> bool:
        try:
            found = json.loads((self._path(project.name) / "rdev.json").read_bytes())
        except (OSError, ValueError):
            if self._path(project.name).exists():
                found = None
            else:
                return False
        if found != ownership(project, self._installation):
            raise Conflict(
                f"the repository {self._path(project.name)} is not this project's",
                hint="move it away, or take another project name",
                repository=str(self._path(project.name)),
            )
        return True

    def ensure_repository(self, project: Project) -> None:
        if self._present(project):
            return
        private_folder(self._folder)
        # made whole under another name first: a repository without its mark is nobody's and would be in the way
        part = private_folder(self._folder / f".new-{project.id}")
        git(part, "init", "--quiet", "--bare", "--template=", f"--initial-branch={project.branch}", "--end-of-options", str(part))
        write_whole(part / "rdev.json", json.dumps(ownership(project, self._installation)).encode())
        os.rename(part, self._path(project.name))

    def seed(self, project: Project, files: Mapping[str, tuple[bytes, bool]]) -> None:
        if self.head(project):
            return
        when = int(project.created_at.timestamp())  # the record's own time: the same commit however often
        lines = [
            f"commit refs/heads/{project.branch}\nauthor {_AUTHOR} {when} +0000\ncommitter {_AUTHOR} {when} +0000\n".encode(),
            _data(f"Create {project.name} from the skeleton\n".encode()),
        ]
        for path in sorted(files):
            content, executable = files[path]
            lines += [f"M {'100755' if executable else '100644'} inline {path}\n".encode(), _data(content)]
        git(self._path(project.name), "fast-import", "--quiet", "--done", stdin=b"".join([*lines, b"done\n"]))

    def check_source(self, source: str, stop: Stop) -> str:
        scheme = re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", source)
        if _SECRET.fullmatch(source):
            raise Invalid(
                "the URL holds credentials, which would stay in records",
                hint="clone it yourself and give the folder: --from DIR",
                field="source",
            )
        if _URL.fullmatch(source) or _SCP.fullmatch(source):
            return source
        if scheme and not os.path.exists(source):
            raise Invalid(
                f"--from '{shown(source)}' is not a URL that rdev takes",
                hint="https://…, ssh://…, user@host:path, or a folder",
                field="source",
            )
        path = os.path.realpath(source)
        state = os.path.realpath(self._folder.parent.parent)
        if path.startswith(f"{state}/") and path.removeprefix(f"{state}/").split("/")[1:2] != ["repos"]:
            # what is in a pod is an agent's, and git on the host never runs there
            raise Invalid(
                f"{shown(source)} is rdev's own", hint="give the project's repository: rdev project show NAME -o json", field="source"
            )
        if not os.path.isdir(path):
            hint = "give a folder with a git repository, or a URL"
            if re.match(r"[\w-]+(\.[\w-]+)+/", source):
                hint = f"for a URL: --from https://{shown(source)}"
            raise NotFound(f"there is no folder {shown(source)}", hint=hint, source=source)
        # its configuration may include what never ends, so this is bounded, and a Ctrl-C ends it
        code, out = git(Path(path), "rev-parse", "--is-shallow-repository", "--show-prefix", ok=range(256), timeout=FAST_LOOKUP, stop=stop)
        if code != 0:
            raise Invalid(
                f"{shown(source)} is no git repository of yours",
                hint=f"make it one, and commit what shall be in it: git -C {shlex.quote(shown(source, most=4096))} init",
                field="source",
            )
        shallow, _, prefix = os.fsdecode(out).removesuffix("\n").partition("\n")
        if prefix:
            top = path.removesuffix(f"/{prefix.removesuffix('/')}")
            raise Invalid(
                f"{shown(source)} is a folder inside a repository", hint=f"give the repository's top folder: {top}", field="source"
            )
        if shallow == "true":
            raise Invalid(
                f"{shown(source)} is a shallow clone, without its whole history", hint=f"git -C {path} fetch --unshallow", field="source"
            )
        return path

    def take(self, project: Project, source: str, stop: Stop) -> str:
        path = self._path(project.name)
        protocols = "file" if os.path.isdir(source) else "https:ssh"
        try:
            _, refs = git(
                path, "ls-remote", "--symref", "--quiet", "--end-of-options", source, "HEAD", "refs/heads/*",
                protocols=protocols, stop=stop, timeout=LONG_RUNNING,
            )  # fmt: skip
        except Failed as e:
            said = e.context["said"]
            raise Unavailable(
                f"{shown(source, most=200)} cannot be read: {telling(said)}",
                hint="look at the address and at what it lets you read, or clone it yourself and use --from DIR",
                said=said,
            ) from e
        branch, heads, at = "", dict[str, str](), ""
        for line in refs.decode("utf-8", "surrogateescape").splitlines():
            value, _, ref = line.partition("\t")
            if ref == "HEAD" and value.startswith("ref: refs/heads/"):
                branch = value.removeprefix("ref: refs/heads/")
            elif ref == "HEAD":
                at = value
            elif ref.startswith("refs/heads/"):
                heads[ref.removeprefix("refs/heads/")] = value
        if branch not in heads:  # a detached HEAD names a commit only
            branch = (
                next((b for b in ("main", "master") if b in heads), "")
                or next((b for b, sha in heads.items() if sha == at), "")
                or next(iter(heads), "")
            )
        if not branch:
            where = shlex.quote(shown(source, most=4096))
            hint = f"commit something there first: git -C {where} add . && git -C {where} commit -m begin"
            raise Invalid(f"{shown(source)} has no commit on any branch", hint=hint, field="source")
        # branches and their history; tags, notes, configuration, hooks and submodules stay where they are
        git(
            path, "fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules", "--end-of-options", source,
            "+refs/heads/*:refs/heads/*", protocols=protocols, stop=stop, timeout=LONG_RUNNING,
        )  # fmt: skip
        git(path, "symbolic-ref", "--end-of-options", "HEAD", f"refs/heads/{branch}")
        return branch

    def head(self, project: Project) -> str:
        path = self._path(project.name)
        try:
            loose = (path / "refs" / "heads" / project.branch).read_text().strip()
        except (OSError, ValueError):
            loose = ""
        if _HEX.fullmatch(loose):
            return loose  # what git would say, without a process
        if not path.is_dir():
            return ""
        code, out = git(path, "rev-parse", "--quiet", "--verify", "--end-of-options", f"refs/heads/{project.branch}", ok=(0, 1))
        return out.decode().strip() if code == 0 else ""

    @contextmanager
    def bundle(self, project: Project) -> Iterator[BinaryIO]:
        import tempfile  # noqa: PLC0415 -- slow to load, and `exec` needs none

        with tempfile.TemporaryFile(dir=private_folder(self._folder)) as file:
            git(
                self._path(project.name),
                "bundle",
                "create",
                "--quiet",
                "-",
                "--end-of-options",
                f"refs/heads/{project.branch}",
                stdout=file,
            )
            file.seek(0)
            yield file

    def receive(self, project: Project, bundle: BinaryIO, *, sha: str, rescue: str) -> Delivery:
        if not _HEX.fullmatch(sha):
            raise _bad("the pod named no commit")
        path, ref = self._path(project.name), f"refs/heads/{project.branch}"
        if self._ancestor(path, sha, ref):
            return Delivery(branch=project.branch, rescued=False)
        self._unpack(path, bundle, sha)
        for _ in range(5):
            old = self.head(project)
            if old and not self._ancestor(path, old, sha):
                git(path, "update-ref", "--end-of-options", f"refs/heads/{rescue}", sha)
                return Delivery(branch=rescue, rescued=True)
            # only if the branch still stands where it was looked at
            code, _ = git(path, "update-ref", "--end-of-options", ref, sha, old or "0" * len(sha), ok=(0, 1, 128))
            if code == 0:
                return Delivery(branch=project.branch, rescued=False)
        raise Conflict(f"{project.branch} keeps moving", hint="try again", project=project.name)

    def _unpack(self, path: Path, bundle: BinaryIO, sha: str) -> None:
        """Bring a bundle's objects in, if each of them is sound, all that they name is there, and `sha` is a commit among them.

        They wait in a repository of their own that borrows this one's: what is refused leaves nothing behind.
        """
        import shutil  # noqa: PLC0415 -- as below
        import tempfile  # noqa: PLC0415 -- slow to load, and `exec` looks at a head only

        if bundle.readline(64) not in (b"# v2 git bundle\n", b"# v3 git bundle\n"):
            raise _bad("the pod sent no bundle")
        line, whole = b"", True  # what it says of itself counts for nothing; behind an empty line the pack follows
        while not (line == b"\n" and whole):
            whole = line.endswith(b"\n") or not line
            if not (line := bundle.readline(4096)):
                raise _bad("the pod sent a bundle that ends before its pack")
        with tempfile.TemporaryDirectory(dir=path, prefix="incoming-") as folder, tempfile.TemporaryFile(dir=path) as pack:
            waiting = Path(folder)
            for part in ("objects/info", "objects/pack", "refs"):
                (waiting / part).mkdir(parents=True)
            (waiting / "objects/info/alternates").write_text("../../objects\n")
            (waiting / "HEAD").write_text("ref: refs/heads/none\n")
            shutil.copyfileobj(bundle, pack, 1 << 20)
            pack.seek(0)
            try:
                git(waiting, "index-pack", "--stdin", "--fix-thin", STRICT, stdin=pack, timeout=LONG_RUNNING)
            except Failed as e:
                said = e.context["said"]
                raise _bad(f"the pod sent objects that are not sound: {telling(said)}", said=said) from e
            _, got = git(waiting, "rev-parse", "--quiet", "--verify", "--end-of-options", f"{sha}^{{commit}}", ok=(0, 1, 128))
            if got.decode().strip() != sha:
                raise _bad("the bundle holds another commit than the pod named")
            # an index last: with it git finds the pack
            for file in sorted((waiting / "objects/pack").glob("pack-*"), key=lambda file: file.suffix == ".idx"):
                os.replace(file, path / "objects/pack" / file.name)

    def sweep(self, project: Project) -> None:
        for waiting in self._path(project.name).glob("incoming-*"):
            remove_tree(waiting)

    def _ancestor(self, path: Path, old: str, new: str) -> bool:
        code, _ = git(path, "merge-base", "--is-ancestor", "--end-of-options", old, new, ok=(0, 1, 128))
        return code == 0

    def commit(self, project: Project, sha: str) -> "Commit | None":
        path = self._path(project.name)
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

    def delete_repository(self, project: Project) -> bool:
        remove_tree(self._folder / f".new-{project.id}")
        doomed = self._folder / f".old-{project.id}"
        there = self._present(project)
        if there:
            os.rename(self._path(project.name), doomed)  # from here on the name is free, whatever happens
        remove_tree(doomed)
        return there


def _bad(message: str, **context: str) -> Failed:
    return Failed(message, hint="rdev git PROJECT -- log shows what is there", code="BAD_BUNDLE", **context)


def _moment(seconds: str) -> datetime:
    """Return the time that a commit names: anybody may write anything there, also what no calendar holds."""
    return datetime.fromtimestamp(min(int(seconds), _LATEST) if seconds.isdecimal() else 0, UTC)


def _data(content: bytes) -> bytes:
    return b"data %d\n%s\n" % (len(content), content)
