"""Ingresses: each leads the host of one preview to rdev's own server in the cluster, never to a pod."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rdev_cli.adapters.kubernetes.manifests import LABEL, Manifest
from rdev_cli.adapters.kubernetes.selector import Selector
from rdev_cli.domain.errors import Conflict, Partial, RdevError
from rdev_cli.domain.project import ownership

if TYPE_CHECKING:
    from rdev_cli.adapters.kubernetes.api import Api
    from rdev_cli.domain.project import Project

SERVICE = "rdev-serve"  # as deploy/serve.yaml names it
_PATH = "/apis/networking.k8s.io/v1/namespaces/{}/ingresses"


def manifest(project: Project, installation: str, host: str) -> Manifest:
    """Return the Ingress of a host; the controller's certificate for the domain is found by its own default, or by the annotations of a policy."""
    marks = {f"{LABEL}{key}": value for key, value in ownership(project, installation).items()}
    backend = {"service": {"name": SERVICE, "port": {"name": "http"}}}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": f"rdev-preview-{host.partition('.')[0]}", "labels": {**marks, f"{LABEL}role": "preview"}},
        "spec": {
            "tls": [{"hosts": [host]}],
            "rules": [{"host": host, "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}],
        },
    }


def expose(api: Api, namespace: str, installation: str, project: Project, host: str) -> None:
    """Make the Ingress of a host unless it is there."""
    wanted = manifest(project, installation, host)
    try:
        api.create(_PATH.format(namespace), wanted)
    except Conflict as e:
        if e.code != "EXISTS":
            raise
        there = api.get(f"{_PATH.format(namespace)}/{wanted['metadata']['name']}")
        if not wanted["metadata"]["labels"].items() <= (there["metadata"].get("labels") or {}).items():
            raise


def conceal(api: Api, namespace: str, installation: str, project: Project, host: str) -> None:
    """Delete the Ingresses of a pod, or of one of its hosts; everything is attempted, and Partial joins what failed."""
    which = Selector({f"{LABEL}installation": installation, f"{LABEL}id": project.id, f"{LABEL}role": "preview"})
    left, cause = [], None
    for one in api.list(_PATH.format(namespace), which).items:
        if host and host not in [rule.get("host") for rule in one["spec"].get("rules") or ()]:
            continue
        try:
            api.delete(f"{_PATH.format(namespace)}/{one['metadata']['name']}", uid=one["metadata"]["uid"])
        except RdevError as e:
            left.append(f"Ingress {one['metadata']['name']}: {e.message}")
            cause = e
    if left:
        hint = "the same command tries again, and so does the end of the session"
        raise Partial(f"something still leads to a preview: {'; '.join(left)}", left=tuple(left), hint=hint) from cause
