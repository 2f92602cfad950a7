"""Debts: what was made at a provider and must be taken away again, written down before it is made and tried until it is gone."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from rdev_cli.domain.checkout import OWED, Checkout, Debt
from rdev_cli.domain.errors import Conflict, RdevError
from rdev_cli.domain.report import Check, Verdict
from rdev_cli.ops.ensure import HELD

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from rdev_cli.ports import World
    from rdev_cli.ports.store import Writing

ACCOUNT = "account"  # the kind of a debt: leave to write a branch, with the account, the token and the rules that it stands on
FIRST, MOST = 30, 3600  # seconds to the second try, and the most between two
_ALL = 100_000


def owe(tx: Writing, world: World, *, project: str, subject: str, reason: str) -> Debt:
    """Write down, in a transaction before it is made, that something must be taken away; it is due at once, until it is known to be needed."""
    now = world.clock.now()
    debt = Debt(
        id=world.new_id("dbt"), project=project, kind=ACCOUNT, subject=subject, reason=reason, created_at=now, due_at=now, next_at=now
    )
    tx.put(debt)
    return debt


def owed(world: World, *, reason: str = "") -> Sequence[Debt]:
    """Return what is owed, all of it or what was made for one reason, oldest first."""
    return sorted(world.store.some(Debt, of={"reason": reason} if reason else None, limit=_ALL), key=lambda debt: debt.id)


def overdue(world: World) -> Sequence[Debt]:
    """Return what should be gone by now and is not."""
    now = world.clock.now()
    return [debt for debt in owed(world) if debt.due_at <= now]


def pay(world: World, debt: Debt) -> str:
    """Take away what is owed and forget the debt; return what kept it back, empty if it is gone. A repeat changes nothing.

    What was made beside it goes too: the credential in this machine's vault, and the branch if nobody has worked on it.
    """
    house = world.house
    try:
        house.forge.dismiss(debt.subject)
        _tidy(house, debt)
    except RdevError as e:
        _put_off(world, debt, e.message)
        return e.message
    with suppress(RdevError):  # a keyring that is locked here holds what is worth nothing any more
        _forget_token(house, debt)
    with world.store.transaction() as tx:
        if tx.find(Debt, debt.id) is not None:
            tx.drop(Debt, debt.id)
            tx.append("checkout.revoked", debt.reason, {"project": debt.project, "account": debt.subject})
    return ""


def _put_off(world: World, debt: Debt, trouble: str) -> None:
    now = world.clock.now()
    with world.store.transaction() as tx:
        found = tx.find(Debt, debt.id)
        if found is None:
            return
        wait = min(FIRST << min(found.tries, 10), MOST)
        tx.put(replace(found, tries=found.tries + 1, next_at=now + timedelta(seconds=wait), trouble=trouble[:500]))
        if not found.trouble:  # once, and not at every try
            tx.append("checkout.revoke_failed", debt.reason, {"project": debt.project, "account": debt.subject, "trouble": trouble[:500]})


def _forget_token(house: World, debt: Debt) -> None:
    """Forget a token that this machine keeps; where its start was cut off, nobody wrote down the place, which is then the chosen one."""
    record = house.store.find(Checkout, debt.reason)
    if record is not None and not record.place:
        return
    with house.vaults.alone():
        vault = house.vaults.at(record.place) if record is not None else house.vaults.chosen()
        vault.drop(debt.reason)


def _tidy(house: World, debt: Debt) -> None:
    """Remove the branch that was made for it, if it is still as it was made."""
    project = house.store.find_project(debt.project)
    record = house.store.find(Checkout, debt.reason)
    if project is None or (record is not None and record.project_id != project.id):
        return
    name = f"rdev/{debt.reason}"
    sha = house.forge.find_branch(project, name)
    # without a record nobody was ever told its credential, so nobody can have written to it
    if sha and (record is None or sha == record.base):
        with suppress(Conflict):  # it moved on in this moment, or the forge keeps it: it stays
            house.forge.delete_branch(project, name, sha)


def sweep(world: World) -> int:
    """Take away what is due, and what the forge shows past its time although nothing is known of it; return how much is gone now.

    What cannot be taken away is tried again, later and later, for 30 days; then it is left for a person, and the doctor goes on telling.
    """
    house, gone = world.house, 0
    now = house.clock.now()
    for debt in owed(house):
        if debt.due_at <= now and debt.next_at <= now <= debt.due_at + timedelta(seconds=OWED):
            with mine(house, debt.reason) as free:
                if free and (still := house.store.find(Debt, debt.id)) is not None and still.due_at <= house.clock.now():
                    gone += not pay(house, still)
    return gone + _strays(house, now)


def _strays(house: World, now: datetime) -> int:
    """Take away what has no record any more: of a state that was lost, or that was put back to an older time."""
    known = {_stem(debt.subject) for debt in owed(house)}
    late = [access.name for access in house.forge.admitted() if access.expires_at <= now and _stem(access.name) not in known]
    for name in late:
        house.forge.dismiss(name)
        with house.store.transaction() as tx:
            tx.append("checkout.revoked", name, {"project": "", "account": name})
    return len(late)


def _stem(name: str) -> str:
    return name.rpartition("-")[0]


@contextmanager
def mine(world: World, checkout: str) -> Iterator[bool]:
    """Say whether nobody else is at work on a checkout, and keep it so while the block runs; never waits."""
    name, owner = f"checkout:{checkout}", world.new_id("own")
    try:
        with world.store.transaction() as tx:
            tx.take(name, owner=owner, seconds=HELD)
    except Conflict as e:
        if e.code != "BUSY":
            raise
        yield False
        return
    try:
        yield True
    finally:
        with world.store.transaction() as tx:
            tx.release(name, owner)


def checks(world: World) -> Sequence[Check]:
    """Say how many credentials of checkouts count, and which should not any more."""
    all_, late = owed(world), overdue(world)
    found = [
        Check(
            name=f"checkout.{debt.reason}",
            verdict=Verdict.FAILED if debt.tries else Verdict.WARNING,
            found=f"{debt.subject} at the forge of {debt.project} should be gone since {debt.due_at.isoformat(timespec='seconds')}"
            + (f"; {debt.tries} tries: {debt.trouble}" if debt.tries else ""),
            hint=_hint(world, debt),
        )
        for debt in late
    ]
    live = f"{len(all_) - len(late)} in force, {len(late)} past their end"
    return [*found, Check(name="checkout.credentials", verdict=Verdict.OK, found=live)] if all_ else []


def _hint(world: World, debt: Debt) -> str:
    known = world.store.find(Checkout, debt.reason) is not None
    return f"rdev checkout cancel {debt.reason} tries again now" if known else "rdev serve takes it away, and so does: rdev gc"
