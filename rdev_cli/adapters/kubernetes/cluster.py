"""The Cluster port on Kubernetes: a bare pod for each project, with a claim and a network policy of the same name."""

from __future__ import annotations

import json
import os
import time
from functools import cached_property
from typing import TYPE_CHECKING, Any

from rdev_cli.adapters.kubernetes import manifests, owned, states
from rdev_cli.adapters.kubernetes.manifests import CONTAINER, LABEL, MARK
from rdev_cli.adapters.shared.files import private_folder, write_whole
from rdev_cli.domain.errors import Conflict, Denied, Invalid, NotFound, RdevError
from rdev_cli.ports.timing import LONG_RUNNING, ORCHESTRATION

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from typing import BinaryIO

    from rdev_cli.adapters.kubernetes.api import Api
    from rdev_cli.adapters.kubernetes.commands import PodCommands
    from rdev_cli.adapters.kubernetes.manifests import Manifest, Shape
    from rdev_cli.domain.command import Launch, Progress
    from rdev_cli.domain.log import LogSpec, PodLog
    from rdev_cli.domain.project import Project
    from rdev_cli.domain.report import Check
    from rdev_cli.domain.resource import Inventory, Owned
    from rdev_cli.ports.cluster import Channel, Ran, Started
    from rdev_cli.ports.timing import Stop

PROVED = f"{LABEL}egress"  # an annotation: what the network policy really does, as it was measured from inside the pod
WEAKER = "weaker"
_SETTLING = 10.0  # seconds that a network plugin may need until a new pod's policy is in force


