"""Checkouts as a user has them: a folder, a credential that stands nowhere, an end that comes. T-CO-1 to 3, T-GIT-5, 6."""

import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import pytest

from rdev_cli.domain.checkout import CheckoutState
from rdev_cli.ops import checkouts, debts, known
from rdev_cli.wiring.services import Services
from tests.conftest import RDEV
from tests.support.accounts import AccountForge, Accounts, GitServer

pytestmark = pytest.mark.state
ACCOUNTED = Path(__file__).parents[1] / "support" / "accounted.py"
ROOT = Path(__file__).parents[2]
Ran = subprocess.CompletedProcess[bytes]


class Forged(NamedTuple):
    """A user with the project `shop` on a forge with accounts."""

    home: Mapping[str, str]
    cwd: Path
    accounts: Accounts
    server: GitServer

    def rdev(self, *argv: str, step: str = "0", cwd: Path | None = None) -> Ran:
        env = {**self.home, "PYTHONPATH": str(ROOT)}
        words = [sys.executable, str(ACCOUNTED), str(self.accounts.folder), step, "--", *argv]
        return subprocess.run(words, env=env, cwd=cwd or self.cwd, capture_output=True, stdin=subprocess.DEVNULL, timeout=120, check=False)

    def git(self, folder: Path, *argv: str) -> Ran:
        """Run git as the user does, with the user's own settings and a helper of their own that must not be asked."""
        return subprocess.run(
            ["git", *argv], cwd=folder, env=dict(self.home), capture_output=True, stdin=subprocess.DEVNULL, timeout=60, check=False
        )

    def start(self, *more: str) -> dict[str, str]:
        ran = self.rdev("checkout", "start", "shop", *more, "-o", "json")
        assert ran.returncode == 0, ran.stderr
        found: dict[str, str] = json.loads(ran.stdout)
        return found

    def world(self) -> Services:
        world = Services(environ=self.home, cwd=self.cwd)
        world.__dict__["forge"] = AccountForge(world.folder, world.installation, self.accounts)
        return world


@pytest.fixture
def forged(home: Mapping[str, str], project: str, tmp_path: Path) -> Iterator[Forged]:
    env = {**home, "PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring"}
    accounts = Accounts(tmp_path / "accounts")
    config = Path(home["HOME"]) / ".gitconfig"
    config.write_text("[user]\n\tname = Ann Lee\n\temail = ann@example.org\n")
    with GitServer(Path(home["XDG_STATE_HOME"]) / "rdev/local/repos", accounts) as server:
        yield Forged(env, tmp_path, accounts, server)


def _change(forged: Forged, folder: Path, text: str = "more\n") -> None:
    with (folder / "README.md").open("a") as file:
        file.write(text)
    assert forged.git(folder, "commit", "-qam", "more").returncode == 0


# what a user gets


def test_a_checkout_is_a_folder_from_which_git_pushes_to_its_own_branch_and_to_no_other(forged: Forged) -> None:
    made = forged.start()
    folder = Path(made["folder"])
    assert (folder, made["branch"], made["target"]) == (forged.cwd / "shop", f"rdev/{made['id']}", "main")
    assert forged.git(folder, "status", "--porcelain", "-b").stdout.decode().splitlines() == [
        f"## {made['branch']}...origin/{made['branch']}"
    ]
    _change(forged, folder)
    pushed = forged.git(folder, "push")
    assert pushed.returncode == 0, pushed.stderr
    for refused in (
        ("push", "origin", "HEAD:main"),
        ("push", "origin", "HEAD:refs/tags/v1"),
        ("push", "--delete", "origin", made["branch"]),
    ):
        assert forged.git(folder, *refused).returncode == 1, refused
    assert forged.git(folder, "fetch").returncode == 0


@pytest.mark.parametrize("branch", ["a;rm", "a$(touch${IFS}P)", "a`touch${IFS}P`", "@x", "é", "a'b", 'a"b', "feature/x"])
def test_t_git_3_a_branch_of_any_name_is_a_target_and_runs_nothing(forged: Forged, branch: str) -> None:
    repository = Path(forged.home["XDG_STATE_HOME"]) / "rdev/local/repos/shop.git"
    subprocess.run(["git", "-C", str(repository), "update-ref", f"refs/heads/{branch}", "main"], check=True)
    subprocess.run(["git", "-C", str(repository), "update-ref", "refs/heads/--evil", "main"], check=True)  # T-GIT-2
    made = forged.start(branch)
    assert made["target"] == branch
    assert forged.git(Path(made["folder"]), "push").returncode == 0
    assert not list(forged.cwd.rglob("P"))


