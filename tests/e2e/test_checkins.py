"""Check-ins as people type them: what each state of the world comes to, and that nothing is ever forced (T-CO-4, T-FILE-5)."""

import json
import os
import secrets
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from rdev_cli.domain.checkout import Checkout
from rdev_cli.domain.command import Command, CommandKind, CommandState
from rdev_cli.domain.session import Purpose, SessionSpec
from rdev_cli.domain.values import CommandId
from rdev_cli.ops import known, sessions
from rdev_cli.wiring.services import Services
from tests.conftest import Rdev

pytestmark = pytest.mark.state
TOKEN = "gh" + "p_" + "Zx9Qm2Lw8Rt4Vb6Nc1Ks7Hd3Jf5Gp0Ya2UeX"


@dataclass
class Yard:
    """A project, a checkout of it in a folder, and its repository."""

    rdev: Rdev
    home: Mapping[str, str]
    id: str
    folder: Path
    repository: Path

    def git(self, *argv: str, where: Path | None = None, check: bool = True) -> str:
        given = {**self.home, "GIT_CONFIG_GLOBAL": os.devnull}
        for name in ("AUTHOR", "COMMITTER"):
            given |= {f"GIT_{name}_NAME": "me", f"GIT_{name}_EMAIL": "me@localhost"}
        ran = subprocess.run(["git", "-C", str(where or self.folder), *argv], env=given, capture_output=True, check=False)
        assert ran.returncode == 0 or not check, ran.stderr.decode()
        return ran.stdout.decode().strip()

    def commit(self, **files: str) -> str:
        """Commit files (`_` in a name stands for a dot) in the folder; return the commit."""
        for name, text in files.items():
            (self.folder / name.replace("_", ".")).write_text(text)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "Work")
        return self.git("rev-parse", "HEAD")

    def elsewhere(
        self, branch: str, *, onto: str = "", tree: str = "", message: str = "Elsewhere", force: bool = False, **files: str
    ) -> str:
        """Commit files upon a branch of the repository, as somebody else does, and move the branch there; return the commit."""
        base = onto or self.git("rev-parse", branch, where=self.repository)
        index = self.home["HOME"] + "/index"
        argv = ["env", f"GIT_INDEX_FILE={index}", "git", "-C", str(self.repository)]
        subprocess.run([*argv, "read-tree", base], check=True)
        for name, text in files.items():
            blob = (
                subprocess.run(
                    ["git", "-C", str(self.repository), "hash-object", "-w", "--stdin"],
                    input=text.encode(),
                    capture_output=True,
                    check=True,
                )
                .stdout.decode()
                .strip()
            )
            subprocess.run([*argv, "update-index", "--add", "--cacheinfo", f"100644,{blob},{name.replace('_', '.')}"], check=True)
        made = subprocess.run([*argv, "write-tree"], capture_output=True, check=True).stdout.decode().strip()
        parents = [] if force else ["-p", base]
        sha = self.git("commit-tree", tree or made, *parents, "-m", message, where=self.repository)
        self.git("update-ref", f"refs/heads/{branch}", sha, where=self.repository)
        return sha

    def refs(self) -> dict[str, str]:
        lines = self.git("for-each-ref", "--format=%(refname:short) %(objectname)", "refs/heads", where=self.repository).splitlines()
        return dict(line.split(" ") for line in lines)

    def checkin(self, *words: str, cwd: Path | None = None) -> tuple[int, dict[str, Any]]:
        """Check in; return the exit code, and the answer or the error. No branch ever goes back, whatever comes of it."""
        before = self.refs()
        ran = self.rdev("checkin", *words, "-o", "json", cwd=cwd or self.folder)
        after = self.refs()
        for name, sha in before.items():
            code = subprocess.run(["git", "-C", str(self.repository), "merge-base", "--is-ancestor", sha, after[name]], check=False)
            assert code.returncode == 0, (name, "was forced")
        assert b"Traceback" not in ran.stderr, ran.stderr
        if ran.returncode in (0, 9):
            return ran.returncode, json.loads(ran.stdout)
        assert ran.stdout == b""
        return ran.returncode, json.loads(ran.stderr)["error"]

    def world(self) -> Services:
        return Services(environ=self.home, cwd=Path(self.home["HOME"]))

    def pulls(self) -> list[dict[str, Any]]:
        return [json.loads(file.read_text()) for file in sorted((self.repository / "rdev-pulls").glob("*.json"))]

    def state(self) -> str:
        return str(json.loads(self.rdev("checkout", "show", self.id, "-o", "json").stdout)["state"])


