"""Garbage collection on twins: what two runs saw goes, one by one; nothing goes while anything is in doubt. T-GC-1, 3, 4, 7, 9."""

import json
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from rdev_cli.domain.errors import Conflict, Denied, Partial, Pending, Unavailable
from rdev_cli.domain.project import ProjectSpec, pod_name
from rdev_cli.domain.resource import OrphanState, Owned
from rdev_cli.ops import gc, projects
from rdev_cli.ops.ensure import lease
from tests.fakes.cluster import Pod
from tests.fakes.world import MemoryWorld

pytestmark = pytest.mark.state


class Later:
    """A clock that tests put on."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def now(self) -> datetime:
        now = datetime.now(UTC) + self.ahead
        return now.replace(microsecond=now.microsecond // 1000 * 1000)

    def monotonic(self) -> float:
        return time.monotonic()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[MemoryWorld]:
    one = MemoryWorld(tmp_path)
    one.clock = Later()
    for name in ("a", "b", "c", "d"):
        projects.create(one, ProjectSpec(name=name))
    yield one
    one.close()


def left_over(world: MemoryWorld, name: str = "gone") -> str:
    """Let a project go whose pod stays, as when a call that was on its way arrives after the delete; return the pod's name."""
    made = projects.create(world, ProjectSpec(name=name))
    pod = world.cluster.pods[made.pod]
    projects.delete(world, name)
    world.cluster.pods[made.pod] = pod
    return made.pod


def pass_(world: MemoryWorld, hours: float = 2) -> None:
    world.clock.ahead += timedelta(hours=hours)
    world.cluster.ahead += timedelta(hours=hours)


def collect(world: MemoryWorld, **more: object) -> dict[str, str]:
    found = gc.look(world, **{k: v for k, v in more.items() if k == "window"})
    return {one.name: one.state.value for one in gc.collect(world, {one.uid for one in found}, **more)}


def test_what_two_runs_saw_an_hour_apart_goes_and_the_journal_and_a_list_say_so(world):
    pod = left_over(world)
    assert collect(world) == {pod: "waiting"}
    assert collect(world) == {pod: "waiting"}  # two runs, but no hour between them
    pass_(world)
    assert collect(world) == {pod: "deleted"}
    assert pod not in world.cluster.pods
    assert len(world.cluster.pods) == 4
    assert collect(world) == {}
    [event] = [e for e in world.store.events(after=0, subject="gc") if e.kind == "gc.collected"]
    assert [(o["kind"], o["name"], o["result"]) for o in event.data["objects"]] == [("Pod", pod, "deleted")]
    lines = [json.loads(line) for line in Path(event.data["file"]).read_text().splitlines()]
    assert [(line["name"], line["result"]) for line in lines] == [(pod, "removing"), (pod, "deleted")]
    assert Path(event.data["file"]).stat().st_mode & 0o077 == 0
    assert not [part for part in world.premises.parts() if part.foreign]


def test_what_was_not_reviewed_stays(world):
    pod = left_over(world)
    gc.look(world)
    pass_(world)
    assert [one.state for one in gc.collect(world, [])] == [OrphanState.GARBAGE]
    assert pod in world.cluster.pods


def test_t_gc_4_one_clock_that_jumps_does_not_hasten(world):
    pod = left_over(world)
    collect(world)
    world.clock.ahead += timedelta(hours=2)
    assert collect(world) == {pod: "waiting"}
    world.clock.ahead -= timedelta(hours=2)
    world.cluster.ahead += timedelta(hours=2)
    assert collect(world) == {pod: "waiting"}
    world.cluster.ahead -= timedelta(hours=4)
    assert collect(world) == {pod: "waiting"}
    world.cluster.ahead += timedelta(hours=2)
    pass_(world)
    assert collect(world) == {pod: "deleted"}


def test_t_gc_2_what_a_run_in_between_did_not_see_begins_its_hour_anew(world):
    pod = left_over(world)
    gc.look(world)
    pass_(world)
    planted = world.cluster.pods.pop(pod)
    gc.look(world)  # not there in this run
    world.cluster.pods[pod] = planted
    assert collect(world) == {pod: "waiting"}
    pass_(world)
    assert collect(world) == {pod: "deleted"}


def test_t_gc_1_an_empty_state_removes_nothing(world, tmp_path):
    gc.look(world)
    world.close()
    for path in world.folder.glob("state.db*"):
        path.unlink()
    pods = dict(world.cluster.pods)
    for hours in (0, 2, 2):
        pass_(world, hours)
        assert set(collect(world, allow=1000).values()) == {"kept"}
    assert world.cluster.pods == pods


def test_t_gc_1_a_state_restored_from_before_removes_nothing_that_came_later(world):
    kept = world.folder / "kept.db"
    with world.store._database.reading() as connection:
        connection.execute("vacuum into ?", [str(kept)])
    later = projects.create(world, ProjectSpec(name="later"))
    gc.look(world)
    world.close()
    for path in world.folder.glob("state.db*"):
        path.unlink()
    kept.rename(world.folder / "state.db")
    assert world.store.find_project("later") is None
    for hours in (0, 2, 2):
        pass_(world, hours)
        assert collect(world, allow=1000) == {later.pod: "kept"}


