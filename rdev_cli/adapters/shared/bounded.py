"""A call of somebody else's code that may hang: bounded in time, and left behind when its time is over."""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from rdev_cli.domain.errors import RdevError, TimedOut, Unavailable
from rdev_cli.ports.timing import Stop

T = TypeVar("T")


def within(seconds: float, call: Callable[[], T], *, what: str, stop: Stop) -> T:
    """Return what the call returns.

    TimedOut after so many seconds, the stop's error when that is set. A foreign exception becomes Unavailable with its
    kind and without its words, which may hold what the call was given. The call's thread does not keep the process from ending.
    """
    answers: list[T] = []
    failures: list[RdevError] = []
    done = threading.Event()

    def run() -> None:
        try:
            answers.append(call())
        except RdevError as e:
            failures.append(e)
        except Exception as e:  # noqa: BLE001 -- foreign code has errors of its own, and nobody above this thread to raise them to
            failures.append(Unavailable(f"{what} failed: {type(e).__name__}", hint="rdev doctor looks for the cause"))
        finally:
            done.set()

    threading.Thread(target=run, name=what, daemon=True).start()
    end = time.monotonic() + seconds
    while not done.wait(min(0.1, max(0.0, end - time.monotonic()))):
        stop.check(what)
        if time.monotonic() >= end:
            raise TimedOut(f"{what} did not answer in {seconds:.0f} seconds", hint="rdev doctor looks for the cause")
    if failures:
        raise failures[0]
    return answers[0]