@pytest.fixture
def yard(home: Mapping[str, str], rdev: Rdev, project: str, tmp_path: Path) -> Yard:
    folder = Path(home["HOME"], "work")
    started = rdev("checkout", "start", project, "--dir", str(folder), "-o", "json")
    assert started.returncode == 0, started.stderr
    found = json.loads(started.stdout)
    made = Yard(rdev, home, found["id"], folder, Path(found["url"]))
    made.git("config", "user.name", "me")
    made.git("config", "user.email", "me@localhost")
    return made


# each prepares a state and says what `rdev checkin --merge` comes to: its exit code, a code or a verdict, and whether the checkout goes on


def _expired(yard: Yard) -> None:
    yard.commit(note_txt="note\n")
    world = yard.world()
    with world.store.transaction() as tx:
        found = tx.find(Checkout, yard.id)
        assert found is not None
        tx.put(_earlier(found))
    world.close()


def _earlier(found: Checkout) -> Checkout:
    from dataclasses import replace

    return replace(found, expires_at=found.created_at + timedelta(milliseconds=1))


def _cancelled(yard: Yard) -> None:
    yard.commit(note_txt="note\n")
    assert yard.rdev("checkout", "cancel", yard.id, "--yes").returncode == 0


def _branch_deleted(yard: Yard) -> None:
    yard.commit(note_txt="note\n")
    yard.git("update-ref", "-d", f"refs/heads/rdev/{yard.id}", where=yard.repository)


def _branch_moved(yard: Yard) -> None:
    yard.commit(note_txt="note\n")
    yard.elsewhere(f"rdev/{yard.id}", other_txt="theirs\n")


def _base_rewritten(yard: Yard) -> None:
    yard.commit(note_txt="note\n")
    yard.elsewhere("main", force=True, other_txt="theirs\n")


def _target_deleted(yard: Yard) -> None:
    yard.commit(note_txt="note\n")
    yard.git("update-ref", "-d", "refs/heads/main", where=yard.repository)


def _pull_there(yard: Yard) -> None:
    yard.commit(note_txt="note\n")
    assert yard.checkin()[0] == 0
    assert len(yard.pulls()) == 1


def _merged_elsewhere(yard: Yard) -> None:
    sha = yard.commit(note_txt="note\n")
    yard.git("push", "--quiet", "origin", "HEAD")
    yard.git("update-ref", "refs/heads/main", sha, where=yard.repository)


def _empty(yard: Yard) -> None:
    pass


def _reverted(yard: Yard) -> None:
    yard.commit(note_txt="note\n")
    (yard.folder / "note.txt").unlink()
    yard.git("commit", "--quiet", "--all", "--message", "Take it back")


def _conflict(yard: Yard) -> None:
    yard.commit(README_md="mine\n")
    yard.elsewhere("main", README_md="theirs\n")


def _moved_on(yard: Yard) -> None:
    yard.commit(note_txt="note\n")
    yard.elsewhere("main", other_txt="theirs\n")


def _dirty(yard: Yard) -> None:
    (yard.folder / "note.txt").write_text("note\n")


def _secret(yard: Yard) -> None:
    yard.commit(note_txt=f"one\ntoken: {TOKEN}\n")


def _secret_taken_back(yard: Yard) -> None:
    yard.commit(note_txt=f"{TOKEN}\n")
    yard.commit(note_txt="nothing\n")


def _broken(yard: Yard) -> None:
    (yard.folder / "site/bad.html").write_text("<title>bad</title>\n")
    yard.git("add", "--all")


def _bad_settings(yard: Yard) -> None:
    yard.git("rm", "--quiet", ".rdev.yaml")
    (yard.folder / ".rdev.yaml").write_text("checks: 7\n")
    yard.git("add", "--all")


