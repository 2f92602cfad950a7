"""The doctor: looks at everything that rdev stands on, and proves what it can."""

from collections.abc import Sequence

from rdev_cli.domain.report import Check, Verdict
from rdev_cli.ops import credentials
from rdev_cli.ops.agents import proof
from rdev_cli.ops.ledger import Scope, operation
from rdev_cli.ports import World


@operation("doctor.check", Scope.ADMIN)
def check(world: World) -> Sequence[Check]:
    """Look at tools, files, state, journal and isolation, and say what to type about what is wrong."""
    found = [*world.settings.checks(), *world.store.check(), *world.cluster.checks(), *credentials.checks(world)]
    found += [proof(world, agent) for agent in world.agents.all()]
    for left in world.store.unfinished():
        noun, _, verb = left.kind.partition(".")
        name = left.subject.partition(":")[2]
        found.append(
            Check(
                name=f"unfinished.{left.id}",
                verdict=Verdict.WARNING,
                found=f"{left.kind} {name} was cut off at {left.steps[-1][0] if left.steps else 'its beginning'}",
                hint=f"rdev {noun} {verb} {name} goes on, rdev {noun} delete {name} clears it",
            )
        )
    return found
