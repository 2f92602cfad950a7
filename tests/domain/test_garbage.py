"""What nobody needs any more: nothing is garbage but what every rule allows. T-GC-1 to 4, T-GC-9 as facts of one pure function."""

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdev_cli.domain.project import pod_name
from rdev_cli.domain.resource import MOST, Inventory, Known, Mark, OrphanState, Owned, judge, too_many

AT = datetime(2026, 1, 2, 12, tzinfo=UTC)
ME, OTHER = "me", "other"
HOUR = timedelta(hours=1)
CLUSTERS = 100_000


def thing(id: str = "prj_gone0000", **more: object) -> Owned:
    base = Owned(
        kind="Pod", name=pod_name("shop", id), namespace="rdev", uid=f"uid-{id}", version="1", installation=ME, project="shop", project_id=id,
        created_at=AT - 3 * HOUR,
    )  # fmt: skip
    return replace(base, **more)


def look(*things: Owned, recorded=(), here=(), departed=("prj_gone0000",), there=2 * HOUR, own=2 * HOUR, window=3600.0, marked=True):
    inventory = Inventory(place="p", installation=ME, at=AT, items=things)
    marks = {one.uid: Mark(there=AT - there, here=AT - own) for one in things} if marked else {}
    return judge(inventory, Known(recorded=recorded, here=here, departed=departed), marks, window=window, now=AT)


def state(one: Owned, **more: object) -> OrphanState | None:
    return next((found.state for found in look(one, **more)), None)


def test_what_had_a_project_and_has_none_for_two_hours_is_garbage() -> None:
    [found] = look(thing())
    assert (found.state, found.age_seconds) == (OrphanState.GARBAGE, 3 * 3600)
    assert found.reason == "without its project for 2h00m"


def test_what_has_a_record_is_not_even_listed() -> None:
    assert look(thing(), recorded=("prj_gone0000",)) == []


def test_t_gc_1_a_state_that_never_knew_the_project_makes_nothing_garbage() -> None:
    [found] = look(thing(), departed=())  # empty, restored from before, or of another cluster
    assert found.state is OrphanState.KEPT
    assert "rdev project adopt shop" in found.reason


def test_t_gc_1_a_place_where_none_of_the_own_projects_stands_is_another() -> None:
    [found] = look(thing(), recorded=("prj_live0000",), here=("prj_live0000",))
    assert found.state is OrphanState.KEPT
    live = thing("prj_live0000")
    assert [one.state for one in look(thing(), live, recorded=("prj_live0000",), here=("prj_live0000",))] == [OrphanState.GARBAGE]


@pytest.mark.parametrize(
    "more",
    [
        {"keeper": "Deployment web"},
        {"finalizers": ("example.com/keep",)},
        {"namespace": "kube-system"},
        {"name": "a-copy"},
        {"project_id": ""},
        {"project": ""},
        {"project": "another"},
    ],
)
def test_t_gc_2_what_somebody_else_made_or_keeps_is_kept(more: dict) -> None:
    assert state(thing(**more), departed=("prj_gone0000", "")) is OrphanState.KEPT


def test_what_a_trial_left_behind_is_garbage_where_a_project_of_this_context_stands_too() -> None:
    left = thing(name="rdev-probe-0a1b2c", role="probe", project_id="", project="")
    live = thing("prj_live0000")
    [found] = look(left, live, recorded=("prj_live0000",), here=("prj_live0000",))
    assert (found.state, found.reason) == (OrphanState.GARBAGE, "left by a trial of rdev's own for 2h00m")
    assert [one.state for one in look(left)] == [OrphanState.KEPT]
    for other in (replace(left, name="mine"), replace(left, project_id="prj_gone0000"), replace(left, role="worker")):
        assert [one.state for one in look(other, live, recorded=("prj_live0000",), here=("prj_live0000",))] == [OrphanState.KEPT]


def test_t_gc_2_what_carries_another_installation_is_not_looked_at() -> None:
    assert look(thing(installation=OTHER), thing(installation="")) == []


@pytest.mark.parametrize(
    "more",
    [
        {"marked": False},  # the first run that sees it
        {"there": HOUR},  # exactly at the edge
        {"own": HOUR},
        {"there": -2 * HOUR},  # the cluster's clock was put back since
        {"own": -2 * HOUR},  # ours was
        {"there": timedelta(minutes=1)},  # ours jumped two hours
        {"own": timedelta(minutes=1)},  # the cluster's did
        {"there": timedelta(), "own": timedelta(), "window": 0.0},
    ],
)
def test_t_gc_4_a_clock_that_jumps_delays_and_never_hastens(more: dict) -> None:
    assert state(thing(), **more) is OrphanState.WAITING


@pytest.mark.parametrize("age", [timedelta(minutes=10), HOUR, -2 * HOUR])
def test_t_gc_4_what_is_young_or_from_the_future_waits(age: timedelta) -> None:
    assert state(thing(created_at=AT - age)) is OrphanState.WAITING


def test_t_gc_9_a_removal_that_does_not_end_is_told_with_its_finalizer_whoever_has_the_record() -> None:
    one = thing(deleting_since=AT - timedelta(minutes=11), finalizers=("example.com/keep",))
    for recorded in ((), ("prj_gone0000",)):
        [found] = look(one, recorded=recorded)
        assert found.state is OrphanState.STUCK
        assert "11m00s" in found.reason
        assert "example.com/keep" in found.reason
    assert state(replace(one, deleting_since=AT - timedelta(minutes=9), finalizers=())) is OrphanState.WAITING


