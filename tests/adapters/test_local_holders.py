"""A push that names its checkout reaches the checkout's branch, forward and while it lasts; one that names none is its owner's own."""

import os
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from rdev_cli.adapters.local.forge import LocalForge
from rdev_cli.ports.forge import Access, access_name
from tests.support.yards import LocalYard, project

ID = "chk_01j9holders000000001"


class Clone:
    """A folder that a checkout works in."""

    def __init__(self, folder: Path, url: str, option: str) -> None:
        self.folder, self._option = folder, option
        folder.mkdir()
        assert self.git("clone", "-q", url, ".").returncode == 0

    def git(self, *argv: str) -> "subprocess.CompletedProcess[str]":
        env = {"PATH": os.environ["PATH"], "HOME": str(self.folder.parent)}
        env |= {f"GIT_{role}_{what}": "u@x" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        return subprocess.run(["git", "-C", str(self.folder), *argv], env=env, capture_output=True, text=True, check=False)

    def push(self, *refs: str, option: str | None = None) -> str:
        """Push, and return why not; empty if it went well."""
        said = self._option if option is None else option
        done = self.git("push", "-q", *((f"--push-option={said}",) if said else ()), "origin", *refs)
        return "" if done.returncode == 0 else done.stderr or "refused"

    def commit(self) -> None:
        assert self.git("commit", "-q", "--allow-empty", "-m", "work").returncode == 0


@pytest.fixture
def yard(tmp_path: Path) -> LocalYard:
    made = LocalYard(tmp_path)
    made.forge.ensure_repository(project())
    made.forge.seed(project(), {"README.md": (b"# shop\n", False)})
    return made


def started(yard: LocalYard, tmp_path: Path, *, lasts: float = 3600) -> tuple[Clone, Access]:
    until = datetime.now(UTC) + timedelta(seconds=lasts)
    access = Access(name=access_name(ID, until), branch=f"rdev/{ID}", expires_at=until)
    yard.forge.ensure_branch(project(), access.branch, yard.forge.head(project()))
    admitted = yard.forge.admit(project(), access)
    return Clone(tmp_path / "clone", yard.forge.url("shop"), admitted.push_option), access


def test_t_co_3_it_reaches_its_branch_and_nothing_else(yard, tmp_path):
    clone, access = started(yard, tmp_path)
    first = yard.forge.head(project())
    clone.commit()
    assert clone.push(f"HEAD:{access.branch}") == ""
    there = yard.branches()
    for refs in (
        ["HEAD:main"], ["HEAD:refs/heads/new"], ["HEAD:refs/tags/v1"], [f":{access.branch}"], [f"+{first}:{access.branch}"], ["+HEAD:main"],
        [f"HEAD:{access.branch}-2"], ["HEAD:refs/notes/x"], [f"HEAD~0:{access.branch}", "HEAD:main"],
    ):  # fmt: skip
        assert "rdev: " in clone.push(*refs), refs
    assert yard.branches() == there
    for option in ("rdev-checkout=rdev-co-99999999", "rdev-checkout=../../config", "rdev-checkout=$(touch P)", "rdev-checkout=a b;c"):
        assert "rdev: " in clone.push(f"HEAD:{access.branch}-3", option=option), option
    assert not list(tmp_path.rglob("P"))


def test_it_ends_by_its_time_and_by_being_dismissed_and_goes_on_when_it_is_extended(yard, tmp_path):
    clone, access = started(yard, tmp_path, lasts=-1)
    clone.commit()
    assert "has ended" in clone.push(f"HEAD:{access.branch}")
    later = Access(name=access.name, branch=access.branch, expires_at=datetime.now(UTC) + timedelta(hours=1))
    yard.forge.extend(project(), later)
    assert clone.push(f"HEAD:{access.branch}") == ""
    clone.commit()
    yard.forge.dismiss(access.name)
    assert "has ended" in clone.push(f"HEAD:{access.branch}")


def test_a_push_that_names_no_checkout_is_its_owners_own(yard, tmp_path):
    clone, _ = started(yard, tmp_path)
    clone.commit()
    assert clone.push("HEAD:main", option="") == ""
    assert clone.push("HEAD:refs/tags/v1", option="other=1") == ""


def test_rdevs_own_writes_pass_no_hook(yard, tmp_path):
    started(yard, tmp_path)
    sha, bundle = yard.pod_commits(yard.forge.head(project()), "ours")
    assert yard.forge.receive(project(), bundle, sha=sha, rescue="rdev/rescue/x").branch == "main"
    assert isinstance(yard.forge, LocalForge)
