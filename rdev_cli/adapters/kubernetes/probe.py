"""What `doctor` and `context test` prove of a cluster: reach, rights, image, storage, and the isolation as it is measured from inside a pod."""

from __future__ import annotations

import os
import time
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from rdev_cli.adapters.kubernetes import manifests
from rdev_cli.adapters.kubernetes.manifests import CONTAINER, LABEL
from rdev_cli.adapters.kubernetes.selector import Selector
from rdev_cli.domain.errors import RdevError, Unavailable
from rdev_cli.domain.report import Check, Verdict
from rdev_cli.ports.timing import STANDARD

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rdev_cli.adapters.kubernetes.api import Api
    from rdev_cli.adapters.kubernetes.cluster import KubernetesCluster
    from rdev_cli.adapters.kubernetes.manifests import Manifest

    Target = tuple[str, str, int]  # what it is called, host, port

API, KUBELET, METADATA, PUBLIC, POD, NAMES = "the API server", "the kubelet", "the metadata service", "the internet", "another pod", "names"
_PORT = 8471  # of the listener
_SECONDS = 1  # that a connection may take to open
_LEFT = timedelta(minutes=10)  # no trial takes longer
_SETTLING = 15.0  # seconds that a network plugin may need until a policy is in force

# stdout: `open N` for each of the targets (N HOST PORT) that a connection can be opened to; `blind` if the image has nothing to try with.
# The children are ended together: nobody waits for a connection that a policy swallows.
_REACH = """
seconds=$1
shift
try() {
  case $1 in api) set -- "$1" "$KUBERNETES_SERVICE_HOST" "${KUBERNETES_SERVICE_PORT:-443}";; esac
  if command -v bash; then bash -c 'exec 3<>"/dev/tcp/$0/$1"' "$2" "$3"
  elif command -v nc; then nc "$2" "$3" </dev/null
  else
    case $2 in *:*) set -- "$1" "[$2]" "$3";; esac
    case $(GIT_ALLOW_PROTOCOL=git LC_ALL=C git ls-remote "git://$2:$3/x" 2>&1) in *'unable to '*) false;; esac
  fi >/dev/null 2>&1
}
command -v bash >/dev/null || command -v nc >/dev/null || command -v git >/dev/null || { echo blind; exit; }
while [ "$#" -gt 2 ]; do
  (try "$1" "$2" "$3" && echo "open $1") &
  shift 3
done >&1
sleep "$seconds"
trap '' TERM
kill -TERM 0
"""
# stdout: what the kernel says of a process in the pod, and which tools the image has
_FACTS = """
while read -r key value; do case $key in Uid:|CapEff:|NoNewPrivs:|Seccomp:) echo "$key $value";; esac; done </proc/self/status
[ ! -e /var/run/secrets/kubernetes.io/serviceaccount/token ] || echo "token: there"
for tool in sh cat mkdir mv git setsid sleep script; do command -v "$tool" >/dev/null && echo "has: $tool"; done
(: >"$HOME/.rdev-probe" && : >.rdev-probe) 2>/dev/null && echo "writes: yes"
"""
# a listener of whatever the image has; it says so once it listens
_LISTEN = f"""
if command -v python3 >/dev/null; then exec python3 -m http.server {_PORT}
elif command -v nc >/dev/null && nc -h 2>&1 | grep -q BusyBox; then while :; do nc -l -p {_PORT} >/dev/null </dev/null; done
elif [ -x "$(git --exec-path)/git-daemon" ]; then exec git daemon --reuseaddr --listen=0.0.0.0 --port={_PORT} --base-path=/tmp
fi
exec sh -c 'cat <&0'
"""

RIGHTS: tuple[tuple[str, str, str], ...] = tuple(
    (group, resource, verb)
    for group, resource, verbs in (
        ("", "pods", "get list watch create patch delete"),
        ("", "pods/exec", "get create"),
        ("", "pods/portforward", "get create"),
        ("", "pods/log", "get"),
        ("", "persistentvolumeclaims", "get list create patch delete"),
        ("networking.k8s.io", "networkpolicies", "get list create patch delete"),
        ("networking.k8s.io", "ingresses", "get list create delete"),
        ("", "events", "list"),
        ("", "namespaces", "get"),
    )
    for verb in verbs.split()
)


def closed(egress: str, pod: Manifest) -> list[Target]:
    """Return what an egress class closes and surely listens, seen from a pod."""
    host = str(pod["status"].get("hostIP", ""))
    found = [("api", "-", 0), ("kubelet", host, 10250), ("metadata", "169.254.169.254", 80)]
    return [*found, ("public", "1.1.1.1", 443)] if egress != "internet" else found


