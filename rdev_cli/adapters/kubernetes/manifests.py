"""What rdev makes in a cluster, as data: pods, claims, network policies, and the labels that say whose they are."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rdev_cli.domain.project import ownership
from rdev_cli.domain.worker import POOL, worker_pod

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rdev_cli.domain.project import Project

Manifest = dict[str, Any]

LABEL = "rdev.orchard9.ai/"
MARK = f"{LABEL}commit"  # an annotation: the work tree is filled, and this is the commit of the forge that it had last
WORKER = f"{LABEL}worker"  # a label: the worker that a pod is, whoever has it; it never changes
WARM = f"{LABEL}pool"  # a label of every worker
CONTAINER = "box"
WORKSPACE = "/workspace"
HOME = "/home/rdev"
RUN = "/run/rdev"
USER = 1000
CLAIM = "10Gi"
EGRESS = ("internet", "providers", "none")

# PID 1: it reaps whatever a command leaves behind, as a shell does while it waits, and ends at once when told to. Its stdin stays open as
# long as the pod lives, so it needs no `sleep`; where a runtime closes it after all, it needs one.
_IDLE = "exec 3<&0; trap 'exit 0' TERM INT; while :; do cat <&3 & wait $!; sleep 60 || exit 1; done"

# PID 1 of a worker, from a copy of the shell that nobody may read; where that cannot be, from the shell itself, and the worker serves once.
_APART = """
mkdir -p "$2" && cp "$(command -v sh)" "$2/sh" && chmod 111 "$2/sh" && "$2/sh" -c : && exec "$2/sh" -c "$1" rdev "$2"
exec sh -c "$1" rdev "$2"
"""

# What no project's pod has any business with: private, shared and link-local addresses (the metadata service among them), this host,
# documentation, benchmarks, multicast, reserved. https://www.iana.org/assignments/iana-ipv4-special-registry
_PRIVATE = ("10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16")
_CLOSED4 = ("0.0.0.0/8", *_PRIVATE, "127.0.0.0/8", "169.254.0.0/16", "192.0.0.0/24", "192.0.2.0/24", "198.18.0.0/15", "224.0.0.0/3")
# Of IPv6 only global unicast is public at all; closed in it: protocol assignments, documentation, and 6to4, which carries IPv4 addresses inside.
_PUBLIC6, _CLOSED6 = "2000::/3", ("2001::/23", "2001:db8::/32", "2002::/16")
_NODE_LOCAL_DNS = "169.254.20.10/32"  # https://kubernetes.io/docs/tasks/administer-cluster/nodelocaldns/


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How a context wants its pods: `egress` is internet, providers or none; `storage_class` empty is the cluster's default."""

    image: str
    pull_policy: str = "IfNotPresent"
    egress: str = "internet"
    storage_class: str = ""
    cpu: str = "2"
    memory: str = "4Gi"
    root: bool = False


def labels(installation: str, *, name: str, role: str) -> dict[str, str]:
    """Return the labels of what is no project's."""
    return {f"{LABEL}role": role, f"{LABEL}installation": installation, f"{LABEL}name": name}


def project_labels(project: Project, installation: str) -> dict[str, str]:
    """Return the labels of everything that belongs to a project: they are set last, and none of them is anybody else's to choose."""
    owned = {f"{LABEL}{key}": value for key, value in ownership(project, installation).items()}
    return {f"{LABEL}project": "true", f"{LABEL}role": "project", **owned}


def claim(name: str, marks: Mapping[str, str], shape: Shape) -> Manifest:
    """Return the claim for a project's work tree and home."""
    spec: Manifest = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": CLAIM}}}
    if shape.storage_class:
        spec["storageClassName"] = shape.storage_class
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name, "labels": dict(marks)}, "spec": spec}


def policy(name: str, marks: Mapping[str, str], egress: str) -> Manifest:
    """Return the network policy of one pod: nothing in, and out what its class allows.

    Names are looked up at private addresses and pods only: a resolver of the outside would be a way out of `providers`.
    """
    resolver: Manifest = {
        "to": [{"namespaceSelector": {}}, *({"ipBlock": {"cidr": cidr}} for cidr in (*_PRIVATE, _NODE_LOCAL_DNS, "fc00::/7"))],
        "ports": [{"protocol": protocol, "port": 53} for protocol in ("UDP", "TCP")],
    }
    public: Manifest = {
        "to": [
            {"ipBlock": {"cidr": "0.0.0.0/0", "except": list(_CLOSED4)}},
            {"ipBlock": {"cidr": _PUBLIC6, "except": list(_CLOSED6)}},
        ]
    }
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "labels": dict(marks)},
        "spec": {
            # by the record, where there is one: a project of the same name before it may have been allowed more
            "podSelector": {
                "matchLabels": {key: marks[key] for key in (f"{LABEL}installation", f"{LABEL}id", f"{LABEL}name") if key in marks}
            },
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [],
            "egress": {"internet": [resolver, public], "providers": [resolver], "none": []}[egress],
        },
    }


