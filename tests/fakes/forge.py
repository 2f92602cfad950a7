"""A forge without git: repositories and commits are dictionaries, a bundle is a JSON document."""

import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, BinaryIO

from rdev_cli.adapters.shared import bare
from rdev_cli.domain.errors import Conflict, Failed, Invalid, NotFound
from rdev_cli.domain.project import Project, ownership
from rdev_cli.domain.report import Check, Verdict
from rdev_cli.domain.review import Pull
from rdev_cli.domain.standing import Commit
from rdev_cli.domain.values import Secret
from rdev_cli.ports.forge import ONE_FILE, PATCH, Access, Admitted, Branch, Change, Changes, Delivery, Gate, Moved
from rdev_cli.ports.timing import Stop
from tests.fakes.trouble import Trouble

Commits = dict[str, dict[str, Any]]  # SHA -> parent (empty: none), second parent of a merge, subject, files (name -> content)


def commit(commits: Commits, parent: str, subject: str, files: Mapping[str, str] | Iterable[str], *, second: str = "") -> str:
    """Put a commit in and return its SHA; the same commit has the same one. A file that is only named holds its name."""
    held = dict(files) if isinstance(files, Mapping) else {name: f"{name}\n" for name in files}
    one = {"parent": parent, "second": second, "subject": subject, "files": held}
    sha = hashlib.sha1(json.dumps(one, sort_keys=True).encode()).hexdigest()
    commits[sha] = one
    return sha


def history(commits: Commits, sha: str) -> Iterator[str]:
    """Return a commit and all before it; KeyError where one is missing."""
    waiting, known = [sha], {""}
    while waiting:
        at = waiting.pop()
        if at not in known:
            known.add(at)
            yield at
            waiting += [commits[at].get("second", ""), commits[at]["parent"]]


def pack(commits: Commits, head: str) -> bytes:
    """Return what stands for a bundle: the head and its whole history."""
    return json.dumps({"head": head, "commits": {sha: commits[sha] for sha in history(commits, head)}}).encode()


@dataclass
class Repository:
    """Branches, commits and pull requests, and whose they are; who is let in."""

    owner: dict[str, str] = field(default_factory=dict)
    main: str = "main"
    branches: dict[str, str] = field(default_factory=dict)
    commits: Commits = field(default_factory=dict)
    pulls: dict[int, Pull] = field(default_factory=dict)
    comments: list[tuple[int, str]] = field(default_factory=list)
    holders: dict[str, Access] = field(default_factory=dict)  # by name less its time
    hooks: dict[str, str] = field(default_factory=dict)
    told: dict[str, str] = field(default_factory=dict)


