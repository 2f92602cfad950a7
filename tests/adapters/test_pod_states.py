"""Why a pod does not run, told apart by what a cluster really said. T-K8S-5."""

from typing import Any

import pytest

from rdev_cli.adapters.kubernetes import states
from rdev_cli.domain.errors import Denied, Unavailable


def pod(phase: str = "Pending", **status: Any) -> dict[str, Any]:
    return {"metadata": {"name": "rdev-shop"}, "spec": {"containers": [{"image": "img:1"}]}, "status": {"phase": phase, **status}}


def box(**state: Any) -> dict[str, Any]:
    return pod(containerStatuses=[{"state": state}])


def unscheduled(message: str) -> dict[str, Any]:
    return pod(conditions=[{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}])


SAID = [
    (box(waiting={"reason": "ImagePullBackOff", "message": 'Back-off pulling image "img:1": not found'}), "IMAGE_PULL", "not found", True),
    (box(waiting={"reason": "ErrImagePull", "message": "dial tcp: i/o timeout"}), "IMAGE_PULL", "i/o timeout", False),
    (box(waiting={"reason": "InvalidImageName", "message": "couldn't parse"}), "IMAGE_PULL", "couldn't parse", True),
    (box(waiting={"reason": "CreateContainerConfigError", "message": "no such secret"}), "POD_FAILED", "no such secret", True),
    (
        pod(containerStatuses=[{"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": {"terminated": {"message": 'exec: "sh": not found'}}}]),
        "POD_FAILED", 'exec: "sh": not found', True,
    ),
    (pod("Failed", reason="Evicted", message="The node was low on resource: memory."), "POD_FAILED", "low on resource", True),
    (unscheduled("0/3 nodes are available: 3 Insufficient memory."), "UNSCHEDULABLE", "3 Insufficient memory", False),
    (unscheduled('0/1 nodes are available: persistentvolumeclaim "rdev-shop" not found'), "UNSCHEDULABLE", "not found", False),
    (unscheduled("pod has unbound immediate PersistentVolumeClaims."), "STORAGE_PENDING", "unbound", False),
    (box(waiting={"reason": "ContainerCreating"}), "POD_NOT_READY", "ContainerCreating", False),
]  # fmt: skip


@pytest.mark.parametrize(("found", "code", "words", "final"), SAID, ids=[f"{code}-{words}" for _, code, words, _ in SAID])
def test_a_trouble_has_a_code_the_clusters_words_and_what_to_type(found: dict[str, Any], code: str, words: str, final: bool) -> None:
    error = states.trouble(found, ())
    assert (error.code, words in error.message, bool(error.hint), states.final(found)) == (code, True, True, final)


def test_a_network_that_is_not_ready_is_told_by_the_newest_warning() -> None:
    events = [
        {
            "type": "Warning",
            "reason": "FailedCreatePodSandBox",
            "message": "cni plugin not initialized",
            "lastTimestamp": "2026-01-01T00:00:02Z",
        },
        {"type": "Normal", "reason": "Scheduled", "message": "assigned", "lastTimestamp": "2026-01-01T00:00:03Z"},
        {"type": "Warning", "reason": "FailedMount", "message": "older", "lastTimestamp": "2026-01-01T00:00:01Z"},
    ]
    assert "cni plugin not initialized" in states.trouble(box(waiting={"reason": "ContainerCreating"}), events).message


def test_storage_is_told_in_the_words_of_its_claim() -> None:
    events = [
        {
            "type": "Warning",
            "reason": "ProvisioningFailed",
            "message": 'storageclass "x" not found',
            "lastTimestamp": "2026-01-01T00:00:02Z",
        }
    ]
    assert 'storageclass "x" not found' in states.trouble(unscheduled("unbound immediate PersistentVolumeClaims"), (), events).message


def test_foreign_words_cannot_drive_a_terminal() -> None:
    assert "\x1b" not in states.trouble(box(waiting={"reason": "ErrImagePull", "message": "\x1b[2J"}), ()).message


def test_an_image_that_is_being_pulled_is_waited_for() -> None:
    assert states.pulling([{"reason": "Pulling"}])
    assert not states.pulling([{"reason": "Pulling"}, {"reason": "Pulled"}])
    assert not states.pulling([])


def test_refusals_are_told_apart_by_the_servers_words() -> None:
    psa = states.refused(Denied('pods "x" is forbidden: violates PodSecurity "restricted:latest": runAsNonRoot != true'))
    hook = states.refused(Unavailable('failed calling webhook "a.b": connection refused'))
    assert (psa.code, hook.code) == ("POD_SECURITY", "ADMISSION")
    other = Denied("no")
    assert states.refused(other) is other


def test_a_pod_that_is_leaving_is_not_ready_however_ready_it_says_it_is() -> None:
    found = pod("Running", conditions=[{"type": "Ready", "status": "True"}])
    assert states.ready(found)
    found["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert not states.ready(found)
    assert not states.alive(found)
