"""What `rdev __complete` answers the shells' scripts, and `rdev completion` prints; the shells themselves: test_completion_shells.py."""

import json
import os
import sqlite3
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.conftest import RDEV, Rdev
from tests.house.listing import ROOT

pytestmark = pytest.mark.state

SCRIPTS = {"bash": "rdev.bash", "zsh": "_rdev", "fish": "rdev.fish", "powershell": "rdev.ps1"}
FORMATS = ["table", "wide", "json", "yaml", "name", "jsonl"]

Ask = Callable[..., list[str]]


@pytest.fixture
def ask(rdev: Rdev) -> Ask:
    """Return the lines of an answer; it never fails and never says anything beside it."""

    def run(*words: str, **options: object) -> list[str]:
        ran = rdev("__complete", *words, **options)
        assert (ran.returncode, ran.stderr) == (0, b"")
        return ran.stdout.decode().splitlines()

    return run


def values(lines: list[str]) -> list[str]:
    assert lines[0] == ":words"
    return [line.partition("\t")[0] for line in lines[1:]]


def state(home: Mapping[str, str], context: str = "local") -> Path:
    return Path(home["XDG_STATE_HOME"]) / "rdev" / context / "state.db"


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("pro", ["project"]),
        ("--v", ["--version"]),
        ("-h", ["-h"]),
        ("project st", ["status"]),
        ("project --h", ["--help"]),
        ("nonsense ", []),
        ("project nonsense ", []),
        ("version ", []),
        ("exec shop --ti", ["--timeout"]),
        ("exec --ti", ["--timeout"]),
        ("exec shop ", ["--"]),
        ("claude shop prompt ", []),
        ("claude shop -- --ti", []),
        ("project list -o ", FORMATS),
        ("project list -o js", ["json", "jsonl"]),
        ("project list --output js", ["json", "jsonl"]),
        ("project list --output=js", ["--output=json", "--output=jsonl"]),
        ("project list -oy", ["-oyaml"]),
        ("events -vfo y", ["yaml"]),
        ("events -vfoy", ["-vfoyaml"]),
        ("events -of", []),
        ("project list -o json --log-format ", ["text", "json"]),
        ("exec --isolation ", ["bubblewrap", "none"]),
        ("demo --agent ", ["claude", "opencode", "bundled"]),
        ("demo --agent=c", ["--agent=claude"]),
        ("project create ", []),
        ("credential set ", []),
        ("project create shop --description ", []),
        ("exec shop --timeout ", []),
        ("completion ", list(SCRIPTS)),
        ("context use ", ["local"]),
        ("ps --context l", ["local"]),
        ("__complete ", []),
    ],
)
def test_what_is_typed_has_these_candidates(ask: Ask, typed: str, found: list[str]) -> None:
    assert values(ask(*typed.split(" "))) == found


@pytest.mark.parametrize(
    ("typed", "directive"),
    [
        ("exec shop -- ", ":files"),
        ("git shop -- add --", ":files"),
        ("exec -- --ti", ":files"),
        ("ps --log-file ", ":files"),
        ("ps --log-file=x", ":files"),
        ("project create shop --from ", ":dirs"),
        ("context set local --show=", ":dirs"),
        ("context set local --agent-path claude=", ":files"),
    ],
)
def test_files_are_left_to_the_shell(ask: Ask, typed: str, directive: str) -> None:
    assert ask(*typed.split(" ")) == [directive]


def test_without_a_word_the_commands_are_listed_with_what_they_do(ask: Ask) -> None:
    assert ask() == ask("")
    assert "project\tProjects: a record, a repository and a pod under one name." in ask()
    assert "list\tList projects by name." in ask("project", "")
    assert "--timeout\tEnd it after so long: 90s, 30m, 8h." in ask("exec", "--t")


def test_projects_are_completed_wherever_one_is_named(ask: Ask, rdev: Rdev, project: str, home: Mapping[str, str]) -> None:
    assert rdev("project", "create", "shed").returncode == 0
    with sqlite3.connect(state(home)) as db:
        db.execute("update projects set description = ? where name = 'shed'", ["tools:\t\x1b[31mred\n\u202e it " + "x" * 100])
    db.close()
    assert ask("project", "show", "") == [":words", f"shed\ttools: [31mred it {'x' * 51}...", "shop"]
    for typed in (
        ["exec", "sho"],
        ["exec", "-i", "--timeout", "5s", "sho"],
        ["claude", "sho"],
        ["logs", "-f", "sho"],
        ["command", "list", "-p", "sho"],
    ):
        assert values(ask(*typed)) == [project]
    assert values(ask("command", "list", "--project=sho")) == [f"--project={project}"]
    assert values(ask("command", "list", "-psho")) == [f"-p{project}"]


