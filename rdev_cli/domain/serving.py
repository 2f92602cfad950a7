"""How `rdev serve` is put into a cluster: what may be chosen, and what is to be applied there."""

import re
from dataclasses import dataclass

from rdev_cli.domain.errors import Invalid
from rdev_cli.domain.values import shown

_RULES = {
    "namespace": (re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"), "a-z, 0-9 and '-', at most 63 of them"),
    "image": (re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:@-]{0,511}"), "registry.example.org/rdev-serve:1"),
    "pod_image": (re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:@-]{0,511}"), "registry.example.org/claudebox:1"),
    "host": (re.compile(r"[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?"), "rdev.example.org"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class InstallSpec:
    """What is chosen of an installation in a cluster; what is None stays as the shipped manifests have it."""

    namespace: str = "rdev"
    image: str | None = None  # of the server
    pod_image: str | None = None  # of projects' pods
    host: str | None = None  # the name that clients use; None: the service's own

    def __post_init__(self) -> None:
        for field, (rule, hint) in _RULES.items():
            value = getattr(self, field)
            if value is not None and not rule.fullmatch(value):
                raise Invalid(f"{field.replace('_', '-')} '{shown(value)}' is not allowed", hint=hint, field=field)

    @property
    def served(self) -> str:
        """The name that clients use."""
        return self.host or f"rdev-serve.{self.namespace}.svc"


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifests:
    """What `kubectl apply -f -` takes to put `rdev serve` into a namespace."""

    namespace: str
    host: str
    manifests: str  # YAML, several documents
