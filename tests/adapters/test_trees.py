"""Trees on this machine, copied to and from: whatever stands in the way, nothing outside of the target is written. T-FILE-1, 2, 3, 6."""

import errno
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from rdev_cli.adapters.local import trees
from rdev_cli.adapters.local.copies import LocalFiles
from rdev_cli.domain.errors import Conflict, Denied, Invalid, NotFound, Unavailable
from rdev_cli.domain.files import Left
from rdev_cli.ports.timing import Stop

FILES = LocalFiles(Stop())


def put(target: object, path: tuple[str, ...], data: bytes = b"x", *, executable: bool = False) -> None:
    writing = target.file(path)  # type: ignore[attr-defined]
    writing.write(data)
    writing.keep(executable=executable)


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let some of the machine's calls be others, for the module under test alone."""

    def change(**calls: object) -> None:
        monkeypatch.setattr(trees, "os", SimpleNamespace(**{**vars(os), **calls}))

    return change


def tree_of(folder: Path) -> dict[str, bytes | None]:
    """Every path below a folder -> the bytes of a file, None for anything else."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() and not path.is_symlink() else None
        for path in sorted(folder.rglob("*"))
    }


@pytest.fixture
def there(tmp_path: Path) -> Path:
    folder = tmp_path / "there"
    folder.mkdir()
    return folder


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Path]:
    """A folder that must not change."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "file").write_bytes(b"mine")
    before = tree_of(folder)
    yield folder
    assert tree_of(folder) == before


# writing


def test_a_file_is_put_in_its_place_whole_with_the_mode_0644_or_0755_whatever_the_umask(there: Path) -> None:
    before = os.umask(0o077)
    try:
        with FILES.target(str(there)) as target:
            target.begin("top", tree=True, merge=False, total=0)
            target.folder(("a",))
            put(target, ("a", "plain"), b"one")
            put(target, ("a", "run"), b"two", executable=True)
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in there.rglob("*")}
    assert modes == {"top": 0o755, "a": 0o755, "plain": 0o644, "run": 0o755}
    assert tree_of(there / "top") == {"a": None, "a/plain": b"one", "a/run": b"two"}


def test_a_file_that_is_not_kept_leaves_nothing(there: Path) -> None:
    with FILES.target(str(there)) as target:
        target.begin("top", tree=True, merge=False, total=0)
        target.file(("a",)).write(b"half")  # never kept
        writing = target.file(("b",))
        writing.write(b"half")
        writing.drop()
    assert tree_of(there) == {"top": None}


def test_what_stood_there_is_replaced_whole_and_its_other_names_keep_their_bytes(there: Path, outside: Path) -> None:
    os.link(outside / "file", there / "hard")
    with FILES.target(str(there)) as target:
        target.begin("", tree=True, merge=True, total=0)
        writing = target.file(("hard",))
        writing.write(b"new")
        assert (there / "hard").read_bytes() == b"mine"
        writing.keep(executable=False)
    assert (there / "hard").read_bytes() == b"new"


def test_what_was_written_is_made_to_last_before_it_takes_its_place(there: Path, system: Callable[..., None]) -> None:
    done: list[str] = []
    system(
        fsync=lambda fd: done.append("folder" if stat.S_ISDIR(os.fstat(fd).st_mode) else "file"),
        replace=lambda *a, **k: (done.append("replace"), os.replace(*a, **k)),
    )
    with FILES.target(str(there)) as target:
        target.begin("one", tree=False, merge=False, total=0)
        put(target, ())
    assert done == ["file", "replace", "folder"]


IN_THE_WAY: dict[str, Callable[[Path, Path], object]] = {
    "link to a file": lambda place, outside: place.symlink_to(outside / "file"),
    "link to a folder": lambda place, outside: place.symlink_to(outside),
    "link up": lambda place, _: place.symlink_to(".."),
    "dangling link": lambda place, outside: place.symlink_to(outside / "nothing"),
    "link to itself": lambda place, _: place.symlink_to(place.name),
    "folder": lambda place, _: place.mkdir(),
    "fifo": lambda place, _: os.mkfifo(place),
}


