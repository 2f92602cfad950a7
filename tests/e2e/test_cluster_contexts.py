"""Settings of a context on a cluster, as far as no cluster is needed: what is taken, shown, kept and refused. T-KUBE-1, 4."""

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

Rdev = Callable[..., "CompletedProcess[bytes]"]

KUBECONFIG = """
apiVersion: v1
kind: Config
current-context: one
clusters: [{name: c, cluster: {server: "https://127.0.0.1:9"}}]
users: [{name: u, user: {token: t}}, {name: p, user: {exec: {apiVersion: client.authentication.k8s.io/v1, command: /bin/login, args: [a], interactiveMode: Never}}}]
contexts:
- {name: one, context: {cluster: c, user: u}}
- {name: two, context: {cluster: c, user: u, namespace: there}}
- {name: plugged, context: {cluster: c, user: p}}
"""


@pytest.fixture
def kubeconfig(tmp_path: Path) -> Path:
    file = tmp_path / "kubeconfig"
    file.write_text(KUBECONFIG)
    file.chmod(0o600)
    return file


@pytest.fixture
def lab(rdev: Rdev, kubeconfig: Path) -> Rdev:
    made = rdev("context", "set", "lab", "--kubeconfig", str(kubeconfig), "--namespace", "rdev", "--image", "img:1")
    assert made.returncode == 0, made.stderr
    return rdev


def error(ran: "CompletedProcess[bytes]") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(ran.stderr.splitlines()[-1])["error"]
    return found


def cluster(rdev: Rdev) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(rdev("context", "show", "lab", "-o", "json").stdout)
    assert (found["runtime"], found["isolation"]) == ("kubernetes", "pod")
    return dict(found["cluster"])


def test_a_context_with_a_cluster_is_one_and_shows_what_was_set(lab: Rdev, kubeconfig: Path) -> None:
    assert cluster(lab) == {"kubeconfig": str(kubeconfig), "kube_context": "one", "namespace": "rdev", "image": "img:1"}
    words = (
        "--egress",
        "none",
        "--pull-policy",
        "Never",
        "--storage-class",
        "fast",
        "--cpu",
        "500m",
        "--memory",
        "1Gi",
        "--root",
        "--allow-weaker",
    )
    assert lab("context", "set", "lab", *words, "--allow-plugin", "/bin/login a", "--allow-plugin", "/bin/other").returncode == 0
    found = cluster(lab)
    assert (found["egress"], found["cpu"], found["root"], found["allow_weaker"]) == ("none", "500m", True, True)
    assert found["exec_plugins"] == ["/bin/login a", "/bin/other"]
    assert lab("context", "set", "lab", "--no-root", "--no-allow-weaker").returncode == 0
    assert (cluster(lab)["root"], cluster(lab)["allow_weaker"]) == (False, False)
    view = {one["name"]: one["value"] for one in json.loads(lab("context", "view", "--context", "lab", "-o", "json").stdout)["items"]}
    assert (view["runtime"], view["egress"], view["memory"], view["root"]) == ("kubernetes", "none", "1Gi", "false")
    assert "isolation" not in view


def test_t_kube_4_the_kubeconfigs_context_is_pinned_and_a_new_file_is_pinned_anew(lab: Rdev, kubeconfig: Path, tmp_path: Path) -> None:
    kubeconfig.write_text(KUBECONFIG.replace("current-context: one", "current-context: two"))
    assert lab("context", "set", "lab", "--egress", "none").returncode == 0
    assert cluster(lab)["kube_context"] == "one"
    assert lab("context", "set", "lab", "--kubeconfig", str(kubeconfig)).returncode == 0
    assert cluster(lab)["kube_context"] == "two"
    ran = lab("context", "set", "lab", "--kube-context", "three", "-o", "json")
    assert (ran.returncode, error(ran)["code"]) == (3, "NO_CLUSTER")


def test_t_kube_1_a_login_program_needs_consent_and_the_hint_says_how(lab: Rdev) -> None:
    ran = lab("context", "set", "lab", "--kube-context", "plugged", "-o", "json")
    assert (ran.returncode, error(ran)["code"]) == (4, "PLUGIN_NOT_ALLOWED")
    assert "--allow-plugin" in error(ran)["hint"]
    assert lab("context", "set", "lab", "--kube-context", "plugged", "--allow-plugin", "/bin/login a").returncode == 0


@pytest.mark.parametrize(
    "words",
    [
        ("--egress", "all"), ("--pull-policy", "Sometimes"), ("--namespace", "A"), ("--namespace", "-a"), ("--image", "-x"), ("--image", "a b"), ("--cpu", "0"),
        ("--cpu", "10m"), ("--memory", "64Mi"), ("--memory", "1G"), ("--storage-class", "a/b"), ("--allow-plugin", "login"), ("--show", "/opt"),
        ("--isolation", "none"), ("--agent-path", "claude=bin/claude"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_a_value_that_cannot_be_is_refused_and_nothing_changes(lab: Rdev, words: tuple[str, ...]) -> None:
    before = cluster(lab)
    ran = lab("context", "set", "lab", *words, "-o", "json")
    assert (ran.returncode, bool(error(ran)["hint"])) == (2, True)
    assert cluster(lab) == before


def test_a_cluster_is_never_the_context_local(rdev: Rdev, kubeconfig: Path) -> None:
    ran = rdev("context", "set", "local", "--kubeconfig", str(kubeconfig), "-o", "json")
    assert (ran.returncode, "rdev context set lab" in error(ran)["hint"]) == (2, True)


def test_the_path_of_an_agent_is_the_images(lab: Rdev) -> None:
    assert lab("context", "set", "lab", "--agent-path", "claude=/nowhere/on/this/machine").returncode == 0
    agents = {one["name"]: one["program"] for one in json.loads(lab("agent", "list", "--context", "lab", "-o", "json").stdout)["items"]}
    assert (agents["claude"], agents["opencode"]) == ("/nowhere/on/this/machine", "opencode")


def test_an_isolation_is_not_asked_of_a_pod(lab: Rdev) -> None:
    ran = lab("project", "create", "shop", "--context", "lab", "--isolation", "none", "-o", "json")
    assert (ran.returncode, "--context local" in error(ran)["hint"]) == (2, True)


def test_a_cluster_that_does_not_answer_leaves_no_record_behind(lab: Rdev) -> None:
    ran = lab("project", "create", "shop", "--context", "lab", "-o", "json")
    assert (ran.returncode, error(ran)["code"]) == (6, "CLUSTER_UNREACHABLE")
    assert json.loads(lab("project", "list", "--context", "lab", "-o", "json").stdout)["items"] == []


def test_a_context_is_forgotten_and_local_is_not(lab: Rdev) -> None:
    assert lab("context", "use", "lab").returncode == 0
    ran = lab("context", "remove", "lab", "-o", "json")
    assert (ran.returncode, error(ran)["code"]) == (2, "CONFIRMATION")
    assert lab("context", "remove", "lab", "--yes").returncode == 0
    assert [one["name"] for one in json.loads(lab("context", "list", "-o", "json").stdout)["items"]] == ["local"]
    assert lab("context", "remove", "lab", "--yes").returncode == 3
    assert lab("context", "remove", "local", "--yes").returncode == 2


def test_nobody_is_asked_to_forget_a_context_that_is_not_there(rdev: Rdev) -> None:
    ran = rdev("context", "remove", "nope")
    assert (ran.returncode, ran.stdout) == (3, b"")
    assert b"there is no context nope" in ran.stderr
