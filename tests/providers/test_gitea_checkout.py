"""A checkout at a real Gitea, as its user has it: one branch, for a while, with a token that stands nowhere. T-CO-1 to 3."""

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from rdev_cli.ops import checkouts, debts
from rdev_cli.wiring.services import Services
from tests.conftest import Rdev

pytestmark = pytest.mark.providers


@pytest.fixture
def shop(rdev: Rdev) -> Iterator[str]:
    """A project at the Gitea, which goes with the test."""
    name = f"co-{os.urandom(4).hex()}"
    url, token = (os.environ[variable] for variable in ("GITEA_URL", "GITEA_TOKEN"))
    for words, given in (
        (("context", "set", "local", "--forge", "gitea", "--gitea-url", url), None),
        (("credential", "set", "GITEA_TOKEN"), token.encode()),
        (("project", "create", name), None),
    ):
        ran = rdev(*words, input=given, timeout=120)
        assert ran.returncode == 0, ran.stderr
    yield name
    assert rdev("project", "delete", name, "--yes", timeout=120).returncode == 0


def _started(rdev: Rdev, shop: str, *more: str) -> dict[str, str]:
    ran = rdev("checkout", "start", shop, *more, "-o", "json", timeout=120)
    assert ran.returncode == 0, ran.stderr
    found: dict[str, str] = json.loads(ran.stdout)
    return found


def test_a_user_pushes_to_the_checkout_s_branch_alone_until_it_is_cancelled(
    rdev: Rdev, shop: str, home: Mapping[str, str], tmp_path: Path
) -> None:
    made = _started(rdev, shop, "--for", "1h")
    folder = Path(made["folder"])

    def git(*argv: str) -> "subprocess.CompletedProcess[bytes]":
        who = {"GIT_AUTHOR_NAME": "u", "GIT_AUTHOR_EMAIL": "u@x", "GIT_COMMITTER_NAME": "u", "GIT_COMMITTER_EMAIL": "u@x"}
        return subprocess.run(["git", "-C", str(folder), *argv], env={**home, **who}, capture_output=True, timeout=120, check=False)

    assert git("commit", "-q", "--allow-empty", "-m", "work").returncode == 0
    assert git("push").returncode == 0
    for refused in (("HEAD:main",), ("HEAD:rdev/other",), ("HEAD:refs/tags/v1",), ("--force", "HEAD~1:refs/heads/" + made["branch"])):
        assert git("push", "origin", *refused).returncode == 1, refused
    world = Services(environ=home, cwd=tmp_path)
    try:
        token = checkouts.token(world, checkouts.show(world, made["id"])).reveal()
        assert len(token) == 40
        kept = [path for path in tmp_path.rglob("*") if path.is_file()]
        assert len(kept) > 50
        assert [path for path in kept if token.encode() in path.read_bytes()] == []

        longer = json.loads(rdev("checkout", "extend", made["id"], "--for", "2d", "-o", "json", timeout=120).stdout)
        assert longer["account"] != made["account"]
        assert git("commit", "-q", "--allow-empty", "-m", "more").returncode == 0
        pushed = git("push")
        assert pushed.returncode == 0, pushed.stderr
        assert [access.name for access in world.forge.admitted()] == [longer["account"]]

        assert rdev("checkout", "cancel", made["id"], "--yes", timeout=120).returncode == 0
        assert (list(world.forge.admitted()), debts.owed(world)) == ([], [])
    finally:
        world.close()
    assert git("commit", "-q", "--allow-empty", "-m", "too late").returncode == 0
    late = git("push")
    assert (late.returncode, b"is cancelled" in late.stderr) == (128, True)
    names = [one["name"] for one in json.loads(rdev("branch", "list", shop, "-o", "json").stdout)["items"]]
    assert names == ["main", made["branch"]]


def test_a_branch_on_which_nobody_worked_goes_and_a_forge_that_is_away_is_asked_again(
    rdev: Rdev, shop: str, home: Mapping[str, str]
) -> None:
    made = _started(rdev, shop)
    assert rdev("context", "set", "local", "--gitea-url", "http://127.0.0.1:9").returncode == 0
    away = rdev("checkout", "cancel", made["id"], "--yes", "-o", "json", timeout=120)
    assert away.returncode == 7, away.stderr
    assert made["id"] in json.loads(away.stderr)["error"]["hint"]
    found = {one["name"]: one for one in json.loads(rdev("doctor", "-o", "json", timeout=120).stdout)["items"]}
    assert found[f"checkout.{made['id']}"]["verdict"] == "failed"
    assert rdev("context", "set", "local", "--gitea-url", os.environ["GITEA_URL"]).returncode == 0
    assert rdev("checkout", "cancel", made["id"], timeout=120).returncode == 0
    assert [one["name"] for one in json.loads(rdev("branch", "list", shop, "-o", "json").stdout)["items"]] == ["main"]
    assert "checkout.credentials" not in rdev("doctor", "-o", "json", timeout=120).stdout.decode()
