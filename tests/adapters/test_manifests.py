"""What rdev makes in a cluster: compared whole with what stands in tests/golden, and the facts that must not slip out of it. T-K8S-7."""

import ipaddress
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from rdev_cli.adapters.kubernetes import manifests
from rdev_cli.adapters.kubernetes.manifests import Shape
from rdev_cli.domain.project import Project, ProjectState, pod_name
from rdev_cli.domain.values import ProjectId

GOLDEN = Path(__file__).parents[1] / "golden" / "manifests.json"
ID = ProjectId("prj_01j9golden0golden000")
SHOP = Project(
    id=ID, name="shop", description="", source="", network=True, state=ProjectState.READY, pod=pod_name("shop", ID), repository="", branch="main",
    created_at=datetime.now(UTC), updated_at=datetime.now(UTC),
)  # fmt: skip
MARKS = manifests.project_labels(SHOP, "0123456789abcdef0123")
SHAPE = Shape(image="registry.example.org/claudebox:1")


def test_manifests_are_those_of_the_golden_file() -> None:
    """A change here changes what runs in people's clusters: look at it, then write the file anew from this text."""
    made = {
        "pod": manifests.pod(SHOP.pod, MARKS, SHAPE, claimed=True),
        "pod without storage, as root": manifests.pod(SHOP.pod, MARKS, Shape(image="i", root=True), claimed=False),
        "claim": manifests.claim(SHOP.pod, MARKS, Shape(image="i", storage_class="fast")),
        **{f"policy {egress}": manifests.policy(SHOP.pod, MARKS, egress) for egress in manifests.EGRESS},
        "throwaway": manifests.throwaway(
            "rdev-probe-1", manifests.labels("0123456789abcdef0123", name="rdev-probe-1", role="probe"), SHAPE, ["true"], seconds=60
        ),
    }
    assert json.dumps(made, indent=1, sort_keys=True) + "\n" == GOLDEN.read_text()


@pytest.mark.parametrize("root", [False, True])
def test_t_k8s_7_no_pod_has_a_token_a_way_up_or_no_limits(root: bool) -> None:
    for pod in (
        manifests.pod("p", MARKS, Shape(image="i", root=root), claimed=True),
        manifests.throwaway("p", MARKS, Shape(image="i", root=root), ["true"], seconds=1),
    ):
        spec, (box,) = pod["spec"], pod["spec"]["containers"]
        assert spec["automountServiceAccountToken"] is False
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert spec["securityContext"]["runAsNonRoot"] is not root
        assert box["securityContext"]["allowPrivilegeEscalation"] is False
        assert box["securityContext"]["capabilities"]["drop"] == ["ALL"]
        assert not {"NET_ADMIN", "NET_RAW", "SYS_ADMIN", "SYS_PTRACE", "MKNOD"} & set(box["securityContext"]["capabilities"].get("add", ()))
        assert set(box["resources"]["limits"]) == {"cpu", "memory"}
        assert not {"hostNetwork", "hostPID", "hostIPC", "hostUsers"} & set(spec)
        assert all(set(volume) & {"emptyDir", "persistentVolumeClaim"} for volume in spec["volumes"])


def _allowed(egress: str, address: str, port: int) -> bool:
    """Whether a policy lets a pod reach an address that is no pod's."""
    target = ipaddress.ip_address(address)
    for rule in manifests.policy("p", MARKS, egress)["spec"]["egress"]:
        if rule.get("ports") and port not in {one["port"] for one in rule["ports"]}:
            continue
        for peer in rule["to"]:
            block = peer.get("ipBlock")
            if block is None or target not in ipaddress.ip_network(block["cidr"]):
                continue
            if not any(target in ipaddress.ip_network(closed) for closed in block.get("except", ())):
                return True
    return False


@pytest.mark.parametrize(
    "address",
    [
        "10.96.0.1", "172.16.0.1", "172.31.255.254", "192.168.1.1", "100.64.0.1", "100.127.255.254", "169.254.169.254", "127.0.0.1", "0.0.0.1",
        "224.0.0.1", "255.255.255.255", "192.0.2.1", "198.18.0.1", "::1", "::ffff:10.0.0.1", "fd00:ec2::254", "fc00::1", "fe80::1", "ff02::1", "64:ff9b::a00:1",
        "2002:a00:1::1",
    ],
)  # fmt: skip
def test_no_class_reaches_a_private_link_local_or_metadata_address(address: str) -> None:
    assert not any(_allowed(egress, address, port) for egress in manifests.EGRESS for port in (80, 443, 6443, 10250))


@pytest.mark.parametrize("address", ["1.1.1.1", "172.32.0.1", "100.128.0.1", "192.169.0.1", "2606:4700:4700::1111"])
def test_only_internet_reaches_public_addresses_and_by_no_port_does_another_class(address: str) -> None:
    assert [_allowed(egress, address, 443) for egress in manifests.EGRESS] == [True, False, False]
    assert [_allowed(egress, address, 53) for egress in manifests.EGRESS] == [True, False, False]


def test_names_are_looked_up_by_all_but_those_without_a_network() -> None:
    assert [_allowed(egress, "10.96.0.10", 53) for egress in manifests.EGRESS] == [True, True, False]
    assert [_allowed(egress, "169.254.20.10", 53) for egress in manifests.EGRESS] == [True, True, False]
    assert not any(_allowed(egress, "169.254.169.254", 53) for egress in manifests.EGRESS)


def test_a_policy_is_of_one_record_so_that_an_older_project_of_the_same_name_does_not_open_it() -> None:
    chosen = manifests.policy("p", MARKS, "none")["spec"]["podSelector"]["matchLabels"]
    assert chosen["rdev.orchard9.ai/id"] == ID
    assert chosen["rdev.orchard9.ai/installation"] == "0123456789abcdef0123"
