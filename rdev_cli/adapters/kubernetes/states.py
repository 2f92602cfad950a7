"""Whether a pod is ready, and if not, why: what its conditions, its containers and the cluster's events say, as an error with a code of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rdev_cli.domain.errors import Denied, RdevError, Unavailable
from rdev_cli.domain.values import shown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Found = Mapping[str, Any]

_FINAL = (
    "ImagePullBackOff",
    "ErrImageNeverPull",
    "InvalidImageName",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
    "CrashLoopBackOff",
)
_IMAGE = ("ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName", "ImageInspectError", "RegistryUnavailable")


def ready(pod: Found) -> bool:
    """Say whether a pod's container runs."""
    conditions = pod.get("status", {}).get("conditions") or []
    return any(one.get("type") == "Ready" and one.get("status") == "True" for one in conditions) and not leaving(pod)


def leaving(pod: Found) -> bool:
    """Say whether a pod is on its way out."""
    return "deletionTimestamp" in pod["metadata"]


def over(pod: Found) -> bool:
    """Say whether nothing will run in a pod any more."""
    return pod.get("status", {}).get("phase") in ("Succeeded", "Failed")


def alive(pod: Found) -> bool:
    """Say whether a pod runs or is about to."""
    return not leaving(pod) and not over(pod)


def final(pod: Found) -> bool:
    """Say whether waiting longer for a pod is no use."""
    return over(pod) or _waiting(pod)[0] in _FINAL


def ended(pod: Found) -> tuple[int, str] | None:
    """Return the exit code of a pod's container and what the runtime says of it, None while it has not ended."""
    for one in pod.get("status", {}).get("containerStatuses") or []:
        done = one.get("state", {}).get("terminated")
        if done is not None:
            return int(done.get("exitCode", 1)), str(done.get("message") or "")
    return None


def _waiting(pod: Found) -> tuple[str, str]:
    """Return (reason, message) of a container that cannot start."""
    for one in pod.get("status", {}).get("containerStatuses") or []:
        held = one.get("state", {}).get("waiting") or {}
        if held.get("reason") == "CrashLoopBackOff":
            last = one.get("lastState", {}).get("terminated") or {}
            return "CrashLoopBackOff", str(last.get("message") or held.get("message", ""))
        if held:
            return str(held.get("reason", "")), str(held.get("message", ""))
    return "", ""


def _unscheduled(pod: Found) -> str:
    for one in pod.get("status", {}).get("conditions") or []:
        if one.get("type") == "PodScheduled" and one.get("status") == "False":
            return str(one.get("message") or one.get("reason") or "no node takes it")
    return ""


def warning(events: Sequence[Found]) -> str:
    """Return the newest warning among a pod's events, empty if there is none."""
    found = [one for one in events if one.get("type") == "Warning"]
    found.sort(key=lambda one: str(one.get("lastTimestamp") or one.get("eventTime") or ""))
    return f"{found[-1].get('reason', '')}: {found[-1].get('message', '')}" if found else ""


def pulling(events: Sequence[Found]) -> bool:
    """Say whether a pod only waits for its image, which may be large."""
    reasons = {one.get("reason") for one in events}
    return "Pulling" in reasons and "Pulled" not in reasons


def trouble(pod: Found, events: Sequence[Found], claim_events: Sequence[Found] = ()) -> RdevError:
    """Return what keeps a pod from running, in the cluster's own words."""
    name, image = pod["metadata"]["name"], pod["spec"]["containers"][0]["image"]
    reason, said = _waiting(pod)
    if reason in _IMAGE:
        return Unavailable(
            f"the cluster cannot get the image {shown(image, most=120)}: {_line(said or reason)}",
            hint="name an image that the nodes can pull: rdev context set NAME --image IMAGE (--pull-policy IfNotPresent for one that is there)",
            code="IMAGE_PULL",
            image=image,
        )
    if over(pod):
        status = pod["status"]
        words = status.get("message") or status.get("reason") or (ended(pod) or (0, ""))[1] or status["phase"]
        return Unavailable(f"the pod {name} ended: {_line(words)}", hint="try again: it is made anew", code="POD_FAILED", pod=name)
    if reason in _FINAL:
        return Unavailable(
            f"the pod {name} does not start: {_line(said or reason)}",
            hint="an image needs a POSIX sh, cat, mkdir, mv and git: rdev context set NAME --image IMAGE",
            code="POD_FAILED",
            pod=name,
        )
    unscheduled = _unscheduled(pod)
    if "PersistentVolumeClaim" in unscheduled:
        why = warning(claim_events) or unscheduled
        return Unavailable(
            f"the cluster has no storage for the pod {name}: {_line(why)}",
            hint="name a class that is there: rdev context set NAME --storage-class CLASS; kubectl get storageclass lists them",
            code="STORAGE_PENDING",
            pod=name,
        )
    if unscheduled:
        return Unavailable(
            f"no node takes the pod {name}: {_line(unscheduled)}",
            hint="kubectl describe nodes shows what is full; rdev project list shows what of rdev's could go",
            code="UNSCHEDULABLE",
            pod=name,
        )
    why = warning(events) or reason or "the cluster does not say why"
    return Unavailable(
        f"the pod {name} is not ready: {_line(why)}",
        hint="the same command waits for it again; rdev context test looks for the cause",
        code="POD_NOT_READY",
        pod=name,
    )


def refused(error: RdevError) -> RdevError:
    """Return what a refusal to create something means where the transport cannot tell: pod security, a webhook."""
    said = error.message
    if "PodSecurity" in said:
        return Denied(
            f"the namespace's pod security refuses the pod: {_line(said)}",
            hint="rdev's pods meet `restricted` unless the context has --root: rdev context set NAME --no-root",
            code="POD_SECURITY",
        )
    if "admission webhook" in said or "failed calling webhook" in said:
        hint = "ask whoever runs the cluster"
        return Unavailable(f"an admission webhook of the cluster is in the way: {_line(said)}", hint=hint, code="ADMISSION")
    return error


def _line(text: object) -> str:
    return shown(" ".join(str(text).split()), most=400)


def image(pod: Found) -> str:
    """Return the image that a pod's container was made of: its name, and the digest that the node found behind it."""
    named = str(pod["spec"]["containers"][0]["image"])
    found = str((pod.get("status", {}).get("containerStatuses") or [{}])[0].get("imageID") or "")
    digest = found[found.find("sha256:") :] if "sha256:" in found else ""
    return f"{named.partition('@')[0]}@{digest}" if digest else named
