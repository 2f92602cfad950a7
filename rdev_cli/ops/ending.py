"""The end of a session: whatever was not checked in is kept before its pod goes, and what is cut off is gone on with."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from rdev_cli.domain.errors import Conflict, NotFound, Unavailable
from rdev_cli.domain.operation import OperationState, StepState
from rdev_cli.domain.session import Purpose, Session, SessionState, own_branch
from rdev_cli.domain.session import place as placed
from rdev_cli.domain.worker import Worker
from rdev_cli.ops import commands, keeping, known, pool, previews
from rdev_cli.ops.ensure import Step, begin, clear

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rdev_cli.domain.lease import Lease
    from rdev_cli.domain.operation import Operation
    from rdev_cli.domain.project import Project
    from rdev_cli.ports import World
    from rdev_cli.ports.store import Writing

_KIND, _KEPT, _LAST = "session.end", "kept", 99
_FINISH = "rdev session end {0} goes on; with --discard what cannot be kept is given up"


def free(world: World, place: Project) -> None:
    """Give a session's pod back, or remove it; nothing happens where there is none."""
    lent = world.house.store.some(Worker, of={"session": place.session_id}, limit=1)  # it may have it without its record saying so yet
    if lent and pool.give_back(world, replace(place, pod=lent[0].pod), lent[0].id).clean:
        return
    world.cluster.delete_pod(place)  # also what was made anew under a worker's name


def forget(tx: Writing, session: Session) -> None:
    """Give up the names that nobody will ever ask for again."""
    for what in ("workspace", "checks"):
        tx.forget(f"{what}:{session.id}")


class Ending:
    """The steps that end a session, in their order: nobody looks on, nothing runs, what is new is kept, and the pod goes last."""

    def __init__(self, world: World, session: Session, *, reason: str, discard: bool) -> None:
        self.world, self.session, self.discard = world, session, discard
        self.project = known.project(world, session.project)
        self.reason = session.reason or reason  # the first one stands
        self.kept = False  # nothing in the pod is needed any more
        self.gone = False
        self.opened = False  # somebody may have worked in it
        self.note = ""  # the operation, in which it is noted that all is kept: what is half removed must not be looked at again

    def carried(self, held: Lease) -> Session:
        """End it; Partial if something stays, and the same again goes on."""
        world, session = self.world, self.session
        pending = world.store.unfinished(f"session:{session.id}")
        intent = next((o for o in pending if o.kind == _KIND), None)
        again = intent is not None
        if intent is None:
            intent = begin(world, _KIND, f"session:{session.id}", {"project": session.project, "was": session.state.value})
        self.opened = intent.spec["was"] == SessionState.READY.value
        self.kept = not self.opened or (_KEPT, StepState.DONE) in intent.steps
        self.note = intent.id
        with world.store.transaction() as tx:
            self.session = replace(session, state=SessionState.ENDING, reason=self.reason)
            tx.put(self.session)
            if not again:
                tx.put_operation(intent)

        def done(tx: Writing) -> None:
            now = world.clock.now()
            self.session = replace(self.session, state=SessionState.ENDED, ended_at=now)
            tx.put(self.session)
            self._cleared(tx, pending)
            facts = {"reason": self.session.reason, "rescue": self.session.rescue, "gone": self.gone, "branch": self.session.branch}
            tx.append("session.ended", session.id, {"project": session.project, **facts})

        clear(world, held, intent, self.steps(), done=done, finish=_FINISH.format(session.id), again=again)
        return self.session

    def _cleared(self, tx: Writing, pending: Sequence[Operation]) -> None:
        for other in pending:
            if other.kind != _KIND:
                tx.end_operation(other.id, OperationState.UNDONE)  # what was cut off is cleared with it
        forget(tx, self.session)

    def steps(self) -> Sequence[Step]:
        """Return the steps; each may be repeated."""

        def nothing() -> None:
            """An end is not undone."""

        go = [
            Step("pod", f"give the pod {self.session.pod} back, or remove it", self._pod, nothing),
            Step("branch", f"remove the branch {self.session.branch} if nothing came to it", self._branch, nothing),
        ]
        if not self.opened:  # nobody ever did anything in it
            return go
        return [
            Step("previews", "close its previews", lambda: previews.close_all(self.world, self.session), nothing),
            Step("commands", "end its commands", self._commands, nothing),
            Step("work", "keep what was not checked in", self._keep, nothing),
            *go,
        ]

    def _commands(self) -> None:
        commands.end_all(self.world, placed(self.project, self.session))

    def _keep(self) -> None:
        if self.kept:
            return
        world, place = self.world, placed(self.project, self.session)
        if not self.discard and self.session.purpose is Purpose.WORK:
            if not world.cluster.pod_present(place) and world.cluster.pod_kept(place):
                world.cluster.ensure_pod(place)  # over its work tree, which outlived it
            if world.cluster.pod_present(place):
                self._rescued(keeping.keep(world, place, at=self.session.created_at, known=self.session.base))
            elif not self.session.rescue:
                self.gone = True
        with world.store.transaction() as tx:
            tx.put_step(self.note, _LAST, _KEPT, StepState.DONE)
        self.kept = True

    def _rescued(self, branch: str) -> None:
        if branch and branch != self.session.rescue:
            self.session = replace(self.session, rescue=branch)
            with self.world.store.transaction() as tx:
                tx.put(self.session)
                tx.append("session.rescued", self.session.id, {"project": self.session.project, "branch": branch})

    def _pod(self) -> None:
        if not self.kept:
            raise Unavailable("it stays until what is in it is kept", hint=f"rdev session end {self.session.id}", code="NOT_KEPT")
        free(self.world, placed(self.project, self.session))

    def _branch(self) -> None:
        session = self.session
        if session.purpose is Purpose.WORK and session.branch == own_branch(session.id):
            try:
                self.world.forge.delete_branch(self.project, session.branch, session.base)
            except (Conflict, NotFound):
                return  # something came to it: then it is somebody's work
