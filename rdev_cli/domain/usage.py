"""What agents have used: tokens and money, summed."""

from dataclasses import dataclass
from datetime import datetime

from rdev_cli.domain.project import Project


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What runs of agents have used: tokens, and cost in US dollars as the agents say it."""

    project: str
    agent: str
    model: str
    runs: int
    input_tokens: int
    output_tokens: int
    cost_usd: float
    last_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectShown(Project):
    """A project, with what runs of agents on it have used so far."""

    usage: tuple[Usage, ...]
