"""A page of a list: some of the things, and where the next page begins."""

from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some of a list, in its order; `next` is what to ask for to get what follows, None at the end."""

    items: tuple[T, ...]
    next: str | None = None
