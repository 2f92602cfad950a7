"""What a state says is in the keyring, read without bringing its schema up: it may be about to go."""

from collections.abc import Sequence
from pathlib import Path

from rdev_cli.adapters.sqlite.database import looked_at


def in_keyring(path: Path) -> Sequence[str]:
    """Return the names under which the keyring holds something: credentials, secrets of webhooks and checkouts, keys of receipts.

    Unavailable if the state cannot be read.
    """
    with looked_at(path) as connection:
        if connection.execute("select 1 from sqlite_master where name = 'credentials'").fetchone() is None:
            return ()  # a state from before there were any
        found = "select name from credentials where place = 'keyring'"
        for table in ("webhooks", "checkouts", "signers"):
            if connection.execute("select 1 from sqlite_master where name = ?", [table]).fetchone() is not None:
                found += f" union select id from {table} where place = 'keyring'"  # noqa: S608 -- our own names
        return [str(row[0]) for row in connection.execute(f"{found} order by 1")]
