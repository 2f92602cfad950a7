"""Jobs: what was asked for by somebody who does not wait is recorded, done by a loop, and gone on with after a crash."""

from __future__ import annotations

import base64
import binascii
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from rdev_cli.domain.agent import AgentSpec
from rdev_cli.domain.answers import Problem
from rdev_cli.domain.checkin import CheckinSpec
from rdev_cli.domain.codec import document, plain
from rdev_cli.domain.command import CommandKind, CommandState, ExecSpec
from rdev_cli.domain.errors import Cancelled, Conflict, Invalid, NotFound, RdevError, Unavailable
from rdev_cli.domain.job import Job, JobState, Work
from rdev_cli.domain.page import Page
from rdev_cli.domain.project import ProjectSpec
from rdev_cli.domain.session import Session, SessionSpec
from rdev_cli.ops import agents, checkins, ci, commands, contexts, gc, keys, known, pool, projects, receipts, sessions, settling
from rdev_cli.ops.ledger import Scope, operation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from rdev_cli.domain.access import Grant
    from rdev_cli.domain.lease import Lease
    from rdev_cli.ports import World

HELD = 90.0  # seconds that a job stays its runner's without a word from it
BEAT = 20.0  # seconds between two words
ATTEMPTS = 5  # a job during which so many runners died is given up: it may be what kills them


def exec_spec(request: Mapping[str, Any]) -> ExecSpec:
    """Return what a request for a command means: `argv` of exec and git, or the `line` of a shell; Invalid if it makes no sense."""
    kind = CommandKind(request.get("kind", "exec"))
    argv = tuple(request.get("argv", ()))
    if kind is CommandKind.SHELL:
        argv = ("sh", "-c", request["line"])
    elif kind is CommandKind.GIT:
        argv = ("git", "--no-pager", *argv)
    return ExecSpec(
        project=request["project"],
        argv=argv,
        kind=kind,
        stdin=_stdin(request) is not None,
        timeout_seconds=request.get("timeout_seconds", 0),
        network=request.get("network", True),
    )


def _stdin(request: Mapping[str, Any]) -> bytes | None:
    if request.get("stdin_b64") is not None:
        try:
            return base64.b64decode(request["stdin_b64"], validate=True)
        except (binascii.Error, ValueError) as e:
            raise Invalid("stdin_b64 is not base64", hint="encode it, or give text as stdin", field="stdin_b64") from e
    return None if request.get("stdin") is None else str(request["stdin"]).encode("utf-8", "replace")


def agent_spec(request: Mapping[str, Any]) -> AgentSpec:
    """Return what a request for an agent's run means; the agent's variables are never in it."""
    return AgentSpec(
        project=request["project"],
        prompt=request["prompt"],
        agent=request.get("agent", ""),
        model=request.get("model", ""),
        tools=tuple(request.get("tools", ())),
        resume=request.get("resume", ""),
        timeout_seconds=request.get("timeout_seconds", 0),
        commit=request.get("commit", True),
        network=request.get("network", True),
    )


def session_spec(request: Mapping[str, Any]) -> SessionSpec:
    """Return what a request for a session means; nobody asks for one of rdev's own."""
    words = ("project", "branch", "agent", "idle_seconds", "ttl_seconds")
    return SessionSpec(**{word: request[word] for word in words if word in request})


def project_spec(request: Mapping[str, Any]) -> ProjectSpec:
    """Return what a request for a project means."""
    words = ("name", "description", "source", "network", "agent", "model")
    return ProjectSpec(**{word: request[word] for word in words if word in request})


def checkin_spec(request: Mapping[str, Any]) -> CheckinSpec:
    """Return what a request for a check-in means."""
    words = ("session", "checkout", "message", "merge")
    return CheckinSpec(**{word: request[word] for word in words if word in request})


def _checked_in(world: World, request: Mapping[str, Any]) -> str:
    spec = checkin_spec(request)
    found = known.session(world, spec.session, whole=True) if spec.session else known.checkout(world, spec.checkout, whole=True)
    return found.project


@dataclass(frozen=True, slots=True, kw_only=True)
class _Way:
    """How an operation is done for somebody who does not wait."""

    project: Callable[[World, Mapping[str, Any]], str]  # checks the request, and says which project it is about
    do: Callable[[World, Mapping[str, Any]], Any]  # may be repeated, and goes on
    over: Callable[[World, Job, RdevError], Any] | None = None  # what a repeat's error means, if the first was cut off after its end


def _named(world: World, request: Mapping[str, Any]) -> str:
    return known.project(world, request["project"]).name


def _deleted(world: World, job: Job, error: RdevError) -> Any:
    if not isinstance(error, NotFound) or world.store.find_project(job.project) is not None:
        raise error
    return None


def _adopted(world: World, job: Job, error: RdevError) -> Any:
    found = world.store.find_project(job.project)
    if found is None or found.state.value != "ready" or found.created_at < job.created_at:
        raise error
    return found


def _collect(world: World, request: Mapping[str, Any]) -> Any:
    return gc.collect(world, request.get("reviewed", ()), allow=request.get("allow", 0))


