"""A context on a real cluster: what `context test` and `doctor` prove, and what is refused. T-KUBE-4, T-K8S-6, 8."""

import json
import os
import re
from pathlib import Path

import pytest

from rdev_cli.adapters.kubernetes import kubeconfig, probe
from rdev_cli.domain.report import Verdict
from tests.cluster.conftest import RBAC, error
from tests.support import lab

pytestmark = pytest.mark.cluster

OPEN = """{"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "open"}, "spec": {"podSelector": {},
"policyTypes": ["Ingress", "Egress"], "ingress": [{}], "egress": [{}]}}"""


def checks(ran):
    return {one["name"]: one for one in json.loads(ran.stdout)["items"]}


def test_a_context_on_a_cluster_is_proved_from_inside_and_leaves_nothing(there, left):
    ran = there("context", "test", "-o", "json")
    found = checks(ran)
    assert ran.returncode == 0, ran.stdout
    wanted = ["reach", "identity", "rights", "image", "storage", "hardening", "egress", "ingress"]
    assert [(name, one["verdict"]) for name, one in found.items()] == [(f"cluster.{name}", "ok") for name in wanted]
    assert "the kubelet" in found["cluster.egress"]["found"]
    assert left() == []


def test_doctor_measures_the_same_and_asks_each_agent_in_the_image(there):
    found = checks(there("doctor", "-o", "json"))
    assert {
        found[name]["verdict"] for name in ("cluster.egress", "cluster.ingress", "cluster.hardening", "agent.claude", "agent.bundled")
    } == {"ok"}
    assert "Claude Code" in found["agent.claude"]["found"]


def test_an_agent_that_the_image_lacks_is_named_with_what_to_type(there):
    assert there("context", "set", "lab", "--agent-path", "claude=/usr/bin/no-claude").returncode == 0
    found = checks(there("agent", "health", "claude", "-o", "json"))["agent.claude"]
    assert (found["verdict"], "--agent-path claude=PATH" in found["hint"]) == ("warning", True)


def test_a_cluster_that_does_not_answer_is_said_so(there, tmp_path):
    file = tmp_path / "gone"
    text = Path(lab.needed("RDEV_TEST_KUBECONFIG")).read_text()
    file.write_text(re.sub(r"https://[^\s\"]+", "https://127.0.0.1:9", text))
    assert there("context", "set", "lab", "--kubeconfig", str(file)).returncode == 0
    ran = there("context", "test", "-o", "json")
    assert (ran.returncode, [one["verdict"] for one in checks(ran).values()]) == (9, ["failed"])
    ran = there("project", "create", "shop", "-o", "json")
    assert (ran.returncode, error(ran)["code"]) == (6, "CLUSTER_UNREACHABLE")


def test_t_kube_4_another_cluster_behind_the_same_context_is_refused(there, home, left):
    assert there("context", "test").returncode == 0
    kept = Path(home["XDG_STATE_HOME"]) / "rdev" / "lab" / "cluster.json"
    kept.write_text(json.dumps({"cluster": "00000000-0000-0000-0000-000000000000"}))
    ran = there("project", "create", "shop", "-o", "json")
    assert (ran.returncode, error(ran)["code"]) == (5, "OTHER_CLUSTER")
    assert checks(there("context", "test", "-o", "json"))["cluster.identity"]["verdict"] == "failed"
    assert left() == []


def test_t_kube_4_the_kubeconfigs_current_context_is_kept_as_it_was_when_it_was_set(there, tmp_path):
    text = Path(lab.needed("RDEV_TEST_KUBECONFIG")).read_text()
    file = tmp_path / "config"
    file.write_text(text)
    assert there("context", "set", "lab", "--kubeconfig", str(file)).returncode == 0
    file.write_text(re.sub("current-context: .*", "current-context: elsewhere", text))
    assert checks(there("context", "test", "-o", "json"))["cluster.reach"]["verdict"] == "ok"


