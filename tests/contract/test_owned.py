"""What a cluster promises about what belongs to somebody: found whole, removed only as it was found, given to others by its marks."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from rdev_cli.adapters.kubernetes import manifests
from rdev_cli.adapters.local.cluster import LocalCluster
from rdev_cli.adapters.local.spool import FolderSpool
from rdev_cli.domain.errors import Conflict
from rdev_cli.domain.project import Project, ProjectState, pod_name
from rdev_cli.domain.resource import POD
from rdev_cli.domain.values import ProjectId
from rdev_cli.wiring.services import SystemClock
from tests.fakes.cluster import MemoryCluster
from tests.support import lab


def make(cluster, made) -> None:
    """Make a pod that has a work tree."""
    cluster.ensure_pod(made)
    cluster.mark_pod(made, "abc")


def memory(folder: Path) -> SimpleNamespace:
    spool = FolderSpool(folder / "spool", SystemClock())
    one, other = MemoryCluster(spool, "contract"), MemoryCluster(spool, "another")
    other.pods = one.pods
    return SimpleNamespace(cluster=one, another=other, make=make)


def local(folder: Path) -> SimpleNamespace:
    one, other = (
        LocalCluster(folder, installation=name, isolation="none", shown=(), caller={"PATH": "/usr/bin:/bin"})
        for name in ("contract", "another")
    )
    return SimpleNamespace(cluster=one, another=other, make=make)


def real(folder: Path, namespace: str) -> SimpleNamespace:
    one, other = (lab.cluster(folder, namespace, installation=name, small=True) for name in ("contract", "another"))

    def deploy(cluster, made: Project) -> None:
        # the objects alone: nothing here asks whether they run, which takes seconds
        marks = manifests.project_labels(made, cluster.installation)
        note = {manifests.MARK: "abc"}
        cluster.api.create(cluster.policies, manifests.policy(made.pod, marks, "none"))
        cluster.api.create(cluster.pods, manifests.pod(made.pod, marks, cluster.shape, claimed=False, annotations=note))

    return SimpleNamespace(cluster=one, another=other, make=deploy)


KINDS: dict[str, Callable[[Path], SimpleNamespace]] = {"memory": memory, "local": local}


def project(name: str = "shop", id: str = "prj_01j9contract00000001") -> Project:
    now = datetime.now(UTC)
    return Project(
        id=ProjectId(id), name=name, description="", source="", network=True, state=ProjectState.READY, pod=pod_name(name, id),
        repository="", branch="main", created_at=now, updated_at=now,
    )  # fmt: skip


SHOP, WEB, THEIRS = project(), project("web", "prj_01j9contract00000002"), project("shop", "prj_01j9theirs000000003")


@pytest.fixture
def namespace() -> Iterator[str]:
    with lab.namespace() as name:
        yield name


@pytest.fixture(params=[*KINDS, pytest.param("kubernetes", marks=pytest.mark.cluster)])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SimpleNamespace]:
    """Two installations in one place, with two pods and one."""
    folder = tmp_path / "state" / "local"
    one = real(folder, request.getfixturevalue("namespace")) if request.param == "kubernetes" else KINDS[request.param](folder)
    for cluster, made in ((one.cluster, SHOP), (one.cluster, WEB), (one.another, THEIRS)):
        one.make(cluster, made)
    yield one
    if request.param == "kubernetes":  # its namespace goes with all that is in it
        one.cluster.api.close()
        one.another.api.close()
        return
    for cluster in (one.cluster, one.another):
        for made in (SHOP, WEB, THEIRS):
            with contextlib.suppress(Conflict):
                cluster.delete_pod(made)


def pods(cluster) -> dict[str, object]:
    return {thing.name: thing for thing in cluster.owned().items if thing.kind == POD}


def test_an_inventory_holds_all_that_is_the_installations_and_nothing_else(world):
    found = world.cluster.owned()
    assert (found.installation, bool(found.place)) == ("contract", True)
    assert {thing.name for thing in found.items} == {SHOP.pod, WEB.pod}
    assert set(pods(world.cluster)) == {SHOP.pod, WEB.pod}
    for made in (SHOP, WEB):
        thing = pods(world.cluster)[made.pod]
        assert (thing.installation, thing.project, thing.project_id) == ("contract", made.name, made.id)
        assert thing.uid
        assert thing.version
        assert timedelta(seconds=-1) <= found.at - thing.created_at < timedelta(minutes=10)
    assert {thing.name for thing in world.another.owned().items} == {THEIRS.pod}
    assert world.cluster.owned().place == found.place == world.another.owned().place


def test_the_pods_of_others_are_told_apart(world):
    assert [(thing.name, thing.installation, thing.project) for thing in world.cluster.others()] == [(THEIRS.pod, "another", "shop")]
    assert {thing.name for thing in world.another.others()} == {SHOP.pod, WEB.pod}


def test_a_thing_is_removed_once_and_nothing_else_with_it(world):
    thing = pods(world.cluster)[SHOP.pod]
    assert [world.cluster.remove(thing) for _ in (1, 2)] == [True, False]
    assert set(pods(world.cluster)) == {WEB.pod}
    assert WEB.pod in pods(world.cluster)
    assert THEIRS.pod in pods(world.another)


def test_t_gc_3_what_was_made_anew_under_the_same_name_lives(world):
    thing = pods(world.cluster)[SHOP.pod]
    world.cluster.delete_pod(SHOP)
    world.make(world.cluster, SHOP)
    with pytest.raises(Conflict) as changed:
        world.cluster.remove(thing)
    assert changed.value.code == "CHANGED"
    assert SHOP.pod in pods(world.cluster)


def test_t_gc_3_what_changed_hands_since_it_was_seen_lives(world):
    thing = pods(world.cluster)[SHOP.pod]
    world.cluster.hand_over(thing, installation="another", project="shop", id="prj_01j9adopted00000001")
    with pytest.raises(Conflict):
        world.cluster.remove(thing)
    assert SHOP.pod in pods(world.another)


def test_t_gc_3_another_uid_lives(world):
    with pytest.raises(Conflict):
        world.cluster.remove(replace(pods(world.cluster)[SHOP.pod], uid="another"))
    assert SHOP.pod in pods(world.cluster)


def test_a_pod_that_is_handed_over_is_the_others_and_keeps_what_it_had(world):
    [thing] = world.cluster.others()
    mine = replace(THEIRS, id=ProjectId("prj_01j9adopted000000003"))
    for _ in (1, 2):  # repeating it changes nothing
        world.cluster.hand_over(thing, installation="contract", project="shop", id=mine.id)
    assert world.cluster.pod_commit(mine) == "abc"
    assert THEIRS.pod in pods(world.cluster)
    assert not world.another.owned().items
    now = pods(world.cluster)[THEIRS.pod]
    world.cluster.hand_over(now, installation="another", project="shop", id=THEIRS.id)
    assert THEIRS.pod in pods(world.another)


def test_a_pod_that_is_not_what_it_was_is_not_handed_over(world):
    [thing] = world.cluster.others()
    with pytest.raises(Conflict):
        world.cluster.hand_over(replace(thing, project_id="prj_other"), installation="contract", project="shop", id="prj_mine")
    assert THEIRS.pod in pods(world.another)
