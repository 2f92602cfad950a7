"""What is rdev's in a namespace, on an API that a test writes down: T-GC-1, 3, 5, 6. The real one is `tests/cluster`'s."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from rdev_cli.adapters.kubernetes import owned
from rdev_cli.adapters.kubernetes.api import Listing
from rdev_cli.adapters.kubernetes.manifests import Shape, claim, pod, policy, project_labels
from rdev_cli.adapters.kubernetes.selector import Selector
from rdev_cli.domain.errors import Conflict, Denied, NotFound, Partial, RdevError, TimedOut, Unavailable
from rdev_cli.domain.project import Project, ProjectState, pod_name
from rdev_cli.domain.values import ProjectId

AT, MADE = datetime(2026, 1, 2, 12, tzinfo=UTC), "2026-01-02T11:00:00Z"
KINDS = tuple(owned.KINDS)


def project(id: str = "prj_01j9objects00000001") -> Project:
    return Project(
        id=ProjectId(id), name="shop", description="", source="", network=True, state=ProjectState.READY, pod=pod_name("shop", id),
        repository="", branch="main", created_at=AT, updated_at=AT,
    )  # fmt: skip


class WrittenApi:
    """Objects by path; `fails` maps (verb, kind) to an error, `stuck` are kinds whose things never go."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Any]] = {"/api/v1/namespaces/rdev": {"metadata": {"uid": "the-place"}}}
        self.fails: dict[tuple[str, str], Callable[[], RdevError]] = {}
        self.stuck: set[str] = set()
        self.said: list[str] = []
        self.number = 0

    def put(self, kind: str, body: Mapping[str, Any]) -> str:
        self.number += 1
        one = copy.deepcopy(dict(body))
        one["metadata"] |= {"namespace": "rdev", "uid": f"uid-{self.number}", "resourceVersion": "1", "creationTimestamp": MADE}
        path = f"{owned.KINDS[kind].format('rdev')}/{one['metadata']['name']}"
        self.objects[path] = one
        return path

    def _meet(self, verb: str, path: str) -> None:
        kind = next((kind for kind, where in owned.KINDS.items() if path.startswith(where.format("rdev"))), "")
        self.said.append(f"{verb} {path}")
        if (verb, kind) in self.fails:
            failing = self.fails[verb, kind]
            raise failing()

    def get(self, path: str, *, timeout: float = 10) -> dict[str, Any]:
        self._meet("get", path)
        if path not in self.objects:
            raise NotFound(f"no {path}")
        return copy.deepcopy(self.objects[path])

    def list(self, path: str, selector: Selector, *, metadata: bool = False, page: int = 500, fields: str = "") -> Listing:
        self._meet("list", path)
        wanted = dict(pair.split("=") for pair in str(selector).split(","))
        assert wanted
        found = [
            copy.deepcopy(one)
            for where, one in self.objects.items()
            if where.rpartition("/")[0] == path and wanted.items() <= one["metadata"].get("labels", {}).items()
        ]
        return Listing(items=found, version="1", at=AT)

    def delete(self, path: str, *, uid: str, version: str = "", grace: int | None = None) -> bool:
        assert uid
        assert path.rpartition("/")[2]
        self._meet("delete", path)
        one = self.objects.get(path)
        if one is None:
            return False
        if one["metadata"]["uid"] != uid or (version and one["metadata"]["resourceVersion"] != version):
            raise Conflict("changed", code="CHANGED")
        if any(owned.KINDS[kind].format("rdev") in path for kind in self.stuck):
            one["metadata"] |= {"deletionTimestamp": MADE, "finalizers": ["example.com/keep"]}
        else:
            del self.objects[path]
        return True

    def patch(self, path: str, body: Mapping[str, Any], *, kind: str = "merge") -> dict[str, Any]:
        self._meet("patch", path)
        self.objects[path] = _merged(self.objects[path], body)
        self.objects[path]["metadata"]["resourceVersion"] += "1"
        self.history()
        return self.objects[path]

    def history(self) -> None:
        """Look, after each change, whether each pod is still in its policy's hands."""
        for where, one in self.objects.items():
            if "/pods/" in where:
                policies = [p for w, p in self.objects.items() if "/networkpolicies/" in w]
                assert not policies or any(_selects(p, one) for p in policies), where

    def pause(self, seconds: float) -> None:
        pass


def _merged(one: Any, change: Any) -> Any:
    if not isinstance(change, Mapping):
        return change
    found = dict(one) if isinstance(one, Mapping) else {}
    for key, value in change.items():
        if value is None:
            found.pop(key, None)
        else:
            found[key] = _merged(found.get(key), value)
    return found