WORDS = {"api": API, "kubelet": KUBELET, "metadata": METADATA, "public": PUBLIC, "pod": POD, "names": NAMES}


def reached(cluster: KubernetesCluster, pod: Manifest, targets: Iterable[Target]) -> list[str]:
    """Return what can be connected to from inside a pod; Unavailable if its image has nothing to try with."""
    words = [str(word) for target in targets for word in target]
    said = ask(cluster.api, cluster.namespace, pod["metadata"]["name"], ("sh", "-c", _REACH, "rdev", str(_SECONDS), *words))
    if "blind" in said:
        raise Unavailable(
            f"the image {cluster.shape.image} has nothing to measure the network with",
            hint="an image for projects needs git; rdev context set NAME --image IMAGE",
            code="ISOLATION_UNKNOWN",
        )
    return [WORDS[line.removeprefix("open ")] for line in said if line.startswith("open ")]


def ask(api: Api, namespace: str, pod: str, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = STANDARD) -> list[str]:
    """Run rdev's own short script in a pod, and return the lines it prints."""
    from rdev_cli.adapters.kubernetes.socket import Closed  # noqa: PLC0415 -- the framing's library

    end, out = time.monotonic() + timeout, b""
    session = api.exec(namespace, pod, CONTAINER, argv, stdin=bool(stdin))
    try:
        if stdin:
            session.send(stdin)
        while len(out) < 1 << 16 and (left := end - time.monotonic()) > 0:
            got = session.read(left)
            out += got[1] if got is not None and got[0] == 1 else b""
    except Closed:
        return out.decode(errors="replace").splitlines()
    finally:
        session.close()
    raise Unavailable(f"a look into the pod {pod} took longer than {timeout:.0f} seconds", hint="try again")


def checks(cluster: KubernetesCluster) -> list[Check]:
    """Return what is really in force, the first things first; what stands on a failed one is left out."""
    found = _reach(cluster)
    if any(check.verdict is Verdict.FAILED for check in found):
        return found
    found.append(rights(cluster))
    if found[-1].verdict is Verdict.FAILED:
        return found
    trial = _Trial(cluster)
    try:
        _sweep(cluster)
        return [*found, *trial.run()]
    except RdevError as e:
        return [*found, *trial.found, _failed(_SUBJECTS.get(e.code, "cluster.pod"), e)]
    finally:
        trial.close()


_SUBJECTS = {
    "IMAGE_PULL": "cluster.image", "POD_FAILED": "cluster.image", "ISOLATION_UNKNOWN": "cluster.image", "STORAGE_PENDING": "cluster.storage",
    "QUOTA": "cluster.room", "UNSCHEDULABLE": "cluster.room",
}  # fmt: skip


def _reach(cluster: KubernetesCluster) -> list[Check]:
    server = cluster.api.access.server
    try:
        version = cluster.api.get("/version").get("gitVersion", "?")
    except RdevError as e:
        return [_failed("cluster.reach", e)]
    found = [_ok("cluster.reach", f"Kubernetes {version} at {server}, namespace {cluster.namespace}")]
    try:
        identity = cluster.identity
    except RdevError as e:
        return [*found, _failed("cluster.identity", e)]
    if identity:
        return [*found, _ok("cluster.identity", f"the one this context was used with before ({identity})")]
    return [
        *found,
        Check(
            name="cluster.identity",
            verdict=Verdict.WARNING,
            found="this user may see neither kube-system nor the namespace, so another cluster behind this address would not be noticed",
            hint="deploy/rbac.yaml holds the rights that rdev uses: kubectl apply -f deploy/rbac.yaml",
        ),
    ]


def rights(cluster: KubernetesCluster) -> Check:
    """Return whether this login has every right that rdev uses; a missing one is named by verb and resource."""
    missing = []
    needed = [right for right in RIGHTS if right[1] != "ingresses" or cluster.exposes]
    for group, resource, verb in needed:
        kind, _, sub = resource.partition("/")
        attributes = {"namespace": cluster.namespace, "group": group, "resource": kind, "subresource": sub, "verb": verb}
        review = {
            "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": {"resourceAttributes": attributes},
        }  # fmt: skip
        try:
            answer = cluster.api.create("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", review)
        except RdevError as e:
            return _failed("cluster.rights", e)
        if not answer.get("status", {}).get("allowed"):
            missing.append(f"{verb} {resource}{f'.{group}' if group else ''}")
    if missing:
        return Check(
            name="cluster.rights",
            verdict=Verdict.FAILED,
            found=f"not allowed in the namespace {cluster.namespace}: {', '.join(missing)}",
            hint="deploy/rbac.yaml holds the rights that rdev uses: kubectl apply -f deploy/rbac.yaml",
        )
    return _ok("cluster.rights", f"all {len(needed)} that rdev uses in {cluster.namespace}")


