"""Taking over a project that has a pod and no record, and looking at what others have in the same place."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from rdev_cli.domain.errors import Conflict, Invalid, NotFound, Partial, Unavailable
from rdev_cli.domain.project import ProjectSpec, ProjectState, pod_name
from rdev_cli.ops import projects, workspaces
from tests.fakes.cluster import Pod
from tests.fakes.forge import commit, history
from tests.fakes.world import MemoryWorld

THEIRS = "prj_theirs00000000abcd"
POD = pod_name("shop", THEIRS)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[MemoryWorld]:
    one = MemoryWorld(tmp_path)
    yield one
    one.close()


@pytest.fixture
def pod(world: MemoryWorld) -> Pod:
    """A pod of another installation, whose work tree has two commits."""
    found = Pod({"installation": "another", "id": THEIRS, "name": "shop"}, marked="x")
    first = commit(found.commits, "", "first", ["a"])
    found.head = commit(found.commits, first, "second", ["a", "b"])
    found.had = first
    world.cluster.pods[POD] = found
    return found


def test_an_adopted_project_keeps_its_pod_and_the_commits_of_its_work_tree(world, pod):
    made = projects.adopt(world, "shop")
    assert (made.name, made.pod, made.state) == ("shop", POD, ProjectState.READY)
    assert made.pod == pod_name("shop", made.id)
    assert made.id != THEIRS
    assert pod.owner == {"installation": world.installation, "id": made.id, "name": "shop"}
    assert world.forge.head(made) == pod.head == pod.marked
    assert len(list(history(world.forge.repositories["shop"].commits, pod.head))) == 2
    assert projects.show(world, "shop").id == made.id
    assert not workspaces.behind(world, made)
    assert not world.store.unfinished()
    assert [e.kind for e in world.store.events(after=0)] == ["project.adoption_requested", "project.adopted"]
    projects.delete(world, "shop")
    assert not world.cluster.pods


def test_a_pod_whose_work_tree_has_nothing_gets_the_skeleton(world, pod):
    pod.head, pod.had, pod.commits = "", "", {}
    made = projects.adopt(world, POD)
    assert pod.head == world.forge.head(made) != ""


@pytest.mark.parametrize("fault", ["ensure_repository:before", "ensure_repository:after", "hand_over:before", "run:before", "run:after"])
def test_an_adoption_that_fails_gives_the_marks_back_and_can_be_repeated(world, pod, fault):
    before = dict(pod.owner)
    for twin in (world.forge, world.cluster):
        twin.trouble.add(fault)
    with pytest.raises(Unavailable if fault != "hand_over:before" else Partial):
        projects.adopt(world, "shop")
    for twin in (world.forge, world.cluster):
        twin.trouble.clear()
    if fault != "hand_over:before":  # what cannot be given back either is named, and the same command goes on
        assert (pod.owner, world.forge.repositories, world.store.find_project("shop")) == (before, {}, None)
    assert projects.adopt(world, "shop").state is ProjectState.READY


def test_an_adoption_that_was_killed_goes_on_under_the_same_id(world, pod, monkeypatch):
    class Killed(BaseException):
        pass

    def killed(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(workspaces, "hand_in", killed)
        patch.setattr("rdev_cli.ops.ensure._undo", killed)
        with pytest.raises(Killed):
            projects.adopt(world, "shop")
    half = world.store.find_project("shop")
    assert (half.state, pod.owner["id"]) == (ProjectState.CREATING, half.id)
    assert projects.plan_adopt(world, "shop").project == "shop"
    made = projects.adopt(world, "shop")
    assert (made.id, made.state, pod.owner["id"]) == (half.id, ProjectState.READY, half.id)


def test_what_has_a_record_is_not_adopted(world):
    projects.create(world, ProjectSpec(name="shop"))
    with pytest.raises(Conflict, match="here already"):
        projects.adopt(world, "shop")


def test_the_name_of_an_own_project_is_not_given_twice(world, pod):
    projects.create(world, ProjectSpec(name="shop"))
    for text in ("shop", POD):
        with pytest.raises(Conflict, match="here already"):
            projects.adopt(world, text)
    assert pod.owner["installation"] == "another"


def test_of_several_pods_of_a_name_one_must_be_named(world, pod):
    other = pod_name("shop", "prj_theirs0000000wxyz")
    world.cluster.pods[other] = replace(pod, owner={**pod.owner, "id": "prj_theirs0000000wxyz"}, uid="2")
    with pytest.raises(Conflict) as several:
        projects.adopt(world, "shop")
    assert (several.value.code, POD in several.value.hint, other in several.value.hint) == ("SEVERAL", True, True)
    assert projects.adopt(world, other).pod == other


@pytest.mark.parametrize("text", ["nothing", pod_name("nothing", THEIRS)])
def test_what_is_not_there_is_not_found(world, pod, text):
    with pytest.raises(NotFound):
        projects.adopt(world, text)


@pytest.mark.parametrize("text", ["", "Shop", "-x", "rdev-X-12345678", "a" * 60])
def test_what_is_no_name_is_refused(world, text):
    with pytest.raises(Invalid):
        projects.adopt(world, text)


def test_a_pod_with_a_hostile_label_is_refused(world, pod):
    pod.owner["name"] = "../../x"
    with pytest.raises(Invalid):
        projects.adopt(world, POD)


def test_a_pod_that_changed_hands_meanwhile_is_left_alone(world, pod, monkeypatch):
    real = world.forge.ensure_repository

    def slow(project):
        pod.owner = {**pod.owner, "id": "prj_somebody_else_was_quicker"}
        real(project)

    monkeypatch.setattr(world.forge, "ensure_repository", slow)
    with pytest.raises(Conflict):
        projects.adopt(world, "shop")
    assert (pod.owner["installation"], world.store.find_project("shop"), world.forge.repositories) == ("another", None, {})


def test_list_all_says_whose_each_project_is(world, pod):
    mine = projects.create(world, ProjectSpec(name="web"))
    lost = pod_name("lost", "prj_lost00000000000001")
    world.cluster.pods[lost] = Pod({"installation": world.installation, "id": "prj_lost00000000000001", "name": "lost"})
    found = [(one.name, one.pod, one.whose, one.state) for one in projects.found(world)]
    assert found == [("lost", lost, "nobody", ""), ("shop", POD, "another", ""), ("web", mine.pod, "here", "ready")]
    assert [p.name for p in projects.list_(world)] == ["web"]
