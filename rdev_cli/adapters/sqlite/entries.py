"""What a state says is in the keyring, read without bringing its schema up: it may be about to go."""

from collections.abc import Sequence
from pathlib import Path

from rdev_cli.adapters.sqlite.database import looked_at


def in_keyring(path: Path) -> Sequence[str]:
    """Return the names of the credentials whose values the keyring holds; Unavailable if the state cannot be read."""
    with looked_at(path) as connection:
        if connection.execute("select 1 from sqlite_master where name = 'credentials'").fetchone() is None:
            return ()  # a state from before there were any
        return [str(row[0]) for row in connection.execute("select name from credentials where place = 'keyring' order by name")]
