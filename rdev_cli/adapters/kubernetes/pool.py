"""The Pool port on Kubernetes: pods that a label patch lends, and that are lent again only if they are proved to be as they were made."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rdev_cli.adapters.kubernetes import hand, manifests, owned, probe, states
from rdev_cli.adapters.kubernetes.cluster import PROVED
from rdev_cli.adapters.kubernetes.losses import identity
from rdev_cli.adapters.kubernetes.manifests import CONTAINER, LABEL, MARK, WARM, WORKER
from rdev_cli.adapters.kubernetes.selector import Selector
from rdev_cli.adapters.kubernetes.socket import Broken, Closed
from rdev_cli.adapters.shared.files import private_folder, write_whole
from rdev_cli.domain.errors import Conflict, NotFound, RdevError, Unavailable
from rdev_cli.domain.resource import POD
from rdev_cli.domain.values import shown
from rdev_cli.domain.worker import Evidence, Standing, worker_pod
from rdev_cli.ports.timing import LOOKUP, STANDARD

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from rdev_cli.adapters.kubernetes.cluster import KubernetesCluster
    from rdev_cli.adapters.kubernetes.manifests import Manifest
    from rdev_cli.domain.project import Project

_TRIES = 8  # of a patch that the node's own words about the pod get in the way of
_SWEPT = 3.0  # seconds in which PID 1 has killed everything, and said so
_SWEEPS = 3
_GRACE = 1  # seconds that a pod has for its end: nothing in it is worth more
_WORDS = "what since kept odd folders files apart stat_ tool own kind folder file pid name names others open kinds first turn given word one rest point state local allowed key value running listening"
# what the lines of scrub.sh are about, as people say it; `none`: it must be none, else it must be as it was
_SAID = {
    "processes": "processes", "sockets": "sockets", "ipc": "shared memory, semaphores and queues", "mounts": "mounts", "init": "PID 1",
    "environment": "the environment", "files": "files", "notes": "attributes of folders", "given": "files that the node gave",
}  # fmt: skip
_NONE = ("processes", "sockets", "ipc", "given")


class KubernetesPool:
    """Workers in the namespace of a cluster; what each was like when it was made is kept in `folder`, on this machine."""

    def __init__(self, cluster: KubernetesCluster, folder: Path) -> None:
        self._cluster, self._folder = cluster, folder / "pool"

    @property
    def reused(self) -> str:
        return "commands run as root in it" if self._cluster.shape.root else ""

    @property
    def image(self) -> str:
        return self._cluster.shape.image

    def ready(self) -> None:
        self._cluster.ready()

    def lends(self, *, network: bool) -> bool:
        return network or self._cluster.shape.egress == "none"

    # made and destroyed

    def make(self, worker: str) -> None:
        cluster, name = self._cluster, worker_pod(worker)
        policy, pod = manifests.worker(cluster.installation, worker, cluster.shape)
        for path, wanted in ((cluster.policies, policy), (cluster.pods, pod)):
            try:
                cluster.api.create(path, wanted)
            except Conflict as e:  # nobody else makes one of this name: it is the answer to a repeat
                if cluster.api.get(f"{path}/{name}")["metadata"].get("labels") != wanted["metadata"]["labels"]:
                    raise states.refused(e) from e
            except RdevError as e:
                raise states.refused(e) from e
        found = cluster.wait(cluster.api.get(f"{cluster.pods}/{name}"))
        egress = cluster.prove(name, cluster.shape.egress)
        found = cluster.api.patch(f"{cluster.pods}/{name}", {"metadata": {"annotations": {PROVED: egress}}})
        kept = {
            "identity": identity(found, CONTAINER), "kind": manifests.worker_kind(cluster.shape),
            "version": found["metadata"]["resourceVersion"],
        }  # fmt: skip
        self._keep(worker, kept | ({} if self.reused else self._baseline(name)))

    def _baseline(self, pod: str) -> dict[str, Any]:
        """Return what a worker is like before anybody has had it: `once`, why it cannot be proved clean, or `told`."""
        try:
            _, kept = self._word(pod)
            told = self._told(pod, "make", kept=kept)
        except (Unavailable, Broken) as e:
            return {"once": f"it could not be looked at ({e.message if isinstance(e, RdevError) else 'the connection broke'})"}
        once = told.get("once", "") or self._unclean(told, None)
        return {"once": once} if once else {"once": "", "told": told}

    def destroy(self, worker: str) -> bool:
        cluster, there = self._cluster, False
        cluster.identity  # noqa: B018 -- that nothing of it is in another cluster says nothing
        which = Selector({f"{LABEL}installation": cluster.installation, WORKER: worker})
        for kind in owned.KINDS:  # the policy stands until nothing runs under it
            path = owned.KINDS[kind].format(cluster.namespace)
            for one in cluster.api.list(path, which, metadata=True).items:
                name, uid = one["metadata"]["name"], one["metadata"]["uid"]
                there = cluster.api.delete(f"{path}/{name}", uid=uid, grace=_GRACE if kind == POD else None) or there
                owned.gone(cluster.api, f"{path}/{name}", uid, what=name)
        (self._folder / f"{worker}.json").unlink(missing_ok=True)
        return there

    # lent

    def standing(self) -> Sequence[Standing]:
        cluster = self._cluster
        which = Selector({f"{LABEL}installation": cluster.installation, WARM: "true"})
        found = []
        for pod in cluster.api.list(cluster.pods, which).items:
            labels = pod["metadata"]["labels"]
            worker, id = labels[WORKER], labels.get(f"{LABEL}id", "")
            session = "" if id == worker else id
            found.append(Standing(worker=worker, pod=pod["metadata"]["name"], session=session, doubt=self._doubt(worker, pod)))
        return found

    def claim(self, worker: str, place: Project) -> bool:
        cluster = self._cluster
        path = f"{cluster.pods}/{worker_pod(worker)}"
        theirs = manifests.project_labels(place, cluster.installation)
        version = self._kept(worker).get("version", "")  # mostly nobody wrote on it since it was made or given back, and one call is enough
        for _ in range(_TRIES):
            try:
                if not version:
                    found = cluster.api.get(path)
                    if theirs.items() <= found["metadata"]["labels"].items():
                        return not self._doubt(worker, found)
                    if self._doubt(worker, found) or not self._idle(worker, found):
                        return False
                    version = found["metadata"]["resourceVersion"]
                made = cluster.api.patch(path, {"metadata": {"resourceVersion": version, "labels": theirs}})
            except NotFound:
                return False
            except Conflict:
                version = ""  # another has it, or its node wrote on it, or this is the answer to a repeat: a look tells
                continue
            if self._doubt(worker, made):
                return False
            cluster.know(made)
            return True
        return False

    def give_back(self, worker: str, place: Project) -> None:
        cluster = self._cluster
        path = f"{cluster.pods}/{worker_pod(worker)}"
        own = manifests.worker_labels(cluster.installation, worker)
        theirs = manifests.project_labels(place, cluster.installation)
        cluster.forget(place)
        for _ in range(_TRIES):
            found = cluster.api.get(path)
            if self._idle(worker, found) and MARK not in (found["metadata"].get("annotations") or {}):
                return
            if not theirs.items() <= found["metadata"]["labels"].items() or self._doubt(worker, found):
                break
            meta = {
                "resourceVersion": found["metadata"]["resourceVersion"],
                "labels": {**dict.fromkeys(theirs), **own},  # a merge takes away what is null
                "annotations": {MARK: None},
            }
            try:
                made = cluster.api.patch(path, {"metadata": meta})
            except Conflict:
                continue
            self._keep(worker, {**self._kept(worker), "version": made["metadata"]["resourceVersion"]})
            return
        raise Conflict(f"{worker_pod(worker)} is not what it was any more", hint="look at it again", code="CHANGED", pod=worker_pod(worker))

    def _idle(self, worker: str, pod: Manifest) -> bool:
        own = manifests.worker_labels(self._cluster.installation, worker)
        labels: Mapping[str, str] = pod["metadata"]["labels"]
        return own.items() <= labels.items() and f"{LABEL}project" not in labels

    def _keep(self, worker: str, kept: dict[str, Any]) -> None:
        write_whole(private_folder(self._folder) / f"{worker}.json", json.dumps(kept).encode())

    def _kept(self, worker: str) -> dict[str, Any]:
        try:
            found: dict[str, Any] = json.loads((self._folder / f"{worker}.json").read_bytes())
        except (OSError, ValueError):
            return {}
        return found

    def _doubt(self, worker: str, pod: Manifest) -> str:
        """Return why a pod may not be lent, empty if it may: it must be the very one that was made, and run as it did."""
        kept = self._kept(worker)
        if pod["metadata"].get("labels", {}).get(WORKER) != worker:
            return "it is another's pod"
        if not kept:
            return "nobody knows what it was like when it was made"
        if not states.alive(pod) or not states.ready(pod):
            return "its pod does not run"
        if kept["identity"] != identity(pod, CONTAINER):
            return "its pod or its container was started again"
        return "" if kept["kind"] == manifests.worker_kind(self._cluster.shape) else "the context wants its pods otherwise by now"

    # proved

    def scrub(self, worker: str, place: Project) -> Evidence:
        theirs = manifests.project_labels(place, self._cluster.installation)

        def its(pod: Manifest) -> bool:
            return theirs.items() <= pod["metadata"]["labels"].items() or self._idle(worker, pod)

        return self._evidence(worker, its, wipe=True)

    def prove(self, worker: str) -> Evidence:
        return self._evidence(worker, lambda pod: self._idle(worker, pod), wipe=False)

    def _evidence(self, worker: str, its: Any, *, wipe: bool) -> Evidence:
        at, name, kept = datetime.now(UTC), worker_pod(worker), self._kept(worker)
        at = at.replace(microsecond=at.microsecond // 1000 * 1000)
        told: dict[str, str] = {}
        try:
            found = self._cluster.api.get(f"{self._cluster.pods}/{name}")
            doubt = self._doubt(worker, found) or kept.get("once", "") or ("" if its(found) else "somebody else has it")
            if not doubt:
                since = kept["told"]["at"]
                helper = self._swept(name) if wipe else self._word(name)[1]
                told = self._told(name, "wipe" if wipe else "tell", kept=helper, since=since)
                found = self._cluster.api.get(f"{self._cluster.pods}/{name}")
                doubt = self._unclean(told, kept["told"]) or self._doubt(worker, found)
        except NotFound:
            doubt = "its pod has gone"
        except RdevError as e:
            doubt = f"it could not be looked at: {e.message}"
        except Broken:
            doubt = "it could not be looked at: the connection broke"
        removed = int(told.get("removed", 0))
        if doubt:
            return Evidence(clean=False, doubts=(doubt,), removed=removed, at=at)
        facts = tuple(f"no {_SAID[key]}" if key in _NONE else f"{_SAID[key]} as made" for key in _SAID)
        return Evidence(clean=True, removed=removed, facts=facts, at=at)

    @staticmethod
    def _unclean(told: Mapping[str, str], made: Mapping[str, str] | None) -> str:
        """Return what is not as it should be; `made`: what was told when it was made, None while it is being made."""
        found = []
        for key, words in _SAID.items():
            value = told.get(key)
            if value is None:
                found.append(f"nothing was told of {words}")
            elif key in _NONE:
                if value != "0":
                    found.append(f"{words}: {shown(value, most=200)}")
            elif made is not None and value != made.get(key):
                found.append(f"{words} not as made{told.get('changed', '') if key == 'files' else ''}")
        return "; ".join(found)

    def _word(self, pod: str) -> tuple[int, str]:
        """Return how often PID 1 has swept, and which process it keeps; Unavailable if it does not say."""
        end = time.monotonic() + LOOKUP
        while True:
            said = b"".join(self._cluster.api.log(self._cluster.namespace, pod, CONTAINER, tail=1)).decode(errors="replace").split()
            if len(said) == 3 and said[0] == "rdev" and said[1].isdecimal() and said[2].isdecimal():
                return int(said[1]), said[2]
            if time.monotonic() > end:
                raise Unavailable(f"PID 1 of {pod} says nothing", hint="the next look destroys it", pod=pod)
            time.sleep(0.05)

    def _swept(self, pod: str) -> str:
        """Have everything in a pod killed but PID 1, and return which process that keeps now; Unavailable if it does not say that it did.

        Its word is the pod's log, where nothing of a session can write. The connection that asks for it dies with the rest.
        """
        before, _ = self._word(pod)
        for _ in range(_SWEEPS):
            try:
                asked = self._cluster.api.exec(
                    self._cluster.namespace, pod, CONTAINER, ["/bin/sh", "-c", "kill -USR1 1; exec cat"], stdin=True
                )
                try:
                    asked.read(_SWEPT)
                finally:
                    asked.close()
            except (Broken, Closed, Unavailable):
                pass
            end = time.monotonic() + _SWEPT
            while time.monotonic() < end:
                now, kept = self._word(pod)
                if now > before:
                    return kept
                time.sleep(0.02)
        raise Unavailable(f"PID 1 of {pod} did not kill what runs there", hint="it is destroyed", pod=pod)

    def _told(self, pod: str, what: str, *, kept: str, since: str = "") -> dict[str, str]:
        """Run scrub.sh and return its lines by their first word; Unavailable if it did not come to its end."""
        text = hand.boot({"what": what, "since": since, "kept": kept}, manifests.script("scrub.sh"), unset=_WORDS)
        argv = ("/bin/sh", "-c", hand.BOOT)
        lines = probe.ask(self._cluster.api, self._cluster.namespace, pod, argv, stdin=text, timeout=STANDARD)
        if not lines or lines[-1] != "end":
            raise Unavailable(f"the look into {pod} did not come to its end", hint="it is destroyed", pod=pod)
        told: dict[str, str] = {}
        for line in lines[:-1]:
            key, _, value = line.partition(" ")
            told[key] = f"{told.get(key, '')} {shown(value)}" if key == "changed" else value
        return told
