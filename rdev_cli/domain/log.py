"""The log of a project's pod: what the pod's own first process wrote, beside all commands."""

from dataclasses import dataclass

from rdev_cli.domain.errors import Invalid


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSpec:
    """Which part of a log is wanted."""

    project: str
    since_seconds: int = 0  # no older than this; 0: of any age
    tail: int = -1  # the last so many lines; -1: all
    previous: bool = False  # of the container before the last restart
    timestamps: bool = False  # each line with its time in front

    def __post_init__(self) -> None:
        if self.tail < -1:
            raise Invalid(f"there are no {self.tail} lines", hint="--tail 100", field="tail")

    @property
    def plain(self) -> bool:
        """Say whether all of it is wanted as it is."""
        return self == LogSpec(project=self.project)


@dataclass(frozen=True, slots=True, kw_only=True)
class PodLog:
    """A part of the log of a project's pod; `next` is the position after it, to go on from."""

    project: str
    pod: str
    log: bytes
    next: str
    ended: bool  # nothing more will come
    cut: bool = False  # it is only the end of what there was
