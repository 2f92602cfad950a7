"""What callers of one process share, and what is closed to those who are bound to projects."""

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar, overload

from rdev_cli.domain.errors import Denied

if TYPE_CHECKING:
    from rdev_cli.domain.report import Context
    from rdev_cli.ports import Settings

T = TypeVar("T")

_BUILDING = threading.RLock()  # for one part asks for others while it is built


class shared(Generic[T]):  # noqa: N801 -- beside cached_property, and used as it
    """A part of the world that is built when first asked for, once for all callers, whichever thread comes first."""

    def __init__(self, build: Callable[[Any], T]) -> None:
        self._build, self.__doc__ = build, build.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, instance: None, owner: type) -> "shared[T]": ...
    @overload
    def __get__(self, instance: object, owner: type) -> T: ...
    def __get__(self, instance: Any, owner: type) -> "shared[T] | T":
        if instance is None:
            return self
        with _BUILDING:
            root = instance.root
            if self._name not in root.__dict__:
                root.__dict__[self._name] = self._build(root)
            found: T = root.__dict__[self._name]
        instance.__dict__[self._name] = found  # the next look finds it there, without a lock
        return found


class Closed:
    """A part of the world that belongs to no project; whoever is bound to projects is denied whatever it asks of it."""

    def __getattr__(self, name: str) -> NoReturn:
        raise Denied(
            "a key that is bound to projects may not touch what belongs to none of them", hint="use a key that was made without --project"
        )


class BoundSettings(Closed):
    """The settings, for whoever is bound to projects: how agents are run, and nothing else."""

    def __init__(self, settings: "Settings") -> None:
        self._settings = settings

    def contexts(self) -> "Sequence[Context]":
        return ()

    def default_agent(self) -> str:
        return self._settings.default_agent()

    def agent(self, name: str) -> Mapping[str, Any]:
        return self._settings.agent(name)