def _selects(policy: Mapping[str, Any], pod: Mapping[str, Any]) -> bool:
    which, labels = policy["spec"]["podSelector"], pod["metadata"]["labels"]
    exact = (which.get("matchLabels") or {}).items() <= labels.items()
    return exact and all(labels.get(one["key"]) in one["values"] for one in which.get("matchExpressions") or ())


@pytest.fixture
def api() -> WrittenApi:
    made = WrittenApi()
    deploy(made, project())
    return made


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owned, "HEAVY_WRITE", 0.0)


def deploy(api: WrittenApi, one: Project, installation: str = "me") -> None:
    marks, shape = project_labels(one, installation), Shape(image="box")
    api.put("NetworkPolicy", policy(one.pod, marks, "none"))
    api.put("PersistentVolumeClaim", claim(one.pod, marks, shape))
    api.put("Pod", pod(one.pod, marks, shape, claimed=True))


def standing(api: WrittenApi) -> set[str]:
    return {kind for kind in KINDS for path in api.objects if path.startswith(owned.KINDS[kind].format("rdev") + "/")}


def test_an_inventory_has_every_kind_with_its_marks(api):
    found = owned.inventory(api, "rdev", "me")
    assert (found.place, found.at, found.installation) == ("the-place", AT, "me")
    assert {thing.kind for thing in found.items} == set(KINDS)
    for thing in found.items:
        assert (thing.project, thing.project_id, thing.role, thing.installation) == ("shop", project().id, "project", "me")
        assert (thing.created_at, thing.deleting_since, thing.keeper) == (datetime(2026, 1, 2, 11, tzinfo=UTC), None, "")


@pytest.mark.parametrize("kind", KINDS)
def test_t_gc_1_an_inventory_without_one_of_its_kinds_is_none(api, kind):
    api.fails["list", kind] = lambda: Denied("may not list", code="FORBIDDEN")
    with pytest.raises(Denied):
        owned.inventory(api, "rdev", "me")


@pytest.mark.parametrize(
    ("more", "keeper"),
    [
        ({"ownerReferences": [{"kind": "Deployment", "name": "web"}]}, "Deployment web"),
        ({"annotations": {"meta.helm.sh/release-name": "web"}}, "meta.helm.sh/release-name=web"),
        ({"labels": {"kustomize.toolkit.fluxcd.io/name": "web"}}, "kustomize.toolkit.fluxcd.io/name=web"),
        ({"labels": {"app.kubernetes.io/managed-by": "Helm"}}, "Helm"),
        ({"labels": {"app.kubernetes.io/managed-by": "rdev"}}, ""),
    ],
)
def test_t_gc_2_who_else_looks_after_a_thing_is_seen(api, more, keeper):
    path = api.put("Pod", pod("other", project_labels(project(), "me"), Shape(image="box"), claimed=False))
    api.objects[path]["metadata"] = _merged(api.objects[path]["metadata"], more)
    [found] = [thing for thing in owned.inventory(api, "rdev", "me").items if thing.name == "other"]
    assert found.keeper == keeper


def test_t_gc_5_nothing_is_asked_for_without_labels_or_a_name(api):
    for empty in ({}, {"a": ""}):
        with pytest.raises(RdevError):
            Selector(empty)
    with pytest.raises(RdevError):
        owned.inventory(api, "rdev", "")
    assert not [said for said in api.said if said.startswith("delete")]


@pytest.mark.parametrize("kind", KINDS)
def test_t_gc_3_a_thing_is_removed_only_as_it_was_seen(api, kind):
    [thing] = [thing for thing in owned.inventory(api, "rdev", "me").items if thing.kind == kind]
    for other in (replace(thing, uid="another"), replace(thing, version="0")):
        with pytest.raises(Conflict):
            owned.remove(api, other)
    assert kind in standing(api)
    assert owned.remove(api, thing)
    assert not owned.remove(api, thing)
    assert standing(api) == {*KINDS} - {kind}


# undeploy-all

FAULTS: dict[str, Callable[[], RdevError]] = {
    "403": lambda: Denied("may not delete it", code="FORBIDDEN"),
    "409": lambda: Conflict("it was changed", code="CHANGED"),
    "429": lambda: Unavailable("the cluster asks to come back later", code="CLUSTER_BUSY"),
    "500": lambda: Unavailable("the cluster failed", code="CLUSTER_UNREACHABLE"),
    "time-out": lambda: TimedOut("it took too long"),
}


