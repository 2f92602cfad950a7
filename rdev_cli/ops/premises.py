"""What rdev keeps on this machine: how much of it there is, what nobody needs any more, and all of it gone."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from shlex import quote

from rdev_cli.domain.errors import Cancelled, Partial, RdevError, Unavailable
from rdev_cli.domain.premises import Fate, Holding, Part, PartKind
from rdev_cli.domain.project import Project
from rdev_cli.domain.report import Check, Verdict
from rdev_cli.domain.session import LIVE, Session
from rdev_cli.domain.values import sized
from rdev_cli.domain.worker import POOL, Worker
from rdev_cli.ops.ledger import Pace, Scope, operation
from rdev_cli.ports import World

BUDGET = 10 << 30  # bytes that rdev may take before the doctor warns
FREE = 1 << 30  # bytes that must be free where the state is
YOUNG = 3600  # seconds in which a thing without a record may be that of a command at work
_WORDS = (("pods", PartKind.POD), ("repositories", PartKind.REPOSITORY), ("output", PartKind.OUTPUT), ("records", PartKind.STATE))
_MOST = 10_000  # records that are asked for
SHOWN = 20  # leftovers that the doctor names one by one


def look(world: World) -> Sequence[Check]:
    """Return what the doctor says about rdev's own things: tools, files, the disk, and what has no record any more."""
    parts = world.premises.parts()  # before the records: what is made meanwhile has its record first
    current = next(context.name for context in world.settings.contexts() if context.current)
    return [*world.premises.checks(), disk(parts, world.premises.room(), current), *_leftovers(world, parts, current), *_elsewhere(world)]


def _elsewhere(world: World) -> Sequence[Check]:
    """Return what has no record in a place that is not this machine."""
    from rdev_cli.ops import gc  # noqa: PLC0415 -- a local context needs none of it

    if next(context.runtime for context in world.settings.contexts() if context.current) == "local":
        return []
    try:
        return gc.leftovers(world)
    except RdevError:
        return []  # what cannot be read has a line of its own


def disk(parts: Sequence[Part], free: int, current: str) -> Check:
    """Judge what rdev takes of the disk, in bytes, and name the command that frees most of it."""
    sums = {kind: sum(part.bytes for part in parts if part.kind is kind) for kind in PartKind}
    total = sum(sums.values())
    words = ", ".join(f"{word} {sized(sums[kind])}" for word, kind in _WORDS)
    found = f"{sized(total)} ({words}); {sized(free)} are free"
    if total <= BUDGET and free >= FREE:
        return Check(name="disk", verdict=Verdict.OK, found=found)
    most = max(sums, key=lambda kind: sums[kind])
    biggest = max((part for part in parts if part.kind is most), key=lambda part: part.bytes, default=None)
    why = f"rdev takes more than {sized(BUDGET)}" if total > BUDGET else f"less than {sized(FREE)} is free"
    return Check(name="disk", verdict=Verdict.WARNING, found=f"{why}: {found}", hint=_frees(biggest, current) if biggest else "")


def _frees(part: Part, current: str) -> str:
    name = part.path.rpartition("/")[2]
    where = f" --context {part.context}" if part.context and part.context != current else ""
    if part.foreign:
        return f"{quote(part.path)} is not rdev's: move it away"
    if part.kind is PartKind.POD and name.startswith(f"rdev-{POOL}-"):
        return f"rdev pool drain{where}"
    if part.kind is PartKind.POD and name.startswith("rdev-"):
        return f"rdev project delete {name[5:-9]}{where} frees {sized(part.bytes)}"
    if part.kind is PartKind.REPOSITORY and name.endswith(".git"):
        return f"rdev project delete {name[:-4]}{where} frees {sized(part.bytes)}"
    if part.kind is PartKind.STATE:
        return f"rdev journal prune --before 30d{where}"
    if part.running:
        return f"rdev command cancel {name}{where}"
    return f"rm -r {quote(part.path)} frees {sized(part.bytes)}"


