"""What rdev asks of the places that keep secrets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractContextManager

    from rdev_cli.domain.report import Check
    from rdev_cli.domain.values import Secret


class Vault(Protocol):
    """One place that keeps values under names.

    Whatever it cannot read it says, and never takes for nothing: Unavailable VAULT_DAMAGED for what was changed behind its
    back, VAULT_LOCKED for a keyring that does not answer; Denied WRONG_PASSPHRASE, VAULT_UNSAFE; Invalid NO_PASSPHRASE.
    """

    @property
    def place(self) -> str:
        """What the place is called in a record: keyring, file or passphrase."""
        ...

    def put(self, values: Mapping[str, Secret]) -> None:
        """Keep all of the values, replacing what is there, or none; durable when it returns. Only inside `Vaults.alone`."""
        ...

    def get(self, name: str) -> Secret | None:
        """Return a value, None if there is none of that name."""
        ...

    def holds(self, name: str) -> bool:
        """Say whether there is a value of that name; asks nobody for a passphrase."""
        ...

    def drop(self, name: str) -> None:
        """Forget a value; nothing happens if there is none. Only inside `Vaults.alone`."""
        ...


class Vaults(Protocol):
    """The places that there are for this context."""

    def chosen(self) -> Vault:
        """Return the place that the settings choose for new values; Unavailable or Conflict if it cannot be had."""
        ...

    def at(self, place: str) -> Vault:
        """Return the place of that name, where a recorded value is: the same object as `chosen` gives for it."""
        ...

    def alone(self) -> AbstractContextManager[None]:
        """Keep other processes from changing credentials meanwhile; Conflict BUSY if one does so for 30 seconds."""
        ...

    def checks(self) -> Sequence[Check]:
        """Look at the place in force: which, why, and whether its files are closed to others."""
        ...