@pytest.mark.parametrize("fault", [*FAULTS, "list 500", "404", "finalizer"])
@pytest.mark.parametrize("kind", KINDS)
def test_t_gc_6_whatever_fails_all_others_are_removed_and_the_next_run_finishes(api, kind, fault):
    if fault in FAULTS:
        api.fails["delete", kind] = FAULTS[fault]
    elif fault == "list 500":
        api.fails["list", kind] = FAULTS["500"]
    elif fault == "finalizer":
        api.stuck.add(kind)
    else:  # gone between the list and the delete
        api.delete, real = (lambda path, **more: False if owned.KINDS[kind].format("rdev") in path else real(path, **more)), api.delete
        api.objects = {path: one for path, one in api.objects.items() if owned.KINDS[kind].format("rdev") not in path}
        assert owned.undeploy(api, "rdev", "me", project())
        assert standing(api) == set()
        return
    with pytest.raises(Partial) as partial:
        owned.undeploy(api, "rdev", "me", project())
    told = {one["kind"]: one["result"] for one in partial.value.context["objects"]}
    assert told == {one: "failed" if one == kind else "deleted" for one in KINDS}
    assert len(partial.value.left) == 1
    assert partial.value.left[0].startswith(f"{kind} {project().pod}: ")
    if fault == "finalizer":
        assert "example.com/keep" in partial.value.left[0]
    assert standing(api) == {kind}
    api.fails.clear()
    api.stuck.clear()
    assert owned.undeploy(api, "rdev", "me", project())
    assert standing(api) == set()
    assert not owned.undeploy(api, "rdev", "me", project())


def test_undeploy_takes_only_what_carries_both_the_installation_and_the_project(api):
    deploy(api, project("prj_01j9objects00000002"))
    deploy(api, project("prj_01j9objects00000003"), "another")
    copied = project_labels(project(), "me")
    del copied["rdev.orchard9.ai/installation"]
    api.put("Pod", pod("copied", copied, Shape(image="box"), claimed=False))
    before = set(api.objects)
    assert owned.undeploy(api, "rdev", "me", project())
    assert {path.rpartition("/")[2] for path in before - set(api.objects)} == {project().pod}
    assert len(before - set(api.objects)) == 3


def test_a_pod_of_that_name_that_is_anothers_is_a_conflict_and_lives(api):
    with pytest.raises(Conflict):
        owned.undeploy(api, "rdev", "another", project())
    assert standing(api) == {*KINDS}


# other hands


def test_handing_over_marks_all_that_belongs_to_a_pod_and_its_policy_never_lets_go(api):
    [there] = owned.others(api, "rdev", "another")
    for _ in (1, 2):
        owned.hand_over(api, there, installation="another", project="shop", id="prj_01j9adopted00000001")
    assert not owned.inventory(api, "rdev", "me").items
    found = owned.inventory(api, "rdev", "another").items
    assert {(thing.kind, thing.project_id) for thing in found} == {(kind, "prj_01j9adopted00000001") for kind in KINDS}
    [policy_] = [one for path, one in api.objects.items() if "networkpolicies" in path]
    wanted = {"installation": "another", "id": "prj_01j9adopted00000001", "name": "shop"}
    assert policy_["spec"]["podSelector"] == {"matchLabels": {f"rdev.orchard9.ai/{key}": value for key, value in wanted.items()}}


@pytest.mark.parametrize("kind", KINDS)
def test_handing_over_that_was_cut_off_is_finished_by_the_next(api, kind):
    [there] = owned.others(api, "rdev", "another")
    api.fails["patch", kind] = FAULTS["500"]
    with pytest.raises(Unavailable):
        owned.hand_over(api, there, installation="another", project="shop", id="prj_01j9adopted00000001")
    api.fails.clear()
    owned.hand_over(api, there, installation="another", project="shop", id="prj_01j9adopted00000001")
    assert len(owned.inventory(api, "rdev", "another").items) == 3


def test_what_is_not_as_it_was_named_is_not_handed_over(api):
    [there] = owned.others(api, "rdev", "another")
    for other in (replace(there, uid="x"), replace(there, project_id="prj_x")):
        with pytest.raises(Conflict):
            owned.hand_over(api, other, installation="another", project="shop", id="prj_y")
    assert len(owned.inventory(api, "rdev", "me").items) == 3


def test_a_node_that_writes_on_the_pod_at_the_same_time_does_not_keep_it_from_being_handed_over(api):
    [there] = owned.others(api, "rdev", "another")
    real, changes = api.patch, []

    def racing(path, body, **more):
        if "/pods/" in path and len(changes) < 3:
            changes.append(path)
            raise Conflict("the node was quicker", code="CHANGED")
        return real(path, body, **more)

    api.patch = racing
    owned.hand_over(api, there, installation="another", project="shop", id="prj_01j9adopted00000001")
    assert len(owned.inventory(api, "rdev", "another").items) == 3
