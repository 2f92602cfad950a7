"""Check-ins at a real Gitea, as a person types them: pull requests, reviews under them, merges, and credentials that are gone then."""

import json
import os
import subprocess
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Rdev

pytestmark = pytest.mark.providers


@dataclass
class Shop:
    """A project at the Gitea."""

    rdev: Rdev
    name: str
    home: Path

    def api(self, method: str, path: str, body: Any = None) -> Any:
        url = f"{os.environ['GITEA_URL']}/api/v1/repos/{os.environ['GITEA_USER']}/{self.name}{path}"
        headers = {"Authorization": f"token {os.environ['GITEA_TOKEN']}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(urllib.request.Request(url, data, headers, method=method), timeout=20) as answer:
            return json.loads(answer.read() or b"null")

    def checkout(self, folder: str) -> tuple[str, Path]:
        started = self.rdev("checkout", "start", self.name, "--dir", folder, "-o", "json")
        assert started.returncode == 0, started.stderr
        found = json.loads(started.stdout)
        return found["id"], Path(found["folder"])

    def checkin(self, *words: str, cwd: Path) -> tuple[int, dict[str, Any]]:
        ran = self.rdev("checkin", *words, "-o", "json", cwd=cwd, timeout=120)
        return ran.returncode, json.loads(ran.stdout) if ran.returncode in (0, 9) else json.loads(ran.stderr)["error"]


def _commit(folder: Path, **files: str) -> None:
    for name, text in files.items():
        (folder / name.replace("_", ".")).write_text(text)
    for argv in (["add", "--all"], ["-c", "user.name=me", "-c", "user.email=me@localhost", "commit", "-qm", "Work"]):
        subprocess.run(["git", "-C", str(folder), *argv], check=True)


@pytest.fixture
def shop(rdev: Rdev, home: Mapping[str, str], tmp_path: Path) -> Iterator[Shop]:
    name = f"checkin-{os.getpid()}"
    assert rdev("context", "set", "lab", "--forge", "gitea", "--gitea-url", os.environ["GITEA_URL"]).returncode == 0
    assert rdev("context", "use", "lab").returncode == 0
    assert rdev("credential", "set", "GITEA_TOKEN", input=os.environ["GITEA_TOKEN"].encode()).returncode == 0
    made = rdev("project", "create", name, timeout=120)
    assert made.returncode == 0, made.stderr
    yield Shop(rdev, name, tmp_path)
    assert rdev("project", "delete", name, "--yes", timeout=120).returncode == 0


def test_a_checkout_becomes_a_reviewed_pull_request_and_is_merged_once(shop):
    id, folder = shop.checkout("work")
    _commit(folder, note_txt="note\n")
    code, first = shop.checkin(cwd=folder)
    assert (code, first["verdict"], first["pull"]["state"], first["revoked"]) == (0, "passed", "open", True), first
    assert first["pull"]["url"] == f"{os.environ['GITEA_URL']}/{os.environ['GITEA_USER']}/{shop.name}/pulls/1"
    (comment,) = shop.api("GET", "/issues/1/comments")
    assert first["receipt"] in comment["body"]
    assert "scripts/check.sh`: 0" in comment["body"]
    code, merged = shop.checkin("--merge", cwd=folder)
    assert (code, merged["receipt"], merged["pull"]["state"]) == (0, first["receipt"], "merged"), merged
    code, again = shop.checkin("--merge", cwd=folder)
    assert (code, again["merged"]) == (0, merged["merged"])
    assert len(shop.api("GET", "/pulls?state=all")) == len(shop.api("GET", "/issues/1/comments")) == 1
    assert shop.api("GET", "/branches/main")["commit"]["id"] == merged["merged"]
    push = subprocess.run(["git", "-C", str(folder), "push", "origin", f"HEAD:rdev/{id}"], capture_output=True, check=False, timeout=60)
    assert push.returncode != 0  # the credential counts no more


def test_what_does_not_fit_is_told_and_nothing_is_forced(shop):
    _, mine = shop.checkout("mine")
    _, theirs = shop.checkout("theirs")
    for folder in (mine, theirs):
        _commit(folder, README_md=f"{folder.name}\n")
    code, done = shop.checkin("--merge", cwd=theirs)
    assert (code, done["pull"]["state"]) == (0, "merged"), done
    code, refused = shop.checkin("--merge", cwd=mine)
    assert (code, refused["code"], refused["context"]["files"]) == (5, "MERGE_CONFLICT", ["README.md"]), refused
    assert shop.api("GET", "/branches/main")["commit"]["id"] == done["merged"]
    assert shop.api("GET", f"/pulls/{refused['context']['pull']}")["state"] == "open"


def test_what_a_person_merged_is_known_to_be_merged_and_its_checkout_is_over(shop):
    id, folder = shop.checkout("work")
    (folder / "site/bad.html").write_text("bad\n")
    _commit(folder)
    code, failed = shop.checkin("--merge", cwd=folder)
    assert (code, failed["verdict"], failed["pull"]["state"]) == (9, "failed", "open"), failed
    shop.api("POST", f"/pulls/{failed['pull']['number']}/merge", {"Do": "merge"})
    code, done = shop.checkin("--merge", cwd=folder)
    assert (code, done["pull"]["state"], done["revoked"]) == (0, "merged", True), done
    assert json.loads(shop.rdev("checkout", "show", id, "-o", "json").stdout)["state"] == "checked_in"


def test_a_session_is_checked_in_and_ends_when_it_is_merged(shop):
    started = shop.rdev("session", "start", shop.name, "-o", "json", timeout=120)
    assert started.returncode == 0, started.stderr
    id = json.loads(started.stdout)["id"]
    token = "gh" + "p_" + "Zx9Qm2Lw8Rt4Vb6Nc1Ks7Hd3Jf5Gp0Ya2UeX"
    assert shop.rdev("shell", id, f"echo {token} > key.txt; git add key.txt").returncode == 0
    code, refused = shop.checkin(id, cwd=shop.home)
    assert (code, refused["code"]) == (5, "SECRET_FOUND"), refused
    assert all(one["commit"]["id"] == shop.api("GET", "/branches/main")["commit"]["id"] for one in shop.api("GET", "/branches"))
    amend = "git -c user.name=me -c user.email=me@x commit -q --amend -m Work"
    assert shop.rdev("shell", id, f"echo hello > key.txt; git add key.txt; {amend}").returncode == 0
    code, done = shop.checkin(id, "--merge", cwd=shop.home)
    assert (code, done["pull"]["state"], done["verdict"]) == (0, "merged", "passed"), done
    assert json.loads(shop.rdev("session", "show", id, "-o", "json").stdout)["reason"] == "checked_in"