def _sweep(cluster: KubernetesCluster) -> None:
    """Remove what trials left that were killed."""
    selector = Selector({f"{LABEL}role": "probe", f"{LABEL}installation": cluster.installation})
    for path in (cluster.pods, cluster.policies, cluster.claims):
        listing = cluster.api.list(path, selector, metadata=True)
        old = [one for one in listing.items if listing.at - datetime.fromisoformat(one["metadata"]["creationTimestamp"]) > _LEFT]
        cluster.discard([(path, one) for one in old])


class _Trial:
    """Two pods as a project has them, one beside the other; they are removed by `close`."""

    def __init__(self, cluster: KubernetesCluster) -> None:
        self.cluster = cluster
        self.found: list[Check] = []
        self._made: list[tuple[str, Manifest]] = []

    def close(self) -> None:
        self.cluster.discard(self._made)

    def _policy(self, name: str, marks: Mapping[str, str]) -> None:
        cluster = self.cluster
        self._made.append((cluster.policies, cluster.api.create(cluster.policies, manifests.policy(name, marks, cluster.shape.egress))))

    def run(self) -> list[Check]:
        """Return what was found; RdevError where a pod cannot even start."""
        cluster, name = self.cluster, f"rdev-probe-{os.urandom(5).hex()}"
        other = f"{name}-b"
        marks = manifests.labels(cluster.installation, name=name, role="probe")
        others = manifests.labels(cluster.installation, name=other, role="probe")
        claimed = self._claim(name, marks)
        pod = self._pod(manifests.pod(name, marks, cluster.shape, claimed=claimed))
        self._policy(other, others)
        listener = self._pod(manifests.throwaway(other, others, cluster.shape, ("sh", "-c", _LISTEN), seconds=300))
        pod = cluster.wait(pod)
        facts = ask(cluster.api, cluster.namespace, name, ("sh", "-c", _FACTS))
        self.found += [_image(cluster, facts), self._storage(facts, claimed=claimed), _hardened(cluster, facts)]
        listener = cluster.wait(listener)
        address = str(listener["status"]["podIP"])
        listens = bool(reached(cluster, listener, [("pod", "127.0.0.1", _PORT)]))
        targets = [*closed("none", pod), ("pod", address, _PORT), ("names", "kubernetes.default.svc", 443)]
        before = set(reached(cluster, pod, targets))
        self._policy(name, marks)
        wanted = {PUBLIC} if cluster.shape.egress == "internet" else set[str]()
        end = time.monotonic() + _SETTLING
        while (after := set(reached(cluster, pod, targets)) - {NAMES}) - wanted and time.monotonic() < end:
            continue
        self.found += self._judge(before, after, listens=listens)
        return self.found

    def _claim(self, name: str, marks: Mapping[str, str]) -> bool:
        cluster = self.cluster
        claimed = cluster.claim(name, marks)
        if claimed:
            self._made.append((cluster.claims, cluster.api.get(f"{cluster.claims}/{name}")))
        return claimed

    def _pod(self, wanted: Manifest) -> Manifest:
        from rdev_cli.adapters.kubernetes.states import refused  # noqa: PLC0415

        try:
            made = self.cluster.api.create(self.cluster.pods, wanted)
        except RdevError as e:
            raise refused(e) from e
        self._made.insert(0, (self.cluster.pods, made))
        return made

    def _storage(self, facts: Sequence[str], *, claimed: bool) -> Check:
        hint = f"rdev context set {self.cluster.context} --storage-class CLASS; kubectl get storageclass lists them"
        if "writes: yes" not in facts:
            return Check(name="cluster.storage", verdict=Verdict.FAILED, found="the work tree cannot be written", hint=hint)
        if not claimed:
            words = "there is no default storage class: a work tree ends with its pod"
            return Check(name="cluster.storage", verdict=Verdict.WARNING, found=words, hint=hint)
        kind = self.cluster.shape.storage_class or "the default class"
        return _ok("cluster.storage", f"a work tree outlives its pod ({kind})")

    def _judge(self, before: set[str], after: set[str], *, listens: bool) -> list[Check]:
        cluster = self.cluster
        context, egress = cluster.context, cluster.shape.egress
        hint = "use a network plugin that enforces network policies (Calico, Cilium, kube-router)"
        verdict = Verdict.WARNING if cluster.weaker else Verdict.FAILED
        if not cluster.weaker:
            hint += f"; or accept it: rdev context set {context} --allow-weaker"
        through = sorted(after - ({PUBLIC} if egress == "internet" else set()))
        if through:
            words = (
                f"egress is {egress}, and still a pod reaches {', '.join(through)}: the network plugin does not enforce network policies"
            )
            found = [Check(name="cluster.egress", verdict=verdict, found=words, hint=hint)]
        elif proved := sorted(before - after - {NAMES, *({PUBLIC} if egress == "internet" else ())}):
            found = [_ok("cluster.egress", f"{egress}, proved from inside: it closed the way to {', '.join(proved)}")]
        else:
            words = f"egress is {egress}; nothing could be proved, as a pod without a policy reaches none of {API}, {KUBELET} and {METADATA} either"
            found = [Check(name="cluster.egress", verdict=Verdict.WARNING, found=words, hint="try it by hand, from a pod of a project")]
        if not listens:
            words = "not measured: the image has nothing that listens (python3, git daemon or busybox nc)"
            found.append(Check(name="cluster.ingress", verdict=Verdict.WARNING, found=words, hint="rdev context set NAME --image IMAGE"))
        elif POD in before:
            words = "a pod reaches another project's: the network plugin does not enforce network policies"
            found.append(Check(name="cluster.ingress", verdict=verdict, found=words, hint=hint))
        else:
            found.append(_ok("cluster.ingress", "nothing reaches a pod, proved from the one beside it"))
        if API in before and NAMES not in before:
            words = "a pod cannot look up names of the cluster (kubernetes.default.svc)"
            found.append(
                Check(
                    name="cluster.names",
                    verdict=Verdict.WARNING,
                    found=words,
                    hint="look at the cluster's DNS: kubectl -n kube-system get pods",
                )
            )
        return found


