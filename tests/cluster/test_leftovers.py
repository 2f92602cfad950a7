"""What is left over on a real cluster, and whose it is: only what two runs saw goes, under its UID. T-GC-1 to 3, 6, 9."""

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from rdev_cli.adapters.kubernetes import kubeconfig, manifests, owned
from rdev_cli.domain.errors import Conflict, Denied, Partial
from rdev_cli.domain.project import Project, ProjectState, pod_name
from rdev_cli.domain.resource import Inventory, Owned
from rdev_cli.domain.values import ProjectId
from rdev_cli.ops import gc
from rdev_cli.wiring.services import Services
from tests.support import lab

pytestmark = pytest.mark.cluster

LIVE, GONE = "prj_01j9leftovers000live", "prj_01j9leftovers000gone"


class Later:
    """A clock that is ahead."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def now(self) -> datetime:
        return (datetime.now(UTC) + self.ahead).replace(microsecond=0)

    def monotonic(self) -> float:
        return datetime.now(UTC).timestamp()


class LaterCluster:
    """The cluster of a world whose clock is ahead too."""

    def __init__(self, real: Any, clock: Later) -> None:
        self._real, self._clock = real, clock

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def owned(self) -> Inventory:
        found: Inventory = self._real.owned()
        return replace(found, at=found.at + self._clock.ahead)


@pytest.fixture
def namespace() -> Iterator[str]:
    """A namespace for each test: what one leaves must not be in another's inventory."""
    with lab.namespace() as name:
        yield name


@pytest.fixture
def world(there: Callable[..., Any], home: Mapping[str, str], tmp_path: Path) -> Iterator[Services]:
    """The world of the context `lab`, whose clock a test puts on; one project has a record, one had one."""
    one = Services(environ=home, cwd=tmp_path)
    one.clock = Later()  # type: ignore[misc]
    one.cluster = LaterCluster(one.cluster, one.clock)  # type: ignore[misc, assignment]
    with one.store.transaction() as tx:
        tx.put_project(project(LIVE))
        tx.put_project(project(GONE, "gone"))
        tx.drop_project(project(GONE, "gone"))
    plant(one, LIVE, "shop")
    yield one
    one.close()


def project(id: str, name: str = "shop") -> Project:
    now = datetime.now(UTC)
    return Project(
        id=ProjectId(id), name=name, description="", source="", network=True, state=ProjectState.READY, pod=pod_name(name, id),
        repository="", branch="main", created_at=now, updated_at=now,
    )  # fmt: skip


def plant(world: Services, id: str, name: str, *, called: str = "", kinds: tuple[str, ...] = tuple(owned.KINDS), **labels: str) -> None:
    """Put the objects of a project there; `called`: under another name, and with other labels."""
    one, cluster = project(id, name), world.cluster
    marks = {**manifests.project_labels(one, world.installation), **{f"{manifests.LABEL}{key}": value for key, value in labels.items()}}
    called = called or one.pod
    image = replace(cluster.shape, image=lab.needed("RDEV_TEST_IMAGE_SMALL"))  # type: ignore[attr-defined]
    bodies = {
        "Pod": manifests.pod(called, marks, image, claimed=False),
        "PersistentVolumeClaim": manifests.claim(called, marks, image),
        "NetworkPolicy": manifests.policy(called, marks, "none"),
    }
    for kind in kinds:
        cluster.api.create(owned.KINDS[kind].format(cluster.namespace), bodies[kind])  # type: ignore[attr-defined]


def uids(namespace: str) -> dict[str, str]:
    """UID -> kind/name of what stands in the namespace and is not on its way out."""
    found = json.loads(lab.kubectl("-n", namespace, "get", "pods,persistentvolumeclaims,networkpolicies", "-o", "json"))["items"]
    return {o["metadata"]["uid"]: f"{o['kind']}/{o['metadata']['name']}" for o in found if "deletionTimestamp" not in o["metadata"]}


