"""The wrong turns of somebody's first hour: what rdev says is the next thing to type."""

import json
import shlex
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from rdev_cli.faces.cli import meant
from rdev_cli.faces.cli.words import GROUPS
from tests.e2e.test_hand import on_terminal

Rdev = Callable[..., "subprocess.CompletedProcess[bytes]"]
KEY = "hunter2secret"


def hint(ran: "subprocess.CompletedProcess[bytes]") -> str:
    """Return the hint of an error."""
    return ran.stderr.decode().rpartition("\nhint:  ")[2].removesuffix("\n")


def test_no_word_of_another_tool_hides_one_of_ours() -> None:
    theirs = [word for words in meant._ROOT for word in words.split()]
    assert not set(theirs) & set(GROUPS[""])
    assert len(theirs) == len(set(theirs))


def test_a_word_of_another_tool_leads_to_lines_that_there_are(rdev: Rdev) -> None:
    lines = [line for each in meant._ROOT.values() for line in each] + [*meant._LINES.values(), *meant._INSTEAD.values()]
    for line in lines:
        typed = shlex.split(line.partition(" --")[0].partition(" -it")[0].partition(" -i ")[0].partition(" | ")[0])
        path = [word for word in typed if word.islower()]
        while " ".join(path) not in meant.ARGUMENTS and path:  # what stands behind the command is an example
            path.pop()
        assert path or line == "--help", line
    for ours in {each for group in meant._OPTIONS.values() for each in group}:
        spelled = {spelling for options in meant.OPTIONS.values() for spellings, _, _ in options for spelling in spellings}
        assert ours.split()[0] in spelled | {"-o"}, ours
    assert {verb for group in GROUPS.values() for verb in group} >= {*meant._VERBS, *meant._UNSHOWN}


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        ("ls", "rdev project list or rdev command list"), ("rm shop", "rdev project delete shop"), ("login", "rdev credential set ANTHROPIC_API_KEY"),
        ("run shop ls", "rdev exec shop -- ARGV... or rdev claude shop PROMPT"), ("init", "rdev project create PROJECT --from DIR|URL"),
        ("config", "rdev context view or rdev context set --help"), ("shop exec", "rdev exec shop -- ARGV..."),
        ("shop exec ls -l", "rdev exec shop -- ls -l"), ("create project shop", "rdev project create shop"), ("list projects", "rdev project list"),
        ("projects", "rdev project list"), ("projcet rm shop", "rdev project delete shop"), ("ssh shop", "rdev exec -it shop -- sh"),
        ("attach cmd_01m879ejfgrt", "rdev command attach cmd_01m879ejfgrt or rdev logs --follow PROJECT"), ("event", "rdev events"),
        ("project ls", "rdev project list"), ("project new shop", "rdev project create shop"), ("project crate shop", "rdev project create shop"),
        ("project shop", "rdev project status shop or rdev project --help"), ("project shop sync", "rdev project sync shop"), ("project lsit", "rdev project list"),
        ("command kill cmd_0123", "rdev command cancel cmd_0123"), ("agent add bot", "rdev context set local --agent-path bot=PATH"),
        ("agent test claude", "rdev agent health claude"), ("context create work", "rdev context set work"), ("credential get K", "rdev credential list"),
        ("nonsense", "rdev --help shows how it is typed"), ("project nonsense", "rdev project status nonsense or rdev project --help"),
        ("context delete local", "rdev context remove local"),
    ],
)  # fmt: skip
def test_a_foreign_or_mistyped_command_is_answered_with_the_line_to_type(typed: str, line: str, rdev: Rdev) -> None:
    ran = rdev(*typed.split())
    assert (ran.returncode, ran.stdout, hint(ran)) == (2, b"", line)
    assert ran.stderr.startswith(b"error: no such command '")


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        ("project list --json", "rdev project list -o json"), ("--json project list", "rdev project list -o json"), ("-oname ps", "rdev ps -oname"),
        ("project list --format json", "rdev project list -o json"), ("project list --format=json", "rdev project list -o json"),
        ("project delete shop --force", "rdev project delete shop --yes"), ("project create shop --form .", "rdev project create shop --from ."),
        ("project create --name shop", "rdev project create shop"), ("project create shop ./lib", "rdev project create shop --from ./lib"),
        ("claude shop -p x", "rdev claude shop x"), ("claude shop --continue x", "rdev claude shop --resume x"),
        ("claude shop x --dangerously-skip-permissions", "rdev claude shop x"), ("claude shop x --modle y", "rdev claude shop x --model y"),
        ("claude shop x --agent bot", "rdev agent run shop x --agent bot"), ("agent run opencode shop x", "rdev agent run shop x --agent opencode"),
        ("agent run shop add a page", "rdev agent run shop 'add a page'"), ("exec shop --json -- ls", "rdev exec shop -o json -- ls"),
        ("exec shop -c ls", "rdev exec --help shows how it is typed"), ("ps -a", "rdev command list"), ("ps shop", "rdev command list --project shop"),
        ("command list shop", "rdev command list --project shop"), ("events shop", "rdev events --subject shop"), ("events -n 3", "rdev events --limit 3"),
        ("credential remove K --force", "rdev credential remove K --yes"),
        ("project list -o", "rdev project list --help shows how it is typed"), ("project show --nonsense", "rdev project show --help shows how it is typed"),
    ],
)  # fmt: skip
def test_a_foreign_or_mistyped_option_is_answered_with_the_line_to_type(typed: str, line: str, rdev: Rdev) -> None:
    ran = rdev(*typed.split())
    assert (ran.returncode, ran.stdout) == (2, b"")
    said = json.loads(ran.stderr)["error"]["hint"] if ran.stderr.startswith(b"{") else hint(ran)
    assert said == line


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        ("project create", "rdev project create PROJECT; rdev project create --help says more"),
        ("key create --name ci", "rdev key create --name NAME --scope SCOPE; rdev key create --help says more"),
        ("webhook add", "rdev webhook add --url URL --event EVENT; rdev webhook add --help says more"),
        ("project delete", "rdev project delete PROJECT; rdev project list shows the ones there are"),
        ("command attach", "rdev command attach COMMAND; rdev command list shows the ones there are"),
        ("exec", "it stands after `--`: rdev exec PROJECT -- ARGV..."), ("exec shop", "it stands after `--`: rdev exec shop -- ARGV..."),
        ("git shop", "it stands after `--`: rdev git shop -- log --oneline"), ("shell shop", "rdev shell shop 'LINE'"),
        ("context set agent=bot", "rdev context set local --agent NAME; rdev context set --help shows what can be set"),
        ("logs cmd_01m879ejfgrt", "rdev command output cmd_01m879ejfgrt"), ("logs -f cmd_01m879ejfgrt", "rdev command attach cmd_01m879ejfgrt"),
    ],
)  # fmt: skip
def test_a_word_that_is_missing_or_of_another_kind_is_named(typed: str, line: str, rdev: Rdev) -> None:
    ran = rdev(*typed.split())
    assert (ran.returncode, ran.stdout, hint(ran)) == (2, b"", line)