def _image(cluster: KubernetesCluster, facts: Sequence[str]) -> Check:
    missing = [tool for tool in ("sh", "cat", "mkdir", "mv", "git") if f"has: {tool}" not in facts]
    if missing:
        return Check(
            name="cluster.image",
            verdict=Verdict.FAILED,
            found=f"{cluster.shape.image} has no {', '.join(missing)}",
            hint=f"rdev context set {cluster.context} --image IMAGE; deploy/claudebox.Dockerfile makes one",
        )
    lacking = [
        f"{tool} ({why})"
        for tool, why in (("setsid", "a command's group cannot be ended"), ("script", "a terminal ends with its connection"))
        if f"has: {tool}" not in facts
    ]
    if lacking:
        words = f"{cluster.shape.image} starts; it lacks {', '.join(lacking)}"
        return Check(name="cluster.image", verdict=Verdict.WARNING, found=words, hint="install util-linux and bsdutils in it")
    return _ok("cluster.image", f"{cluster.shape.image} starts, and has what rdev needs")


def _hardened(cluster: KubernetesCluster, facts: Sequence[str]) -> Check:
    known = {key: value.strip() for key, _, value in (fact.partition(":") for fact in facts)}
    bad = []
    if known.get("Uid", "0").split()[0] == "0" and not cluster.shape.root:
        bad.append("it runs as root")
    if int(known.get("CapEff", "0"), 16) & ~(0xCB if cluster.shape.root else 0):  # CHOWN DAC_OVERRIDE FOWNER SETGID SETUID
        bad.append(f"it has capabilities ({known['CapEff']})")
    if known.get("NoNewPrivs", "1") != "1":
        bad.append("it may gain privileges")
    if known.get("Seccomp", "2") != "2":
        bad.append("no system call is closed to it")
    if "token" in known:
        bad.append("it holds a token of the cluster")
    if bad:
        hint = "something in the cluster changes pods as they are made; ask whoever runs it"
        return Check(
            name="cluster.hardening",
            verdict=Verdict.FAILED,
            found=f"a command in a pod is less confined than asked: {', '.join(bad)}",
            hint=hint,
        )
    user = "root without the rights that reach out of a pod" if cluster.shape.root else "no root, no capabilities"
    return _ok("cluster.hardening", f"{user}, no new privileges, seccomp, no token of the cluster; proved from inside")


def _ok(name: str, words: str) -> Check:
    return Check(name=name, verdict=Verdict.OK, found=words)


def _failed(name: str, error: RdevError) -> Check:
    return Check(name=name, verdict=Verdict.FAILED, found=error.message, hint=error.hint)
