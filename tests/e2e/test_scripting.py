"""docs/scripting.md: each block of shell, typed one after the other, prints what stands below it."""

import re
import subprocess
import sys
from pathlib import Path

PAGE = (Path(__file__).parents[2] / "docs" / "scripting.md").read_text()
PAIRS = re.findall(r"```sh\n(.*?)```\n\n```\n(.*?)```", PAGE, re.DOTALL)


def test_every_block_of_shell_has_its_output_below_it():
    assert len(PAIRS) == PAGE.count("```sh\n") >= 7


def test_every_block_prints_what_the_page_says(home, tmp_path):
    env = {**home, "PATH": f"{Path(sys.executable).parent}:{home['PATH']}"}
    for typed, shown in PAIRS:
        ran = subprocess.run(
            ["sh", "-c", typed], env=env, cwd=tmp_path, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False
        )
        assert (ran.returncode, ran.stdout) == (0, shown), (typed, ran.stderr)