def test_commands_that_run_come_first(ask: Ask, rdev: Rdev, project: str) -> None:
    running = rdev("exec", project, "--no-wait", "--", "sleep", "600").stdout.decode().strip()
    assert rdev("exec", project, "--", "echo", "hi").returncode == 0
    ended = json.loads(rdev("command", "list", "-o", "json").stdout)["items"][0]["id"]
    try:
        assert ask("command", "attach", "cmd_") == [
            ":words", f"{running}\trunning, shop: sleep 600", f"{ended}\tcompleted, shop: echo hi"
        ]  # fmt: skip
        assert values(ask("command", "list", "--before", ended[:-1])) == [ended]
    finally:
        rdev("command", "cancel", running)


def test_credentials_are_completed_by_name_and_no_vault_is_opened(ask: Ask, rdev: Rdev, home: Mapping[str, str]) -> None:
    assert rdev("context", "set", "local", "--vault", "file").returncode == 0
    for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "OPENAI_API_KEY"):
        assert rdev("credential", "set", name, input=b"the-value-of-it").returncode == 0
    for vault in state(home).parent.glob("vault.*"):
        vault.unlink()
    everything = [":words", "ANTHROPIC_API_KEY\tfile", "ANTHROPIC_AUTH_TOKEN\tfile", "OPENAI_API_KEY\tfile"]
    for verb in ("set", "remove", "test"):
        assert ask("credential", verb, "") == everything
        assert values(ask("credential", verb, "ANTHROPIC_AP")) == ["ANTHROPIC_API_KEY"]
    assert values(ask("credential", "set", "OPENAI_API_KEY", "")) == []
    with sqlite3.connect(state(home)) as db:
        db.execute("update credentials set name = 'X$(touch canary)' where name = 'OPENAI_API_KEY'")
    db.close()
    assert ask("credential", "remove", "") == everything[:3]


def test_fifty_commands_are_enough(ask: Ask, rdev: Rdev, project: str, home: Mapping[str, str]) -> None:
    assert rdev("exec", project, "--", "true").returncode == 0
    with sqlite3.connect(state(home)) as db:
        row = list(db.execute("select * from commands").fetchone())
        db.executemany(f"insert into commands values ({','.join('?' * len(row))})", [[f"cmd_{n:020d}", *row[1:]] for n in range(120)])
    db.close()
    found = values(ask("command", "show", "cmd_00"))
    assert found == [f"cmd_{n:020d}" for n in range(119, 69, -1)]


def test_the_context_is_found_as_the_settings_find_it(ask: Ask, rdev: Rdev, home: Mapping[str, str], tmp_path: Path) -> None:
    for name in ("alpha", "beta", "gamma", "delta"):
        assert rdev("context", "set", name, "--isolation", "none").returncode == 0
        assert rdev("project", "create", f"in-{name}", "--context", name).returncode == 0
    assert rdev("context", "use", "alpha").returncode == 0
    below = tmp_path / "folder" / "below"
    below.mkdir(parents=True)
    (tmp_path / "folder" / ".rdev.yaml").write_text("context: beta\n")
    end = time.monotonic() + 30
    while len(list((Path(home["XDG_CACHE_HOME"]) / "rdev").glob("*.json"))) < 2:  # a file that was just written has no twin yet
        assert time.monotonic() < end
        assert rdev("context", "list", cwd=below).returncode == 0
    for words, env, cwd, expected in (
        ([], {}, tmp_path, "in-alpha"),
        ([], {}, below, "in-beta"),
        ([], {"RDEV_CONTEXT": "gamma"}, below, "in-gamma"),
        (["--context", "delta"], {"RDEV_CONTEXT": "gamma"}, below, "in-delta"),
        (["--context=delta"], {}, below, "in-delta"),
    ):
        assert values(ask("project", "show", *words, "", env=env, cwd=cwd)) == [expected]
        shown = json.loads(rdev("project", "list", "-o", "json", *words, env=env, cwd=cwd).stdout)["items"]
        assert [one["name"] for one in shown] == [expected]
    assert values(ask("context", "use", "")) == ["alpha", "beta", "delta", "gamma", "local"]
    (tmp_path / "folder" / ".rdev.yaml").write_text("context: delta  # a file that has no twin of its own yet\n")
    assert values(ask("project", "show", "", cwd=below)) == ["in-alpha"]


