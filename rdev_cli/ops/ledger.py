"""The ledger: each operation's name, words and rule, written down once."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ParamSpec, TypeVar

from rdev_cli.domain.access import Scope

__all__ = ["LEDGER", "Entry", "Pace", "Scope", "entry_of", "operation"]

P = ParamSpec("P")
R = TypeVar("R")


class Pace(StrEnum):
    """How an answer comes: at once, or as an id to follow."""

    MOMENT = "moment"
    LONG = "long"


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the ledger."""

    name: str
    scope: Scope
    pace: Pace
    summary: str
    func: Callable[..., Any]


LEDGER: dict[str, Entry] = {}
_BY_FUNC: dict[Callable[..., Any], Entry] = {}


def operation(name: str, scope: Scope, pace: Pace = Pace.MOMENT) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Write the function into the ledger; the function itself is left untouched."""

    def register(func: Callable[P, R]) -> Callable[P, R]:
        summary = (func.__doc__ or "").strip().partition("\n")[0]
        if not summary:
            raise TypeError(f"operation {name} has no docstring")
        if name in LEDGER:
            raise TypeError(f"operation {name} is declared twice")
        LEDGER[name] = _BY_FUNC[func] = Entry(name, scope, pace, summary, func)
        return func

    return register


def entry_of(func: Callable[..., Any]) -> Entry:
    """Return the ledger line of an operation."""
    return _BY_FUNC[func]
