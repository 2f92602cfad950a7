"""A real cluster for the tests that ask for one (marker `cluster`): the one that RDEV_TEST_KUBECONFIG names, and kubectl as an independent observer."""

import json
import os
import secrets
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from rdev_cli.adapters.kubernetes import kubeconfig
from rdev_cli.adapters.kubernetes.api import Api
from rdev_cli.adapters.kubernetes.cluster import KubernetesCluster
from rdev_cli.adapters.kubernetes.manifests import Shape
from rdev_cli.ports.timing import Stop


def needed(name: str) -> str:
    """Return a variable that the lab exports; a test that asks for a cluster fails without one."""
    found = os.environ.get(name, "")
    if not found:
        pytest.fail(f'{name} is not set: eval "$(../shared/lab/env)"', pytrace=False)
    return found


def kubectl(*argv: str, stdin: bytes | None = None, check: bool = True) -> bytes:
    """Run kubectl and return what it printed."""
    front = [str(Path(os.environ["RDEV_LAB_BIN"]) / "kubectl") if "RDEV_LAB_BIN" in os.environ else "kubectl"]
    ran = subprocess.run(
        [*front, "--kubeconfig", needed("RDEV_TEST_KUBECONFIG"), *argv], input=stdin, capture_output=True, check=False, timeout=120
    )
    assert not check or ran.returncode == 0, f"kubectl {' '.join(argv)}: {ran.stderr.decode()}"
    return ran.stdout


@contextmanager
def namespace() -> Iterator[str]:
    """A namespace of the caller's own, deleted in the end."""
    name = f"t-f-{secrets.token_hex(4)}"
    kubectl("create", "namespace", name)
    # the first pod would be refused as long as its service account is not there
    end = time.monotonic() + 30
    while b"default" not in kubectl("-n", name, "get", "serviceaccounts", "-o", "name"):
        assert time.monotonic() < end
        time.sleep(0.05)
    try:
        yield name
    finally:
        kubectl("delete", "namespace", name, "--wait=false")


def take_away(kubectl: Callable[..., Any], role: Mapping[str, Any], right: tuple[str, str, str]) -> None:
    """Leave the Role `rdev` all that `role` has but one right: group, resource, verb."""
    group, resource, verb = right
    rules = [
        {**rule, "resources": [one], "verbs": [v for v in rule["verbs"] if (group, resource, verb) != (rule["apiGroups"][0], one, v)]}
        for rule in role["rules"]
        for one in rule["resources"]
    ]
    kubectl("patch", "role", "rdev", "--type=merge", "-p", json.dumps({"rules": [rule for rule in rules if rule["verbs"]]}))


def api(access: kubeconfig.Access | None = None) -> Api:
    """Return the API of the cluster, or of whatever stands before it."""
    return Api(access or kubeconfig.load(os.environ, file=needed("RDEV_TEST_KUBECONFIG")))


def before(port: int) -> Api:
    """Return the API by way of something that listens on a loopback port and passes bytes on to it."""
    access = kubeconfig.load(os.environ, file=needed("RDEV_TEST_KUBECONFIG"))
    name = access.tls_server_name or urlsplit(access.server).hostname or ""
    return Api(replace(access, server=f"https://127.0.0.1:{port}", tls_server_name=name))


def address() -> tuple[str, int]:
    """Return where the API server listens."""
    found = urlsplit(kubeconfig.load(os.environ, file=needed("RDEV_TEST_KUBECONFIG")).server)
    return str(found.hostname), found.port or 443


def close(one: KubernetesCluster) -> None:
    """Close a cluster's connections, those that follow commands too."""
    one._commands.close()
    one.api.close()


def cluster(folder: Path, name: str, *, installation: str = "contract", small: bool = False, over: Api | None = None) -> KubernetesCluster:
    """Return the port on a namespace, with small pods that wait for nothing."""
    image = needed("RDEV_TEST_IMAGE_SMALL" if small else "RDEV_TEST_IMAGE")
    return KubernetesCluster(
        over or api(), folder=folder, context="lab", namespace=name, shape=Shape(image=image, cpu="500m", memory="256Mi"),
        installation=installation, stop=Stop, weaker=True,
    )  # fmt: skip
