"""Contexts: named places to work, and the settings in force."""

from collections.abc import Mapping, Sequence
from pathlib import PurePath

from rdev_cli.domain.errors import Conflict, NotFound, RdevError
from rdev_cli.domain.premises import PartKind
from rdev_cli.domain.report import Check, Context, Setting, Verdict
from rdev_cli.domain.serving import InstallSpec, Manifests
from rdev_cli.ops.ledger import Pace, Scope, operation
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
    """Change settings of a context, making it if it is new.

    Conflict for another kind of forge while there are projects, whose repositories would stay behind.
    """
    there = next((context for context in world.settings.contexts() if context.name == name), None)
    after = values.get("forge") or ("gitea" if values.get("gitea_url") else "")
    if there is not None and after and after != there.forge and (left := _repositories(world, name)):
        raise Conflict(
            f"{name} has repositories {'of a Gitea' if there.forge == 'gitea' else 'here'}: {', '.join(left[:5])}{', …' if left[5:] else ''}",
            hint=f"rdev project delete {left[0]} --context {name}; or give the other forge a context of its own: rdev context set NAME",
            context=name,
        )
    world.settings.set(name, values)
    return show(world, name)


@operation("context.test", Scope.ADMIN, Pace.LONG)
def prove(world: World) -> Sequence[Check]:
    """Prove that a context works: what is in force is measured from inside, and each finding says what to type.

    Of a Gitea: reach, token, owner, and whether it lets rdev make the accounts of checkouts. On a cluster: reach, version, that it is the same cluster as before, rights, image, storage, hardening, and what a pod can connect to.
    Makes two pods there and removes them. NotFound if there is no such context.
    """
    show(world)
    try:
        found = list(world.cluster.checks())
    except RdevError as e:
        found = [Check(name="reach", verdict=Verdict.FAILED, found=e.message, hint=e.hint)]
    return [*found, *forge(world)]


def forge(world: World) -> Sequence[Check]:
    """Look at the forge, if that is another place than this machine."""
    try:
        return world.forge.checks()
    except RdevError as e:
        return [Check(name="forge", verdict=Verdict.FAILED, found=e.message, hint=e.hint)]


@operation("context.install", Scope.ADMIN)
def install(world: World, spec: InstallSpec) -> Manifests:
    """Show what puts rdev serve into a cluster, for kubectl to apply.

    Changes nothing, here or there: whoever may do so applies it, with rights that rdev itself never has.
    """
    return Manifests(namespace=spec.namespace, host=spec.served, manifests=world.shelf.manifests(spec))


@operation("context.remove", Scope.ADMIN)
def remove(world: World, name: str) -> Context:
    """Forget a context that holds no project; its journal and its credentials stay on the disk.

    The world is that context's own. Conflict while it has projects, Invalid for `local`.
    """
    found = show(world, name)
    used = any(part.context == name and part.kind is PartKind.STATE for part in world.premises.parts())
    projects = world.store.projects() if used else ()
    if projects and name != "local":
        raise Conflict(
            f"there are projects in {name}: {', '.join(project.name for project in projects[:5])}{', …' if len(projects) > 5 else ''}",
            hint=f"rdev project delete {projects[0].name} --context {name}",
            context=name,
        )
    world.settings.remove(name)
    return found


def _repositories(world: World, name: str) -> Sequence[str]:
    """Return the projects of a context that have a repository on this machine, or a mirror of one."""
    found = (PurePath(part.path) for part in world.premises.parts() if part.context == name and part.kind is PartKind.REPOSITORY)
    return [path.stem for path in found if path.suffix == ".git" and not path.name.startswith(".")]
