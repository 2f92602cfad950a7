"""A session: a pod that is bound to a project for a while, on a branch, with an end."""

import re
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from enum import StrEnum

from rdev_cli.domain.errors import Invalid
from rdev_cli.domain.project import Project, pod_name
from rdev_cli.domain.values import LONGEST, ProjectId, SessionId, branch, name

IDLE = 1800  # seconds without a command after which a session ends, unless its starter says otherwise
TTL = 8 * 3600  # seconds after which it ends in any case
WARNING = 300  # seconds before such an end in which it is told; less where the whole time is short


class SessionState(StrEnum):
    """Where a session is in its life."""

    STARTING = "starting"
    READY = "ready"
    ENDING = "ending"
    ENDED = "ended"
    FAILED = "failed"


LIVE = (SessionState.STARTING, SessionState.READY, SessionState.ENDING, SessionState.FAILED)  # a pod may stand in its name


class Purpose(StrEnum):
    """What a session is for: a person's or a program's work, or rdev's own checks, which nobody is shown unasked."""

    WORK = "work"
    CHECKS = "checks"


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionSpec:
    """What a caller asks for."""

    project: str
    branch: str = ""  # made from the project's branch unless it is there; empty: one of its own, rdev/<session>
    agent: str = ""  # empty: the project's
    idle_seconds: int = IDLE
    ttl_seconds: int = TTL
    purpose: Purpose = Purpose.WORK
    commit: str = ""  # with Purpose.CHECKS: the commit that shall be looked at

    def __post_init__(self) -> None:
        name(self.project, "project name")
        if self.branch:
            branch(self.branch)
        if self.agent:
            name(self.agent, "agent")
        if self.purpose is Purpose.CHECKS and not re.fullmatch("[0-9a-f]{40}|[0-9a-f]{64}", self.commit):
            raise Invalid("checks look at one commit", hint="give its whole hash", field="commit")
        for field in ("idle", "ttl"):
            if not 1 <= getattr(self, f"{field}_seconds") <= LONGEST:
                raise Invalid(f"{field} is at least 1s and at most 366d", hint=f"--{field} 30m", field=field)


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """What a caller gets."""

    id: SessionId
    project: str
    project_id: ProjectId
    purpose: Purpose = Purpose.WORK
    state: SessionState
    pod: str
    worker: str = ""  # the worker that was warm, empty for a pod that was made for it
    branch: str
    base: str = ""  # the commit of the branch when it began
    agent: str = ""
    network: bool = True
    actor: str
    created_at: datetime
    active_at: datetime  # when something was last done in it
    idle_seconds: int = IDLE
    ttl_seconds: int = TTL
    warned_at: datetime | None = None  # when its end was told
    ended_at: datetime | None = None
    reason: str = ""  # why it ended: ended, idle, expired, checked_in, deleted, failed
    rescue: str = ""  # the branch that holds what was not checked in, empty if nothing was left

    @property
    def ends_at(self) -> datetime:
        """When it ends if nothing is done in it any more."""
        return min(self.active_at + timedelta(seconds=self.idle_seconds), self.created_at + timedelta(seconds=self.ttl_seconds))


@dataclass(frozen=True, slots=True, kw_only=True)
class Place(Project):
    """A session's pod as everything takes it that works in a project's pod: under the session's id, pod and branch."""

    owner: ProjectId
    commit: str = ""  # what its work tree is filled with, whatever the branch is at; empty: the branch

    @property
    def filled_with(self) -> str:
        """The commit that its work tree is filled with, empty for the newest one of its branch."""
        return self.commit

    @property
    def owner_id(self) -> ProjectId:
        """The project that it belongs to."""
        return self.owner

    @property
    def session_id(self) -> str:
        """The session that it is."""
        return str(self.id)


def place(project: Project, session: Session) -> Place:
    """Return the place of a session of a project."""
    own = {field.name: getattr(project, field.name) for field in fields(Project)}
    found = Place(**own, owner=project.owner_id, commit=session.base if session.purpose is Purpose.CHECKS else "")
    return replace(
        found,
        id=ProjectId(session.id),
        pod=session.pod,
        branch=session.branch,
        network=project.network and session.network,
        agent=session.agent or project.agent,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """What a session's work tree holds: the commit that it is at, whether something is staged, and what else was changed."""

    head: str  # empty where there is no commit
    staged: bool = False
    dirty: tuple[str, ...] = ()  # paths with changes that are not staged, new files too; the first 200
    dirty_count: int = 0
    unmerged: tuple[str, ...] = ()  # paths that a merge left in conflict


def own_branch(id: str) -> str:
    """Return the branch of a session that was given none."""
    return f"rdev/{id}"


def rescue_branch(id: str) -> str:
    """Return the branch that keeps what a session had not checked in."""
    return f"rdev/rescue/{id}"


def warning(total: int) -> int:
    """Return how many seconds before an end it is told, of so many seconds that something lasts."""
    return min(WARNING, max(1, total // 3))


def session_pod(project: str, id: str) -> str:
    """Return the name of the pod that is made for a session."""
    return pod_name(project, id)
