"""How a project stands: its newest commit, its pod, what runs, and where repository and work tree met."""

from dataclasses import dataclass
from datetime import datetime

from rdev_cli.domain.project import Project


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """A commit as people look at one; `stat` is git's own table of what changed."""

    sha: str
    subject: str
    author: str
    at: datetime
    files: int
    insertions: int
    deletions: int
    stat: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectStatus:
    """A project, its newest commit, what runs in it and whether its pod is there."""

    project: Project
    pod_present: bool
    head: Commit | None
    pod_head: str  # the commit that the work tree is at, empty if it cannot be seen
    running: tuple[str, ...]
    unfinished: str  # the operation that was cut off, if any, else empty


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectSync:
    """Where repository and work tree met, and which of them that was news for."""

    project: str
    commit: str
    brought_in: bool  # the work tree got newer commits
    delivered: bool  # the repository got newer commits


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectFound:
    """A project as it is found in a place: by its record here, or by the pod of somebody else, which is only looked at."""

    name: str
    id: str
    pod: str
    state: str  # the record's; empty: there is no record here
    whose: str  # `here`, `context` (another one of this installation), `nobody` (this installation's, without a record), `another`
    installation: str  # which one that is, empty where a pod does not say
    created_at: datetime