def test_a_branch_that_is_not_there_or_is_none_makes_nothing(forged: Forged) -> None:
    for branch, code, exit_code in (("nowhere", "NOT_FOUND", 3), ("--upload-pack=touch P", "USAGE", 2), ("a..b", "USAGE", 2)):
        ran = forged.rdev("checkout", "start", "shop", "-o", "json", "--", branch)
        assert (ran.returncode, json.loads(ran.stderr)["error"]["code"]) == (exit_code, code), ran.stderr
    assert not (forged.cwd / "shop").exists()
    assert forged.accounts.names() == []


@pytest.mark.parametrize("what", ["folder", "file", "link", "dangling", "clone", "git"])
def test_nothing_that_is_there_is_overwritten(forged: Forged, what: str) -> None:
    place = forged.cwd / "shop"
    if what in ("folder", "clone", "git"):
        place.mkdir()
    if what == "folder":
        (place / "mine").write_text("mine")
    elif what == "file":
        place.write_text("mine")
    elif what == "link":
        (forged.cwd / "other").mkdir()
        place.symlink_to(forged.cwd / "other")
    elif what == "dangling":
        place.symlink_to(forged.cwd / "nowhere")
    elif what == "clone":
        subprocess.run(["git", "init", "-q", str(place)], check=True)
    elif what == "git":
        (place / ".git").symlink_to(forged.cwd)
    before = sorted((str(path), path.lstat().st_mode, path.lstat().st_mtime_ns) for path in [place, *place.rglob("*")])
    ran = forged.rdev("checkout", "start", "shop", "-o", "json")
    assert (ran.returncode, json.loads(ran.stderr)["error"]["code"]) == (5, "FOLDER_TAKEN"), ran.stderr
    assert before == sorted((str(path), path.lstat().st_mode, path.lstat().st_mtime_ns) for path in [place, *place.rglob("*")])
    assert not (forged.cwd / "nowhere").exists()
    assert forged.accounts.names() == []
    assert json.loads(forged.rdev("checkout", "list", "--all", "-o", "json").stdout)["items"] == []


