"""One SQLite file: how it is opened, in which journal mode, and what its errors mean."""

import errno
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rdev_cli import __version__
from rdev_cli.adapters.shared.files import private_folder
from rdev_cli.domain.errors import Conflict, RdevError, Unavailable

SCHEMA = 10  # how many migrations there are
PATIENCE = 30.0  # seconds that a write waits for another's


def wal_is_safe(version: tuple[int, ...] = sqlite3.sqlite_version_info) -> bool:
    """Say whether this SQLite lacks the WAL-reset bug, which can corrupt a file (sqlite.org/wal.html, fixed in 3.51.3)."""
    return version >= (3, 51, 3) or (3, 50, 7) <= version < (3, 51) or (3, 44, 6) <= version < (3, 45)


def trouble(error: sqlite3.Error, path: Path) -> RdevError:
    """Return what a person can do about an error of the file."""
    text = str(error)
    if "locked" in text or "busy" in text:
        return Unavailable(f"the state was busy for {PATIENCE:.0f} seconds", hint="try again", code="STATE_BUSY", path=str(path))
    if "full" in text or "disk I/O" in text or "readonly" in text or "unable to open" in text:
        return Unavailable(
            f"cannot write the state {path}: {text}",
            hint="make room or give the right to write there; what the state holds is unchanged",
            code="STATE_UNWRITABLE",
            path=str(path),
        )
    return Unavailable(
        f"the state {path} is damaged: {text}",
        hint="rdev doctor looks at it; a copy beside it may help",
        code="STATE_DAMAGED",
        path=str(path),
    )


@contextmanager
def looked_at(path: Path) -> Iterator[sqlite3.Connection]:
    """Give a connection to read a state with that is not this context's; its schema is left as it is, and may be an older one."""
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=PATIENCE, isolation_level=None)
        try:
            yield connection
        finally:
            connection.close()
    except sqlite3.Error as e:
        raise trouble(e, path) from e


class Database:
    """Connections to one file, one for each thread; every write begins immediate."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._local = threading.local()
        # SQLite lets a writer that met another sleep, ever longer, whether or not its turn has come; threads of one process can wait for each other
        self._turn = threading.RLock()

    def connection(self) -> sqlite3.Connection:
        """Return this thread's connection, opening it and bringing the schema up if it must be."""
        found: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if found is None:
            found = self._local.connection = self._open()
        return found

    def close(self) -> None:
        """Close this thread's connection."""
        found: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if found is not None:
            self._local.connection = None
            found.close()

    def _open(self) -> sqlite3.Connection:
        private_folder(self.path.parent)
        if self.path.is_symlink():
            raise Conflict(f"the state {self.path} is a link", hint="put the real file there", path=str(self.path))
        read_only = False
        try:
            # SQLite itself would make it 0644; its journals take over the mode of the file
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
            if self.path.stat().st_mode & 0o077:
                self.path.chmod(0o600)
        except OSError as e:
            if e.errno not in (errno.EACCES, errno.EROFS) or not os.access(self.path, os.R_OK):
                raise trouble(sqlite3.OperationalError(f"unable to open: {e.strerror}"), self.path) from e
            read_only = True
        where = f"{self.path.as_uri()}?mode=ro" if read_only else self.path
        connection = sqlite3.connect(where, uri=read_only, timeout=PATIENCE, isolation_level=None)
        try:
            connection.execute("pragma foreign_keys=on")
            connection.execute("pragma synchronous=full")
            version: int = connection.execute("pragma user_version").fetchone()[0]
            mode = "wal" if wal_is_safe() else "delete"
            if connection.execute("pragma journal_mode").fetchone()[0] != mode and not read_only:
                connection.execute(f"pragma journal_mode={mode}")
            if version > SCHEMA:
                raise Conflict(
                    f"this state was written by a newer rdev (schema {version}, this is rdev {__version__} with schema {SCHEMA})",
                    hint="install the newer version: pip install --upgrade rdev",
                    code="STATE_NEWER",
                    path=str(self.path),
                )
            if version < SCHEMA:
                from rdev_cli.adapters.sqlite.migrations import bring_up  # noqa: PLC0415 -- costs as much as all the rest

                bring_up(connection, self.path, version=version, latest=SCHEMA)
        except BaseException as e:
            connection.close()
            if isinstance(e, sqlite3.Error):
                raise trouble(e, self.path) from e
            raise
        return connection

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Give a connection to read with."""
        try:
            yield self.connection()
        except sqlite3.Error as e:
            raise trouble(e, self.path) from e

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Give a connection inside a transaction: all that is written is kept together or not at all."""
        connection = self.connection()
        with self._turn, self._written(connection):
            yield connection

    @contextmanager
    def _written(self, connection: sqlite3.Connection) -> Iterator[None]:
        try:
            # a plain BEGIN that reads before it writes fails at once under contention, whatever the timeout
            connection.execute("begin immediate")
            try:
                yield
            except BaseException:
                if connection.in_transaction:  # a full disk rolls back by itself
                    connection.execute("rollback")
                raise
            connection.execute("commit")
        except sqlite3.Error as e:
            if connection.in_transaction:
                connection.execute("rollback")
            raise trouble(e, self.path) from e
