"""/projects/{project}/files: one file of a project's workspace, out and in; a folder goes by `rdev cp`, or by git."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryFile
from typing import Any, BinaryIO, cast

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import StreamingResponse

from rdev_cli.domain.errors import Invalid, Unavailable
from rdev_cli.domain.files import Copied, CopySpec, Entry, Parts
from rdev_cli.domain.values import sized
from rdev_cli.faces.http.face import Routes, serves
from rdev_cli.ops import files
from rdev_cli.ports import World
from rdev_cli.ports.files import Source, Target, Writing
from rdev_cli.ports.timing import ORCHESTRATION

routes: Routes = []
MOST = 256 << 20  # bytes of a file that is fetched: it is kept whole until it is known to be


class Held:
    """A file between the wire and a pod, as both sides of a copy: kept whole, without a name."""

    place, name, tree = "-", "", False

    def __init__(self, data: bytes) -> None:
        self.file_ = cast("BinaryIO", TemporaryFile())  # noqa: SIM115 -- it is closed when it was answered with
        self._put(data)

    @contextmanager
    def target(self, path: str) -> Iterator[Target]:  # noqa: ARG002 -- the port's
        """Take a file."""
        yield self

    @contextmanager
    def source(self, path: str) -> Iterator[Source]:  # noqa: ARG002
        """Give it."""
        yield self

    def begin(self, name: str, *, tree: bool, merge: bool, total: int) -> None:  # noqa: ARG002
        """Refuse what is no file, and what is too large."""
        if tree:
            raise Invalid("this is a folder, and one file is answered at a time", hint="name a file in it", field="path")
        if total > MOST:
            raise Invalid(f"it has more than {sized(MOST)}", hint="fetch it by rdev cp, or in parts by a command", code="TOO_LARGE")

    def folder(self, path: Parts) -> None:
        """Never asked for, as a folder is refused."""
        raise NotImplementedError(path)

    def file(self, path: Parts) -> Writing:  # noqa: ARG002
        """Begin the file."""
        return self

    def write(self, data: bytes) -> None:
        """Append to it."""
        self._put(data)

    def _put(self, data: bytes) -> None:
        try:
            self.file_.write(data)
            self.file_.flush()
        except OSError as e:
            raise Unavailable(f"the server cannot hold the file: {e.strerror}", hint="make room in its TMPDIR", code="NO_ROOM") from e

    def keep(self, *, executable: bool) -> None:
        """It is whole."""

    def drop(self) -> None:
        """It is not."""

    def walk(self) -> Iterator[Entry]:
        """Yield the file."""
        yield Entry(path=(), size=os.fstat(self.file_.fileno()).st_size)

    @contextmanager
    def read(self, entry: Entry) -> Iterator[BinaryIO]:  # noqa: ARG002
        """Open it from its beginning."""
        self.file_.seek(0)
        yield self.file_

    def poured(self) -> Iterator[bytes]:
        """Yield its bytes, then forget it."""
        with self.file_ as file:
            file.seek(0)
            while data := file.read(1 << 16):
                yield data


class _Elsewhere:
    """The caller's world, but for its files: those of this machine are the server's, and nobody else's."""

    def __init__(self, world: World, held: Held) -> None:
        self._world, self.files = world, held

    def __getattr__(self, name: str) -> Any:
        return getattr(self._world, name)


def _copy(world: World, data: bytes, spec: CopySpec) -> tuple[Copied, Held]:
    held = Held(data)
    try:
        return files.copy(cast("World", _Elsewhere(world, held)), spec).done, held
    except BaseException:
        held.file_.close()
        raise


@serves(routes, "GET", "/projects/{project}/files", files.copy, media="application/octet-stream")
def fetch(world: World, project: str, path: str) -> Any:
    done, held = _copy(world, b"", CopySpec(project=project, path=path, here="-", out=True, timeout_seconds=round(ORCHESTRATION)))
    headers = {"content-length": str(done.bytes), "content-disposition": "attachment", "x-content-type-options": "nosniff"}
    return StreamingResponse(held.poured(), headers=headers, media_type="application/octet-stream")


@serves(routes, "PUT", "/projects/{project}/files", files.copy, answer="copied", takes="application/octet-stream", form="put")
async def put(world: World, request: Request, project: str, path: str) -> Any:
    data = await request.body()

    def run() -> Any:
        done, held = _copy(world, data, CopySpec(project=project, path=path, here="-", out=False, timeout_seconds=round(ORCHESTRATION)))
        held.file_.close()
        return done

    return await run_in_threadpool(run)
