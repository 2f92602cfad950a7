"""What a forge promises, held against each one there is; a new one is a class in tests/support/yards.py and a line in YARDS."""

import inspect
import io
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rdev_cli.adapters.gitea.forge import GiteaForge
from rdev_cli.adapters.local.forge import LocalForge
from rdev_cli.domain.errors import Conflict, Failed, Invalid
from rdev_cli.ports import forge as port
from rdev_cli.ports.timing import Stop
from tests.fakes.forge import MemoryForge
from tests.support.yards import GiteaYard, LocalYard, MemoryYard, Yard, project

FILES = {"README.md": (b"# shop\n", False), "scripts/check.sh": (b"#!/bin/sh\n", True)}


YARDS: dict[str, Callable[[Path], Yard]] = {"memory": MemoryYard, "local": LocalYard, "gitea": GiteaYard}
KINDS = [pytest.param(kind, marks=pytest.mark.providers) if kind == "gitea" else kind for kind in YARDS]


@pytest.fixture(params=KINDS)
def yard(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Yard]:
    made = YARDS[request.param](tmp_path)
    yield made
    made.close()


def seeded(yard: Yard) -> str:
    """Make `shop`; return the commit that it begins with."""
    yard.forge.ensure_repository(project())
    yard.forge.seed(project(), FILES)
    return yard.forge.head(project())


@pytest.mark.parametrize("kind", [MemoryForge, LocalForge, GiteaForge])
def test_a_forge_has_the_calls_of_the_port_in_its_shape(kind):
    calls = {name: call for name, call in vars(port.Forge).items() if inspect.isfunction(call) and not name.startswith("_")}
    for name, call in calls.items():
        asked, given = inspect.signature(call).parameters, inspect.signature(getattr(kind, name)).parameters
        assert [(p.name, p.kind) for p in asked.values()] == [(p.name, p.kind) for p in given.values()], name


def test_a_repository_is_made_once_and_begins_with_one_commit_however_often_it_is_seeded(yard):
    assert yard.forge.head(project()) == ""
    first = seeded(yard)
    assert seeded(yard) == first
    assert yard.branches() == {"main": first}
    made = yard.forge.commit(project(), first)
    assert (made.sha, made.subject, made.files) == (first, "Create shop from the skeleton", 2)


def test_a_repository_is_found_to_be_another_projects_and_stays_as_it_is(yard):
    first = seeded(yard)
    for forge, stranger in ((yard.forge, project(id="prj_01j9contract00000002")), (yard.another(), project())):
        with pytest.raises(Conflict):
            forge.ready(stranger)
        with pytest.raises(Conflict):
            forge.ensure_repository(stranger)
        with pytest.raises(Conflict):
            forge.delete_repository(stranger)
    assert yard.branches() == {"main": first}


def test_a_repository_is_deleted_once(yard):
    seeded(yard)
    assert [yard.forge.delete_repository(project()) for _ in (1, 2)] == [True, False]
    assert yard.forge.head(project()) == ""
    assert seeded(yard)


def test_a_commit_that_is_not_there_is_none(yard):
    assert yard.forge.commit(project(), "f" * 40) is None
    seeded(yard)
    assert yard.forge.commit(project(), "f" * 40) is None


def test_a_bundle_holds_the_branch(yard):
    first = seeded(yard)
    with yard.forge.bundle(project()) as bundle:
        assert yard.unpacked(bundle) == first


def test_a_pods_commit_moves_the_branch_forward_and_a_repeat_changes_nothing(yard):
    sha, bundle = yard.pod_commits(seeded(yard), "one")
    for _ in (1, 2):
        bundle.seek(0)
        delivery = yard.forge.receive(project(), bundle, sha=sha, rescue="rdev/rescue/x")
        assert (delivery.branch, delivery.rescued) == ("main", False)
    assert yard.branches() == {"main": sha}
    assert yard.forge.head(project()) == sha
    assert yard.forge.commit(project(), sha).subject == "one"


def test_a_pods_commit_goes_to_a_rescue_branch_where_both_sides_moved_on(yard):
    first = seeded(yard)
    ours, one = yard.pod_commits(first, "ours")
    theirs, other = yard.pod_commits(first, "theirs")
    yard.forge.receive(project(), other, sha=theirs, rescue="rdev/rescue/y")
    for _ in (1, 2):
        one.seek(0)
        delivery = yard.forge.receive(project(), one, sha=ours, rescue="rdev/rescue/x")
        assert (delivery.branch, delivery.rescued) == ("rdev/rescue/x", True)
    assert yard.branches() == {"main": theirs, "rdev/rescue/x": ours}


def test_an_older_commit_of_the_branch_leaves_it_where_it_is(yard):
    first = seeded(yard)
    sha, bundle = yard.pod_commits(first, "one")
    yard.forge.receive(project(), bundle, sha=sha, rescue="rdev/rescue/x")
    delivery = yard.forge.receive(project(), io.BytesIO(b""), sha=first, rescue="rdev/rescue/x")
    assert (delivery.branch, delivery.rescued, yard.branches()) == ("main", False, {"main": sha})


@pytest.mark.parametrize("how", ["junk", "another commit", "not sound"])
def test_a_bundle_that_is_not_what_it_says_changes_nothing(yard, how):
    first = seeded(yard)
    sha, bundle = yard.pod_commits(first, "one", file=".git" if how == "not sound" else "new.txt")
    given = io.BytesIO(b"junk") if how == "junk" else bundle
    with pytest.raises(Failed) as refused:
        yard.forge.receive(project(), given, sha="e" * 40 if how == "another commit" else sha, rescue="rdev/rescue/x")
    assert refused.value.code == "BAD_BUNDLE"
    assert yard.branches() == {"main": first}
    assert yard.forge.commit(project(), sha) is None


def test_a_gate_sees_what_is_new_to_the_branch_and_what_it_refuses_is_kept_nowhere(yard):
    first = seeded(yard)
    sha, bundle = yard.pod_changes(first, "two", {"new.txt": "a secret\n", "README.md": "# shop\n"})
    seen: list[tuple[str, int, bytes]] = []

    def shut(blobs):
        seen.extend(blobs)
        raise Conflict("not this", hint="take it out", code="SECRET_FOUND")

    with pytest.raises(Conflict) as refused:
        yard.forge.receive(project(), bundle, sha=sha, rescue="rdev/rescue/x", gate=shut)
    assert refused.value.code == "SECRET_FOUND"
    assert seen == [("new.txt", 9, b"a secret\n")]
    assert yard.branches() == {"main": first}
    assert yard.forge.commit(project(), sha) is None
    bundle.seek(0)
    assert yard.forge.receive(project(), bundle, sha=sha, rescue="rdev/rescue/x", gate=lambda blobs: seen.extend(blobs)).branch == "main"
    assert len(seen) == 2


def test_a_source_gives_its_branches_and_names_its_main_one(yard):
    source = yard.forge.check_source(yard.source({"trunk": ["one", "two"], "side": ["three"]}), Stop())
    yard.forge.ensure_repository(project())
    assert yard.forge.take(project(), source, Stop()) == "trunk"
    assert set(yard.branches()) == {"trunk", "side"}
    assert yard.forge.commit(project(), yard.forge.head(project(branch="trunk"))).subject == "two"


def test_a_source_that_is_none_or_is_empty_is_invalid(yard):
    with pytest.raises(Invalid):
        yard.forge.check_source("ext::sh", Stop())
    source = yard.forge.check_source(yard.source({}), Stop())
    yard.forge.ensure_repository(project())
    with pytest.raises(Invalid):
        yard.forge.take(project(), source, Stop())
    assert yard.branches() == {}
