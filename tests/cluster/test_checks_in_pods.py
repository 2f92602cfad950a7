"""Pipelines and receipts in pods of a real cluster: the image's digest is in the receipt, a pod that goes is no verdict, and nothing stays."""

import json
import re
import subprocess
import threading
import time
from pathlib import Path

import pytest

from rdev_cli.domain.errors import OutcomeUnknown, Unavailable
from rdev_cli.domain.review import Step
from rdev_cli.ops import checks, known, receipts
from rdev_cli.wiring.services import Services

pytestmark = [pytest.mark.cluster, pytest.mark.state]

FILES = {
    ".woodpecker.yml": "steps:\n  a: {image: golang, commands: [cd site, ls, 'echo $CI_COMMIT_BRANCH >&2']}\n  b: {commands: exit 3}\n",
    ".rdev.yaml": "checks: [sh scripts/check.sh, {name: more, run: [ls, exit 4]}]\n",
}


@pytest.fixture
def shop(there, home, tmp_path):
    """The executable, with a project `shop` whose repository has a pipeline and checks."""
    there("context", "set", "lab", "--allow-weaker")  # what policies do is not asked here
    made = there("project", "create", "shop")
    assert made.returncode == 0, made.stderr.decode()
    folder = tmp_path / "clone"
    git = ("git", "-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgSign=false")
    subprocess.run([*git, "clone", "--quiet", f"{home['XDG_STATE_HOME']}/rdev/lab/repos/shop.git", str(folder)], check=True)
    for name, text in FILES.items():
        (folder / name).write_text(text)
    for argv in (("add", "--all"), ("commit", "--quiet", "--message=more"), ("push", "--quiet", "origin", "HEAD")):
        subprocess.run([*git, *argv], cwd=folder, check=True)
    yield there
    there("project", "delete", "shop", "--yes")


@pytest.fixture
def services(shop, home):
    made = Services(environ=home, cwd=Path(home["HOME"]))
    yield made
    made.close()


def _pods(kubectl) -> set[str]:
    found = kubectl("get", "pods", "-o", "json")["items"]
    return {one["metadata"]["name"] for one in found if "deletionTimestamp" not in one["metadata"]}


def test_a_pipeline_runs_in_a_pod_of_its_own_that_goes_with_it(shop, kubectl):
    before = _pods(kubectl)
    ran = shop("ci", "run", "shop", "-o", "json")
    assert (ran.returncode, ran.stderr) == (9, b"")
    found = json.loads(ran.stdout)
    assert [(run["step"], run["exit_code"]) for run in found["runs"]] == [("a", 0), ("b", 3)]
    assert found["notes"] == ["the image golang: not used; the steps run in the image of the context"]
    assert re.fullmatch(r"\S+@sha256:[0-9a-f]{64}", found["image"])
    assert shop("command", "output", found["runs"][0]["command"]).stdout == b"index.html\n"
    assert _pods(kubectl) == before


def test_a_receipt_says_the_image_by_its_digest_and_replays_equal(shop, services, kubectl):
    before, project = _pods(kubectl), known.project(services, "shop")
    sha = services.forge.head(project)
    checked = checks.run(services, project, sha, checks.declared(services, project, sha))
    one = receipts.write(
        services, project, branch="rdev/x", target="main", base=sha, commit=sha, tree=checked.tree, image=checked.image,
        diff_sha256=services.forge.changes(project, sha, sha).patch_sha256, verdict=checked.verdict, checks=checked.runs,
    )  # fmt: skip
    assert [(run.exit_code, run.reason) for run in one.checks] == [(0, ""), (0, ""), (4, "")]
    assert "@sha256:" in one.image
    ran = shop("receipt", "verify", one.id, "--replay", "-o", "json")
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)["items"]
    assert {check["verdict"] for check in found} == {"ok"}
    assert "equal; the image: equal" in next(check["found"] for check in found if check["name"] == "replay.tree")
    assert _pods(kubectl) == before


def test_a_pod_that_is_deleted_while_checks_run_is_no_verdict(shop, services, kubectl):
    before, project, begun = _pods(kubectl), known.project(services, "shop"), threading.Event()

    def kill() -> None:
        assert begun.wait(60)
        for pod in _pods(kubectl) - before:
            kubectl("delete", "pod", pod, "--grace-period=0", "--force", "--wait=false")

    class Witness:
        noted = came = ended = staticmethod(lambda *_: None)

        @staticmethod
        def began(step, line, command):
            begun.set()

    thread = threading.Thread(target=kill)
    thread.start()
    steps = [Step(name="a", lines=("sleep 30", "true"))]
    try:
        with pytest.raises((OutcomeUnknown, Unavailable)):
            checks.run(services, project, services.forge.head(project), steps, tell=Witness())
    finally:
        thread.join()
    end = time.monotonic() + 60
    while _pods(kubectl) != before and time.monotonic() < end:
        time.sleep(0.5)
    assert _pods(kubectl) == before
