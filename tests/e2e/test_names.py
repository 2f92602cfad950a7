"""What people and programs give as names: one rule everywhere, and nothing of it ever reaches a shell. T-NAME-1, 2; T-SHELL-1, 2."""

import json
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rdev_cli.domain.command import Launch
from rdev_cli.domain.errors import Invalid
from rdev_cli.domain.project import ProjectSpec, pod_name
from rdev_cli.domain.values import name
from rdev_cli.faces.cli.face import _shared
from rdev_cli.faces.cli.main import TREE, root
from tests.hostile_names import NAMES, PLAIN, SHELL, WORST

Rdev = Callable[..., "subprocess.CompletedProcess[bytes]"]

# What stands in a parameter, by the word for it in its command's usage -> the exit codes that a bad one may end in. The parameters are read
# from the command tree: one with a word that is not here, or that needs more than a name to go with it, fails until it has a verdict.
VERDICTS: dict[str, tuple[int, ...]] = {
    "PROJECT": (2,),
    "COMMAND": (2,),
    "NAME": (2,),
    "ID|NAME": (2,),
    "DIR|URL": (2, 3),
    "KIND": (2,),
    "DURATION": (2,),
    "FORMAT": (2,),
    "NUMBER": (2,),
    "NAME=PATH": (2,),
    "NAME.VAR=VALUE": (2,),
    "NAME=MODEL": (2,),
    "NAME=TOOL,TOOL": (2,),
    "NAME=KIND": (2,),
    "NAME=WORD,WORD": (2,),
    "NAME=VAR,VAR": (2,),
    "AGENT": (2,),
    "SHELL": (2,),
    "-": (2,),
    "FILE|-": (2, 3, 4, 6),
    "PATH": (2, 3),
    "KUBE-CONTEXT": (2, 3),
    "NAMESPACE": (2,),
    "IMAGE": (2,),
    "HOST": (2,),
    "POLICY": (2,),
    "CLASS": (2,),
    "CORES": (2,),
    "SIZE": (2,),
    "PROGRAM": (2,),
    "DURATION|DATE": (2,),
    "SOURCE": (2, 3),
    "TARGET": (2, 3),
    "SOCKET": (2,),
    "PEM": (2,),
    "N/min": (2,),
    "URL": (2,),
    "EVENT": (2,),
    "WEBHOOK": (2,),
    "DELIVERY": (2,),
    "KEY": (2,),
    "SCOPE": (2,),
    "CIDR": (2,),
    "DURATION|never": (2,),
    "OPERATION": (2,),
    "CHECKOUT": (2,),
    "SESSION": (2,),
    "PORT": (2,),
    "DOMAIN": (2,),
    "BRANCH": (2, 3),
    "DIR": (2, 3),
    "SHA": (2, 3),  # 3: there is no such project here
    "RECEIPT": (2,),
    "RECEIPT|FILE": (2, 3),
    "SESSION|CHECKOUT": (2,),
    "OWNER": (2,),
}
# parameters whose word says another thing: the exit codes, and what is no bad one there
OTHERWISE: dict[str, tuple[tuple[int, ...], tuple[str, ...]]] = {
    "exec project": ((2, 125), ()),  # 125: nothing has run
    "shell project": ((2, 125), ()),
    **{f"session {verb} session": ((2, 125), ()) for verb in ("exec", "shell", "git")},
    "session claude --model": ((2, 3), ()),  # 3: there is no such session here
    "session claude --tools": ((2, 3), ()),
    "session claude --conversation": ((2, 3), ()),
    "session claude prompt": ((2, 3), ()),
    "session checkin --message": ((2, 3), ()),
    "checkin --message": ((2, 3), ()),
    "session shell line": ((2, 3, 125), ()),
    "session start --agent": ((2, 3), ()),
    "session start --branch": ((2, 3), ()),
    "git project": ((2, 125), ()),
    "demo --agent": ((3,), ("",)),  # empty: what is here
    "context set --preview-domain": ((2,), ("",)),  # empty: names of this machine
    "context set --show": ((2,), ("",)),  # empty: none
    "project create --agent": ((2, 3), ("",)),  # empty: the context's
    "project create --model": ((2,), ("",)),  # empty: the agent's own choice
    "project set --agent": ((2, 3), ()),
    "project set --model": ((2, 3), ()),  # 3: there is no such project here
    "project set --description": ((2, 3), ()),
    "agent run --model": ((2, 3), ()),
    "agent run --tools": ((2, 3), ()),
    "agent run --conversation": ((2, 3), ()),
    "agent run prompt": ((2, 3), ()),
    "claude --model": ((2, 3), ()),
    "claude --tools": ((2, 3), ()),
    "claude --conversation": ((2, 3), ()),
    "schema name": ((2, 3), ()),
    **{
        f"{command} --{flag}-file": ((2, 3, 4, 6), ())
        for command, flag in (
            ("agent run", "passphrase"),
            ("checkout start", "passphrase"),
            ("claude", "passphrase"),
            ("session claude", "passphrase"),
            ("session checkin", "passphrase"),
            ("checkin", "passphrase"),
            ("credential set", "passphrase"),
            ("credential set", "from"),
            ("credential import", "passphrase"),
            ("credential test", "passphrase"),
            *((f"webhook {verb}", "passphrase") for verb in ("add", "test", "replay", "rotate")),
        )
    },
}
# parameters that take any text, each with the test that holds what becomes of it
TEXTS = {
    "project create --description": "test_a_description_is_one_line_of_text_and_runs_nothing",
    "claude prompt": "test_t_shell_1_a_prompt_reaches_the_agent_as_it_was_given",
    "shell line": "test_t_shell_1_a_line_of_sh_is_one_word_to_rdev",
    **{
        f"{command} --idempotency-key": "test_an_idempotency_key_is_kept_nowhere_and_runs_nothing"
        for command in (
            "exec",
            "shell",
            "git",
            "claude",
            "agent run",
            "project create",
            "project sync",
            "project adopt",
            "checkin",
            "session start",
            "session exec",
            "session shell",
            "session git",
            "session claude",
            "session checkin",
        )
    },
    "--log-file": "test_a_log_file_has_the_name_that_was_given_and_no_other",
}
# a form that a value must have beside its name: what is tried is put in here
FORMS = {
    "NAME=PATH": ("{}=/bin/sh", "claude={}"), "NAME.VAR=VALUE": ("claude.{}=x", "{}.A=x"), "NAME=MODEL": ("{}=m", "claude={}"),
    "NAME=TOOL,TOOL": ("{}=Read", "claude={}"), "NAME=KIND": ("{}=lines", "claude={}"), "NAME=WORD,WORD": ("{}=x",), "NAME=VAR,VAR": ("{}=A",),
}  # fmt: skip
# what stands in the arguments that are not being tried
GIVEN = {
    "stdin": "-",
    "agent": "claude",
    "shell": "bash",
    "file": "nowhere.env",
    "project": "ok",
    "command": "cmd_00000000000000000000",
    "webhook": "whk_00000000000000000000",
    "delivery": "dlv_00000000000000000000",
    "operation": "opn_00000000000000000000",
    "receipt": "rcp_00000000000000000000",
    "key": "key_00000000000000000000",
    "checkout": "chk_00000000000000000000",
    "session": "ses_00000000000000000000",
    "port": "3000",
    "branch": "main",
    "name": "local",
    "prompt": "do it",
    "line": "touch P",
    "source": "ok:x",
    "target": "ok:x",
}
TAILED = ("exec", "git")