def test_an_image_without_git_fails_the_test_and_says_what_to_type(there):
    assert there("context", "set", "lab", "--image", lab.needed("RDEV_TEST_IMAGE_SMALL")).returncode == 0
    ran = there("context", "test", "-o", "json")
    image = checks(ran)["cluster.image"]
    assert (ran.returncode, image["verdict"], "git" in image["found"], "--image" in image["hint"]) == (9, "failed", True, True)


def test_t_k8s_6_a_policy_that_is_not_in_force_is_measured_and_refused_unless_allowed(there, kubectl, left):
    """Policies add up, so one that opens everything is to a pod what a network plugin is that ignores them."""
    kubectl("apply", "-f", "-", stdin=OPEN.encode())
    try:
        found = checks(there("context", "test", "-o", "json"))
        assert [found[f"cluster.{name}"]["verdict"] for name in ("egress", "ingress")] == ["failed", "failed"]
        assert "--allow-weaker" in found["cluster.egress"]["hint"]
        ran = there("project", "create", "weak", "-o", "json")
        assert (ran.returncode, error(ran)["code"]) == (4, "ISOLATION_WEAKER")
        assert "the kubelet" in error(ran)["context"]["reached"]
        assert left() == ["NetworkPolicy/open"]
        assert there("context", "set", "lab", "--allow-weaker").returncode == 0
        ran = there("context", "test", "-o", "json")
        assert (ran.returncode, checks(ran)["cluster.egress"]["verdict"]) == (0, "warning")
        assert there("project", "create", "weak").returncode == 0
        (pod,) = kubectl("get", "pods", "-l", "rdev.orchard9.ai/name=weak", "-o", "json")["items"]
        assert pod["metadata"]["annotations"]["rdev.orchard9.ai/egress"] == "weaker"
        assert there("project", "delete", "weak", "--yes").returncode == 0
    finally:
        kubectl("delete", "networkpolicy", "open")


def test_t_k8s_8_the_main_job_needs_no_more_than_the_shipped_role(there, restricted, left):
    assert there("context", "set", "lab", "--kubeconfig", str(restricted)).returncode == 0
    ran = there("context", "test", "-o", "json")
    assert ran.returncode == 0, ran.stdout
    assert there("project", "create", "shop").returncode == 0
    assert there("exec", "shop", "--", "cat", "README.md").stdout.startswith(b"# shop")
    assert there("project", "status", "shop").returncode == 0
    assert there("project", "delete", "shop", "--yes").returncode == 0
    assert left() == []


def test_t_k8s_8_a_right_that_is_missing_is_named(there, restricted, kubectl, namespace, tmp_path, request):
    role = kubectl("get", "role", "rdev", "-o", "json")
    text = RBAC.read_text()
    assert "*" not in re.sub("#.*", "", text)
    assert not {"secrets", "nodes", "nodes/proxy", "ClusterRole"} & set(re.findall(r"[A-Za-z/]+", re.sub("#.*", "", text)))
    api = lab.api(kubeconfig.load(os.environ, file=str(restricted)))
    cluster = lab.cluster(tmp_path, namespace, over=api)
    cluster.exposes = True  # else the rights of previews' hosts are nobody's need
    request.addfinalizer(api.close)
    for group, resource, verb in probe.RIGHTS:
        lab.take_away(kubectl, role, (group, resource, verb))
        name = f"{verb} {resource}{f'.{group}' if group else ''}"
        for _ in range(100):  # the server learns of it by a watch
            found = probe.rights(cluster)
            if found.verdict is Verdict.FAILED and found.found.endswith(f": {name}"):
                break
            api.pause(0.1)
        assert found.found.endswith(f": {name}")
        assert "deploy/rbac.yaml" in found.hint


def test_a_context_with_projects_in_it_is_not_forgotten(there):
    assert there("project", "create", "kept").returncode == 0
    ran = there("context", "remove", "lab", "--yes", "-o", "json")
    assert (ran.returncode, error(ran)["hint"]) == (5, "rdev project delete kept --context lab")
    assert there("project", "delete", "kept", "--yes").returncode == 0
    assert there("context", "remove", "lab", "--yes").returncode == 0
    assert b"lab" not in there("context", "list").stdout