OUTCOMES: dict[str, tuple[Callable[[Yard], None], int, str, str]] = {
    "expired checkout": (_expired, 5, "ENDED", "active|expired"),
    "cancelled checkout": (_cancelled, 5, "ENDED", "cancelled"),
    "branch deleted": (_branch_deleted, 0, "passed", "checked_in"),
    "branch moved": (_branch_moved, 5, "HEAD_MOVED", "active"),
    "base force-pushed": (_base_rewritten, 5, "BASE_REWRITTEN", "active"),
    "target deleted": (_target_deleted, 3, "BRANCH_GONE", "active"),
    "pull there already": (_pull_there, 0, "passed", "checked_in"),
    "already merged": (_merged_elsewhere, 0, "", "checked_in"),
    "empty diff": (_empty, 0, "", "active"),
    "commits that change nothing": (_reverted, 0, "", "active"),
    "conflict": (_conflict, 5, "MERGE_CONFLICT", "active"),
    "target moved on": (_moved_on, 0, "passed", "checked_in"),
    "dirty tree": (_dirty, 5, "WORKTREE_DIRTY", "active"),
    "secret": (_secret, 5, "SECRET_FOUND", "active"),
    "secret in an older commit": (_secret_taken_back, 5, "SECRET_FOUND", "active"),
    "check fails": (_broken, 9, "failed", "active"),
    "checks that cannot be understood": (_bad_settings, 9, "failed", "active"),
}


@pytest.mark.parametrize("name", OUTCOMES)
def test_t_co_4_each_state_has_its_outcome_and_nothing_is_forced(name, yard):
    prepare, exit_code, said, state = OUTCOMES[name]
    prepare(yard)
    code, answer = yard.checkin("--merge", "-m", "Add a note")
    assert (code, answer["code"] if code not in (0, 9) else answer["verdict"] or "") == (exit_code, said), answer
    assert yard.state() in state.split("|")
    if code == 0 and answer["merged"]:
        assert yard.git("merge-base", "--is-ancestor", answer["commit"], "main", where=yard.repository) == ""
        assert answer["revoked"] is True
    if code not in (0, 9):
        assert answer["hint"]
    if said == "SECRET_FOUND":
        assert (answer["context"]["found"][0]["file"], yard.pulls()) == ("note.txt", [])
        assert TOKEN not in json.dumps(answer)
        objects = yard.git("rev-list", "--objects", "--all", where=yard.repository)
        assert "note.txt" not in objects  # nothing of it left this machine
    if said in ("failed", "MERGE_CONFLICT"):
        assert [one["state"] for one in yard.pulls()] == ["open"]
    if said == "MERGE_CONFLICT":
        assert answer["context"]["files"] == ["README.md"]
    if not said:
        assert yard.pulls() == []


def test_a_pull_request_of_a_check_that_failed_goes_on_with_what_mends_it(yard):
    _broken(yard)
    code, answer = yard.checkin("-m", "Add a page")
    assert (code, answer["revoked"]) == (9, False)
    assert (
        "site/bad.html"
        in yard.rdev("command", "output", answer["findings"][0]["message"].split("attach ")[1].split()[0], "-o", "json").stdout.decode()
    )
    (yard.folder / "site/bad.html").write_text("<title>good</title></html>\n")
    front = yard.folder / "site/index.html"
    front.write_text(front.read_text().replace("<p>", '<p><a href="bad.html">more</a> '))
    yard.git("add", "--all")
    code, again = yard.checkin("--merge")
    assert (code, again["pull"]["number"], again["verdict"], again["revoked"]) == (0, answer["pull"]["number"], "passed", True)
    assert again["receipt"] != answer["receipt"]


def test_what_was_pushed_is_checked_in_by_id_from_anywhere(yard, tmp_path):
    sha = yard.commit(note_txt="note\n")
    assert yard.checkin(yard.id, cwd=tmp_path)[1]["pull"] is None  # it was not pushed
    yard.git("push", "--quiet", "origin", "HEAD")
    code, answer = yard.checkin(yard.id, "--merge", cwd=tmp_path)
    assert (code, answer["commit"], answer["verdict"]) == (0, sha, "passed")


def test_a_branch_that_is_gone_is_told_to_who_is_not_in_the_folder(yard, tmp_path):
    _branch_deleted(yard)
    assert yard.checkin(yard.id, cwd=tmp_path)[1]["code"] == "BRANCH_GONE"


def test_a_passed_review_is_not_made_again_and_a_receipt_is_written_once(yard):
    yard.commit(note_txt="note\n")
    first, second = yard.checkin()[1], yard.checkin("--merge")[1]
    assert first["receipt"] == second["receipt"]
    listed = json.loads(yard.rdev("receipt", "list", "shop", "-o", "json").stdout)["items"]
    assert [one["id"] for one in listed] == [first["receipt"]]
    assert yard.rdev("receipt", "verify", first["receipt"]).returncode == 0