@pytest.mark.parametrize("context", ["../local", "/", "UP", "nowhere", "local\n"])
def test_a_context_that_is_none_has_no_names(ask: Ask, project: str, context: str) -> None:
    assert values(ask("exec", "--context", context, "")) == []
    assert values(ask("exec", "", env={"RDEV_CONTEXT": context})) == []


@pytest.mark.parametrize("broken", ["text", "folder", "empty", "truncated", "locked", "hostile", "settings"])
def test_a_broken_state_has_no_names_and_says_nothing(ask: Ask, project: str, home: Mapping[str, str], broken: str) -> None:
    path, holder = state(home), None
    if broken == "locked":
        holder = sqlite3.connect(path, isolation_level=None)
        holder.execute("pragma locking_mode=exclusive")
        holder.execute("begin exclusive")
    elif broken == "hostile":
        with sqlite3.connect(path) as db:
            db.execute("update projects set name = ?", ["$(touch canary)"])
        db.close()
    elif broken == "settings":
        folder = Path(home["XDG_CONFIG_HOME"]) / "rdev"
        folder.mkdir(parents=True)
        (folder / "config.yaml").write_text("{{{")
        assert values(ask("exec", "")) == [project]
        return
    else:
        whole = path.read_bytes()
        path.unlink()
        path.mkdir() if broken == "folder" else path.write_bytes({"text": b"no state", "empty": b"", "truncated": whole[:5000]}[broken])
    assert values(ask("exec", "")) == []
    assert values(ask("command", "show", "cmd_")) == []
    assert values(ask("credential", "test", "")) == []
    if holder is not None:
        holder.close()


def test_completion_writes_nothing(ask: Ask, project: str, home: Mapping[str, str], tmp_path: Path) -> None:
    def everything() -> set[tuple[str, int, int]]:
        return {(str(p), p.lstat().st_mtime_ns, p.lstat().st_size) for p in tmp_path.rglob("*")}

    before = everything()
    assert values(ask("exec", "")) == [project]
    ask("command", "show", "")
    ask("context", "use", "")
    left = {path for path, _, _ in everything() ^ before}
    assert left <= {f"{state(home)}-wal", f"{state(home)}-shm", str(state(home).parent)}  # SQLite's own, in WAL mode alone
    if sqlite3.sqlite_version_info < (3, 44):
        assert not left


def test_a_home_without_anything_stays_empty(ask: Ask, home: Mapping[str, str]) -> None:
    assert values(ask("exec", "")) == []
    assert not list(Path(home["HOME"]).iterdir())


def test_a_reader_that_has_left_is_no_trouble(home: Mapping[str, str]) -> None:
    ran = subprocess.run(["sh", "-c", f"'{RDEV}' __complete '' >&-; echo $?"], env=home, capture_output=True, timeout=60, check=True)
    assert (ran.stdout, ran.stderr) == (b"0\n", b"")
    reader, writer = os.pipe()
    os.close(reader)
    ran = subprocess.run([RDEV, "__complete", ""], env=home, stdout=writer, stderr=subprocess.PIPE, timeout=60, check=False)
    os.close(writer)
    assert (ran.returncode, ran.stderr) == (0, b"")


def test_help_does_not_tell_of_the_scripts_own_word(rdev: Rdev) -> None:
    assert b"__complete" not in rdev("--help").stdout
    assert b"completion" in rdev("--help").stdout


@pytest.mark.parametrize("shell", SCRIPTS)
def test_the_script_is_the_one_that_is_checked_in(rdev: Rdev, shell: str) -> None:
    ran = rdev("completion", shell)
    assert (ran.returncode, ran.stderr) == (0, b"")
    assert ran.stdout == (ROOT / "completions" / SCRIPTS[shell]).read_bytes()
    assert json.loads(rdev("completion", shell, "-o", "json").stdout) == {"shell": shell, "script": ran.stdout.decode()}


def test_help_of_completion_shows_the_line_to_type(rdev: Rdev) -> None:
    assert b"echo 'source <(rdev completion bash)' >>~/.bashrc" in rdev("completion", "--help").stdout
    refused = rdev("completion", "tcsh")
    assert refused.returncode == 2
    assert b"bash, zsh, fish, powershell" in refused.stderr