class MemoryForge:
    """The Forge port in memory; `sources` are what `take` can take, `trouble` the calls that fail."""

    accounts = True

    def __init__(self, installation: str = "memory") -> None:
        self._installation = installation
        self.repositories: dict[str, Repository] = {}
        self.sources: dict[str, Repository] = {}
        self.tokens: dict[str, str] = {}  # token -> who has it
        self.made = 0  # tokens, ever
        self.trouble = Trouble()

    def url(self, project: str) -> str:
        return f"memory:{project}"

    def _mine(self, project: Project) -> Repository | None:
        found = self.repositories.get(project.name)
        owner = {**ownership(project, self._installation), "id": project.owner_id}
        if found is not None and found.owner != owner:
            raise Conflict(f"the repository {project.name} is not this project's", hint="take another project name")
        return found

    def _repository(self, project: Project) -> Repository:
        found = self._mine(project)
        if found is None:
            raise NotFound(f"there is no repository {project.name}", hint="make it")
        return found

    def ready(self, project: Project) -> None:
        with self.trouble.around("ready"):
            self._mine(project)

    def ensure_repository(self, project: Project) -> None:
        with self.trouble.around("ensure_repository"):
            if self._mine(project) is None:
                self.repositories[project.name] = Repository(ownership(project, self._installation), project.branch)

    def seed(self, project: Project, files: Mapping[str, tuple[bytes, bool]]) -> None:
        with self.trouble.around("seed"):
            found = self.repositories[project.name]
            if not self.head(project):
                held = {name: content.decode("utf-8", "replace") for name, (content, _) in files.items()}
                found.branches[project.branch] = commit(found.commits, "", f"Create {project.name} from the skeleton", held)

    def check_source(self, source: str, stop: Stop) -> str:
        if source not in self.sources:
            raise Invalid(f"{source} is no source", hint="give another", field="source")
        return source

    def take(self, project: Project, source: str, stop: Stop) -> str:
        with self.trouble.around("take"):
            taken, found = self.sources[source], self.repositories[project.name]
            if not taken.branches:
                raise Invalid(f"{source} has no commit on any branch", hint="commit something there first", field="source")
            found.branches, found.commits, found.main = dict(taken.branches), dict(taken.commits), taken.main
            return taken.main

    def head(self, project: Project) -> str:
        return self.find_branch(project, project.branch)

    @contextmanager
    def bundle(self, project: Project, commit: str = "") -> Iterator[BinaryIO]:
        if commit:
            self._at(project, commit)
        yield io.BytesIO(pack(self.repositories[project.name].commits, commit or self.head(project)))

    def receive(self, project: Project, bundle: BinaryIO, *, sha: str, rescue: str, gate: Gate | None = None) -> Delivery:
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
            had, found.commits = found.commits, commits
            if gate is not None:
                try:
                    gate(self.blobs_added(project, old or found.branches[found.main], sha))
                except BaseException:
                    found.commits = had
                    raise
            free = (name for name in bare.rescue_names(rescue) if found.branches.get(name, sha) == sha)
            branch = project.branch if not old or old in line else next(free)
            found.branches[branch] = sha
            return Delivery(branch=branch, rescued=branch != project.branch)

    def commit(self, project: Project, sha: str) -> Commit | None:
        found = self.repositories.get(project.name)
        if found is None or sha not in found.commits:
            return None
        one = found.commits[sha]
        before = found.commits[one["parent"]]["files"] if one["parent"] else {}
        return Commit(
            sha=sha, subject=one["subject"], author="rdev", at=datetime.fromtimestamp(0, UTC), files=len(_changed(before, one["files"])),
            insertions=0, deletions=0, stat="",
        )  # fmt: skip

    def sweep(self, project: Project) -> None:
        pass

    def delete_repository(self, project: Project) -> bool:
        with self.trouble.around("delete_repository"):
            return self._mine(project) is not None and bool(self.repositories.pop(project.name))

    # branches

    def branches(self, project: Project) -> Sequence[Branch]:
        found = self.repositories.get(project.name)
        return [Branch(name=name, sha=sha) for name, sha in sorted(found.branches.items())] if found else []

    def find_branch(self, project: Project, name: str) -> str:
        found = self.repositories.get(project.name)
        return found.branches.get(name, "") if found else ""

    def ensure_branch(self, project: Project, name: str, sha: str) -> None:
        with self.trouble.around("ensure_branch"):
            self._at(project, sha)
            there = self._repository(project).branches.setdefault(name, sha)
            if there != sha:
                raise bare.branch_exists(project, name, there)

    def delete_branch(self, project: Project, name: str, sha: str) -> bool:
        with self.trouble.around("delete_branch"):
            found = self._repository(project)
            if name == found.main:
                raise bare.branch_kept(project, name)
            there = found.branches.get(name, "")
            if there and there != sha:
                raise bare.branch_moved(project, name, there)
            return bool(found.branches.pop(name, ""))

    # what commits hold

    def _at(self, project: Project, sha: str) -> dict[str, Any]:
        found = self._repository(project).commits.get(sha)
        if found is None:
            raise NotFound(f"there is no commit {sha}", hint="look there", commit=sha)
        return found

    def tree(self, project: Project, sha: str) -> str:
        return hashlib.sha1(json.dumps(self._at(project, sha)["files"], sort_keys=True).encode()).hexdigest()

    def read(self, project: Project, sha: str, path: str) -> bytes | None:
        found = self._at(project, sha)["files"].get(path)
        if found is not None and len(found) > ONE_FILE:
            raise Invalid(f"{path} is too large", hint="make it smaller", code="TOO_LARGE")
        return None if found is None else found.encode()

    def ancestor(self, project: Project, old: str, new: str) -> bool:
        commits = self._repository(project).commits
        return old in commits and new in commits and old in history(commits, new)

    def merge_base(self, project: Project, a: str, b: str) -> str:
        self._at(project, a), self._at(project, b)
        commits = self._repository(project).commits
        theirs = set(history(commits, b))
        return next((sha for sha in history(commits, a) if sha in theirs), "")

    def changes(self, project: Project, base: str, sha: str, *, most: int = PATCH) -> Changes:
        old, new = self._at(project, base)["files"], self._at(project, sha)["files"]
        names = _changed(old, new)
        files = tuple(
            Change(
                path=name, added=len(new.get(name, "").splitlines()), removed=len(old.get(name, "").splitlines()), binary=False,
                size=len(new.get(name, "").encode()),
            )
            for name in names
        )  # fmt: skip
        lines = [line for name in names for line in (f"{name}\n", f"-{old.get(name, '')}", f"+{new.get(name, '')}")]
        patch = "".join(lines).encode()
        return Changes(files=files, patch=patch[:most], cut=len(patch) > most, patch_sha256=hashlib.sha256(patch).hexdigest())

    def blobs_added(self, project: Project, base: str, sha: str) -> Iterator[tuple[str, int, bytes]]:
        self._at(project, base), self._at(project, sha)
        commits = self._repository(project).commits
        before = set(history(commits, base))
        known = {content for one in before for content in commits[one]["files"].values()}
        for one in history(commits, sha):
            for name, content in commits[one]["files"].items() if one not in before else ():
                if content not in known:
                    known.add(content)
                    yield name, len(content.encode()), content.encode()[:ONE_FILE]

    # pull requests

    def _shown(self, project: Project, pull: Pull) -> Pull:
        return replace(pull, sha=self.find_branch(project, pull.head) or pull.sha) if pull.state == "open" else pull

    def open_pull(self, project: Project, *, head: str, base: str, title: str, body: str) -> Pull:
        with self.trouble.around("open_pull"):
            found = self._repository(project)
            if there := self.find_pull(project, head, base):
                return there
            if head == base:
                raise Invalid("a branch cannot be merged into itself", hint="name another", field="branch")
            for name in (head, base):
                if name not in found.branches:
                    raise NotFound(f"there is no branch {name}", hint="look there", branch=name)
            number = len(found.pulls) + 1
            made = Pull(number=number, url="", head=head, base=base, sha=found.branches[head], state="open", title=title)
            found.pulls[number] = made
            return made

    def pull(self, project: Project, number: int) -> Pull:
        found = self._repository(project).pulls.get(number)
        if found is None:
            raise NotFound(f"there is no pull request {number}", hint="look there", number=number)
        return self._shown(project, found)

    def find_pull(self, project: Project, head: str, base: str) -> Pull | None:
        pulls = self._repository(project).pulls.values()
        return next((self._shown(project, one) for one in pulls if (one.head, one.base, one.state) == (head, base, "open")), None)

    def comment(self, project: Project, number: int, text: str) -> None:
        with self.trouble.around("comment"):
            self.pull(project, number)
            self._repository(project).comments.append((number, text))

    def merge(self, project: Project, pull: Pull, *, sha: str, message: str) -> Pull:
        with self.trouble.around("merge"):
            found, now = self._repository(project), self.pull(project, pull.number)
            if now.state == "merged":
                return now
            if now.state == "closed":
                raise bare.pull_closed(now)
            if now.sha != sha:
                raise bare.head_moved(now, sha)
            onto = found.branches[now.base]
            common = self.merge_base(project, onto, sha)
            old, ours, theirs = (found.commits[one]["files"] if one else {} for one in (common, onto, sha))
            both = set(_changed(old, ours)) & set(_changed(old, theirs))
            if files := tuple(sorted(name for name in both if ours.get(name) != theirs.get(name))):
                raise Conflict("both sides changed the same", hint="solve it", code="MERGE_CONFLICT", files=files)
            held = {
                name: content
                for name, content in {**ours, **theirs}.items()
                if not (name in old and (name not in ours or name not in theirs))
            }
            held |= {name: ours[name] for name in _changed(old, ours) if name in ours}
            made = commit(found.commits, onto, message, held, second=sha)
            found.branches[now.base] = made
            found.pulls[now.number] = replace(now, state="merged", merged=made)
            return found.pulls[now.number]

    def close_pull(self, project: Project, number: int) -> None:
        with self.trouble.around("close_pull"):
            now = self.pull(project, number)
            if now.state == "open":
                self._repository(project).pulls[number] = replace(now, state="closed")

    # who else may write

    def admit(self, project: Project, access: Access) -> Admitted:
        with self.trouble.around("admit"):
            self._repository(project).holders[access.name.rpartition("-")[0]] = access
            self._revoke(access.name)
            self.made += 1
            token = f"token-{self.made}-{access.name}"
            self.tokens[token] = access.name
            return Admitted(account=access.name, token=Secret(token))

    def _revoke(self, name: str) -> None:
        whose = name.rpartition("-")[0]
        self.tokens = {token: who for token, who in self.tokens.items() if who.rpartition("-")[0] != whose}

    def extend(self, project: Project, access: Access) -> str:
        with self.trouble.around("extend"):
            whose, holders = access.name.rpartition("-")[0], self._repository(project).holders
            if whose not in holders:
                raise NotFound(f"nobody is let in as {access.name}", hint="begin another", name=access.name)
            name = f"{whose}-{int(access.expires_at.timestamp())}"
            holders[whose] = replace(access, name=name)
            return name

    def dismiss(self, name: str) -> bool:
        with self.trouble.around("dismiss"):
            whose, gone = name.rpartition("-")[0], False
            for found in self.repositories.values():
                if found.owner.get("installation") == self._installation:
                    gone = found.holders.pop(whose, None) is not None or gone
            self._revoke(name)
            return gone

    def admitted(self) -> Sequence[Access]:
        mine = [found for found in self.repositories.values() if found.owner.get("installation") == self._installation]
        return [access for found in mine for access in found.holders.values()]

    # the forge itself

    def checks(self) -> Sequence[Check]:
        return [Check(name="forge", verdict=Verdict.OK, found="a forge in memory")]

    def ensure_hook(self, project: Project, url: str, secret: Secret) -> None:
        self.told(project, self.news(project))
        self._repository(project).hooks[url] = secret.reveal()

    def drop_hook(self, project: Project, url: str) -> None:
        self._repository(project).hooks.pop(url, None)

    def news(self, project: Project) -> Sequence[Moved]:
        with self.trouble.around("news"):
            found = self._repository(project)
            names = sorted({*found.branches, *found.told})
            return [
                Moved(name=name, old=found.told.get(name, ""), new=found.branches.get(name, ""))
                for name in names
                if found.told.get(name) != found.branches.get(name)
            ]

    def told(self, project: Project, moved: Sequence[Moved]) -> None:
        known = self._repository(project).told
        for one in moved:
            known.pop(one.name, None)
            if one.new:
                known[one.name] = one.new


def _changed(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    return sorted(name for name in {*old, *new} if old.get(name) != new.get(name))