def _piped(world: World, request: Mapping[str, Any]) -> Any:
    return ci.run(world, request["project"], branch=request["branch"], commit=request["commit"], limit_seconds=request["timeout_seconds"])


_WAYS: Mapping[str, _Way] = {
    "project.create": _Way(project=lambda _, r: project_spec(r).name, do=lambda w, r: projects.create(w, project_spec(r))),
    "project.sync": _Way(project=_named, do=lambda w, r: projects.sync(w, r["project"])),
    "project.delete": _Way(project=_named, do=lambda w, r: projects.delete(w, r["project"]), over=_deleted),
    # a pod's name may stand for the project, which is nobody's record yet
    "project.adopt": _Way(
        project=lambda w, r: projects.plan_adopt(w, r["project"]).project, do=lambda w, r: projects.adopt(w, r["project"]), over=_adopted
    ),
    "checkin.run": _Way(project=_checked_in, do=lambda w, r: checkins.run(w, checkin_spec(r))),
    "session.end": _Way(
        project=lambda w, r: known.session(w, r["session"], whole=True).project,
        do=lambda w, r: sessions.end(w, r["session"], discard=r.get("discard", False)),
    ),
    "ci.run": _Way(project=lambda w, r: ci.planned(w, r["project"], branch=r["branch"], commit=r["commit"])[0].name, do=_piped),
    "receipt.replay": _Way(
        project=lambda w, r: known.receipt(w, r["receipt"]).project,
        do=lambda w, r: receipts.replay(w, r["receipt"], limit_seconds=r["timeout_seconds"]),
    ),
    "gc.collect": _Way(project=lambda *_: "", do=_collect),
    "pool.fill": _Way(project=lambda w, r: pool.asked(w, r.get("size", 0)), do=lambda w, r: pool.fill(w, r.get("size", 0))),
    "pool.drain": _Way(project=lambda *_: "", do=lambda w, _: pool.drain(w)),
    "context.test": _Way(project=lambda *_: "", do=lambda w, _: contexts.prove(w)),
}
_COMMANDS = ("command.run", "agent.run")
_SESSION = "session.start"
OPERATIONS = (*_COMMANDS, _SESSION, *_WAYS)


def submit(world: World, operation: str, request: Mapping[str, Any]) -> Job:
    """Record that an operation (its ledger name) shall be done with the caller's rights, and return its job; nothing is waited for.

    `request` is plain data: `exec_spec`, `agent_spec` and `project_spec` say which. A command's or a session's job has its id, and
    its record is written with it, pending or starting. Raises what can be refused at once: Invalid, NotFound, Conflict.
    """
    if operation in _COMMANDS:
        return _submit_command(world, operation, request)
    if operation == _SESSION:
        return _submit_session(world, request)
    id, about = world.new_id("opn"), _WAYS[operation].project(world, request)
    if (met := world.store.find_job(id)) is not None:
        return met
    job = _job(world, id, operation, about)
    with world.store.transaction() as tx:
        tx.put_job(Work(job=job, request=request, grant=world.grant))
        tx.append("operation.requested", id, {"operation": operation, "project": about})
    return job


def _submit_command(world: World, operation: str, request: Mapping[str, Any]) -> Job:
    id, agent = world.new_id("cmd"), operation == "agent.run"
    if (was := commands.recorded(world, id)) is not None:  # a repeat meets what the first one made
        return world.store.find_job(id) or replace(_job(world, id, operation, was.project), state=JobState.DONE)
    if agent:
        plan = agents.planned(world, agent_spec(request), id=id)
        commands.reconcile(world, plan.project.name)
        project, command = plan.project, plan.command
    else:
        project, command = commands.planned(world, exec_spec(request), id=id)
    job = _job(world, id, operation, project.name)
    commands.intend(world, project, command, Work(job=job, request=request, grant=world.grant), alone=agent)
    return job


def _submit_session(world: World, request: Mapping[str, Any]) -> Job:
    id = world.new_id("ses")
    if (was := world.store.find(Session, id)) is not None:
        return world.store.find_job(id) or replace(_job(world, id, _SESSION, was.project), state=JobState.DONE)
    project, session = sessions.planned(world, session_spec(request), id)
    job = _job(world, id, _SESSION, project.name)
    with world.store.transaction() as tx:
        sessions.request(tx, world, session)
        tx.put_job(Work(job=job, request=request, grant=world.grant))
    return job


def _job(world: World, id: str, operation: str, project: str) -> Job:
    return Job(
        id=id, operation=operation, project=project, state=JobState.PENDING, actor=world.actor, created_at=world.clock.now()
    )  # fmt: skip


@operation("operation.show", Scope.PROJECTS_READ)
def show(world: World, operation: str) -> Job:
    """Show an operation that was asked for over HTTP: how it stands, and its answer or its error.

    What became of one is kept for 7 days. A command's or a session's is here only if it could not be started: its own show has the rest.
    """
    found = world.store.find_job(operation)
    if found is None:
        raise NotFound(f"there is no operation {operation}", hint="rdev operation list shows the ones there are", operation=operation)
    return found


