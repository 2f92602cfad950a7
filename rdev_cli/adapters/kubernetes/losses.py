"""What befell a pod, read out of its status: why a command in it can be followed no more."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Object = Mapping[str, Any]

# what stands in a pod's condition DisruptionTarget: https://kubernetes.io/docs/concepts/workloads/pods/disruptions/
_DISRUPTIONS = {
    "EvictionByEvictionAPI": "Evicted",
    "TerminationByKubelet": "Evicted",
    "PreemptionByScheduler": "Evicted",
    "DeletionByTaintManager": "NodeLost",
    "DeletionByPodGC": "NodeLost",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """A cause (empty: all seems well), and whether nothing can be read from that pod any more."""

    cause: str = ""
    over: bool = False


def identity(pod: Object, container: str) -> dict[str, str]:
    """Return what tells this pod and this run of its container from any other."""
    return {"uid": str(pod["metadata"]["uid"]), "container": str(_status(pod, container).get("containerID", ""))}


def fate(pod: Object | None, known: Mapping[str, str], container: str) -> Fate:
    """Return what befell the pod that a command was started in (`known`: its identity then, empty if nobody knows)."""
    if pod is None or (known.get("uid") and known["uid"] != pod["metadata"]["uid"]):
        return Fate(cause="Deleted", over=True)
    status, box = pod.get("status") or {}, _status(pod, container)
    running = "running" in (box.get("state") or {})
    leaving = "deletionTimestamp" in pod["metadata"]
    cause = ""
    if status.get("reason") in ("Evicted", "NodeLost"):
        cause = status["reason"]
    elif disrupted := _condition(pod, "DisruptionTarget"):
        cause = _DISRUPTIONS.get(str(disrupted.get("reason")), "Deleted")
    if status.get("phase") in ("Failed", "Succeeded"):
        return Fate(cause=cause or _ended(box) or ("Deleted" if leaving else "Restarted"), over=True)
    if leaving and (not running or cause == "NodeLost"):
        return Fate(cause=cause or "Deleted", over=True)
    if not running or (known.get("container") and known["container"] != box.get("containerID", "")):
        return Fate(cause=_ended(box) or "Restarted")
    ready = _condition(pod, "Ready")
    if ready is not None and ready.get("status") != "True" and box.get("ready"):
        return Fate(cause="NodeLost")  # the kubelet that says `ready` has not said anything for a while
    return Fate()


def _ended(box: Object) -> str:
    for state in (box.get("state") or {}, box.get("lastState") or {}):
        if "terminated" in state:
            return "OOMKilled" if state["terminated"].get("reason") == "OOMKilled" else ""
    return ""


def _status(pod: Object, container: str) -> Object:
    for one in (pod.get("status") or {}).get("containerStatuses") or ():
        if one.get("name") == container:
            return one  # type: ignore[no-any-return]
    return {}


def _condition(pod: Object, kind: str) -> Object | None:
    for one in (pod.get("status") or {}).get("conditions") or ():
        if one.get("type") == kind and (kind == "Ready" or one.get("status") == "True"):
            return one  # type: ignore[no-any-return]
    return None
