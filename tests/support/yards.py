"""Places where forges are, for the contract suite: each plays its pods and its users too."""

import base64
import contextlib
import io
import os
import secrets
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Protocol

from rdev_cli.adapters.gitea.calling import Gitea
from rdev_cli.adapters.gitea.forge import GiteaForge
from rdev_cli.adapters.local.forge import LocalForge
from rdev_cli.domain.project import Project, ProjectState
from rdev_cli.domain.values import ProjectId, Secret
from rdev_cli.ports import forge as port
from rdev_cli.ports.timing import Stop
from tests.fakes.forge import MemoryForge, Repository, commit, pack


def project(name: str = "shop", id: str = "prj_01j9contract00000001", branch: str = "main") -> Project:
    now = datetime(2026, 1, 2, tzinfo=UTC)
    return Project(
        id=ProjectId(id), name=name, description="", source="", network=True, state=ProjectState.READY, pod=f"rdev-{name}",
        repository="", branch=branch, created_at=now, updated_at=now,
    )  # fmt: skip


class Yard(Protocol):
    """What a forge must offer beside the port, so that the suite can play its pods and its users."""

    forge: port.Forge

    def another(self) -> port.Forge:
        """A forge of another installation, on the same place."""
        ...

    def pod_commits(self, onto: str, subject: str, *, file: str = "new.txt") -> tuple[str, BinaryIO]:
        """Make a commit upon one of `shop`'s as a pod does; return it and a bundle of it."""
        ...

    def pod_changes(self, onto: str, subject: str, files: Mapping[str, str | None]) -> tuple[str, BinaryIO]:
        """Commit these contents (None: gone) upon one of `shop`'s as a pod does; return it and a bundle of it."""
        ...

    def unpacked(self, bundle: BinaryIO) -> str:
        """Return the commit that a pod would find in the forge's bundle."""
        ...

    def source(self, branches: Mapping[str, Sequence[str]]) -> str:
        """Make a source with these branches, each a list of subjects; the first is its main one."""
        ...

    def branches(self) -> dict[str, str]:
        """Return the branches of `shop`, and where they stand."""
        ...

    def close(self) -> None:
        """Clear up what a test left at the place."""
        ...


class MemoryYard:
    def __init__(self, folder: Path) -> None:
        self.forge = MemoryForge()

    def another(self) -> port.Forge:
        other = MemoryForge("another")
        other.repositories = self.forge.repositories
        return other

    def pod_commits(self, onto: str, subject: str, *, file: str = "new.txt") -> tuple[str, BinaryIO]:
        commits = dict(self.forge.repositories["shop"].commits)
        sha = commit(commits, onto, subject, [*commits[onto]["files"], file])
        return sha, io.BytesIO(pack(commits, sha))

    def pod_changes(self, onto: str, subject: str, files: Mapping[str, str | None]) -> tuple[str, BinaryIO]:
        commits = dict(self.forge.repositories["shop"].commits)
        held = {**commits[onto]["files"], **files}
        sha = commit(commits, onto, subject, {name: content for name, content in held.items() if content is not None})
        return sha, io.BytesIO(pack(commits, sha))

    def unpacked(self, bundle: BinaryIO) -> str:
        import json

        return json.loads(bundle.read())["head"]

    def source(self, branches: Mapping[str, Sequence[str]]) -> str:
        made = Repository(main=next(iter(branches), ""))
        for name, subjects in branches.items():
            for subject in subjects:
                made.branches[name] = commit(made.commits, made.branches.get(name, ""), subject, ["a.txt"])
        self.forge.sources["it"] = made
        return "it"

    def branches(self) -> dict[str, str]:
        return self.forge.repositories["shop"].branches

    def close(self) -> None:
        """Nothing is anywhere."""