def run(world: Services, **more: Any) -> dict[str, str]:
    found = gc.look(world)
    return {f"{o.kind}/{o.name}": o.state.value for o in gc.collect(world, {o.uid for o in found}, **more)}


def two_hours(world: Services) -> None:
    world.clock.ahead += timedelta(hours=2)  # type: ignore[attr-defined]


def test_t_gc_2_only_what_had_a_record_here_and_was_seen_twice_goes_and_all_else_lives(world: Services, namespace: str) -> None:
    plant(world, GONE, "gone")
    plant(world, GONE, "gone", called="a-copy", kinds=("PersistentVolumeClaim",))
    plant(world, "prj_01j9leftovers0never", "never", kinds=("NetworkPolicy",))
    plant(world, GONE, "gone", called="foreign", kinds=("NetworkPolicy",), installation="another")
    lab.kubectl("-n", namespace, "create", "deployment", "web", f"--image={lab.needed('RDEV_TEST_IMAGE_SMALL')}", "--", "sleep", "600")
    mine = {f"rdev.orchard9.ai/{key}={value}" for key, value in (("project", "true"), ("installation", world.installation), ("id", GONE))}
    lab.kubectl("-n", namespace, "label", "deployment", "web", *sorted(mine))
    template = {"spec": {"template": {"metadata": {"labels": dict(pair.split("=") for pair in sorted(mine))}}}}
    lab.kubectl("-n", namespace, "patch", "deployment", "web", "--patch", json.dumps(template))
    lab.kubectl("-n", namespace, "rollout", "status", "deployment", "web", "--timeout=60s")
    before = uids(namespace)
    gone = pod_name("gone", GONE)
    first = run(world)
    assert {name for name, state in first.items() if state == "waiting"} == {f"{kind}/{gone}" for kind in owned.KINDS}
    assert {"PersistentVolumeClaim/a-copy", f"NetworkPolicy/{pod_name('never', 'prj_01j9leftovers0never')}"} < set(first)
    assert uids(namespace) == before
    two_hours(world)
    assert {name for name, state in run(world, allow=3).items() if state == "deleted"} == {f"{kind}/{gone}" for kind in owned.KINDS}
    after = uids(namespace)
    assert {before[uid] for uid in before.keys() - after.keys()} == {f"{kind}/{gone}" for kind in owned.KINDS}
    assert run(world) == {name: "kept" for name in first if name not in {f"{kind}/{gone}" for kind in owned.KINDS}}


def test_t_gc_3_what_is_made_anew_or_changed_between_list_and_delete_lives(world: Services, namespace: str) -> None:
    plant(world, GONE, "gone", kinds=("NetworkPolicy",))
    name = pod_name("gone", GONE)
    [seen] = [thing for thing in world.cluster.owned().items if thing.name == name]
    lab.kubectl("-n", namespace, "annotate", "networkpolicy", name, "touched=yes")
    with pytest.raises(Conflict) as changed:
        world.cluster.remove(seen)
    assert changed.value.code == "CHANGED"
    lab.kubectl("-n", namespace, "delete", "networkpolicy", name)
    assert not world.cluster.remove(seen)
    plant(world, GONE, "gone", kinds=("NetworkPolicy",))
    with pytest.raises(Conflict):
        world.cluster.remove(seen)
    [now] = [thing for thing in world.cluster.owned().items if thing.name == name]
    assert now.uid != seen.uid
    assert world.cluster.remove(now)