def test_t_file_5_a_change_of_everything_is_told_where_it_does_not_fit_and_carried_whole_where_it_does(yard):
    source = Path(yard.home["HOME"], "module")
    source.mkdir()
    yard.git("init", "--quiet", where=source)
    yard.git("commit", "--quiet", "--allow-empty", "--message", "Begin", where=source)
    binary = secrets.token_bytes(4096)
    (yard.folder / "logo.bin").write_bytes(binary)
    with (yard.folder / "large.bin").open("wb") as file:
        file.truncate(100 << 20)
    yard.git("mv", "site/index.html", "site/start.html")
    (yard.folder / "site/index.html").write_text('<!doctype html><title>t</title><a href="start.html">s</a></html>\n')
    yard.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(source), "module")
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "4d7a" * 16 + "\nsize 12345\n"
    (yard.folder / "film.mp4").write_text(pointer)
    (yard.folder / "README.md").write_text("mine\n")
    (yard.folder / "settings.ini").write_text(f"[api]\ntoken = {TOKEN}\n")
    yard.git("add", "--all")
    theirs = yard.elsewhere("main", README_md="theirs\n")
    before = yard.refs()

    code, refused = yard.checkin("--merge", "-m", "Change everything")
    assert (code, refused["code"]) == (5, "SECRET_FOUND")
    assert refused["context"]["found"] == [{"file": "settings.ini", "kind": "a GitHub token", "line": 2}]
    assert yard.refs() == before

    (yard.folder / "settings.ini").write_text("[api]\n")
    yard.git("add", "--all")
    yard.git("commit", "--quiet", "--amend", "--no-edit")
    code, refused = yard.checkin("--merge")
    assert (code, refused["code"], refused["context"]["files"]) == (5, "MERGE_CONFLICT", ["README.md"])
    assert yard.refs()["main"] == theirs

    yard.git("fetch", "--quiet", "origin")
    yard.git("merge", "origin/main", check=False)
    (yard.folder / "README.md").write_text("both\n")
    yard.git("add", "README.md")
    yard.git("commit", "--quiet", "--no-edit")
    code, done = yard.checkin("--merge")
    assert (code, done["verdict"]) == (0, "passed"), done
    assert {"severity": "warning", "source": "scan", "file": "large.bin", "line": 0} in [
        {key: one[key] for key in ("severity", "source", "file", "line")} for one in done["findings"]
    ]
    listed = yard.git("ls-tree", "-r", "-l", "main", where=yard.repository)
    assert f"{100 << 20}\tlarge.bin" in " ".join(listed.split(" "))
    assert "160000 commit" in listed
    assert yard.git("show", "main:film.mp4", where=yard.repository) + "\n" == pointer
    blob = subprocess.run(["git", "-C", str(yard.repository), "show", "main:logo.bin"], capture_output=True, check=True).stdout
    assert blob == binary


def test_words_that_make_no_sense_are_refused_with_what_to_type(yard, tmp_path):
    for words, cwd, exit_code, code in (
        (("nonsense",), None, 2, "INVALID"),
        (("",), None, 2, "USAGE"),
        (("ses_0000",), None, 3, "NOT_FOUND"),
        (("chk_0000",), None, 3, "NOT_FOUND"),
        ((), tmp_path, 3, "NO_CHECKOUT"),
        (("-m", "x\x07y"), None, 2, "INVALID"),
        (("-m", "x" * 10_001), None, 2, "INVALID"),
        (("--timeout", "5"), None, 2, "USAGE"),
    ):
        ran = yard.rdev("checkin", *words, "-o", "json", cwd=cwd or yard.folder)
        error = json.loads(ran.stderr)["error"]
        assert (ran.returncode, error["code"], ran.stdout) == (exit_code, code, b""), words
        assert error["hint"], words


# sessions


@pytest.fixture
def session(yard: Yard) -> Yard:
    """A yard with a session instead of the checkout; its id is the session's."""
    started = yard.rdev("session", "start", "shop", "-o", "json")
    assert started.returncode == 0, started.stderr
    yard.id = json.loads(started.stdout)["id"]
    return yard


def _within(yard: Yard, line: str) -> None:
    ran = yard.rdev("shell", yard.id, line)
    assert ran.returncode == 0, ran.stderr


_COMMIT = "git add --all; git -c user.name=me -c user.email=me@x commit -qm Work"


def _session_dirty(yard: Yard) -> None:
    _within(yard, "echo x > note.txt")


