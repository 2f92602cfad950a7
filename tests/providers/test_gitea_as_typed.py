"""A project whose repository is at a real Gitea, as a user types it: made, pushed to, synced, told of, and gone; the token is nowhere."""

import contextlib
import json
import os
import re
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from rdev_cli.adapters.gitea.calling import Gitea
from rdev_cli.domain.values import Secret
from rdev_cli.ports.timing import Stop
from tests.support.serving import start
from tests.support.yards import GiteaYard, given

pytestmark = pytest.mark.providers
Rdev = Callable[..., "subprocess.CompletedProcess[bytes]"]


@pytest.fixture
def yard(tmp_path: Path) -> Iterator[GiteaYard]:
    made = GiteaYard(tmp_path)
    yield made
    made.close()


@pytest.fixture
def there(rdev: Rdev, yard: GiteaYard) -> Rdev:
    """The executable, in a context whose forge is the Gitea."""

    def run(*words: str, **more: object) -> "subprocess.CompletedProcess[bytes]":
        ran = rdev(*words, **{"timeout": 120, **more})
        assert b"Traceback" not in ran.stderr, ran.stderr
        return ran

    url = ("--forge", "gitea", "--gitea-url", yard.url, "--gitea-owner", yard.owner)
    assert run("context", "set", "gt", *url, "--vault", "file", "--isolation", "none").returncode == 0
    assert run("context", "use", "gt").returncode == 0
    assert run("credential", "set", "GITEA_TOKEN", input=yard.token.encode()).returncode == 0
    return run


def good(ran: "subprocess.CompletedProcess[bytes]") -> dict[str, object]:
    assert ran.returncode == 0, ran.stderr.decode()
    return json.loads(ran.stdout) if ran.stdout[:1] == b"{" else {}


def cloned(yard: GiteaYard, tmp_path: Path) -> Callable[..., str]:
    env = {**os.environ, **given(yard.token), "GIT_TERMINAL_PROMPT": "0"}
    env |= {f"GIT_{role}_{what}": "u@x" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}

    def git(*argv: str) -> str:
        return subprocess.run(
            ["git", "-C", str(tmp_path / "clone"), *argv], env=env, capture_output=True, text=True, check=True
        ).stdout.strip()

    (tmp_path / "clone").mkdir()
    git("clone", "-q", f"{yard.url}/{yard.owner}/shop.git", ".")
    return git


def test_a_project_lives_at_gitea(there, yard, tmp_path, home):
    made = good(there("project", "create", "shop", "-o", "json"))
    assert made["repository"] == f"{yard.url}/{yard.owner}/shop.git"
    assert good(there("project", "create", "shop", "-o", "json")) == made
    found = yard.api.get(f"/repos/{yard.owner}/shop")
    assert (found["private"], found["has_wiki"], found["has_actions"], found["default_branch"]) == (True, False, False, "main")
    git = cloned(yard, tmp_path)
    git("commit", "-q", "--allow-empty", "-m", "by hand")
    git("push", "-q")
    assert "rdev project sync shop" in there("exec", "shop", "--", "true").stderr.decode()
    synced = good(there("project", "sync", "shop", "-o", "json"))
    assert (synced["brought_in"], synced["commit"]) == (True, git("rev-parse", "HEAD"))
    script = "echo 1 >one && git add one && git -c user.name=a -c user.email=a@a commit -qm 'from the pod'"
    good(there("shell", "shop", script))
    assert good(there("project", "sync", "shop", "-o", "json"))["delivered"] is True
    git("pull", "-q")
    assert git("log", "-1", "--format=%s") == "from the pod"
    # what is not ours or was renamed stays
    yard.api.call("PATCH", f"/repos/{yard.owner}/shop", {"name": "renamed"}, ok=(200,))
    moved = there("project", "delete", "shop", "--yes", "-o", "json")
    assert moved.returncode == 7
    assert f"{yard.owner}/renamed" in moved.stderr.decode()
    assert yard.api.get(f"/repos/{yard.owner}/renamed")
    yard.api.call("PATCH", f"/repos/{yard.owner}/renamed", {"name": "shop"}, ok=(200,))
    good(there("project", "delete", "shop", "--yes"))
    assert yard.api.get(f"/repos/{yard.owner}/shop") is None
    assert there("project", "delete", "shop", "--yes").returncode == 3
    assert not list((Path(home["XDG_STATE_HOME"]) / "rdev/gt/repos").iterdir())


