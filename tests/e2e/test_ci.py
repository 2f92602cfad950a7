"""Pipelines and receipts as they are typed: the steps' own bytes, honest exit codes, and nothing left behind by a Ctrl-C or a kill."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from rdev_cli.domain.review import Receipt
from rdev_cli.ops import checks, known, receipts
from rdev_cli.wiring.services import Services
from tests.conftest import Rdev, Spawn
from tests.e2e.test_answers import check

pytestmark = pytest.mark.state
Push = Callable[..., str]
SLOW = f"steps: {{a: {{commands: 'echo begun; sleep 1000.{os.getpid()}'}}}}\n"


@pytest.fixture
def push(home: Mapping[str, str], project: str, tmp_path: Path) -> Push:
    """Commit files to the project's repository and return the commit."""
    folder = tmp_path / "clone"

    def git(*argv: str) -> str:
        who = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgSign=false")
        return subprocess.run(["git", *who, *argv], cwd=folder, env={**home}, check=True, capture_output=True, text=True).stdout.strip()

    def run(branch: str = "main", **files: str) -> str:
        if not folder.exists():
            folder.mkdir()
            git("clone", "--quiet", f"{home['XDG_STATE_HOME']}/rdev/local/repos/{project}.git", ".")
        git("checkout", "--quiet", "-B", branch)
        for name, content in files.items():
            (folder / name).write_text(content)
        git("add", "--all")
        git("commit", "--quiet", "--message=more")
        git("push", "--quiet", "origin", branch)
        return git("rev-parse", "HEAD")

    return run


@pytest.fixture
def services(home: Mapping[str, str], project: str) -> Iterator[Services]:
    made = Services(environ=home, cwd=Path(home["HOME"]))
    yield made
    made.close()


def written(services: Services, commit: str) -> Receipt:
    """Check a commit as its .rdev.yaml says, and write the receipt."""
    project = known.project(services, "shop")
    checked = checks.run(services, project, commit, checks.declared(services, project, commit))
    changes = services.forge.changes(project, commit, commit)
    return receipts.write(
        services, project, branch="rdev/x", target="main", base=commit, commit=commit, tree=checked.tree, image=checked.image,
        diff_sha256=changes.patch_sha256, verdict=checked.verdict, checks=checked.runs,
    )  # fmt: skip


def live(rdev: Rdev) -> list[dict[str, Any]]:
    items = json.loads(rdev("session", "list", "--all", "-o", "json").stdout)["items"]
    return [one for one in items if one["state"] != "ended"]


PIPELINE = """
steps:
  build: {image: golang, commands: [cd site, ls, printf 'no newline']}
  fail: {commands: "echo wrong >&2; exit 3"}
  after: {commands: echo never}
"""


def test_a_person_sees_what_the_steps_print_and_what_came_of_them(rdev: Rdev, push: Push) -> None:
    sha = push(**{".woodpecker.yml": PIPELINE})
    ran = rdev("ci", "run", "shop")
    assert ran.returncode == 9
    assert ran.stdout == b"index.html\nno newline"  # the steps' own bytes, and nothing else
    told = ran.stderr.decode()
    for words in (
        "note: the image golang",
        "--- build: cd site (and 2 more lines)\n",
        "--- build: passed",
        "wrong\n",
        "--- fail: exit code 3",
        "--- after: not run\n",
    ):
        assert words in told
    assert told.endswith(f"rdev: shop at {sha[:10]}: failed\n")
    assert live(rdev) == []


