"""Where a change that is checked in comes from: a session or a checkout, and the branch that it shall go to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rdev_cli.domain.errors import Conflict
from rdev_cli.domain.session import Purpose, own_branch
from rdev_cli.ops import known

if TYPE_CHECKING:
    from rdev_cli.domain.checkin import CheckinSpec
    from rdev_cli.domain.checkout import Checkout
    from rdev_cli.domain.project import Project
    from rdev_cli.domain.session import Session
    from rdev_cli.ports import World


@dataclass(frozen=True, slots=True)
class Source:
    """Where a change comes from, and where it shall go."""

    project: Project
    branch: str
    target: str
    began: str  # the commit that the work on it began at
    rooted: bool  # that commit was the target's own
    session: Session | None = None
    checkout: Checkout | None = None

    @property
    def id(self) -> str:
        """The session's or the checkout's id."""
        return self.session.id if self.session else self.checkout.id if self.checkout else ""

    @property
    def subject(self) -> str:
        """What an operation on it is about."""
        return f"{'session' if self.session else 'checkout'}:{self.id}"


def source(world: World, spec: CheckinSpec) -> Source:
    """Return where the change of a check-in comes from; Conflict for a session of rdev's own."""
    if spec.session:
        session = known.session(world, spec.session)
        if session.purpose is not Purpose.WORK:
            raise Conflict(
                f"{session.id} is one of rdev's own, for checks", hint="rdev session list shows the ones there are", code="CHECKS_ONLY"
            )
        project = known.project(world, session.project)
        return Source(
            project, session.branch, project.branch, session.base, rooted=session.branch == own_branch(session.id), session=session
        )
    checkout = known.checkout(world, spec.checkout)
    project = known.ready(world, checkout.project)
    return Source(project, checkout.branch, checkout.target, checkout.base, rooted=True, checkout=checkout)
