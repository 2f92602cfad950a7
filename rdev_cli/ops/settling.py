"""Settling: what a command ended with is recorded once, whoever sees it first; an agent's commit is delivered before."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from rdev_cli.domain.command import OPEN, Command, CommandKind, CommandState, Ending, Outcome, Progress
from rdev_cli.domain.errors import Conflict, OutcomeUnknown, RdevError, Unavailable
from rdev_cli.domain.job import WAITING
from rdev_cli.ops import known, workspaces
from rdev_cli.ports.timing import LONG_RUNNING

if TYPE_CHECKING:
    from datetime import datetime

    from rdev_cli.domain.project import Project
    from rdev_cli.ports import World


def starting(command: Command) -> str:
    """Return the name of the lease that the starter of a command holds; it ends with the process, or when the command is settled."""
    return f"start:{command.id}"


def withdraw(world: World, command: Command, state: CommandState) -> Command:
    """End a command that still waits to be started, as cancelled or failed; one that was started stays as it is."""
    with world.store.transaction() as tx:
        now = tx.find_command(command.id) or command
        if now.state is not CommandState.PENDING:
            return now
        ended = world.clock.now()
        now = replace(
            now,
            state=state,
            reason="cancelled" if state is CommandState.CANCELLED else "setup",
            ended_at=ended,
            duration_ms=max(0, round((ended - now.created_at).total_seconds() * 1000)),
        )
        tx.put_command(now)
        tx.release(f"workspace:{now.place_id}", now.id)
        facts = {"project": now.project, "exit_code": None, "reason": now.reason, "duration_ms": now.duration_ms}
        tx.append(f"command.{state.value}", now.id, facts)
        if state is CommandState.CANCELLED:
            tx.drop_job(now.id)
    return now


def forgotten(command: Command) -> OutcomeUnknown:
    """Return what is said of a command that went with its project."""
    return OutcomeUnknown(
        f"{command.id} was forgotten with its project {command.project}, before its end was recorded",
        hint=f"rdev events --subject {command.id} shows what is known of it",
        command=command.id,
    )


def tell(world: World, command: Command) -> None:
    """Tell the journal what an agent has said since the last time."""
    from rdev_cli.ops import telling  # noqa: PLC0415 -- only agents have something to tell

    telling.tell(world, command)


def told(command: Command) -> Outcome:
    """Return the outcome that a command's record tells."""
    words = {"timeout": Ending.TIMEOUT, "cancelled": Ending.CANCELLED, "setup": Ending.SETUP, "stdin": Ending.STDIN, "lost": Ending.LOST}
    return Outcome(
        code=-1 if command.exit_code is None else command.exit_code,
        ending=words.get(command.reason, Ending.EXITED),
        truncated=command.truncated,
        cause=command.cause,
    )


_STATES = {
    Ending.CANCELLED: CommandState.CANCELLED,
    Ending.TIMEOUT: CommandState.FAILED,
    Ending.SETUP: CommandState.FAILED,
    Ending.STDIN: CommandState.LOST,
    Ending.LOST: CommandState.LOST,
}


def settle(world: World, project: Project, command: Command, progress: Progress, *, own: bool = False) -> Command:
    """Record a command's outcome; whoever comes second changes nothing. An agent's commit is delivered first.

    Returns it still open if it is not lost but about to be started by somebody.
    """
    outcome = progress.outcome
    assert outcome is not None
    good = outcome.ending is Ending.EXITED and outcome.code == 0
    ended = outcome.at or world.clock.now()
    commit, branch, trouble = "", "", ""
    if command.kind is CommandKind.AGENT:
        tell(world, command)
        if good:
            commit, branch, trouble = _deliver(world, project, command)
    try:
        return _record(world, project, command, progress, own=own, delivered=(commit, branch, trouble), ended=ended)
    except Unavailable as e:
        raise Unavailable(
            f"{command.id} has ended, but that cannot be recorded: {e.message}",
            hint=f"see to that, then: rdev command attach {command.id}",
            code=e.code,
            command=command.id,
        ) from e


def _record(
    world: World, project: Project, command: Command, progress: Progress, *, own: bool, delivered: tuple[str, str, str], ended: datetime
) -> Command:
    outcome = progress.outcome
    assert outcome is not None
    good = outcome.ending is Ending.EXITED and outcome.code == 0
    commit, branch, trouble = delivered
    with world.store.transaction() as tx:
        now = tx.find_command(command.id)
        if now is None and outcome.ending is Ending.LOST:
            raise forgotten(command)
        if now is not None and now.state not in OPEN:
            return now
        if not (progress.found or own):
            if (job := tx.find_job(command.id)) is not None and job.state in WAITING:
                return command  # whoever does the job starts it, or goes on to
            try:
                tx.take(starting(command), owner=world.new_id("own"), seconds=LONG_RUNNING)
            except Conflict:
                return command  # its starter lives
        settled = replace(
            now or command,
            state=_STATES.get(outcome.ending, CommandState.COMPLETED if good else CommandState.FAILED),
            exit_code=outcome.code if outcome.ending not in (Ending.LOST, Ending.SETUP) else None,
            reason="undelivered" if trouble else "" if outcome.ending is Ending.EXITED else outcome.ending.value,
            cause=outcome.cause,
            ended_at=ended,
            duration_ms=max(0, round((ended - command.created_at).total_seconds() * 1000)),
            stdout_bytes=progress.stdout,
            stderr_bytes=progress.stderr,
            truncated=outcome.truncated,
            commit=commit,
            delivered=branch,
        )
        if now is None:
            return settled  # forgotten with its project, but this caller saw how it ended
        tx.put_command(settled)
        if settled.session_id:
            known.touched(tx, settled.session_id, ended)
        tx.forget(starting(command))
        tx.release(f"workspace:{project.id}", command.id)
        facts = {"project": project.name, "exit_code": settled.exit_code, "reason": settled.reason, "duration_ms": settled.duration_ms}
        if settled.cause:
            facts["cause"] = settled.cause
        tx.append(f"command.{settled.state.value}", command.id, facts)
        if commit or trouble:
            tx.append("commit.delivered" if commit else "commit.kept", command.id, {"commit": commit, "branch": branch, "trouble": trouble})
    return settled


def delivered(world: World, project: Project, command: Command) -> Command:
    """Bring a commit that was made after a command's end to the forge, and record it with the command."""
    commit, branch, trouble = _deliver(world, project, command)
    if not commit and not trouble:
        return command
    with world.store.transaction() as tx:
        now = replace(tx.find_command(command.id) or command, commit=commit, delivered=branch, reason="undelivered" if trouble else "")
        tx.put_command(now)
        tx.append("commit.delivered" if commit else "commit.kept", command.id, {"commit": commit, "branch": branch, "trouble": trouble})
    return now


def _deliver(world: World, project: Project, command: Command) -> tuple[str, str, str]:
    """Return (commit, the branch it reached, what kept it back)."""
    try:
        sha, where = workspaces.deliver(world, project, command.id)
    except RdevError as e:
        # the commit stays in the pod; the next run's delivery takes it along
        return "", "", e.message
    return (sha, where.branch, "") if where is not None else ("", "", "")
