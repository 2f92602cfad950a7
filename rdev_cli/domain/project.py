"""A project: a record, a repository and a pod, under one name."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from rdev_cli.domain.errors import Invalid
from rdev_cli.domain.values import ProjectId, name, shown, word


class ProjectState(StrEnum):
    """Where a project is in its life."""

    CREATING = "creating"
    READY = "ready"
    DELETING = "deleting"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectSpec:
    """What a caller asks for."""

    name: str
    description: str = ""
    source: str = ""  # a directory or URL to take history and branches from; empty: the skeleton
    network: bool = True  # False: no command of this project ever reaches the network
    agent: str = ""  # which agent works on it, unless a run says otherwise; empty: the context's
    model: str = ""  # that agent's model

    def __post_init__(self) -> None:
        name(self.name, "project name")
        if len(self.description) > 500 or any(ord(c) < 32 or "\ud800" <= c <= "\udfff" for c in self.description):
            raise Invalid(
                f"description '{shown(self.description)}' is not allowed",
                hint="one line of at most 500 characters",
                field="description",
            )
        if self.agent:
            name(self.agent, "agent")
        if self.model:
            word(self.model, "model")
        if any(ord(c) < 32 or "\ud800" <= c <= "\udfff" for c in self.source):
            raise Invalid(
                f"--from '{shown(self.source)}' is not allowed", hint="a directory or a URL, in UTF-8, on one line", field="source"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """What a caller gets."""

    id: ProjectId
    name: str
    description: str
    source: str
    network: bool
    agent: str = ""
    model: str = ""
    state: ProjectState
    pod: str
    repository: str
    branch: str
    created_at: datetime
    updated_at: datetime

    @property
    def owner_id(self) -> ProjectId:
        """The project that this belongs to: itself; a session's place says another."""
        return self.id

    @property
    def session_id(self) -> str:
        """The session that this is the place of, empty for a project's own."""
        return ""

    @property
    def target(self) -> str:
        """What a person types to do something in this pod."""
        return self.session_id or self.name

    @property
    def filled_with(self) -> str:
        """The commit that its work tree is filled with, empty for the newest one of its branch."""
        return ""

    @property
    def spec(self) -> ProjectSpec:
        """What was asked for when it was created."""
        return ProjectSpec(
            name=self.name, description=self.description, source=self.source, network=self.network, agent=self.agent, model=self.model
        )


def pod_name(project: str, id: str) -> str:
    """Return the deterministic name of a project's pod."""
    return f"rdev-{project}-{id[-8:]}"


def adopted_id(fresh: str, old: str) -> str:
    """Return a fresh id under which a project keeps the pod that had the old one: the end of an id stands in the pod's name."""
    return fresh[:-8] + old[-8:]


def ownership(project: Project, installation: str) -> dict[str, str]:
    """Return what stands on everything that belongs to a project: whose it is, and which record it is for."""
    return {"installation": installation, "id": project.id, "name": project.name}
