"""Sessions: a pod of its own for a while, on a branch of a project; opened, looked at, ended, and nothing lost at their end."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from rdev_cli.domain.errors import Conflict
from rdev_cli.domain.page import Page
from rdev_cli.domain.session import LIVE, Purpose, Session, SessionSpec, SessionState, own_branch, session_pod
from rdev_cli.domain.session import place as placed
from rdev_cli.domain.values import ProjectId, SessionId
from rdev_cli.ops import known, pool, sweeping, workspaces
from rdev_cli.ops.ending import Ending, forget, free
from rdev_cli.ops.ensure import Step, begin, carry, lease
from rdev_cli.ops.keeping import commit_staged, tree
from rdev_cli.ops.ledger import Pace, Scope, operation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rdev_cli.domain.event import Event
    from rdev_cli.domain.operation import Operation
    from rdev_cli.domain.project import Project
    from rdev_cli.domain.session import Place
    from rdev_cli.ports import World
    from rdev_cli.ports.store import Writing

__all__ = ["commit_staged", "end", "list_", "place", "planned", "request", "show", "start", "touch", "tree"]


@operation("session.start", Scope.SESSIONS_EXECUTE, Pace.LONG)
def start(world: World, spec: SessionSpec, *, id: str = "") -> Session:
    """Start a session: a pod of its own for a project, with a branch put in place.

    The pod is a warm one if there is any, else it is made. The branch goes on where it stands, or is made from the project's; without
    one the session gets rdev/<session>. A session ends when nothing is done in it for a while, and after a time in any case.
    """
    # `id`: of a start that was asked for or cut off, which goes on; a fresh one by default. A failure or a stop undoes everything.
    id = id or world.new_id("ses")
    with lease(world, f"session:{id}") as held:
        found = world.store.find(Session, id)
        if found is not None and found.state is not SessionState.STARTING:
            if found.state is SessionState.READY:
                return found
            return known.opened(found)  # which says why it cannot be
        project, session = (known.whole(world, found.project), found) if found else planned(world, spec, id)
        cut = [o for o in world.store.unfinished(f"session:{id}") if o.kind == "session.start"]
        intent = cut[0] if cut else _intent(world, project, session)
        with world.store.transaction() as tx:
            request(tx, world, session, fresh=found is None)
            if not cut:
                tx.put_operation(intent)
        making = _Starting(world, project, session, new=bool(intent.spec["new"]))

        def done(tx: Writing) -> None:
            now = world.clock.now()
            known.still(tx, project)
            making.session = replace(making.session, state=SessionState.READY, active_at=now)
            tx.put(making.session)
            facts = {
                "branch": making.session.branch,
                "base": making.session.base,
                "pod": making.session.pod,
                "worker": making.session.worker,
            }
            tx.append("session.started", session.id, {"project": project.name, **facts})

        def undone(tx: Writing) -> None:
            tx.put(replace(making.session, state=SessionState.ENDED, ended_at=world.clock.now(), reason="failed"))
            forget(tx, session)
            tx.append("session.undone", session.id, {"project": project.name})

        def failed(tx: Writing) -> None:
            tx.put(replace(making.session, state=SessionState.FAILED))

        carry(world, held, intent, making.steps(), done=done, undone=undone, failed=failed, finish=f"rdev session end {session.id}")
        return making.session


def planned(world: World, spec: SessionSpec, id: str) -> tuple[Project, Session]:
    """Return a session as it would be recorded, and its project, which can take work; it raises what `start` would refuse."""
    project = known.whole(world, spec.project)
    if spec.agent:
        world.agents.named(spec.agent)
    branch, base = spec.branch or own_branch(id), spec.commit
    if not base:
        base = (world.forge.find_branch(project, branch) if spec.branch else "") or world.forge.head(project)
    if not base:
        raise Conflict(
            f"the repository of {project.name} has no commit to begin with",
            hint=f"push one to {project.repository}",
            code="EMPTY_REPOSITORY",
        )
    now = world.clock.now()
    return project, Session(
        id=SessionId(id), project=project.name, project_id=ProjectId(project.id), purpose=spec.purpose, state=SessionState.STARTING,
        pod=session_pod(project.name, id), branch=branch, base=base, agent=spec.agent, network=project.network, actor=world.actor,
        created_at=now, active_at=now, idle_seconds=spec.idle_seconds, ttl_seconds=spec.ttl_seconds,
    )  # fmt: skip


def request(tx: Writing, world: World, session: Session, *, fresh: bool = True) -> None:
    """Record that a session shall be started; whoever uses one for checks keeps it from the sweeper for as long as its process lives."""
    now = tx.find_project(session.project)
    if now is None or now.id != session.project_id:
        raise known.no_project(session.project)
    known.takes_work(now)
    if session.purpose is Purpose.CHECKS:
        tx.take(f"checks:{session.id}", owner=world.new_id("own"), seconds=session.ttl_seconds)
    tx.put(session)
    if fresh:
        facts = {"branch": session.branch, "base": session.base, "purpose": session.purpose, "agent": session.agent}
        tx.append("session.requested", session.id, {"project": session.project, **facts})


def _intent(world: World, project: Project, session: Session) -> Operation:
    """Return the intent of a start; whose branch it is, as seen at its beginning, decides whether an undo takes it away."""
    own = session.branch == own_branch(session.id)  # nobody else makes one of that name
    new = session.purpose is Purpose.WORK and (own or not world.forge.find_branch(project, session.branch))
    return begin(world, "session.start", f"session:{session.id}", {"project": project.name, "new": new})


class _Starting:
    """The steps that start a session; its pod is known once there is one."""

    def __init__(self, world: World, project: Project, session: Session, *, new: bool) -> None:
        self.world, self.project, self.session, self.new = world, project, session, new

    @property
    def place(self) -> Place:
        return placed(self.project, self.session)

    def branch(self) -> None:
        if self.new:
            self.world.forge.ensure_branch(self.project, self.session.branch, self.session.base)

    def no_branch(self) -> None:
        if self.new:
            self.world.forge.delete_branch(self.project, self.session.branch, self.session.base)

    def pod(self) -> None:
        lent, session = pool.claim(self.world, self.project, self.session.id), self.session
        worker, pod = (lent.id, lent.pod) if lent is not None else ("", session_pod(session.project, session.id))
        if (session.worker, session.pod) != (worker, pod):
            self.session = replace(session, worker=worker, pod=pod)
            with self.world.store.transaction() as tx:
                tx.put(self.session)
        if lent is None:
            self.world.cluster.ensure_pod(self.place)

    def no_pod(self) -> None:
        free(self.world, self.place)

    def fill(self) -> None:
        workspaces.bring_in(self.world, self.place, fresh=True)

    def steps(self) -> Sequence[Step]:
        def nothing() -> None:
            """Undone together with the step before it."""

        session = self.session
        return [
            Step("branch", f"put the branch {session.branch} in place", self.branch, self.no_branch),
            Step("pod", f"get a warm pod, or make {session.pod}", self.pod, self.no_pod),
            Step("work tree", "check the branch out into it", self.fill, nothing),
        ]


@operation("session.list", Scope.SESSIONS_READ)
def list_(world: World, *, project: str = "", live: bool = False, all: bool = False, before: str = "", limit: int = 50) -> Page[Session]:  # noqa: A002 -- as it is typed
    """List sessions, newest first; those of rdev's own checks only with --all."""
    # `live`: only those that have not ended. A page of those older than `before` (an id), whose `next` is what to give as `before`
    if project:
        known.project(world, project)
    of: dict[str, str | Sequence[str]] = {} if all else {"purpose": Purpose.WORK.value}
    if live:
        of["state"] = [one.value for one in LIVE]
    found = world.store.some(Session, project=project, of=of, before=before, limit=limit + 1)
    return Page(tuple(found[:limit]), found[limit - 1].id if len(found) > limit else None)