def test_of_several_that_start_in_one_folder_one_does(forged: Forged) -> None:
    env = {**forged.home, "PYTHONPATH": str(ROOT)}
    words = [sys.executable, str(ACCOUNTED), str(forged.accounts.folder), "0", "--", "checkout", "start", "shop", "-o", "json"]
    started = [subprocess.Popen(words, env=env, cwd=forged.cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(4)]
    ended = [(one.communicate(timeout=120), one.returncode) for one in started]
    assert sorted(code for _, code in ended) == [0, 5, 5, 5], ended
    ((account,), (made,)) = forged.accounts.names(), [json.loads(out) for (out, _), code in ended if code == 0]
    assert made["account"] == account
    assert {json.loads(err)["error"]["code"] for (_, err), code in ended if code} == {"FOLDER_TAKEN"}
    _change(forged, forged.cwd / "shop")
    assert forged.git(forged.cwd / "shop", "push").returncode == 0


def test_an_empty_folder_is_one_to_clone_into(forged: Forged) -> None:
    (forged.cwd / "here").mkdir()
    assert Path(forged.start("--dir", "here")["folder"]) == forged.cwd / "here"
    ran = forged.rdev("checkout", "start", "shop", "--dir", "no/where")
    assert (ran.returncode, b"no folder" in ran.stderr) == (3, True)


def test_a_cancelled_checkout_pushes_no_more_and_its_folder_and_branch_stay(forged: Forged) -> None:
    made = forged.start()
    folder = Path(made["folder"])
    _change(forged, folder)
    assert forged.git(folder, "push").returncode == 0
    assert forged.rdev("checkout", "cancel", made["id"][:12], "--yes").returncode == 2  # the whole id ends something, nothing less
    assert forged.rdev("checkout", "cancel", made["id"], "--yes").returncode == 0
    assert forged.rdev("checkout", "cancel", made["id"]).returncode == 0  # again, without a question: nothing is changed
    assert forged.accounts.names() == []
    _change(forged, folder)
    refused = forged.git(folder, "push")
    assert refused.returncode == 128
    assert b"is cancelled" in refused.stderr
    branches = {one["name"] for one in json.loads(forged.rdev("branch", "list", "shop", "-o", "json").stdout)["items"]}
    assert branches == {"main", made["branch"]}


def test_what_alone_knows_of_a_credential_is_not_removed(forged: Forged) -> None:
    made = forged.start()
    kept = forged.rdev("uninstall", "--yes", "-o", "json")
    assert kept.returncode == 7, kept.stderr
    assert json.loads(kept.stderr)["error"]["context"]["left"] == [made["account"]]
    assert forged.rdev("checkout", "cancel", made["id"], "--yes").returncode == 0
    assert forged.rdev("uninstall", "--yes").returncode == 0


def test_a_branch_on_which_nobody_worked_goes_with_its_checkout(forged: Forged) -> None:
    made = forged.start()
    assert forged.rdev("checkout", "cancel", made["id"], "--yes").returncode == 0
    assert [one["name"] for one in json.loads(forged.rdev("branch", "list", "shop", "-o", "json").stdout)["items"]] == ["main"]


def test_an_extended_checkout_goes_on_under_a_name_with_its_new_end_and_a_shorter_time_changes_nothing(forged: Forged) -> None:
    made = forged.start("--for", "1h")
    folder = Path(made["folder"])
    longer = json.loads(forged.rdev("checkout", "extend", made["id"][:14], "--for", "2d", "-o", "json").stdout)
    assert datetime.fromisoformat(longer["expires_at"]) - datetime.fromisoformat(made["expires_at"]) > timedelta(hours=46)
    assert forged.accounts.names() == [longer["account"]]
    assert int(longer["account"].rpartition("-")[2]) == int(datetime.fromisoformat(longer["expires_at"]).timestamp())
    assert json.loads(forged.rdev("checkout", "extend", made["id"], "--for", "1h", "-o", "json").stdout) == longer
    _change(forged, folder)
    assert forged.git(folder, "push").returncode == 0
    forged.rdev("checkout", "cancel", made["id"], "--yes")
    assert json.loads(forged.rdev("checkout", "extend", made["id"], "-o", "json").stderr)["error"]["code"] == "ENDED"


# where the token is not


def test_the_token_stands_in_no_file_no_argv_no_url_and_no_output(forged: Forged, tmp_path: Path) -> None:
    shim = tmp_path / "shim"
    shim.mkdir()
    real = shutil.which("git")
    log = tmp_path / "argv.log"
    (shim / "git").write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >>{log}\nexec {real} "$@"\n')
    (shim / "git").chmod(0o755)
    env = {**forged.home, "PATH": f"{shim}:{forged.home['PATH']}"}
    seen = forged._replace(home=env)
    started = seen.rdev("checkout", "start", "shop", "-v", "--log-file", str(tmp_path / "rdev.log"))
    assert started.returncode == 0, started.stderr
    (account,) = forged.accounts.names()
    token = forged.accounts.token(account)
    folder = tmp_path / "shop"
    _change(seen, folder)
    pushed = seen.git(folder, "push", "-v")
    assert pushed.returncode == 0
    shown = seen.rdev("checkout", "show", started.stdout.split()[1].decode(), "-o", "json").stdout
    said = b"".join((started.stdout, started.stderr, pushed.stdout, pushed.stderr, shown, seen.rdev("events", "-o", "json").stdout))
    assert token.encode() not in said
    kept = [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".account"]
    assert len(kept) > 50
    assert log in kept
    assert [path for path in kept if token.encode() in path.read_bytes()] == []
    assert b"checkout credential" in (folder / ".git/config").read_bytes()
    assert {user for user, _ in forged.server.asked} == {"", account}


def test_the_user_s_own_helpers_are_not_told_of_it(forged: Forged, tmp_path: Path) -> None:
    log = tmp_path / "told"
    (tmp_path / "thief").write_text(f"#!/bin/sh\ncat >>{log}\n")
    (tmp_path / "thief").chmod(0o755)
    with (Path(forged.home["HOME"]) / ".gitconfig").open("a") as file:
        file.write(f"[credential]\n\thelper = {tmp_path / 'thief'}\n")
    folder = Path(forged.start()["folder"])
    _change(forged, folder)
    assert forged.git(folder, "push").returncode == 0
    assert not log.exists()


def _asked(forged: Forged, id: str, question: str, cwd: Path | None = None, want: str = "get") -> Ran:
    words = [RDEV, "checkout", "credential", id, "--context", "local", want]
    return subprocess.run(
        words, env=dict(forged.home), cwd=cwd or forged.cwd, input=question.encode(), capture_output=True, timeout=60, check=False
    )


def test_t_co_3_the_helper_tells_the_checkout_s_own_address_and_nothing_else(forged: Forged) -> None:
    made = forged.start()
    host = forged.server.url.removeprefix("http://")
    (account,) = forged.accounts.names()
    own = f"protocol=http\nhost={host}\npath=shop.git\n\n"
    assert _asked(forged, made["id"], own).stdout.decode() == f"username={account}\npassword={forged.accounts.token(account)}\n"
    for other in (
        own.replace("http\n", "https\n"), own.replace(host, "127.0.0.1"), own.replace(host, f"{host}.evil.org"), own.replace("shop.git", "other.git"),
        own.replace("shop.git", "shop.git/../x"), own.replace("path=shop.git\n", ""), own.replace("shop.git", "shop.git\r"), "\n", "", "host\n\n",
        own.replace("shop.git", "SHOP.git"), f"url={forged.server.url}/shop.git\n\n",
    ):  # fmt: skip
        ran = _asked(forged, made["id"], other)
        assert (ran.returncode, ran.stdout) == (0, b""), other
    for want in ("store", "erase", "capability"):
        assert _asked(forged, made["id"], own, want=want).stdout == b""
    assert _asked(forged, "chk_00000000000000000000", own).stdout == b"quit=1\n"
    assert _asked(forged, made["id"][:12], own).stdout == b"quit=1\n"
    forged.rdev("checkout", "cancel", made["id"], "--yes")
    ran = _asked(forged, made["id"], own)
    assert (ran.returncode, ran.stdout) == (0, b"quit=1\n")
    assert b"is cancelled" in ran.stderr


@pytest.mark.parametrize("whole", [True, False])
def test_a_folder_that_names_another_address_gets_no_token(forged: Forged, tmp_path: Path, whole: bool) -> None:
    made = forged.start("--dir", "mine")
    elsewhere = Accounts(tmp_path / "elsewhere")
    with GitServer(Path(forged.home["XDG_STATE_HOME"]) / "rdev/local/repos", elsewhere) as thief:
        folder = tmp_path / "theirs"
        shutil.copytree(made["folder"], folder)
        mark = json.loads((folder / ".git/rdev.json").read_text())
        (folder / ".git/rdev.json").write_text(json.dumps({**mark, "url": f"{thief.url}/shop.git", "whole": whole}))
        if whole:
            _change(forged, folder)
            world = forged.world()
            try:
                sha = checkouts.publish(world, known.checkout(world, made["id"]), str(folder), "")
                assert world.forge.find_branch(known.project(world, "shop"), made["branch"]) == sha
            finally:
                world.close()
        else:
            again = forged.start("--dir", "theirs")
            assert (again["id"], again["url"]) == (made["id"], made["url"])
            assert thief.url not in (folder / ".git/config").read_text() + (folder / ".git/rdev.json").read_text()
        assert thief.asked == []


def test_the_helper_believes_nothing_of_the_folder_that_git_is_in(forged: Forged, tmp_path: Path) -> None:
    made = forged.start()
    folder = Path(made["folder"])
    (folder / ".rdev.yaml").write_text("context: elsewhere\n")
    for name in ("rdev_cli.py", "json.py", "os.py", "select.py", "sitecustomize.py"):
        (folder / name).write_text(f"open({str(tmp_path / 'P')!r}, 'w')\n")
    (folder / "rdev_cli").mkdir()
    (folder / "rdev_cli" / "__init__.py").write_text(f"open({str(tmp_path / 'P')!r}, 'w')\n")
    _change(forged, folder)
    pushed = forged.git(folder, "push")
    assert pushed.returncode == 0, pushed.stderr
    assert not (tmp_path / "P").exists()


# what a repository may want to run


def _evil(path: Path, canary: Path) -> Path:
    path.write_text(f"#!/bin/sh\ntouch {canary}\ncat\n")
    path.chmod(0o755)
    return path


def test_t_git_5_a_clone_and_a_publication_execute_nothing_of_a_hostile_repository(forged: Forged, tmp_path: Path) -> None:
    canary = tmp_path / "P"
    evil = _evil(tmp_path / "evil", canary)
    template = tmp_path / "template" / "hooks"
    template.mkdir(parents=True)
    hooks = (
        "post-checkout",
        "pre-commit",
        "prepare-commit-msg",
        "commit-msg",
        "post-commit",
        "pre-push",
        "reference-transaction",
        "post-index-change",
    )
    for hook in hooks:
        _evil(template / hook, canary)
    told = f"""[init]
\ttemplateDir = {tmp_path / "template"}
[core]
\tfsmonitor = {evil}
\thooksPath = {template}
\tsshCommand = {evil}
\tpager = {evil}
\teditor = {evil}
\taskPass = {evil}
\talternateRefsCommand = {evil}
[filter "lfs"]
\tsmudge = {evil}
\tclean = {evil}
\tprocess = {evil}
\trequired = true
[filter "other"]
\tsmudge = {evil}
\tclean = {evil}
[diff "other"]
\tcommand = {evil}
\ttextconv = {evil}
[merge "other"]
\tdriver = {evil}
[commit]
\tgpgSign = true
[gpg]
\tprogram = {evil}
[submodule]
\trecurse = true
[remote "origin"]
\treceivepack = {evil}
\tuploadpack = {evil}
[credential]
\thelper = {evil}
[protocol "ext"]
\tallow = always
"""
    home = Path(forged.home["HOME"])
    with (home / ".gitconfig").open("a") as file:
        file.write(told)
    repository = Path(forged.home["XDG_STATE_HOME"]) / "rdev/local/repos/shop.git"
    side = tmp_path / "side"
    plain = {
        **forged.home,
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_AUTHOR_NAME": "u",
        "GIT_AUTHOR_EMAIL": "u@x",
        "GIT_COMMITTER_NAME": "u",
        "GIT_COMMITTER_EMAIL": "u@x",
    }

    def run(*argv: str) -> None:
        subprocess.run(["git", "-C", str(side), *argv], env=plain, check=True, capture_output=True)

    subprocess.run(["git", "clone", "-q", str(repository), str(side)], env=plain, check=True)
    (side / ".gitattributes").write_text("*.bin filter=lfs\n*.txt filter=other diff=other merge=other\n")
    (side / "a.bin").write_text("x")
    (side / "a.txt").write_text("x")
    (side / ".gitmodules").write_text(f'[submodule "m"]\n\tpath = m\n\turl = {tmp_path / "side"}\n')
    run("add", ".")
    run("update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},m")
    run("commit", "-qm", "hostile")
    run("push", "-q", "origin", "HEAD:main")

    folder = Path(forged.start()["folder"])
    assert not canary.exists()
    assert (folder / "a.bin").read_text() == "x"
    assert not [path for path in (folder / ".git").rglob("*") if path.parent.name == "hooks"]
    with (folder / ".git/config").open("a") as file:  # whatever an agent in there has set meanwhile
        file.write(told)
    (folder / ".git/hooks").mkdir()
    for hook in hooks:
        _evil(folder / ".git/hooks" / hook, canary)
    (folder / "a.txt").write_text("changed")
    (folder / "a.bin").write_text("changed")
    subprocess.run(
        [
            "git",
            "-C",
            str(folder),
            "-c",
            "core.hooksPath=/dev/null",
            "-c",
            "core.fsmonitor=false",
            "-c",
            "filter.other.clean=cat",
            "add",
            "a.txt",
        ],
        env=plain,
        check=True,
    )
    canary.unlink(missing_ok=True)
    (folder / "m").mkdir(exist_ok=True)
    subprocess.run(["git", "init", "-q", "--template=", str(folder / "m")], check=True)
    subprocess.run(["git", "-C", str(folder / "m"), "config", "core.fsmonitor", str(evil)], check=True)
    world = forged.world()
    try:
        (checkout,) = checkouts.list_(world).items
        sha = checkouts.publish(world, checkout, str(folder), "A change")
        assert world.forge.find_branch(known.project(world, "shop"), checkout.branch) == sha
        copy = world.copies.look(str(folder))
        assert (copy.staged, copy.dirty) == (False, ("a.bin",))
        (path, _, head) = next(one for one in world.copies.blobs_added(copy, checkout.base, sha) if one[0] == "a.txt")
        assert (path, head) == ("a.txt", b"changed")
        world.copies.forget(str(folder))
        assert b"checkout credential" not in (folder / ".git/config").read_bytes()
    finally:
        world.close()
    assert not canary.exists()
    subprocess.run(
        ["git", "-C", str(folder), "status"], env={**plain, "GIT_CONFIG_GLOBAL": str(home / ".gitconfig")}, capture_output=True, check=False
    )
    assert canary.exists()  # the canary sings where nobody keeps it from it


def test_t_git_6_every_git_process_of_a_checkout_has_options_first_and_an_environment_of_its_own(forged: Forged, tmp_path: Path) -> None:
    shim, log, real = tmp_path / "shim", tmp_path / "git.log", shutil.which("git")
    shim.mkdir()
    (shim / "git").write_text(
        f"#!{sys.executable}\nimport json, os, sys\nopen({str(log)!r}, 'a').write(json.dumps([sys.argv[1:], dict(os.environ)]) + '\\n')\n"
        f"os.execv({real!r}, ['git', *sys.argv[1:]])\n"
    )
    (shim / "git").chmod(0o755)
    hostile = {"GIT_DIR": "/nowhere", "GIT_WORK_TREE": "/nowhere", "GIT_INDEX_FILE": "/nowhere", "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "core.pager",
               "GIT_CONFIG_VALUE_0": "touch P", "GIT_SSH": "touch", "GIT_EXTERNAL_DIFF": "touch", "GIT_TRACE": str(tmp_path / "trace"), "GIT_TERMINAL_PROMPT": "1"}  # fmt: skip
    seen = forged._replace(home={**forged.home, **hostile, "PATH": f"{shim}:{forged.home['PATH']}"})
    seen.start()
    calls = [json.loads(line) for line in log.read_text().splitlines()]
    assert {"init", "fetch", "reset"} <= {word for argv, _ in calls for word in argv}
    for argv, env in calls:
        if argv[:1] == ["-C"]:
            assert env["GIT_TERMINAL_PROMPT"] == "0"
            assert env["GIT_CONFIG_NOSYSTEM"] == "1"
            assert env["GIT_PROTOCOL_FROM_USER"] == "0"
            assert env["HOME"] != forged.home["HOME"]
            assert not {"GIT_CONFIG_COUNT", "GIT_SSH", "GIT_EXTERNAL_DIFF", "GIT_TRACE"} & set(env)
            assert env.get("GIT_DIR", "") != "/nowhere"
        for data in (forged.server.url + "/shop.git",):
            if data in argv:
                assert "--end-of-options" in argv[: argv.index(data)]
    assert not (tmp_path / "trace").exists()


# check-in's part: what is committed and pushed


def test_what_is_staged_is_committed_in_the_user_s_name_and_a_dirty_tree_is_refused(forged: Forged) -> None:
    folder = Path(forged.start()["folder"])
    world = forged.world()
    try:
        (checkout,) = checkouts.list_(world).items
        assert checkouts.publish(world, checkout, str(folder), "") == checkout.base  # nothing to do, and nothing done
        (folder / "new.txt").write_text("new")
        with pytest.raises(Exception, match="nothing is staged, and 1 file is changed: new") as refused:
            checkouts.commit(world, checkout, str(folder), "")
        assert refused.value.code == "WORKTREE_DIRTY"
        assert forged.git(folder, "add", "new.txt").returncode == 0
        (folder / "README.md").write_text("not added\n")
        sha = checkouts.publish(world, checkout, str(folder / "site"), "Add a page\n\nAnd why.")
        assert forged.git(folder, "log", "-1", "--format=%an <%ae> %s").stdout == b"Ann Lee <ann@example.org> Add a page\n"
        assert forged.git(folder, "status", "--porcelain").stdout == b" M README.md\n"
        assert forged.git(folder, "rev-parse", "HEAD", "@{upstream}").stdout.decode().split() == [sha, sha]
        forged.git(folder, "checkout", "-q", "--", "README.md")
        assert checkouts.publish(world, checkout, str(folder), "") == sha
        forged.git(folder, "switch", "-qc", "other")
        with pytest.raises(Exception, match="is on other") as refused:
            checkouts.publish(world, checkout, str(folder), "")
        assert refused.value.code == "OTHER_BRANCH"
    finally:
        world.close()


def test_a_push_waits_for_the_git_of_one_that_was_killed(forged: Forged) -> None:
    made = forged.start()
    folder, repository = Path(made["folder"]), Path(forged.home["XDG_STATE_HOME"]) / "rdev/local/repos/shop.git"
    _change(forged, folder)
    lock = repository / "refs" / "heads" / f"{made['branch']}.lock"
    lock.touch()
    over = threading.Timer(0.6, lock.unlink)
    over.start()
    world = forged.world()
    try:
        checkout = known.checkout(world, made["id"])
        sha = checkouts.publish(world, checkout, str(folder), "")
        assert world.forge.find_branch(known.project(world, "shop"), checkout.branch) == sha
    finally:
        over.join()
        world.close()


def test_a_branch_that_moved_is_never_forced_and_an_ended_checkout_is_told(forged: Forged) -> None:
    made = forged.start()
    folder, repository = Path(made["folder"]), Path(forged.home["XDG_STATE_HOME"]) / "rdev/local/repos/shop.git"
    who = {**forged.home, **{f"GIT_{role}_{what}": "x@y" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}}
    other = subprocess.run(
        ["git", "-C", str(repository), "commit-tree", "-p", "main", "-m", "other", "main^{tree}"], env=who, check=True, capture_output=True
    )
    subprocess.run(["git", "-C", str(repository), "update-ref", f"refs/heads/{made['branch']}", other.stdout.decode().strip()], check=True)
    _change(forged, folder)
    world = forged.world()
    try:
        checkout = known.checkout(world, made["id"])
        with pytest.raises(Exception, match="has commits in the forge that are not here") as refused:
            checkouts.publish(world, checkout, str(folder), "")
        assert refused.value.code == "HEAD_MOVED"
        assert world.forge.find_branch(known.project(world, "shop"), checkout.branch) == other.stdout.decode().strip()
        assert forged.git(folder, "pull", "-q", "--rebase").returncode == 0
        checkouts.publish(world, checkout, str(folder), "")
        forged.accounts._file(checkout.account).write_text("another token")  # somebody took it away behind rdev's back
        _change(forged, folder)
        with pytest.raises(Exception, match="does not let") as refused:
            checkouts.publish(world, checkout, str(folder), "")
        assert refused.value.code == "PUSH_REFUSED"
        checkouts.cancel(world, made["id"])
        with pytest.raises(Exception, match="is cancelled") as refused:
            checkouts.publish(world, known.checkout(world, made["id"]), str(folder), "")
        assert refused.value.code == "ENDED"
    finally:
        world.close()


# kill -9


def _sound(forged: Forged) -> None:
    """Nothing is owed, nothing counts, and the vault holds nothing."""
    world = forged.world()
    try:
        assert debts.owed(world) == []
        assert world.forge.admitted() == []
        assert forged.accounts.names() == []
        assert not (world.folder / "vault.json").exists()
        assert {one.name for one in world.forge.branches(known.project(world, "shop"))} == {"main"}
        assert {check.verdict.value for check in world.store.check()} <= {"ok", "warning"}
    finally:
        world.close()


def _steps(forged: Forged, *argv: str) -> list[int]:
    """Return the steps at which a kill leaves something else than at the step before."""
    ran = forged.rdev(*argv, step="look")
    assert ran.returncode == 0, ran.stderr
    steps: list[int] = json.loads(ran.stderr.decode().rstrip().rpartition("\n")[2])
    return steps


class Again:
    """Puts everything back as it was when it was kept, at each call."""

    def __init__(self, tmp_path: Path) -> None:
        self._places, self._kept, self._shop = [tmp_path / "user", tmp_path / "accounts"], tmp_path / "kept", tmp_path / "shop"
        self.keep()

    def keep(self) -> None:
        shutil.rmtree(self._kept, ignore_errors=True)
        for place in self._places:
            shutil.copytree(place, self._kept / place.name, symlinks=True)

    def __call__(self) -> None:
        for place in self._places:
            shutil.rmtree(place)
            shutil.copytree(self._kept / place.name, place, symlinks=True)
        shutil.rmtree(self._shop, ignore_errors=True)


@pytest.fixture
def again(forged: Forged, tmp_path: Path) -> Again:
    assert forged.accounts.names() == []
    return Again(tmp_path)


@pytest.mark.kills
def test_t_co_1_a_start_that_is_killed_at_any_step_goes_on_by_the_same_command(forged: Forged, again: Again) -> None:
    steps = _steps(forged, "checkout", "start", "shop")
    assert len(steps) > 15
    for step in steps:
        again()
        assert forged.rdev("checkout", "start", "shop", step=str(step)).returncode == -9, step
        ran = forged.rdev("checkout", "start", "shop", "-o", "json")
        if ran.returncode == 5:  # it was whole already
            assert json.loads(ran.stderr)["error"]["code"] == "FOLDER_TAKEN", (step, ran.stderr)
            (made,) = json.loads(forged.rdev("checkout", "list", "-o", "json").stdout)["items"]
        else:
            assert ran.returncode == 0, (step, ran.stderr)
            made = json.loads(ran.stdout)
        folder = forged.cwd / "shop"
        _change(forged, folder)
        pushed = forged.git(folder, "push")
        assert pushed.returncode == 0, (step, pushed.stderr)
        assert forged.accounts.names() == [made["account"]], step


@pytest.mark.kills
def test_t_co_1_a_start_that_is_killed_at_any_step_is_cleared_by_the_sweeper_at_its_end(forged: Forged, again: Again) -> None:
    steps = _steps(forged, "checkout", "start", "shop", "--for", "60s")
    for step in steps[::2]:
        again()
        assert forged.rdev("checkout", "start", "shop", "--for", "60s", step=str(step)).returncode == -9, step
        world = forged.world()
        world.__dict__["clock"] = _Later(timedelta(seconds=61))
        try:
            checkouts.sweep(world)
            assert {one.state for one in checkouts.list_(world, ended=True).items} <= {CheckoutState.EXPIRED}
        finally:
            world.close()
        _sound(forged)


@pytest.mark.kills
def test_a_cancel_that_is_killed_at_any_step_goes_on_by_the_same_command_and_by_the_sweeper(forged: Forged, again: Again) -> None:
    made = forged.start("--dir", "elsewhere")
    again.keep()
    steps = _steps(forged, "checkout", "cancel", made["id"], "--yes")
    assert len(steps) > 4
    for step in steps:
        for then in (("checkout", "cancel", made["id"], "--yes"), ("gc",)):
            again()
            assert forged.rdev("checkout", "cancel", made["id"], "--yes", step=str(step)).returncode == -9, step
            assert forged.rdev(*then).returncode == 0, (step, then)
            world = forged.world()
            try:
                untouched = known.checkout(world, made["id"]).state is CheckoutState.ACTIVE
            finally:
                world.close()
            if not untouched:  # it was killed before anything was done, and nobody asked again
                _sound(forged)
            assert not untouched or then[0] == "gc"


class _Later:
    """The clock of some time from now."""

    def __init__(self, ahead: timedelta) -> None:
        self._ahead = ahead

    def now(self) -> datetime:
        return datetime.now(UTC).replace(microsecond=0) + self._ahead

    def monotonic(self) -> float:
        return 0.0


def test_a_failure_and_a_stop_undo_everything(forged: Forged) -> None:
    forged.accounts.down(down=True)
    ran = forged.rdev("checkout", "start", "shop", "-o", "json")
    assert ran.returncode == 7, ran.stderr  # nothing was made, but that cannot be known until the forge answers
    assert not (forged.cwd / "shop").exists()
    forged.accounts.down(down=False)
    world = forged.world()
    world.__dict__["clock"] = _Later(timedelta(seconds=40))
    try:
        assert checkouts.sweep(world) == 1
    finally:
        world.close()
    _sound(forged)
