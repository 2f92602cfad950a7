"""Contexts: named places to work, and the settings in force."""

from collections.abc import Mapping, Sequence

from rdev_cli.domain.errors import NotFound
from rdev_cli.domain.report import Context, Setting
from rdev_cli.ops.ledger import Scope, operation
from rdev_cli.ports import World


@operation("context.list", Scope.ADMIN)
def list_(world: World) -> Sequence[Context]:
    """List contexts; `local` always exists."""
    return world.settings.contexts()


@operation("context.show", Scope.ADMIN)
def show(world: World, name: str = "") -> Context:
    """Show one context, the current one by default."""
    for context in world.settings.contexts():
        if context.name == name or (not name and context.current):
            return context
    raise NotFound(f"there is no context {name}", hint="rdev context list shows the ones there are", context=name)


@operation("context.view", Scope.ADMIN)
def view(world: World) -> Sequence[Setting]:
    """Show every setting in force and where its value came from."""
    return world.settings.view()


@operation("context.use", Scope.ADMIN)
def use(world: World, name: str) -> Context:
    """Make a context the current one."""
    world.settings.use(name)
    return show(world, name)


@operation("context.set", Scope.ADMIN)
def set_(world: World, name: str, values: Mapping[str, str]) -> Context:
    """Change settings of a context, making it if it is new."""
    world.settings.set(name, values)
    return show(world, name)
