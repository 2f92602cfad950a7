"""Documents that stand for no thing of their own: how an error is told, the version, what has a schema."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What went wrong: a code that does not change, a sentence, what to type next, and facts for programs."""

    code: str
    message: str
    hint: str
    context: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorDocument:
    """An error, as every door tells it."""

    error: Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """Work that was taken on and not waited for: its id, and where to follow it."""

    id: str
    stream_url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """Which rdev this is, and which Python runs it."""

    version: str
    python: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A server that listens: where, and which context it serves."""

    url: str  # unix:PATH for a socket's file
    context: str
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaEntry:
    """A document that rdev prints, by the name of its schema."""

    name: str
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletionScript:
    """A shell's completion."""

    shell: str
    script: str
