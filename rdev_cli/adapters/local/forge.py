"""The forge of `local`: bare repositories in the state folder."""

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from rdev_cli.adapters.shared.files import private_folder, remove_tree, write_whole
from rdev_cli.adapters.shared.git import git
from rdev_cli.domain.codec import moment
from rdev_cli.domain.errors import Conflict, Failed, Invalid, NotFound
from rdev_cli.domain.project import Commit, Project, ownership
from rdev_cli.domain.values import shown
from rdev_cli.ports.forge import Delivery
from rdev_cli.ports.timing import LONG_RUNNING, Stop

_HEX = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_URL = re.compile(r"(?P<scheme>https|ssh)://(?:(?P<user>[^/@:]*)(?P<password>:[^/@]*)?@)?(?P<host>[A-Za-z0-9\[][A-Za-z0-9.:\]\[-]*)/\S*")
_SCP = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*@[A-Za-z0-9][A-Za-z0-9.-]*:[^-\s]\S*")
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

    def check_source(self, source: str) -> str:
        scheme = re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", source)
        if (match := _URL.fullmatch(source)) is not None:
            if match["password"] or (match["scheme"] == "https" and match["user"]):
                raise Invalid(
                    "the URL holds credentials, which would stay in records",
                    hint="clone it yourself and give the folder: --from DIR",
                    field="source",
                )
            return source
        if _SCP.fullmatch(source):
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
            raise NotFound(f"there is no folder {shown(source)}", hint="give a folder with a git repository, or a URL", source=source)
        code, _ = git(Path(path), "rev-parse", "--git-dir", ok=range(256))
        if code != 0:
            raise Invalid(
                f"{shown(source)} is no git repository of yours", hint=f"make it one: git -C {shown(source)} init", field="source"
            )
        return path

    def take(self, project: Project, source: str, stop: Stop) -> str:
        path = self._path(project.name)
        protocols = "file" if os.path.isdir(source) else "https:ssh"
        _, refs = git(
            path,
            "ls-remote",
            "--symref",
            "--quiet",
            "--end-of-options",
            source,
            "HEAD",
            "refs/heads/*",
            protocols=protocols,
            stop=stop,
            timeout=LONG_RUNNING,
        )
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
            raise Invalid(f"{shown(source)} has no commit on any branch", hint="commit something there first", field="source")
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
            raise Failed("the pod named no commit", hint="rdev git PROJECT -- log shows what is there", code="BAD_BUNDLE")
        path, ref = self._path(project.name), f"refs/heads/{project.branch}"
        incoming = f"refs/rdev/incoming/{os.urandom(8).hex()}"
        if self._ancestor(path, sha, ref):
            return Delivery(branch=project.branch, rescued=False)
        import tempfile  # noqa: PLC0415 -- as above

        with tempfile.NamedTemporaryFile(dir=path, suffix=".bundle") as file:
            while chunk := bundle.read(1 << 20):
                file.write(chunk)
            file.flush()
            # with fsck (fetch.fsckObjects), and into a ref of rdev's own: nothing of a pod's names is used
            git(
                path,
                "fetch",
                "--quiet",
                "--no-tags",
                "--no-write-fetch-head",
                "--end-of-options",
                file.name,
                f"HEAD:{incoming}",
                protocols="file",
            )
        try:
            _, got = git(path, "rev-parse", "--verify", "--end-of-options", incoming)
            if got.decode().strip() != sha:
                raise Failed(
                    "the bundle holds another commit than the pod named",
                    hint="rdev git PROJECT -- log shows what is there",
                    code="BAD_BUNDLE",
                )
            for _ in range(5):
                old = self.head(project)
                if old and not self._ancestor(path, old, incoming):
                    git(path, "update-ref", "--end-of-options", f"refs/heads/{rescue}", sha)
                    return Delivery(branch=rescue, rescued=True)
                # only if the branch still stands where it was looked at
                code, _ = git(path, "update-ref", "--end-of-options", ref, sha, old or "0" * len(sha), ok=(0, 1, 128))
                if code == 0:
                    return Delivery(branch=project.branch, rescued=False)
            raise Conflict(f"{project.branch} keeps moving", hint="try again", project=project.name)
        finally:
            git(path, "update-ref", "-d", "--end-of-options", incoming)

    def sweep(self, project: Project) -> None:
        path = self._path(project.name)
        for bundle in path.glob("tmp*.bundle"):
            bundle.unlink(missing_ok=True)
        for ref in path.glob("refs/rdev/incoming/*"):
            git(path, "update-ref", "-d", "--end-of-options", f"refs/rdev/incoming/{ref.name}")

    def _ancestor(self, path: Path, old: str, new: str) -> bool:
        code, _ = git(path, "merge-base", "--is-ancestor", "--end-of-options", old, new, ok=(0, 1, 128))
        return code == 0

    def commit(self, project: Project, sha: str) -> Commit | None:
        path = self._path(project.name)
        if not path.is_dir():
            return None
        code, out = git(
            path, "show", "--no-ext-diff", "--no-textconv", "--no-color", "--numstat", "--stat=76", "--format=%H%x00%s%x00%an%x00%cI%x00",
            "--first-parent", "--diff-merges=first-parent", "--end-of-options", sha, "--", ok=(0, 128),
        )  # fmt: skip
        if code != 0:
            return None
        full, subject, author, at, rest = out.decode(errors="replace").split("\0", 4)
        counts = [line.split("\t") for line in rest.splitlines() if re.match(r"[0-9-]+\t[0-9-]+\t", line)]
        return Commit(
            sha=full, subject=subject, author=author, at=moment(at), files=len(counts),
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


def _data(content: bytes) -> bytes:
    return b"data %d\n%s\n" % (len(content), content)
