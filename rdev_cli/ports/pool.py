"""What rdev asks of a place that keeps pods warm."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rdev_cli.domain.project import Project
    from rdev_cli.domain.worker import Evidence, Standing


class Pool(Protocol):
    """Pods that nobody has yet. Every call is safe to repeat; which of several callers gets a worker is decided in the place itself.

    `worker` is a worker's id; its pod's name follows from that.
    """

    @property
    def reused(self) -> str:
        """Why a worker serves once here, empty where it can be lent again."""
        ...

    @property
    def image(self) -> str:
        """What a worker is made of now, empty where there are no images."""
        ...

    def ready(self) -> None:
        """Raise what keeps workers from being made here."""
        ...

    def lends(self, *, network: bool) -> bool:
        """Say whether a worker's network is right for a project: one without a network gets none that has any way out."""
        ...

    def make(self, worker: str) -> None:
        """Make a worker's pod; when it returns the pod runs, its network is proved, and what it is like is written down outside of it."""
        ...

    def standing(self) -> Sequence[Standing]:
        """Return every worker's pod that is there, lent or not."""
        ...

    def claim(self, worker: str, place: Project) -> bool:
        """Write a session's marks on a worker that nobody has; False if another has it, or if it is not what it was when it was made.

        The same again for the same session is True.
        """
        ...

    def scrub(self, worker: str, place: Project) -> Evidence:
        """End and remove whatever a session left, then look whether the pod is as it was made. It stays the session's.

        What goes wrong is a doubt and not an error.
        """
        ...

    def prove(self, worker: str) -> Evidence:
        """Look whether a worker that nobody has is as it was made; nothing is removed."""
        ...

    def give_back(self, worker: str, place: Project) -> None:
        """Take a session's marks off a worker, after clean evidence; Conflict CHANGED if it is not that session's any more."""
        ...

    def destroy(self, worker: str) -> bool:
        """Remove a worker's pod, whoever has it, and all that belongs to it; return whether there was any."""
        ...
