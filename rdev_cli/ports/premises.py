"""What rdev asks about its own things on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rdev_cli.domain.premises import Part
    from rdev_cli.domain.report import Check


class Premises(Protocol):
    """Settings, state and cache, of every context. No link is ever followed."""

    def parts(self) -> Sequence[Part]:
        """Return everything that stands where rdev keeps things, what is not rdev's too. Reads no database and no settings."""
        ...

    def installation(self) -> str:
        """Return the id that stands on everything this installation made, empty if it is gone."""
        ...

    def room(self) -> int:
        """Return the bytes that are free where the state is."""
        ...

    def end(self, running: Sequence[Part]) -> Sequence[Part]:
        """End the commands of these parts: TERM, the grace, KILL. Waits for it; returns those that run nevertheless."""
        ...

    def remove(self, part: Part) -> None:
        """Remove a part, unless it is foreign or has become a link; nothing there is fine. Unavailable if it cannot be removed."""
        ...

    def note(self, context: str, line: str) -> str:
        """Add a line to the context's list of what was removed from its place, kept when this returns; return where the list is.

        Unavailable if it cannot be written.
        """
        ...

    def tidy(self) -> None:
        """Remove rdev's folders that are empty."""
        ...

    def checks(self) -> Sequence[Check]:
        """Look at the programs that commands need, and at who may read and write the state's files."""
        ...