def pod(name: str, marks: Mapping[str, str], shape: Shape, *, claimed: bool, annotations: Mapping[str, str] | None = None) -> Manifest:
    """Return a project's pod; `claimed`: its work tree and home are in the claim of the same name, else they end with it."""
    found = _pod(name, marks, shape, ["sh", "-c", _IDLE])
    found["metadata"]["annotations"] = dict(annotations or {})
    spec = found["spec"]
    spec["restartPolicy"] = "Always"
    spec["containers"][0]["stdin"] = True
    if claimed:
        spec["volumes"][0] = {"name": "work", "persistentVolumeClaim": {"claimName": name}}
    return found


def worker_labels(installation: str, worker: str) -> dict[str, str]:
    """Return the labels of a worker that nobody has; two of them stay whoever gets it."""
    return {**labels(installation, name=POOL, role="worker"), f"{LABEL}id": worker, WORKER: worker, WARM: "true"}


def worker(installation: str, id: str, shape: Shape) -> tuple[Manifest, Manifest]:
    """Return a worker's network policy and its pod: the policy finds it by what never changes, so it is in force whoever has it."""
    marks, name = worker_labels(installation, id), worker_pod(id)
    closed = policy(name, marks, shape.egress)
    closed["spec"]["podSelector"] = {"matchLabels": {key: marks[key] for key in (f"{LABEL}installation", WORKER)}}
    found = pod(name, marks, shape, claimed=False)
    found["spec"]["containers"][0]["command"] = ["sh", "-c", _APART, "rdev", script("warden.sh"), f"{RUN}/.warden"]
    return closed, found


def worker_kind(shape: Shape) -> str:
    """Return what tells workers that are made alike: by another image, another egress class, another rdev they are others."""
    return hashlib.sha256(json.dumps(worker("", "", shape), sort_keys=True).encode()).hexdigest()[:16]


@cache
def script(name: str) -> str:
    """Return a script that goes into pods, without its comments."""
    lines = (Path(__file__).parent / name).read_text().splitlines()
    return "\n".join(line.lstrip() for line in lines if not line.lstrip().startswith("#"))


def throwaway(name: str, marks: Mapping[str, str], shape: Shape, argv: Sequence[str], *, seconds: int) -> Manifest:
    """Return a pod that runs one program and ends, after `seconds` at the latest."""
    found = _pod(name, marks, shape, argv)
    found["spec"] |= {"restartPolicy": "Never", "activeDeadlineSeconds": seconds}
    return found


def _pod(name: str, marks: Mapping[str, str], shape: Shape, argv: Sequence[str]) -> Manifest:
    # what apt and its like need of root; nothing here reaches out of the pod
    kept = {"add": ["CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID"]} if shape.root else {}
    user = 0 if shape.root else USER
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": dict(marks)},
        "spec": {
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": 5,
            "securityContext": {
                "runAsUser": user,
                "runAsGroup": user,
                "runAsNonRoot": not shape.root,
                "fsGroup": user,
                "fsGroupChangePolicy": "OnRootMismatch",
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": CONTAINER,
                    "image": shape.image,
                    "imagePullPolicy": shape.pull_policy,
                    "command": list(argv),
                    "workingDir": WORKSPACE,
                    # a volume's folders belong to root wherever the storage does not know fsGroup, and git refuses such work trees
                    "env": [
                        {"name": "HOME", "value": HOME},
                        {"name": "GIT_CONFIG_COUNT", "value": "1"},
                        {"name": "GIT_CONFIG_KEY_0", "value": "safe.directory"},
                        {"name": "GIT_CONFIG_VALUE_0", "value": WORKSPACE},
                    ],
                    "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"cpu": shape.cpu, "memory": shape.memory}},
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "privileged": False,
                        "capabilities": {"drop": ["ALL"], **kept},
                    },
                    "volumeMounts": [
                        {"name": "work", "mountPath": WORKSPACE, "subPath": "workspace"},
                        {"name": "work", "mountPath": HOME, "subPath": "home"},
                        {"name": "run", "mountPath": RUN},
                    ],
                }
            ],
            "volumes": [{"name": "work", "emptyDir": {}}, {"name": "run", "emptyDir": {}}],
        },
    }
