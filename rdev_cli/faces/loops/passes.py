"""What each loop does in one pass."""

from collections.abc import Sequence
from datetime import datetime

from rdev_cli.domain.command import OPEN
from rdev_cli.domain.errors import OutcomeUnknown, RdevError
from rdev_cli.domain.resource import OrphanState
from rdev_cli.faces.loops.clockwork import Loop
from rdev_cli.ops import checkouts, commands, gc, jobs, keys, pool, sessions, webhooks
from rdev_cli.ports import World
from rdev_cli.ports.timing import LOOKUP, Stop
from rdev_cli.wiring.log import log
from rdev_cli.wiring.services import Services
from rdev_cli.wiring.serving import Health

WORKERS = 4  # jobs at a time
LAST = LOOKUP  # seconds that passes which are under way have when the server ends


def loops(world: Services, health: Health, used: dict[str, datetime], stop: Stop) -> Sequence[Loop]:
    """Return a server's loops. A job hears the stop and is given back; all else of the world does not, so that requests can end."""
    working = world.acting(world.grant)
    working.stop = stop
    return (
        Loop(name="jobs", every=0.1, body=lambda: jobs.run_one(working, working.acting), alone=False, threads=WORKERS),
        Loop(name="webhooks", every=1, body=lambda: webhooks.deliver(working) > 0, alone=False),
        Loop(name="health", every=30, body=health.look, alone=False),
        Loop(name="commands", every=5, body=lambda: settle(world)),
        Loop(name="keys", every=60, body=lambda: note_used(world, used), alone=False),
        Loop(name="sessions", every=15, body=lambda: sessions.sweep(working) < 0),
        Loop(name="debts", every=60, body=lambda: checkouts.sweep(world) < 0),
        Loop(name="pool", every=10, body=lambda: pool.keep(working) < 0),
        Loop(name="leftovers", every=3600, body=lambda: leftovers(world)),
    )


def settle(world: World) -> bool:
    """Settle the commands that ended while nobody followed them; one pod that does not answer keeps no other's waiting."""
    trouble = None
    for command in world.store.commands(states=OPEN, limit=1000):
        try:
            commands.follow(world, command, wait=0)
        except OutcomeUnknown:  # deleted just now
            pass
        except RdevError as e:
            trouble = e
    if trouble is not None:
        raise trouble
    return False


def note_used(world: World, used: dict[str, datetime]) -> bool:
    """Write down when keys were last used, once for all their requests since the last pass."""
    times = dict(used)
    keys.used(world, times)
    for id, at in times.items():
        if used.get(id) == at:
            del used[id]
    return False


def leftovers(world: World) -> bool:
    """Say how much is left over of projects that are gone; nothing is removed."""
    found = sum(one.state is OrphanState.GARBAGE for one in gc.look(world))
    if found:
        log().warning(f"{found} things are left over of projects that are gone: rdev gc lists them")
    return False