def test_a_repository_of_somebody_else_is_left_alone(there, yard):
    yard.api.call("POST", f"/orgs/{yard.owner}/repos", {"name": "shop", "auto_init": True}, ok=(201,))
    refused = there("project", "create", "shop", "-o", "json")
    assert refused.returncode == 5
    assert f"{yard.owner}/shop is not this project's" in refused.stderr.decode()
    assert yard.api.get(f"/repos/{yard.owner}/shop")
    assert there("project", "show", "shop").returncode == 3


def test_a_project_takes_a_history_along(there, yard, tmp_path):
    source = tmp_path / "source"
    subprocess.run(["git", "init", "-q", "--initial-branch=trunk", str(source)], check=True)
    who = ("-c", "user.name=a", "-c", "user.email=a@a")
    for name in ("one", "two"):
        subprocess.run(["git", "-C", str(source), *who, "commit", "-q", "--allow-empty", "-m", name], check=True)
    subprocess.run(["git", "-C", str(source), "branch", "side", "HEAD~1"], check=True)
    assert good(there("project", "create", "shop", "--from", str(source), "-o", "json"))["branch"] == "trunk"
    assert set(yard.branches()) == {"trunk", "side"}
    assert yard.api.get(f"/repos/{yard.owner}/shop")["default_branch"] == "trunk"


def test_the_token_is_in_no_argv_no_url_and_no_file_and_git_is_called_as_always(there, yard, tmp_path, home, monkeypatch):
    shim, seen = tmp_path / "bin", tmp_path / "seen"
    shim.mkdir()
    real = subprocess.run(["which", "git"], capture_output=True, text=True, check=True).stdout.strip()
    (shim / "git").write_text(f'#!/bin/sh\n{{ for a in "$@"; do printf "%s\\0" "$a"; done; printf "\\n"; }} >>{seen}\nexec {real} "$@"\n')
    (shim / "git").chmod(0o755)
    path = {"PATH": f"{shim}:{home['PATH']}"}
    for words in (
        ("project", "create", "shop"), ("shell", "shop", "git -c user.name=a -c user.email=a@a commit -q --allow-empty -m x"),
        ("project", "sync", "shop"), ("project", "status", "shop"), ("events",), ("doctor",), ("project", "delete", "shop", "--yes"),
    ):  # fmt: skip
        ran = there(*words, env=path)
        assert yard.token.encode() not in ran.stdout + ran.stderr, words
    argvs = seen.read_bytes()
    assert yard.token.encode() not in argvs
    assert b"push" in argvs
    assert b"--force\0" not in argvs
    for line in argvs.splitlines():
        if f"{yard.url}/".encode() in line:
            assert b"--end-of-options\0" in line.partition(yard.url.encode())[0], line
            assert b"@" not in line.partition(yard.url.encode())[2].partition(b"\0")[0], line
    for file in Path(home["HOME"]).rglob("*"):
        assert not (file.is_file() and yard.token.encode() in file.read_bytes()), file


def test_a_token_that_is_no_good_is_told_with_what_to_type_and_a_new_one_counts_at_once(there, yard):
    there("credential", "set", "GITEA_TOKEN", input=b"0" * 40)
    refused = there("project", "create", "shop", "-o", "json")
    assert (refused.returncode, json.loads(refused.stderr.splitlines()[-1])["error"]["code"]) == (4, "FORGE_TOKEN")
    tested = there("context", "test")
    assert tested.returncode == 9
    assert "rdev credential set GITEA_TOKEN" in tested.stdout.decode()
    there("credential", "set", "GITEA_TOKEN", input=yard.token.encode())
    good(there("project", "create", "shop"))
    assert there("context", "set", "gt", "--forge", "local").returncode == 5
    good(there("credential", "remove", "GITEA_TOKEN", "--yes"))
    assert "rdev credential set GITEA_TOKEN" in there("project", "sync", "shop").stderr.decode()
    there("credential", "set", "GITEA_TOKEN", input=yard.token.encode())