@pytest.mark.parametrize("kind", IN_THE_WAY)
def test_t_file_2_only_a_regular_file_is_replaced(kind: str, there: Path, outside: Path) -> None:
    IN_THE_WAY[kind](there / "a", outside)
    before = os.lstat(there / "a")
    with FILES.target(str(there)) as target:
        target.begin("", tree=True, merge=True, total=0)
        with pytest.raises(Conflict):
            put(target, ("a",))
        put(target, ("b",))
    now = os.lstat(there / "a")
    assert (now.st_ino, now.st_mode) == (before.st_ino, before.st_mode)
    assert sorted(os.listdir(there)) == ["a", "b"]


@pytest.mark.parametrize("kind", [kind for kind in IN_THE_WAY if kind != "folder"])
def test_t_file_2_only_a_real_folder_is_gone_into(kind: str, there: Path, outside: Path) -> None:
    IN_THE_WAY[kind](there / "a", outside)
    with FILES.target(str(there)) as target:
        target.begin("", tree=True, merge=True, total=0)
        with pytest.raises(Conflict):
            target.folder(("a",))
        with pytest.raises(Conflict):
            put(target, ("a", "file"))
        with pytest.raises(Conflict):
            target.folder(("a", "b"))
    assert os.listdir(there) == ["a"]


@pytest.mark.parametrize("kind", IN_THE_WAY)
def test_t_file_6_what_stands_in_the_place_of_the_top_is_said_before_anything_is_written(kind: str, there: Path, outside: Path) -> None:
    IN_THE_WAY[kind](there / "a", outside)
    with FILES.target(str(there)) as target, pytest.raises(Conflict):
        target.begin("a", tree=kind != "folder", merge=True, total=0)
    assert os.listdir(there) == ["a"]


def test_a_folder_that_was_named_may_be_a_link_as_its_user_knows_where_it_leads(tmp_path: Path, there: Path) -> None:
    (tmp_path / "link").symlink_to(there)
    with FILES.target(str(tmp_path / "link")) as target:
        target.begin("one", tree=False, merge=False, total=0)
        put(target, ())
    assert tree_of(there) == {"one": b"x"}


@pytest.mark.parametrize("name", ["n" * 256, "n" * 5000, "é" * 128])
def test_t_file_1_a_name_that_is_too_long_is_said_before_its_bytes_come(name: str, there: Path) -> None:
    with FILES.target(str(there)) as target:
        target.begin("", tree=True, merge=True, total=0)
        with pytest.raises(Invalid):
            target.file((name,))
        with pytest.raises(Invalid):
            target.folder((name,))
    assert os.listdir(there) == []


def test_t_file_1_any_other_name_is_only_a_name(there: Path, outside: Path) -> None:
    names = [
        "-rf",
        "~",
        "a\nb",
        "*",
        "$(touch P)",
        "\\",
        "\x1b[2J",
        os.fsdecode(b"\xff\xfe"),
        "e\u0301",
        "\u00e9",
        "A",
        "a",
        "n" * 255,
        "...",
    ]
    with FILES.target(str(there)) as target:
        target.begin("", tree=True, merge=True, total=0)
        for name in names:
            put(target, (name,), os.fsencode(name))
    assert {name: (there / name).read_bytes() for name in os.listdir(there)} == {name: os.fsencode(name) for name in names}


def test_t_file_1_a_twin_that_the_disk_takes_for_the_same_name_does_not_replace_the_first(there: Path, system: Callable[..., None]) -> None:
    # a disk that does not tell A from a
    system(stat=lambda name, **k: os.stat(name.lower(), **k), replace=lambda part, name, **k: os.replace(part, name.lower(), **k))
    with FILES.target(str(there)) as target:
        target.begin("", tree=True, merge=True, total=0)
        put(target, ("A",), b"first")
        with pytest.raises(Conflict):
            put(target, ("a",), b"second")
    assert tree_of(there) == {"a": b"first"}


def test_a_path_of_any_depth_is_reached_name_by_name(there: Path) -> None:
    path: tuple[str, ...] = ()
    with FILES.target(str(there)) as target:
        target.begin("", tree=True, merge=True, total=0)
        for _ in range(60):
            path = (*path, "d" * 200)
            target.folder(path)
        put(target, (*path, "file"))
    assert len("/".join(path)) > os.pathconf("/", "PC_PATH_MAX")
    with FILES.source(str(there)) as source:
        found = list(source.walk())
        assert found[-1].path == (*path, "file")
        with source.read(found[-1]) as file:
            assert file.read(10) == b"x"
    subprocess.run(["rm", "-rf", str(there)], check=True)


