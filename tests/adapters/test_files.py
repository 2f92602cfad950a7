"""Removing a tree that somebody else filled, as root and as an ordinary user, whom closed folders do stop."""

import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from rdev_cli.adapters.shared import files
from rdev_cli.adapters.shared.files import remove_tree


@pytest.fixture
def nobody() -> Iterator[Path]:
    """An ordinary user's folder, and for the time of the test that user's rights."""
    with tempfile.TemporaryDirectory() as made:
        root = os.geteuid() == 0
        if root:
            os.chown(made, 65534, 65534)
            os.seteuid(65534)
        try:
            yield Path(made)
        finally:
            if root:
                os.seteuid(0)


def test_closed_folders_are_removed(nobody: Path) -> None:
    tree = nobody / "tree"
    for closed in ("a/none", "a/read-only", "b"):
        (tree / closed / "below").mkdir(parents=True)
        (tree / closed / "file").write_text("x")
    for closed, mode in (("a/none", 0), ("a/read-only", 0o555), ("b", 0o111), ("", 0)):
        (tree / closed).chmod(mode)
    remove_tree(tree)
    assert list(nobody.iterdir()) == []


def test_a_link_is_removed_and_what_it_leads_to_is_not_touched(nobody: Path) -> None:
    outside = nobody / "outside"
    outside.mkdir()
    (outside / "file").write_text("x")
    outside.chmod(0o500)
    (nobody / "tree/below").mkdir(parents=True)
    (nobody / "tree/below/link").symlink_to(outside)
    (nobody / "tree/dangling").symlink_to("nowhere")
    (nobody / "root").symlink_to(outside)
    for name in ("tree", "root", "nothing", "no/thing"):
        remove_tree(nobody / name)
    assert [path.name for path in nobody.iterdir()] == ["outside"]
    assert stat.S_IMODE(outside.stat().st_mode) == 0o500
    assert (outside / "file").read_text() == "x"


def test_a_folder_that_becomes_a_link_meanwhile_leads_nowhere(nobody: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outside = nobody / "outside"
    outside.mkdir(mode=0o500)
    (nobody / "tree/below").mkdir(parents=True)
    unlink = files._unlink

    def swapped(name: str, parent: int) -> bool:
        gone = unlink(name, parent)
        if name == "below":
            (nobody / "tree/below").rmdir()
            (nobody / "tree/below").symlink_to(outside)
        return gone

    monkeypatch.setattr(files, "_unlink", swapped)
    with pytest.raises(NotADirectoryError):
        remove_tree(nobody / "tree")
    assert stat.S_IMODE(outside.stat().st_mode) == 0o500


def test_no_depth_is_too_deep(nobody: Path) -> None:
    here = os.open(nobody, os.O_RDONLY)
    for _ in range(3000):  # beyond what a path, a stack and a table of descriptors hold
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    remove_tree(nobody / "d")
    assert list(nobody.iterdir()) == []