def test_t_gc_1_another_cluster_removes_nothing(world):
    pod = left_over(world)
    gc.look(world)
    pass_(world)
    world.cluster.pods = {pod: world.cluster.pods[pod]}  # none of this state's projects is there
    world.cluster.place = "another"
    for hours in (0, 2):
        pass_(world, hours)
        assert collect(world, allow=1000) == {pod: "kept"}


def test_t_gc_1_what_was_seen_in_another_place_was_not_seen_in_this_one(world):
    pod = left_over(world)
    gc.look(world)
    pass_(world)
    world.cluster.place = "another"
    assert collect(world) == {pod: "waiting"}


@pytest.mark.parametrize("fault", ["owned:before", "owned:after"])
def test_t_gc_1_a_place_that_cannot_be_read_whole_removes_nothing_and_notes_nothing(world, fault):
    pod = left_over(world)
    world.cluster.trouble.add(fault)
    with pytest.raises(Unavailable):
        gc.look(world)
    world.cluster.trouble.clear()
    assert not world.store.marks(world.cluster.place)
    gc.look(world)
    pass_(world)
    world.cluster.trouble.add(fault)
    with pytest.raises(Unavailable):
        gc.collect(world, [world.cluster.pods[pod].uid])
    assert pod in world.cluster.pods


def test_t_gc_1_a_project_of_another_context_is_nobodys_garbage_and_a_state_that_cannot_be_read_stops_all(world):
    pod = left_over(world)
    beside = world.folder.parent / "beside"
    beside.mkdir()
    with sqlite3.connect(beside / "state.db") as connection:
        connection.execute("create table projects (id text primary key)")
        connection.execute("insert into projects values (?)", [world.cluster.pods[pod].owner["id"]])
        connection.execute("pragma user_version = 1")
    connection.close()
    assert collect(world) == {}
    (beside / "state.db").write_bytes(b"no database at all, but long enough to be looked at" * 100)
    with pytest.raises(Unavailable):
        gc.look(world)


def test_t_gc_1_too_many_stop_and_only_their_number_lets_them_go(world):
    pods = {left_over(world, name) for name in ("e", "f", "g")}
    gc.look(world)
    pass_(world)
    uids = [world.cluster.pods[pod].uid for pod in pods]
    for allow in (0, 2):
        with pytest.raises(Pending) as stopped:
            gc.collect(world, uids, allow=allow)
        assert (stopped.value.code, stopped.value.context["count"], stopped.value.context["total"]) == ("TOO_MANY", 3, 7)
        assert "--allow 3" in stopped.value.hint
        with pytest.raises(Pending):
            gc.look(world, allow=allow)
    assert pods <= set(world.cluster.pods)
    assert {one.state for one in gc.collect(world, uids, allow=3)} == {OrphanState.DELETED}


def test_t_gc_2_what_others_made_with_our_labels_is_kept(world):
    pod = left_over(world)
    mine = world.cluster.owned().items
    gone = next(thing for thing in mine if thing.name == pod)
    world.cluster.planted = [
        replace(gone, name="copy", uid="1"),
        replace(gone, kind="PersistentVolumeClaim", uid="2", keeper="Helm release web"),
        replace(gone, kind="NetworkPolicy", uid="3", finalizers=("example.com/x",)),
        replace(gone, uid="4", installation=""),
        replace(gone, uid="5", installation="another"),
    ]
    gc.look(world)
    pass_(world)
    assert sorted(one.state.value for one in gc.collect(world, {*"12345", gone.uid})) == ["deleted", "kept", "kept", "kept"]
    assert {one.uid for one in world.cluster.planted} == set("12345")


def test_t_gc_3_what_was_made_anew_or_changed_since_lives(world, monkeypatch):
    pod = left_over(world)
    gc.look(world)
    pass_(world)
    real = world.cluster.remove
    for change in ("uid", "version"):

        def racing(thing: Owned, change: str = change) -> bool:
            setattr(world.cluster.pods[pod], change, f"new {change}")
            return real(thing)

        monkeypatch.setattr(world.cluster, "remove", racing)
        [found] = gc.collect(world, [world.cluster.pods[pod].uid])
        assert found.state is OrphanState.KEPT
        assert pod in world.cluster.pods
        pass_(world)
        gc.look(world)
        pass_(world)


def test_t_gc_3_what_is_gone_meanwhile_is_absent(world, monkeypatch):
    pod = left_over(world)
    gc.look(world)
    pass_(world)
    real = world.cluster.remove
    monkeypatch.setattr(world.cluster, "remove", lambda thing: real(thing) and real(thing))
    assert [one.state for one in gc.collect(world, [world.cluster.pods[pod].uid])] == [OrphanState.ABSENT]


