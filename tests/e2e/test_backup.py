"""The page about backups, run as it stands there: a copy while nothing runs, a copy while something runs, and what works after."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from rdev_cli.ops import jobs
from rdev_cli.wiring.services import Services
from tests.support import serving

pytestmark = pytest.mark.state

PAGE = Path(__file__).parents[2] / "docs" / "backup.md"
STILL_BACKUP, STILL_RESTORE, LIVE_BACKUP, LIVE_RESTORE = re.findall(r"^```sh\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)

Run = Callable[..., "subprocess.CompletedProcess[bytes]"]


@pytest.fixture
def user(home: Mapping[str, str], tmp_path: Path) -> dict[str, str]:
    """A user with the folders where they are by default, who finds rdev and this Python on the PATH."""
    place = str(Path(sys.executable).parent)
    kept = {key: value for key, value in home.items() if not key.startswith("XDG_")}
    return {**kept, "PATH": f"{place}:{home['PATH']}", "HOME": str(tmp_path / "user")}


@pytest.fixture
def run(user: Mapping[str, str], tmp_path: Path) -> Run:
    def call(*argv: str, code: int = 0) -> "subprocess.CompletedProcess[bytes]":
        ran = subprocess.run(
            argv, env=dict(user), cwd=tmp_path, capture_output=True, timeout=120, check=False, stdin=subprocess.DEVNULL
        )  # fmt: skip
        assert ran.returncode == code, ran.stdout.decode(errors="replace") + ran.stderr.decode(errors="replace")
        return ran

    return call


def typed(run: Run, block: str) -> "subprocess.CompletedProcess[bytes]":
    return run("sh", "-ec", block)


def work(run: Run) -> None:
    """Make a project with a commit and a change that is not committed, settings, and another context with a project of its own."""
    run("rdev", "context", "set", "other", "--isolation", "bubblewrap")
    run("rdev", "project", "create", "else", "--context", "other")
    run("rdev", "project", "create", "shop")
    run("rdev", "exec", "shop", "--", "sh", "-c", "echo draft >draft.txt; echo said")


def documents(run: Run) -> dict[str, object]:
    return {
        name: json.loads(run("rdev", *words, "-o", "json").stdout)
        for name, words in {
            "projects": ("project", "list"),
            "others": ("project", "list", "--context", "other"),
            "commands": ("command", "list"),
            "events": ("events",),
            "contexts": ("context", "list"),
        }.items()
    }


def lose_everything(user: Mapping[str, str]) -> None:
    for name in (".config/rdev", ".local/state/rdev", ".cache/rdev"):
        subprocess.run(["rm", "-rf", f"{user['HOME']}/{name}"], check=True)


def no_worse(run: Run) -> None:
    """The doctor finds nothing failed, the chain and the records whole, and nothing left over."""
    for context in ("local", "other"):
        found = {check["name"]: check for check in json.loads(run("rdev", "doctor", "--context", context, "-o", "json").stdout)["items"]}
        for name in ("state.integrity", "journal.chain", "leftover", "files.private", "files.state"):
            assert found[name]["verdict"] == "ok", found[name]
        assert not [check for check in found.values() if check["verdict"] == "failed"]


def works(run: Run, tmp_path: Path) -> None:
    """The project takes work: a command, a clone of its repository, another project."""
    assert run("rdev", "exec", "shop", "--", "cat", "CLAUDE.md").stdout
    repository = json.loads(run("rdev", "project", "show", "shop", "-o", "json").stdout)["repository"]
    run("git", "clone", "--quiet", repository, str(tmp_path / "clone"))
    assert (tmp_path / "clone" / "CLAUDE.md").is_file()
    run("git", "-C", repository, "fsck", "--strict")
    run("rdev", "project", "create", "second")
    run("rdev", "project", "delete", "shop", "--yes")
    run("rdev", "exec", "else", "--context", "other", "--", "true")


def test_a_copy_while_nothing_runs_brings_back_all_of_it(run: Run, user: Mapping[str, str], tmp_path: Path) -> None:
    work(run)
    before = documents(run)
    typed(run, STILL_BACKUP)
    assert (tmp_path / "rdev-backup.tar").stat().st_mode & 0o777 == 0o600
    lose_everything(user)
    typed(run, STILL_RESTORE)
    assert documents(run) == before
    no_worse(run)
    assert run("rdev", "exec", "shop", "--", "cat", "draft.txt").stdout == b"draft\n"  # what was not committed too
    first = before["commands"]["items"][0]["id"]  # type: ignore[index]
    assert run("rdev", "command", "output", first).stdout == b"said\n"
    works(run, tmp_path)


def test_a_copy_while_something_runs_brings_back_records_and_repositories(run: Run, user: Mapping[str, str], tmp_path: Path) -> None:
    work(run)
    started = run("rdev", "exec", "shop", "--no-wait", "--", "sleep", "60").stdout.decode().strip()
    before = documents(run)
    typed(run, LIVE_BACKUP)
    run("rdev", "command", "cancel", started)
    copy = Path(user["HOME"]) / "rdev-copy"
    assert all(not path.stat().st_mode & 0o077 for path in (copy, *copy.iterdir(), copy / "local/state.db"))
    shutil.copytree(Path(user["HOME"]) / ".config/rdev", tmp_path / "settings")
    lose_everything(user)
    (Path(user["HOME"]) / ".config").mkdir(exist_ok=True)
    shutil.copytree(tmp_path / "settings", Path(user["HOME"]) / ".config/rdev")
    typed(run, LIVE_RESTORE)
    after = documents(run)
    assert [(p["name"], p["id"]) for p in after["projects"]["items"]] == [(p["name"], p["id"]) for p in before["projects"]["items"]]  # type: ignore[index]
    assert json.loads(run("rdev", "command", "show", started, "-o", "json").stdout)["state"] == "lost"
    no_worse(run)
    run("rdev", "exec", "shop", "--", "test", "!", "-e", "draft.txt")
    works(run, tmp_path)


def test_the_copies_hold_while_others_write(run: Run, user: Mapping[str, str], tmp_path: Path) -> None:
    work(run)
    writer = subprocess.Popen(
        ["sh", "-c", "while :; do rdev exec shop -- true || exit 1; done"],
        env=dict(user), cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        typed(run, LIVE_BACKUP)
    finally:
        os.killpg(writer.pid, 9)
        writer.wait(10)
    settings = Path(user["HOME"]) / ".config/rdev"
    shutil.copytree(settings, tmp_path / "settings")
    lose_everything(user)
    shutil.copytree(tmp_path / "settings", settings)
    typed(run, LIVE_RESTORE)
    no_worse(run)
    works(run, tmp_path)


# what a server keeps

HOOK = ("--url", "https://127.0.0.1:9/hook", "--event", "command.*")
LOCAL_HOOKS = {"RDEV_WEBHOOK_ALLOW": "127.0.0.0/8"}


@pytest.fixture
def serve(spawn: Callable[..., "subprocess.Popen[bytes]"], user: Mapping[str, str]) -> Callable[[], serving.Server]:
    """Start a server on the user's state."""
    places = dict.fromkeys(("XDG_STATE_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"))
    return lambda: serving.start(spawn, env={**places, **user, **LOCAL_HOOKS})


