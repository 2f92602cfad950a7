"""The wheel: built here without a network, and whole."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.house.listing import ROOT, tracked


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    argv = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-index",
        "--no-build-isolation",
        "--wheel-dir",
        str(folder),
        str(ROOT),
    ]
    ran = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 0, ran.stderr
    (found,) = folder.glob("rdev-*.whl")
    return found


def test_the_wheel_holds_the_package_the_skeleton_and_the_completions_and_nothing_else(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    package = {p.relative_to(ROOT).as_posix() for p in tracked() if p.relative_to(ROOT).parts[0] == "rdev_cli"}
    data = {p.relative_to(ROOT) for p in tracked() if p.relative_to(ROOT).parts[0] in ("skeleton", "completions")}
    assert len(data) > 9
    assert {n for n in names if ".dist-info/" not in n} == package | {f"rdev_cli/_data/{p.as_posix()}" for p in data}
    assert any(n.endswith("licenses/LICENSE") for n in names)


def test_an_installed_wheel_finds_its_skeleton(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path / "installed")
    code = "from rdev_cli.adapters.shelf import PackagedShelf as S; print(*sorted(S().skeleton({'name': 'shop', 'description': ''})))"
    ran = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(tmp_path / "installed")},
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=60,
        check=True,
    )
    assert {"CLAUDE.md", "README.md", ".gitignore", "scripts/check.sh"} <= set(ran.stdout.split())


def test_an_installed_wheel_finds_its_completions(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path / "installed")
    code = "from rdev_cli.faces.cli import completion as c; print(c.__file__); print(*(c.script(shell) for shell in c.SCRIPTS), sep='', end='')"
    ran = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(tmp_path / "installed")},
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=60,
        check=True,
    )
    where, _, scripts = ran.stdout.partition("\n")
    assert where.startswith(str(tmp_path / "installed"))
    assert scripts == "".join((ROOT / "completions" / name).read_text() for name in ("rdev.bash", "_rdev", "rdev.fish", "rdev.ps1"))
