"""The rooms: who may import whom, and what no room may do."""

import ast
import configparser
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.listing import ROOT, imported, modules, tracked, tree

OWN = {"rdev_cli"}
CORE = ("domain", "ports", "ops")


def test_the_import_contracts_hold() -> None:
    ran = subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "0 broken" in ran.stdout


@pytest.mark.parametrize("room", CORE)
def test_the_core_imports_the_standard_library_and_itself_only(room: str) -> None:
    strangers = {
        (path.relative_to(ROOT).as_posix(), name)
        for path in modules(room)
        for name in imported(path)
        if name.partition(".")[0] not in {*sys.stdlib_module_names, *OWN}
    }
    assert not strangers


def _calls(path: Path) -> set[str]:
    return {ast.unparse(node.func) for node in ast.walk(tree(path)) if isinstance(node, ast.Call)}


@pytest.mark.parametrize("room", CORE)
def test_the_core_neither_prints_nor_sleeps_nor_asks_the_environment_nor_the_clock(room: str) -> None:
    never = {"print", "input", "time.sleep", "sleep", "os.getenv", "datetime.now", "time.time"}
    found = {(path.name, call) for path in modules(room) for call in _calls(path) & never}
    found |= {(path.name, "os.environ") for path in modules(room) if "os.environ" in path.read_text()}
    assert not found


# (module, call) -> why an operation touches a file itself
FILES = {
    ("telling.py", "open"): "the spool's file is read line by line and to any length; a port's pages would be put together to lines again",
    ("workspaces.py", "TemporaryFile"): "a bundle of any size on its way from one port to another, without a name",
}
TOUCHES = {
    "open", "fdopen", "read_text", "read_bytes", "write_text", "write_bytes", "touch", "mkdir", "makedirs", "unlink", "remove", "rmdir", "rmtree",
    "rename", "replace", "iterdir", "glob", "rglob", "scandir", "listdir", "stat", "lstat", "exists", "is_file", "is_dir", "copyfile", "copy",
    "TemporaryFile", "NamedTemporaryFile", "SpooledTemporaryFile", "TemporaryDirectory", "mkstemp", "mkdtemp",
}  # fmt: skip
PURE = {"replace", "remove"}  # of a dataclass, a text, a list or a port; of files it is os.replace, os.remove


def test_the_core_touches_no_file_but_by_a_port_or_with_a_reason() -> None:
    found = set()
    for path in [path for room in CORE for path in modules(room)]:
        for call in _calls(path):
            owner, _, name = call.rpartition(".")
            if name in TOUCHES and (name not in PURE or owner in ("os", "shutil")):
                found.add((path.name, name))
        found |= {(path.name, name) for name in imported(path) if name in ("shutil", "subprocess", "socket", "glob", "mmap")}
    assert found == set(FILES)


@pytest.mark.parametrize(("contract", "key"), [("shared-below", "forbidden_modules"), ("adapters-apart", "modules")])
def test_the_contracts_name_every_adapter(contract: str, key: str) -> None:
    """A list by hand forgets a new one, and nothing would hold it."""
    config = configparser.ConfigParser()
    config.read(ROOT / ".importlinter")
    here = {p.stem for p in (ROOT / "rdev_cli/adapters").iterdir() if p.suffix == ".py" or list(p.glob("*.py"))} - {"shared", "__init__"}
    assert len(here) >= 5
    assert set(config[f"importlinter:contract:{contract}"][key].split()) == {f"rdev_cli.adapters.{name}" for name in here}


def test_command_modules_keep_their_annotations_as_objects() -> None:
    """String annotations make the parser evaluate each of them at start-up."""
    commands = [p for p in modules("faces") if "Annotated" in p.read_text()]
    assert len(commands) >= 10
    assert not [p.name for p in commands if "from __future__ import annotations" in p.read_text()]


def test_the_parser_is_reached_through_typer_only() -> None:
    assert not [p for p in modules() if any(name.partition(".")[0] in ("click", "typer._click") for name in imported(p))]


def test_every_module_says_what_it_is_for() -> None:
    paths = [p for p in tracked() if p.suffix == ".py" and p.relative_to(ROOT).parts[0] in ("rdev_cli", "bench", "docs")]
    assert len(paths) > 50
    silent = [p.relative_to(ROOT).as_posix() for p in paths if not ast.get_docstring(tree(p))]
    assert not silent


def test_every_file_of_the_package_can_be_read_in_one_sitting() -> None:
    made = ROOT / "rdev_cli/faces/cli/words.py"  # which nobody reads
    long = {p.relative_to(ROOT).as_posix(): n for p in modules() if p != made and (n := len(p.read_text().splitlines())) > 450}
    assert not long