def settled(server: serving.Server, path: str, key: str) -> dict[str, object]:
    end = time.monotonic() + 60
    while True:
        status, _, document = server.ask("GET", path, key=key)
        assert status == 200, document
        if document["data"]["state"] not in ("pending", "running"):
            return dict(document["data"])
        assert time.monotonic() < end, document
        time.sleep(0.1)


def made_key(run: Run, name: str) -> tuple[str, str]:
    """Make a key and return its id and what its holder shows."""
    made = json.loads(run("rdev", "key", "create", "--name", name, "--scope", "admin", "-o", "json").stdout)
    return made["id"], made["key"]


def test_what_waited_for_a_server_when_the_copy_was_made_is_done_once_after_the_restore(
    run: Run, user: Mapping[str, str], serve: Callable[[], serving.Server], tmp_path: Path
) -> None:
    work(run)
    (_, key), (old, gone) = made_key(run, "ci"), made_key(run, "old")
    run("rdev", "key", "revoke", old, "--yes")
    world = Services(environ=dict(user), cwd=tmp_path)
    job = jobs.submit(world, "command.run", {"project": "shop", "kind": "shell", "line": "echo run >>runs"})
    world.close()
    typed(run, STILL_BACKUP)
    lose_everything(user)
    typed(run, STILL_RESTORE)
    for _ in range(2):  # the second one finds it done
        server = serve()
        assert settled(server, f"/commands/{job.id}", key)["state"] == "completed"
        assert server.ask("GET", "/projects", key=gone)[0] == 401
        server.stop()
        assert run("rdev", "exec", "shop", "--", "cat", "runs").stdout == b"run\n"


def test_a_copy_of_what_a_server_works_on_brings_back_keys_webhooks_and_jobs(
    run: Run, user: dict[str, str], serve: Callable[[], serving.Server]
) -> None:
    user.update(LOCAL_HOOKS)
    work(run)
    _, key = made_key(run, "ci")
    hook = json.loads(run("rdev", "webhook", "add", *HOOK, "-o", "json").stdout)["id"]
    server = serve()
    done = server.ask("POST", "/projects/shop/shell", {"command": "echo done"}, key=key)[2]["data"]["id"]
    assert settled(server, f"/commands/{done}", key)["state"] == "completed"
    running = server.ask("POST", "/projects/shop/shell", {"command": "echo run >>runs; sleep 600"}, key=key)[2]["data"]["id"]
    end = time.monotonic() + 60
    while server.ask("GET", f"/commands/{running}", key=key)[2]["data"]["state"] != "running":
        assert time.monotonic() < end
        time.sleep(0.1)
    typed(run, LIVE_BACKUP)
    run("rdev", "command", "cancel", running)
    server.stop(signal.SIGKILL)
    shutil.copytree(Path(user["HOME"]) / ".config/rdev", Path(user["HOME"]) / "settings")
    lose_everything(user)
    (Path(user["HOME"]) / "settings").rename(Path(user["HOME"]) / ".config/rdev")
    typed(run, LIVE_RESTORE)
    server = serve()
    assert settled(server, f"/commands/{done}", key)["state"] == "completed"
    assert settled(server, f"/commands/{running}", key)["state"] == "lost"
    assert [one["id"] for one in server.ask("GET", "/webhooks", key=key)[2]["data"]["items"]] == [hook]
    status, _, tried = server.ask("POST", f"/webhooks/{hook}/test", {}, key=key)
    assert status == 200
    assert "refused" in tried["data"]["attempts"][-1]["error"]  # nobody listens there, but its secret is there to sign with
    server.stop()
    run("rdev", "exec", "shop", "--", "test", "!", "-e", "runs")  # it was not started again
