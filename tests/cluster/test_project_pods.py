"""Projects' pods on a real cluster: how they are made, hardened, closed, remade and removed, and what keeps them from it. T-K8S-5, 6, 7."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.cluster.conftest import error
from tests.support import lab

pytestmark = pytest.mark.cluster

QUOTA = '{"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}}'
FACTS = "id -u; while read -r k v; do case $k in CapEff:|NoNewPrivs:|Seccomp:) echo $v;; esac; done </proc/self/status; ls /var/run/secrets; echo"


def soon(fact, seconds=60.0):
    end = time.monotonic() + seconds
    while not fact():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.fixture
def project(there):
    """A project with its pod, deleted in the end."""
    made = there("project", "create", "shop", "-o", "json")
    assert made.returncode == 0, made.stderr
    yield json.loads(made.stdout)
    there("project", "delete", "shop", "--yes")


def test_a_project_is_a_pod_a_claim_and_a_policy_of_one_name_with_labels_that_say_whose(there, project, kubectl, left, home):
    assert sorted(left()) == sorted(f"{kind}/{project['pod']}" for kind in ("Pod", "PersistentVolumeClaim", "NetworkPolicy"))
    installation = (Path(home["XDG_STATE_HOME"]) / "rdev" / "installation").read_text().strip()
    for kind in ("pod", "persistentvolumeclaim", "networkpolicy"):
        found = kubectl("get", kind, project["pod"], "-o", "json")["metadata"]["labels"]
        assert found == {
            "rdev.orchard9.ai/project": "true", "rdev.orchard9.ai/role": "project", "rdev.orchard9.ai/name": "shop",
            "rdev.orchard9.ai/id": project["id"], "rdev.orchard9.ai/installation": installation,
        }  # fmt: skip
    assert there("project", "create", "shop").returncode == 0  # again: as it is
    assert there("project", "delete", "shop", "--yes").returncode == 0
    assert left() == []


def test_t_k8s_7_a_command_in_a_pod_has_no_root_no_capabilities_and_no_token(there, project, kubectl):
    ran = there("exec", "shop", "--", "sh", "-c", FACTS)
    assert ran.stdout.split() == [b"1000", b"0000000000000000", b"1", b"2"]
    spec = kubectl("get", "pod", project["pod"], "-o", "json")["spec"]
    assert spec["automountServiceAccountToken"] is False
    (box,) = spec["containers"]
    assert box["resources"]["limits"] == {"cpu": "500m", "memory": "512Mi"}


def test_commands_work_in_the_work_tree_with_a_home_of_their_own_and_git_trusts_it(there, project):
    ran = there("exec", "shop", "--", "sh", "-c", "pwd; echo $HOME; touch $HOME/x new && git status --porcelain")
    assert (ran.returncode, ran.stdout.split()) == (0, [b"/workspace", b"/home/rdev", b"??", b"new"])


def test_whatever_a_command_leaves_behind_is_reaped(there, project):
    there("exec", "shop", "--", "sh", "-c", "(setsid sh -c 'sleep 0.2' &)")
    soon(lambda: b"<defunct>" not in there("exec", "shop", "--", "ps", "axo", "stat,args").stdout)


def test_a_pod_that_was_deleted_is_made_again_over_its_work_tree(there, project, kubectl):
    assert there("exec", "shop", "--", "sh", "-c", "echo kept >uncommitted").returncode == 0
    kubectl("delete", "pod", project["pod"], "--now")
    ran = there("exec", "shop", "--", "cat", "uncommitted")
    assert (ran.returncode, ran.stdout) == (0, b"kept\n")
    assert b"made again over its work tree" in ran.stderr


def test_t_k8s_6_no_pod_reaches_another_the_node_the_kubelet_or_the_metadata_service(there, project, kubectl):
    assert there("project", "create", "other").returncode == 0
    try:
        listen = ("git", "daemon", "--reuseaddr", "--listen=0.0.0.0", "--port=8471", "--base-path=/tmp")
        assert there("exec", "other", "--no-wait", "--", *listen).returncode == 0
        (other,) = kubectl("get", "pods", "-l", "rdev.orchard9.ai/name=other", "-o", "json")["items"]
        reach = "for at in 127.0.0.1/8471; do (exec 3<>/dev/tcp/$at) && echo open; done 2>/dev/null"
        soon(lambda: there("exec", "other", "--", "bash", "-c", reach).stdout == b"open\n")
        address, node = other["status"]["podIP"], other["status"]["hostIP"]
        targets = (f"{address}/8471", f"{node}/10250", f"{node}/22", "169.254.169.254/80", "10.96.0.1/443")
        for at in targets:
            ran = there("exec", "shop", "--", "timeout", "2", "bash", "-c", f"exec 3<>/dev/tcp/{at}")
            assert ran.returncode in (1, 124), at
    finally:
        assert there("project", "delete", "other", "--yes").returncode == 0


def test_a_project_without_network_looks_up_no_name_either(there, kubectl, left):
    assert there("project", "create", "closed", "--no-network").returncode == 0
    (policy,) = kubectl("get", "networkpolicies", "-l", "rdev.orchard9.ai/name=closed", "-o", "json")["items"]
    assert policy["spec"].get("egress") is None
    assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
    ran = there("exec", "closed", "--", "timeout", "2", "bash", "-c", f"exec 3<>/dev/tcp/{lab.needed('RDEV_TEST_HOST_FROM_POD')}/53")
    assert ran.returncode in (1, 124)
    assert there("project", "delete", "closed", "--yes").returncode == 0


def test_commands_are_root_only_where_the_context_says_so(there):
    assert there("context", "set", "lab", "--root").returncode == 0
    assert there("project", "create", "rooted").returncode == 0
    ran = there("exec", "rooted", "--", "sh", "-c", "id -u; touch new; chown 1000 new && git status --porcelain")
    assert ran.stdout.split() == [b"0", b"??", b"new"]
    assert there("project", "delete", "rooted", "--yes").returncode == 0


def refused(there, left, code, exit_code, *words):
    """Nothing is left of a project whose pod cannot be; its error's message."""
    ran = there("project", "create", "never", "--timeout", "8s", "-o", "json")
    assert (ran.returncode, error(ran)["code"]) == (exit_code, code), ran.stderr
    assert error(ran)["hint"]
    assert left() == []
    assert json.loads(there("project", "list", "-o", "json").stdout)["items"] == []
    for word in words:
        assert word in error(ran)["message"]


