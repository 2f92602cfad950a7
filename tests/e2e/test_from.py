"""`project create --from`: history and branches come along, nothing that could run does, and the source stays as it was (T-GIT-*)."""

import ast
import hashlib
import inspect
import io
import json
import os
import signal
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from rdev_cli.adapters.gitea import forge as gitea_forge
from rdev_cli.adapters.gitea import hooks as gitea_hooks
from rdev_cli.adapters.local import holders
from rdev_cli.adapters.shared import bare, contents, origins
from rdev_cli.adapters.shared import git as git_module
from rdev_cli.adapters.shared.git import git
from rdev_cli.domain.errors import Failed, RdevError
from rdev_cli.domain.project import Project
from rdev_cli.ports.forge import Delivery
from rdev_cli.wiring.services import Services

SUPPORT = Path(__file__).parents[1] / "support"

HOSTILE_REFS = [
    "--upload-pack=touch {P}", "--output={P}", "-oProxyCommand=touch {P}", "-c core.sshCommand=touch {P}", "--end-of-options", "--exec=touch {P}",
]  # fmt: skip
HOSTILE_URLS = [
    "ext::sh -c touch% {P}", "file:///etc", "ssh://-oProxyCommand=touch {P}/y", "https://user:tok@example.com/x.git", "git://example.com/x",
    "https://token@example.com/x.git", "http://example.com/x.git", "ssh://user:pw@example.com/x", "-u./x@h:p", "fd::17", "https://",
    "ssh://-oProxyCommand=touch@example.com/p", "ssh://%2doProxyCommand=touch@example.com/x", "ssh://u%20x@example.com/x", "ssh://-l@example.com/x",
    "ssh://@example.com/x", "ssh://[-v]/x", "ssh://u@-v/x", "ssh://u@%2dv/x", "https://%2dv/x", "https://-v/x", "u@-v:x", "-u@h:x", "%2du@h:x", "u@h:-x",
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


@pytest.fixture
def agent(rdev, project) -> str:
    """A project, and an agent for it that is quick and does what its prompt says."""
    assert rdev("context", "set", "local", "--agent-path", f"claude={SUPPORT / 'claude'}").returncode == 0
    return project


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
    script = _evil(tmp_path / "evil", canary)
    for hook in HOOKS:
        _evil(source / ".git" / "hooks" / hook, canary)
    (source / ".gitattributes").write_text("* filter=evil diff=evil\n")
    (source / ".gitmodules").write_text('[submodule "x"]\n\tpath = x\n\turl = ext::sh -c touch% P\n')
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
    _run(source, "status")  # the canary sings where nobody keeps it from it
    assert canary.exists()


HOOKS = ("post-checkout", "pre-commit", "post-commit", "reference-transaction", "pre-auto-gc", "post-update", "fsmonitor-watchman")


def _evil(path: Path, canary: Path) -> Path:
    """A program that leaves a canary."""
    path.write_text(f"#!/bin/sh\ntouch {canary}\ncat\n")
    path.chmod(0o755)
    return path


def test_t_git_5_what_the_repository_itself_is_told_to_run_does_not_run(rdev, agent, tmp_path):
    repository = Path(json.loads(rdev("project", "show", agent, "-o", "json").stdout)["repository"])
    canary = tmp_path / "P"
    (repository / "hooks").mkdir()
    for hook in HOOKS:
        _evil(repository / "hooks" / hook, canary)
    _run(repository, "config", "core.fsmonitor", str(_evil(tmp_path / "evil", canary)))
    assert rdev("claude", agent, "add a page").returncode == 0
    assert rdev("project", "status", agent).returncode == 0
    assert not canary.exists()
    _run(repository, "update-ref", "refs/heads/side", "HEAD")
    assert canary.exists()


SUBMODULE = '[submodule "{}"]\n\tpath = x\n\turl = {}\n\tupdate = {}\n'
# name -> the entries (mode, name, content: None is an empty tree) of a tree that would hurt whoever checks it out
HOSTILE_TREES: dict[str, list[tuple[str, str, str | None]]] = {
    ".git": [("40000", ".git", None)],
    "git~1": [("40000", "git~1", None)],
    "dots": [("40000", "..", None)],
    "slash": [("100644", "a/b", "x")],
    "a link for .gitmodules": [("120000", ".gitmodules", "/etc/passwd")],
    "a submodule at an option": [("100644", ".gitmodules", SUBMODULE.format("x", "-oProxyCommand=touch", "none"))],
    "a submodule outside": [("100644", ".gitmodules", SUBMODULE.format("../../x", "https://example.com/x", "none"))],
    "a submodule with a command": [("100644", ".gitmodules", SUBMODULE.format("x", "https://example.com/x", "!touch P"))],
}


def _hostile(folder: Path, entries: list[tuple[str, str, str | None]]) -> str:
    """Make a commit of these entries upon HEAD, as no honest git would; return its SHA."""
    raw = b""
    for mode, name, content in entries:
        kind, data = ("tree", b"") if content is None else ("blob", content.encode())
        raw += f"{mode} {name}".encode() + b"\0" + bytes.fromhex(_object(folder, kind, data))
    return _run(folder, "commit-tree", "-p", "HEAD", "-m", "hostile", _object(folder, "tree", raw))


def _object(folder: Path, kind: str, data: bytes) -> str:
    argv = ["git", "-C", str(folder), "hash-object", "-t", kind, "-w", "--literally", "--stdin"]
    return subprocess.run(argv, input=data, capture_output=True, check=True).stdout.decode().strip()


@pytest.mark.parametrize("tree", HOSTILE_TREES)
def test_t_git_5_a_source_with_a_hostile_tree_is_refused_and_nothing_is_left(rdev, home, tmp_path, tree):
    source = _source(tmp_path / "mine")
    _run(source, "update-ref", "refs/heads/side", _hostile(source, HOSTILE_TREES[tree]))
    refused = rdev("project", "create", "shop", "--from", str(source), "-o", "json")
    error = json.loads(refused.stderr)["error"]
    assert (refused.returncode, error["code"]) == (9, "GIT_FAILED")
    assert error["message"].startswith("git fetch failed: object ")
    assert rdev("project", "list", "-o", "name").stdout == b""
    assert not list((Path(home["XDG_STATE_HOME"]) / "rdev/local/repos").iterdir())


@pytest.mark.parametrize("tree", HOSTILE_TREES)
def test_t_git_5_a_bundle_with_a_hostile_tree_is_refused_and_leaves_nothing_behind(world, tmp_path, tree):
    project, clone = _cloned(world, tmp_path)
    before = _print(Path(project.repository))
    sha = _hostile(clone, HOSTILE_TREES[tree])
    with pytest.raises(Failed, match="not sound") as refused:
        _receive(world, project, clone, sha)
    assert refused.value.code == "BAD_BUNDLE"
    assert _print(Path(project.repository)) == before


def test_t_git_5_a_bundle_that_lacks_what_it_names_is_refused(world, tmp_path):
    project, clone = _cloned(world, tmp_path)
    before = _print(Path(project.repository))
    missing = _object(clone, "tree", b"100644 a\0" + b"\x11" * 20)
    sha = _run(clone, "commit-tree", "-p", "HEAD", "-m", "half", missing)
    pack = subprocess.run(
        ["git", "-C", str(clone), "pack-objects", "-q", "--stdout"], input=f"{sha}\n{missing}\n".encode(), capture_output=True, check=True
    )
    with pytest.raises(Failed) as refused:
        world.forge.receive(project, io.BytesIO(f"# v2 git bundle\n{sha} HEAD\n\n".encode() + pack.stdout), sha=sha, rescue="rdev/rescue/x")
    assert refused.value.code == "BAD_BUNDLE"
    assert _print(Path(project.repository)) == before


def test_a_sound_bundle_is_received_once_and_again_and_a_late_one_is_rescued(world, tmp_path):
    project, clone = _cloned(world, tmp_path)
    tree = _run(clone, "rev-parse", "HEAD^{tree}")
    first, other = (_run(clone, "commit-tree", "-p", "HEAD", "-m", text, tree) for text in ("first", "other"))
    assert [_receive(world, project, clone, first).branch for _ in (1, 2)] == ["main", "main"]
    assert [_receive(world, project, clone, other).branch for _ in (1, 2)] == ["rdev/rescue/x", "rdev/rescue/x"]
    repository = Path(project.repository)
    assert (_run(repository, "rev-parse", "main"), _run(repository, "rev-parse", "rdev/rescue/x")) == (first, other)
    assert _run(repository, "for-each-ref", "--format=%(refname)") == "refs/heads/main\nrefs/heads/rdev/rescue/x"
    assert not [p.name for p in repository.iterdir() if p.name.startswith("incoming")]
    subprocess.run(["git", "-C", str(repository), "fsck", "--strict", "--full"], capture_output=True, check=True)


@pytest.mark.parametrize("length", [4053, 4054, 4055, 9000])
def test_a_bundle_upon_a_commit_with_a_long_subject_is_received(world, tmp_path, length):
    project, clone = _cloned(world, tmp_path)
    _run(clone, "commit", "-q", "--allow-empty", "-m", "x" * length)
    _run(clone, "push", "-q", "origin", "main")
    sha = _run(clone, "commit-tree", "-p", "HEAD", "-m", "next", "HEAD^{tree}")
    assert _receive(world, project, clone, sha).branch == "main"


@pytest.fixture
def world(rdev, project, home, tmp_path) -> Iterator[Services]:
    one = Services(environ=home, cwd=tmp_path)
    yield one
    one.close()


def _cloned(world: Services, tmp_path: Path) -> tuple[Project, Path]:
    project = world.store.find_project("shop")
    _run(tmp_path, "clone", "-q", project.repository, str(tmp_path / "clone"))
    return project, tmp_path / "clone"


def _receive(world: Services, project: Project, clone: Path, sha: str) -> Delivery:
    """Bundle a commit as git in the pod does, and hand it to the forge."""
    _run(clone, "update-ref", "--no-deref", "HEAD", sha)
    _run(clone, "bundle", "create", "-q", "../it.bundle", "HEAD", "--not", "refs/remotes/origin/main")
    with (clone.parent / "it.bundle").open("rb") as bundle:
        return world.forge.receive(project, bundle, sha=sha, rescue="rdev/rescue/x")


def test_t_git_5_a_commit_that_an_agent_forged_stays_in_the_pod(rdev, agent):
    empty = "".join(f"\\{byte:03o}" for byte in bytes.fromhex("4b825dc642cb6eb9a060e54bf8d69288fbee4904"))
    tree = f"git mktree </dev/null; tree=$(printf '40000 .git\\0{empty}' | git hash-object -t tree -w --literally --stdin)"
    commit = "git -c user.name=u -c user.email=u@x commit-tree -p HEAD -m x $tree"
    assert rdev("shell", agent, f"{tree}; git update-ref HEAD $({commit})").returncode == 0
    done = rdev("claude", agent, "add a page", "-o", "json")
    assert (done.returncode, json.loads(done.stderr)["error"]["code"]) == (7, "UNDELIVERED")
    [kept] = [e for e in json.loads(rdev("events", "-o", "json").stdout)["items"] if e["kind"] == "commit.kept"]
    assert "hasDotgit" in kept["data"]["trouble"]
    repository = Path(json.loads(rdev("project", "show", agent, "-o", "json").stdout)["repository"])
    assert _run(repository, "log", "--format=%s", "main") == "Create shop from the skeleton"


# what no git on the host may be without, whatever it does
SWITCHES = (
    "core.hooksPath=/dev/null", "core.fsmonitor=false", "core.symlinks=false", "core.askPass=", "credential.helper=", "protocol.ext.allow=never",
    "gc.auto=0", "maintenance.auto=false", "fetch.recurseSubmodules=false", "fetch.fsckObjects=true",
)  # fmt: skip
COMMANDS = {
    "init",
    "rev-parse",
    "ls-remote",
    "fetch",
    "symbolic-ref",
    "bundle",
    "index-pack",
    "merge-base",
    "update-ref",
    "show",
    "fast-import",
}


def test_t_git_6_every_git_on_the_host_gets_a_fixed_argv_and_a_clean_environment(rdev, home, tmp_path):
    """A shim in front of the real git writes down what it was given."""
    source, log = _source(tmp_path / "mine"), tmp_path / "log"
    shim = tmp_path / "shim"
    shim.mkdir()
    real = subprocess.run(["sh", "-c", "command -v git"], capture_output=True, text=True, check=True).stdout.strip()
    (shim / "git").write_text(f'#!/bin/sh\n{{ printf "%s\\n" "$@"; echo ---; env; echo ===; }} >>{log}\nexec {real} "$@"\n')
    (shim / "git").chmod(0o755)
    env = {"PATH": f"{shim}:{os.environ['PATH']}", "GIT_SSH_COMMAND": "evil", "GIT_DIR": "/nowhere", "GIT_EXTERNAL_DIFF": "evil"}
    assert rdev("context", "set", "local", "--agent-path", f"claude={SUPPORT / 'claude'}").returncode == 0
    for words in (
        ("project", "create", "fresh"),
        ("project", "delete", "fresh", "--yes"),
        ("project", "create", "shop", "--from", str(source)),
        ("claude", "shop", "add a page"),
        ("project", "status", "shop"),
        ("project", "delete", "shop", "--yes"),
    ):
        done = rdev(*words, env=env)
        assert done.returncode == 0, done.stderr
    seen = set()
    for call in [call for call in log.read_text().split("===\n") if call]:
        argv, environment = call.split("---\n")
        words, given = argv.splitlines(), dict(line.partition("=")[::2] for line in environment.splitlines())
        assert given["GIT_TERMINAL_PROMPT"] == "0"
        assert given["GIT_CONFIG_NOSYSTEM"] == "1"
        assert given["GIT_CONFIG_GLOBAL"] == "/dev/null"
        assert given["GIT_PROTOCOL_FROM_USER"] == "0"
        assert given["HOME"] != home["HOME"]
        assert "GIT_DIR" not in given
        assert "GIT_EXTERNAL_DIFF" not in given
        assert "evil" not in environment
        assert words[0] == "-C"
        switches, rest = [], words[2:]
        while rest[0] == "-c":
            switches.append(rest[1])
            rest = rest[2:]
        assert set(SWITCHES) <= set(switches), words
        command, *rest = rest
        seen.add(command)
        if command == "bundle":
            assert rest.pop(0) == "create"
        options, _, data = "\n".join(rest).partition("--end-of-options")
        # a word that is no option is data, be it ever so much rdev's own: a SHA, a ref, HEAD, a path
        assert [word for word in options.split() if not word.startswith("-")] == [], words
        assert command in ("fast-import", "index-pack") or data or "--show-prefix" in options, words
    assert seen == COMMANDS


def test_t_git_6_no_call_of_git_has_data_in_front_of_end_of_options():
    """Read from the code, so that the calls of rare cases count too."""
    calls = [
        node
        for module in (bare, contents, origins, holders, gitea_forge, gitea_hooks)
        for node in ast.walk(ast.parse(inspect.getsource(module)))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("git", "run")
    ]
    assert len(calls) >= len(COMMANDS)
    own = ("*PLAIN", "*_DIFF", "*own", "*argv", "*condition", "'--literal-pathspecs'")  # switches that are written down once
    for call in calls:
        given = [ast.unparse(word) for word in call.args if ast.unparse(word) not in ("self._api", *own)]
        command, *words = given[1:] or ["handed on"]
        options = words[: words.index("'--end-of-options'")] if "'--end-of-options'" in words else words
        allowed = ("'-", "f'-", "'create'") if command == "'bundle'" else ("'-", "f'-", "STRICT")
        assert [word for word in options if not word.startswith(allowed)] == [], ast.unparse(call)


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


@pytest.mark.parametrize(
    "junk",
    [b"", b"junk", b"# v2 git bundle\n", b"# v2 git bundle\n" + b"f" * 40 + b" HEAD\n\nPACKnot", b"# v2 git bundle\n" + b"x" * 10000],
)
def test_a_bundle_that_is_none_is_refused(world, junk):
    project = world.store.find_project("shop")
    before = _print(Path(project.repository))
    with pytest.raises(Failed) as refused:
        world.forge.receive(project, io.BytesIO(junk), sha="f" * 40, rescue="rdev/rescue/x")
    assert refused.value.code == "BAD_BUNDLE"
    assert _print(Path(project.repository)) == before


def test_a_bundle_with_another_commit_than_the_named_one_is_refused(world, tmp_path):
    project, clone = _cloned(world, tmp_path)
    before = _print(Path(project.repository))
    tree = _run(clone, "rev-parse", "HEAD^{tree}")
    sha = _run(clone, "commit-tree", "-p", "HEAD", "-m", "x", tree)
    for named in ("f" * 40, "f" * 64, tree):
        _run(clone, "update-ref", "--no-deref", "HEAD", sha)
        _run(clone, "bundle", "create", "-q", "../it.bundle", "HEAD", "--not", "refs/remotes/origin/main")
        with (tmp_path / "it.bundle").open("rb") as bundle, pytest.raises(Failed, match="another commit"):
            world.forge.receive(project, bundle, sha=named, rescue="rdev/rescue/x")
    assert _print(Path(project.repository)) == before


# a committer line -> the time that is shown
DATES = {
    "u <u@x> 600000000000 +0000": "9999-12-31",
    "u <u@x> 18446744073709551615 +0000": "9999-12-31",
    "u <u@x> 1700000000 +9999": "2023-11-14",
    "u <u@x>1700000000 +0000": "",
    "u <u@x> soon": "1970-01-01",
    "nobody": "1970-01-01",
}


@pytest.mark.parametrize("committer", DATES)
def test_a_commit_with_a_date_that_no_calendar_holds_is_shown(rdev, project, committer):
    repository = Path(json.loads(rdev("project", "show", project, "-o", "json").stdout)["repository"])
    tree, parent = _run(repository, "rev-parse", "HEAD^{tree}", "HEAD").split()
    sha = _object(repository, "commit", f"tree {tree}\nparent {parent}\nauthor {committer}\ncommitter {committer}\n\nodd\n".encode())
    _run(repository, "update-ref", "refs/heads/main", sha)
    shown = rdev("project", "status", project, "-o", "json")
    assert shown.returncode == 0, shown.stderr
    assert json.loads(shown.stdout)["head"]["at"].startswith(DATES[committer])
    assert rdev("project", "status", project).returncode == 0


def test_an_agents_commit_with_such_a_date_ends_its_run_well(rdev, agent):
    line = "GIT_COMMITTER_DATE='@600000000000 +0000' git -c user.name=u -c user.email=u@x commit -q --allow-empty -m odd"
    assert rdev("shell", agent, line).returncode == 0
    done = rdev("claude", agent, "do nothing")
    assert done.returncode == 0, done.stderr
    assert rdev("project", "status", agent).returncode == 0


def _refused(rdev, source: object, *words: str) -> tuple[int, dict]:
    """Create from a source that cannot be one; return the exit code and the error, once nothing is left of it."""
    done = rdev("project", "create", "shop", "--from", str(source), "-o", "json", *words)
    assert rdev("project", "list", "-o", "name").stdout == b""
    return done.returncode, json.loads(done.stderr)["error"]


def test_a_shallow_source_is_refused_before_anything_is_made(rdev, tmp_path):
    full, source = _source(tmp_path / "full"), tmp_path / "mine"
    _run(tmp_path, "clone", "-q", "--depth=1", f"file://{full}", str(source))
    code, error = _refused(rdev, source)
    assert (code, error["code"], error["hint"]) == (2, "INVALID", f"git -C {source} fetch --unshallow")
    assert "shallow clone" in error["message"]
    assert [event["kind"] for event in json.loads(rdev("events", "-o", "json").stdout)["items"]] == []


def test_a_folder_inside_a_repository_is_refused_with_its_top_folder(rdev, tmp_path):
    source = _source(tmp_path / "mine")
    (source / "a b" / "c").mkdir(parents=True)
    code, error = _refused(rdev, source / "a b" / "c")
    assert (code, error["code"], error["hint"]) == (2, "INVALID", f"give the repository's top folder: {source}")
    assert [event["kind"] for event in json.loads(rdev("events", "-o", "json").stdout)["items"]] == []


def test_a_bare_repository_and_a_linked_work_tree_are_sources_too(rdev, tmp_path):
    source = _source(tmp_path / "mine")
    _run(tmp_path, "clone", "-q", "--bare", str(source), "bare.git")
    _run(source, "worktree", "add", "-q", str(tmp_path / "linked"), "-b", "side")
    for name, folder in (("one", "bare.git"), ("two", "linked"), ("three", "mine/.git")):
        made = rdev("project", "create", name, "--from", str(tmp_path / folder))
        assert made.returncode == 0, made.stderr


@pytest.mark.parametrize("url", ["https://127.0.0.1:1/x.git", "ssh://u@127.0.0.1:1/x.git"])
def test_a_url_that_does_not_answer_is_unavailable_and_the_line_that_says_why_is_told(rdev, url):
    code, error = _refused(rdev, url)
    assert (code, error["code"]) == (6, "UNAVAILABLE")
    assert error["message"].startswith(f"{url} cannot be read: ")
    assert "and the repository exists" not in error["message"]
    assert "--from DIR" in error["hint"]


NOT_READ = (
    "fatal: Could not read from remote repository.\n\nPlease make sure you have the correct access rights\nand the repository exists."
)


@pytest.mark.parametrize(
    ("said", "line"),
    [
        (f"ssh: connect to host x port 22: Connection refused\n{NOT_READ}", "ssh: connect to host x port 22: Connection refused"),
        (f"fatal: '/x' does not appear to be a git repository\n{NOT_READ}", "'/x' does not appear to be a git repository"),
        (
            "warning: x\nerror: object 1f: hasDotgit\nfatal: fsck error in packed object\nfatal: invalid index-pack output",
            "object 1f: hasDotgit",
        ),
        (NOT_READ, "Could not read from remote repository."),
        ("usage: git x\n   or: git y", "or: git y"),
        (" \n", ""),
    ],
)
def test_the_line_that_says_why_is_chosen_from_gits_text(said, line):
    assert git_module.telling(said) == line


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_source_that_includes_what_never_ends_is_left_at_a_signal(rdev, spawn, tmp_path, number, code):
    source = _endless(tmp_path)
    process = spawn("project", "create", "shop", "--from", str(source), "-v")
    while b"rev-parse" not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(number)
    assert process.wait(30) == code
    assert rdev("project", "list", "-o", "name").stdout == b""


def test_a_source_that_includes_what_never_ends_is_given_up_by_itself(rdev, tmp_path):
    code, error = _refused(rdev, _endless(tmp_path), "--dry-run")
    assert (code, error["code"]) == (124, "TIMED_OUT")


def _endless(tmp_path: Path) -> Path:
    source = _source(tmp_path / "mine")
    os.mkfifo(tmp_path / "fifo")
    with (source / ".git" / "config").open("a") as config:
        config.write(f"[include]\n\tpath = {tmp_path / 'fifo'}\n")
    return source