@pytest.mark.parametrize(
    ("count", "total", "stops"), [(1, 5, False), (2, 9, True), (MOST, 1000, False), (MOST + 1, 1000, True), (0, 0, False)]
)
def test_t_gc_1_more_than_a_fifth_or_more_than_ten_are_too_many(count: int, total: int, stops: bool) -> None:
    inventory = Inventory(place="p", installation=ME, at=AT, items=tuple(thing(uid=str(n)) for n in range(total)))
    assert too_many(count, inventory) is stops


IDS = ("prj_aaaa00001", "prj_aaaa00002", "prj_aaaa00003", "")


def _past(one: Owned, known: Known) -> bool:
    return one.project_id in known.departed and one.name == f"rdev-{one.project}-{one.project_id[-8:]}"


def _trial(one: Owned, inventory: Inventory, known: Known) -> bool:
    return one.name.startswith("rdev-probe-") and not one.project_id and any(item.project_id in known.here for item in inventory.items)


def allowed(one: Owned, inventory: Inventory, known: Known, marks: dict[str, Mark], window: float, now: datetime) -> bool:
    """Say by the rules, written down once more and one by one, whether a thing may be garbage."""
    mark, edge = marks.get(one.uid), timedelta(seconds=window)
    return (
        one.installation == inventory.installation
        and one.project_id not in known.recorded
        and (_trial(one, inventory, known) if one.role == "probe" else _past(one, known))
        and not one.keeper
        and set(one.finalizers) <= {"kubernetes.io/pvc-protection"}
        and not one.namespace.startswith("kube-")
        and inventory.at - one.created_at > edge
        and mark is not None
        and inventory.at - mark.there > edge
        and now - mark.here > edge
    )


def holds(inventory: Inventory, known: Known, marks: dict[str, Mark], window: float, now: datetime) -> int:
    by_uid = {one.uid: one for one in inventory.items}
    doomed = [found for found in judge(inventory, known, marks, window=window, now=now) if found.state is OrphanState.GARBAGE]
    for found in doomed:
        assert allowed(by_uid[found.uid], inventory, known, marks, window, now), (found, known, marks)
    return len(doomed)


MOMENTS = st.sampled_from([AT + timedelta(minutes=m) for m in (-1440, -121, -61, -60, -59, -1, 0, 1, 60, 120)])
THINGS = st.builds(
    Owned,
    kind=st.sampled_from(["Pod", "PersistentVolumeClaim", "NetworkPolicy"]),
    name=st.sampled_from([pod_name("shop", id) for id in IDS] + ["copy", "rdev-shop", "rdev-probe-1"]),
    namespace=st.sampled_from(["rdev", "kube-system"]),
    uid=st.uuids().map(str),
    version=st.just("1"),
    installation=st.sampled_from([ME, ME, OTHER, ""]),
    project=st.sampled_from(["shop", "shop", ""]),
    project_id=st.sampled_from(IDS),
    created_at=MOMENTS,
    deleting_since=st.none() | MOMENTS,
    finalizers=st.sampled_from([(), (), ("kubernetes.io/pvc-protection",), ("x/y",)]),
    keeper=st.sampled_from(["", "", "Helm"]),
    role=st.sampled_from(["project", "project", "probe", "worker", ""]),
)


@given(things=st.lists(THINGS, max_size=8), draw=st.data())
def test_t_gc_2_only_what_every_rule_allows_is_garbage(things: list[Owned], draw: st.DataObject) -> None:
    some = st.sets(st.sampled_from(IDS))
    recorded = draw.draw(some)
    known = Known(
        recorded=recorded, here=draw.draw(st.sets(st.sampled_from(sorted(recorded)))) if recorded else set(), departed=draw.draw(some)
    )
    marked = [one for one in things if draw.draw(st.booleans())]
    marks = {one.uid: Mark(there=draw.draw(MOMENTS), here=draw.draw(MOMENTS)) for one in marked}
    inventory = Inventory(place="p", installation=ME, at=AT, items=tuple(things))
    holds(inventory, known, marks, draw.draw(st.sampled_from([0.0, 600.0, 3600.0])), AT)


def test_t_gc_2_in_many_random_clusters_garbage_is_found_and_all_of_it_is_allowed() -> None:
    dice, garbage = random.Random(20260102), 0
    moments = [AT + timedelta(minutes=m) for m in (-1440, -121, -61, -60, -1, 0, 60)]
    pool = [
        Owned(
            kind=dice.choice(("Pod", "PersistentVolumeClaim")), name=pod_name("shop", id) if dice.random() < 0.8 else "copy",
            namespace="rdev" if dice.random() < 0.9 else "kube-system", uid=f"uid-{n}", version="1", installation=dice.choice((ME, ME, ME, OTHER, "")),
            project="shop", project_id=id, created_at=dice.choice(moments), deleting_since=AT if dice.random() < 0.1 else None,
            finalizers=("x/y",) if dice.random() < 0.1 else (), keeper="Helm" if dice.random() < 0.1 else "",
        )
        for n in range(2000) for id in (dice.choice(IDS),)
    ]  # fmt: skip
    for _ in range(CLUSTERS):
        items = tuple(dice.choices(pool, k=dice.randrange(6)))
        ids = {id for id in IDS if dice.random() < 0.3}
        known = Known(recorded=ids, here=ids if dice.random() < 0.5 else (), departed={id for id in IDS if dice.random() < 0.7})
        marks = {one.uid: Mark(there=dice.choice(moments), here=dice.choice(moments)) for one in items if dice.random() < 0.8}
        garbage += holds(Inventory(place="p", installation=ME, at=AT, items=items), known, marks, 3600.0, AT)
    assert garbage > CLUSTERS / 100  # the dice do throw what may go