def test_a_program_gets_one_document_or_lines_of_json(rdev: Rdev, push: Push) -> None:
    sha = push(**{".woodpecker.yml": PIPELINE})
    for form in ("json", "jsonl"):
        ran = rdev("ci", "run", "shop", "-o", form)
        assert (ran.returncode, ran.stderr) == (9, b"")
        *lines, document = [json.loads(line) for line in ran.stdout.splitlines()]
        check("checked", document, form)
        assert (document["commit"], document["verdict"]) == (sha, "failed")
        assert [(one["step"], one["exit_code"], one["reason"]) for one in document["runs"]] == [
            ("build", 0, ""),
            ("fail", 3, ""),
            ("after", None, "skipped"),
        ]
        for line in lines:
            check(f"{line['type']}-line", line, form)
        ended = [line["id"] for line in lines if line["type"] == "ended"]
        assert ended == ([one["command"] for one in document["runs"] if one["command"]] if form == "jsonl" else [])
        assert ("".join(line["data"] for line in lines if line.get("stream") == "stdout") == "index.html\nno newline") is (form == "jsonl")


def test_a_branch_and_a_commit_can_be_named(rdev: Rdev, push: Push) -> None:
    old = push(**{".woodpecker.yml": "steps: {a: {commands: 'echo $CI_COMMIT_BRANCH old'}}\n"})
    push("feature/cart", **{".woodpecker.yml": "steps: {a: {commands: 'echo $CI_COMMIT_BRANCH new'}}\n"})
    assert rdev("ci", "run", "shop").stdout == b"main old\n"
    assert rdev("ci", "run", "shop", "--branch", "feature/cart").stdout == b"feature/cart new\n"
    assert rdev("ci", "run", "shop", "--branch", "feature/cart", "--commit", old).stdout == b"feature/cart old\n"


@pytest.mark.parametrize(
    ("argv", "code", "said"),
    [
        (("none",), 3, "there is no project none"),
        (("shop",), 5, "there is no .woodpecker.yml at"),
        (("shop", "--branch", "none"), 3, "has no branch none"),
        (("shop", "--commit", "0" * 40), 3, "has no commit 0000000000"),
        (("shop", "--commit", "main"), 2, "'main' is no commit"),
        (("shop", "--timeout", "soon"), 2, "'soon'"),
    ],
)
def test_what_cannot_be_run_says_what_to_type(rdev: Rdev, project: str, argv: tuple[str, ...], code: int, said: str) -> None:
    ran = rdev("ci", "run", *argv)
    assert (ran.returncode, ran.stdout) == (code, b"")
    assert said in ran.stderr.decode()
    assert "hint:" in ran.stderr.decode()


def test_what_is_not_taken_is_named(rdev: Rdev, push: Push) -> None:
    push(**{".woodpecker.yml": "services: {db: {image: postgres}}\nsteps: {a: {commands: b}}\n"})
    ran = rdev("ci", "run", "shop", "-o", "json")
    assert (ran.returncode, ran.stdout) == (2, b"")
    assert json.loads(ran.stderr)["error"]["code"] == "PIPELINE"
    assert "services is not taken" in json.loads(ran.stderr)["error"]["message"]


def test_the_time_limit_ends_the_steps_and_says_so(rdev: Rdev, push: Push, left_behind: Any) -> None:
    push(**{".woodpecker.yml": SLOW})
    ran = rdev("ci", "run", "shop", "--timeout", "1s")
    assert ran.returncode == 124
    assert b"--- a: stopped at the time limit" in ran.stderr
    assert live(rdev) == []
    assert left_behind(f"sleep 1000.{os.getpid()}") == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_step_and_its_pod(rdev: Rdev, spawn: Spawn, push: Push, left_behind: Any, number: int, code: int) -> None:
    push(**{".woodpecker.yml": SLOW})
    process = spawn("ci", "run", "shop")
    assert process.stdout.readline() == b"begun\n"
    process.send_signal(number)
    assert process.wait(60) == code
    assert live(rdev) == []
    assert left_behind(f"sleep 1000.{os.getpid()}") == []