def test_a_project_that_is_not_named_is_asked_for_with_the_whole_line(rdev: Rdev) -> None:
    for typed, line in (
        ("logs", "rdev logs PROJECT; "),
        ("exec -- ls", "rdev exec PROJECT -- ARGV...; "),
        ("project show", "rdev project show PROJECT; "),
    ):
        ran = rdev(*typed.split())
        assert (ran.returncode, ran.stderr.splitlines()[0]) == (2, b"error: no project is named")
        assert hint(ran).startswith(f"{line}rdev project list shows the ones there are"), typed
    assert hint(rdev("claude", "add a page")).startswith("rdev claude PROJECT 'add a page'; ")
    assert hint(rdev("claude", "add a page", "shop")) == "rdev claude shop 'add a page'"
    assert hint(rdev("agent", "run", "shop")).startswith("rdev agent run shop 'what to do'; ")


def test_a_name_that_is_nearly_right_is_answered_with_the_right_one(rdev: Rdev, project: str) -> None:
    assert hint(rdev("project", "create", "My_Shop")).endswith(": my-shop")
    assert hint(rdev("project", "show", "shpo")).startswith("did you mean shop? ")
    assert "did you mean" not in hint(rdev("project", "show", "elsewhere"))
    assert hint(rdev("command", "attach", project)) == "rdev command list --project shop shows the ids: cmd_…"


