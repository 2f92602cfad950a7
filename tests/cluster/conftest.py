"""rdev as a user has it whose current context is a real cluster, in a namespace that the suite makes."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from tests.support import lab
from tests.support.podbench import PodBench

Rdev = Callable[..., "CompletedProcess[bytes]"]
RBAC = Path(__file__).parents[2] / "deploy" / "rbac.yaml"
PATIENCE = 120  # seconds that a command may take here; nothing in these tests is about speed


@pytest.fixture(scope="module")
def namespace() -> Iterator[str]:
    """A namespace of its own for the tests of a file."""
    with lab.namespace() as name:
        yield name


@pytest.fixture
def bench(tmp_path: Path, namespace: str) -> Iterator[PodBench]:
    """A pod of the test's own."""
    found = PodBench(tmp_path, namespace)
    yield found
    found.close()
    found.kubectl("delete", "pod", found.project.pod, "--grace-period=0", "--force", "--wait=false", "--ignore-not-found")


@pytest.fixture
def there(rdev: Rdev, namespace: str) -> Rdev:
    """The executable, with a context `lab` that is the current one; its pods are small."""

    def run(*words: str, **more: Any) -> "CompletedProcess[bytes]":
        return rdev(*words, **{"timeout": PATIENCE, **more})

    image = ("--image", lab.needed("RDEV_TEST_IMAGE"), "--cpu", "500m", "--memory", "512Mi")
    made = run("context", "set", "lab", "--kubeconfig", lab.needed("RDEV_TEST_KUBECONFIG"), "--namespace", namespace, *image)
    assert made.returncode == 0, made.stderr.decode()
    assert run("context", "use", "lab").returncode == 0
    return run


@pytest.fixture
def kubectl(namespace: str) -> Callable[..., Any]:
    """kubectl in that namespace, as an independent observer: what it prints, read as JSON where it is asked for that."""

    def run(*words: str, **more: Any) -> Any:
        said = lab.kubectl("-n", namespace, *words, **more)
        return json.loads(said) if "json" in words else said

    return run


@pytest.fixture
def restricted(kubectl: Callable[..., Any], namespace: str, tmp_path: Path) -> Path:
    """A kubeconfig of one who has nothing but the shipped Role."""
    kubectl("apply", "-f", str(RBAC))
    token = kubectl("create", "token", "rdev").decode().strip()
    file = tmp_path / "restricted"
    file.write_text(Path(lab.needed("RDEV_TEST_KUBECONFIG")).read_text())
    file.chmod(0o600)
    cluster = lab.kubectl("config", "view", "--minify", "-o", "jsonpath={.contexts[0].context.cluster}").decode()
    front = ("--kubeconfig", str(file), "config")
    lab.kubectl(*front, "set-credentials", "rdev", f"--token={token}")
    lab.kubectl(*front, "set-context", "rdev", f"--cluster={cluster}", "--user=rdev", f"--namespace={namespace}")
    lab.kubectl(*front, "use-context", "rdev")
    return file


@pytest.fixture
def left(kubectl: Callable[..., Any]) -> Callable[[], list[str]]:
    """What stands in the namespace of pods, claims and policies, whatever is on its way out left aside."""

    def look() -> list[str]:
        found = kubectl("get", "pods,persistentvolumeclaims,networkpolicies", "-o", "json")["items"]
        return [f"{one['kind']}/{one['metadata']['name']}" for one in found if "deletionTimestamp" not in one["metadata"]]

    return look


def error(ran: "CompletedProcess[bytes]") -> dict[str, Any]:
    """Return the error that a command ended with (`-o json`)."""
    document: dict[str, Any] = json.loads(ran.stderr.splitlines()[-1])["error"]
    return document
