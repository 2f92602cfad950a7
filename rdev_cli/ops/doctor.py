"""The doctor: looks at everything that rdev stands on, and proves what it can."""

from collections.abc import Sequence

from rdev_cli.domain.errors import RdevError
from rdev_cli.domain.report import Check, Verdict
from rdev_cli.ops import premises
from rdev_cli.ops.ledger import Scope, operation
from rdev_cli.ports import World
from rdev_cli.ports.agent import Agent
from rdev_cli.ports.timing import STANDARD


@operation("doctor.check", Scope.ADMIN)
def check(world: World) -> Sequence[Check]:
    """Look at tools, files, state, journal and isolation, and say what to type about what is wrong."""
    found = [*world.settings.checks(), *world.store.check(), *world.cluster.checks()]
    found += [_agent(world, agent) for agent in world.agents.all()]
    found += premises.look(world)
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


def _agent(world: World, agent: Agent) -> Check:
    """Look at an agent by asking it for its version from inside an empty pod: what is not shown there cannot run there."""
    name, program = f"agent.{agent.name}", agent.program()
    if program is None:
        hint = f"install it, or say where it is: rdev context set NAME --agent-path {agent.name}=PATH"
        return Check(name=name, verdict=Verdict.WARNING, found="not on this machine", hint=hint)
    try:
        code, said = world.cluster.attempt((*program.argv, "--version"), tools=program.paths, network=False, timeout=STANDARD)
    except RdevError as e:
        return Check(name=name, verdict=Verdict.WARNING, found=f"{program.argv[-1]}: {e.message}", hint=e.hint)
    words = said.decode(errors="replace").strip().splitlines()
    if code != 0:
        why = words[-1] if words else "no word"
        return Check(name=name, verdict=Verdict.FAILED, found=f"{program.argv[-1]} does not run in a pod: {why}", hint="reinstall it")
    return Check(name=name, verdict=Verdict.OK, found=f"{words[0] if words else ''} ({program.argv[-1]}), proved from inside a pod")