def _leftovers(world: World, parts: Sequence[Part], current: str) -> Sequence[Check]:
    try:
        projects = world.store.projects()
        sessions = world.store.some(Session, of={"state": [one.value for one in LIVE]}, limit=_MOST)
        holders: list[Project | Session | Worker] = [
            *projects,
            *sessions,
            *world.store.some(Worker, limit=_MOST),
        ]  # each has a pod of its own
        ids, pods, repositories = {str(one.id) for one in holders}, {one.pod for one in holders}, {f"{p.name}.git" for p in projects}
        left = [part for part in parts if part.context in ("", current) and _loose(world, part, ids, pods | repositories)]
    except Unavailable:
        return []  # the state itself cannot be read, which has a line of its own
    found = [
        Check(name=f"leftover.{part.kind.value}", verdict=Verdict.WARNING, found=_told(part), hint=_ends(part)) for part in left[:SHOWN]
    ]
    if len(left) > SHOWN:
        more = f"{len(left) - SHOWN} more, {sized(sum(part.bytes for part in left[SHOWN:]))}"
        found.append(Check(name="leftover", verdict=Verdict.WARNING, found=more, hint="end those above, then ask again"))
    return found or [Check(name="leftover", verdict=Verdict.OK, found="everything has its record")]


def _loose(world: World, part: Part, ids: set[str], names: set[str]) -> bool:
    name = part.path.rpartition("/")[2]
    if part.foreign:
        return part.kind is not PartKind.CONFIG  # a link to a file of settings is the user's own way
    if part.kind not in (PartKind.POD, PartKind.REPOSITORY, PartKind.OUTPUT) or part.running:
        return False
    if name.startswith(("run_", ".probe-")):
        return part.seconds > YOUNG
    if part.kind is PartKind.OUTPUT:
        return name not in {command.id for command in world.store.find_commands(name)}
    return name.partition("-")[2] not in ids if name.startswith(".") else name not in names


def _told(part: Part) -> str:
    if part.foreign:
        return f"{part.path}: {part.foreign}"
    whose = {PartKind.POD: "no project or session has this pod", PartKind.REPOSITORY: "no project has this repository"}
    return f"{part.path}: {whose.get(part.kind, 'no command has this output')} ({sized(part.bytes)})"


def _ends(part: Part) -> str:
    path = quote(part.path)
    if part.foreign:
        return f"look at it, and move it away: {path}"
    return f"chmod -R u+rwX {path} && rm -r {path}" if part.kind is PartKind.POD else f"rm -r {path}"


def plan(world: World, *, keep_config: bool = False) -> Sequence[Holding]:
    """Return what `remove` would end, remove and leave, changing nothing."""
    return _said(world, world.premises.parts(), keep_config=keep_config)


@operation("installation.remove", Scope.ADMIN, Pace.LONG)
def remove(world: World, *, keep_config: bool = False) -> Sequence[Holding]:
    """Remove everything that rdev keeps on this machine, in every context.

    Running commands are ended first. Settings, state, cache and the entries in the system's keyring go; links, and what is not
    rdev's, stay and are named. Partial, naming them, if commands do not end (nothing is removed then) or things cannot be removed.
    """
    parts = world.premises.parts()
    still = world.premises.end([part for part in parts if part.running])
    if still:
        names = tuple(part.path.rpartition("/")[2] for part in still)
        raise Partial(
            f"these do not end: {', '.join(names)}; nothing was removed", left=names, hint="end them by hand, then: rdev uninstall"
        )
    _revoked(world, parts)
    said, left, hint = _said(world, parts, keep_config=keep_config), list[str](), "rdev uninstall goes on"
    needed: tuple[str, ...] = ()  # states that alone know which names the keyring holds
    for state in _states(parts):
        if trouble := _forget(world, state.context):
            left.append(trouble)
            needed = (*needed, state.path)
            folder = quote(state.path.rpartition("/")[0])
            hint = f"start or unlock the keyring, then: rdev uninstall; if it is gone for good: rm -r {folder}"
    order = list(PartKind)
    for part in sorted(_going(world.premises.parts(), keep_config=keep_config), key=lambda part: order.index(part.kind)):
        if part.kind is PartKind.INSTALLATION and left:
            continue  # what is left is rdev's by this id alone
        if part.path.startswith(needed):
            continue
        try:
            world.premises.remove(part)
        except Unavailable as e:
            left.append(e.message)
    world.premises.tidy()
    if left:
        raise Partial(f"not everything could be removed: {'; '.join(left[:3])}", left=tuple(left), hint=hint)
    return said


