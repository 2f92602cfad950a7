"""Undo: a step that fails takes back what was done, and what cannot be taken back is named and kept (T-SAGA-1, 5)."""

from collections.abc import Iterator

import pytest

from rdev_cli.domain.errors import Conflict, NotFound, Partial, Unavailable
from rdev_cli.domain.project import ProjectSpec, ProjectState
from rdev_cli.ops import projects
from tests.fakes.forge import MemoryForge, Repository
from tests.fakes.world import MemoryWorld


@pytest.fixture
def world(tmp_path) -> Iterator[MemoryWorld]:
    one = MemoryWorld(tmp_path)
    yield one
    one.close()


def _left(world: MemoryWorld) -> list[str]:
    return [*world.forge.repositories, *world.cluster.pods]


def _broken(world: MemoryWorld, *calls: str) -> None:
    """Let these calls fail, and no others."""
    for twin in (world.forge, world.cluster):
        twin.trouble.clear()
        twin.trouble.update(calls)


FAULTS = [
    "ensure_repository:before",
    "ensure_repository:after",
    "seed:before",
    "seed:after",
    "ensure_pod:before",
    "ensure_pod:after",
    "run:before",
    "run:after",
]


@pytest.mark.parametrize("fault", FAULTS)
def test_t_saga_1_a_step_that_fails_undoes_everything_and_a_repeat_completes(world, fault):
    _broken(world, fault)
    with pytest.raises(Unavailable, match="did not answer"):
        projects.create(world, ProjectSpec(name="shop"))
    assert world.store.find_project("shop") is None
    assert _left(world) == []
    assert world.store.unfinished() == []
    assert [e.kind for e in world.store.events(after=0)] == ["project.requested", "project.undone"]
    _broken(world)
    assert projects.create(world, ProjectSpec(name="shop")).state is ProjectState.READY


@pytest.mark.parametrize("undo", ["delete_repository:before", "delete_repository:after", "delete_pod:before", "delete_pod:after"])
def test_t_saga_5_an_undo_that_fails_is_named_kept_and_cleared_by_delete(world, undo):
    _broken(world, "run:before", undo)
    with pytest.raises(Partial) as partial:
        projects.create(world, ProjectSpec(name="shop"))
    assert partial.value.left == (f"{'repository' if 'repo' in undo else 'pod'}: {undo} did not answer",)
    assert partial.value.hint == "rdev project delete shop"
    [unfinished] = world.store.unfinished()
    assert (unfinished.kind, unfinished.state.value) == ("project.create", "undo_failed")
    _broken(world)
    projects.delete(world, "shop")
    assert (_left(world), list(world.store.unfinished())) == ([], [])


def test_t_saga_5_after_a_failed_undo_create_may_also_go_on(world):
    _broken(world, "run:before", "delete_repository:before")
    with pytest.raises(Partial):
        projects.create(world, ProjectSpec(name="shop"))
    _broken(world)
    assert projects.create(world, ProjectSpec(name="shop")).state is ProjectState.READY
    assert list(world.store.unfinished()) == []


def test_a_delete_attempts_everything_joins_what_failed_and_goes_on_when_typed_again(world):
    projects.create(world, ProjectSpec(name="shop"))
    _broken(world, "delete_pod:before")
    with pytest.raises(Partial) as partial:
        projects.delete(world, "shop")
    assert partial.value.left == ("pod: delete_pod:before did not answer",)
    assert world.forge.repositories == {}  # the steps behind the one that failed were attempted
    with pytest.raises(Conflict) as busy:
        projects.create(world, ProjectSpec(name="shop"))
    assert busy.value.code == "DELETING"
    _broken(world)
    projects.delete(world, "shop")
    with pytest.raises(NotFound):
        projects.delete(world, "shop")
    assert (_left(world), list(world.store.unfinished())) == ([], [])


