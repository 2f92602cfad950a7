"""`project create --from`: history and branches come along, nothing that could run does, and the source stays as it was (T-GIT-*)."""

import hashlib
import json
import os
import stat
import subprocess
from pathlib import Path

import pytest

from rdev_cli.adapters.local.forge import LocalForge
from rdev_cli.adapters.shared import git as git_module
from rdev_cli.adapters.shared.git import git
from rdev_cli.domain.errors import Failed, RdevError

HOSTILE_REFS = [
    "--upload-pack=touch {P}", "--output={P}", "-oProxyCommand=touch {P}", "-c core.sshCommand=touch {P}", "--end-of-options", "--exec=touch {P}",
]  # fmt: skip
HOSTILE_URLS = [
    "ext::sh -c touch% {P}", "file:///etc", "ssh://-oProxyCommand=touch {P}/y", "https://user:tok@example.com/x.git", "git://example.com/x",
    "https://token@example.com/x.git", "http://example.com/x.git", "ssh://user:pw@example.com/x", "-u./x@h:p", "fd::17", "https://",
]  # fmt: skip
ODD_BRANCHES = ["a;rm", "a$(touch${IFS}P)", "a`touch${IFS}P`", "@x", "é", "a'b", 'a"b', "a&b", "feature/x", "a|b"]


def _source(folder: Path, branch: str = "main") -> Path:
    folder.mkdir()
    _run(folder, "init", "-q", f"--initial-branch={branch}")
    (folder / "a.txt").write_text("one\n")
    _run(folder, "add", ".")
    _run(folder, "commit", "-qm", "first")
    (folder / "a.txt").write_text("two\n")
    _run(folder, "commit", "-qam", "second")
    return folder


def _run(folder: Path, *argv: str) -> str:
    who = {"GIT_AUTHOR_NAME": "u", "GIT_AUTHOR_EMAIL": "u@x", "GIT_COMMITTER_NAME": "u", "GIT_COMMITTER_EMAIL": "u@x"}
    env = {**os.environ, **who, "GIT_CONFIG_GLOBAL": "/dev/null"}
    return subprocess.run(["git", "-C", str(folder), *argv], env=env, capture_output=True, check=True, text=True).stdout.strip()


def _print(folder: Path) -> str:
    """A fingerprint of everything in a folder: names, modes, contents."""
    found = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        mode = path.lstat().st_mode
        body = path.read_bytes() if stat.S_ISREG(mode) else b""
        found.update(f"{path.relative_to(folder)} {mode} ".encode() + body)
    return found.hexdigest()


def test_history_and_branches_come_along_and_the_source_stays_untouched(rdev, home, tmp_path):
    source = _source(tmp_path / "mine")
    _run(source, "branch", "side")
    _run(source, "tag", "v1")
    before = _print(source)
    made = rdev("project", "create", "shop", "--from", str(source), "-o", "json")
    assert made.returncode == 0, made.stderr
    project = json.loads(made.stdout)
    assert _run(Path(project["repository"]), "for-each-ref", "--format=%(refname)") == "refs/heads/main\nrefs/heads/side"
    assert rdev("git", "shop", "--", "log", "--format=%s").stdout == b"second\nfirst\n"
    assert rdev("exec", "shop", "--", "cat", "a.txt").stdout == b"two\n"
    assert _print(source) == before


@pytest.mark.parametrize("branch", ODD_BRANCHES)
def test_t_git_3_an_odd_branch_keeps_its_name_and_runs_nothing(rdev, home, tmp_path, branch):
    source = _source(tmp_path / "mine", branch)
    made = rdev("project", "create", "shop", "--from", str(source), "-o", "json")
    assert made.returncode == 0, made.stderr
    assert json.loads(made.stdout)["branch"] == branch
    assert rdev("git", "shop", "--", "symbolic-ref", "--short", "HEAD").stdout.decode().strip() == branch
    rdev("shell", "shop", "echo three >a.txt && git -c user.name=u -c user.email=u@x commit -qam third")
    assert rdev("git", "shop", "--", "log", "-1", "--format=%s").stdout == b"third\n"
    assert rdev("project", "delete", "shop", "--yes").returncode == 0
    assert not list(tmp_path.rglob("P"))


