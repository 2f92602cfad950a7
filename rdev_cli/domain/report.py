"""What rdev finds when it looks at itself: checks, contexts, settings."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Verdict(StrEnum):
    """How a check came out."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing looked at, what was found, and what to type about it."""

    name: str
    verdict: Verdict
    found: str
    hint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One setting and where its value came from: flag, environment, file, context or default."""

    name: str
    value: str
    origin: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """A named place to work."""

    name: str
    current: bool
    runtime: str
    isolation: str
    show: tuple[str, ...] = ()  # host folders that sandboxes see read-only
    pool: int | None = None  # workers that a server keeps warm; none: it does not say
    agents: Mapping[str, Any] = field(default_factory=dict)  # by name: `path`, `env`
    cluster: Mapping[str, Any] = field(default_factory=dict)  # what is set of a context on Kubernetes: `namespace`, `image`, …
    forge: str = "local"  # where repositories are: local or gitea
    gitea: Mapping[str, str] = field(default_factory=dict)  # what is set of a context on a Gitea: `gitea_url`, …
