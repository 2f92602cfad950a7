"""The clock: named loops, each at its interval, one of two servers at a time where that matters; trouble is told once and never ends one."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rdev_cli.domain.errors import Conflict, RdevError
from rdev_cli.ports import World
from rdev_cli.ports.timing import LONG_RUNNING, Stop
from rdev_cli.wiring.log import log

HELD = LONG_RUNNING  # seconds that a loop's lease is taken for; a holder that died is told by its process, not by this
AGAIN = 5.0  # seconds after which a loop that another server has asks for its lease again


@dataclass(slots=True, kw_only=True)
class Loop:
    """Something that is done again and again."""

    name: str
    every: float  # seconds between the end of one pass and the beginning of the next
    body: Callable[[], bool]  # True: there is more to do at once
    alone: bool = True  # of two servers on one state only one does it
    threads: int = 1
    # what /metrics tells
    passes: int = 0
    failures: int = 0
    well_at: float = 0.0  # Unix seconds at the end of the last good pass


class Clockwork:
    """The loops of a server, in threads of their own, until they are stopped."""

    def __init__(self, world: World, loops: Sequence[Loop], stop: Stop, *, close: Callable[[], None] = lambda: None) -> None:
        self.loops, self._world, self._stop, self._close = loops, world, stop, close
        # a pass that will not end is left behind when the process goes; what it does stands in the state, and is taken up again
        self._threads = [
            threading.Thread(target=self._run, args=(loop,), name=f"loop {loop.name}", daemon=True)
            for loop in loops
            for _ in range(loop.threads)
        ]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def join(self, seconds: float) -> Sequence[str]:
        """Wait at most so long for the passes that are under way once the stop is set; return the loops that are still at it."""
        end = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))
        return [thread.name.partition(" ")[2] for thread in self._threads if thread.is_alive()]

    def _run(self, loop: Loop) -> None:
        turn, trouble = _Turn(self._world, loop), ""
        try:
            while not self._stop.is_set():
                more, wait = False, loop.every
                try:
                    if turn.mine():
                        more = loop.body()
                        loop.passes, loop.well_at = loop.passes + 1, time.time()
                        if trouble:
                            log().info("a loop works again", extra={"loop": loop.name})
                        trouble = ""
                    else:
                        wait = max(AGAIN, loop.every)
                except Exception as e:  # noqa: BLE001 -- the loop's body: whatever happens, the next pass comes
                    loop.failures += 1
                    words = e.message if isinstance(e, RdevError) else f"{type(e).__name__}: {e}"
                    if words != trouble:  # once, and not at every pass
                        log().error("a loop failed", extra={"loop": loop.name, "error": words, "code": getattr(e, "code", "INTERNAL")})
                    trouble, wait = words, max(1.0, loop.every)
                if not more:
                    self._stop.wait(wait)
            turn.over()
        finally:
            self._close()


class _Turn:
    """Whose turn it is: a lease on the loop's name, kept while its holder lives, and written anew only when half of it is over."""

    def __init__(self, world: World, loop: Loop) -> None:
        self._world, self._alone, self._name = world, loop.alone, f"loop:{loop.name}"
        self._owner, self._until = world.new_id("own"), 0.0

    def mine(self) -> bool:
        if not self._alone or time.monotonic() < self._until:
            return True
        try:
            with self._world.store.transaction() as tx:
                tx.take(self._name, owner=self._owner, seconds=HELD)
        except Conflict as e:
            if e.code != "BUSY":
                raise
            return False
        self._until = time.monotonic() + HELD / 2
        return True

    def over(self) -> None:
        if self._until:
            try:
                with self._world.store.transaction() as tx:
                    tx.release(self._name, self._owner)
            except RdevError as e:
                log().warning("a loop's lease was not given back", extra={"loop": self._name, "error": e.message, "code": e.code})