class KubernetesCluster:
    """Pods in one namespace of one cluster.

    `folder` is the context's state on this machine; `shape` is how pods are wanted; `weaker`: a policy that is not in force is accepted;
    `exposes`: hosts of previews are led to it; `patience` bounds the wait for a node, storage or an address; `tell` says something to
    whoever waits; `stop` is asked for at each wait, for what cleans up after a stop is given a fresh one.
    """

    isolated, here = True, False

    def __init__(
        self,
        api: Api,
        *,
        folder: Path,
        context: str,
        namespace: str,
        shape: Shape,
        installation: str,
        stop: Callable[[], Stop],
        weaker: bool = False,
        exposes: bool = False,
        patience: float = ORCHESTRATION,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.api, self.context, self.namespace, self.shape, self.weaker = api, context, namespace, shape, weaker
        self.installation, self.exposes = installation, exposes
        self._folder, self._stop, self._patience, self._tell = folder, stop, patience, tell
        self.pods, self.claims, self.policies = (path.format(namespace) for path in owned.KINDS.values())
        self._seen: dict[str, Manifest] = {}  # pods, as they were when they were last looked at

    @cached_property
    def _commands(self) -> PodCommands:
        from rdev_cli.adapters.kubernetes.commands import PodCommands  # noqa: PLC0415 -- who only looks at pods runs nothing in them

        return PodCommands(self.api, namespace=self.namespace, container=CONTAINER, spool=self._folder / "spool")

    # the cluster itself

    def ready(self) -> None:
        if not self.shape.image:
            raise Invalid(
                f"the context {self.context} has no image for its pods",
                hint=f"rdev context set {self.context} --image IMAGE; deploy/claudebox.Dockerfile makes one",
                code="NO_IMAGE",
                field="image",
            )
        self.identity  # noqa: B018 -- asked once for each process

    @cached_property
    def identity(self) -> str:
        """What tells this cluster from any other, empty if this user may not see it; Conflict OTHER_CLUSTER if it is not the state's."""
        found = self.api.identity()
        kind = "cluster"
        if not found:
            kind = "namespace"
            try:
                found = str(self.api.get(f"/api/v1/namespaces/{self.namespace}")["metadata"]["uid"])
            except (Denied, NotFound):
                return ""
        path = self._folder / "cluster.json"
        try:
            kept: dict[str, str] = json.loads(path.read_bytes())
        except (OSError, ValueError):
            kept = {}
        if kept.get(kind, found) != found:
            raise Conflict(
                f"{self.api.access.server} is not the {kind} that the context {self.context} was used with before",
                hint="give the other one a context of its own: rdev context set NAME --kubeconfig FILE; rdev context view shows this one's",
                code="OTHER_CLUSTER",
                context=self.context,
            )
        if kind not in kept:
            private_folder(self._folder)
            write_whole(path, json.dumps({**kept, kind: found}).encode())
        return found

    # pods

    def pod_present(self, project: Project) -> bool:
        found = self._find(self.pods, project)
        return found is not None and states.alive(found) and found["status"].get("phase") == "Running" and MARK in _notes(found)

    def pod_kept(self, project: Project) -> bool:
        found = self._find(self.claims, project)
        return found is not None and MARK in _notes(found)

    def pod_commit(self, project: Project) -> str:
        found = self._seen.get(project.pod) or self._find(self.pods, project)
        return _notes(found).get(MARK, "") if found is not None else ""

    def image(self, project: Project) -> str:
        found = self._find(self.pods, project)
        return states.image(found) if found is not None else ""

    def mark_pod(self, project: Project, commit: str) -> None:
        if project.pod in self._seen and _notes(self._seen[project.pod]).get(MARK) == commit:
            return
        self._seen[project.pod] = self.api.patch(f"{self.pods}/{project.pod}", {"metadata": {"annotations": {MARK: commit}}})
        if self._find(self.claims, project) is not None:
            # whoever makes the pod again finds its work tree there
            self.api.patch(f"{self.claims}/{project.pod}", {"metadata": {"annotations": {MARK: commit}}})

    def ensure_pod(self, project: Project) -> bool:
        self.ready()
        found = self._find(self.pods, project)
        if found is not None and not states.alive(found):
            self._delete(self.pods, found)
            found = None
        made = found is None
        marks = manifests.project_labels(project, self.installation)
        if found is None:
            egress = self.shape.egress if project.network else "none"
            self._ensure(self.policies, project, manifests.policy(project.pod, marks, egress))
            claimed = self.claim(project.pod, marks, project)
            found = self._ensure(self.pods, project, manifests.pod(project.pod, marks, self.shape, claimed=claimed))
        self.wait(found)
        if MARK in _notes(found):
            return made
        # of a worker, and where a start was cut off, it was measured before: a policy that was in force stays so
        egress = self.shape.egress if project.network else "none"
        known = _notes(found).get(PROVED) in (egress, WEAKER if self.weaker else egress)
        notes = {} if known else {PROVED: self.prove(project.pod, egress)}
        kept = self._find(self.claims, project)
        if kept is not None and MARK in _notes(kept):
            notes[MARK] = _notes(kept)[MARK]
        if not notes:
            return made
        self._seen[project.pod] = self.api.patch(f"{self.pods}/{project.pod}", {"metadata": {"annotations": notes}})
        return made

    def delete_pod(self, project: Project) -> bool:
        self.identity  # noqa: B018 -- that nothing of it is in another cluster says nothing
        self._seen.pop(project.pod, None)
        there = owned.undeploy(self.api, self.namespace, self.installation, project)
        self._commands.sweep(project)
        return there

    def owned(self) -> Inventory:
        return owned.inventory(self.api, self.namespace, self.installation)

    def others(self) -> Sequence[Owned]:
        return owned.others(self.api, self.namespace, self.installation)

    def remove(self, thing: Owned) -> bool:
        return owned.remove(self.api, thing)

    def hand_over(self, pod: Owned, *, installation: str, project: str, id: str) -> None:
        self._seen.pop(pod.name, None)
        owned.hand_over(self.api, pod, installation=installation, project=project, id=id)

    def claim(self, name: str, marks: Mapping[str, str], project: Project | None = None) -> bool:
        """Make the claim of a pod unless it is there; False, said aloud, where the cluster has no storage to claim."""
        made = self._ensure(self.claims, project, manifests.claim(name, marks, self.shape))
        # the server has filled in the default class, if there is one
        if made["spec"].get("storageClassName") or made["spec"].get("volumeName"):
            return True
        self._delete(self.claims, made)
        self._tell(
            f"warning: the cluster has no default storage class, so the work tree of {name} ends with its pod; "
            f"rdev context set {self.context} --storage-class CLASS names one"
        )
        return False

    def wait(self, pod: Manifest) -> Manifest:
        """Wait until a pod is ready, and return it as it is then; what keeps it from that has a code and the cluster's own words."""
        began, stop = time.monotonic(), self._stop()
        path = f"{self.pods}/{pod['metadata']['name']}"
        while True:
            found = self.api.get(path)
            waited = time.monotonic() - began
            if states.ready(found):
                return found
            name = found["metadata"]["name"]
            if states.leaving(found) or states.final(found) or waited > self._patience:
                events = self._events(name, "Pod")
                if states.leaving(found) or states.final(found) or waited > LONG_RUNNING or not states.pulling(events):
                    raise states.trouble(found, events, self._events(name, "PersistentVolumeClaim"))
            stop.check(f"waiting for the pod {name}")
            self._watch(found, lambda one: states.ready(one) or states.final(one))

    def _watch(self, found: Manifest, enough: Callable[[Manifest], bool]) -> None:
        """Return when a pod has come far enough, is gone, or a second is over."""
        name, version = found["metadata"]["name"], found["metadata"]["resourceVersion"]
        try:
            for what, one in self.api.watch(self.pods, selector=None, name=name, version=version, timeout=1.0):
                if what == "DELETED" or enough(one):
                    return
        except Conflict:
            return  # its history is gone: a new look tells

    def _events(self, name: str, kind: str) -> Sequence[Mapping[str, Any]]:
        which = {"fieldSelector": f"involvedObject.name={name},involvedObject.kind={kind}"}
        try:
            return self.api.whole(f"/api/v1/namespaces/{self.namespace}/events", which).items
        except RdevError:
            return ()  # they explain a trouble, and are none

    def _find(self, path: str, project: Project) -> Manifest | None:
        """Return a project's pod, claim or policy, None if there is none; Conflict if it is another's."""
        try:
            found = self.api.get(f"{path}/{project.pod}")
        except NotFound:
            found = None
        if found is not None:
            self._mine(found, project)
        if path == self.pods:
            self._seen.pop(project.pod, None)
            if found is not None:
                self._seen[project.pod] = found
        return found

    def _mine(self, found: Manifest, project: Project) -> None:
        marks = manifests.project_labels(project, self.installation)
        if not marks.items() <= (found["metadata"].get("labels") or {}).items():
            raise Conflict(
                f"the {found.get('kind', 'object')} {project.pod} in {self.namespace} belongs to another project or installation",
                hint="rdev project list shows this installation's projects",
                pod=project.pod,
            )

    def _ensure(self, path: str, project: Project | None, wanted: Manifest) -> Manifest:
        """Make an object, or take the one that is there if it is the project's own."""
        try:
            return self.api.create(path, wanted)
        except Conflict as e:
            if e.code != "EXISTS" or project is None:
                raise states.refused(e) from e
        except RdevError as e:
            raise states.refused(e) from e
        found = self.api.get(f"{path}/{project.pod}")
        self._mine(found, project)
        if path == self.policies:
            return self.api.patch(f"{path}/{project.pod}", {"spec": wanted["spec"]})
        return found

    def _delete(self, path: str, found: Manifest) -> None:
        """Delete an object by its UID and wait until it is gone."""
        name, uid = found["metadata"]["name"], found["metadata"]["uid"]
        self.api.delete(f"{path}/{name}", uid=uid)
        owned.gone(self.api, f"{path}/{name}", uid, what=name)

    def prove(self, name: str, egress: str) -> str:
        """Return what egress is in force in a new pod, measured from inside; Denied ISOLATION_WEAKER if it is weaker than `egress`."""
        from rdev_cli.adapters.kubernetes import probe  # noqa: PLC0415 -- only for a new pod

        found = self.api.get(f"{self.pods}/{name}")
        end = time.monotonic() + (0 if self.weaker else _SETTLING)
        while True:
            reached = probe.reached(self, found, probe.closed(egress, found))
            if not reached:
                return egress
            if time.monotonic() > end:
                break
            self._stop().check("measuring the pod's network")
        if self.weaker:
            return WEAKER
        raise Denied(
            f"the pod {name} reaches {', '.join(reached)}, which its network policy closes: the cluster does not enforce it",
            hint=f"use a network plugin that does (Calico, Cilium, kube-router); or accept it: rdev context set {self.context} --allow-weaker",
            code="ISOLATION_WEAKER",
            pod=name,
            reached=reached,
        )

    def know(self, pod: Manifest) -> None:
        """Take a pod that somebody has just read or changed, so that the next call need not ask for it."""
        self._seen[pod["metadata"]["name"]] = pod

    def forget(self, project: Project) -> None:
        """Ask for a pod the next time, whatever is known of it."""
        self._seen.pop(project.pod, None)

    # commands

    def sweep(self, project: Project) -> None:
        self._commands.sweep(project)

    def start(self, project: Project, launch: Launch) -> Started:
        if (seen := self._seen.pop(project.pod, None)) is not None:  # by the next start it may be another
            self._commands.know(seen)
        return self._commands.start(project, launch)

    def advance(self, project: Project, id: str, *, after: tuple[int, int] = (-1, -1), wait: float) -> Progress:
        return self._commands.advance(project, id, after=after, wait=wait)

    def stop(self, project: Project, id: str, reason: str) -> None:
        self._commands.stop(project, id, reason)

    def signal(self, project: Project, id: str, number: int) -> None:
        self._commands.signal(project, id, number)

    def run(
        self, project: Project, argv: Sequence[str], *, stdin: BinaryIO | None = None, stdout: BinaryIO | None = None, timeout: float
    ) -> Ran:
        return self._commands.run(project, argv, stdin=stdin, stdout=stdout, timeout=timeout)

    def dial(self, project: Project, port: int, *, timeout: float) -> Channel:
        from rdev_cli.adapters.kubernetes import forwarding  # noqa: PLC0415 -- only previews need it

        return forwarding.dial(self.api, self.namespace, self.installation, project, port, timeout=timeout)

    def expose(self, project: Project, host: str) -> None:
        from rdev_cli.adapters.kubernetes import ingress  # noqa: PLC0415 -- as above

        ingress.expose(self.api, self.namespace, self.installation, project, host)

    def conceal(self, project: Project, host: str = "") -> None:
        from rdev_cli.adapters.kubernetes import ingress  # noqa: PLC0415 -- as above

        ingress.conceal(self.api, self.namespace, self.installation, project, host)

    def log(self, project: Project, spec: LogSpec, *, after: str, most: int) -> PodLog | None:
        from rdev_cli.adapters.kubernetes import logs  # noqa: PLC0415 -- only `logs` needs it

        return logs.page(self.api, self.namespace, project, spec, after=after, most=most)

    # what it proves

    def attempt(self, argv: Sequence[str], *, tools: Sequence[str], network: bool, timeout: float) -> tuple[int, bytes]:  # noqa: ARG002 -- an image has its tools
        name = f"rdev-probe-{os.urandom(5).hex()}"
        marks = manifests.labels(self.installation, name=name, role="probe")
        limit = int(timeout + self._patience)
        made: list[tuple[str, Manifest]] = []
        try:
            made.append(
                (self.policies, self._ensure(self.policies, None, manifests.policy(name, marks, self.shape.egress if network else "none")))
            )
            pod = self._ensure(self.pods, None, manifests.throwaway(name, marks, self.shape, argv, seconds=limit))
            made.insert(0, (self.pods, pod))
            return self._ending(pod, limit)
        finally:
            self.discard(made)

    def _ending(self, pod: Manifest, limit: int) -> tuple[int, bytes]:
        """Wait for the end of a throwaway pod; return its exit code and what it printed."""
        name, end = pod["metadata"]["name"], time.monotonic() + limit
        while True:
            found = self.api.get(f"{self.pods}/{name}")
            done = states.ended(found)
            if done is not None:
                said = b"".join(self.api.log(self.namespace, name, CONTAINER))[: 1 << 16]
                return done[0], said or done[1].encode()
            if states.final(found) or time.monotonic() > end:
                raise states.trouble(found, self._events(name, "Pod"))
            self._stop().check("a trial in a pod")
            self._watch(found, lambda one: states.ended(one) is not None or states.final(one))

    def discard(self, made: Sequence[tuple[str, Manifest]]) -> None:
        """Ask for objects of rdev's own trials to be deleted, without waiting; what cannot be is left to gc."""
        for path, one in made:
            try:
                self.api.delete(f"{path}/{one['metadata']['name']}", uid=one["metadata"]["uid"], grace=0 if path == self.pods else None)
            except RdevError:
                continue

    def checks(self) -> Sequence[Check]:
        from rdev_cli.adapters.kubernetes.probe import checks  # noqa: PLC0415 -- only doctor and `context test` need it

        return checks(self)


def _notes(found: Manifest) -> Mapping[str, str]:
    notes: Mapping[str, str] = found["metadata"].get("annotations") or {}
    return notes
