"""What stands in a namespace in rdev's name: found by labels and whole, removed one by one and each under its UID."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rdev_cli.adapters.kubernetes.manifests import LABEL
from rdev_cli.adapters.kubernetes.selector import Selector
from rdev_cli.domain.errors import Conflict, NotFound, Partial, RdevError, Unavailable
from rdev_cli.domain.resource import POD, Inventory, Owned, Result
from rdev_cli.ports.timing import HEAVY_WRITE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rdev_cli.adapters.kubernetes.api import Api, Listing
    from rdev_cli.domain.project import Project

_CLAIM, _POLICY = "PersistentVolumeClaim", "NetworkPolicy"
# In the order in which they are removed: a policy stands until nothing runs under it.
KINDS: Mapping[str, str] = {
    POD: "/api/v1/namespaces/{}/pods",
    _CLAIM: "/api/v1/namespaces/{}/persistentvolumeclaims",
    _POLICY: "/apis/networking.k8s.io/v1/namespaces/{}/networkpolicies",
}
# What others write on the things that they made, as labels or annotations. Their words: Helm, Flux, Argo CD
_KEEPERS = (
    "meta.helm.sh/release-name",
    "kustomize.toolkit.fluxcd.io/name",
    "helm.toolkit.fluxcd.io/name",
    "argocd.argoproj.io/instance",
    "argocd.argoproj.io/tracking-id",
)
_OWNERSHIP = (f"{LABEL}installation", f"{LABEL}id")
_NAP = 0.1  # seconds between two looks whether something is gone


def inventory(api: Api, namespace: str, installation: str) -> Inventory:
    """Return all that carries the installation's id in the namespace; Denied or Unavailable if a part of it cannot be seen."""
    place = str(api.get(f"/api/v1/namespaces/{namespace}")["metadata"]["uid"])
    mine = Selector({f"{LABEL}installation": installation})
    listings = {kind: _listed(api, kind, namespace, mine) for kind in KINDS}
    items = tuple(_owned(kind, one) for kind, listing in listings.items() for one in listing.items)
    return Inventory(place=place, installation=installation, at=min(listing.at for listing in listings.values()), items=items)


def others(api: Api, namespace: str, installation: str) -> list[Owned]:
    """Return the project pods in the namespace that are another installation's."""
    found = (_owned(POD, one) for one in _listed(api, POD, namespace, Selector({f"{LABEL}project": "true"})).items)
    return [pod for pod in found if pod.installation != installation]


def remove(api: Api, thing: Owned) -> bool:
    """Remove a thing as it was seen, a pod to its end; False if it is gone, Conflict CHANGED if it is another or was changed."""
    path = _path(thing)
    if not api.delete(path, uid=thing.uid, version=thing.version):
        return False
    if thing.kind == POD:
        gone(api, path, thing.uid)  # what it holds, and what keeps it in bounds, goes after it
    return True


def undeploy(api: Api, namespace: str, installation: str, project: Project) -> bool:
    """Remove all that carries the project's id and the installation's, and wait for its end; return whether there was anything.

    Everything is attempted; Partial joins what failed, and its `objects` tell of each thing what became of it. Conflict if
    the pod of that name is another's.
    """
    which = Selector({f"{LABEL}installation": installation, f"{LABEL}id": project.id})
    told: list[dict[str, str]] = []
    causes: list[RdevError] = []

    def tell(kind: str, name: str, result: Result, cause: RdevError | None = None) -> None:
        told.append({"kind": kind, "name": name, "result": result.value, "reason": cause.message if cause else ""})
        causes.extend([cause] if cause else [])

    for kind in KINDS:
        try:
            found = [_owned(kind, one) for one in _listed(api, kind, namespace, which).items]
        except RdevError as e:
            tell(kind, project.pod, Result.FAILED, e)
            continue
        if not found:
            if kind == POD:
                _nobodys(api, namespace, project)
            tell(kind, project.pod, Result.ABSENT)
        for thing in found:
            try:
                there = api.delete(_path(thing), uid=thing.uid)
                gone(api, _path(thing), thing.uid)
            except RdevError as e:
                tell(kind, thing.name, Result.FAILED, e)
            else:
                tell(kind, thing.name, Result.DELETED if there else Result.ABSENT)
    left = tuple(f"{one['kind']} {one['name']}: {one['reason']}" for one in told if one["result"] == Result.FAILED)
    if left:
        hint = f"rdev project delete {project.name} goes on"
        raise Partial(f"not all of {project.pod} could be removed: {'; '.join(left)}", left=left, hint=hint, objects=told) from causes[0]
    return any(one["result"] == Result.DELETED for one in told)


