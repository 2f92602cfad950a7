"""Commands: start, follow, look at, cancel. Durable: the runner records how one ended, whoever is looking."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from rdev_cli.domain.command import (
    GRACE,
    OPEN,
    Command,
    CommandKind,
    CommandState,
    Ending,
    ExecSpec,
    Launch,
    Outcome,
    Progress,
)
from rdev_cli.domain.errors import Conflict, NotFound, OutcomeUnknown, Unavailable
from rdev_cli.domain.page import Page
from rdev_cli.domain.values import CommandId
from rdev_cli.ops import known, settling, workspaces
from rdev_cli.ops.ledger import Pace, Scope, operation
from rdev_cli.ports.timing import LONG_RUNNING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rdev_cli.domain.job import Work
    from rdev_cli.domain.output import CommandOutput
    from rdev_cli.domain.project import Project
    from rdev_cli.ports import World
    from rdev_cli.ports.cluster import Input, Started


@dataclass(frozen=True, slots=True)
class Running:
    """A command that was started, with what only its starter has: its stdin, and words for people."""

    command: Command
    input: Input | None = None
    notes: tuple[str, ...] = ()


@operation("command.run", Scope.PROJECTS_EXECUTE, Pace.LONG)
def run(world: World, spec: ExecSpec, *, id: str = "") -> Running:
    """Run a command in a project's pod."""
    # `id`: of a record that waits to be started, or of a start that was cut off, which goes on; a fresh one by default
    project, command = planned(world, spec, id=id)
    return start(world, project, command, _launch(command, spec))


def planned(world: World, spec: ExecSpec, *, id: str = "") -> tuple[Project, Command]:
    """Return a command as it would be recorded, and its project, which can take work."""
    project = known.ready(world, spec.project)
    command = Command(
        id=CommandId(id or world.new_id("cmd")), project=project.name, project_id=project.owner_id, session_id=project.session_id,
        kind=spec.kind, argv=spec.argv, state=CommandState.RUNNING, actor=world.actor, created_at=world.clock.now(), timeout_seconds=spec.timeout_seconds,
        network=spec.network and project.network,
    )  # fmt: skip
    _launch(command, spec)  # which checks itself
    return project, command


def _launch(command: Command, spec: ExecSpec) -> Launch:
    return Launch(
        id=command.id, argv=spec.argv, stdin=spec.stdin, terminal=spec.terminal, limit_seconds=spec.timeout_seconds, network=command.network
    )


def start(
    world: World, project: Project, command: Command, launch: Launch, *, alone: Callable[[], tuple[str, ...]] | None = None
) -> Running:
    """Record a command, then start it; a failure to start it is recorded too. One that was started under this id is only met again.

    `alone` makes it the only one of its kind in the work tree (else Conflict BUSY, naming the other), and is called
    once that is sure, before anything runs; it returns words for people.
    """
    if (met := _met(world, project, command)) is not None:
        return Running(met)
    notes = revive(world, project)
    if not notes and alone is None:
        notes = workspaces.behind(world, project)
    _sweep(world)
    before: Command | None = None
    try:
        with world.store.transaction() as tx:
            known.still(tx, project)
            before = tx.find_command(command.id)
            if before is not None:
                if before.state not in OPEN:
                    return Running(before)
                command = replace(before, state=CommandState.RUNNING)
            # until its runner has a folder this is what says that somebody starts it; a start may bring commits in first
            tx.take(settling.starting(command), owner=world.new_id("own"), seconds=2 * LONG_RUNNING)
            if alone is not None:
                # until its command is settled; a year is longer than any limit
                tx.take(f"workspace:{project.id}", owner=command.id, seconds=366 * 86400)
            tx.put_command(command)
            if before is None or before.state is CommandState.PENDING:
                tx.append("command.started", command.id, _facts(command))
            if command.session_id:
                known.touched(tx, command.session_id, world.clock.now())
    except Conflict as e:
        if e.code != "BUSY":
            raise
        if before is not None and e.context["lease"] == settling.starting(command):
            return Running(before)  # its starter lives
        other = str(e.context["owner"])
        if not other.startswith("cmd_"):
            raise Conflict(f"{project.name} is being synced by another process", hint="try again in a moment", code="BUSY") from e
        raise busy(project, other) from e
    try:
        if alone is not None:
            notes += alone()
        started: Started = world.cluster.start(project, launch)
    except BaseException:  # a Ctrl-C too: nothing runs, and the work tree must be free again
        settling.settle(world, project, command, Progress(stdout=0, stderr=0, outcome=Outcome(code=125, ending=Ending.SETUP)))
        raise
    return Running(command, started.input, (*notes, started.note) if started.note else notes)


