"""Completion in the real shells, typed into a terminal. A shell that is not there is a failure: .ci/run installs them."""

import fcntl
import json
import os
import pty
import select
import shutil
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests.conftest import Rdev

pytestmark = pytest.mark.toolchain

PATIENCE = 60.0
PROBE = "\x07"  # Ctrl-G writes down what stands on the line
SHELLS = {
    "bash": (
        ("--noprofile", "--rcfile", "{rc}", "-i"),
        "source <(rdev completion bash)\nbind -x '\"\\C-g\": printf %s \"$READLINE_LINE\" >part && mv part line'\nPS1='ready> '\n",
    ),
    "zsh": (
        ("-i",),
        (
            "autoload -Uz compinit && compinit -u -D\nbindkey -e\nsource <(rdev completion zsh)\n"
            "probe() { print -rn -- \"$BUFFER\" >part && mv part line }\nzle -N probe\nbindkey '^G' probe\nPS1='ready> '\n"
        ),
    ),
    "fish": (
        ("--init-command", "source {rc}", "--interactive"),
        (
            "rdev completion fish | source\nset -g fish_greeting\nfunction fish_prompt; printf 'ready> '; end\n"
            "function probe; commandline >part; and mv part line; end\n"
            "function fish_user_key_bindings; bind \\cg probe; end\n"
        ),
    ),
}


class Shell:
    """A shell at a terminal."""

    def __init__(self, name: str, env: Mapping[str, str], cwd: Path) -> None:
        program = shutil.which(name)
        assert program, f"{name} is not installed: apt-get install {name}"
        words, settings = SHELLS[name]
        rc = cwd / (".zshrc" if name == "zsh" else "rc")
        rc.write_text(settings)
        self.cwd, self.seen = cwd, ""
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 200, 0, 0))
        self.process = subprocess.Popen(
            [program, *(word.format(rc=rc) for word in words)], stdin=slave, stdout=slave, stderr=slave, start_new_session=True, cwd=cwd,
            env={**env, "ZDOTDIR": str(cwd), "SHELL": program}, preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )  # fmt: skip
        os.close(slave)
        self.until(lambda: "ready> " in self.seen, "its prompt")

    def until(self, true: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + PATIENCE
        while not true():
            assert time.monotonic() < end, f"never {what}: {self.seen!r}"
            if select.select([self.master], [], [], 0.02)[0]:
                self.seen += os.read(self.master, 1 << 16).decode(errors="replace")

    def types(self, text: str) -> str:
        """Type a text and return the line as the shell has it then; the next one begins on an empty line."""
        found = self.cwd / "line"
        os.write(self.master, (text + PROBE).encode())
        self.until(found.exists, f"a line for {text!r}")
        line = found.read_text()
        found.unlink()
        os.write(self.master, b"\x15")
        return line.rstrip("\n")

    def shows(self, text: str, *wanted: str) -> None:
        """Type a text and wait until the screen shows all that is wanted."""
        os.write(self.master, text.encode())
        self.until(lambda: all(each in self.seen for each in wanted), f"all of {wanted}")

    def ends(self) -> None:
        self.process.kill()
        self.process.wait(10)
        os.close(self.master)


@pytest.fixture
def env(home: Mapping[str, str]) -> dict[str, str]:
    return {**home, "PATH": f"{Path(sys.executable).parent}:{home['PATH']}"}


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest, env: Mapping[str, str], tmp_path: Path) -> Iterator[Shell]:
    place = tmp_path / "here"
    place.mkdir()
    found = Shell(request.param, env, place)
    yield found
    found.ends()


def test_words_options_and_values_are_completed(shell: Shell) -> None:
    for typed, expected in (
        ("rdev pro", "rdev project "),
        ("rdev project stat", "rdev project status "),
        ("rdev exec shop --ti", "rdev exec shop --timeout "),
        ("rdev project list -o js", "rdev project list -o json"),
        ("rdev project list --output=ya", "rdev project list --output=yaml"),
        ("rdev demo --isolation bub", "rdev demo --isolation bubblewrap "),
        ("rdev demo --agent bun", "rdev demo --agent bundled "),
        ("rdev completion pow", "rdev completion powershell "),
    ):
        assert shell.types(f"{typed}\t").rstrip() == expected.rstrip()


def test_live_names_are_completed(shell: Shell, rdev: Rdev, project: str) -> None:
    assert rdev("project", "create", "other").returncode == 0
    assert rdev("exec", project, "--", "true").returncode == 0
    (command,) = json.loads(rdev("command", "list", "-o", "json").stdout)["items"]
    for typed, expected in (
        ("rdev exec sh", "rdev exec shop"),
        ("rdev command list --project=sh", "rdev command list --project=shop"),
        ("rdev command attach cmd_", f"rdev command attach {command['id']}"),
        ("rdev context use lo", "rdev context use local"),
    ):
        assert shell.types(f"{typed}\t").rstrip() == expected


def test_files_are_the_shells_own(shell: Shell) -> None:
    (shell.cwd / "notes.txt").touch()
    (shell.cwd / "source").mkdir()
    (shell.cwd / "sofa.txt").touch()
    for typed, expected in (
        ("rdev exec shop -- cat no", "rdev exec shop -- cat notes.txt"),
        ("rdev ps --log-file no", "rdev ps --log-file notes.txt"),
        ("rdev ps --log-file=no", "rdev ps --log-file=notes.txt"),
        ("rdev context set local --agent-path claude=no", "rdev context set local --agent-path claude=notes.txt"),
        ("rdev project create shop --from so", "rdev project create shop --from source/"),
        ("rdev project create shop --from=so", "rdev project create shop --from=source/"),
        ("rdev exec no", "rdev exec no"),
    ):
        assert shell.types(f"{typed}\t").rstrip() == expected


def test_foreign_text_executes_nothing(shell: Shell, rdev: Rdev) -> None:
    evil = "$(touch canary) `touch canary` %F{red} <(touch canary)"
    for name in ("shop", "shed"):
        assert rdev("project", "create", name, "--description", evil).returncode == 0
    assert shell.types("rdev exec s\t\t").startswith("rdev exec sh")
    assert shell.types("rdev exec shop --ti\t").rstrip() == "rdev exec shop --timeout"
    assert not list(shell.cwd.rglob("canary"))


@pytest.mark.parametrize("shell", ["zsh", "fish"], indirect=True)
def test_descriptions_are_shown_as_they_are(shell: Shell, rdev: Rdev) -> None:
    for name in ("shop", "shed"):
        assert rdev("project", "create", name, "--description", f"about {name} $(touch canary) %F{{red}}: x").returncode == 0
    shell.shows("rdev exec s\t\t", "about shop $(touch canary) %F{red}: x", "about shed $(touch canary) %F{red}: x")
    assert not list(shell.cwd.rglob("canary"))


@pytest.mark.parametrize("shell", ["zsh", "fish"], indirect=True)
def test_commands_and_options_are_described(shell: Shell) -> None:
    shell.shows("rdev project \t\t", "List projects by name.", "Show one project, and what agents")
