"""A forge without git: repositories and commits are dictionaries, a bundle is a JSON document."""

import hashlib
import io
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import BinaryIO

from rdev_cli.domain.errors import Conflict, Failed, Invalid
from rdev_cli.domain.project import Project, ownership
from rdev_cli.domain.standing import Commit
from rdev_cli.ports.forge import Delivery
from rdev_cli.ports.timing import Stop
from tests.fakes.trouble import Trouble

Commits = dict[str, dict]  # SHA -> parent (empty: none), subject, files (the names in its tree)


def commit(commits: Commits, parent: str, subject: str, files: list[str]) -> str:
    """Put a commit in and return its SHA; the same commit has the same one."""
    one = {"parent": parent, "subject": subject, "files": sorted(files)}
    sha = hashlib.sha1(json.dumps(one, sort_keys=True).encode()).hexdigest()
    commits[sha] = one
    return sha


def history(commits: Commits, sha: str) -> Iterator[str]:
    """Return a commit and all before it; KeyError where one is missing."""
    while sha:
        yield sha
        sha = commits[sha]["parent"]


def pack(commits: Commits, head: str) -> bytes:
    """Return what stands for a bundle: the head and its whole history."""
    return json.dumps({"head": head, "commits": {sha: commits[sha] for sha in history(commits, head)}}).encode()


@dataclass
class Repository:
    """Branches and commits, and whose they are."""

    owner: dict[str, str] = field(default_factory=dict)
    main: str = "main"
    branches: dict[str, str] = field(default_factory=dict)
    commits: Commits = field(default_factory=dict)


class MemoryForge:
    """The Forge port in memory; `sources` are what `take` can take, `trouble` the calls that fail."""

    def __init__(self, installation: str = "memory") -> None:
        self._installation = installation
        self.repositories: dict[str, Repository] = {}
        self.sources: dict[str, Repository] = {}
        self.trouble = Trouble()

    def url(self, project: str) -> str:
        return f"memory:{project}"

    def _mine(self, project: Project) -> Repository | None:
        found = self.repositories.get(project.name)
        if found is not None and found.owner != ownership(project, self._installation):
            raise Conflict(f"the repository {project.name} is not this project's", hint="take another project name")
        return found

    def ensure_repository(self, project: Project) -> None:
        with self.trouble.around("ensure_repository"):
            if self._mine(project) is None:
                self.repositories[project.name] = Repository(ownership(project, self._installation), project.branch)

    def seed(self, project: Project, files: Mapping[str, tuple[bytes, bool]]) -> None:
        with self.trouble.around("seed"):
            found = self.repositories[project.name]
            if not self.head(project):
                found.branches[project.branch] = commit(found.commits, "", f"Create {project.name} from the skeleton", list(files))

    def check_source(self, source: str, stop: Stop) -> str:
        if source not in self.sources:
            raise Invalid(f"{source} is no source", hint="give another", field="source")
        return source

    def take(self, project: Project, source: str, stop: Stop) -> str:
        with self.trouble.around("take"):
            taken, found = self.sources[source], self.repositories[project.name]
            if not taken.branches:
                raise Invalid(f"{source} has no commit on any branch", hint="commit something there first", field="source")
            found.branches, found.commits = dict(taken.branches), dict(taken.commits)
            return taken.main

    def head(self, project: Project) -> str:
        found = self.repositories.get(project.name)
        return found.branches.get(project.branch, "") if found else ""

    @contextmanager
    def bundle(self, project: Project) -> Iterator[BinaryIO]:
        yield io.BytesIO(pack(self.repositories[project.name].commits, self.head(project)))

    def receive(self, project: Project, bundle: BinaryIO, *, sha: str, rescue: str) -> Delivery:
        with self.trouble.around("receive"):
            found, old = self.repositories[project.name], self.head(project)
            if sha in history(found.commits, old):
                return Delivery(branch=project.branch, rescued=False)
            try:
                given = json.loads(bundle.read())
                commits = {**found.commits, **given["commits"]}
                line = list(history(commits, sha))
                sound = given["head"] == sha and not any({".git", ".."} & set(commits[one]["files"]) for one in line)
            except (ValueError, KeyError) as e:
                raise Failed("the pod sent no bundle", hint="look there", code="BAD_BUNDLE") from e
            if not sound:
                raise Failed("the bundle is not what it says", hint="look there", code="BAD_BUNDLE")
            found.commits = commits
            branch = project.branch if not old or old in line else rescue
            found.branches[branch] = sha
            return Delivery(branch=branch, rescued=branch == rescue)

    def commit(self, project: Project, sha: str) -> Commit | None:
        found = self.repositories.get(project.name)
        if found is None or sha not in found.commits:
            return None
        one = found.commits[sha]
        before = set(found.commits[one["parent"]]["files"]) if one["parent"] else set()
        return Commit(
            sha=sha, subject=one["subject"], author="rdev", at=datetime.fromtimestamp(0, UTC), files=len(before ^ set(one["files"])),
            insertions=0, deletions=0, stat="",
        )  # fmt: skip

    def sweep(self, project: Project) -> None:
        pass

    def delete_repository(self, project: Project) -> bool:
        with self.trouble.around("delete_repository"):
            return self._mine(project) is not None and bool(self.repositories.pop(project.name))
