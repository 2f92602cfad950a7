"""Checkouts and what is owed for them: written down first, taken away in the end, tried again meanwhile. T-CO-1, 2."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from rdev_cli.domain.access import Grant, Scope
from rdev_cli.domain.checkout import OWED, Checkout, CheckoutSpec, CheckoutState, Debt
from rdev_cli.domain.codec import plain
from rdev_cli.domain.errors import Cancelled, Conflict, Invalid, NotFound, Partial, RdevError, Unavailable
from rdev_cli.domain.project import ProjectSpec
from rdev_cli.domain.report import Verdict
from rdev_cli.faces.http.metrics import Metrics
from rdev_cli.ops import checkouts, debts, known, projects
from rdev_cli.ports.forge import Access
from rdev_cli.ports.timing import Stop
from tests.fakes.world import MemoryWorld

pytestmark = pytest.mark.state
SPEC = CheckoutSpec(project="shop", lasts_seconds=3600)


class Clock:
    """A clock that is put on by hand."""

    def __init__(self) -> None:
        self.at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.at.timestamp()

    def pass_(self, **how: float) -> None:
        self.at += timedelta(**how)


@pytest.fixture
def clock(world: MemoryWorld) -> Clock:
    one = Clock()
    world.__dict__["clock"] = one
    return one


def holders(world: MemoryWorld) -> list[str]:
    return [access.name for access in world.forge.admitted()]


def kinds(world: MemoryWorld, subject: str) -> list[str]:
    return [event.kind.partition(".")[2] for event in world.store.events(after=0, subject=subject)]


def figures(world: MemoryWorld) -> dict[str, float]:
    page = Metrics(world).page()[0].decode().splitlines()
    return {line.split()[0]: float(line.split()[1]) for line in page if line.startswith("rdev_tokens_")}


def test_t_co_1_the_debt_is_written_down_before_the_token_exists(world: MemoryWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Debt] = []
    admit, ensure = world.forge.admit, world.forge.ensure_branch

    def admits(project, access: Access):
        seen.extend(debts.owed(world))
        return admit(project, access)

    def ensures(project, name: str, sha: str) -> None:
        assert len(debts.owed(world)) == 1
        ensure(project, name, sha)

    monkeypatch.setattr(world.forge, "admit", admits)
    monkeypatch.setattr(world.forge, "ensure_branch", ensures)
    made = checkouts.start(world, SPEC)
    (before,), (after,) = seen, debts.owed(world)
    assert before.due_at == before.created_at  # if this process dies now, it is due at once
    assert (after.id, after.due_at, after.reason) == (before.id, made.expires_at, made.id)
    assert before.subject == made.account == f"rdev-co-{made.id[-8:]}-{int(made.expires_at.timestamp())}"


@pytest.mark.parametrize("trouble", ["admit:before", "admit:after"])
def test_what_fails_is_undone_and_nothing_is_owed(world: MemoryWorld, trouble: str) -> None:
    world.forge.trouble.add(trouble)
    with pytest.raises(Unavailable):
        checkouts.start(world, SPEC, keep=True)
    assert (debts.owed(world), holders(world), checkouts.list_(world, ended=True).items) == ([], [], ())
    assert [one.name for one in world.forge.branches(known.project(world, "shop"))] == ["main"]
    assert not (world.folder / "vault.json").exists()


def test_what_cannot_be_undone_is_said_and_taken_away_later(world: MemoryWorld, clock: Clock) -> None:
    world.forge.trouble |= {"admit:after", "dismiss:before"}
    with pytest.raises(Partial, match="did not answer") as left:
        checkouts.start(world, SPEC)
    assert left.value.hint == "rdev serve goes on trying for 30 days, and so does: rdev gc"
    assert len(holders(world)) == 1
    world.forge.trouble.clear()
    assert checkouts.sweep(world) == 0  # its next try comes later
    clock.pass_(seconds=31)
    assert checkouts.sweep(world) == 1
    assert (debts.owed(world), holders(world)) == ([], [])


def test_t_co_2_while_the_forge_is_down_it_is_tried_later_and_later_for_thirty_days_and_told(world: MemoryWorld, clock: Clock) -> None:
    made = checkouts.start(world, SPEC)
    assert figures(world) == {"rdev_tokens_live": 1, "rdev_tokens_past_expiry": 0}
    world.forge.trouble.add("dismiss:before")
    with pytest.raises(Partial, match="could not be taken away: dismiss:before") as left:
        checkouts.cancel(world, made.id)
    assert made.id in left.value.hint
    assert checkouts.show(world, made.id).state is CheckoutState.CANCELLED
    assert figures(world) == {"rdev_tokens_live": 0, "rdev_tokens_past_expiry": 1}
    waits, tries = [], 1
    while clock.at < datetime(2026, 1, 2, 9, tzinfo=UTC):
        before = clock.at
        (debt,) = debts.owed(world)
        clock.at = debt.next_at - timedelta(seconds=1)
        assert checkouts.sweep(world) == 0
        assert debts.owed(world)[0].tries == tries
        clock.at = debt.next_at
        assert checkouts.sweep(world) == 0
        tries += 1
        assert debts.owed(world)[0].tries == tries
        waits.append((clock.at - before).total_seconds())
    assert waits[:7] == [30, 60, 120, 240, 480, 960, 1920]
    assert max(waits) == 3600
    checks = {check.name: check for check in debts.checks(world)}
    assert checks[f"checkout.{made.id}"].verdict is Verdict.FAILED
    assert checks[f"checkout.{made.id}"].hint == f"rdev checkout cancel {made.id} tries again now"
    clock.pass_(seconds=OWED)
    (debt,) = debts.owed(world)
    assert (checkouts.sweep(world), debts.owed(world)) == (0, [debt])  # a person's turn, who is told of it
    assert kinds(world, made.id).count("revoke_failed") == 1
    world.forge.trouble.clear()
    assert checkouts.cancel(world, made.id).state is CheckoutState.CANCELLED
    assert (debts.owed(world), holders(world), debts.checks(world)) == ([], [], [])
    assert figures(world) == {"rdev_tokens_live": 0, "rdev_tokens_past_expiry": 0}


def test_t_co_1_what_a_lost_state_knew_nothing_of_goes_when_its_name_says_so(world: MemoryWorld, clock: Clock) -> None:
    made = checkouts.start(world, SPEC)
    with world.store.transaction() as tx:  # the state is put back to a time before
        tx.drop(Checkout, made.id)
        tx.drop(Debt, debts.owed(world)[0].id)
    assert (checkouts.sweep(world), len(holders(world))) == (0, 1)
    clock.pass_(hours=1)
    assert (checkouts.sweep(world), holders(world)) == (1, [])


def test_a_checkout_ends_by_the_clock_and_its_branch_stays_if_something_is_on_it(world: MemoryWorld, clock: Clock) -> None:
    made, other = (checkouts.start(world, SPEC) for _ in range(2))
    repository = world.forge.repositories["shop"]
    repository.branches[made.branch] = repository.branches[made.branch][::-1]
    clock.pass_(hours=1)
    assert checkouts.show(world, made.id).state is CheckoutState.EXPIRED  # whoever looks is told so before anybody sweeps
    assert checkouts.list_(world).items == ()
    assert checkouts.sweep(world) == 2
    assert holders(world) == []
    assert [one.name for one in world.forge.branches(known.project(world, "shop"))] == ["main", made.branch]
    assert kinds(world, other.id) == ["requested", "started", "expired", "revoked"]
    with pytest.raises(Conflict, match="is over") as over:
        checkouts.extend(world, made.id)
    assert over.value.code == "ENDED"
    assert checkouts.cancel(world, made.id).state is CheckoutState.EXPIRED


def test_the_sweeper_leaves_alone_what_somebody_is_at_work_on(world: MemoryWorld, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    admit = world.forge.admit

    def admits(project, access: Access):
        given = admit(project, access)
        clock.pass_(hours=2)
        assert checkouts.sweep(world) == 0
        return given

    monkeypatch.setattr(world.forge, "admit", admits)
    made = checkouts.start(world, SPEC)
    assert holders(world) == [made.account]
    with world.store.transaction() as tx:
        tx.take(f"checkout:{made.id}", owner="own_checkin", seconds=60)
    assert checkouts.sweep(world) == 0
    with world.store.transaction() as tx:
        tx.release(f"checkout:{made.id}", "own_checkin")
    assert checkouts.sweep(world) == 1


def test_an_extension_goes_to_the_forge_first_and_never_beyond_what_is_written_down(world: MemoryWorld, clock: Clock) -> None:
    made = checkouts.start(world, SPEC)
    world.forge.trouble.add("extend:after")
    with pytest.raises(Unavailable):
        checkouts.extend(world, made.id, lasts_seconds=7200)
    assert checkouts.show(world, made.id).expires_at == made.expires_at
    world.forge.trouble.clear()
    longer = checkouts.extend(world, made.id, lasts_seconds=7200)
    assert (longer.expires_at, holders(world)) == (clock.at + timedelta(hours=2), [longer.account])
    assert debts.owed(world)[0].due_at == longer.expires_at
    clock.pass_(hours=1, minutes=1)
    assert checkouts.sweep(world) == 0
    for lasts in (59, 366 * 86400 + 1):
        with pytest.raises(Invalid, match="60s at least"):
            checkouts.extend(world, made.id, lasts_seconds=lasts)


def test_a_deleted_project_takes_its_checkouts_with_it(world: MemoryWorld) -> None:
    made = checkouts.start(world, SPEC, keep=True)
    projects.delete(world, "shop")
    assert (debts.owed(world), holders(world)) == ([], [])
    assert checkouts.show(world, made.id).state is CheckoutState.CANCELLED
    assert not (world.folder / "vault.json").exists()
    projects.create(world, ProjectSpec(name="shop"))
    assert checkouts.list_(world).items == ()


def test_a_project_whose_forge_is_down_says_so_and_its_deletion_goes_on(world: MemoryWorld) -> None:
    made = checkouts.start(world, SPEC)
    world.forge.trouble.add("dismiss:before")
    with pytest.raises(Partial, match=r"the credential of chk_[0-9a-z]+ stays: dismiss:before"):
        projects.delete(world, "shop")
    world.forge.trouble.clear()
    projects.delete(world, "shop")
    assert (debts.owed(world), checkouts.show(world, made.id).state) == ([], CheckoutState.CANCELLED)


def test_a_credential_is_kept_sealed_and_hidden_and_told_to_its_own_address_alone(world: MemoryWorld) -> None:
    made = checkouts.start(world, SPEC, keep=True)
    record = known.checkout(world, made.id)
    assert made.token not in str(plain(record)) + str(record) + str(made) + repr(made)
    assert made.token.encode() not in b"".join(path.read_bytes() for path in Path(world.folder).rglob("*") if path.is_file())
    assert world.store.credentials() == []
    assert (record.place, checkouts.token(world, record).reveal()) == ("file", made.token)
    protocol, _, host = made.url.partition(":")
    assert checkouts.credential(world, made.id, {"protocol": protocol, "host": host, "path": "x"}) is None
    elsewhere = checkouts.start(world, SPEC)  # as over HTTP: whoever asked was told
    with pytest.raises(Conflict, match="is not on this machine") as gone:
        checkouts.token(world, known.checkout(world, elsewhere.id))
    assert gone.value.code == "NO_TOKEN"


def test_a_check_in_ends_a_checkout_and_says_whether_its_credential_is_gone(world: MemoryWorld) -> None:
    made = known.checkout(world, checkouts.start(world, SPEC).id)
    world.forge.trouble.add("dismiss:after")
    assert not checkouts.finish(world, made, CheckoutState.CHECKED_IN)
    world.forge.trouble.clear()
    assert checkouts.finish(world, made, CheckoutState.CANCELLED)  # what is owed is tried again, and how it ended stays
    assert checkouts.show(world, made.id).state is CheckoutState.CHECKED_IN
    assert kinds(world, made.id) == ["requested", "started", "checked_in", "revoke_failed", "revoked"]


def test_a_checkout_of_a_project_that_goes_meanwhile_is_undone(world: MemoryWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    admit = world.forge.admit

    def admits(project, access: Access):
        given = admit(project, access)
        with world.store.transaction() as tx:
            tx.drop_project(project)
        return given

    monkeypatch.setattr(world.forge, "admit", admits)
    with pytest.raises(NotFound):
        checkouts.start(world, SPEC)
    assert (debts.owed(world), holders(world)) == ([], [])


def test_whoever_is_bound_to_a_project_has_the_checkouts_of_it_and_no_other(world: MemoryWorld) -> None:
    projects.create(world, ProjectSpec(name="other"))
    theirs = checkouts.start(world, CheckoutSpec(project="other"))
    bound = world.acting(
        Grant(actor="key:k", scopes=frozenset({Scope.PROJECTS_EXECUTE, Scope.PROJECTS_READ}), projects=frozenset({"shop"}))
    )
    mine = checkouts.start(bound, SPEC)
    assert [one.id for one in checkouts.list_(bound).items] == [mine.id]
    for act in (checkouts.show, checkouts.extend, checkouts.cancel):
        with pytest.raises(NotFound, match="there is no checkout"):
            act(bound, theirs.id)
    with pytest.raises(NotFound):
        checkouts.start(bound, CheckoutSpec(project="other"))
    with pytest.raises(NotFound):
        checkouts.branches(bound, "other")
    assert checkouts.cancel(bound, mine.id).state is CheckoutState.CANCELLED
    assert holders(world) == [theirs.account]


def test_a_start_that_is_gone_on_with_has_a_fresh_credential_and_one_that_is_over_is_none(world: MemoryWorld) -> None:
    made = checkouts.start(world, SPEC, keep=True)
    again = checkouts.start(world, SPEC, id=made.id, keep=True)
    assert replace(again, token="") == replace(made, token="")
    assert again.token != made.token
    assert list(world.forge.tokens) == [again.token]
    checkouts.cancel(world, made.id)
    with pytest.raises(RdevError, match="is cancelled"):
        checkouts.start(world, SPEC, id=made.id, keep=True)


def test_a_clone_that_fails_or_is_stopped_leaves_no_folder_no_checkout_and_nothing_owed(
    world: MemoryWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "clone"

    def opened() -> None:
        checkouts.open_(world, SPEC, str(folder), context="local", helper=lambda id: ("helper", id))

    with pytest.raises(Invalid, match="is no URL that rdev clones"):  # the twin's is none
        opened()
    clone = world.copies.clone

    def stopped(*given, **more) -> None:
        world.stop.set("cancelled")
        world.stop.check("the clone")

    monkeypatch.setattr(world.copies, "clone", stopped)
    with pytest.raises(Cancelled):
        opened()
    monkeypatch.setattr(world.copies, "clone", clone)
    world.stop = Stop()
    assert not folder.exists()
    assert (holders(world), debts.owed(world), checkouts.list_(world).items) == ([], [], ())
    assert {one.state for one in checkouts.list_(world, ended=True).items} == {CheckoutState.CANCELLED}
    world.forge.trouble.add("dismiss:before")
    with pytest.raises(Partial, match="is no URL that rdev clones"):
        opened()
    assert not folder.exists()
    assert len(debts.owed(world)) == 1