def test_a_reader_that_leaves_ends_the_step_and_its_pod(rdev: Rdev, spawn: Spawn, push: Push, left_behind: Any) -> None:
    push(**{".woodpecker.yml": SLOW.replace("sleep", "sleep 1; yes; sleep")})
    process = spawn("ci", "run", "shop")
    assert process.stdout.readline() == b"begun\n"
    process.stdout.close()
    assert process.wait(60) == 141
    process.stdout = None
    assert live(rdev) == []
    assert left_behind(f"sleep 1000.{os.getpid()}") == []


def test_what_a_kill_leaves_behind_is_ended_by_gc(rdev: Rdev, spawn: Spawn, push: Push, left_behind: Any) -> None:
    push(**{".woodpecker.yml": SLOW})
    process = spawn("ci", "run", "shop")
    assert process.stdout.readline() == b"begun\n"
    process.kill()
    process.wait(10)
    assert [one["purpose"] for one in live(rdev)] == ["checks"]
    assert rdev("gc").returncode == 0
    assert live(rdev) == []
    assert left_behind(f"sleep 1000.{os.getpid()}") == []


def test_a_step_reaches_neither_the_project_s_own_pod_nor_what_runs_there(rdev: Rdev, push: Push) -> None:
    push(**{".woodpecker.yml": "steps: {a: {commands: 'ls; echo made >made-by-ci; ls $HOME; cat ~/kept 2>&1 || true'}}\n"})
    assert rdev("shell", "shop", "echo mine >mine; echo kept >~/kept").returncode == 0
    ran = rdev("ci", "run", "shop")
    assert ran.returncode == 0, ran.stderr
    assert b"mine" not in ran.stdout
    assert b"kept\n" not in ran.stdout.replace(b"/kept", b"")
    assert b"made-by-ci" not in rdev("shell", "shop", "ls").stdout


def test_a_project_without_network_has_none_in_its_pipeline(rdev: Rdev, home: Mapping[str, str], tmp_path: Path) -> None:
    assert rdev("project", "create", "offline", "--no-network").returncode == 0
    folder = tmp_path / "offline"
    git = ("git", "-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgSign=false")
    subprocess.run([*git, "clone", "--quiet", f"{home['XDG_STATE_HOME']}/rdev/local/repos/offline.git", str(folder)], check=True)
    (folder / ".woodpecker.yml").write_text("steps: {a: {commands: 'cat /proc/net/dev | tail -n +3 | cut -d: -f1'}}\n")
    for argv in (("add", "--all"), ("commit", "--quiet", "--message=ci"), ("push", "--quiet", "origin", "HEAD")):
        subprocess.run([*git, *argv], cwd=folder, check=True)
    ran = rdev("ci", "run", "offline")
    assert ran.returncode == 0, ran.stderr
    assert set(ran.stdout.split()) <= {b"lo"}


# receipts

DECLARED = "checks:\n  - sh scripts/check.sh\n  - {name: more, run: ['date +%N', 'exit 4']}\n"


def test_a_receipt_is_listed_shown_verified_and_run_again(rdev: Rdev, push: Push, services: Services, tmp_path: Path) -> None:
    one = written(services, push(**{".rdev.yaml": DECLARED}))
    assert rdev("receipt", "list", "shop", "-o", "name").stdout.decode() == f"{one.id}\n"
    shown = rdev("receipt", "show", one.id[:-4], "-o", "json")
    check("receipt", json.loads(shown.stdout), "show")
    assert one.signer in rdev("receipt", "show", one.id).stdout.decode()
    (tmp_path / "kept.json").write_bytes(shown.stdout)
    for argv in ((one.id,), ("kept.json",), ("-",)):
        ran = rdev("receipt", "verify", *argv, "-o", "json", input=shown.stdout)
        assert (ran.returncode, ran.stderr) == (0, b"")
        check("check-list", json.loads(ran.stdout), argv)
        assert {check["verdict"] for check in json.loads(ran.stdout)["items"]} == {"ok"}
    again = rdev("receipt", "replay", one.id, "-o", "json")
    assert again.returncode == 0, again.stderr
    found = json.loads(again.stdout)
    check("replay", found, "replay")
    assert (found["verdict"], found["tree"]) == ("passed", "equal")
    assert [(run["recorded"], run["replayed"], run["stdout"]) for run in found["runs"]] == [
        (0, 0, "equal"),
        (0, 0, "differs"),
        (4, 4, "equal"),
    ]
    ran = rdev("receipt", "verify", "kept.json", "--replay")
    assert ran.returncode == 0, ran.stderr
    assert b"replay.tree" in ran.stdout
    assert ran.stdout.count(b"replay.command") == 3
    assert live(rdev) == []


