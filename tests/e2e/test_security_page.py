"""docs/security.md: what it says is kept is there, with the modes that it names, whatever the umask."""

import re
import stat
import subprocess
import sys
from pathlib import Path

PAGE = (Path(__file__).parents[2] / "docs" / "security.md").read_text()
ROWS = re.findall(r"^\| [^|]+ \| `~/([^`]+)` \| (0[0-7]{3}) \|$", PAGE, re.MULTILINE)


def test_what_is_kept_has_the_modes_that_the_page_names(home, tmp_path):
    env = {k: v for k, v in home.items() if not k.startswith("XDG_")}
    typed = (
        "umask 022; rdev context set local --vault file && rdev project create shop && rdev exec shop -- true && "
        "echo x | rdev credential set NAME -"
    )
    path = f"{Path(sys.executable).parent}:{home['PATH']}"
    ran = subprocess.run(["sh", "-c", typed], env={**env, "PATH": path}, cwd=tmp_path, capture_output=True, timeout=120, check=False)
    assert ran.returncode == 0, ran.stderr
    assert len(ROWS) >= 10
    for where, mode in ROWS:
        pattern = re.sub(r"CONTEXT|NAME|POD|COMMAND", lambda word: {"CONTEXT": "local", "NAME": "shop"}.get(word[0], "*"), where)
        found = list(Path(home["HOME"]).glob(pattern))
        assert [f"{stat.S_IMODE(path.stat().st_mode):04o}" for path in found] == [mode], where


def test_nothing_of_what_is_kept_is_left_out_of_the_page(home, tmp_path, rdev):
    assert rdev("project", "create", "shop").returncode == 0
    assert rdev("exec", "shop", "--", "true").returncode == 0
    named = {where.split("/CONTEXT/")[1].split("/")[0] for where, _ in ROWS if "/CONTEXT/" in where}
    kept = {path.name for path in (Path(home["XDG_STATE_HOME"]) / "rdev" / "local").iterdir()}
    assert kept - named <= {"swept", "vault.lock", "state.db-wal", "state.db-shm"}, kept - named