def test_t_gc_9_a_removal_that_a_finalizer_holds_is_told_by_its_name(world: Services, namespace: str) -> None:
    name = pod_name("gone", GONE)
    plant(world, GONE, "gone", kinds=("NetworkPolicy",))
    lab.kubectl(
        "-n", namespace, "patch", "networkpolicy", name, "--patch", '{"metadata":{"finalizers":["example.com/keep"]}}', "--type=merge"
    )
    gc.look(world)
    two_hours(world)
    assert run(world) == {f"NetworkPolicy/{name}": "kept"}  # nobody told it to go, and rdev does not where a finalizer is
    lab.kubectl("-n", namespace, "delete", "networkpolicy", name, "--wait=false")
    world.clock.ahead = timedelta()  # type: ignore[attr-defined]
    assert run(world) == {f"NetworkPolicy/{name}": "kept"}
    world.clock.ahead = timedelta(minutes=11)  # type: ignore[attr-defined]
    [found] = gc.look(world)
    assert (found.state.value, "example.com/keep" in found.reason) == ("stuck", True)
    lab.kubectl("-n", namespace, "patch", "networkpolicy", name, "--patch", '{"metadata":{"finalizers":null}}', "--type=merge")


def test_t_gc_6_a_delete_attempts_all_names_what_holds_one_and_the_next_finishes(
    world: Services, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = project(LIVE)
    lab.kubectl(
        "-n", namespace, "patch", "networkpolicy", one.pod, "--patch", '{"metadata":{"finalizers":["example.com/keep"]}}', "--type=merge"
    )
    with monkeypatch.context() as patch:
        real = owned.gone
        patch.setattr(owned, "gone", lambda api, path, uid: _shortly(patch, real, api, path, uid))
        with pytest.raises(Partial) as partial:
            world.cluster.delete_pod(one)
    results = {told["kind"]: told["result"] for told in partial.value.context["objects"]}
    assert results == {"Pod": "deleted", "PersistentVolumeClaim": "deleted", "NetworkPolicy": "failed"}
    assert "example.com/keep" in partial.value.left[0]
    lab.kubectl("-n", namespace, "patch", "networkpolicy", one.pod, "--patch", '{"metadata":{"finalizers":null}}', "--type=merge")
    world.cluster.delete_pod(one)
    assert not world.cluster.owned().items
    assert not world.cluster.delete_pod(one)


def _shortly(patch: pytest.MonkeyPatch, real: Callable[..., None], api: Any, path: str, uid: str) -> None:
    """Wait as long as it takes, but for the one that never goes."""
    patch.setattr(owned, "HEAVY_WRITE", 0.5 if "networkpolicies" in path else 60.0)
    real(api, path, uid)


def test_t_gc_1_a_login_that_sees_only_a_part_removes_nothing(world: Services, namespace: str, tmp_path: Path) -> None:
    plant(world, GONE, "gone", kinds=("PersistentVolumeClaim",))
    gc.look(world)
    two_hours(world)
    before = uids(namespace)
    for words in (
        ("serviceaccount", "half"),
        ("role", "half", "--verb=get,list,delete", "--resource=pods,persistentvolumeclaims,namespaces"),
        ("rolebinding", "half", "--role=half", f"--serviceaccount={namespace}:half"),
    ):
        lab.kubectl("-n", namespace, "create", *words)
    token = lab.kubectl("-n", namespace, "create", "token", "half").decode().strip()
    config = json.loads(lab.kubectl("config", "view", "--raw", "--minify", "-o", "json"))
    config["users"][0]["user"] = {"token": token}
    path = tmp_path / "half.json"
    path.write_text(json.dumps(config))
    half = lab.api(kubeconfig.load({}, file=str(path)))
    with contextlib.closing(half), pytest.raises(Denied) as denied:
        owned.inventory(half, namespace, world.installation)
    assert denied.value.code == "FORBIDDEN"
    assert "networkpolicies" in denied.value.message
    assert uids(namespace) == before


def test_what_belongs_to_nobody_else_is_listed_by_pages_and_whole(world: Services, namespace: str) -> None:
    bodies = [
        {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": f"c-{n}", "labels": {
            "rdev.orchard9.ai/installation": world.installation, "rdev.orchard9.ai/id": GONE}},
         "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "none", "resources": {"requests": {"storage": "1Mi"}}}}
        for n in range(30)
    ]  # fmt: skip
    lab.kubectl("-n", namespace, "create", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": bodies}).encode())
    api = world.cluster.api  # type: ignore[attr-defined]
    real, asked = api.list, []

    def small(path: str, which: Any, **more: Any) -> Any:
        asked.append(path)
        return real(path, which, **{**more, "page": 7})

    api.list = small
    found: tuple[Owned, ...] = world.cluster.owned().items
    del api.list
    assert len([thing for thing in found if thing.name.startswith("c-")]) == 30
    assert len(asked) == len(owned.KINDS)


# as it is typed


def test_a_pod_of_another_installation_is_listed_left_alone_and_can_be_taken_over_with_its_commits(
    there: Callable[..., Any], home: Mapping[str, str], namespace: str, tmp_path: Path
) -> None:
    made = there("project", "create", "shop", "-o", "json")
    assert made.returncode == 0, made.stderr
    pod = json.loads(made.stdout)["pod"]
    line = "echo kept >file && git add file && git -c user.name=n -c user.email=m@n commit -qm kept && git rev-parse HEAD"
    head = there("shell", "shop", line).stdout.decode().split()[-1]
    other = {"XDG_STATE_HOME": str(tmp_path / "other")}
    found = json.loads(there("project", "list", "--all", "-o", "json", env=other).stdout)["items"]
    assert [(one["name"], one["pod"], one["whose"]) for one in found] == [("shop", pod, "another")]
    assert json.loads(there("gc", "-o", "json", env=other).stdout)["items"] == []
    assert there("project", "delete", "shop", "--yes", env=other).returncode == 3
    assert there("project", "adopt", "shop", env=other).returncode == 2
    before = json.loads(lab.kubectl("-n", namespace, "get", "pod", pod, "-o", "json"))["metadata"]["uid"]
    taken = there("project", "adopt", "shop", "--yes", "-o", "json", env=other)
    assert taken.returncode == 0, taken.stderr
    mine = json.loads(taken.stdout)
    now = json.loads(lab.kubectl("-n", namespace, "get", "pod,pvc,networkpolicy", pod, "-o", "json"))["items"]
    assert {one["metadata"]["labels"]["rdev.orchard9.ai/id"] for one in now} == {mine["id"]}
    assert before in {one["metadata"]["uid"] for one in now}
    [policy] = [one for one in now if one["kind"] == "NetworkPolicy"]
    assert policy["spec"]["podSelector"]["matchLabels"]["rdev.orchard9.ai/id"] == mine["id"]
    assert there("git", "shop", "--", "rev-parse", "HEAD", env=other).stdout.decode().strip() == head
    assert there("exec", "shop", "--", "cat", "file", env=other).stdout == b"kept\n"
    lost = there("exec", "shop", "--", "true")
    assert lost.returncode == 125
    assert json.loads(there("gc", "-o", "json").stdout)["items"] == []
    gone = there("project", "delete", "shop", "--yes", env=other)
    assert gone.returncode == 0, gone.stderr
    assert pod not in "".join(uids(namespace).values())


def test_doctor_and_gc_name_the_same_leftovers_and_neither_removes_one(there: Callable[..., Any], world: Services, namespace: str) -> None:
    plant(world, GONE, "gone", kinds=("NetworkPolicy",))
    before = uids(namespace)
    name = pod_name("gone", GONE)
    checks = {one["name"]: one for one in json.loads(there("doctor", "-o", "json").stdout)["items"]}
    assert name in checks["leftover.networkpolicy"]["found"]
    assert checks["leftover.networkpolicy"]["hint"] == "rdev gc lists it"
    [found] = json.loads(there("gc", "-o", "json").stdout)["items"]
    assert (found["name"], found["state"]) == (name, "waiting")
    assert there("gc", "--apply", "--yes", "--allow", "9").returncode == 0
    assert uids(namespace) == before
