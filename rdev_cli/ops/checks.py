"""Checks in a clean pod: steps are run on one commit, in a pod that nothing else has touched and that ends with them."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from rdev_cli.domain.command import OPEN, CommandKind, CommandState, ExecSpec, Launch, befell
from rdev_cli.domain.errors import Invalid, NotFound, OutcomeUnknown, RdevError, Unavailable
from rdev_cli.domain.review import Checked, CheckRun, Verdict
from rdev_cli.domain.session import Purpose, SessionSpec
from rdev_cli.domain.steps import FILE, ordered
from rdev_cli.domain.steps import declared as declared_in
from rdev_cli.domain.values import shown
from rdev_cli.ops import commands, known, sessions, workspaces
from rdev_cli.ports.timing import LONG_RUNNING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rdev_cli.domain.command import Command, Progress
    from rdev_cli.domain.project import Project
    from rdev_cli.domain.review import Step
    from rdev_cli.domain.session import Session
    from rdev_cli.ports import World

LIMIT = 3600  # seconds that all steps of a run may take together, unless its caller says otherwise
_HEX = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_BLOCK = 1 << 20  # bytes of an output that are hashed at once
_EMPTY = hashlib.sha256(b"").hexdigest()


class Audience(Protocol):
    """Whoever looks on while checks are run."""

    def noted(self, notes: Sequence[str]) -> None:
        """Hear, before anything is run, what is not run as it is written."""
        ...

    def began(self, step: str, line: str, command: Command) -> None:
        """Hear that a line has begun."""
        ...

    def came(self, command: Command, progress: Progress) -> None:
        """Hear how far it has come, again and again, and the last time when it has ended."""
        ...

    def ended(self, run: CheckRun) -> None:
        """Hear what came of a line; of one that was not run this alone."""
        ...


def declared(world: World, project: Project, commit: str) -> Sequence[Step]:
    """Return the checks that a project declares in its .rdev.yaml at a commit, in the order in which they are run; none if it declares none.

    It is foreign text: Invalid says where it is not what it should be.
    """
    where = f"{FILE} at {commit[:10]}"
    found = world.forge.read(project, commit, FILE)
    return () if found is None else declared_in(world.foreign_yaml(found, where), where)


def sha(text: str) -> str:
    """Return text if it is the whole id of a commit, else raise Invalid."""
    if not _HEX.fullmatch(text):
        raise Invalid(f"'{shown(text)}' is no commit", hint="give its whole SHA: rdev git PROJECT -- log", field="commit")
    return text


def at(world: World, project: Project, *, branch: str = "", commit: str = "") -> str:
    """Return the commit that is meant: the one given if the repository has it, else the newest of a branch (the project's by default)."""
    if commit:
        if world.forge.commit(project, sha(commit)) is None:
            raise NotFound(
                f"the repository of {project.name} has no commit {commit[:10]}",
                hint=f"rdev project sync {project.name} brings the work tree's commits there",
                project=project.name,
            )
        return commit
    wanted = branch or project.branch
    found = world.forge.find_branch(project, wanted)
    if not found:
        raise NotFound(
            f"the repository of {project.name} has no branch {shown(wanted)}",
            hint=f"rdev branch list {project.name} shows the ones there are",
            project=project.name,
            branch=wanted,
        )
    return found


def run(
    world: World, project: Project, commit: str, steps: Sequence[Step], *, tell: Audience | None = None, limit_seconds: int = LIMIT
) -> Checked:
    """Run steps on a commit, one after the other, in a pod that is made for them and ends with them, and return what they came to.

    A step whose `depends_on` did not all pass is not run; neither is what is left when the time is over. Whatever a step does, its
    verdict is in what is returned: raised is only what kept the checks from being made, and a stop, after which nothing is left behind.
    """
    steps, began = ordered(steps, "checks"), world.clock.monotonic()
    lives = limit_seconds + 2 * int(LONG_RUNNING)
    session = sessions.start(
        world, SessionSpec(project=project.name, purpose=Purpose.CHECKS, commit=commit, idle_seconds=lives, ttl_seconds=lives)
    )
    notes: tuple[str, ...] = ()
    try:
        checking = _Checking(world, session, tell, end=began + limit_seconds)
        checking.begin(commit)
        for step in steps:
            checking.step(step)
        image = world.cluster.image(checking.place)
    finally:
        # whatever was found out counts, though the pod may still stand: the sweeper goes on with its end
        notes = _end(world, session)
    passed = all(run.exit_code == 0 and not run.reason for run in checking.runs)
    checked = Checked(
        project=project.name,
        commit=commit,
        tree=world.forge.tree(project, commit),
        image=image,
        verdict=Verdict.PASSED if passed else Verdict.FAILED,
        runs=tuple(checking.runs),
        duration_ms=round((world.clock.monotonic() - began) * 1000),
        notes=notes,
    )
    facts = {"session": session.id, "commit": commit, "verdict": checked.verdict.value, "failed": sorted(checking.failed)}
    with world.store.transaction() as tx:
        known.still(tx, project)
        tx.append("checks.ended", project.name, {"project": project.name, **facts})
    return checked


def _end(world: World, session: Session) -> tuple[str, ...]:
    try:
        sessions.end(world.unstopped(), session.id, reason="ended")
    except RdevError as e:
        return (f"the pod of the checks is still to be removed: {e.message}; rdev session end {session.id} goes on with it",)
    return ()


@dataclass(frozen=True, slots=True)
class _Line:
    """A line that is being run."""

    step: Step
    text: str

    @property
    def argv(self) -> tuple[str, ...]:
        # of several lines in one shell nobody could tell which one failed
        return ("sh", "-exc" if "\n" in self.text else "-ec", self.text)


class _Checking:
    """The steps of one run, as they come to their ends."""

    def __init__(self, world: World, session: Session, tell: Audience | None, *, end: float) -> None:
        self._world, self._session, self._tell, self._end = world, session, tell, end
        self.place = sessions.place(world, session)
        self.runs: list[CheckRun] = []
        self.failed: set[str] = set()

    def begin(self, commit: str) -> None:
        """Make sure that what is checked is what is asked about."""
        found = workspaces.head(self._world, self.place)
        if found != commit:
            raise Unavailable(
                f"the pod of the checks has {found[:10] or 'no commit'}, and not {commit[:10]}",
                hint="try again",
                code="NOT_CLEAN",
                commit=commit,
            )

    def step(self, step: Step) -> None:
        """Run the lines of a step until one fails."""
        good = not self.failed.intersection(step.depends_on)
        if not good:
            self.failed.add(step.name)
        for text in step.lines:
            run = self._line(_Line(step, text)) if good else _skipped(step, text)
            self.runs.append(run)
            if self._tell is not None:
                self._tell.ended(run)
            if good and (run.exit_code != 0 or run.reason):
                good = False
                self.failed.add(step.name)

    def _line(self, one: _Line) -> CheckRun:
        world, left = self._world, int(self._end - self._world.clock.monotonic())
        world.stop.check("the checks")
        if left < 1:
            return replace(_skipped(one.step, one.text), reason="timeout")
        spec = ExecSpec(project=self._session.id, argv=one.argv, kind=CommandKind.SHELL, timeout_seconds=left)
        place, command = commands.planned(world, spec)
        launch = Launch(
            id=command.id,
            argv=spec.argv,
            environment=(("CI", "true"), *one.step.environment),
            limit_seconds=left,
            network=command.network,
        )
        command = commands.start(world, place, command, launch).command
        if self._tell is not None:
            self._tell.began(one.step.name, one.text, command)
        command = self._followed(command)
        if command.state is CommandState.LOST:  # it did not fail, and nobody can say that it passed
            raise OutcomeUnknown(
                f"{command.id} ended without a record{f': {befell(command)}' if command.cause else ''}",
                hint="begin the checks again",
                command=command.id,
                cause=command.cause,
            )
        return CheckRun(
            step=one.step.name,
            line=one.text,
            command=command.id,
            exit_code=command.exit_code,
            reason=command.reason,
            duration_ms=command.duration_ms or 0,
            stdout_sha256=output_hash(world, command.id, "out"),
            stderr_sha256=output_hash(world, command.id, "err"),
        )

    def _followed(self, command: Command) -> Command:
        """Follow a command to its end; a stop, and whatever else keeps it from being followed, ends it."""
        world, seen = self._world, (-1, -1)
        try:
            while True:
                command, progress = commands.follow(world, command, after=seen, wait=0.2, own=True)
                seen = progress.stdout, progress.stderr
                if self._tell is not None:
                    self._tell.came(command, progress)
                if command.state not in OPEN:
                    return command
                world.stop.check("the checks")
        except BaseException:
            if command.state in OPEN:
                commands.ask_to_stop(world, command)
            raise


def _skipped(step: Step, text: str) -> CheckRun:
    return CheckRun(
        step=step.name, line=text, command="", exit_code=None, reason="skipped", duration_ms=0, stdout_sha256=_EMPTY, stderr_sha256=_EMPTY
    )


def output_hash(world: World, command: str, stream: str) -> str:
    """Return the SHA-256 (hex) of what is kept of a command's stream (`out` or `err`)."""
    summed, offset = hashlib.sha256(), 0
    while block := world.spool.read(command, stream, offset, _BLOCK):
        summed.update(block)
        offset += len(block)
    return summed.hexdigest()


def came_to(run: CheckRun) -> str:
    """Return in a word or two what came of a line."""
    if run.reason:
        return {"skipped": "not run: a step before it failed", "timeout": "stopped at the time limit", "lost": "lost"}.get(
            run.reason, run.reason
        )
    return "passed" if run.exit_code == 0 else f"exit code {run.exit_code}"
