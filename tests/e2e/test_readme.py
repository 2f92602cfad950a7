"""What the README shows is what happens: its tour line by line, and the output that it prints."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SUPPORT = Path(__file__).parents[1] / "support"
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```(sh)?\n(.*?)```", README, re.DOTALL)
# lines of the tour that are not typed here, each with its reason
ELSEWHERE = {
    "go test": "needs a Go project; any argv is the same to rdev",
    "--agent opencode": "the real one runs in tests/e2e/test_real_agent.py",
    "credential set": "asks on a terminal; tests/e2e/test_credentials.py",
    "events --follow": "does not end; tests/e2e/test_hand.py",
}


def _sh(home, folder: Path, line: str) -> "subprocess.CompletedProcess[str]":
    path = f"{Path(sys.executable).parent}:{home['PATH']}"
    return subprocess.run(
        ["sh", "-c", line], env={**home, "PATH": path}, cwd=folder, capture_output=True, text=True, timeout=120, check=False,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip


def test_the_tour_of_the_readme_runs_as_it_stands(rdev, home, tmp_path):
    assert rdev("context", "set", "local", "--agent-path", f"claude={SUPPORT / 'claude'}").returncode == 0
    library = Path(home["HOME"]) / "src" / "lib"
    made = (
        f"git init -q -b main {library} && cd {library} && echo x >x && git add x && "
        "git -c user.name=u -c user.email=u@x commit -qm x"
    )  # fmt: skip
    assert _sh(home, tmp_path, made).returncode == 0
    (tour,) = [text for _, text in BLOCKS if text.startswith("rdev project create shop")]
    lines = [line.partition("   #")[0].strip() for line in tour.splitlines()]
    unused = set(ELSEWHERE)
    for line in lines:
        reason = next((part for part in ELSEWHERE if part in line), "")
        if reason:
            unused.discard(reason)
            continue
        ran = _sh(home, tmp_path, f"{line} --yes" if "delete" in line else line)
        assert ran.returncode in ((0, 9) if "doctor" in line else (0,)), (line, ran.stdout, ran.stderr)
    assert not unused
    assert len(lines) > 10


def _transcript(text: str) -> list[tuple[str, str]]:
    """Return (what is typed, what it prints) for each `$` of a block."""
    parts = re.split(r"^\$ (.*)\n", text, flags=re.MULTILINE)[1:]
    return list(zip(parts[::2], parts[1::2], strict=True))


def test_the_output_that_the_readme_prints_is_what_is_printed(home, project, tmp_path):
    blocks = [text for _, text in BLOCKS if text.startswith("$ ")]
    assert len(blocks) == 2
    for block in blocks:
        typed, ids = _transcript(block), {}
        script = "\n".join(f"{line}\ncode=$?; echo '--'; (exit $code)" for line, _ in typed)
        for shown in dict.fromkeys(re.findall(r"cmd_[0-9a-z]{20}", block)):
            script = script.replace(shown, '"$id"')
            ids[shown] = True
        script = re.sub(r"^(rdev exec --no-wait .*)$", r"id=$(\1); echo $id", script, flags=re.MULTILINE)
        ran = _sh(home, tmp_path, f"exec 2>&1\n{script}")
        printed = re.sub(r"cmd_[0-9a-z]{20}", "cmd_X", ran.stdout).split("--\n")[:-1]
        assert printed == [re.sub(r"cmd_[0-9a-z]{20}", "cmd_X", out) for _, out in typed]


def test_the_part_of_the_demo_that_the_readme_shows_is_what_it_prints(rdev):
    (shown,) = [text for _, text in BLOCKS if text.startswith("2  Let a coding agent")]
    printed = re.sub(r"demo-[0-9a-f]{4}", "demo-X", rdev("demo", "--agent", "bundled").stdout.decode())
    assert re.sub(r"demo-[0-9a-f]{4}", "demo-X", shown).strip() in printed