def _leaves(command: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    below = getattr(command, "commands", None)
    for word, one in (below or {}).items():
        yield from _leaves(one, (*path, word))
    if not below:
        yield path, command


def _parameters() -> dict[str, tuple[str, tuple[str, ...]]]:
    """Every parameter that takes a value -> the word for it, and a command line with {} where it stands; the shared options once."""
    shared, found = {param.name for param in _shared()}, {}
    for path, command in [leaf for noun in TREE for leaf in _leaves(root().get_command(None, noun), (noun,))]:
        values = [param for param in command.params if not getattr(param, "is_flag", False)]
        for param in values:
            long = max(param.opts, key=len) if param.param_type_name == "option" else ""
            label = " ".join(([] if param.name in shared else [*path]) + [long or param.name])
            words = [*(("project", "list") if param.name in shared else path)]
            if param.name not in shared:
                words += ["{}" if one is param else GIVEN[one.name] for one in values if one.param_type_name == "argument"]
            words += [f"{long}={{}}"] if long else []
            words += ["--yes"] if any("--yes" in one.opts for one in command.params) and param.name not in shared else []
            words += ["--print"] if any("--print" in one.opts for one in command.params) else []
            words += ["--", "touch", "P"] if path[-1] in TAILED and param.name not in shared else []
            number = "NUMBER" if type(param.type).__name__ == "IntRange" else None
            found[label] = (number or str(param.metavar).strip("[]"), tuple(words))
    return found


PARAMETERS = _parameters()


def test_every_parameter_of_the_command_line_has_a_verdict() -> None:
    assert {label for label, (word, _) in PARAMETERS.items() if word not in VERDICTS and label not in OTHERWISE} == set(TEXTS)
    assert {"project create --from", "exec project", "command cancel command", "context set --agent-env", "--context"} <= set(PARAMETERS)
    assert set(OTHERWISE) <= set(PARAMETERS)
    for test in TEXTS.values():
        assert test in globals()


def clean_refusal(ran: "subprocess.CompletedProcess[bytes]", codes: tuple[int, ...]) -> None:
    """Check that a refusal is one: its exit code, its words, nothing on stdout, no traceback."""
    assert ran.returncode in codes, (ran.args, ran.returncode, ran.stderr)
    assert ran.stdout == b"", ran.args
    assert ran.stderr.startswith(b"error: "), ran.stderr
    assert b"Traceback" not in ran.stderr and b"rdev failed" not in ran.stderr, ran.stderr  # noqa: PT018
    assert b"\x1b" not in ran.stderr
    assert "\u202e".encode() not in ran.stderr


def nothing_made(tmp_path: Path) -> None:
    """Check that no repository, pod or file P came to be."""
    for folder in ("repos", "pods", "spool"):
        found = tmp_path / "user/state/rdev/local" / folder
        assert not found.is_dir() or not list(found.iterdir()), folder
    assert not [path for path in tmp_path.rglob("*") if path.name == "P"]


@pytest.mark.parametrize("parameter", [label for label in PARAMETERS if label not in TEXTS])
def test_t_name_1_a_hostile_name_is_refused_by_every_parameter_and_makes_nothing(parameter: str, rdev: Rdev, tmp_path: Path) -> None:
    what, words = PARAMETERS[parameter]
    codes, good = OTHERWISE.get(parameter) or (VERDICTS[what], ())
    for hostile in (text for text in WORST if text not in good):
        for form in FORMS.get(what, ("{}",)):
            clean_refusal(rdev(*(word.replace("{}", form.replace("{}", hostile)) for word in words)), codes)
    nothing_made(tmp_path)
    assert not (tmp_path / "user/config/rdev/config.yaml").exists()


def test_a_description_is_one_line_of_text_and_runs_nothing(rdev: Rdev, tmp_path: Path) -> None:
    for text in WORST:
        ran = rdev("project", "create", "ok", f"--description={text}", "--dry-run", "-o", "name")
        if text.isprintable() and text.isascii():
            assert (ran.returncode, ran.stdout) == (0, b"ok\n"), ran.stderr
        else:
            clean_refusal(ran, (2,))
    nothing_made(tmp_path)


def test_a_log_file_has_the_name_that_was_given_and_no_other(rdev: Rdev, tmp_path: Path) -> None:
    here = tmp_path / "a" / "b"
    here.mkdir(parents=True)
    for text in WORST:
        ran = rdev("project", "list", "-o", "name", f"--log-file={text}", cwd=here)
        assert (ran.returncode, ran.stdout, ran.stderr) == (0, b"", b"")
    found = {os.path.relpath(path, here) for path in tmp_path.rglob("*") if path.is_file() and "user" not in path.parts}
    assert found == {text for text in WORST if text and "/" not in text} | {"../../x"}
    for text in (".", "a\x1b]0;P\x07\n" + "/" * 3 + "x", "link"):
        (here / "link").unlink(missing_ok=True)
        (here / "link").symlink_to(tmp_path / "P")
        ran = rdev("project", "list", f"--log-file={text}", cwd=here)
        clean_refusal(ran, (2,))
    assert not (tmp_path / "P").exists()


def test_t_shell_1_a_prompt_reaches_the_agent_as_it_was_given(rdev: Rdev, tmp_path: Path) -> None:
    agent = tmp_path / "claude"
    agent.write_text(f"""#!/bin/sh
cat >{tmp_path}/prompt
""")
    agent.chmod(0o755)
    assert rdev("context", "set", "local", "--isolation", "none", "--agent-path", f"claude={agent}").returncode == 0
    assert rdev("project", "create", "shop").returncode == 0
    for text in [*(text for text in WORST if text), "-rf", "--model", "'\"\\%s"]:
        rdev("claude", "shop", "--no-commit", "--", f"say {text}")
        assert (tmp_path / "prompt").read_bytes() == f"say {text}".encode("utf-8", "replace")
    assert not [path for path in tmp_path.rglob("*") if path.name == "P"]


def test_t_name_1_only_the_one_rule_makes_a_project(rdev: Rdev, tmp_path: Path) -> None:
    for hostile in NAMES:
        clean_refusal(rdev("project", "create", hostile, "--dry-run"), (2,))
    for hostile in ("-a", "-rf", "--", "--help-me"):
        assert rdev("project", "create", hostile).returncode == 2
        clean_refusal(rdev("project", "create", "--", hostile), (2,))
    nothing_made(tmp_path)
    for plain in PLAIN:
        assert rdev("project", "create", plain, "--dry-run", "-o", "name").stdout == f"{plain}\n".encode()


@pytest.mark.parametrize("variable", ["RDEV_PROJECT", "RDEV_CONTEXT", "RDEV_OUTPUT", "RDEV_ISOLATION"])
def test_t_name_1_a_hostile_name_in_the_environment_is_refused(variable: str, rdev: Rdev, tmp_path: Path) -> None:
    for hostile in [text for text in WORST if text]:
        ran = (
            rdev("project", "create", "ok", env={variable: hostile})
            if variable != "RDEV_PROJECT"
            else rdev("project", "show", env={variable: hostile})
        )
        clean_refusal(ran, (2, 3))
    nothing_made(tmp_path)


@pytest.mark.parametrize("key", ["project", "context"])
def test_t_name_1_a_hostile_name_in_a_folders_file_is_refused(key: str, rdev: Rdev, tmp_path: Path) -> None:
    for hostile in ("..", "A", "a\n\x1b[31m\u202e", "$(touch P)", "-rf", ""):
        (tmp_path / ".rdev.yaml").write_text(f"{key}: {json.dumps(hostile)}\n")
        clean_refusal(rdev("exec", "--", "touch", "P"), (125,))
        clean_refusal(rdev("project", "status"), (2,))
    nothing_made(tmp_path)


def test_t_name_1_a_nul_is_no_part_of_a_name_a_source_or_an_argument() -> None:
    with pytest.raises(Invalid):
        name("a\0b")
    with pytest.raises(Invalid):
        ProjectSpec(name="shop", source="a\0b")
    with pytest.raises(Invalid):
        ProjectSpec(name="shop", description="a\0b")
    with pytest.raises(Invalid, match="NUL"):
        Launch(id="cmd_1", argv=("echo", "a\0b"))


@given(
    st.one_of(
        st.from_regex(r"[a-z]([-a-z0-9]{0,40}[a-z0-9])?", fullmatch=True), st.text(max_size=70), st.sampled_from([*NAMES, *PLAIN, *SHELL])
    )
)
@settings(max_examples=500, deadline=None)
def test_t_name_1_an_accepted_name_is_valid_wherever_it_is_used(text: str) -> None:
    try:
        accepted = name(text)
    except Invalid as refused:
        assert refused.code == "INVALID_NAME"  # noqa: PT017
        assert refused.hint  # noqa: PT017
        assert refused.message.isascii()  # noqa: PT017
        assert refused.message.isprintable()  # noqa: PT017
        assert not re.fullmatch(r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?", text)
        return
    assert accepted == text
    dns = r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?"  # RFC 1035 label: a Kubernetes Service's name too
    label = r"([A-Za-z0-9][-A-Za-z0-9_.]{0,61})?[A-Za-z0-9]"  # a label's value
    assert re.fullmatch(dns, text)
    assert re.fullmatch(label, text)
    pod = pod_name(text, "prj_01m821q2sg04c1vszks1")
    assert re.fullmatch(dns, pod)
    assert re.fullmatch(label, pod)
    assert len(text.encode()) <= 63  # a PostgreSQL identifier is cut there
    assert not re.search(r"\s|[~&*+@%]", text)  # Redis' ACL rules are split at blanks and begin with these
    assert not text.startswith("-")
    assert ".." not in text
    assert not text.endswith((".lock", "."))
    assert "/" not in text
    assert text not in (".", "..")
    assert text.casefold() == text  # two names never become one on a file system that ignores case


def test_t_name_1_git_takes_every_accepted_name_as_a_part_of_a_branch() -> None:
    for text in PLAIN:
        for branch in (f"rdev/{text}", f"feature/{text}", f"rdev/rescue/{text}"):
            assert (
                subprocess.run(["git", "check-ref-format", "--branch", branch], capture_output=True, check=False, timeout=10).returncode
                == 0
            )


def test_t_name_2_names_that_differ_late_share_nothing(rdev: Rdev) -> None:
    one, two = "a" * 39 + "b", "a" * 39 + "c"
    made = [json.loads(rdev("project", "create", text, "-o", "json").stdout) for text in (one, two)]
    for field in ("id", "pod", "repository"):
        assert made[0][field] != made[1][field]
    assert rdev("project", "create", one + "d").returncode == 2
    assert rdev("project", "create", one.upper()).returncode == 2


def test_t_shell_1_every_argument_arrives_as_it_was_given(rdev: Rdev, project: str, tmp_path: Path) -> None:
    ran = rdev("exec", project, "--", "printf", r"%s\0", *SHELL)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.split(b"\0")[:-1] == [text.encode("utf-8", "surrogateescape") for text in SHELL]
    shown = json.loads(rdev("command", "list", "-o", "json").stdout)["items"][0]
    kept = shown.get("argv", shown.get("argv_b64"))
    assert len(kept) == len(SHELL) + 2
    assert not [path for path in tmp_path.rglob("*") if path.name == "P"]


def test_t_shell_1_a_line_of_sh_is_one_word_to_rdev(rdev: Rdev, project: str) -> None:
    for text in ("'", '"\\', "%s $(echo no) `echo no` * -rf"):
        ran = rdev("shell", project, "cat <<'END'\n" + text + "\nEND")
        assert (ran.returncode, ran.stdout) == (0, text.encode() + b"\n")


def test_t_shell_1_a_commit_message_and_a_path_are_data(rdev: Rdev, project: str, tmp_path: Path) -> None:
    who = ("-c", "user.name=a", "-c", "user.email=a@b")
    for text in ("$(touch P)`touch P`;touch P", "-rf", "'\\%s"):
        assert rdev("exec", project, "--", "touch", "--", f"x{text}").returncode == 0
        ran = rdev("git", project, "--", *who, "commit", "--quiet", "--allow-empty", "-m", text)
        assert ran.returncode == 0, ran.stderr
        assert rdev("git", project, "--", "log", "-1", "--format=%B").stdout.strip() == text.encode()
    assert not [path for path in tmp_path.rglob("*") if path.name == "P"]


@pytest.mark.parametrize(
    "variable", ["LD_PRELOAD", "BASH_ENV", "ENV", "IFS", "PATH", "PYTHONPATH", "GIT_SSH_COMMAND", "NODE_OPTIONS", "A B", "1A", "A-B"]
)
def test_t_shell_2_settings_take_no_variable_that_decides_what_runs(variable: str, rdev: Rdev, tmp_path: Path) -> None:
    clean_refusal(rdev("context", "set", "local", f"--agent-env=claude.{variable}=x"), (2,))
    file = tmp_path / "user/config/rdev/config.yaml"
    assert not file.exists()
    file.parent.mkdir(parents=True, mode=0o700)
    file.write_text(f"contexts: {{local: {{agents: {{claude: {{env: {{'{variable}': x}}}}}}}}}}\n")
    file.chmod(0o600)
    clean_refusal(rdev("project", "list"), (2,))


def test_an_idempotency_key_is_kept_nowhere_and_runs_nothing(rdev: Rdev, project: str, tmp_path: Path) -> None:
    for hostile in WORST:
        ran = rdev("shell", f"--idempotency-key={hostile}", project, "echo fine")
        assert (ran.returncode, ran.stdout) in ((0, b"fine\n"), (2, b"")), (hostile, ran.stderr)
    assert not [path for path in tmp_path.rglob("*") if path.name == "P"]
    kept = (tmp_path / "user/state/rdev/local/state.db").read_bytes()
    rdev("shell", "--idempotency-key=a-word-that-stands-nowhere", project, "echo fine")
    assert (tmp_path / "user/state/rdev/local/state.db").read_bytes() != kept
    assert b"a-word-that-stands-nowhere" not in (tmp_path / "user/state/rdev/local/state.db").read_bytes()