def test_t_git_2_a_source_with_a_branch_like_an_option_works(rdev, home, tmp_path):
    source = _source(tmp_path / "mine")
    _run(source, "update-ref", "refs/heads/--evil", "HEAD")
    assert rdev("project", "create", "shop", "--from", str(source)).returncode == 0
    assert rdev("project", "status", "shop").returncode == 0
    assert rdev("project", "delete", "shop", "--yes").returncode == 0


@pytest.mark.parametrize("url", HOSTILE_URLS)
def test_t_git_4_a_url_that_could_do_more_than_fetch_is_refused(rdev, home, tmp_path, url):
    refused = rdev("project", "create", "shop", "--from", url.replace("{P}", str(tmp_path / "P")), "-o", "json")
    assert refused.returncode in (2, 3), refused.stderr
    assert json.loads(refused.stderr)["error"]["hint"]
    assert not (tmp_path / "P").exists()
    assert rdev("project", "list", "-o", "name").stdout == b""


@pytest.mark.parametrize("url", [u for u in HOSTILE_URLS if u.startswith(("ext", "file", "git", "fd"))])
def test_t_git_4_git_itself_refuses_them_too(tmp_path, url):
    git_module.git(tmp_path, "init", "-q", "--bare", "--end-of-options", str(tmp_path / "r.git"))
    with pytest.raises(Failed) as refused:
        git(tmp_path / "r.git", "fetch", "--end-of-options", url.replace("{P}", str(tmp_path / "P")), protocols="https:ssh")
    assert "not allowed" in refused.value.context["said"]
    assert not (tmp_path / "P").exists()


@pytest.mark.parametrize("ref", HOSTILE_REFS)
def test_t_git_1_git_takes_data_behind_end_of_options_for_data(tmp_path, ref):
    source, bare = _source(tmp_path / "mine"), tmp_path / "r.git"
    git(tmp_path, "init", "-q", "--bare", "--end-of-options", str(bare))
    hostile = ref.replace("{P}", str(tmp_path / "P"))
    for argv in (
        ("fetch", "--end-of-options", str(source), hostile),
        ("fetch", "--end-of-options", hostile, "HEAD"),
        ("ls-remote", "--end-of-options", hostile),
        ("rev-parse", "--verify", "--end-of-options", hostile),
        ("update-ref", "--end-of-options", f"refs/heads/{hostile}", "HEAD"),
        ("merge-base", "--is-ancestor", "--end-of-options", hostile, "HEAD"),
        ("show", "--end-of-options", hostile, "--"),
    ):
        with pytest.raises(RdevError):
            git(bare, *argv, protocols="file")
    assert not (tmp_path / "P").exists()


def test_t_git_5_nothing_that_a_source_configures_runs_or_comes_along(rdev, home, tmp_path):
    source = _source(tmp_path / "mine")
    canary = tmp_path / "P"
    script = tmp_path / "evil"
    script.write_text(f"#!/bin/sh\ntouch {canary}\ncat\n")
    script.chmod(0o755)
    for hook in ("post-checkout", "pre-commit", "post-commit", "reference-transaction", "pre-auto-gc", "post-update"):
        (source / ".git" / "hooks" / hook).write_text(script.read_text())
        (source / ".git" / "hooks" / hook).chmod(0o755)
    (source / ".gitattributes").write_text("* filter=evil diff=evil\n")
    (source / ".gitmodules").write_text('[submodule "x"]\n\tpath = x\n\turl = https://example.com/x\n')
    _run(source, "-c", "core.hooksPath=/dev/null", "add", ".")
    _run(source, "-c", "core.hooksPath=/dev/null", "commit", "-qm", "third")
    for key in (
        "core.fsmonitor",
        "core.sshCommand",
        "core.pager",
        "filter.evil.clean",
        "filter.evil.smudge",
        "diff.evil.textconv",
        "uploadpack.packObjectsHook",
    ):
        _run(source, "-c", "core.hooksPath=/dev/null", "config", key, str(script))
    canary.unlink(missing_ok=True)
    made = rdev("project", "create", "shop", "--from", str(source), "-o", "json")
    assert made.returncode == 0, made.stderr
    repository = Path(json.loads(made.stdout)["repository"])
    assert not (repository / "hooks").exists()
    config = _run(repository, "config", "--local", "--list")
    assert "evil" not in config
    assert "submodule" not in config
    assert rdev("project", "status", "shop").returncode == 0
    assert not canary.exists()


