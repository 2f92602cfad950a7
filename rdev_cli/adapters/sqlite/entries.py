"""What a state says is in the keyring, read without bringing its schema up: it may be about to go."""

import sqlite3
from collections.abc import Sequence
from pathlib import Path

from rdev_cli.adapters.sqlite.database import PATIENCE, trouble


def in_keyring(path: Path) -> Sequence[str]:
    """Return the names of the credentials whose values the keyring holds; Unavailable if the state cannot be read."""
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=PATIENCE, isolation_level=None)
        try:
            if connection.execute("select 1 from sqlite_master where name = 'credentials'").fetchone() is None:
                return ()  # a state from before there were any
            return [str(row[0]) for row in connection.execute("select name from credentials where place = 'keyring' order by name")]
        finally:
            connection.close()
    except sqlite3.Error as e:
        raise trouble(e, path) from e
