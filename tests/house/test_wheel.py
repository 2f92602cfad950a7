"""The wheel and the source archive: built here without a network, whole, and of no need of the checkout once installed."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.house.listing import ROOT, tracked

FOLDERS = ("skeleton", "cookbooks", "completions", "deploy")  # what ships beside the package, as far as it is there
# Writes down every file and folder that an interpreter opens below RDEV_TEST_ROOT.
_WATCH = """
import os, sys
root, log = os.environ.get("RDEV_TEST_ROOT"), os.environ.get("RDEV_TEST_LOG")
if root and log:
    def note(event, args):
        if event in ("open", "os.listdir", "os.scandir") and isinstance(args[0], (str, bytes)):
            path = os.path.abspath(os.fsdecode(args[0]))
            if path == root or path.startswith(root + "/"):
                fd = os.open(log, os.O_WRONLY | os.O_APPEND)
                os.write(fd, (path + "\\n").encode())
                os.close(fd)
    sys.addaudithook(note)
"""


def run(*argv: str, **more: object) -> "subprocess.CompletedProcess[str]":
    ran = subprocess.run(argv, **{"capture_output": True, "text": True, "timeout": 120, "check": False, **more})
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran


def built(source: Path, folder: Path) -> Path:
    """Build the wheel of a source tree into a folder."""
    pip = (sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index", "--no-build-isolation")
    run(*pip, "--wheel-dir", str(folder), str(source))
    (found,) = folder.glob("rdev-*.whl")
    return found


def files(wheel: Path) -> set[str]:
    return {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}


def pages(of: Path) -> set[str]:
    """What an installed wheel has for `man`."""
    return {name.partition(".data/data/")[2] for name in files(of) if ".data/data/" in name}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(ROOT, tmp_path_factory.mktemp("wheel"))


def test_the_wheel_holds_the_package_and_what_ships_beside_it_and_nothing_else(wheel: Path) -> None:
    paths = [p.relative_to(ROOT) for p in tracked()]
    package = {p.as_posix() for p in paths if p.parts[0] == "rdev_cli"}
    beside = {f"rdev_cli/_data/{p.as_posix()}" for p in paths if p.parts[0] in FOLDERS}
    assert sum("/skeleton/" in name for name in beside) > 5
    assert sum(name.startswith("rdev_cli/_data/schemas/") for name in package) > 15
    man = {f"share/man/man1/{p.name}" for p in paths if p.parts[:2] == ("docs", "man")}
    assert {"share/man/man1/rdev.1", "share/man/man1/rdev-exec.1"} < man
    assert pages(wheel) == man
    assert {name for name in files(wheel) if ".data/" not in name} == package | beside
    assert any(n.endswith("licenses/LICENSE") for n in zipfile.ZipFile(wheel).namelist())


def test_the_source_archive_is_the_checkout_and_makes_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    run(sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", str(tmp_path), cwd=ROOT)
    (archive,) = tmp_path.glob("rdev-*.tar.gz")
    with tarfile.open(archive) as tar:
        tar.extractall(tmp_path / "source", filter="data")
    (source,) = (tmp_path / "source").iterdir()
    assert {"pyproject.toml", "hatch_build.py", "LICENSE", "README.md"} <= {p.name for p in source.iterdir()}
    assert files(built(source, tmp_path)) == files(wheel)


def test_folders_that_ship_beside_the_package_are_taken_when_they_are_there_and_not_missed(tmp_path: Path) -> None:
    source = tmp_path / "source"
    for path in tracked():
        name = path.relative_to(ROOT)
        if name.parts[0] in ("rdev_cli", "pyproject.toml", "hatch_build.py", "LICENSE", "README.md"):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, source / name)
    beside = [f"rdev_cli/_data/{folder}/" for folder in FOLDERS]
    bare = built(source, tmp_path / "bare")
    assert not pages(bare)
    assert not [name for name in files(bare) if name.startswith(tuple(beside))]
    for folder in ("cookbooks/go", "completions"):
        (source / folder).mkdir(parents=True)
        (source / folder / "one.txt").write_text("one")
    found = [name for name in files(built(source, tmp_path / "full")) if name.startswith(tuple(beside))]
    assert sorted(found) == ["rdev_cli/_data/completions/one.txt", "rdev_cli/_data/cookbooks/go/one.txt"]


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment, outside of the checkout, with the wheel in it and the libraries of this one behind it."""
    place = tmp_path_factory.mktemp("installed") / "venv"
    run(sys.executable, "-m", "venv", "--without-pip", str(place))
    python = place / "bin" / "python"
    run(sys.executable, "-m", "pip", "--quiet", "--python", str(python), "install", "--no-index", "--no-deps", str(wheel))
    own = Path(run(str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").stdout.strip())
    # libraries only: a .pth file inside a folder that was added like this, such as the checkout's own, is not read
    (own / "libraries.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    (own / "sitecustomize.py").write_text(_WATCH)
    return place / "bin" / "rdev"


@pytest.mark.parametrize(
    "typed", [("version", "-o", "json"), ("schema", "project"), ("demo",), ("demo", "--agent", "bundled", "--isolation", "none"), ("uninstall", "--yes")]
)  # fmt: skip
def test_an_installed_wheel_works_and_reads_nothing_of_the_checkout(
    typed: tuple[str, ...], installed: Path, home: Mapping[str, str], tmp_path: Path
) -> None:
    log = tmp_path / "opened"
    log.touch()
    ran = run(str(installed), *typed, env={**home, "RDEV_TEST_ROOT": str(ROOT), "RDEV_TEST_LOG": str(log)}, cwd=tmp_path)
    if typed[0] == "version":
        assert json.loads(ran.stdout)["version"] == installed_version()
    if typed[0] == "demo":
        assert "gone: record, repository, pod" in ran.stdout
        assert "health.html" in ran.stdout
    behind = f"{sysconfig.get_path('purelib')}"
    opened = {path for path in log.read_text().splitlines() if not path.startswith(behind)}
    assert not opened


def test_an_installed_wheel_has_its_man_pages_beside_its_program(installed: Path) -> None:
    found = (installed.parents[1] / "share" / "man" / "man1").iterdir()
    assert {p.name: p.read_text() for p in found} == {p.name: p.read_text() for p in (ROOT / "docs" / "man").iterdir()}


def test_the_watch_sees_what_is_opened(installed: Path, home: Mapping[str, str], tmp_path: Path) -> None:
    log = tmp_path / "opened"
    log.touch()
    env = {**home, "RDEV_TEST_ROOT": str(ROOT), "RDEV_TEST_LOG": str(log)}
    run(str(installed.with_name("python")), "-c", f"open({str(ROOT / 'LICENSE')!r})", env=env, cwd=tmp_path)
    assert log.read_text() == f"{ROOT / 'LICENSE'}\n"


def installed_version() -> str:
    from rdev_cli import __version__

    return __version__


def test_an_unpacked_wheel_finds_its_skeleton(wheel: Path, tmp_path: Path) -> None:
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
