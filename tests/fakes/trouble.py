"""How a twin is told to fail."""

from collections.abc import Iterator
from contextlib import contextmanager

from rdev_cli.domain.errors import Unavailable


class Trouble(set[str]):
    """Calls that do not answer: `seed:before` did nothing yet, `seed:after` has done all of it."""

    @contextmanager
    def around(self, call: str) -> Iterator[None]:
        self._at(f"{call}:before")
        yield
        self._at(f"{call}:after")

    def _at(self, point: str) -> None:
        if point in self:
            raise Unavailable(f"{point} did not answer", hint="try again")