class LocalYard:
    given: Mapping[str, str] = {}  # what git is given beside

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "state" / "local"
        self.forge, self._tmp = LocalForge(self._folder, "contract"), folder

    def another(self) -> port.Forge:
        return LocalForge(self._folder, "another")

    def _clone_url(self) -> str:
        return self.forge.url("shop")

    def _git(self, folder: Path, *argv: str, input: bytes | None = None) -> str:  # noqa: A002 -- as subprocess calls it
        who = {f"GIT_{role}_{what}": "u@x" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        env = {**os.environ, **who, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_TERMINAL_PROMPT": "0", **self.given}
        done = subprocess.run(["git", "-C", str(folder), *argv], input=input, env=env, capture_output=True, check=True)
        return done.stdout.decode().strip()

    def pod_commits(self, onto: str, subject: str, *, file: str = "new.txt") -> tuple[str, BinaryIO]:
        pod = self._tmp / f"pod-{subject}"
        self._git(self._tmp, "clone", "-q", "--bare", self._clone_url(), str(pod))
        blob = self._git(pod, "hash-object", "-w", "--stdin", input=subject.encode())
        raw = f"100644 {file}".encode() + b"\0" + bytes.fromhex(blob)  # mktree makes no tree that would hurt somebody
        tree = self._git(pod, "hash-object", "-t", "tree", "-w", "--literally", "--stdin", input=raw)
        sha = self._git(pod, "commit-tree", "-p", onto, "-m", subject, tree)
        self._git(pod, "update-ref", "--no-deref", "HEAD", sha)
        self._git(pod, "bundle", "create", "-q", "it.bundle", "HEAD", "--not", onto)
        return sha, io.BytesIO((pod / "it.bundle").read_bytes())

    def pod_changes(self, onto: str, subject: str, files: Mapping[str, str | None]) -> tuple[str, BinaryIO]:
        pod = self._tmp / f"pod-{subject}"
        self._git(self._tmp, "clone", "-q", "--bare", self._clone_url(), str(pod))
        self._git(pod, "read-tree", onto)
        for name, content in files.items():
            if content is None:
                self._git(pod, "update-index", "--index-info", input=f"0 {'0' * 40}\t{name}\n".encode())
                continue
            blob = self._git(pod, "hash-object", "-w", "--stdin", input=content.encode())
            self._git(pod, "update-index", "--add", "--cacheinfo", f"100644,{blob},{name}")
        sha = self._git(pod, "commit-tree", "-p", onto, "-m", subject, self._git(pod, "write-tree"))
        self._git(pod, "update-ref", "--no-deref", "HEAD", sha)
        self._git(pod, "bundle", "create", "-q", "it.bundle", "HEAD", "--not", onto)
        return sha, io.BytesIO((pod / "it.bundle").read_bytes())

    def unpacked(self, bundle: BinaryIO) -> str:
        pod = self._tmp / "unpacked"
        self._git(self._tmp, "init", "-q", "--bare", str(pod))
        (pod / "it.bundle").write_bytes(bundle.read())
        self._git(pod, "fetch", "-q", "it.bundle", "refs/heads/main:refs/heads/main")
        return self._git(pod, "rev-parse", "main")

    def source(self, branches: Mapping[str, Sequence[str]]) -> str:
        source = self._tmp / "source"
        self._git(self._tmp, "init", "-q", f"--initial-branch={next(iter(branches), 'main')}", str(source))
        empty = self._git(source, "mktree", input=b"")
        for name, subjects in branches.items():
            last: list[str] = []
            for subject in subjects:
                last = [self._git(source, "commit-tree", *(("-p", last[0]) if last else ()), "-m", subject, empty)]
            self._git(source, "update-ref", f"refs/heads/{name}", last[0])
        return str(source)

    def branches(self) -> dict[str, str]:
        lines = self._git(Path(self.forge.url("shop")), "for-each-ref", "--format=%(refname) %(objectname)").splitlines()
        return {ref.removeprefix("refs/heads/"): sha for ref, sha in (line.split() for line in lines)}

    def close(self) -> None:
        """It is all in the test's own folder."""


def given(token: str) -> dict[str, str]:
    """Return what git is given to reach a Gitea as somebody."""
    header = "Authorization: Basic " + base64.b64encode(f"x:{token}".encode()).decode()
    return {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "http.extraHeader", "GIT_CONFIG_VALUE_0": header}


class GiteaYard(LocalYard):
    """An organization of its own at the Gitea that GITEA_URL names, gone when the test is over."""

    def __init__(self, folder: Path) -> None:
        self._tmp, self.url, self.token = folder, os.environ["GITEA_URL"], os.environ["GITEA_TOKEN"]
        self.owner, self.installation = f"rdev-test-{secrets.token_hex(4)}", secrets.token_hex(10)
        self.api = Gitea(self.url, lambda: Secret(self.token), Stop)
        self.api.call("POST", "/orgs", {"username": self.owner, "visibility": "private"}, ok=(201,))
        self._others: list[GiteaForge] = []
        self.forge, self.given = self._made(self.installation), given(self.token)

    def _made(self, installation: str) -> GiteaForge:
        return GiteaForge(
            self._tmp / installation / "local", installation, url=self.url, owner=self.owner, token=lambda: Secret(self.token), stop=Stop
        )

    def another(self) -> GiteaForge:
        self._others.append(self._made("f" * 20))
        return self._others[-1]

    def _clone_url(self) -> str:
        return self.forge.url("shop")

    def branches(self) -> dict[str, str]:
        lines = self._git(self._tmp, "ls-remote", "--heads", self._clone_url()).splitlines()
        return {ref.removeprefix("refs/heads/"): sha for sha, ref in (line.split("\t") for line in lines)}

    def close(self) -> None:
        for access in self.forge.admitted():
            self.forge.dismiss(access.name)
        for repository in list(self.api.all(f"/orgs/{self.owner}/repos")):
            self.api.call("DELETE", f"/repos/{repository['full_name']}", ok=(204, 404))
        with contextlib.suppress(Exception):
            self.api.call("DELETE", f"/orgs/{self.owner}", ok=(204, 404))
        for one in (self.forge, self.api, *self._others):
            one.close()
