"""A job: an operation that was asked for by somebody who does not wait, and is done for them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from rdev_cli.domain.access import Grant
from rdev_cli.domain.answers import Problem


class JobState(StrEnum):
    """How a job stands; `running` with nobody at work means that it was cut off, and is taken up again."""

    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


WAITING = (JobState.PENDING, JobState.RUNNING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One operation that was asked for, and what became of it; a command's or a session's has the id of that."""

    id: str
    operation: str  # project.create
    project: str  # empty: it is about none
    state: JobState
    actor: str
    created_at: datetime
    ended_at: datetime | None = None
    answer: Mapping[str, Any] | None = None  # the document that the operation answers with, once it is done
    error: Problem | None = None  # once it failed


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """A job with what only its runner is told."""

    job: Job
    request: Mapping[str, Any] = field(repr=False)  # as plain data; it may hold what nobody else should read
    grant: Grant  # of whoever asked: it is done with no more rights than theirs