def _revoked(world: World, parts: Sequence[Part]) -> None:
    """Check that no forge has accounts of checkouts still, of which only the states know; nothing is removed before."""
    for state in _states(parts):
        try:
            names = world.at_forge(state.context)
        except Unavailable:
            continue  # what cannot be read knows of none, and stands in nobody's way
        if names:
            gone = quote(state.path.rpartition("/")[0])
            raise Partial(
                f"{len(names)} credentials of checkouts of {state.context} count still: {', '.join(names[:3])}; nothing was removed",
                left=tuple(names),
                hint=f"rdev checkout list --all --context {state.context}, and cancel each; if its forge is gone for good: rm -r {gone}",
            )


def _states(parts: Iterable[Part]) -> Sequence[Part]:
    return [part for part in parts if part.kind is PartKind.STATE and part.path.endswith("/state.db") and not part.foreign]


def _in_keyring(world: World, parts: Iterable[Part]) -> Iterator[Holding]:
    for state in _states(parts):
        entry = Holding(name="", kind="keyring", context=state.context, bytes=0, fate=Fate.REMOVED)
        try:
            yield from (replace(entry, name=name) for name in world.in_keyring(state.context)[1])
        except Unavailable as e:
            yield replace(entry, name=f"rdev/{world.premises.installation() or '...'}/{state.context}", fate=Fate.KEPT, reason=e.message)


def _forget(world: World, context: str) -> str:
    """Remove what a context keeps in the keyring; return what could not be removed and why, empty if nothing is left."""
    try:
        vaults, names = world.in_keyring(context)
    except Unavailable as e:
        # a state that never can be read must not be in the way for ever; what the keyring may hold of it was said
        return "" if e.code == "STATE_DAMAGED" else e.message
    if not names:
        return ""
    gone = 0
    try:
        with vaults.alone():
            vault = vaults.at("keyring")
            for name in names:
                vault.drop(name)
                gone += 1
    except Cancelled:
        raise
    except RdevError as e:  # a locked one would have each of them waited for
        return f"{', '.join(names[gone:])} of {context} in the keyring: {e.message}"
    return ""


def _going(parts: Iterable[Part], *, keep_config: bool) -> Iterable[Part]:
    return (part for part in parts if not part.foreign and not (keep_config and part.kind is PartKind.CONFIG))


def _said(world: World, parts: Sequence[Part], *, keep_config: bool) -> Sequence[Holding]:
    return [*_holdings(parts, keep_config=keep_config), *_in_keyring(world, parts)]


def _holdings(parts: Sequence[Part], *, keep_config: bool) -> Sequence[Holding]:
    """Return the parts as a person looks at them: pods, repositories and outputs of a context together, what runs and what stays one by one."""
    found = [
        Holding(name=part.path.rpartition("/")[2], kind="command", context=part.context, bytes=0, fate=Fate.ENDED)
        for part in parts
        if part.running and "/run_" not in part.path
    ]
    sums: dict[tuple[str, str, str], int] = {}
    for part in _going(parts, keep_config=keep_config):
        several = part.kind in (PartKind.POD, PartKind.REPOSITORY, PartKind.OUTPUT, PartKind.CACHE)
        key = (part.context, part.kind.value, part.path.rpartition("/")[0] if several else part.path)
        sums[key] = sums.get(key, 0) + part.bytes
    found += [
        Holding(name=path, kind=kind, context=context, bytes=count, fate=Fate.REMOVED) for (context, kind, path), count in sums.items()
    ]
    reasons: Mapping[bool, str] = {True: "--keep-config", False: ""}
    for part in parts:
        reason = part.foreign or reasons[keep_config and part.kind is PartKind.CONFIG]
        if reason:
            found.append(
                Holding(name=part.path, kind=part.kind.value, context=part.context, bytes=part.bytes, fate=Fate.KEPT, reason=reason)
            )
    return found
