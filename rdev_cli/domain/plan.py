"""What a multi-step operation would do."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a multi-step operation would do, without doing it."""

    project: str
    would: str
    steps: tuple[str, ...]