def hand_over(api: Api, pod: Owned, *, installation: str, project: str, id: str) -> None:
    """Write other marks on a pod and on what carries the same; its policy is in force at every moment.

    Conflict CHANGED if the pod's marks are neither those that `pod` names nor the new ones.
    """
    old, new = (pod.installation, pod.project_id), (installation, id)
    found = _marked(api, pod, old, new)
    marks = {f"{LABEL}{key}": value for key, value in (("project", "true"), ("role", "project"), ("name", project))}
    marks |= dict(zip(_OWNERSHIP, new, strict=True))
    policies = [one for one in _with(api, _POLICY, pod, old) if _keyed(one)]
    for policy in policies:
        # both the old marks and the new ones until the pod has changed sides
        # (a merge leaves the other labels that it asks for, and takes away what is null)
        either = [
            {"key": f"{LABEL}{key}", "operator": "In", "values": sorted({old[at], new[at]})}
            for at, key in enumerate(("installation", "id"))
        ]
        _patch(
            api,
            _POLICY,
            pod.namespace,
            policy,
            {"spec": {"podSelector": {"matchLabels": dict.fromkeys(_OWNERSHIP), "matchExpressions": either}}},
        )
    while _marks(found) == old:
        try:
            _patch(api, POD, pod.namespace, found, {"metadata": {"labels": marks, "resourceVersion": found["metadata"]["resourceVersion"]}})
            break
        except Conflict:
            found = _marked(api, pod, old, new)  # its node writes on it too
    for claim in _with(api, _CLAIM, pod, old):
        _patch(api, _CLAIM, pod.namespace, claim, {"metadata": {"labels": marks}})
    for policy in policies:
        own = {key: marks[key] for key in _OWNERSHIP}
        spec = {"podSelector": {"matchLabels": own, "matchExpressions": None}}
        _patch(api, _POLICY, pod.namespace, policy, {"metadata": {"labels": marks}, "spec": spec})


def _marked(api: Api, pod: Owned, *marks: tuple[str, str]) -> dict[str, Any]:
    """Return the pod as it is, Conflict if it is another or has none of these marks."""
    found = api.get(_path(pod))
    if found["metadata"]["uid"] != pod.uid or _marks(found) not in marks:
        raise Conflict(f"{pod.name} is not what it was any more", hint="look at it again", code="CHANGED", pod=pod.name)
    return found


def _with(api: Api, kind: str, pod: Owned, marks: tuple[str, str]) -> list[dict[str, Any]]:
    """Return what belongs to a pod by its marks, nothing where they are not whole."""
    if not all(marks):
        return []
    which = Selector({f"{LABEL}installation": marks[0], f"{LABEL}id": marks[1]})
    return api.list(KINDS[kind].format(pod.namespace), which).items


def _keyed(policy: Mapping[str, Any]) -> bool:
    """Say whether a policy finds its pod by the marks of ownership."""
    which = policy["spec"].get("podSelector") or {}
    keys = [*(which.get("matchLabels") or {}), *(one["key"] for one in which.get("matchExpressions") or ())]
    return not set(_OWNERSHIP).isdisjoint(keys)


def _patch(api: Api, kind: str, namespace: str, one: Mapping[str, Any], body: Mapping[str, Any]) -> None:
    api.patch(f"{KINDS[kind].format(namespace)}/{one['metadata']['name']}", body)


def _listed(api: Api, kind: str, namespace: str, which: Selector) -> Listing:
    return api.list(KINDS[kind].format(namespace), which, metadata=True)


def _path(thing: Owned) -> str:
    return f"{KINDS[thing.kind].format(thing.namespace)}/{thing.name}"


def _marks(found: Mapping[str, Any]) -> tuple[str, str]:
    labels = found["metadata"].get("labels") or {}
    return labels.get(f"{LABEL}installation", ""), labels.get(f"{LABEL}id", "")


def _nobodys(api: Api, namespace: str, project: Project) -> None:
    """Raise Conflict if there is a pod of the project's name all the same: it is another's."""
    try:
        api.get(f"{KINDS[POD].format(namespace)}/{project.pod}")
    except NotFound:
        return
    raise Conflict(
        f"the pod {project.pod} in {namespace} belongs to another project or installation",
        hint="rdev project list --all shows whose it is",
        pod=project.pod,
    )


def gone(api: Api, path: str, uid: str, what: str = "it") -> None:
    """Wait until a thing that was told to go is gone; Unavailable, naming what holds it, if it does not go."""
    end = time.monotonic() + HEAVY_WRITE
    while True:
        try:
            left = api.get(path)["metadata"]
        except NotFound:
            return
        if left["uid"] != uid:
            return
        if time.monotonic() > end:
            held = left.get("finalizers") or ()
            why = f"the finalizer {', '.join(held)} holds it" if held else "its node does not answer"
            raise Unavailable(f"{what} is still going away: {why}", hint="the same command goes on with it", code="STILL_DELETING")
        time.sleep(_NAP)  # a stop that was said before is what began the removal


def _owned(kind: str, one: Mapping[str, Any]) -> Owned:
    meta = one["metadata"]
    labels, going = meta.get("labels") or {}, meta.get("deletionTimestamp")
    return Owned(
        kind=kind, name=meta["name"], namespace=meta["namespace"], uid=meta["uid"], version=meta["resourceVersion"],
        installation=labels.get(f"{LABEL}installation", ""), project=labels.get(f"{LABEL}name", ""), project_id=labels.get(f"{LABEL}id", ""),
        role=labels.get(f"{LABEL}role", ""), created_at=_moment(meta["creationTimestamp"]), deleting_since=_moment(going) if going else None,
        finalizers=tuple(meta.get("finalizers") or ()), keeper=_keeper(meta, labels),
    )  # fmt: skip


def _keeper(meta: Mapping[str, Any], labels: Mapping[str, str]) -> str:
    for owner in meta.get("ownerReferences") or ():
        return f"{owner.get('kind', 'something')} {owner.get('name', '')}"
    written = {**(meta.get("annotations") or {}), **labels}
    named = next((f"{key}={written[key]}" for key in _KEEPERS if written.get(key)), "")
    manager = labels.get("app.kubernetes.io/managed-by", "")
    return named or ("" if manager in ("", "rdev") else manager)


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
