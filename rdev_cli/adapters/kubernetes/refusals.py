"""What a request of the Kubernetes API names, and which error it means when it is refused or gets no answer."""

import http.client
import re
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from rdev_cli.domain.errors import Conflict, Denied, Invalid, NotFound, RdevError, Unavailable
from rdev_cli.domain.values import shown

_PATH = re.compile(r"/(api/v1|apis/[a-z0-9.-]+/v[a-z0-9]+|version|readyz|livez)(/[A-Za-z0-9][A-Za-z0-9._:-]*)*")


class Nonsense(Exception):
    """What came is no answer of a Kubernetes API."""


@dataclass(frozen=True, slots=True)
class Target:
    """What a path names."""

    resource: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.resource}{f' {self.name}' if self.name else ''}{f' in the namespace {self.namespace}' if self.namespace else ''}"


def target(path: str) -> Target:
    """Return what a path names: `pods/exec`, the namespace, the name. Invalid for what is no path of the API."""
    if not _PATH.fullmatch(path) or ".." in path:
        raise Invalid(f"'{shown(path)}' is no path of the Kubernetes API", hint="name objects by the one name rule")
    parts = path.strip("/").split("/")
    parts = parts[2:] if parts[0] == "api" else parts[3:] if parts[0] == "apis" else parts
    namespace = ""
    if len(parts) > 2 and parts[0] == "namespaces":
        namespace, parts = parts[1], parts[2:]
    resource, name, sub = [*parts, "", "", ""][:3]
    return Target(f"{resource}/{sub}" if sub else resource, namespace, name)


def unreachable(server: str, cause: Exception, *, sent: bool) -> Unavailable:
    """Return the error for an answer that did not come, or that is none. `sent`: the request may have arrived all the same."""
    host = shown(urlsplit(server).netloc)
    if isinstance(cause, ssl.SSLCertVerificationError):
        return Unavailable(
            f"{host} shows a certificate that the kubeconfig does not vouch for: {shown(cause.verify_message)}",
            hint="look at the cluster's entry, its authority and tls-server-name: kubectl config view --minify",
            code="CLUSTER_UNREACHABLE",
            server=server,
            sent=sent,
        )
    if isinstance(cause, socket.gaierror):
        why = "its name is not known here"
    elif isinstance(cause, TimeoutError):
        why = "it does not answer in time"
    elif isinstance(cause, ConnectionRefusedError):
        why = "nothing listens there"
    elif isinstance(cause, ConnectionError | http.client.HTTPException | ssl.SSLEOFError):
        why = "the connection ended before the answer"
    else:
        why = shown(getattr(cause, "strerror", None) or str(cause) or type(cause).__name__, most=200)
    return Unavailable(
        f"the cluster at {host} cannot be reached: {why}",
        hint="rdev context test looks what is wrong",
        code="CLUSTER_UNREACHABLE",
        server=server,
        sent=sent,
    )


def refused(verb: str, where: Target, status: int, *, reason: str, said: str) -> RdevError:
    """Return the error that a status stands for; `reason` and `said` are the server's own, `said` fit for a message."""
    if verb in (
        "exec",
        "forward",
    ):  # as rights call it: it is a GET, and newer servers want the right to create, too, without a word on what is missing
        named = re.search(r" cannot (get|create) ", said)
        verb = named[1] if named else "create"
    facts: dict[str, Any] = {"verb": verb, "resource": where.resource, "namespace": where.namespace, "status": status}
    if status == 401:
        return Denied(
            "the cluster does not accept this login",
            hint="log in again, or renew the token: kubectl auth whoami",
            code="CLUSTER_LOGIN",
            **facts,
        )
    if status == 403:
        return _denied(verb, where, said, facts)
    if status == 404:
        if reason == "NotFound" and said.startswith("namespaces ") and where.resource != "namespaces":
            return NotFound(
                f"the cluster has no namespace {where.namespace}",
                hint=f"make it: kubectl create namespace {where.namespace}",
                code="NO_NAMESPACE",
                **facts,
            )
        return NotFound(f"the cluster has no {where}", hint="rdev project list shows what rdev knows of", **facts)
    if status == 409 and reason == "AlreadyExists":
        return Conflict(f"{where} is there already: {said}", hint="rdev project list --all shows whose it is", code="EXISTS", **facts)
    if status == 409:
        return Conflict(f"{where} was changed by somebody else", hint="try it again", code="CHANGED", **facts)
    if status == 410:
        return Conflict(f"{where}: the cluster forgot what happened since", hint="try it again", code="EXPIRED", **facts)
    if status == 429:
        return Unavailable("the cluster has too much to do, and asks to come back later", hint="try it again", code="CLUSTER_BUSY", **facts)
    if status >= 500:
        return Unavailable(
            f"the cluster failed to {verb} {where} ({status}{f': {said}' if said else ''})",
            hint="rdev context test looks what is wrong",
            code="CLUSTER_UNREACHABLE",
            **facts,
        )
    if status < 400:
        return Unavailable(
            f"what answers {verb} {where} is no Kubernetes API ({status})",
            hint="look at the server's address: kubectl config view --minify",
            code="CLUSTER_UNREACHABLE",
            **facts,
        )
    return Invalid(
        f"the cluster does not take {where} ({status}): {said or 'it does not say why'}",
        hint="rdev context show",
        code="CLUSTER_REFUSED",
        **facts,
    )


def _denied(verb: str, where: Target, said: str, facts: Mapping[str, Any]) -> Denied:
    """Return what a 403 means: the right is missing, or something that judges new objects said no, which is told in words only."""
    if "exceeded quota" in said:
        return Denied(
            f"the quota of the namespace leaves no room: {said}", hint="delete what is not needed, or ask for more", code="QUOTA", **facts
        )
    if verb in ("create", "patch") and said and " cannot " not in said and not said.endswith(" is forbidden:"):
        return Denied(
            f"the cluster does not let {where} be: {said}", hint="rdev context test looks what is allowed", code="ADMISSION", **facts
        )
    return Denied(
        f"this login may not {verb} {where.resource}{f' in the namespace {where.namespace}' if where.namespace else ''}",
        hint=f"ask for that right; to see it: kubectl auth can-i {verb} {where.resource}{f' -n {where.namespace}' if where.namespace else ''}",
        code="FORBIDDEN",
        **facts,
    )