def test_t_k8s_5_an_image_that_cannot_be_had_is_said_so(there, left):
    assert there("context", "set", "lab", "--image", "rdev.lab/nope:1", "--pull-policy", "Never").returncode == 0
    refused(there, left, "IMAGE_PULL", 6, "rdev.lab/nope:1")


def test_t_k8s_5_an_image_that_is_only_being_looked_for_is_said_so_too(there, left):
    assert there("context", "set", "lab", "--image", "127.0.0.1:9/nope:1").returncode == 0
    refused(there, left, "IMAGE_PULL", 6, "127.0.0.1:9/nope:1")


def test_t_k8s_5_storage_that_is_not_there_is_said_so(there, left):
    assert there("context", "set", "lab", "--storage-class", "no-such-class").returncode == 0
    refused(there, left, "STORAGE_PENDING", 6, "no-such-class")


def test_t_k8s_5_a_quota_that_is_used_up_is_said_so(there, kubectl, left):
    kubectl("apply", "-f", "-", stdin=QUOTA.encode())
    try:
        refused(there, left, "QUOTA", 4, "exceeded quota")
    finally:
        kubectl("delete", "resourcequota", "none")


def test_t_k8s_5_pod_security_takes_our_pods_and_refuses_root(there, left, namespace):
    lab.kubectl("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
    try:
        assert there("project", "create", "fine").returncode == 0
        assert there("project", "delete", "fine", "--yes").returncode == 0
        assert there("context", "set", "lab", "--root").returncode == 0
        refused(there, left, "POD_SECURITY", 4, "restricted")
    finally:
        lab.kubectl("label", "namespace", namespace, "pod-security.kubernetes.io/enforce-")


def test_t_k8s_5_a_webhook_that_does_not_answer_is_said_so(there, left, namespace):
    hook = {
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration", "metadata": {"name": namespace},
        "webhooks": [{
            "name": "down.rdev.test", "sideEffects": "None", "admissionReviewVersions": ["v1"], "timeoutSeconds": 1,
            "clientConfig": {"url": "https://127.0.0.1:9/"},
            "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}],
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
        }],
    }  # fmt: skip
    lab.kubectl("apply", "-f", "-", stdin=json.dumps(hook).encode())
    try:
        soon(lambda: b"failed calling webhook" in _try(namespace))
        refused(there, left, "ADMISSION", 6, "down.rdev.test")
    finally:
        lab.kubectl("delete", "validatingwebhookconfiguration", namespace)


def _try(namespace):
    """What a pod is answered that is only tried."""
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "try"}, "spec": {"containers": [{"name": "a", "image": "b"}]}}
    kubectl = [f"{os.environ['RDEV_LAB_BIN']}/kubectl", "--kubeconfig", lab.needed("RDEV_TEST_KUBECONFIG")]
    words = [*kubectl, "-n", namespace, "create", "--dry-run=server", "-f", "-"]
    return subprocess.run(words, input=json.dumps(pod).encode(), capture_output=True, check=False, timeout=60).stderr