def test_t_gc_3_a_project_that_is_made_while_gc_looks_is_safe(world, monkeypatch):
    real = world.cluster.owned

    def slow():
        found = real()
        if world.store.find_project("new") is None:
            projects.create(world, ProjectSpec(name="new"))
        return found

    monkeypatch.setattr(world.cluster, "owned", slow)
    assert gc.look(world) == []
    assert gc.look(world) == []


def test_t_gc_6_one_that_cannot_be_removed_does_not_keep_the_others_and_the_next_run_goes_on(world):
    for name in ("e", "f", "g", "h", "i", "j", "k"):
        projects.create(world, ProjectSpec(name=name))
    pod = left_over(world)
    gone = next(thing for thing in world.cluster.owned().items if thing.name == pod)
    world.cluster.planted = [replace(gone, kind="NetworkPolicy", uid="1")]
    gc.look(world)
    pass_(world)
    world.cluster.trouble.add("remove Pod:before")
    with pytest.raises(Partial) as partial:
        gc.collect(world, [gone.uid, "1"])
    assert partial.value.left == (f"Pod {pod}: remove Pod:before did not answer",)
    assert {(one["kind"], one["result"]) for one in partial.value.context["objects"]} == {("Pod", "failed"), ("NetworkPolicy", "deleted")}
    world.cluster.trouble.clear()
    assert collect(world) == {pod: "deleted"}


def test_t_gc_7_two_never_run_at_once_and_one_that_lost_its_lease_removes_nothing_more(world, monkeypatch):
    pod = left_over(world)
    gc.look(world)
    pass_(world)
    world._patience = 0.0
    with lease(world, "gc"), pytest.raises(Conflict) as busy:
        gc.look(world)
    assert busy.value.code == "BUSY"
    real = world.cluster.owned

    def taken_over():
        with world.store.transaction() as tx:
            tx.forget("gc")
            tx.take("gc", owner="own_other", seconds=60)
        return real()

    monkeypatch.setattr(world.cluster, "owned", taken_over)
    with pytest.raises(Conflict) as lost:
        gc.collect(world, [world.cluster.pods[pod].uid])
    assert lost.value.code == "LEASE_LOST"
    assert pod in world.cluster.pods


def test_t_gc_7_what_is_listed_is_what_goes(world):
    pod = left_over(world)
    gc.look(world)
    pass_(world)
    listed = gc.look(world)
    gone = gc.collect(world, {one.uid for one in listed})
    assert (
        [(one.name, one.uid) for one in listed if one.state is OrphanState.GARBAGE]
        == [(one.name, one.uid) for one in gone]
        == [(pod, listed[0].uid)]
    )


def test_a_stop_leaves_the_rest_and_says_what_went(world, monkeypatch):
    for name in ("e", "f", "g", "h", "i", "j"):
        projects.create(world, ProjectSpec(name=name))
    pods = {left_over(world, name) for name in ("x", "y")}
    gc.look(world)
    pass_(world)
    real = world.cluster.remove

    def stopping(thing: Owned) -> bool:
        world.stop.set("cancelled")
        return real(thing)

    monkeypatch.setattr(world.cluster, "remove", stopping)
    with pytest.raises(Exception, match="was stopped"):
        gc.collect(world, [world.cluster.pods[pod].uid for pod in pods])
    assert len(pods & set(world.cluster.pods)) == 1
    [event] = [e for e in world.store.events(after=0, subject="gc") if e.kind == "gc.collected"]
    assert len(event.data["objects"]) == 1


def test_a_list_that_cannot_be_written_stops_before_anything_is_removed(world, monkeypatch):
    pod = left_over(world)
    gc.look(world)
    pass_(world)
    (world.folder / "removed.jsonl").mkdir()
    with pytest.raises(Unavailable):
        gc.collect(world, [world.cluster.pods[pod].uid])
    assert pod in world.cluster.pods


def test_what_may_not_be_listed_stops_all(world, monkeypatch):
    def denied():
        raise Denied("may not list networkpolicies in rdev", hint="ask for the right", code="FORBIDDEN")

    left_over(world)
    monkeypatch.setattr(world.cluster, "owned", denied)
    with pytest.raises(Denied):
        gc.look(world)
    assert not world.store.marks(world.cluster.place)


def test_the_doctor_tells_leftovers_and_notes_nothing(world):
    assert [check.name for check in gc.leftovers(world)] == ["leftover.cluster"]
    pod = left_over(world)
    [check] = gc.leftovers(world)
    assert (check.name, check.verdict.value, check.hint) == ("leftover.pod", "warning", "rdev gc lists it")
    assert pod in check.found
    assert not world.store.marks(world.cluster.place)


def test_a_pod_without_any_record_is_named_with_what_takes_it_over(world):
    id = "prj_strange0000000001"
    world.cluster.pods[pod_name("old", id)] = Pod({"installation": world.installation, "id": id, "name": "old"})
    [found] = gc.look(world)
    assert (found.state, "rdev project adopt old" in found.reason) == (OrphanState.KEPT, True)
