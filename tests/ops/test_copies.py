"""Copies through a pod's shell: every byte and every name arrives under any shell and few tools, and a pod that lies gets nowhere.

T-FILE-1, 2; a copy that is cut off is no copy.
"""

import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rdev_cli.adapters.local.sources import TreeSource
from rdev_cli.domain.errors import Cancelled, Conflict, Denied, Failed, Invalid, NotFound, Partial, RdevError, TimedOut, Unavailable
from rdev_cli.domain.files import MOST_BYTES, MOST_FILES, CopySpec, Left, Tally, git_like
from rdev_cli.domain.project import Project, ProjectSpec
from rdev_cli.ops import files, projects
from rdev_cli.ops.receiving import TELL, Receiver
from rdev_cli.ops.sending import TAKE, Sender
from rdev_cli.ports.cluster import Ran
from tests.fakes.cluster import MemoryCluster
from tests.fakes.world import MemoryWorld

SHELLS = {"sh": ("/bin/sh",), "dash": ("dash",), "bash": ("bash", "--posix"), "busybox": ("busybox", "sh")}
FEW = ("cat", "mkdir", "mv")
MORE = (*FEW, "stat", "head", "dd", "sha256sum", "wc", "df", "rm", "rmdir", "chmod")


class ShellCluster(MemoryCluster):
    """A cluster whose pods are a folder, in which rdev's own scripts for copies run under a shell of this machine."""

    folder: Path
    shell: tuple[str, ...] = ("/bin/sh",)
    path: str = "/usr/bin:/bin"
    piece = 1 << 16  # bytes that are handed on at once
    before: Callable[[Sequence[str]], None] = staticmethod(lambda _: None)
    runs_: int = 0

    def run(
        self, project: Project, argv: Sequence[str], *, stdin: BinaryIO | None = None, stdout: BinaryIO | None = None, timeout: float
    ) -> Ran:
        if argv[2] not in (TELL, TAKE):
            return super().run(project, argv, stdin=stdin, stdout=stdout, timeout=timeout)
        self.runs_ += 1
        self.before(argv)
        process = subprocess.Popen(
            [*self.shell, *argv[1:]],
            cwd=self.folder,
            env={"PATH": self.path},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        trouble: list[RdevError] = []

        def feed() -> None:
            try:
                while stdin is not None and (data := stdin.read(self.piece)):
                    process.stdin.write(data)
                process.stdin.close()
            except BrokenPipeError:
                pass
            except RdevError as e:
                trouble.append(e)
                process.terminate()  # as a runner would, and the pipe with it
                process.stdin.close()

        feeder = threading.Thread(target=feed)
        feeder.start()
        try:
            while data := process.stdout.read(self.piece):
                stdout.write(data)
        finally:
            if trouble or process.poll() is None:
                process.stdout.close()
            feeder.join(20)
            errors = process.stderr.read()
            process.wait(20)
            for pipe in (process.stdin, process.stdout, process.stderr):
                try:
                    pipe.close()
                except BrokenPipeError:
                    pass
        if trouble:
            raise trouble[0]
        return Ran(code=process.returncode, stderr=errors)


class Bench:
    def __init__(self, folder: Path) -> None:
        self.pod, self.here = folder / "pod", folder / "here"
        self.pod.mkdir()
        self.here.mkdir()
        self.world = MemoryWorld(folder)
        self.cluster = ShellCluster(self.world.spool, self.world.installation)
        self.cluster.folder = self.pod
        self.world.cluster = self.cluster
        projects.create(self.world, ProjectSpec(name="shop"))

    def out(self, path: str, here: Path | None = None, **more: object) -> files.Copy:
        return files.copy(self.world, CopySpec(project="shop", path=path, here=str(here or self.here), out=True, **more))

    def into(self, here: Path | str, path: str, **more: object) -> files.Copy:
        return files.copy(self.world, CopySpec(project="shop", path=path, here=str(here), out=False, **more))

    def tools(self, folder: Path, *names: str) -> None:
        """Let there be these programs in the pod, and no others."""
        folder.mkdir()
        for name in names:
            found = shutil.which(name)
            assert found
            (folder / name).symlink_to(found)
        self.cluster.path = str(folder)
        self.cluster.shell = (shutil.which(self.cluster.shell[0]), *self.cluster.shell[1:])


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    one = Bench(tmp_path)
    yield one
    one.world.close()


@pytest.fixture(params=[f"{shell}-{tools}" for shell in SHELLS for tools in ("few", "more") if shutil.which(SHELLS[shell][0])])
def any_pod(request: pytest.FixtureRequest, bench: Bench, tmp_path: Path) -> Bench:
    """A pod under each shell, with the tools that are sure and with all that are of use."""
    shell, tools = request.param.split("-")
    bench.cluster.shell = SHELLS[shell]
    bench.tools(tmp_path / "bin", *(FEW if tools == "few" else MORE))
    return bench


EVERY = bytes(range(1, 256)).replace(b"/", b"")
NAMES = [
    b"plain", b"-rf", b"-", b"--", b"~", b"a b", b" ", b"a\nb", b"end\n", b"\n", b"*", b"?", b"[a]", b"\\", b"'", b'"', b"$(touch P)", b"`touch P`", b"${x}",
    b"%s", b"%%", b"\\101", b"\x1b[2J", b"\xff\xfe", b"e\xcc\x81", b"\xc3\xa9", b"A", b"a", b"...", b"..x", b".x", b".gitignore", b"#", b";", b"n" * 255,
    b".hidden\n", EVERY[:127], EVERY[127:],
]  # fmt: skip


def fill(folder: Path) -> None:
    """Make a tree with every name, in the top and below, and contents that are easy to get wrong."""
    top = os.fsencode(folder)
    for at, name in enumerate(NAMES):
        with open(os.path.join(top, name), "wb") as file:
            file.write(bytes([at]) * at)
        os.makedirs(os.path.join(top, b"below", name + b"" if len(name) < 250 else name))
        with open(os.path.join(top, b"below", name, name), "wb") as file:
            file.write(name)
    contents = {
        "empty": b"", "every": bytes(range(256)) * 16, "newline": b"\n", "dash": b"-n -e \\c", "percent": b"%s%d%%", "octal": b"\\101\0007",
        "small": os.urandom(32768), "big": os.urandom(32769), "bigger": os.urandom((1 << 20) + 7), "even": bytes(1 << 20),
    }  # fmt: skip
    for name, data in contents.items():
        (folder / name).write_bytes(data)
    (folder / "run").write_bytes(b"#!/bin/sh\n")
    (folder / "run").chmod(0o755)
    (folder / "hollow").mkdir()


def shape(folder: Path) -> dict[bytes, object]:
    """Every path -> bytes and whether it can be run; None for a folder."""
    found: dict[bytes, object] = {}
    for root, folders, names in os.walk(os.fsencode(folder)):
        for name in folders:
            found[os.path.relpath(os.path.join(root, name), os.fsencode(folder))] = None
        for name in names:
            path = os.path.join(root, name)
            with open(path, "rb") as file:
                found[os.path.relpath(path, os.fsencode(folder))] = (file.read(), bool(os.stat(path).st_mode & 0o100))
    return found


def test_t_file_1_every_name_and_every_byte_comes_out_of_a_pod(any_pod: Bench) -> None:
    (any_pod.pod / "src").mkdir()
    fill(any_pod.pod / "src")
    done = any_pod.out("src").done
    assert shape(any_pod.here / "src") == shape(any_pod.pod / "src")
    assert (done.skipped_count, done.files, done.folders) == (0, 2 * len(NAMES) + 11, len(NAMES) + 2)
    assert not list(any_pod.pod.rglob("P"))


def test_t_file_1_every_name_and_every_byte_goes_into_a_pod(any_pod: Bench) -> None:
    (any_pod.here / "src").mkdir()
    fill(any_pod.here / "src")
    done = any_pod.into(any_pod.here / "src", "").done
    there, sent = shape(any_pod.pod / "src"), shape(any_pod.here / "src")
    few = shutil.which("rm", path=any_pod.cluster.path) is None
    if few:  # nothing there need be able to make it so; busybox has such tools within itself
        sent[b"run"] = there[b"run"] = (there[b"run"][0], True)
    left = [path for path in there if b".rdev-cp." in path]
    assert few or left == []
    assert {path: what for path, what in there.items() if path not in left} == sent
    assert done.files == 2 * len(NAMES) + 11
    assert not list(any_pod.pod.rglob("P"))


def test_single_files_travel_both_ways_under_the_name_that_was_given(any_pod: Bench) -> None:
    data = os.urandom(100_000)
    (any_pod.here / "one").write_bytes(data)
    any_pod.into(any_pod.here / "one", "two")
    (any_pod.pod / "sub").mkdir()
    any_pod.into(any_pod.here / "one", "sub")
    any_pod.into(any_pod.here / "one", "sub/-x\n")
    assert {path for path in shape(any_pod.pod) if b".rdev-cp." not in path} == {b"two", b"sub", b"sub/one", b"sub/-x\n"}
    any_pod.out("sub/-x\n", any_pod.here / "three")
    any_pod.out(str(any_pod.pod / "two"))
    assert {name: (any_pod.here / name).read_bytes() == data for name in os.listdir(any_pod.here)} == dict.fromkeys(
        ("one", "two", "three"), True
    )


@settings(max_examples=25, deadline=None)
@given(
    st.dictionaries(
        st.binary(min_size=1, max_size=40).filter(lambda n: not {47, 0} & set(n) and n not in (b".", b"..")),
        st.binary(max_size=300),
        max_size=8,
    )
)
def test_any_names_and_bytes_there_and_back_are_the_same(tmp_path_factory: pytest.TempPathFactory, tree: dict[bytes, bytes]) -> None:
    bench = Bench(tmp_path_factory.mktemp("any"))
    try:
        (bench.here / "src").mkdir()
        for name, data in tree.items():
            with open(os.path.join(os.fsencode(bench.here / "src"), name), "wb") as file:
                file.write(data)
        bench.into(bench.here / "src", "")
        (bench.here / "back").mkdir()
        bench.out("src", bench.here / "back")
        expected = {name: what for name, what in shape(bench.here / "src").items() if not git_like(os.fsdecode(name))}
        assert shape(bench.here / "back" / "src") == expected
    finally:
        bench.world.close()


@pytest.mark.parametrize("piece", [1, 7, 1000])
def test_a_stream_may_be_cut_into_pieces_anywhere(piece: int, bench: Bench) -> None:
    bench.cluster.piece = piece
    for name, data in (("a", b"\0" * 90), ("b", os.urandom(40_000 if piece > 1 else 4_000)), ("c", b"")):
        (bench.pod / name).write_bytes(data)
    bench.out(".", merge=True)
    assert shape(bench.here) == shape(bench.pod)


# what is left out, and what cannot be copied


def test_t_file_2_links_devices_and_git_are_left_out_and_named_in_both_directions(bench: Bench) -> None:
    for side in (bench.pod / "src", bench.here / "src"):
        (side / "sub" / ".git" / "hooks").mkdir(parents=True)
        (side / "sub" / ".git" / "hooks" / "post-checkout").write_bytes(b"touch P")
        (side / ".GIT").write_bytes(b"gitdir: elsewhere")
        (side / "passwd").symlink_to("/etc/passwd")
        (side / "up").symlink_to("..")
        (side / "loop").symlink_to("loop")
        os.mkfifo(side / "fifo")
        (side / "sub" / "kept").write_bytes(b"x")
        (side / "sub" / "kept").chmod(0o6777)
    named = {("sub/.git", "git"), (".GIT", "git"), ("passwd", "link"), ("up", "link"), ("loop", "link"), ("fifo", "special")}
    (bench.here / "to").mkdir()
    for done in (bench.out("src", bench.here / "to").done, bench.into(bench.here / "src", "to").done):
        assert {(one.path, one.reason.value) for one in done.skipped} == named
        assert (done.files, done.skipped_count) == (1, 6)
    for folder in (bench.here / "to" / "src", bench.pod / "to"):
        assert {path.relative_to(folder).as_posix() for path in folder.rglob("*")} == {"sub", "sub/kept"}
        assert (folder / "sub" / "kept").stat().st_mode & 0o7777 == 0o755


def test_a_file_that_cannot_be_read_is_named_and_the_others_stand(bench: Bench) -> None:
    (bench.pod / "src").mkdir()
    for name in "abc":
        (bench.pod / "src" / name).write_bytes(b"x")
    if os.geteuid() == 0:  # root reads everything: let the tool fail
        (bench.pod / "bin").mkdir()
        (bench.pod / "bin" / "cat").write_text('#!/bin/sh\ncase $* in */b*) exit 1;; esac\nexec /bin/cat "$@"\n')
        (bench.pod / "bin" / "cat").chmod(0o755)
        (bench.pod / "bin" / "head").write_text('#!/bin/sh\nshift 2\nexec cat "$@"\n')
        (bench.pod / "bin" / "head").chmod(0o755)
        bench.cluster.path = f"{bench.pod}/bin:/usr/bin:/bin"
    else:
        (bench.pod / "src" / "b").chmod(0)
    with pytest.raises(Partial, match="2 files are copied; 1 could not be copied, the first is b: cannot be read") as partial:
        bench.out("src")
    assert partial.value.left == ("b",)
    assert set(shape(bench.here / "src")) == {b"a", b"c"}


def test_what_stands_in_the_way_is_named_and_left_alone_in_both_directions(bench: Bench) -> None:
    for side in (bench.pod, bench.here):
        (side / "src" / "sub").mkdir(parents=True)
        (side / "to" / "src" / "a").mkdir(parents=True)  # a folder in the place of a file
        (side / "to" / "src" / "sub").write_bytes(b"mine")  # a file in the place of a folder
        for name in ("a", "b", "sub/c"):
            (side / "src" / name).write_bytes(b"x")
    for call in (lambda: bench.out("src", bench.here / "to", merge=True), lambda: bench.into(bench.here / "src", "to", merge=True)):
        with pytest.raises(Partial) as partial:
            call()
        assert set(partial.value.left) == {"a", "sub", "sub/c"}
        assert partial.value.context["files"] == 1
    for side in (bench.pod, bench.here):
        assert (side / "to" / "src" / "a").is_dir()
        assert (side / "to" / "src" / "sub").read_bytes() == b"mine"
        assert (side / "to" / "src" / "b").read_bytes() == b"x"
        assert not [path for path in (side / "to").rglob("*") if ".rdev" in path.name]


def test_a_file_that_shrinks_while_it_is_read_is_named_and_not_kept(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    (bench.here / "src").mkdir()
    big = bench.here / "src" / "big"
    big.write_bytes(b"x" * 3_000_000)
    (bench.here / "src" / "a").write_bytes(b"x")

    class Shrinking:
        def __init__(self, file: BinaryIO) -> None:
            self._file = file

        def seek(self, offset: int, whence: int = 0) -> int:
            return self._file.seek(offset, whence)

        def read(self, most: int) -> bytes:
            big.write_bytes(b"x" * 1_500_000)
            return self._file.read(most)

    real = TreeSource.read

    @contextmanager
    def read(self: TreeSource, entry: object) -> Iterator[object]:
        with real(self, entry) as file:
            yield Shrinking(file) if entry.path == ("big",) else file

    monkeypatch.setattr(TreeSource, "read", read)
    with pytest.raises(Partial) as partial:
        bench.into(bench.here / "src", "half")
    assert partial.value.left == ("big",)
    assert set(shape(bench.pod / "half")) == {b"a"}


def test_a_file_that_grows_as_fast_as_it_is_read_has_an_end(bench: Bench, tmp_path: Path) -> None:
    log = bench.pod / "log"
    log.write_bytes(b"x" * 50_000)
    (bench.pod / "bin").mkdir()
    head = bench.pod / "bin" / "head"
    head.write_text(f'#!/bin/sh\nprintf "more" >>{log}\nexec /usr/bin/head "$@"\n')
    head.chmod(0o755)
    bench.cluster.path = f"{bench.pod}/bin:/usr/bin:/bin"
    assert bench.out("log").done.bytes == 50_000


def test_small_files_of_which_one_changes_meanwhile_come_one_by_one(bench: Bench) -> None:
    (bench.pod / "src").mkdir()
    for name in "abc":
        (bench.pod / "src" / name).write_bytes(name.encode() * 10)
    (bench.pod / "bin").mkdir()
    cat = bench.pod / "bin" / "cat"
    cat.write_text('#!/bin/sh\n[ $# -gt 1 ] && printf more >>"$1"\nexec /bin/cat "$@"\n')
    cat.chmod(0o755)
    bench.cluster.path = f"{bench.pod}/bin:/usr/bin:/bin"
    assert bench.out("src").done.files == 3
    assert shape(bench.here / "src") == shape(bench.pod / "src")
    assert (bench.here / "src" / "a").read_bytes() == b"a" * 10 + b"more"


# what is refused


def test_what_is_not_there_or_no_file_is_said(bench: Bench) -> None:
    os.mkfifo(bench.pod / "fifo")
    (bench.pod / "file").write_bytes(b"")
    for path, error in (("nothing", NotFound), ("fifo", Invalid), ("file/", NotFound), ("file/x", NotFound), ("/dev/null", Invalid)):
        with pytest.raises(error):
            bench.out(path)
    with pytest.raises(NotFound):
        bench.into(bench.here / "nothing", "x")
    assert os.listdir(bench.here) == []


@pytest.mark.parametrize(
    "path", [".git", ".git/config", "a/.GIT/x", "git~1/x", "a/.git /x", ".g\u200cit/config", ".git::$INDEX_ALLOCATION"]
)
def test_t_file_1_a_path_that_is_gits_own_is_refused_before_a_pod_is_asked(path: str, bench: Bench) -> None:
    for out in (True, False):
        with pytest.raises(Invalid, match="git"):
            CopySpec(project="shop", path=path, here="x", out=out)


def test_t_file_6_a_target_in_a_pod_is_refused_before_anything_is_written(bench: Bench) -> None:
    (bench.here / "src").mkdir()
    (bench.here / "src" / "a").write_bytes(b"x")
    (bench.pod / "full" / "src").mkdir(parents=True)
    (bench.pod / "full" / "src" / "mine").write_bytes(b"mine")
    (bench.pod / "file").write_bytes(b"mine")
    (bench.pod / "link").symlink_to("/tmp")
    before = shape(bench.pod)
    one = bench.here / "src" / "a"
    for what, path, error in (
        (bench.here / "src", "full", Conflict),  # not empty
        (bench.here / "src", "file", Conflict),  # no folder
        (one, "full/src/mine/x", NotFound),
        (one, "no/x", NotFound),
        (one, "no/", NotFound),
        (bench.here / "src", "no/x", NotFound),
    ):
        with pytest.raises(error) as e:
            bench.into(what, path)
        assert "files" not in e.value.context, (path, e.value)
    assert shape(bench.pod) == before


def test_t_file_6_a_pod_without_room_is_refused_before_anything_is_written(bench: Bench) -> None:
    (bench.here / "a").write_bytes(b"x" * 5000)
    (bench.pod / "bin").mkdir()
    (bench.pod / "bin" / "df").write_text(
        "#!/bin/sh\necho Filesystem 1024-blocks Used Available Capacity Mounted on\necho /dev/x 10 6 4 60% /\n"
    )
    (bench.pod / "bin" / "df").chmod(0o755)
    bench.cluster.path = f"{bench.pod}/bin:/usr/bin:/bin"
    with pytest.raises(Unavailable, match="no room"):
        bench.into(bench.here / "a", "a")
    assert os.listdir(bench.pod) == ["bin"]


def test_a_folder_in_a_pod_that_cannot_be_written_in_is_said(bench: Bench) -> None:
    (bench.here / "a").write_bytes(b"x")
    (bench.pod / "bin").mkdir()
    (bench.pod / "bin" / "mkdir").write_text("#!/bin/sh\nexit 1\n")
    (bench.pod / "bin" / "mkdir").chmod(0o755)
    bench.cluster.path = f"{bench.pod}/bin:/usr/bin:/bin"
    with pytest.raises(Denied):
        bench.into(bench.here / "a", "a")


# what goes wrong on the way


def test_what_arrives_otherwise_than_it_was_sent_is_not_kept(bench: Bench) -> None:
    (bench.here / "src").mkdir()
    (bench.here / "src" / "a").write_bytes(b"x" * 100_000)
    (bench.pod / "bin").mkdir()
    (bench.pod / "bin" / "dd").write_text('#!/bin/sh\n/bin/dd "$@" | tr x y\n')
    (bench.pod / "bin" / "dd").chmod(0o755)
    bench.cluster.path = f"{bench.pod}/bin:/usr/bin:/bin"
    with pytest.raises(Failed, match="not what was sent") as failed:
        bench.into(bench.here / "src", "to")
    assert failed.value.code == "BAD_COPY"
    assert os.listdir(bench.pod) == ["bin"]


@pytest.mark.parametrize("cut", [0, 1, 50, 40_000, 70_000, 139_000])
@pytest.mark.parametrize("tools", [FEW, MORE])
def test_a_stream_into_a_pod_that_ends_early_keeps_nothing_that_is_not_whole(
    cut: int, tools: tuple[str, ...], bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.tools(tmp_path / "bin", *tools, *({"rm", "rmdir"} - set(tools)))
    (bench.here / "src").mkdir()
    data = os.urandom(70_000)
    for name in "ab":
        (bench.here / "src" / name).write_bytes(data)
    real = Sender.read

    def read(self: Sender, most: int = -1) -> bytes:
        self.sent = getattr(self, "sent", 0)
        piece = real(self, min(most, cut - self.sent)) if self.sent < cut else b""
        self.sent += len(piece)
        return piece

    monkeypatch.setattr(Sender, "read", read)
    with pytest.raises((Unavailable, Partial)) as e:
        bench.into(bench.here / "src", "to")
    assert "ended before everything" in e.value.message
    there = shape(bench.pod / "to") if (bench.pod / "to").exists() else {}
    assert set(there.values()) <= {(data, False)}
    assert set(there) <= {b"a", b"b"}
    assert isinstance(e.value, Partial) == bool(there)


@pytest.mark.parametrize("cut", [0, 1, 20, 60, 200, 30_000, 140_000])
def test_a_stream_out_of_a_pod_that_ends_early_keeps_nothing_that_is_not_whole(
    cut: int, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = os.urandom(70_000)
    (bench.pod / "src").mkdir()
    for name in "ab":
        (bench.pod / "src" / name).write_bytes(data)
    real = Receiver.write

    def write(self: Receiver, piece: bytes) -> int:
        self.got = getattr(self, "got", 0)
        keep = max(0, min(len(piece), cut - self.got))
        self.got += len(piece)
        return real(self, piece[:keep])

    monkeypatch.setattr(Receiver, "write", write)
    with pytest.raises((Unavailable, Partial), match="not whole") as e:
        bench.out("src")
    there = shape(bench.here / "src") if (bench.here / "src").exists() else {}
    assert set(there.values()) <= {(data, False)}
    assert isinstance(e.value, Partial) == bool(there)
    assert not [path for path in bench.here.rglob("*") if ".rdev" in path.name]


@pytest.mark.parametrize("out", [True, False])
def test_a_stop_and_a_limit_end_a_copy_and_leave_no_half_file(out: bool, bench: Bench) -> None:
    for side in (bench.pod, bench.here):
        (side / "src").mkdir()
        (side / "src" / "big").write_bytes(b"x" * (8 << 20))
    copy = (lambda: bench.out("src")) if out else (lambda: bench.into(bench.here / "src", "to"))
    if out:
        (bench.here / "src" / "big").unlink()

    class Late:
        def __init__(self, real: object) -> None:
            self._real, self._asked = real, 0

        def now(self) -> object:
            return self._real.now()

        def monotonic(self) -> float:
            self._asked += 1
            return 0.0 if self._asked < 4 else 1e9

    real = bench.world.clock
    bench.world.clock = Late(real)
    with pytest.raises(TimedOut):
        copy()
    bench.world.clock = real
    bench.cluster.before = lambda _: bench.world.stop.set("cancelled")
    with pytest.raises(Cancelled):
        copy()
    assert not [path for side in (bench.pod, bench.here) for path in side.rglob("*") if ".rdev" in path.name]
    assert not (bench.here / "src" / "big").exists() if out else not (bench.pod / "to").exists()


# a pod that lies


class Lying(MemoryCluster):
    """A cluster whose pods say whatever a test wants."""

    says: bytes = b""
    code = 0

    def run(self, project: Project, argv: Sequence[str], **streams: object) -> Ran:
        if argv[2] not in (TELL, TAKE):
            return super().run(project, argv, **streams)
        streams["stdout"].write(self.says.replace(b"MARK", argv[4].encode()))
        return Ran(code=self.code, stderr=b"")


def said(*words: bytes) -> bytes:
    return b"".join(word + b"\0" for word in words)


def one_file(path: bytes, data: bytes = b"evil") -> bytes:
    return said(b"F", b"1", b"x", b"%d" % len(data), path) + data + said(b"", b"MARK", b"0")


@pytest.fixture
def liar(bench: Bench) -> Bench:
    bench.cluster = Lying(bench.world.spool, bench.world.installation)
    bench.cluster.pods = bench.world.cluster.pods
    bench.world.cluster = bench.cluster
    return bench


EVIL = [
    b"../x", b"/etc/x", b"a/../../x", b".", b"..", b"", b"a/", b"/", b"a//b", b"./a", b"a/./b", b"a/..", b"\0", b"../../../../../../tmp/x",
]  # fmt: skip


@pytest.mark.parametrize("path", EVIL)
def test_t_file_1_a_path_that_leads_elsewhere_ends_the_copy(path: bytes, liar: Bench, tmp_path: Path) -> None:
    before = set(os.listdir(tmp_path))
    for words in (one_file(path), said(b"D", path), said(b"S", b"link", path)):
        liar.cluster.says = said(b"R", b"d", b"T", b"9", b"9") + one_file(b"good") + words + said(b"E")
        with pytest.raises(Partial) as partial:
            liar.out("src", merge=True)
        assert partial.value.left == ("the rest",)
        assert set(shape(liar.here)) == {b"src", b"src/good"}
        assert set(os.listdir(tmp_path)) == before


def test_t_file_1_a_nul_ends_a_name_and_is_in_none(liar: Bench) -> None:
    liar.cluster.says = said(b"R", b"d", b"T", b"9", b"9") + one_file(b"a\0../b") + said(b"E")
    liar.out("src")
    assert shape(liar.here) == {b"src": None, b"src/a": (b"../b\0evil", True)}
    liar.cluster.says = said(b"R", b"d", b"T", b"9", b"9") + said(b"D", b"a\0b", b"E")
    with pytest.raises(Failed):
        liar.out("src", liar.here / "other")


GITS = [
    b".git/hooks/post-checkout",
    b".git",
    b".GIT/config",
    b"git~1",
    b"a/.git/x",
    b".git /x",
    b".git./x",
    b".g\xe2\x80\x8cit/x",
    b".git:x/y",
]


@pytest.mark.parametrize("path", GITS)
def test_t_file_1_what_is_gits_own_is_left_out_whatever_the_pod_calls_it(path: bytes, liar: Bench) -> None:
    several = said(b"F", b"2", b"-", b"1", path, b"-", b"1", b"b") + b"xy" + said(b"", b"MARK", b"0")
    liar.cluster.says = said(b"R", b"d", b"T", b"9", b"9") + said(b"D", path) + one_file(path) + several + said(b"E")
    done = liar.out("src").done
    assert {one.reason for one in done.skipped} == {Left.GIT}
    assert (done.files, done.skipped_count) == (1, 3)
    assert set(shape(liar.here / "src")) == {b"b"}


@pytest.mark.parametrize("name", [b"n" * 256, b"n" * 5000])
def test_t_file_1_a_name_that_no_disk_holds_is_named_and_the_others_stand(name: bytes, liar: Bench) -> None:
    liar.cluster.says = said(b"R", b"d", b"T", b"9", b"9") + said(b"D", name) + one_file(name) + one_file(b"good") + said(b"E")
    with pytest.raises(Partial) as partial:
        liar.out("src")
    assert partial.value.left == (name.decode(), name.decode())
    assert set(shape(liar.here / "src")) == {b"good"}


NONSENSE = {
    "nothing": b"", "half": b"R\0d", "text": b"bash: stat: not found\n" * 5000, "a kind": said(b"R", b"x", b"T", b"1", b"1"), "a number": said(b"R", b"d", b"T", b"-1", b"1"),
    "a big number": said(b"R", b"d", b"T", b"9" * 400, b"1"), "a word": said(b"R", b"d", b"T", b"1", b"1", b"Q"), "an end alone": said(b"E"),
    "a reason": said(b"R", b"d", b"T", b"1", b"1", b"S", b"because", b"a"), "no files": said(b"R", b"d", b"T", b"1", b"1", b"F", b"0"),
    "many files": said(b"R", b"d", b"T", b"1", b"1", b"F", b"100000"), "big together": said(b"R", b"d", b"T", b"1", b"1", b"F", b"2", b"-", b"9999999", b"a", b"-", b"1", b"b"),
    "a mode": said(b"R", b"d", b"T", b"1", b"1", b"F", b"1", b"s", b"1", b"a"), "a folder in a file": said(b"R", b"f", b"T", b"1", b"1", b"D", b"a"),
    "less than said": said(b"R", b"d", b"T", b"2", b"2", b"F", b"2", b"-", b"1", b"a", b"-", b"1", b"b") + b"x" + said(b"", b"MARK", b"0", b"E"),
    "more than said": said(b"R", b"d", b"T", b"2", b"2", b"F", b"2", b"-", b"1", b"a", b"-", b"1", b"b") + b"xyz" + said(b"", b"MARK", b"0", b"E"),
    "another mark": said(b"R", b"d", b"T", b"1", b"1", b"F", b"1", b"-", b"1", b"a") + b"x" + said(b"", b"0" * 32, b"0", b"E"),
}  # fmt: skip


@pytest.mark.parametrize("kind", NONSENSE)
def test_a_pod_that_talks_nonsense_gets_nothing_written(kind: str, liar: Bench) -> None:
    liar.cluster.says = NONSENSE[kind]
    with pytest.raises(RdevError) as e:
        liar.out("src")
    assert e.value.code == "BAD_COPY"
    assert not [what for what in shape(liar.here).values() if what is not None]


def test_t_file_2_what_is_too_much_is_refused_before_anything_is_written_and_while_it_comes(
    liar: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    for count, size in ((MOST_FILES + 1, 0), (1, MOST_BYTES + 1)):
        liar.cluster.says = said(b"R", b"d", b"T", b"%d" % count, b"%d" % size)
        with pytest.raises(Invalid, match="for one copy"):
            liar.out("src")
    assert os.listdir(liar.here) == []
    monkeypatch.setattr("rdev_cli.domain.files.MOST_BYTES", 1000)
    monkeypatch.setattr("rdev_cli.domain.files.MOST_FILES", 3)
    for words in (one_file(b"big", b"x" * 2000), one_file(b"a", b"x" * 600) + one_file(b"b", b"x" * 600), *[said(b"D", b"d") * 4]):
        liar.cluster.says = said(b"R", b"d", b"T", b"1", b"1") + words + said(b"E")
        with pytest.raises(RdevError, match="for one copy"):
            liar.out("src", merge=True)
    assert not [path for path in liar.here.rglob("*") if path.is_file() and path.stat().st_size > 600]


def test_t_file_2_a_sparse_file_that_says_it_is_huge_is_refused_in_both_directions(bench: Bench) -> None:
    for side in (bench.pod, bench.here):
        with (side / "sparse").open("wb") as file:
            file.truncate(1 << 40)
    with pytest.raises(Invalid, match="for one copy"):
        bench.out("sparse", bench.here / "x")
    with pytest.raises(Invalid, match="for one copy"):
        bench.into(bench.here / "sparse", "x")
    assert bench.cluster.runs_ == 1
    assert not (bench.here / "x").exists()


# what is remembered


def test_a_copy_is_in_the_journal_with_what_it_brought(bench: Bench) -> None:
    (bench.pod / "a").write_bytes(b"abc")
    bench.out("a")
    (line,) = [event for event in bench.world.store.events(after=0, subject="shop") if event.kind == "file.copied"]
    assert line.data == {"project": "shop", "path": "a", "out": True, "files": 1, "bytes": 3, "failed": 0}


def test_a_tally_counts_all_and_names_the_first() -> None:
    tally = Tally()
    for number in range(150):
        tally.skip(str(number), Left.LINK)
        tally.fail(str(number), Left.NAME)
    assert (len(tally.skipped), tally.skipped_count, len(tally.failed), tally.failed_count) == (100, 150, 100, 150)