SWAPPER = """
import os, sys
os.chdir(sys.argv[1])
print("on", flush=True)
while True:
    try:
        os.rename("a", "kept")
        os.symlink(sys.argv[2], "a")
        os.unlink("a")
        os.rename("kept", "a")
    except FileExistsError:
        pass
"""


def test_t_file_3_a_folder_that_is_swapped_for_a_link_between_check_and_write_leads_nowhere(there: Path, outside: Path) -> None:
    (there / "a").mkdir()
    swapper = subprocess.Popen([sys.executable, "-c", SWAPPER, str(there), str(outside)], stdout=subprocess.PIPE)
    written = refused = 0
    try:
        assert swapper.stdout is not None
        assert swapper.stdout.readline() == b"on\n"
        for number in range(10_000):
            with FILES.target(str(there)) as target:
                target.begin("", tree=True, merge=True, total=0)
                try:
                    if number % 3:
                        put(target, ("a", "file"))
                    else:
                        target.folder(("a", "below"))
                    written += 1
                except Conflict:
                    refused += 1
    finally:
        swapper.send_signal(signal.SIGKILL)
        swapper.wait(10)
        assert swapper.stdout is not None
        swapper.stdout.close()
    assert written + refused == 10_000
    assert written > 100
    assert refused > 100


def test_t_file_3_a_file_that_is_swapped_for_a_link_while_it_is_written_is_not_followed(there: Path, outside: Path) -> None:
    with FILES.target(str(there)) as target:
        target.begin("", tree=True, merge=True, total=0)
        writing = target.file(("a",))
        (there / "a").symlink_to(outside / "file")
        writing.write(b"new")
        with pytest.raises(Conflict):
            writing.keep(executable=True)
    assert os.readlink(there / "a") == str(outside / "file")


# what is refused before anything is written


def test_t_file_6_a_folder_of_another_user_is_refused(there: Path, system: Callable[..., None]) -> None:
    if os.stat(there).st_uid == 0:  # what is root's is nobody's who could be distrusted
        os.chown(there, 1000, 1000)
    system(geteuid=lambda: 2000)
    with pytest.raises(Denied, match="another user"), FILES.target(str(there)):
        pass


def test_t_file_6_a_disk_that_is_full_or_read_only_or_too_small_is_refused(there: Path, system: Callable[..., None]) -> None:
    def disk(**changes: int) -> None:
        def fake(fd: int) -> os.statvfs_result:
            found = list(os.fstatvfs(fd))
            for name, value in changes.items():
                found[
                    ["f_bsize", "f_frsize", "f_blocks", "f_bfree", "f_bavail", "f_files", "f_ffree", "f_favail", "f_flag"].index(name)
                ] = value
            return os.statvfs_result(found)

        system(fstatvfs=fake)

    for changes, error in (
        ({"f_bfree": 0, "f_bavail": 0}, Unavailable),
        ({"f_files": 10, "f_ffree": 0}, Unavailable),
        ({"f_flag": os.ST_RDONLY}, Denied),
    ):
        disk(**changes)
        with pytest.raises(error), FILES.target(str(there)):
            pass
    disk(f_bfree=1, f_bavail=1)
    with FILES.target(str(there)) as target, pytest.raises(Unavailable, match="do not fit"):
        target.begin("top", tree=True, merge=False, total=1 << 30)
    assert os.listdir(there) == []


def test_t_file_6_a_folder_that_cannot_be_written_in_is_refused(there: Path, system: Callable[..., None]) -> None:
    if os.geteuid() == 0:  # root may write anywhere
        system(access=lambda *_, **__: False)
    else:
        there.chmod(0o500)
    with pytest.raises(Denied, match="no right"), FILES.target(str(there)):
        pass
    there.chmod(0o700)


def test_t_file_6_a_folder_that_is_not_empty_is_left_alone_unless_it_shall_be_merged(there: Path) -> None:
    (there / "top").mkdir()
    (there / "top" / "mine").write_bytes(b"mine")
    for name in ("top", ""):
        with FILES.target(str(there)) as target, pytest.raises(Conflict, match="not empty"):
            target.begin(name, tree=True, merge=False, total=0)
    with FILES.target(str(there)) as target:
        target.begin("top", tree=True, merge=True, total=0)
        put(target, ("new",))
    assert tree_of(there) == {"top": None, "top/mine": b"mine", "top/new": b"x"}


