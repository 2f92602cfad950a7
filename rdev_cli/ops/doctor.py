"""The doctor: looks at everything that rdev stands on, and proves what it can."""

from collections.abc import Sequence

from rdev_cli.domain.errors import RdevError
from rdev_cli.domain.operation import Operation
from rdev_cli.domain.report import Check, Verdict
from rdev_cli.ops import contexts, credentials, debts, premises
from rdev_cli.ops.agents import proof
from rdev_cli.ops.ledger import Scope, operation
from rdev_cli.ports import World


@operation("doctor.check", Scope.ADMIN)
def check(world: World) -> Sequence[Check]:
    """Look at tools, files, state, journal and isolation, and say what to type about what is wrong."""
    found, unfinished = list(world.settings.checks()), list[Operation]()
    # what is broken is a finding, and the rest is looked at all the same
    try:
        found += world.store.check()
        unfinished += world.store.unfinished()
        found += credentials.checks(world)
        found += premises.look(world)
        found += debts.checks(world)
    except RdevError as e:
        found.append(Check(name="state.open", verdict=Verdict.FAILED, found=e.message, hint=e.hint))
    try:
        found += world.cluster.checks()
    except RdevError as e:
        found.append(Check(name="isolation", verdict=Verdict.FAILED, found=e.message, hint=e.hint))
    found += contexts.forge(world)
    found += [proof(world, agent) for agent in world.agents.all()]
    for left in unfinished:
        noun, _, verb = left.kind.partition(".")
        name = left.subject.partition(":")[2]
        hint = f"rdev {noun} {verb} {name} goes on, rdev {noun} delete {name} clears it"
        if noun == "session":  # whoever starts one again starts another
            hint = f"rdev session end {name} {'clears it' if verb == 'start' else 'goes on'}; so does rdev gc, and rdev serve by itself"
        if noun == "checkin":
            hint = f"rdev checkin {name}{' --merge' if left.spec.get('merge') else ''} goes on"
        found.append(
            Check(
                name=f"unfinished.{left.id}",
                verdict=Verdict.WARNING,
                found=f"{left.kind} {name} was cut off at {left.steps[-1][0] if left.steps else 'its beginning'}",
                hint=hint,
            )
        )
    return found