def test_a_receipt_that_was_changed_fails_and_is_not_run(rdev: Rdev, push: Push, services: Services, tmp_path: Path) -> None:
    one = written(services, push(**{".rdev.yaml": DECLARED}))
    shown = json.loads(rdev("receipt", "show", one.id, "-o", "json").stdout)
    (tmp_path / "changed.json").write_text(json.dumps({**shown, "verdict": "passed"}))
    before = rdev("command", "list", "-o", "name").stdout
    for argv in ((), ("--replay",)):
        ran = rdev("receipt", "verify", "changed.json", *argv)
        assert ran.returncode == 9
        assert b"it does not fit: verdict was changed" in ran.stdout
    assert rdev("command", "list", "-o", "name").stdout == before


def test_a_receipt_that_does_not_replay_equal_fails(rdev: Rdev, push: Push, services: Services) -> None:
    sha = push(**{".rdev.yaml": "checks: [test -e scripts/check.sh]\n"})
    honest = written(services, sha)
    project = known.project(services, "shop")
    lied = receipts.write(
        services, project, branch="rdev/x", target="main", base=sha, commit=sha, tree=honest.tree, image="local", diff_sha256="",
        verdict=honest.verdict, checks=[type(run)(**{**{n: getattr(run, n) for n in run.__slots__}, "exit_code": 1}) for run in honest.checks],
    )  # fmt: skip
    ran = rdev("receipt", "replay", lied.id)
    assert ran.returncode == 9
    assert b"exit code 0, and the receipt says exit code 1" in ran.stdout
    ran = rdev("receipt", "verify", lied.id, "--replay")
    assert ran.returncode == 9


@pytest.mark.parametrize(
    ("argv", "code", "said"),
    [
        (("show", "rcp_0000"), 3, "there is no receipt rcp_0000"),
        (("show", "cmd_0000"), 2, "is no receipt id"),
        (("replay", "rcp_0000"), 3, "there is no receipt"),
        (("verify", "rcp_0000"), 3, "there is no receipt"),
        (("verify", "nowhere.json"), 3, "neither a receipt's id nor a file"),
        (("verify", "."), 2, "cannot be read as a file"),
        (("verify", "-"), 2, "that is no receipt"),
        (("verify", "rcp_0000", "--timeout", "1m"), 2, "--timeout is of no use without --replay"),
        (("list", "none"), 3, "there is no project none"),
    ],
)
def test_what_is_no_receipt_says_what_to_type(rdev: Rdev, project: str, argv: tuple[str, ...], code: int, said: str) -> None:
    ran = rdev("receipt", *argv)
    assert (ran.returncode, ran.stdout) == (code, b"")
    assert said in ran.stderr.decode()
    assert "hint:" in ran.stderr.decode()


def test_a_replay_that_is_killed_is_cleared_and_can_be_asked_for_again(rdev: Rdev, spawn: Spawn, push: Push, services: Services) -> None:
    marker = f"sleep 1.{os.getpid()}"
    one = written(services, push(**{".rdev.yaml": f"checks: ['echo begun; {marker}']\n"}))
    process = spawn("receipt", "replay", one.id)
    assert process.stdout.readline() == b"begun\n"
    process.kill()
    process.wait(10)
    time.sleep(0.1)
    assert rdev("gc").returncode == 0
    assert live(rdev) == []
    assert rdev("receipt", "replay", one.id).returncode == 0
