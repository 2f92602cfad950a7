"""Time as rdev uses it: a clock that tests own, a stop that everything waiting is given, and named limits."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Protocol

from rdev_cli.domain.errors import Cancelled, RdevError, TimedOut

if TYPE_CHECKING:
    from datetime import datetime

# Every call that leaves the process is bounded by one of these (seconds).
FAST_LOOKUP = 5.0
LOOKUP = 10.0
STANDARD = 30.0
HEAVY_WRITE = 60.0
ORCHESTRATION = 90.0
LONG_RUNNING = 600.0


class Clock(Protocol):
    """Time, so that tests own it."""

    def now(self) -> datetime:
        """Return the aware time, in UTC."""
        ...

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        ...


class Stop:
    """What everything that waits is given: it says whether to stop, and why (`cancelled` or `timeout`)."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self.reason = ""

    def set(self, reason: str) -> None:
        """Say stop; the first reason stands."""
        if not self._event.is_set():
            self.reason = reason
            self._event.set()

    def is_set(self) -> bool:
        """Say whether anybody said stop."""
        return self._event.is_set()

    def wait(self, seconds: float) -> bool:
        """Wait at most that long; return whether anybody said stop."""
        return self._event.wait(seconds)

    def error(self, what: str) -> RdevError:
        """Return the error that fits the reason."""
        if self.reason == "timeout":
            return TimedOut(f"{what} took longer than allowed", hint="give more time with --timeout")
        return Cancelled(f"{what} was stopped")

    def check(self, what: str) -> None:
        """Raise the error that fits the reason if anybody said stop."""
        if self.is_set():
            raise self.error(what)
