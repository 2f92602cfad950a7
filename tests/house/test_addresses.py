"""What does not belong into the repository: hosts of package registries, and paths of one machine."""

import re

from tests.house.listing import ROOT, tracked

# in two parts, so that this file does not hold what it looks for
REGISTRIES = tuple(
    "".join(parts)
    for parts in (
        ("pypi.", "org"), ("pythonhosted.", "org"), ("registry.", "npmjs"), ("npmjs.", "com"), ("crates.", "io"), ("proxy.golang.", "org"),
        ("sum.golang.", "org"), ("repo1.", "maven"), ("repo.maven.", "apache"), ("deb.", "debian"), ("security.", "debian"), ("rubygems.", "org"),
    )
)  # fmt: skip
MACHINE = re.compile("/" + r"(work/(main|shared)|root/|home/(?!rdev\b|user\b|me\b|you\b|ada\b)[a-z]+/|opt/wheels|tmp/hw)")


def _texts() -> list[tuple[str, str]]:
    found = []
    for path in tracked():
        try:
            found.append((path.relative_to(ROOT).as_posix(), path.read_text()))
        except UnicodeDecodeError:
            continue
    return found


def test_no_file_names_a_host_of_a_package_registry() -> None:
    hits = [(name, host) for name, text in _texts() for host in REGISTRIES if host in text]
    assert not hits


def test_no_file_names_a_path_of_one_machine() -> None:
    hits = [(name, text.count("\n", 0, hit.start()) + 1, hit[0]) for name, text in _texts() for hit in MACHINE.finditer(text)]
    assert not hits