def test_a_gitea_that_is_down_is_told_and_work_in_the_pod_goes_on(there, yard):
    good(there("project", "create", "shop"))
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        assert there("context", "set", "gt", "--gitea-url", f"http://127.0.0.1:{closed.getsockname()[1]}").returncode == 0
        assert there("exec", "shop", "--", "true").returncode == 0
        down = there("project", "sync", "shop", "-o", "json")
        assert (down.returncode, json.loads(down.stderr.splitlines()[-1])["error"]["code"]) == (6, "FORGE_UNREACHABLE")
        assert there("project", "delete", "shop", "--yes").returncode == 7
    there("context", "set", "gt", "--gitea-url", yard.url)
    good(there("project", "delete", "shop", "--yes"))


def _free() -> int:
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        return int(asked.getsockname()[1])


def moves(there: Rdev) -> list[Mapping[str, str]]:
    ran = there("events", "--subject", "shop", "-o", "jsonl", "--limit", "1000")
    lines = [json.loads(line) for line in ran.stdout.splitlines()]
    return [line["data"] for line in lines if line["kind"] == "branch.moved"]


def test_t_wh_8_a_push_is_told_by_gitea_itself_and_found_by_looking(there, yard, tmp_path, spawn):
    port = _free()
    good(there("context", "set", "gt", "--public-url", f"http://127.0.0.1:{port}"))
    good(there("project", "create", "shop"))
    hooks = list(yard.api.all(f"/repos/{yard.owner}/shop/hooks"))
    assert [hook["config"]["url"] for hook in hooks] == [f"http://127.0.0.1:{port}/hooks/gitea"]
    server = start(spawn, "--port", str(port))
    git = cloned(yard, tmp_path)
    git("commit", "-q", "--allow-empty", "-m", "by hand")
    git("push", "-q")
    head, end = git("rev-parse", "HEAD"), time.monotonic() + 30
    while not (told := moves(there)) and time.monotonic() < end:
        time.sleep(0.3)
    assert [(one["branch"], one["commit"]) for one in told] == [("main", head)], server.said()
    # what is too large is refused before it is looked at
    raw = b"POST /hooks/gitea HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        assert re.match(rb"HTTP/1.1 413 ", server.raw(raw % (port, 25 << 20)))
    yard.api.call("POST", f"/repos/{yard.owner}/shop/hooks/{hooks[0]['id']}/tests", ok=(204,))
    time.sleep(2)
    assert moves(there) == told  # nothing moved


def test_a_creation_that_dies_at_any_call_is_gone_on_with_and_nothing_is_made_twice(yard, monkeypatch):
    from tests.support.yards import project

    class Death(BaseException):
        pass

    call = Gitea.call
    for at in range(1, 40):
        count = 0

        def dying(self, *words, _at=at, **more):
            nonlocal count
            answer = call(self, *words, **more)
            count += 1
            if count == _at:
                raise Death
            return answer

        forge, died = yard._made(yard.installation), False
        with monkeypatch.context() as patch:
            patch.setattr(Gitea, "call", dying)
            try:
                forge.ensure_repository(project())
                forge.seed(project(), {"a": (b"a", False)})
            except Death:
                died = True
        forge.ensure_repository(project())
        forge.seed(project(), {"a": (b"a", False)})
        assert len(forge.branches(project())) == 1
        assert [one["name"] for one in yard.api.all(f"/orgs/{yard.owner}/repos")] == ["shop"]
        assert forge.delete_repository(project())
        forge.close()
        if not died:
            assert at > 5
            return
    pytest.fail("it never came to its end")


def test_an_api_that_is_no_gitea_is_told():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        import threading

        def answer() -> None:
            peer, _ = listener.accept()
            peer.recv(1 << 16)
            peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\nConnection: close\r\n\r\n<html></html>")
            peer.close()

        thread = threading.Thread(target=answer)
        thread.start()
        api = Gitea(f"http://127.0.0.1:{listener.getsockname()[1]}", lambda: Secret("x"), Stop)
        with pytest.raises(Exception, match="something else than JSON"):
            api.call("GET", "/version", ok=(200,))
        thread.join()
        api.close()
