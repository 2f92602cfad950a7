"""What a state says is kept elsewhere, in the keyring and at a forge, read without bringing its schema up: it may be about to go."""

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


def at_forge(path: Path) -> Sequence[str]:
    """Return the accounts of checkouts that a forge has still; Unavailable if the state cannot be read."""
    with looked_at(path) as connection:
        if connection.execute("select 1 from sqlite_master where name = 'debts'").fetchone() is None:
            return ()
        # a local forge has none, and goes with the state; of a start that was cut off nobody knows
        local = "select id from checkouts where account = ''"
        return [str(row[0]) for row in connection.execute(f"select subject from debts where reason not in ({local}) order by 1")]  # noqa: S608 -- our own names