def test_t_git_6_every_git_on_the_host_gets_a_fixed_argv_and_a_clean_environment(rdev, home, tmp_path):
    """A shim in front of the real git writes down what it was given."""
    source, log = _source(tmp_path / "mine"), tmp_path / "log"
    shim = tmp_path / "shim"
    shim.mkdir()
    real = subprocess.run(["sh", "-c", "command -v git"], capture_output=True, text=True, check=True).stdout.strip()
    (shim / "git").write_text(f'#!/bin/sh\n{{ printf "%s\\n" "$@"; echo ---; env; echo ===; }} >>{log}\nexec {real} "$@"\n')
    (shim / "git").chmod(0o755)
    env = {"PATH": f"{shim}:{os.environ['PATH']}", "GIT_SSH_COMMAND": "evil", "GIT_DIR": "/nowhere", "GIT_EXTERNAL_DIFF": "evil"}
    assert rdev("project", "create", "shop", "--from", str(source), env=env).returncode == 0
    assert rdev("project", "status", "shop", env=env).returncode == 0
    calls = [call.split("---\n") for call in log.read_text().split("===\n") if call]
    assert len(calls) >= 5
    for argv, environment in calls:
        words, given = argv.splitlines(), dict(line.partition("=")[::2] for line in environment.splitlines())
        assert given["GIT_TERMINAL_PROMPT"] == "0"
        assert given["GIT_CONFIG_NOSYSTEM"] == "1"
        assert given["GIT_CONFIG_GLOBAL"] == "/dev/null"
        assert given["GIT_PROTOCOL_FROM_USER"] == "0"
        assert given["HOME"] != home["HOME"]
        assert "GIT_DIR" not in given
        assert "GIT_EXTERNAL_DIFF" not in given
        assert "evil" not in environment
        data = [word for word in words[2:] if word == str(source) or word.startswith(("refs/", "+refs/"))]
        if data:
            assert "--end-of-options" in words
            assert words.index("--end-of-options") < words.index(data[0], 2)


def test_credentials_never_stay_in_a_record(rdev, home):
    refused = rdev("project", "create", "shop", "--from", "https://user:s3cret@example.com/x.git")
    assert refused.returncode == 2
    assert b"s3cret" not in refused.stderr
    state = b"".join(p.read_bytes() for p in Path(home["XDG_STATE_HOME"]).rglob("*") if p.is_file())
    assert b"s3cret" not in state


def test_a_folder_without_a_commit_is_refused_with_what_to_do(rdev, home, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    assert b"git -C" in rdev("project", "create", "shop", "--from", str(empty)).stderr
    _run(empty, "init", "-q")
    refused = rdev("project", "create", "shop", "--from", str(empty))
    assert refused.returncode == 2
    assert b"no commit" in refused.stderr
    assert rdev("project", "list", "-o", "name").stdout == b""


def test_the_repository_is_an_ordinary_remote(rdev, project, tmp_path):
    url = json.loads(rdev("project", "show", project, "-o", "json").stdout)["repository"]
    clone = tmp_path / "clone"
    _run(tmp_path, "clone", "-q", url, str(clone))
    (clone / "new.txt").write_text("x\n")
    _run(clone, "add", ".")
    _run(clone, "commit", "-qm", "mine")
    _run(clone, "push", "-q", "origin", "main")
    assert "mine" in rdev("project", "status", project).stdout.decode()


def test_a_forge_is_not_handed_a_bundle_that_is_not_what_it_says(tmp_path, rdev, project, home):
    from rdev_cli.wiring.services import Services

    world = Services(environ=home, cwd=tmp_path)
    try:
        found = world.store.find_project(project)
        assert isinstance(world.forge, LocalForge)
        head = world.forge.head(found)
        with (tmp_path / "junk").open("w+b") as junk:
            junk.write(b"# v2 git bundle\n" + b"f" * 40 + b" HEAD\n\nPACKnot")
            junk.seek(0)
            with pytest.raises(Failed):
                world.forge.receive(found, junk, sha="f" * 40, rescue="rdev/rescue/x")
        assert world.forge.head(found) == head
        assert _run(Path(found.repository), "for-each-ref", "--format=%(refname)") == "refs/heads/main"
    finally:
        world.close()
