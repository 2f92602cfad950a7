"""The log of a project's pod, by pages: whoever waits for more is not here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rdev_cli.domain.errors import Invalid
from rdev_cli.domain.output import PAGE
from rdev_cli.ops import known
from rdev_cli.ops.ledger import Scope, operation

if TYPE_CHECKING:
    from rdev_cli.domain.log import LogSpec, PodLog
    from rdev_cli.ports import World


@operation("project.logs", Scope.PROJECTS_READ)
def read(world: World, spec: LogSpec, *, after: str = "", most: int = PAGE) -> PodLog | None:
    """Show the log of a project's pod; in `local`, the output of its newest command.

    A pod's log is what its own first process writes; what commands print is kept with them: rdev command output.
    """
    # one page after a position (the `next` of the page before), of at most the last `most` bytes; None where pods have no log of their own, with all of it asked for
    found = world.cluster.log(known.standing(world, spec.project), spec, after=after, most=most)
    if found is None and not spec.plain:
        raise Invalid(
            "in this context a pod is a folder and has no log of its own, so there is no part of one",
            hint="leave --since, --tail, --previous and --timestamps out to see the newest command's output",
            code="USAGE",
        )
    return found
