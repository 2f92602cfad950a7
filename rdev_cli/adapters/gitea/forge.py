"""The forge on a Gitea: its branches count, and a bare mirror in the state folder holds the commits that are worked with here."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from rdev_cli.adapters.gitea import hooks, proof
from rdev_cli.adapters.gitea.calling import MOVED, Gitea, at
from rdev_cli.adapters.gitea.holders import Holders
from rdev_cli.adapters.gitea.pulls import Pulls
from rdev_cli.adapters.gitea.transport import run
from rdev_cli.adapters.shared import bare, contents, origins
from rdev_cli.adapters.shared.files import private_folder
from rdev_cli.domain.errors import Conflict, NotFound, Unavailable
from rdev_cli.domain.project import Project
from rdev_cli.domain.values import Secret, shown
from rdev_cli.ports.forge import PATCH, Access, Admitted, Branch, Changes, Delivery, Gate, Moved
from rdev_cli.ports.timing import Stop

if TYPE_CHECKING:
    from rdev_cli.domain.report import Check
    from rdev_cli.domain.review import Pull
    from rdev_cli.domain.standing import Commit

_REJECTED = re.compile(r"^!\t[^\t]*\t\[([^\]]*)\]", re.MULTILINE)


class GiteaForge:
    """The Forge port on a Gitea."""

    accounts = True

    def __init__(
        self, folder: Path, installation: str, *, url: str, owner: str, token: Callable[[], Secret], stop: Callable[[], Stop]
    ) -> None:
        self._folder, self._installation, self._owner = folder / "repos", installation, owner
        self._api = Gitea(url, token, stop)
        self._holders = Holders(self._api, installation)
        self._me: dict[str, Any] = {}

    def close(self) -> None:
        """Close the connections that are kept."""
        self._api.close()

    # who and where

    def _self(self) -> dict[str, Any]:
        """Return the account that the token is of."""
        if not self._me:
            self._me = self._api.call("GET", "/user", ok=(200,)).data
        return self._me

    def _of(self) -> str:
        """Return who owns the repositories."""
        return self._owner or str(self._self()["login"])

    def url(self, project: str) -> str:
        return f"{self._api.url}/{self._of()}/{project}.git"

    def _repo(self, project: Project) -> str:
        return "/repos" + at(self._of(), project.name)

    def _mirror(self, project: Project) -> Path:
        """Return the project's mirror, made if it is not there, and made anew if it was of another project of that name."""
        path, of = self._folder / f"{project.name}.git", self.url(project.name)
        wanted = bare.mark(project, self._installation, of=of)
        if bare.owner(path) != wanted:
            private_folder(self._folder)
            with bare.alone(self._folder):
                if path.exists() and "mirror" not in (bare.owner(path) or {}):
                    raise Conflict(
                        f"{path} is a repository of its own, and no mirror",
                        hint="move it away, or take another project name",
                        repository=str(path),
                    )
                if bare.owner(path) != wanted:
                    bare.remove(path, project)
                    bare.make(path, project, self._installation, of=of)
        return path

    # repositories, and whose they are

    def _marks(self, project: Project) -> tuple[str, frozenset[str]]:
        """Return what stands on a repository of this installation: its first description, and its topics for good.

        A description can be given while a repository is made, so that none is ever without a mark; people change it, and hardly topics.
        """
        topics = frozenset({f"rdev-{self._installation}", str(project.owner_id).replace("_", "-")})
        return f"{project.name}, made by rdev {self._installation} for {project.owner_id}", topics

    def _found(self, project: Project) -> dict[str, Any] | None:
        """Return the repository, None if there is none; Conflict if it is not this project's, or was renamed."""
        answer = self._api.call("GET", self._repo(project), ok=(200, 404, *MOVED))
        where = f"{self._api.url}/{self._of()}/{project.name}"
        if answer.status == 404:
            return None
        if answer.status in MOVED:
            name = shown("/".join(answer.location.partition("/repos/")[2].split("/")[:2]) or answer.location)
            raise Conflict(
                f"the repository {where} was renamed or moved to {name}",
                hint=f"name it {self._of()}/{project.name} again at Gitea, or remove it there",
                code="FORGE_MOVED",
                repository=where,
            )
        found: dict[str, Any] = answer.data
        description, topics = self._marks(project)
        if found["description"] != description and not topics <= set(found.get("topics") or ()):
            raise Conflict(
                f"the repository {where} is not this project's", hint="rename it there, or take another project name", repository=where
            )
        return found

    def _there(self, project: Project) -> dict[str, Any]:
        found = self._found(project)
        if found is None:
            raise NotFound(
                f"there is no repository {self.url(project.name)}", hint=f"rdev project delete {project.name} clears what is left of it"
            )
        return found

    def ready(self, project: Project) -> None:
        if self._found(project) is None:
            self._nursery()

    def ensure_repository(self, project: Project) -> None:
        description, topics = self._marks(project)
        found = self._found(project)
        if found is None:
            wanted = {
                "name": project.name,
                "private": True,
                "auto_init": False,
                "default_branch": project.branch,
                "description": description,
            }
            self._api.call("POST", self._nursery(), wanted, ok=(201, 409))  # 409: somebody was faster, and whose it is is looked at
            found = self._there(project)
        if not topics <= set(found.get("topics") or ()):
            self._api.call("PUT", f"{self._repo(project)}/topics", {"topics": [*(found.get("topics") or ()), *sorted(topics)]}, ok=(204,))
            # nobody who may write a branch shall reach more by it: no wiki, and no workflow that runs with the repository's secrets
            self._api.call("PATCH", self._repo(project), {"has_wiki": False, "has_projects": False, "has_actions": False}, ok=(200,))

    def _nursery(self) -> str:
        """Return where repositories of their owner are made."""
        owner = self._of()
        if owner.lower() == str(self._self()["login"]).lower():
            return "/user/repos"
        if self._api.get("/orgs" + at(owner)):
            return "/orgs" + at(owner, "repos")
        if not self._api.get("/users" + at(owner)):
            raise NotFound(
                f"Gitea at {self._api.host} knows no {shown(owner)}", hint="rdev context set NAME --gitea-owner OWNER", code="FORGE_OWNER"
            )
        return "/admin/users" + at(owner, "repos")

    def delete_repository(self, project: Project) -> bool:
        there = self._found(project) is not None
        if there:
            with bare.alone(private_folder(self._folder)):
                self._holders.clear(self._repo(project))
            self._api.call("DELETE", self._repo(project), ok=(204, 404))
        path = self._folder / f"{project.name}.git"
        if "mirror" in (bare.owner(path) or {}):
            bare.remove(path, project)
        return there

    # commits, there and here

    def _fetch(self, project: Project) -> None:
        path = self._mirror(project)
        with bare.alone(path):
            run(
                self._api, path, "fetch", "--quiet", "--prune", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules", "--end-of-options",
                self.url(project.name), "+refs/heads/*:refs/heads/*",
            )  # fmt: skip

    def _with(self, project: Project, *commits: str) -> Path:
        """Return the mirror, brought up to date if one of the commits is not in it yet."""
        path = self._mirror(project)
        if not all(bare.has(path, sha) for sha in commits if bare.HEX.fullmatch(sha)):
            self._there(project)
            self._fetch(project)
        return path

    def _push(self, project: Project, *refs: str, only_if: str = "") -> str:
        """Push, and return why a ref was rejected, empty if none was. `only_if`: REF:COMMIT that must still be so, to remove REF."""
        condition = (f"--force-with-lease={only_if}",) if only_if else ()  # git's one way to say it of a removal
        code, out = run(
            self._api,
            self._mirror(project),
            "push",
            "--porcelain",
            "--no-verify",
            *condition,
            "--end-of-options",
            self.url(project.name),
            *refs,
            ok=(0, 1),
        )
        if code == 0:
            return ""
        found = _REJECTED.search(out.decode(errors="replace"))
        if found is None:
            raise Unavailable(
                "git could not push to Gitea", hint="rdev context test asks it again", code="FORGE_UNREACHABLE",
                said=out.decode(errors="replace")[-2000:],
            )  # fmt: skip
        return "protected" if "remote rejected" in found[1] else "moved"

    def seed(self, project: Project, files: Mapping[str, tuple[bytes, bool]]) -> None:
        if self.head(project):
            return
        bare.remove(self._mirror(project), project)  # with what was begun and killed
        bare.seed(self._mirror(project), project, files)
        self._landed(project, self._push(project, f"refs/heads/{project.branch}:refs/heads/{project.branch}"))

    def _landed(self, project: Project, why: str) -> None:
        if why:
            raise Conflict(
                f"Gitea does not take the first commits of {project.name}",
                hint="a rule of its owner may forbid it; look there",
                code="FORGE_REFUSED",
            )
        for _ in range(40):  # until then it knows no branch
            if not self._there(project)["empty"]:
                return
            self._api.stop().wait(0.25)
            self._api.stop().check("waiting for Gitea")
        raise Unavailable(f"Gitea does not see the first commits of {project.name}", hint="try again", code="FORGE_TROUBLE")

    def check_source(self, source: str, stop: Stop) -> str:
        return origins.check_source(source, stop, repos=self._folder)

    def take(self, project: Project, source: str, stop: Stop) -> str:
        path = self._mirror(project)
        with bare.alone(path):
            branch = origins.take(path, source, stop)
        self._landed(project, self._push(project, "refs/heads/*:refs/heads/*"))
        self._api.call("PATCH", self._repo(project), {"default_branch": branch}, ok=(200,))
        return branch

    def head(self, project: Project) -> str:
        return self.find_branch(project, project.branch)

    @contextmanager
    def bundle(self, project: Project, commit: str = "") -> Iterator[BinaryIO]:
        sha = commit or self.head(project)
        if not sha:
            raise NotFound(f"there is no branch {shown(project.branch)} in {project.name}", hint=f"rdev branch list {project.name}")
        with bare.bundle(self._with(project, sha), project.branch, sha) as file:
            yield file

    def receive(self, project: Project, bundle: BinaryIO, *, sha: str, rescue: str, gate: Gate | None = None) -> Delivery:
        if not bare.HEX.fullmatch(sha):
            raise bare.bad("the pod named no commit")
        main = str(self._there(project)["default_branch"])
        old = self.head(project)
        had = old or self.find_branch(project, main)
        path = self._with(project, *([had] if had else []))
        if old and bare.ancestor(path, sha, old):
            return Delivery(branch=project.branch, rescued=False)
        bare.unpack(path, bundle, sha, look=(lambda waiting: gate(contents.blobs_added(waiting, had, sha))) if gate else None)
        for _ in range(5):
            if old and not bare.ancestor(path, old, sha):
                return Delivery(branch=self._rescue(project, sha, rescue), rescued=True)
            why = self._push(project, f"{sha}:refs/heads/{project.branch}")
            if not why:
                return Delivery(branch=project.branch, rescued=False)
            if why == "protected":
                # a rule that people made: the commit is not lost by it
                return Delivery(branch=self._rescue(project, sha, rescue), rescued=True)
            old = self.head(project)
            path = self._with(project, *([old] if old else []))
        raise Conflict(f"{project.branch} keeps moving", hint="try again", project=project.name)

    def _rescue(self, project: Project, sha: str, rescue: str) -> str:
        for name in bare.rescue_names(rescue):
            found = self.find_branch(project, name)
            if found == sha:
                return name
            if found:
                continue
            why = self._push(project, f"{sha}:refs/heads/{name}")
            if not why:
                return name
            if why == "protected":
                break
        raise Conflict(
            f"Gitea takes no branch {shown(rescue)} for {project.name}",
            hint="a rule there forbids it: let rdev's account push",
            code="FORGE_REFUSED",
        )

    def sweep(self, project: Project) -> None:
        bare.sweep(self._folder / f"{project.name}.git")

    def commit(self, project: Project, sha: str) -> "Commit | None":
        if not bare.HEX.fullmatch(sha) or self._found(project) is None:
            return None
        return bare.commit(self._with(project, sha), sha)

    # branches

    def _refs(self, project: Project, beginning: str) -> dict[str, str]:
        """Return branches with the commits that they are at: that name, and those below it. git's own, as Gitea's list of them comes later."""
        answer = self._api.call("GET", f"{self._repo(project)}/git/refs/heads{beginning}", ok=(200, 404, 409, *MOVED))
        if answer.status in MOVED:
            self._there(project)  # says where it went
        found = answer.data if answer.status == 200 else []
        refs = [found] if isinstance(found, dict) else found or []
        return {str(ref["ref"]).removeprefix("refs/heads/"): str(ref["object"]["sha"]) for ref in refs}

    def branches(self, project: Project) -> Sequence[Branch]:
        return [Branch(name=name, sha=sha) for name, sha in sorted(self._refs(project, "").items())]

    def find_branch(self, project: Project, name: str) -> str:
        return self._refs(project, at(name)).get(name, "")

    def ensure_branch(self, project: Project, name: str, sha: str) -> None:
        bare.must_have(self._with(project, sha), sha)
        if self.find_branch(project, name) == sha:
            return
        answer = self._api.call(
            "POST", f"{self._repo(project)}/branches", {"new_branch_name": name, "old_ref_name": sha}, ok=(201, 404, 409, 422)
        )
        found = self.find_branch(project, name)
        if found and found != sha:
            raise bare.branch_exists(project, name, found)
        if not found:
            if answer.status == 404:
                raise NotFound(f"Gitea has no commit {sha} in {project.name}", hint=f"rdev branch list {project.name}", commit=sha)
            raise bare.branch_in_the_way(project, name)

    def delete_branch(self, project: Project, name: str, sha: str) -> bool:
        if name == self._there(project)["default_branch"]:
            raise bare.branch_kept(project, name)
        found = self.find_branch(project, name)
        if not found:
            return False
        if found == sha and not (why := self._push(project, f":refs/heads/{name}", only_if=f"refs/heads/{name}:{sha}")):
            return True
        found = self.find_branch(project, name)
        if not found:
            return False
        if found == sha and why == "protected":
            raise bare.branch_kept(project, name)
        raise bare.branch_moved(project, name, found)

    # what commits hold

    def tree(self, project: Project, sha: str) -> str:
        return contents.tree(self._with(project, sha), sha)

    def read(self, project: Project, sha: str, path: str) -> bytes | None:
        return contents.read(self._with(project, sha), sha, path)

    def ancestor(self, project: Project, old: str, new: str) -> bool:
        path = self._with(project, old, new)
        return bare.has(path, old) and bare.has(path, new) and bare.ancestor(path, old, new)

    def merge_base(self, project: Project, a: str, b: str) -> str:
        path = self._with(project, a, b)
        bare.must_have(path, a, b)
        return bare.merge_base(path, a, b)

    def changes(self, project: Project, base: str, sha: str, *, most: int = PATCH) -> Changes:
        return contents.changes(self._with(project, base, sha), base, sha, most=most)

    def blobs_added(self, project: Project, base: str, sha: str) -> Iterator[tuple[str, int, bytes]]:
        return contents.blobs_added(self._with(project, base, sha), base, sha)

    # pull requests

    def _pulls(self, project: Project) -> Pulls:
        self._there(project)
        return Pulls(self._api, self._repo(project), project, lambda *commits: self._with(project, *commits))

    def open_pull(self, project: Project, *, head: str, base: str, title: str, body: str) -> "Pull":
        return self._pulls(project).open(head=head, base=base, title=title, body=body)

    def pull(self, project: Project, number: int) -> "Pull":
        return self._pulls(project).get(number)

    def find_pull(self, project: Project, head: str, base: str) -> "Pull | None":
        return self._pulls(project).find(head, base)

    def comment(self, project: Project, number: int, text: str) -> None:
        self._pulls(project).comment(number, text)

    def merge(self, project: Project, pull: "Pull", *, sha: str, message: str) -> "Pull":
        return self._pulls(project).merge(pull.number, sha=sha, message=message, base=self.find_branch(project, pull.base))

    def close_pull(self, project: Project, number: int) -> None:
        self._pulls(project).close(number)

    # who else may write

    def admit(self, project: Project, access: Access) -> Admitted:
        found = self._there(project)
        with bare.alone(private_folder(self._folder)):
            return self._holders.admit(self._repo(project), int(found["id"]), access, me=str(self._self()["login"]))

    def extend(self, project: Project, access: Access) -> str:
        self._there(project)
        with bare.alone(private_folder(self._folder)):
            return self._holders.extend(access)

    def dismiss(self, name: str) -> bool:
        with bare.alone(private_folder(self._folder)):
            return self._holders.dismiss(name)

    def admitted(self) -> Sequence[Access]:
        return self._holders.admitted()

    # the forge itself

    def checks(self) -> "Sequence[Check]":
        return proof.checks(self._api, self._holders, owner=self._owner, nursery=self._nursery)

    def ensure_hook(self, project: Project, url: str, secret: Secret) -> None:
        self._there(project)
        self.told(project, self.news(project))  # how it is now is news to nobody
        hooks.ensure(self._api, self._repo(project), url, secret)

    def drop_hook(self, project: Project, url: str) -> None:
        if self._found(project) is not None:
            hooks.drop(self._api, self._repo(project), url)

    def news(self, project: Project) -> Sequence[Moved]:
        self._there(project)
        self._fetch(project)
        return hooks.news(self._mirror(project))

    def told(self, project: Project, moved: Sequence[Moved]) -> None:
        hooks.told(self._mirror(project), moved)
