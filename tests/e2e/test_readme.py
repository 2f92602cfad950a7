"""What the README shows is what happens: every command of its tour is typed, and prints what stands below it."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SUPPORT = Path(__file__).parents[1] / "support"
README = (ROOT / "README.md").read_text()
TOUR = "".join(re.findall(r"^```console\n(.*?)^```$", README, re.DOTALL | re.MULTILINE))
ID = re.compile(r"\b[a-z]{3}_[0-9a-z]{20}\b")
# what is another one in every run: ids, commits, numbers of the journal, pods, clock times, ages and durations
CHANGING = (
    (ID, "ID"),
    (re.compile(r"\b[0-9a-f]{40}\b|\b[0-9a-f]{10}\b|^[0-9a-f]{7}\b", re.MULTILINE), "COMMIT"),
    (re.compile(r"^\d+(?=  )", re.MULTILINE), "SEQ"),
    (re.compile(r"\b(rdev-[a-z]+)-[0-9a-z]{8}\b"), r"\1-POD"),
    (re.compile(r"\b\d\d:\d\d:\d\d\b"), "TIME"),
    (re.compile(r"\bnow\b|\b\d+(\.\d)?s ago\b"), "AGE"),
    (re.compile(r"\bin \d+\.\ds\b"), "in SECONDS"),
    (re.compile(r"\(\d+\.\ds\)"), "(SECONDS)"),
    (re.compile(r"\bduration_ms=\d+"), "duration_ms=N"),
    (re.compile(r" {2,}"), "  "),  # a column is as wide as its widest cell, which may be on a line that is not shown
)


def same(text: str) -> str:
    """Return a text without what is another one in every run."""
    for changing, fixed in CHANGING:
        text = changing.sub(fixed, text)
    return text


def transcript() -> list[tuple[str, str]]:
    """Return (what is typed, what it prints) for each `$` of the tour."""
    parts = re.split(r"^\$ (.*)\n", TOUR, flags=re.MULTILINE)
    assert parts[0] == ""
    return list(zip(parts[1::2], parts[2::2], strict=True))


def test_every_command_of_the_tour_prints_what_the_readme_says(home, tmp_path):
    user = home["HOME"]
    # the folders that a user has, a key, an agent that says the same every time, and the vault that needs no desktop
    env = {k: v for k, v in home.items() if not k.startswith("XDG_")} | {"KEY": "k", "GIT_CONFIG_NOSYSTEM": "1"}
    env["PATH"] = f"{Path(sys.executable).parent}:{home['PATH']}"

    def sh(line: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            ["sh", "-c", line], env=env, cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, timeout=120, check=False,
        )  # fmt: skip

    for line in (
        "git config --global user.name you && git config --global user.email you@localhost",
        "git init -q -b main ~/src/lib && cd ~/src/lib && echo x >x && git add x && git commit -qm x",
        f"rdev context set local --agent-path claude='{SUPPORT / 'tour'}' --vault file",
    ):
        assert sh(line).returncode == 0, line
    ids, code = {}, 0
    for typed, shown in transcript():
        for written, real in ids.items():
            typed = typed.replace(written, real)
        ran = sh(f"(exit {code}); {typed}")
        printed = ran.stdout.replace(user, "/home/you")
        assert same(printed) == same(shown), typed
        ids |= dict(zip(ID.findall(shown), ID.findall(printed), strict=True))
        code = ran.returncode
    assert not sh("rdev ps -o name").stdout


def test_every_block_of_the_readme_that_shows_a_prompt_is_in_the_tour():
    shown = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
    assert [kind for kind, text in shown if re.search(r"^\$ ", text, re.MULTILINE)] == ["console"] * README.count("```console\n")
    assert len(transcript()) >= 15
    assert len({words.split()[1] for words, _ in transcript() if words.startswith("rdev ")}) >= 9
