"""Pipelines and receipts over HTTP: what is asked for is done by a loop, and what is shown is what the command prints."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rdev_cli.domain.access import Scope
from rdev_cli.domain.codec import plain, to_json
from rdev_cli.domain.review import Receipt, Step, Verdict
from rdev_cli.domain.session import Session, SessionState
from rdev_cli.ops import checks, jobs, known, receipts
from rdev_cli.wiring.services import Services
from tests.conftest import Rdev

Push = Callable[..., str]


@pytest.fixture
def push(services: Services, project: str, tmp_path: Path) -> Push:
    """Commit files onto the project's branch and return the commit."""
    folder = tmp_path / "clone"

    def git(*argv: str) -> str:
        who = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgSign=false")
        return subprocess.run(["git", *who, *argv], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()

    def run(**files: str) -> str:
        if not folder.exists():
            folder.mkdir()
            git("clone", "--quiet", services.forge.url(project), ".")
        for name, content in files.items():
            (folder / name).write_text(content)
        git("add", "--all")
        git("commit", "--quiet", "--message=more")
        git("push", "--quiet", "origin", "HEAD")
        return git("rev-parse", "HEAD")

    return run


@pytest.fixture
def receipt(services: Services, project: str) -> Receipt:
    found = known.project(services, project)
    sha = services.forge.head(found)
    checked = checks.run(services, found, sha, [Step(name="a", lines=("sh scripts/check.sh", "exit 3"))])
    return receipts.write(
        services, found, branch="rdev/x", target="main", base=sha, commit=sha, tree=checked.tree, image=checked.image,
        diff_sha256=services.forge.changes(found, sha, sha).patch_sha256, verdict=checked.verdict, checks=checked.runs,
    )  # fmt: skip


def done(services: Services, answer: Any) -> Any:
    """Let the loop do what was taken on, and return the job."""
    assert answer.status_code == 202, answer.text
    assert jobs.run_one(services, services.acting)
    return json.loads(to_json(services.store.find_job(answer.json()["data"]["id"])))


def test_a_pipeline_is_run_by_the_loop_and_its_verdict_is_the_answer(services: Services, caller: Any, push: Push) -> None:
    pipeline = "steps:\n  a: {image: x, commands: [cd site, ls]}\n  b: {commands: 'exit 3'}\n  c: {commands: ls}\n"
    sha = push(**{".woodpecker.yml": pipeline})
    client = caller(Scope.BUILDS_WRITE)
    job = done(services, client.post("/projects/shop/ci", json={}))
    assert job["state"] == "done"
    answer = job["answer"]
    assert (answer["commit"], answer["verdict"]) == (sha, "failed")
    assert [(r["step"], r["exit_code"], r["reason"]) for r in answer["runs"]] == [("a", 0, ""), ("b", 3, ""), ("c", None, "skipped")]
    assert answer["notes"] == ["the image x: not used; the steps run in the sandbox, with the programs of this machine"]
    output = caller(Scope.PROJECTS_READ).get(f"/commands/{answer['runs'][0]['command']}/output").json()["data"]
    assert output["stdout"] == "index.html\n"
    assert [one.state for one in services.store.some(Session)] == [SessionState.ENDED]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 409, "NO_PIPELINE"), ({"branch": "none"}, 404, "NOT_FOUND"), ({"branch": "-x"}, 422, "INVALID"), ({"commit": "main"}, 422, "INVALID"),
        ({"commit": "0" * 40}, 404, "NOT_FOUND"), ({"timeout_seconds": 0}, 422, "INVALID"), ({"more": 1}, 422, "INVALID"),
    ],
)  # fmt: skip
def test_what_cannot_be_run_is_refused_at_once(caller: Any, project: str, body: Any, status: int, code: str) -> None:
    answer = caller(Scope.BUILDS_WRITE).post(f"/projects/{project}/ci", json=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


def test_a_receipt_is_shown_and_verified_as_the_command_prints_it(caller: Any, rdev: Rdev, receipt: Receipt) -> None:
    client = caller(Scope.PROJECTS_READ)
    for argv, answer in (
        (("show",), client.get(f"/receipts/{receipt.id}")),
        (("verify",), client.post("/receipts/verify", json={"receipt": receipt.id})),
        (("verify",), client.post("/receipts/verify", json={"document": plain(receipt)})),
    ):
        assert answer.status_code == 200, answer.text
        ran = rdev("receipt", *argv, receipt.id, "-o", "json")
        assert ran.returncode == 0, ran.stderr
        assert ran.stdout == to_json(answer.json()["data"]).encode() + b"\n"
        assert answer.content.startswith(b'{"data":' + ran.stdout[:-1])
    listed = client.get("/projects/shop/receipts").json()["data"]
    assert [one["id"] for one in listed["items"]] == [receipt.id]
    assert client.get(f"/projects/shop/receipts?before={receipt.id}").json()["data"]["items"] == []


def test_a_document_that_was_changed_is_seen(caller: Any, receipt: Receipt) -> None:
    client = caller(Scope.PROJECTS_READ)
    changed = {**plain(receipt), "verdict": "passed"}
    found = client.post("/receipts/verify", json={"document": changed}).json()["data"]["items"]
    assert {one["name"] for one in found if one["verdict"] == "failed"} == {"signature", "journal"}
    for body in ({}, {"receipt": receipt.id, "document": plain(receipt)}, {"document": {}}, {"document": []}, {"document": "x"}):
        answer = client.post("/receipts/verify", json=body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (422, "INVALID"), body
    for id in (receipt.id[:-1], receipt.id.upper(), "rcp_" + "0" * 20, "cmd_" + "0" * 20):
        assert client.post("/receipts/verify", json={"receipt": id}).status_code == 404
        assert client.get(f"/receipts/{id}").status_code == 404


def test_a_receipt_is_run_again_by_the_loop(services: Services, caller: Any, receipt: Receipt) -> None:
    job = done(services, caller(Scope.PROJECTS_EXECUTE).post(f"/receipts/{receipt.id}/replay", json={}))
    answer = job["answer"]
    assert (answer["verdict"], answer["tree"], answer["image"]) == (Verdict.PASSED.value, "equal", "equal")
    assert [(r["recorded"], r["replayed"], r["stdout"], r["stderr"]) for r in answer["runs"]] == [
        (0, 0, "equal", "equal"),
        (3, 3, "equal", "equal"),
    ]
    assert job["project"] == "shop"


def test_each_needs_its_scope(caller: Any, receipt: Receipt) -> None:
    reader, runner = caller(Scope.PROJECTS_READ), caller(Scope.BUILDS_READ)
    assert reader.post("/projects/shop/ci", json={}).status_code == 403
    assert reader.post(f"/receipts/{receipt.id}/replay", json={}).status_code == 403
    for method, path in (("GET", "/projects/shop/receipts"), ("GET", f"/receipts/{receipt.id}"), ("POST", "/receipts/verify")):
        assert runner.request(method, path, json={"receipt": receipt.id} if method == "POST" else None).status_code == 403