def test_t_file_6_a_folder_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(NotFound), FILES.target(str(tmp_path / "no" / "file")):
        pass
    with FILES.target(str(tmp_path / "no") + "/") as target, pytest.raises(NotFound):
        target.begin("file", tree=False, merge=False, total=0)
    assert os.listdir(tmp_path) == []


def test_t_file_6_a_disk_that_fills_up_meanwhile_is_said_and_leaves_no_half_file(there: Path, system: Callable[..., None]) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with FILES.target(str(there)) as target:
        target.begin("", tree=True, merge=True, total=0)
        put(target, ("whole",))
        writing = target.file(("half",))
        system(write=full)
        with pytest.raises(Unavailable, match="No space"):
            writing.write(b"x")
    assert tree_of(there) == {"whole": b"x"}


@pytest.mark.parametrize("path", [".git", ".git/hooks", "sub/.GIT/x", "git~1"])
def test_what_belongs_to_git_is_neither_source_nor_target(path: str, there: Path) -> None:
    (there / path).mkdir(parents=True)
    with pytest.raises(Invalid, match="belongs to git"), FILES.target(str(there / path)):
        pass
    with pytest.raises(Invalid, match="belongs to git"), FILES.source(str(there / path)):
        pass
    with FILES.target(str(there)) as target, pytest.raises(Invalid):
        target.begin(".git", tree=True, merge=True, total=0)


# reading


def test_t_file_2_only_files_and_folders_are_read_and_all_else_is_named(there: Path, outside: Path) -> None:
    (there / "a").mkdir()
    (there / "a" / "file").write_bytes(b"abc")
    os.link(there / "a" / "file", there / "hard")
    (there / "run").write_bytes(b"")
    (there / "run").chmod(0o4755)
    (there / "link").symlink_to(outside / "file")
    (there / "up").symlink_to("..")
    (there / "dangling").symlink_to("nothing")
    (there / ".git").mkdir()
    (there / ".git" / "config").write_bytes(b"")
    os.mkfifo(there / "fifo")
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(there / "socket"))
        with FILES.source(str(there)) as source:
            found = {"/".join(e.path): ("folder" if e.folder else e.left or (e.size, e.executable)) for e in source.walk()}
            assert (source.name, source.tree) == ("there", True)
    assert found == {
        "a": "folder", "a/file": (3, False), "hard": (3, False), "run": (0, True), "link": Left.LINK, "up": Left.LINK,
        "dangling": Left.LINK, "fifo": Left.SPECIAL, "socket": Left.SPECIAL, ".git": Left.GIT,
    }  # fmt: skip


def test_t_file_2_a_file_that_becomes_a_link_or_a_fifo_before_it_is_read_is_not_followed(there: Path, outside: Path) -> None:
    (there / "a").mkdir()
    for name in ("link", "fifo", "a/below"):
        (there / name).write_bytes(b"x")
    with FILES.source(str(there)) as source:
        entries = {"/".join(e.path): e for e in source.walk()}
        for name in ("link", "fifo"):
            (there / name).unlink()
        (there / "link").symlink_to(outside / "file")
        os.mkfifo(there / "fifo")
        (there / "a").rename(there / "b")
        (there / "a").symlink_to(outside)
        for name in ("link", "fifo", "a/below"):
            with pytest.raises(Conflict), source.read(entries[name]):
                pass


@pytest.mark.parametrize(
    ("typed", "name"), [("there", "there"), ("there/", "there"), ("there/.", ""), (".", ""), ("there/../there", "there")]
)
def test_a_source_has_its_own_name_and_what_is_in_a_folder_has_none(
    typed: str, name: str, there: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(there.parent)
    with FILES.source(typed) as source:
        assert source.name == name
    monkeypatch.chdir(there)
    with FILES.source("..") as source:
        assert source.name == there.parent.name


def test_what_is_neither_file_nor_folder_is_no_source(there: Path) -> None:
    os.mkfifo(there / "fifo")
    for path, error in ((there / "nothing", NotFound), (there / "fifo", Invalid), (Path("/dev/null"), Invalid)):
        with pytest.raises(error), FILES.source(str(path)):
            pass
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(there / "socket"))
        with pytest.raises(Invalid), FILES.source(str(there / "socket")):
            pass
