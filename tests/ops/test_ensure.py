"""Undo: a step that fails takes back what was done, and what cannot be taken back is named and kept (T-SAGA-1, 5)."""

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import pytest

from rdev_cli.adapters.local.cluster import LocalCluster
from rdev_cli.adapters.local.forge import LocalForge
from rdev_cli.domain.errors import Conflict, NotFound, Partial, Unavailable
from rdev_cli.domain.project import ProjectSpec, ProjectState
from rdev_cli.ops import projects
from rdev_cli.wiring.services import Services

Broken = set[str]


class ShakyForge(LocalForge):
    """The local forge, with calls that fail as told: before they did anything, or after."""

    broken: Broken

    def ensure_repository(self, project):
        _fail(self.broken, "ensure_repository:before")
        super().ensure_repository(project)
        _fail(self.broken, "ensure_repository:after")

    def seed(self, project, files):
        _fail(self.broken, "seed:before")
        super().seed(project, files)
        _fail(self.broken, "seed:after")

    def delete_repository(self, project):
        _fail(self.broken, "delete_repository")
        return super().delete_repository(project)


class ShakyCluster(LocalCluster):
    """The local cluster, likewise."""

    broken: Broken

    def ensure_pod(self, project):
        _fail(self.broken, "ensure_pod:before")
        made = super().ensure_pod(project)
        _fail(self.broken, "ensure_pod:after")
        return made

    def run(self, project, argv, **options):
        _fail(self.broken, "run")
        return super().run(project, argv, **options)

    def delete_pod(self, project):
        _fail(self.broken, "delete_pod")
        return super().delete_pod(project)


def _fail(broken: Broken, name: str) -> None:
    if name in broken:
        raise Unavailable(f"{name} did not answer", hint="try again")


class ShakyServices(Services):
    """A world on this machine in which told calls fail."""

    def __init__(self, folder: Path) -> None:
        home = {"HOME": str(folder), "PATH": "/usr/bin:/bin"}
        super().__init__(environ=home, cwd=folder, patience=0.3)
        self.broken: Broken = set()

    @cached_property
    def forge(self):
        forge = ShakyForge(self.folder, self.installation)
        forge.broken = self.broken
        return forge

    @cached_property
    def cluster(self):
        cluster = ShakyCluster(self.folder, installation=self.installation, isolation="bubblewrap", shown=(), caller=self._environ)
        cluster.broken = self.broken
        return cluster


@pytest.fixture
def world(tmp_path) -> Iterator[ShakyServices]:
    one = ShakyServices(tmp_path)
    yield one
    one.close()


def _left(world: Services) -> list[str]:
    return sorted(path.name for part in ("repos", "pods") for path in (world.folder / part).glob("*"))


FAULTS = [
    "ensure_repository:before",
    "ensure_repository:after",
    "seed:before",
    "seed:after",
    "ensure_pod:before",
    "ensure_pod:after",
    "run",
]


@pytest.mark.parametrize("fault", FAULTS)
def test_t_saga_1_a_step_that_fails_undoes_everything_and_a_repeat_completes(world, fault):
    world.broken.add(fault)
    with pytest.raises(Unavailable, match="did not answer"):
        projects.create(world, ProjectSpec(name="shop"))
    assert world.store.find_project("shop") is None
    assert _left(world) == []
    assert world.store.unfinished() == []
    assert [e.kind for e in world.store.events(after=0)] == ["project.requested", "project.undone"]
    world.broken.clear()
    assert projects.create(world, ProjectSpec(name="shop")).state is ProjectState.READY


@pytest.mark.parametrize("undo", ["delete_repository", "delete_pod"])
def test_t_saga_5_an_undo_that_fails_is_named_kept_and_cleared_by_delete(world, undo):
    world.broken |= {"run", undo}
    with pytest.raises(Partial) as partial:
        projects.create(world, ProjectSpec(name="shop"))
    assert partial.value.left == (f"{'repository' if 'repo' in undo else 'pod'}: {undo} did not answer",)
    assert partial.value.hint == "rdev project delete shop"
    [unfinished] = world.store.unfinished()
    assert (unfinished.kind, unfinished.state.value) == ("project.create", "undo_failed")
    world.broken.clear()
    projects.delete(world, "shop")
    assert (_left(world), list(world.store.unfinished())) == ([], [])


def test_t_saga_5_after_a_failed_undo_create_may_also_go_on(world):
    world.broken |= {"run", "delete_repository"}
    with pytest.raises(Partial):
        projects.create(world, ProjectSpec(name="shop"))
    world.broken.clear()
    assert projects.create(world, ProjectSpec(name="shop")).state is ProjectState.READY
    assert list(world.store.unfinished()) == []


def test_a_delete_attempts_everything_joins_what_failed_and_goes_on_when_typed_again(world):
    projects.create(world, ProjectSpec(name="shop"))
    world.broken |= {"delete_pod"}
    with pytest.raises(Partial) as partial:
        projects.delete(world, "shop")
    assert partial.value.left == ("pod: delete_pod did not answer",)
    assert list((world.folder / "repos").glob("*")) == []  # the steps behind the one that failed were attempted
    with pytest.raises(Conflict) as busy:
        projects.create(world, ProjectSpec(name="shop"))
    assert busy.value.code == "DELETING"
    world.broken.clear()
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
    foreign = world.folder / "repos" / "shop.git"
    foreign.mkdir(parents=True)
    (foreign / "precious").write_text("x")
    with pytest.raises((Conflict, Partial)):
        projects.create(world, ProjectSpec(name="shop"))
    assert (foreign / "precious").read_text() == "x"


def test_whoever_lost_the_lease_undoes_nothing_of_the_one_who_took_it(world, tmp_path):
    """A process that was too slow finds out at its next write, and leaves everything to its successor."""
    from rdev_cli.domain.operation import Lease

    class Slow(ShakyForge):
        def seed(self, project, files):
            super().seed(project, files)
            with world.store.transaction() as tx:  # somebody else, who thinks that we are dead
                tx._connection.execute("update leases set until = 0")
                taken = tx.take("project:shop", owner="own_other", seconds=60)
                assert isinstance(taken, Lease)
                assert taken.attempt == 2

    world.__dict__["forge"] = Slow(world.folder, world.installation)
    world.forge.broken = set()
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