def _met(world: World, project: Project, command: Command) -> Command | None:
    """Return what is recorded under a command's id if nothing is left to start: it has ended, or its runner is there."""
    now = recorded(world, command.id)
    if now is None or now.state is CommandState.PENDING:
        return None
    if now.state in OPEN and not world.cluster.advance(project, now.id, wait=0).found:
        return None  # whoever was to start it died first, or is about to
    return now


def recorded(world: World, id: str) -> Command | None:
    """Return a command as it is recorded now, None if it is not."""
    return next((each for each in world.store.find_commands(id) if each.id == id), None)


def intend(world: World, project: Project, command: Command, work: Work, *, alone: bool = False) -> None:
    """Record a command that a job will start: whoever looks finds it, pending. `alone` keeps the work tree for it, as `start` does."""
    try:
        with world.store.transaction() as tx:
            known.still(tx, project)
            if alone:
                tx.take(f"workspace:{project.id}", owner=command.id, seconds=366 * 86400)
            tx.put_command(replace(command, state=CommandState.PENDING))
            tx.put_job(work)
            tx.append("command.requested", command.id, _facts(command))
    except Conflict as e:
        if e.code == "BUSY" and str(e.context["owner"]).startswith("cmd_"):
            raise busy(project, str(e.context["owner"])) from e
        raise


def _facts(command: Command) -> dict[str, Any]:
    return {"project": command.project, "kind": command.kind, "argv": _brief(command.argv), "agent": command.agent}


def busy(project: Project, other: str) -> Conflict:
    """Return what to say to whoever wants a work tree that an agent has."""
    return Conflict(
        f"an agent already works on {project.session_id or project.name}: {other}",
        hint=f"rdev command attach {other} follows it, rdev command cancel {other} ends it",
        code="BUSY",
        command=other,
    )


def _brief(argv: Sequence[str]) -> list[str]:
    return [part if len(part) <= 200 else part[:197] + "..." for part in argv[:20]] + (["..."] if len(argv) > 20 else [])


def revive(world: World, project: Project) -> tuple[str, ...]:
    """Make a pod that is missing again, from the repository; return words about it for people."""
    if world.cluster.pod_present(project):
        return ()
    from rdev_cli.domain.session import Purpose, Session  # noqa: PLC0415 -- the rare case
    from rdev_cli.ops.ensure import lease  # noqa: PLC0415 -- likewise

    its = world.store.find(Session, project.session_id) if project.session_id else None
    if its is not None and its.purpose is Purpose.CHECKS:
        # made again it would hold nothing of what ran in it before
        raise Unavailable(f"the pod of the checks {its.id} is gone", hint="begin them again", code="POD_GONE", session=its.id)
    with lease(world, f"session:{project.session_id}" if project.session_id else f"project:{project.name}"):
        with world.store.transaction() as tx:
            known.still(tx, project)
        if world.cluster.pod_present(project):
            return ()  # somebody else made it while this one waited
        world.cluster.ensure_pod(project)
        kept = world.cluster.pod_present(project)  # then its work tree outlived it
        if not kept:
            workspaces.bring_in(world, project, fresh=True)
    return (f"the pod of {project.target} was gone; it was made again {'over its work tree' if kept else 'from the repository'}",)


@operation("command.attach", Scope.PROJECTS_READ)
def follow(
    world: World, command: Command, *, after: tuple[int, int] = (-1, -1), wait: float, own: bool = False
) -> tuple[Command, Progress]:
    """Follow a command's output from any byte on, and return its outcome.

    Any number may follow one command, and go on where they left off; whoever follows leaves it running. Output is kept for 7 days.
    OutcomeUnknown if its project was deleted before anybody saw its end.
    """
    # One page: brings the spool up to date, waits at most `wait` seconds for news (bytes beyond `after`: stdout, stderr), and
    # settles the command once its outcome is known. Each event of an agent is told to the journal once. `own`: the caller started
    # it, so that it is lost if there is no trace of it; anybody else waits for its starter.
    if command.state not in OPEN:
        return command, Progress(stdout=command.stdout_bytes, stderr=command.stderr_bytes, outcome=settling.told(command))
    project = known.place(world, command)
    if project is None:
        raise settling.forgotten(command)
    if command.state is CommandState.PENDING:  # no runner knows of it yet
        now = recorded(world, command.id)
        if now is None:
            raise settling.forgotten(command)
        if now.state is CommandState.PENDING:
            world.stop.wait(min(wait, 0.2))
            return now, Progress(stdout=0, stderr=0)
        return follow(world, now, after=after, wait=wait, own=own)
    progress = world.cluster.advance(project, command.id, after=after, wait=wait)
    if command.kind is CommandKind.AGENT:
        settling.tell(world, command)
    if progress.outcome is not None:
        command = settling.settle(world, project, command, progress, own=own)
        if command.state in OPEN:  # somebody is about to start it
            progress = replace(progress, outcome=None)
            world.stop.wait(min(wait, 0.05))
    return command, progress


