"""Checkouts: a branch of a project on the user's own machine, with a credential that reaches nothing else and ends."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from rdev_cli.domain.checkout import LASTS, Checkout, CheckoutFolder, CheckoutSpec, CheckoutStarted, CheckoutState, Debt, Mark
from rdev_cli.domain.errors import Conflict, NotFound, Partial, RdevError
from rdev_cli.domain.page import Page
from rdev_cli.domain.values import Secret, shown
from rdev_cli.ops import debts, known
from rdev_cli.ops.ensure import lease
from rdev_cli.ops.ledger import Scope, operation
from rdev_cli.ports.forge import Access, access_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rdev_cli.domain.project import Project
    from rdev_cli.ports import World
    from rdev_cli.ports.forge import Admitted, Branch

_SHOWN = 20  # names of files in an error


@operation("checkout.start", Scope.PROJECTS_EXECUTE)
def start(world: World, spec: CheckoutSpec, *, id: str = "", keep: bool = False) -> CheckoutStarted:
    """Start a checkout: a branch of its own, and a credential that can write this branch alone, for a while.

    What must be taken away again is written down before it is made. The credential is told once, and never again. NotFound for a
    branch that there is not; a failure undoes everything, and Partial names what could not be undone and is tried again.
    """
    # With `keep` this machine's vault holds the credential, for git's helper. With an `id` that was begun before, and cut off, it goes on.
    project, target, base = _ground(world, spec)
    id = id or world.new_id("chk")
    with lease(world, f"checkout:{id}"):
        return _begun(world, project, spec, id, keep=keep) or _made(world, project, spec, id, target=target, base=base, keep=keep)


def _ground(world: World, spec: CheckoutSpec) -> tuple[Project, str, str]:
    """Return the project, the branch to start from and the commit that it is at."""
    project = known.ready(world, spec.project)
    target = spec.branch or project.branch
    base = world.forge.find_branch(project, target)
    if not base:
        raise NotFound(
            f"{project.name} has no branch {shown(target)}", hint=f"rdev branch list {project.name} shows the ones there are", branch=target
        )
    return project, target, base


def _begun(world: World, project: Project, spec: CheckoutSpec, id: str, *, keep: bool) -> CheckoutStarted | None:
    """Return a checkout that is there under an id, with a fresh credential; take away what one left behind that was cut off before."""
    found, left = world.store.find(Checkout, id), debts.owed(world, reason=id)
    if found is None:
        for debt in left:
            if trouble := debts.pay(world, debt):
                raise _still_owed(id, trouble)
        return None
    if found.project != spec.project or now_ended(world, found) or not left:
        raise over(found)
    admitted = world.forge.admit(project, Access(name=left[0].subject, branch=found.branch, expires_at=found.expires_at))
    found = replace(found, place=_keep(world, id, admitted.token) if keep and admitted.token.reveal() else "")
    with world.store.transaction() as tx:
        tx.put(found)
    return _started(found, admitted)


def _made(world: World, project: Project, spec: CheckoutSpec, id: str, *, target: str, base: str, keep: bool) -> CheckoutStarted:
    now = world.clock.now()
    ends = now + timedelta(seconds=spec.lasts_seconds)
    access = Access(name=access_name(id, ends), branch=f"rdev/{id}", expires_at=ends)
    with world.store.transaction() as tx:
        known.still(tx, project)
        debt = debts.owe(tx, world, project=project.name, subject=access.name, reason=id)
        tx.append("checkout.requested", id, {"project": project.name, "branch": access.branch, "target": target})
    try:
        world.forge.ensure_branch(project, access.branch, base)
        admitted = world.forge.admit(project, access)
        place = _keep(world, id, admitted.token) if keep and admitted.token.reveal() else ""
        made = Checkout(
            id=id, project=project.name, project_id=project.id, branch=access.branch, target=target, base=base, state=CheckoutState.ACTIVE,
            url=world.forge.url(project.name), account=admitted.account, actor=world.actor, created_at=now, expires_at=ends, place=place,
        )  # fmt: skip
        world.stop.check(f"checkout {id}")
        with world.store.transaction() as tx:
            known.still(tx, project)
            tx.put(made)
            tx.put(replace(debt, due_at=ends, next_at=ends))
            facts = {"project": project.name, "branch": made.branch, "target": target, "base": base, "expires_at": ends}
            tx.append("checkout.started", id, facts)
    except BaseException as e:
        trouble = debts.pay(world, debt)
        with world.store.transaction() as tx:
            tx.append("checkout.undone", id, {"project": project.name})
        if trouble:
            raise _still_owed(id, trouble, because=e) from e
        raise
    return _started(made, admitted)


def _started(made: Checkout, admitted: Admitted) -> CheckoutStarted:
    own = {each.name: getattr(made, each.name) for each in fields(Checkout)}
    return CheckoutStarted(**own, token=admitted.token.reveal(), push_option=admitted.push_option)


def _keep(world: World, id: str, credential: Secret) -> str:
    vaults = world.house.vaults
    with vaults.alone():
        vault = vaults.chosen()
        vault.put({id: credential})
        return vault.place


def _still_owed(id: str, trouble: str, *, because: BaseException | None = None) -> Partial:
    why = f"{because.message if isinstance(because, RdevError) else because or 'stopped'}; " if because is not None else ""
    return Partial(
        f"{why}the credential of {id} could not be taken away: {trouble}",
        left=(f"credential of {id}",),
        hint="rdev serve goes on trying for 30 days, and so does: rdev gc",
        checkout=id,
    )


def open_(world: World, spec: CheckoutSpec, folder: str, *, context: str, helper: Callable[[str], Sequence[str]]) -> CheckoutFolder:
    """Start a checkout and clone it into a folder that is not there yet; one that was cut off goes on where it stands.

    `helper` gives what git shall ask for the credential of a checkout, `context` is the name of the one that has it. Conflict FOLDER_TAKEN,
    with nothing done, for a folder that is there; a failure or a stop undoes everything.
    """
    project, target, base = _ground(world, spec)
    id = world.new_id("chk")
    wanted = Mark(
        checkout=id, context=context, project=spec.project, target=spec.branch, branch=f"rdev/{id}", url=world.forge.url(project.name)
    )
    while True:
        top, mark = world.copies.claim(folder, wanted)
        with lease(world, f"checkout:{mark.checkout}"):
            # another process may have been at it until now: then it is whole, or gone
            if world.copies.claim(folder, wanted)[1].checkout != mark.checkout:
                continue
            before = world.store.find(Checkout, mark.checkout)
            if before is not None and now_ended(world, before):  # it was cut off too long ago to go on with
                world.copies.undo(top, mark.checkout)
                continue
            try:
                own = (world, project, spec, mark.checkout)
                made = _begun(*own, keep=True) or _made(*own, target=target, base=base, keep=True)
                # where the token goes is the record's to say: a folder, with its mark, may come from anybody
                sure = replace(mark, url=made.url, branch=made.branch, push_option=made.push_option)
                world.copies.clone(
                    top, sure, base=made.base, helper=helper(made.id) if made.account else (),
                    account=made.account, token=Secret(made.token),
                )  # fmt: skip
            except BaseException as e:
                _unmade(world, top, mark.checkout, e)
                raise
            return CheckoutFolder(**{each.name: getattr(made, each.name) for each in fields(Checkout)}, folder=top)


def _unmade(world: World, top: str, id: str, because: BaseException) -> None:
    """Take back a folder and what was made for it; Partial if the credential cannot be taken away yet."""
    world.copies.undo(top, id)
    found = world.store.find(Checkout, id)
    if found is not None and not finish(world, found, CheckoutState.CANCELLED):
        raise _still_owed(id, _trouble(world, id), because=because) from because


@operation("checkout.list", Scope.PROJECTS_READ)
def list_(world: World, *, project: str = "", ended: bool = False, before: str = "", limit: int = 50) -> Page[Checkout]:
    """List checkouts, newest first: those that are active, or all of them."""
    # a page of those older than `before` (an id), whose `next` is what to give as `before`
    if project:
        known.project(world, project)
    of = None if ended else {"state": CheckoutState.ACTIVE.value}
    found = [as_it_is(world, one) for one in world.store.some(Checkout, project=project, of=of, before=before, limit=limit + 1)]
    page = [one for one in found[:limit] if ended or one.state is CheckoutState.ACTIVE]
    return Page(tuple(page), found[limit - 1].id if len(found) > limit else None)


@operation("checkout.show", Scope.PROJECTS_READ)
def show(world: World, checkout: str) -> Checkout:
    """Show a checkout: its branch, until when its credential counts, and what became of it."""
    return as_it_is(world, known.checkout(world, checkout))


@operation("checkout.extend", Scope.PROJECTS_EXECUTE)
def extend(world: World, checkout: str, *, lasts_seconds: int = LASTS) -> Checkout:
    """Let a checkout go on until so long from now; one that lasts longer already stays as it is.

    Conflict ENDED if it is over.
    """
    found = known.checkout(world, checkout)
    spec = CheckoutSpec(project=found.project, lasts_seconds=lasts_seconds)  # which checks the time
    with lease(world, f"checkout:{found.id}"):
        found = known.checkout(world, found.id)
        if now_ended(world, found):
            raise over(found)
        project = known.ready(world, found.project)
        ends = world.clock.now() + timedelta(seconds=spec.lasts_seconds)
        if ends <= found.expires_at:
            return found
        # the forge first: whatever cuts this off, it is taken away at the time that is written down
        left = debts.owed(world, reason=found.id)
        if not left:
            raise over(found)
        for debt in left:
            name = world.forge.extend(project, Access(name=debt.subject, branch=found.branch, expires_at=ends))
            with world.store.transaction() as tx:
                if (now := tx.find(Checkout, found.id)) is None or now.state is not CheckoutState.ACTIVE:
                    raise over(now or found)
                found = replace(now, expires_at=ends, account=name if now.account else "")
                tx.put(found)
                tx.put(replace(debt, subject=name, due_at=ends, next_at=ends, tries=0, trouble=""))
                tx.append("checkout.extended", found.id, {"project": found.project, "expires_at": ends})
    return found


@operation("checkout.cancel", Scope.PROJECTS_EXECUTE)
def cancel(world: World, checkout: str) -> Checkout:
    """Cancel a checkout: its credential counts no more; what was pushed stays on its branch, and every folder stays as it is.

    To cancel it again changes nothing. Partial if the credential could not be taken away yet; the same command tries again.
    """
    found = known.checkout(world, checkout, whole=True)
    with lease(world, f"checkout:{found.id}"):
        done = finish(world, found, CheckoutState.CANCELLED)
        found = known.checkout(world, found.id)
    if not done:
        raise Partial(
            f"{found.id} is {found.state.value}, but its credential could not be taken away: {_trouble(world, found.id)}",
            left=(f"credential of {found.id}",),
            hint=f"rdev serve goes on trying for 30 days; rdev checkout cancel {found.id} tries again now",
            checkout=found.id,
        )
    return found


def finish(world: World, checkout: Checkout, state: CheckoutState) -> bool:
    """End a checkout that is active, as cancelled, expired or checked in, and take its credential away; return whether that is gone.

    One that has ended stays as it ended, and what is owed for it is tried again. The caller holds its lease, or does not care who else ends it.
    """
    now, left = world.clock.now(), debts.owed(world, reason=checkout.id)
    with world.store.transaction() as tx:
        found = tx.find(Checkout, checkout.id)
        if found is not None and found.state is CheckoutState.ACTIVE:
            tx.put(replace(found, state=state, ended_at=now))
            tx.append(f"checkout.{state.value}", found.id, {"project": found.project, "branch": found.branch})
        for debt in left:  # in the same transaction: whatever cuts this off, it is due
            if debt.due_at > now and tx.find(Debt, debt.id) is not None:
                tx.put(replace(debt, due_at=now, next_at=now))
    return not [debt for debt in left if debts.pay(world, debt)]


def cancel_all(world: World, project: Project) -> None:
    """Cancel every checkout of a project that goes; Partial names those whose credentials could not be taken away."""
    active = world.store.some(Checkout, project=project.name, of={"state": CheckoutState.ACTIVE.value}, limit=100_000)
    for one in active:
        finish(world, one, CheckoutState.CANCELLED)
    # one whose start was cut off has no record
    left = [(debt, trouble) for debt in debts.owed(world) if debt.project == project.name and (trouble := debts.pay(world, debt))]
    if left:
        words = tuple(f"the credential of {debt.reason} stays: {trouble}" for debt, trouble in left)
        raise Partial("; ".join(words), left=words, hint=f"rdev project delete {project.name}")


def expire(world: World) -> int:
    """End the checkouts whose time is over, and return how many credentials went with them; what somebody is at work on has its turn later."""
    house, count = world.house, 0
    now = house.clock.now()
    for found in house.store.some(Checkout, of={"state": CheckoutState.ACTIVE.value}, limit=100_000):
        if found.expires_at <= now:
            with debts.mine(house, found.id) as free:
                if free and (still := house.store.find(Checkout, found.id)) is not None and still.expires_at <= house.clock.now():
                    count += finish(house, still, CheckoutState.EXPIRED)
    return count


def sweep(world: World) -> int:
    """End what is over, and take away what is owed; return how many credentials are gone now."""
    return expire(world) + debts.sweep(world)


def now_ended(world: World, checkout: Checkout) -> bool:
    """Say whether a checkout is over, by its record or by the clock."""
    return checkout.state is not CheckoutState.ACTIVE or checkout.expires_at <= world.clock.now()


def as_it_is(world: World, checkout: Checkout) -> Checkout:
    """Return a checkout as it stands: past its time it is over, even if nobody has written that down yet."""
    over = checkout.state is CheckoutState.ACTIVE and checkout.expires_at <= world.clock.now()
    return replace(checkout, state=CheckoutState.EXPIRED, ended_at=checkout.expires_at) if over else checkout


def token(world: World, checkout: Checkout) -> Secret:
    """Return the credential of a checkout that this machine keeps, an empty one where the forge needs none.

    Conflict NO_TOKEN if it was told to somebody else, or is gone from the vault.
    """
    if not checkout.account:
        return Secret("")
    found = world.house.vaults.at(checkout.place).get(checkout.id) if checkout.place else None
    if found is None:
        raise Conflict(
            f"the credential of {checkout.id} is not on this machine",
            hint=f"push with git where it is, or make a new checkout: rdev checkout start {checkout.project}",
            code="NO_TOKEN",
            checkout=checkout.id,
        )
    return found


def credential(world: World, checkout: str, asked: Mapping[str, str]) -> tuple[str, Secret] | None:
    """Return account and token of a checkout for what git asks, None unless that is the checkout's own address, to the letter.

    Conflict ENDED if the checkout is over.
    """
    found = known.checkout(world, checkout, whole=True)
    if f"{asked.get('protocol', '')}://{asked.get('host', '')}/{asked.get('path', '')}" != found.url or not found.account:
        return None
    if now_ended(world, found):
        raise over(found)
    return found.account, token(world, found)


def commit(world: World, checkout: Checkout, folder: str, message: str) -> str:
    """Commit what is staged in the folder of a checkout and return its head; nothing leaves the machine.

    Conflict WORKTREE_DIRTY if nothing is staged and something is changed, or if git is in the middle of something there.
    """
    copy = world.copies.look(folder)
    if copy.mark.checkout != checkout.id:
        raise Conflict(
            f"{copy.folder} is the folder of {copy.mark.checkout}",
            hint=f"go to the folder of {checkout.id}",
            code="NO_CHECKOUT",
            folder=copy.folder,
        )
    if copy.branch != checkout.branch:
        raise Conflict(
            f"{copy.folder} is on {shown(copy.branch) or 'no branch'}, and the checkout's branch is {checkout.branch}",
            hint=f"git switch {checkout.branch}, and bring your commits onto it: only this branch can be checked in",
            code="OTHER_BRANCH",
            branch=checkout.branch,
        )
    if copy.busy:
        raise Conflict(
            f"a {copy.busy} is under way in {copy.folder}",
            hint="finish it, or give it up; git status says how",
            code="WORKTREE_DIRTY",
            files=(),
        )
    if copy.staged:
        return world.copies.commit_staged(copy, message or f"Work of {checkout.id}")
    if copy.dirty:
        named = ", ".join(shown(name) for name in copy.dirty[:5]) + (", …" if len(copy.dirty) > 5 else "")
        raise Conflict(
            f"nothing is staged, and {len(copy.dirty)} file{'s are' if len(copy.dirty) != 1 else ' is'} changed: {named}",
            hint="add what belongs to it (git add FILE, git add -A), or put it away (git stash -u)",
            code="WORKTREE_DIRTY",
            files=copy.dirty[:_SHOWN],
        )
    return copy.head


def publish(world: World, checkout: Checkout, folder: str, message: str) -> str:
    """Commit what is staged in the folder of a checkout, bring its branch to the forge, fast-forward, and return the commit.

    Everything that `commit` raises; Conflict ENDED for a checkout that is over, HEAD_MOVED, Denied PUSH_REFUSED.
    """
    if now_ended(world, checkout):
        raise over(checkout)
    sha = commit(world, checkout, folder, message)
    # one that was killed behind its push has brought it there; and a push of nothing, with an option, is one that git may die of (SIGPIPE)
    if world.forge.find_branch(known.project(world, checkout.project), checkout.branch) != sha:
        copy, own = world.copies.look(folder), token(world, checkout)
        world.copies.push(copy, sha, url=checkout.url, branch=checkout.branch, account=checkout.account, token=own)
    return sha


@operation("branch.list", Scope.PROJECTS_READ)
def branches(world: World, project: str) -> Sequence[Branch]:
    """List the branches of a project's repository, and the commit that each is at."""
    return world.forge.branches(known.project(world, project))


def _trouble(world: World, id: str) -> str:
    return next((debt.trouble for debt in debts.owed(world, reason=id) if debt.trouble), "it is not known why")


def over(checkout: Checkout) -> Conflict:
    """Return what to say of a checkout whose time is over, or that was ended."""
    how = {CheckoutState.ACTIVE: "is over", CheckoutState.EXPIRED: "is over"}.get(
        checkout.state, f"is {checkout.state.value.replace('_', ' ')}"
    )
    return Conflict(
        f"the checkout {checkout.id} {how}",
        hint=f"rdev checkout start {checkout.project} begins another; what you have in its folder stays",
        code="ENDED",
        checkout=checkout.id,
    )