def _session_moved(yard: Yard) -> None:
    _within(yard, f"echo x > note.txt; {_COMMIT}")
    yard.elsewhere(f"rdev/{yard.id}", other_txt="theirs\n")


def _session_behind(yard: Yard) -> None:
    yard.elsewhere(f"rdev/{yard.id}", other_txt="theirs\n")


def _session_staged(yard: Yard) -> None:
    _within(yard, "echo x > note.txt; git add note.txt; echo y > left.txt")


def _session_rewritten(yard: Yard) -> None:
    _within(yard, f"echo x > note.txt; {_COMMIT}")
    yard.elsewhere("main", force=True, other_txt="theirs\n")


def _session_ended(yard: Yard) -> None:
    assert yard.rdev("session", "end", yard.id).returncode == 0


def _session_on_main(yard: Yard) -> None:
    started = yard.rdev("session", "start", "shop", "--branch", "main", "-o", "json")
    yard.id = json.loads(started.stdout)["id"]


def _session_of_checks(yard: Yard) -> None:
    world = yard.world()
    spec = SessionSpec(project="shop", purpose=Purpose.CHECKS, commit=yard.refs()["main"])
    yard.id = sessions.start(world, spec).id
    world.close()


OF_SESSIONS: dict[str, tuple[Callable[[Yard], None], int, str, str]] = {
    "nothing done": (lambda _: None, 0, "", "ready"),
    "dirty tree": (_session_dirty, 5, "WORKTREE_DIRTY", "ready"),
    "branch moved": (_session_moved, 5, "DIVERGED", "ready"),
    "branch moved and nothing done here": (_session_behind, 0, "passed", "ended"),
    "staged, and something else left": (_session_staged, 0, "passed", "ended"),
    "base force-pushed": (_session_rewritten, 5, "BASE_REWRITTEN", "ready"),
    "ended": (_session_ended, 5, "ENDED", "ended"),
    "on the target itself": (_session_on_main, 5, "SAME_BRANCH", "ready"),
    "one of rdev's own": (_session_of_checks, 5, "CHECKS_ONLY", "ready"),
}


@pytest.mark.parametrize("name", OF_SESSIONS)
def test_t_co_4_each_state_of_a_session_has_its_outcome_likewise(name, session):
    prepare, exit_code, said, state = OF_SESSIONS[name]
    prepare(session)
    code, answer = session.checkin(session.id, "--merge")
    assert (code, answer["code"] if code else answer["verdict"] or "") == (exit_code, said), answer
    shown = json.loads(session.rdev("session", "show", session.id, "-o", "json").stdout)
    assert shown["state"] == state
    if code:
        assert answer["hint"]
    if name == "staged, and something else left":
        assert session.git("show", f"{shown['rescue']}:left.txt", where=session.repository) == "y"  # nothing is lost with the pod


def test_an_agent_at_work_is_not_checked_in(session):
    world = session.world()
    place = known.ready(world, session.id)
    with world.store.transaction() as tx:
        tx.put_command(
            Command(
                id=CommandId("cmd_01j9aaaaaaaaaaaaaaaa"), project="shop", project_id=place.owner_id, session_id=session.id, kind=CommandKind.AGENT,
                argv=("claude", "x"), state=CommandState.PENDING, actor="me", created_at=world.clock.now(), agent="claude",
            )
        )  # fmt: skip
    world.close()
    code, answer = session.checkin(session.id)
    assert (code, answer["code"], answer["context"]["command"]) == (5, "BUSY", "cmd_01j9aaaaaaaaaaaaaaaa")


# what is none


def test_a_file_that_the_target_allows_may_hold_what_looks_like_a_secret_and_a_change_allows_itself_nothing(yard):
    (yard.folder / ".rdev-allow-secrets").write_text("# fixtures\nnote.*\n")
    yard.git("add", "--all")
    yard.git("commit", "--quiet", "--message", "Allow")
    allowed = yard.git("rev-parse", "HEAD")
    yard.commit(note_txt=f"{TOKEN}\n")
    assert yard.checkin()[1]["code"] == "SECRET_FOUND"
    yard.git("fetch", "--quiet", str(yard.folder), allowed, where=yard.repository)
    yard.git("update-ref", "refs/heads/main", allowed, where=yard.repository)  # as somebody who may
    code, answer = yard.checkin("--merge")
    assert (code, answer["verdict"]) == (0, "passed"), answer