def test_a_namespace_that_is_not_there_is_said_so(there):
    assert there("context", "set", "lab", "--namespace", "t-e-no-such").returncode == 0
    ran = there("project", "create", "never", "-o", "json")
    assert (ran.returncode, error(ran)["code"]) == (3, "NO_NAMESPACE")
    assert "kubectl create namespace t-e-no-such" in error(ran)["hint"]


def test_a_context_without_an_image_says_what_to_type(rdev):
    assert rdev("context", "set", "bare", "--kubeconfig", lab.needed("RDEV_TEST_KUBECONFIG")).returncode == 0
    ran = rdev("project", "create", "never", "--context", "bare", "-o", "json")
    assert (ran.returncode, error(ran)["code"], "--image" in error(ran)["hint"]) == (2, "NO_IMAGE", True)


def test_a_stop_while_the_pod_is_waited_for_undoes_everything(there, spawn, kubectl, left):
    assert there("context", "set", "lab", "--storage-class", "no-such-class").returncode == 0
    making = spawn("project", "create", "stopped")
    soon(lambda: any(one.startswith("Pod/") for one in left()))
    making.send_signal(signal.SIGINT)
    _, said = making.communicate(timeout=60)
    assert making.returncode == 130, said
    soon(lambda: left() == [])
    assert json.loads(there("project", "list", "-o", "json").stdout)["items"] == []


def test_a_create_that_was_killed_is_gone_on_with(there, spawn, left):
    making = spawn("project", "create", "killed")
    soon(lambda: any(one.startswith("Pod/") for one in left()))
    making.send_signal(signal.SIGKILL)
    making.wait(10)
    assert there("project", "create", "killed").returncode == 0
    assert len(left()) == 3
    assert there("exec", "killed", "--", "cat", "README.md").stdout.startswith(b"# killed")
    assert there("project", "delete", "killed", "--yes").returncode == 0


def test_the_demo_runs_on_a_cluster_and_leaves_nothing(there, left):
    ran = there("demo")
    assert ran.returncode == 0, ran.stderr
    assert b"2 files changed, 11 insertions(+)" in ran.stdout
    assert b"gone: record, repository, pod; nothing runs" in ran.stdout
    assert left() == []
