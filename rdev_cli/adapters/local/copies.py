"""The Files port on this machine: trees, and the two standard streams that `-` stands for."""

from __future__ import annotations

import os
import select
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, BinaryIO, cast

from rdev_cli.adapters.local.sources import TreeSource
from rdev_cli.adapters.local.trees import TreeTarget
from rdev_cli.domain.errors import Invalid, Unavailable
from rdev_cli.domain.files import Entry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rdev_cli.domain.files import Parts
    from rdev_cli.ports.files import Files, Source, Target, Writing
    from rdev_cli.ports.timing import Stop


class StandardOutput:
    """The Target port on stdout: one file."""

    place = "-"

    def begin(self, name: str, *, tree: bool, merge: bool, total: int) -> None:  # noqa: ARG002 -- the port's
        if tree:
            raise Invalid("a folder does not go to stdout", hint="name a folder to copy to", field="target")

    def folder(self, path: Parts) -> None:
        raise NotImplementedError(path)

    def file(self, path: Parts) -> Writing:  # noqa: ARG002
        return self

    def write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(1, view) :]
            except BlockingIOError:
                select.select([], [1], [])  # somebody else made our stdout non-blocking

    def keep(self, *, executable: bool) -> None:
        pass

    def drop(self) -> None:
        pass


class StandardInput:
    """The Source port on stdin, kept in a file without a name: its length has to be known before it is sent, and it may be sent twice."""

    name, tree = "", False

    def __init__(self, stack: ExitStack, stop: Stop) -> None:
        import tempfile  # noqa: PLC0415 -- slow to load, and only for `-`

        self._file = stack.enter_context(cast("BinaryIO", tempfile.TemporaryFile()))  # noqa: SIM115 -- the stack closes it
        while True:
            while not select.select([0], [], [], 0.2)[0]:
                stop.check("the copy")
            try:
                if not (data := os.read(0, 1 << 20)):
                    break
                self._file.write(data)
            except OSError as e:
                raise Unavailable(f"cannot take in stdin: {e.strerror}", hint="make room for it in TMPDIR", code="NO_ROOM") from e
        self._file.flush()

    def walk(self) -> Iterator[Entry]:
        yield Entry(path=(), size=os.fstat(self._file.fileno()).st_size)

    @contextmanager
    def read(self, entry: Entry) -> Iterator[BinaryIO]:  # noqa: ARG002
        self._file.seek(0)
        yield self._file


class LocalFiles:
    """The Files port on this machine."""

    def __init__(self, stop: Stop) -> None:
        self._stop = stop

    @contextmanager
    def target(self, path: str) -> Iterator[Target]:
        with ExitStack() as stack:
            yield StandardOutput() if path == "-" else TreeTarget(path, stack)

    @contextmanager
    def source(self, path: str) -> Iterator[Source]:
        with ExitStack() as stack:
            yield StandardInput(stack, self._stop) if path == "-" else TreeSource(path, stack)


def _are_files(one: LocalFiles) -> Files:
    return one
