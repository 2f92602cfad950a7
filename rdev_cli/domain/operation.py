"""A multi-step operation: its recorded intent and how far it came."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from rdev_cli.domain.values import OperationId


class OperationState(StrEnum):
    """How an operation stands; `running` with nobody at work means that it was cut off."""

    RUNNING = "running"
    DONE = "done"
    UNDONE = "undone"
    UNDO_FAILED = "undo_failed"


class StepState(StrEnum):
    """How a step stands; `intent` is written before the step, `done` after it."""

    INTENT = "intent"
    DONE = "done"
    UNDONE = "undone"
    UNDO_FAILED = "undo_failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One multi-step operation."""

    id: OperationId
    kind: str  # project.create
    subject: str  # shop
    state: OperationState
    spec: Mapping[str, Any]
    actor: str
    created_at: datetime
    steps: tuple[tuple[str, StepState], ...] = ()
