"""The documents: generated ones are what the code says, the picture is what is printed, and the others name things that exist."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.listing import ROOT, tracked

LINK = re.compile(r"\]\((?!https?://|mailto:)([^)\s]+)\)|^\[[^]]+\]:\s+(?!https?://)(\S+)", re.MULTILINE)
FENCED = re.compile(r"^(```|~~~).*?^\1[ ]*$|`[^`\n]*`", re.MULTILINE | re.DOTALL)
PAGES = [
    "README.md",
    "AGENTS.md",
    "SECURITY.md",
    "CHANGELOG.md",
    *(p.relative_to(ROOT).as_posix() for p in sorted((ROOT / "docs").rglob("*.md"))),
]


def test_the_generated_pages_are_what_the_code_says() -> None:
    ran = subprocess.run(
        [sys.executable, str(ROOT / "docs" / "generate.py"), "--check"], capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == 0, ran.stderr


def test_every_man_page_has_its_sections_and_no_word_of_it_is_a_request_by_accident() -> None:
    from rdev_cli.faces.cli.main import TREE

    pages = sorted((ROOT / "docs" / "man").iterdir())
    assert {p.name for p in pages} == {"rdev.1", *(f"rdev-{name}.1" for name in TREE)}
    for path in pages:
        lines = path.read_text().splitlines()
        sections = [line.removeprefix(".SH ") for line in lines if line.startswith(".SH ")]
        assert [s for s in sections if s != "ENVIRONMENT"] == ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXIT STATUS", "SEE ALSO"], (
            path.name
        )
        requests = {line.split()[0] for line in lines if line.startswith((".", "'"))}
        assert requests <= {'.\\"', ".TH", ".SH", ".SS", ".PP", ".TP", ".BR", ".RS", ".RE", ".br", ".nh", ".ad"}, path.name


def test_the_picture_of_the_demo_says_what_the_demo_prints() -> None:
    ran = subprocess.run(
        [sys.executable, str(ROOT / "docs" / "picture.py"), "--check"], capture_output=True, text=True, timeout=120, check=False
    )
    assert ran.returncode == 0, ran.stderr


def test_the_picture_loads_nothing_and_shows_no_machine() -> None:
    svg = (ROOT / "docs" / "demo.svg").read_text()
    assert set(re.findall(r"\w+://[^\s\"')]+", svg)) == {"http://www.w3.org/2000/svg"}
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", svg))
    assert not re.search(r"@import|<script|<image|href=|/(home|root|tmp|work|Users|private)/", svg)


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as Markdown hosts make them; the second of a name gets a number."""
    found: set[str] = set()
    for head in re.findall(r"^#{1,6} +(.+?) *#*$", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL), re.MULTILINE):
        base = re.sub(r"[^\w\- ]", "", re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", head).lower()).replace(" ", "-")
        found.add(next(name for n in range(99) if (name := f"{base}-{n}" if n else base) not in found))
    return found


def missing(path: Path, text: str) -> list[str]:
    """The links of a page that lead to no file of the repository, or to no heading of it."""
    gone = []
    for link in (one or other for one, other in LINK.findall(FENCED.sub("", text))):
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        there = target in tracked() or any(target in p.parents for p in tracked())
        if not there or (anchor and anchor not in anchors(text if target == path else target.read_text())):
            gone.append(link)
    return gone


@pytest.mark.parametrize("page", PAGES)
def test_a_page_links_to_what_is_there(page: str) -> None:
    assert not missing(ROOT / page, (ROOT / page).read_text())


def test_a_link_to_no_file_or_no_heading_is_found() -> None:
    text = "# One `two`, three\n[a](#one-two-three) [b](#four) [c](docs/errors.md#exit-codes) [d](docs/errors.md#five) [e](docs) [f](none.md)\n[g]: six.md\n"
    assert missing(ROOT / "README.md", text) == ["#four", "docs/errors.md#five", "none.md", "six.md"]
    assert not missing(ROOT / "README.md", "```\n[a](none.md)\n```\n`[a](none.md)` [b](https://example.org)")


def test_the_readme_names_every_page() -> None:
    text = (ROOT / "README.md").read_text()
    pages = {link for link in PAGES if link.count("/") < 2} - {"README.md"}
    assert len(pages) > 10
    assert not [page for page in sorted(pages) if f"({page})" not in text]


def test_decisions_are_numbered_without_a_gap_and_have_three_parts() -> None:
    found = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    assert [p.name[:4] for p in found] == [f"{n:04d}" for n in range(1, len(found) + 1)]
    for path in found:
        heads = re.findall(r"^## (.+)$", path.read_text(), re.MULTILINE)
        assert heads == ["Context", "Decision", "Consequences"], path.name
        assert len(path.read_text().splitlines()) <= 80, f"{path.name} is longer than a page"


def test_the_readme_shows_commands_that_there_are() -> None:
    from rdev_cli.faces.cli.main import TREE

    text = (ROOT / "README.md").read_text()
    blocks = "\n".join(re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
    typed = set(re.findall(r"^(?:\$ )?rdev ([a-z]+)", blocks, re.MULTILINE)) | set(re.findall(r"`rdev ([a-z]+)", text))
    assert typed - {"serve"} <= set(TREE), typed - set(TREE)  # serve is named as what is not there
    assert len(typed) >= 8


def test_the_tests_of_a_clone_are_one_line_that_ci_runs_too() -> None:
    line = next(line for line in (ROOT / "README.md").read_text().splitlines() if "requirements-dev.lock" in line and "venv" in line)
    assert line.endswith(".venv/bin/pytest")
    assert "README.md" in (ROOT / ".ci" / "run").read_text(), "CI takes the line from the README"