def reconcile(world: World, project: str = "") -> None:
    """Settle what ended while nobody looked."""
    for command in world.store.commands(project=project, states=OPEN, limit=1000):
        with suppress(OutcomeUnknown):  # deleted just now: there is nothing left to settle
            follow(world, command, wait=0)


@operation("command.list", Scope.PROJECTS_READ)
def list_(world: World, *, project: str = "", session: str = "", running: bool = False, before: str = "", limit: int = 50) -> Page[Command]:
    """List commands, newest first.

    Brings up to date what ended while nobody looked, and forgets output that is too old to be kept.
    """
    # a page of those older than `before` (an id), whose `next` is what to give as `before`
    if project:
        known.project(world, project)
    if session:
        session = known.session(world, session).id
    try:
        reconcile(world, project)
        _sweep(world)
    except Unavailable as e:
        if e.code != "STATE_UNWRITABLE":  # where nothing can be written, what is there can be read
            raise
    found = world.store.commands(project=project, session=session, states=OPEN if running else (), before=before, limit=limit + 1)
    return Page(tuple(found[:limit]), found[limit - 1].id if len(found) > limit else None)


def _sweep(world: World) -> None:
    world.spool.sweep(lambda: [c.id for c in world.store.commands(states=OPEN, limit=1000)])


def newest(world: World, project: str) -> Command:
    """Return the newest command of a project or a session; NotFound if it has run none."""
    which = {"session": project} if project.startswith("ses_") else {"project": project}
    found = list_(world, **which, limit=1).items  # type: ignore[arg-type]
    if not found:
        raise NotFound(f"no command has run in {project} yet", hint=f"rdev exec {project} -- ls", project=project)
    return found[0]


@operation("command.show", Scope.PROJECTS_READ)
def show(world: World, command: str) -> Command:
    """Show one command and its outcome."""
    return follow(world, known.command(world, command), wait=0)[0]


@operation("command.output", Scope.PROJECTS_READ)
def output(world: World, command: Command, *, offset: int = 0, stderr_offset: int = 0) -> CommandOutput:
    """Show what a command printed so far.

    A document holds at most 1 MiB of each stream, from a byte on, and says from which bytes to go on.
    """
    from rdev_cli.domain.output import PAGE, with_output  # noqa: PLC0415 -- who follows a command needs no document

    out, err = (world.spool.read(command.id, stream, at, PAGE + 1) for stream, at in (("out", offset), ("err", stderr_offset)))
    return with_output(command, out, err, offset=offset, stderr_offset=stderr_offset)


@operation("command.cancel", Scope.PROJECTS_EXECUTE)
def cancel(world: World, command: str, *, wait: float = GRACE + 5.0) -> Command:
    """Stop a command: TERM to its whole group, five seconds of grace, then KILL.

    A command that has ended stays as it is.
    """
    # waits at most `wait` seconds for its end
    found = known.command(world, command, whole=True)
    return _end(world, found, wait)


def ask_to_stop(world: World, command: Command) -> None:
    """Ask a running command to stop and wait for nothing; one that still waits to be started never is."""
    if command.state is CommandState.PENDING and settling.withdraw(world, command, CommandState.CANCELLED).state is CommandState.CANCELLED:
        return
    project = known.place(world, command)
    if project is not None:
        world.cluster.stop(project, command.id, "cancelled")


def _end(world: World, command: Command, wait: float) -> Command:
    command, _ = follow(world, command, wait=0)
    end = world.clock.monotonic() + wait
    seen, asked = (-1, -1), -1.0
    while command.state in OPEN and (now := world.clock.monotonic()) < end:
        if now - asked >= 0.2:  # again and again: one that is only just starting hears nothing yet, and the first word counts
            ask_to_stop(world, command)
            asked = now
        command, progress = follow(world, command, after=seen, wait=0.2)
        seen = progress.stdout, progress.stderr
    return command


def end_all(world: World, project: Project) -> None:
    """Stop everything that runs in a project or in a session, and forget what a project's commands printed."""
    which = {"session": project.session_id} if project.session_id else {"project": project.name}
    for command in world.store.commands(**which, states=OPEN, limit=1000):
        ask_to_stop(world, command)
    for command in world.store.commands(**which, states=OPEN if project.session_id else (), limit=1_000_000):
        if command.state in OPEN:
            _end(world, command, GRACE + 5.0)
        if not project.session_id:
            world.spool.drop(command.id)