def test_a_repeat_with_other_values_is_a_conflict_that_names_the_field(world):
    first = projects.create(world, ProjectSpec(name="shop", description="one"))
    assert projects.create(world, ProjectSpec(name="shop", description="one")) == first
    with pytest.raises(Conflict) as other:
        projects.create(world, ProjectSpec(name="shop", description="two"))
    assert other.value.context["field"] == "description"
    with pytest.raises(Conflict) as other:
        projects.create(world, ProjectSpec(name="shop", description="one", network=False))
    assert other.value.context["field"] == "network"


def test_a_foreign_repository_of_the_same_name_is_never_touched(world):
    foreign = world.forge.repositories["shop"] = Repository(owner={"id": "another"}, branches={"main": "f" * 40})
    with pytest.raises((Conflict, Partial)):
        projects.create(world, ProjectSpec(name="shop"))
    assert world.forge.repositories == {"shop": foreign}
    assert foreign.branches == {"main": "f" * 40}


def test_whoever_lost_the_lease_undoes_nothing_of_the_one_who_took_it(world):
    """A process that was too slow finds out at its next write, and leaves everything to its successor."""
    from rdev_cli.domain.lease import Lease

    class Slow(MemoryForge):
        def seed(self, project, files):
            super().seed(project, files)
            with world.store.transaction() as tx:  # somebody else, who thinks that we are dead
                tx._connection.execute("update leases set until = 0")
                taken = tx.take("project:shop", owner="own_other", seconds=60)
                assert isinstance(taken, Lease)
                assert taken.attempt == 2

    world.__dict__["forge"] = Slow(world.installation)
    with pytest.raises(Conflict) as lost:
        projects.create(world, ProjectSpec(name="shop"))
    assert lost.value.code == "LEASE_LOST"
    assert world.forge.head(world.store.find_project("shop"))  # still there, for the other
    [unfinished] = world.store.unfinished()
    assert unfinished.kind == "project.create"


def test_a_lease_in_live_hands_is_waited_for_and_then_named(world):
    with world.store.transaction() as tx:
        tx.take("project:shop", owner="own_other", seconds=60)
    with pytest.raises(Conflict) as busy:
        projects.create(world, ProjectSpec(name="shop"))
    assert busy.value.code == "BUSY"


def test_a_source_that_does_not_answer_undoes_everything(world):
    world.forge.sources["there"] = Repository(
        main="trunk", branches={"trunk": "a" * 40}, commits={"a" * 40: {"parent": "", "subject": "x", "files": []}}
    )
    _broken(world, "take:before")
    with pytest.raises(Unavailable):
        projects.create(world, ProjectSpec(name="shop", source="there"))
    assert (_left(world), world.store.find_project("shop")) == ([], None)
    _broken(world)
    assert projects.create(world, ProjectSpec(name="shop", source="there")).branch == "trunk"


def test_t_gc_6_a_delete_attempts_everything_and_tells_of_each_thing_what_became_of_it(world, monkeypatch):
    made = projects.create(world, ProjectSpec(name="shop"))
    objects = [
        {"kind": "Pod", "name": made.pod, "result": "deleted", "reason": ""},
        {"kind": "NetworkPolicy", "name": made.pod, "result": "failed", "reason": "the cluster does not answer"},
        {"kind": "PersistentVolumeClaim", "name": made.pod, "result": "absent", "reason": ""},
    ]

    def half(project):
        raise Partial("not all of it is gone", left=(f"NetworkPolicy {made.pod}: the cluster does not answer",), objects=objects)

    _broken(world, "delete_repository:before")
    with monkeypatch.context() as patch:
        patch.setattr(world.cluster, "delete_pod", half)
        with pytest.raises(Partial) as partial:
            projects.delete(world, "shop")
    _broken(world)
    assert partial.value.left == (
        f"pod: NetworkPolicy {made.pod}: the cluster does not answer",
        "repository: delete_repository:before did not answer",
    )
    assert partial.value.context["objects"] == objects
    projects.delete(world, "shop")
    assert (_left(world), list(world.store.unfinished())) == ([], [])
