"""What rdev asks of the way to endpoints that are told what happens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from rdev_cli.domain.values import Secret
    from rdev_cli.domain.webhook import Outcome
    from rdev_cli.ports.timing import Stop
    from rdev_cli.ports.vault import Vaults


class Hooks(Protocol):
    """Where messages may be sent, and sending them."""

    @property
    def first_wait(self) -> float:
        """Seconds before the second try; the waits after it are in proportion."""
        ...

    @property
    def vaults(self) -> Vaults:
        """Where the secrets of webhooks are kept, under their ids: also for callers who are bound to projects and have no other use of a vault."""
        ...

    def check(self, url: str, *, stop: Stop) -> None:
        """Raise unless a message may be sent there now: Invalid WEBHOOK_URL, Denied ADDRESS_NOT_ALLOWED, Unavailable HOST_UNKNOWN."""
        ...

    def new_secret(self) -> Secret:
        """Return a fresh secret."""
        ...

    def send(self, url: str, *, id: str, body: str, secrets: Sequence[Secret], at: datetime, stop: Stop) -> Outcome:
        """Send a message once, signed with each secret, for at most 20 seconds; every address is checked again.

        What goes wrong on the way is in the outcome. Raises the stop's error, then nothing is known of it, and Unavailable TOOL_MISSING.
        """
        ...
