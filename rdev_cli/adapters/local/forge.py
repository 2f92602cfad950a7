"""The forge of `local`: bare repositories in the state folder."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from rdev_cli.adapters.local import holders
from rdev_cli.adapters.local.pulls import Pulls
from rdev_cli.adapters.shared import bare, contents, origins
from rdev_cli.domain.errors import Conflict, NotFound
from rdev_cli.domain.project import Project
from rdev_cli.domain.values import Secret
from rdev_cli.ports.forge import PATCH, Access, Admitted, Branch, Changes, Delivery, Gate, Moved
from rdev_cli.ports.timing import Stop

if TYPE_CHECKING:
    from rdev_cli.domain.report import Check
    from rdev_cli.domain.review import Pull
    from rdev_cli.domain.standing import Commit


class LocalForge:
    """The Forge port on bare repositories."""

    accounts = False

    def __init__(self, folder: Path, installation: str) -> None:
        self._folder, self._installation = folder / "repos", installation

    def _path(self, project: str) -> Path:
        return self._folder / f"{project}.git"

    def url(self, project: str) -> str:
        return str(self._path(project))

    def _mine(self) -> list[Path]:
        """Return this installation's repositories."""
        return [path for path in sorted(self._folder.glob("*.git")) if (bare.owner(path) or {}).get("installation") == self._installation]

    def _present(self, project: Project) -> bool:
        found = bare.owner(self._path(project.name))
        if found is None and not self._path(project.name).exists():
            return False
        if found != bare.mark(project, self._installation):
            raise Conflict(
                f"the repository {self._path(project.name)} is not this project's",
                hint="move it away, or take another project name",
                repository=str(self._path(project.name)),
            )
        return True

    def ready(self, project: Project) -> None:
        self._present(project)

    def ensure_repository(self, project: Project) -> None:
        if not self._present(project):
            bare.make(self._path(project.name), project, self._installation)

    def seed(self, project: Project, files: Mapping[str, tuple[bytes, bool]]) -> None:
        if not self.head(project):
            bare.seed(self._path(project.name), project, files)

    def check_source(self, source: str, stop: Stop) -> str:
        return origins.check_source(source, stop, repos=self._folder)

    def take(self, project: Project, source: str, stop: Stop) -> str:
        return origins.take(self._path(project.name), source, stop)

    def head(self, project: Project) -> str:
        return bare.standing(self._path(project.name), project.branch)

    def bundle(self, project: Project, commit: str = "") -> AbstractContextManager[BinaryIO]:
        return bare.bundle(self._path(project.name), project.branch, commit)

    def receive(self, project: Project, bundle: BinaryIO, *, sha: str, rescue: str, gate: Gate | None = None) -> Delivery:
        path = self._path(project.name)
        if not bare.HEX.fullmatch(sha):
            raise bare.bad("the pod named no commit")
        if bare.ancestor(path, sha, f"refs/heads/{project.branch}"):
            return Delivery(branch=project.branch, rescued=False)
        had = self.head(project) or bare.standing(path, bare.main(path))
        bare.unpack(path, bundle, sha, look=(lambda waiting: gate(contents.blobs_added(waiting, had, sha))) if gate else None)
        for _ in range(5):
            old = self.head(project)
            if old and not bare.ancestor(path, old, sha):
                return Delivery(branch=self._rescue(path, sha, rescue), rescued=True)
            # only if the branch still stands where it was looked at
            if bare.move(path, project.branch, sha, old):
                return Delivery(branch=project.branch, rescued=False)
        raise Conflict(f"{project.branch} keeps moving", hint="try again", project=project.name)

    def _rescue(self, path: Path, sha: str, rescue: str) -> str:
        for name in bare.rescue_names(rescue):
            if bare.standing(path, name) == sha or bare.move(path, name, sha, ""):
                return name
        raise Conflict(f"{rescue} is taken a thousand times", hint=f"git -C {path} branch --delete removes those that nobody needs")

    def sweep(self, project: Project) -> None:
        bare.sweep(self._path(project.name))

    def commit(self, project: Project, sha: str) -> "Commit | None":
        return bare.commit(self._path(project.name), sha)

    def delete_repository(self, project: Project) -> bool:
        there = self._present(project)
        bare.remove(self._path(project.name), project)
        return there

    def branches(self, project: Project) -> Sequence[Branch]:
        return [Branch(name=name, sha=sha) for name, sha in bare.branches(self._path(project.name))]

    def find_branch(self, project: Project, name: str) -> str:
        return bare.standing(self._path(project.name), name)

    def ensure_branch(self, project: Project, name: str, sha: str) -> None:
        path = self._path(project.name)
        bare.must_have(path, sha)
        if self.find_branch(project, name) == sha or bare.move(path, name, sha, ""):
            return
        found = self.find_branch(project, name)
        if found and found != sha:
            raise bare.branch_exists(project, name, found)
        if not found:
            raise bare.branch_in_the_way(project, name)

    def delete_branch(self, project: Project, name: str, sha: str) -> bool:
        path = self._path(project.name)
        if name == bare.main(path):
            raise bare.branch_kept(project, name)
        if not self.find_branch(project, name):
            return False
        if not bare.drop(path, name, sha):
            found = self.find_branch(project, name)
            if found:
                raise bare.branch_moved(project, name, found)
            return False
        return True

    def tree(self, project: Project, sha: str) -> str:
        return contents.tree(self._path(project.name), sha)

    def read(self, project: Project, sha: str, path: str) -> bytes | None:
        return contents.read(self._path(project.name), sha, path)

    def ancestor(self, project: Project, old: str, new: str) -> bool:
        path = self._path(project.name)
        return bare.has(path, old) and bare.has(path, new) and bare.ancestor(path, old, new)

    def merge_base(self, project: Project, a: str, b: str) -> str:
        path = self._path(project.name)
        bare.must_have(path, a, b)
        return bare.merge_base(path, a, b)

    def changes(self, project: Project, base: str, sha: str, *, most: int = PATCH) -> Changes:
        return contents.changes(self._path(project.name), base, sha, most=most)

    def blobs_added(self, project: Project, base: str, sha: str) -> Iterator[tuple[str, int, bytes]]:
        return contents.blobs_added(self._path(project.name), base, sha)

    def _pulls(self, project: Project) -> Pulls:
        if not self._present(project):
            raise NotFound(
                f"there is no repository {self._path(project.name)}", hint=f"rdev project delete {project.name} clears what is left of it"
            )
        return Pulls(self._path(project.name), project)

    def open_pull(self, project: Project, *, head: str, base: str, title: str, body: str) -> "Pull":
        return self._pulls(project).open(head=head, base=base, title=title, body=body)

    def pull(self, project: Project, number: int) -> "Pull":
        return self._pulls(project).get(number)

    def find_pull(self, project: Project, head: str, base: str) -> "Pull | None":
        return self._pulls(project).find(head, base)

    def comment(self, project: Project, number: int, text: str) -> None:
        self._pulls(project).comment(number, text)

    def merge(self, project: Project, pull: "Pull", *, sha: str, message: str) -> "Pull":
        return self._pulls(project).merge(pull.number, sha=sha, message=message)

    def close_pull(self, project: Project, number: int) -> None:
        self._pulls(project).close(number)

    def admit(self, project: Project, access: Access) -> Admitted:
        if not self._present(project):
            raise NotFound(f"there is no repository {self._path(project.name)}", hint=f"rdev project show {project.name}")
        return holders.admit(self._path(project.name), access)

    def extend(self, project: Project, access: Access) -> str:
        return holders.extend(self._path(project.name), access)

    def dismiss(self, name: str) -> bool:
        return bool(sum(holders.dismiss(path, name) for path in self._mine()))

    def admitted(self) -> Sequence[Access]:
        return [access for path in self._mine() for access in holders.admitted(path)]

    def checks(self) -> "Sequence[Check]":
        return ()  # the folder is looked at with the rest of the state

    def ensure_hook(self, project: Project, url: str, secret: Secret) -> None:
        """Nobody is told: rdev looks at these repositories itself."""

    def drop_hook(self, project: Project, url: str) -> None:
        """Nobody was told."""

    def news(self, project: Project) -> Sequence[Moved]:  # noqa: ARG002 -- as the port has it
        return ()

    def told(self, project: Project, moved: Sequence[Moved]) -> None:
        """Nothing was."""