@operation("session.show", Scope.SESSIONS_READ)
def show(world: World, session: str) -> Session:
    """Show one session: its pod and branch, who started it, when it ends, and what its end kept."""
    return known.session(world, session)


@operation("session.events", Scope.SESSIONS_READ)
def events(world: World, session: str, *, after: int = 0, limit: int = 100) -> Page[Event]:
    """Show what happened in a session: its own life, and each of its commands."""
    # a page of lines with a seq greater than `after`, in order, whose `next` is what to give as `after`; never waits
    id = known.session(world, session).id
    found = world.store.events(after=after, session=id, limit=limit + 1)
    return Page(tuple(found[:limit]), str(found[limit - 1].seq) if len(found) > limit else None)


def place(world: World, session: Session) -> Place:
    """Return where a session's work is done, whatever its state."""
    return placed(known.project(world, session.project), session)


def touch(world: World, session: str) -> None:
    """Note that somebody uses a session just now."""
    with world.store.transaction() as tx:
        known.touched(tx, session, world.clock.now())


@operation("session.end", Scope.SESSIONS_EXECUTE, Pace.LONG)
def end(world: World, session: str, *, reason: str = "ended", discard: bool = False) -> Session:
    """End a session: its previews and commands, then its pod; what was not checked in is kept on rdev/rescue/<session>.

    Its pod stays as long as that cannot be kept: then the same command goes on, and so does rdev serve. What git ignores is not kept.
    """
    # Partial names what stays. Repeats are safe: one that has ended is returned. `discard`: nothing is kept.
    found = known.session(world, session, whole=True)
    if found.state is SessionState.ENDED:
        return found
    with lease(world, f"session:{found.id}") as held:
        now = world.store.find(Session, found.id)
        if now is None or now.state is SessionState.ENDED:
            return now or found
        return Ending(world, now, reason=reason, discard=discard).carried(held)


def sweep(world: World) -> int:
    """Warn sessions that will end soon, end those whose time is over, and go on with what was cut off; return how many have ended."""
    return sweeping.sweep(world)