@pytest.mark.parametrize(
    "typed",
    [
        f"credential set -v K={KEY}", f"credential set -v {KEY}", f"credential set -v K {KEY}", f"credential set K - {KEY}",
        f"credential set K {KEY} --json", f"credential set K --value={KEY}", f"credential add K {KEY}", f"credentials set K {KEY}",
        f"set credential K {KEY}", f"-v credential set K {KEY}", f"credential test K {KEY}", f"login {KEY}", f"key {KEY}", f"key show {KEY}",
        f"key revoke {KEY} --yes", f"key show key_0000 {KEY}", f"key create {KEY}",
    ],
)  # fmt: skip
def test_a_key_that_is_typed_where_none_belongs_is_never_repeated(typed: str, rdev: Rdev, tmp_path: Path) -> None:
    log = tmp_path / "rdev.log"
    for env in ({}, {"RDEV_LOG_FILE": str(log)}, {"RDEV_OUTPUT": "json"}):
        ran = rdev(*typed.split(), env=env)
        assert (ran.returncode, ran.stdout) == (2, b"")
        assert KEY.encode() not in ran.stderr
        assert KEY not in (log.read_text() if log.exists() else "")
    assert rdev("credential", "list", "-o", "name").stdout == b""


def test_a_refusal_to_ask_shows_the_whole_line_with_yes(rdev: Rdev, project: str) -> None:
    ran = rdev("project", "delete", project)
    assert (ran.returncode, hint(ran)) == (2, "say yes on the command line: rdev project delete shop --yes")
    assert hint(rdev("project", "delete", "--", project)).endswith(": rdev project delete --yes -- shop")
    assert rdev("project", "delete", "--yes", "--", project).returncode == 0


def test_a_line_for_a_shell_leads_to_rdev_shell(rdev: Rdev, project: str) -> None:
    for argv, line in ((("ls -la",), "'ls -la'"), (("cd", "site"), "'cd site'")):
        ran = rdev("exec", project, "--", *argv)
        assert ran.returncode == 127
        assert ran.stderr.decode().endswith(f"\nhint:  that is a line for a shell: rdev shell shop {line}\n")
    assert b"hint" not in rdev("exec", project, "--", "nosuch").stderr
    assert b"hint" not in rdev("exec", project, "-o", "json", "--", "ls -la").stderr


def test_a_shell_without_a_terminal_leads_to_one(rdev: Rdev, project: str, home: Mapping[str, str], tmp_path: Path) -> None:
    code, got = on_terminal(home, tmp_path, "exec", project, "--", "sh")
    assert (code, b"rdev exec -it shop -- sh" in got) == (0, True)
    ran = rdev("exec", project, "--", "sh")
    assert (ran.returncode, ran.stderr) == (0, b"")


def test_a_folder_that_cannot_be_taken_says_how_it_can(rdev: Rdev, home: Mapping[str, str], tmp_path: Path) -> None:
    folder = tmp_path / "my lib"
    folder.mkdir()
    (folder / "file").write_text("x\n")
    env = {**home, **{f"GIT_{who}_{what}": "a@b" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}}
    assert hint(rdev("project", "create", "x", "--from", "github.com/foo/bar")) == "for a URL: --from https://github.com/foo/bar"
    for _ in range(2):  # first it is no repository, then it has no commit
        line = hint(rdev("project", "create", "lib", "--from", str(folder))).partition(": ")[2]
        done = subprocess.run(["sh", "-c", line], env=env, cwd=tmp_path, capture_output=True, timeout=30, check=False)
        assert done.returncode == 0, (line, done.stderr)
    assert rdev("project", "create", "lib", "--from", str(folder)).returncode == 0


def test_what_an_agent_lacks_names_the_context_it_is_set_in(rdev: Rdev, project: str, home: Mapping[str, str]) -> None:
    assert rdev("context", "set", "work").returncode == 0
    path = ":".join(part for part in home["PATH"].split(":") if not (Path(part) / "claude").exists())
    for context in ("local", "work"):
        if context == "work":
            assert rdev("project", "create", project, "--context", "work").returncode == 0
        ran = rdev("claude", project, "x", "--context", context, env={"PATH": path})
        assert (ran.returncode, f"rdev context set {context} --agent-path claude=PATH" in hint(ran)) == (6, True), ran.stderr


def test_an_agent_without_a_key_is_told_of_credentials(rdev: Rdev, project: str) -> None:
    ran = rdev("agent", "run", project, "x", "--agent", "bundled")
    assert (ran.returncode, hint(ran).startswith("rdev credential set ANTHROPIC_API_KEY ")) == (9, True)


def test_whoever_attaches_to_a_cancelled_command_is_told_so(rdev: Rdev, project: str) -> None:
    id = rdev("exec", "--no-wait", project, "--", "sleep", "60").stdout.decode().strip()
    assert rdev("command", "cancel", id).returncode == 0
    ran = rdev("command", "attach", id)
    assert (ran.returncode, ran.stderr.decode()) == (130, f"rdev: {id}: it was cancelled\n")