@operation("operation.list", Scope.PROJECTS_READ)
def list_(world: World, *, before: str = "", limit: int = 50) -> Page[Job]:
    """List operations that were asked for over HTTP, newest first."""
    # a page of those older than `before` (an id), whose `next` is what to give as `before`
    found = world.store.jobs(before=before, limit=limit + 1)
    return Page(tuple(found[:limit]), found[limit - 1].id if len(found) > limit else None)


def run_one(world: World, acting: Callable[[Grant], World]) -> bool:
    """Do one job that waits, or go on with one whose runner died; return whether there was any.

    `world` is the server's own; `acting` gives the world of whoever asked. Any number of threads and processes may call it: a job
    is one's at a time. Raises nothing that the job's answer tells; a stop of the world gives the job back, for the next start.
    """
    taken = _claim(world)
    if taken is None:
        return False
    work, held, again = taken
    there = acting(work.grant)
    with _alive(world, held):
        try:
            if not again:
                keys.standing(world, work.grant)  # what was begun before its key was revoked goes on, what only waited is refused
            ended = _done(there, work, again=again, attempt=held.attempt)
        except Cancelled as e:
            if not world.stop.is_set():
                ended = _failed(there, work, e)
            else:  # the server goes: whatever was begun is undone or goes on, and the next start does it
                with world.store.transaction() as tx:
                    tx.hold(held, HELD)
                    tx.put_job(replace(work, job=replace(work.job, state=JobState.PENDING)))
                    tx.forget(held.name)
                return True
        except RdevError as e:
            ended = _failed(there, work, e)
        except Exception:
            wrong = RdevError("rdev failed", hint="the log of rdev serve says where", code="INTERNAL")
            _record(there, held, _failed(there, work, wrong))
            raise
    _record(there, held, ended)
    return True


def _claim(world: World) -> tuple[Work, Lease, bool] | None:
    if not world.store.jobs_wait():  # nothing is written while nothing waits
        return None
    owner = world.new_id("own")
    with world.store.transaction() as tx:
        for work in tx.waiting_jobs():
            try:
                held = tx.take(f"job:{work.job.id}", owner=owner, seconds=HELD)
            except Conflict:
                continue
            running = replace(work, job=replace(work.job, state=JobState.RUNNING))
            tx.put_job(running)
            return running, held, work.job.state is JobState.RUNNING
    return None


@contextmanager
def _alive(world: World, held: Lease) -> Iterator[None]:
    """Prolong a lease while the block runs; one that is lost is told when the end is recorded."""
    over = threading.Event()

    def beat() -> None:
        try:
            while not over.wait(BEAT):
                with suppress(Conflict, Unavailable), world.store.transaction() as tx:
                    tx.hold(held, HELD)
        finally:
            world.store.close()

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _done(world: World, work: Work, *, again: bool, attempt: int) -> Job | None:
    """Do a job and return it as it ended; None for a command or a session that was started, of which its own record tells."""
    job = work.job
    if attempt > ATTEMPTS:
        raise Conflict(f"{job.id} was given up: rdev serve died {ATTEMPTS} times while it was at it", hint="ask again", code="GIVEN_UP")
    if job.operation in _COMMANDS:
        _start(world, work)
        return None
    if job.operation == _SESSION:
        sessions.start(world, session_spec(work.request), id=job.id)
        return None
    way = _WAYS[job.operation]
    try:
        answer = way.do(world, work.request)
    except RdevError as e:
        if not again or way.over is None:
            raise
        answer = way.over(world, job, e)
    return replace(job, state=JobState.DONE, answer=plain(document(answer)), ended_at=world.clock.now())


def _start(world: World, work: Work) -> None:
    """Start a command that waits, and hand over its stdin; what a runner that died has started is only met again."""
    if work.job.operation == "agent.run":
        agents.run(world, agent_spec(work.request), id=work.job.id)
        return
    stdin = _stdin(work.request)
    given = commands.run(world, exec_spec(work.request), id=work.job.id).input
    if given is not None and stdin is not None:
        given.write(stdin)
        given.finish()


def _failed(world: World, work: Work, error: RdevError) -> Job:
    if work.job.operation in _COMMANDS and (found := commands.recorded(world, work.job.id)) is not None:
        settling.withdraw(world, found, CommandState.FAILED)
    if work.job.operation == _SESSION:
        with suppress(RdevError):  # what stays is swept
            sessions.end(world, work.job.id, reason="failed")
    problem = Problem(code=error.code, message=error.message, hint=error.hint, context=plain(error.context))
    return replace(work.job, state=JobState.FAILED, error=problem, ended_at=world.clock.now())


def _record(world: World, held: Lease, ended: Job | None) -> None:
    with world.store.transaction() as tx:
        tx.hold(held, HELD)
        if ended is None:
            tx.drop_job(held.name.partition(":")[2])
        else:
            tx.put_job(Work(job=ended, request={}, grant=world.grant))
            tx.append(f"operation.{ended.state.value}", ended.id, {"operation": ended.operation, "project": ended.project})
        tx.forget(held.name)
