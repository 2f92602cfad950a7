"""Receipts: what was checked on which tree, signed by a key of the project, and held against what rdev still has."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rdev_cli.domain.codec import plain
from rdev_cli.domain.errors import Conflict, Invalid, NotFound, RdevError, Unavailable
from rdev_cli.domain.page import Page
from rdev_cli.domain.receipt import canonical, parsed
from rdev_cli.domain.report import Check
from rdev_cli.domain.report import Verdict as Found
from rdev_cli.domain.review import Receipt, Replay, ReplayedRun, Signer, Step, Verdict
from rdev_cli.ops import checks, known
from rdev_cli.ops.ledger import Pace, Scope, operation

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rdev_cli.domain.project import Project
    from rdev_cli.domain.review import CheckRun, Finding
    from rdev_cli.domain.values import Secret
    from rdev_cli.ports import World


def write(
    world: World,
    project: Project,
    *,
    branch: str,
    target: str,
    base: str,
    commit: str,
    tree: str,
    diff_sha256: str,
    image: str,
    verdict: Verdict,
    checks: Sequence[CheckRun],
    findings: Sequence[Finding] = (),
    session: str = "",
    checkout: str = "",
    agent: str = "",
    model: str = "",
    input_tokens: int = 0,
    output_tokens: int = 0,
    id: str = "",
) -> Receipt:
    """Sign and keep a receipt, and return it; under an `id` that is kept already nothing is written, and that one is returned."""
    if id and (kept := world.store.find(Receipt, id)) is not None:
        return kept
    signer, key = _signing(world, project)
    bare = Receipt(
        id=id or world.new_id("rcp"), project=project.name, project_id=project.owner_id, session=session, checkout=checkout, branch=branch,
        target=target, base=base, commit=commit, tree=tree, diff_sha256=diff_sha256, image=image, verdict=verdict, checks=tuple(checks),
        findings=tuple(findings), agent=agent, model=model, input_tokens=input_tokens, output_tokens=output_tokens, actor=world.actor,
        created_at=world.clock.now(), signer=signer.public_key,
    )  # fmt: skip
    signed = replace(bare, signature=world.signing.sign(key, body(bare)))
    with world.store.transaction() as tx:
        known.still(tx, project)
        if (kept := tx.find(Receipt, signed.id)) is not None:
            return kept
        tx.put(signed)
        facts = {"project": project.name, "commit": commit, "verdict": verdict.value, "fields": digests(signed)}
        tx.append("receipt.written", signed.id, facts)
    return signed


def of(world: World, project: Project, commit: str, *, target: str) -> Receipt | None:
    """Return the newest receipt of a commit on its way to a branch, None if there is none."""
    which = {"project_id": project.owner_id, "commit": commit, "target": target}
    return next(iter(world.store.some(Receipt, of=which, limit=1)), None)


def body(receipt: Receipt) -> bytes:
    """Return what is signed: the canonical JSON of all but the signature."""
    told = plain(receipt)
    del told["signature"]
    return canonical(told)


def digests(receipt: Receipt) -> Mapping[str, str]:
    """Return a digest of each field, by which the journal can name the one that was changed."""
    return {name: hashlib.sha256(canonical(value)).hexdigest()[:32] for name, value in plain(receipt).items()}


# keys


def _signers(world: World, project: Project) -> Sequence[Signer]:
    """Return the keys that have signed for a project, the newest first."""
    return world.store.some(Signer, of={"project_id": project.owner_id})


def _signing(world: World, project: Project) -> tuple[Signer, Secret]:
    """Return the key that signs for a project now, made if there is none; one that is not what was recorded signs nothing."""
    vaults = world.house.vaults
    newest = next(iter(_signers(world, project)), None)
    if newest is not None and (key := vaults.at(newest.place).get(newest.id)) is not None:
        return _checked(world, newest, key)
    with vaults.alone():
        again = next(iter(_signers(world, project)), None)
        if again is not None and (key := vaults.at(again.place).get(again.id)) is not None:
            return _checked(world, again, key)
        key, public = world.signing.new_key()
        vault = vaults.chosen()
        made = Signer(
            id=world.new_id("sgn"), project=project.name, project_id=project.owner_id, public_key=public, place=vault.place,
            created_at=world.clock.now(),
        )  # fmt: skip
        vault.put({made.id: key})
        try:
            with world.store.transaction() as tx:
                known.still(tx, project)
                tx.put(made)
                tx.append("signer.created", made.id, {"project": project.name, "public_key": public})
        except RdevError:
            vault.drop(made.id)
            raise
    return made, key


def _checked(world: World, signer: Signer, key: Secret) -> tuple[Signer, Secret]:
    if world.signing.public(key) != signer.public_key:
        raise Unavailable(
            f"the key in the vault is not the one that signs for {signer.project}: one of the two was changed",
            hint="restore the vault, or the state, from a backup; nothing was signed",
            code="VAULT_DAMAGED",
            project=signer.project,
        )
    return signer, key


def forget(world: World, project: Project) -> None:
    """Forget the keys of a project that goes; what they signed goes with its record."""
    vaults = world.house.vaults
    if found := _signers(world, project):
        with vaults.alone():
            for one in found:
                vaults.at(one.place).drop(one.id)


# looking


@operation("receipt.list", Scope.PROJECTS_READ)
def list_(world: World, project: str, *, before: str = "", limit: int = 50) -> Page[Receipt]:
    """List the receipts of a project's check-ins, newest first."""
    # a page of those older than `before` (an id), whose `next` is what to give as `before`
    found = world.store.some(Receipt, project=known.project(world, project).name, before=before, limit=limit + 1)
    return Page(tuple(found[:limit]), found[limit - 1].id if len(found) > limit else None)


@operation("receipt.show", Scope.PROJECTS_READ)
def show(world: World, receipt: str) -> Receipt:
    """Show a receipt: which change, which commands ran on exactly its tree, what they came to, and who signed it."""
    return known.receipt(world, receipt)


@operation("receipt.verify", Scope.PROJECTS_READ)
def verify(world: World, receipt: str | bytes) -> Sequence[Check]:
    """Hold a receipt against its signature and against what rdev still has: journal, repository, commands and their output.

    By its id, or by the document itself, as receipt show -o json printed it. Failed: something is not what it was when it was signed,
    and the line says what. Warning: rdev has nothing left to hold it against.
    """
    if isinstance(receipt, bytes):
        given, wrong = parsed(receipt)
        known.project(world, given.project)  # whose receipt nobody may see is nobody's here
    else:
        given, wrong = known.receipt(world, receipt), ()
    return [*_Verifying(world, given, wrong).checks()]


class _Verifying:
    """One receipt, looked at from every side."""

    def __init__(self, world: World, receipt: Receipt, wrong: Sequence[str]) -> None:
        self._world, self._receipt, self._wrong = world, receipt, wrong
        self._project = known.project(world, receipt.project)

    def checks(self) -> Iterator[Check]:
        """Yield what each look found."""
        yield self._signature()
        yield self._signer()
        yield self._journal()
        yield from self._repository()
        yield from self._commands()

    def _signature(self) -> Check:
        one = self._receipt
        if self._wrong:
            return _bad("signature", f"the document is not as it was signed: {', '.join(self._wrong)}")
        if self._world.signing.holds(one.signer, one.signature, body(one)):
            return _good("signature", f"it fits ({one.signer})")
        return _bad("signature", f"it does not fit: {self._changed()}")

    def _recorded(self) -> Mapping[str, str] | None:
        """Return the digests that the journal has of this receipt's fields, None if it has none."""
        for event in self._world.store.events(after=0, subject=self._receipt.id):
            if event.kind == "receipt.written":
                found: Mapping[str, str] = event.data["fields"]
                return found
        return None

    def _differ(self, recorded: Mapping[str, str]) -> Sequence[str]:
        now = digests(self._receipt)
        return [name for name in now if recorded.get(name) != now[name]]

    def _changed(self) -> str:
        recorded = self._recorded()
        if recorded is None:
            return "something in it was changed, and the journal does not know it"
        found = self._differ(recorded)
        return f"{', '.join(found)} {'was' if len(found) == 1 else 'were'} changed" if found else "it was signed by somebody else"

    def _signer(self) -> Check:
        one, keys = self._receipt, _signers(self._world, self._project)
        mine = next((key for key in keys if key.public_key == one.signer), None)
        if one.project_id != self._project.id:
            return _bad("signer", f"it is of another project that was called {one.project}")
        if mine is None:
            return _bad("signer", f"this key never signed for {one.project} here: {one.signer}")
        told = [event for event in self._world.store.events(after=0, subject=mine.id) if event.kind == "signer.created"]
        if not told:
            return _unsure("signer", f"it is the recorded key of {one.project}, but the journal does not tell of it any more")
        if told[0].data["public_key"] != one.signer:
            return _bad("signer", f"the journal tells of another key of {one.project}: {told[0].data['public_key']}")
        return _good("signer", f"the key of {one.project}, since {told[0].at:%Y-%m-%d} (line {told[0].seq} of the journal)")

    def _journal(self) -> Check:
        recorded = self._recorded()
        if recorded is None:
            return _unsure("journal", "it does not tell of this receipt any more")
        found = self._differ(recorded)
        return _bad("journal", f"it was written with another {', '.join(found)}") if found else _good("journal", "it was written like this")

    def _repository(self) -> Iterator[Check]:
        one, forge = self._receipt, self._world.forge
        if forge.commit(self._project, one.commit) is None:
            yield _unsure("tree", f"the repository does not have {one.commit[:10]} any more")
            return
        found = forge.tree(self._project, one.commit)
        yield _good("tree", f"{one.commit[:10]} has it") if found == one.tree else _bad("tree", f"{one.commit[:10]} has another: {found}")
        if not one.diff_sha256:
            return
        if one.base and forge.commit(self._project, one.base) is None:
            yield _unsure("diff", f"the repository does not have {one.base[:10]} any more")
            return
        now = forge.changes(self._project, one.base, one.commit).patch_sha256
        yield (
            _good("diff", f"from {one.base[:10]}") if now == one.diff_sha256 else _bad("diff", f"from {one.base[:10]} it is another: {now}")
        )

    def _commands(self) -> Iterator[Check]:
        """Look at the commands that are recorded, and at what is kept of their output."""
        world, kept, records = self._world, 0, 0
        ran = [run for run in self._receipt.checks if run.command]
        for run in ran:
            command = next((one for one in world.store.find_commands(run.command) if one.id == run.command), None)
            if command is None:
                continue
            records += 1
            if (command.exit_code, command.reason, command.argv[-1:]) != (run.exit_code, run.reason, (run.line,)):
                yield _bad("command", f"{run.command} is recorded with another line or another end (exit code {command.exit_code})")
            for stream, size, was in (("out", command.stdout_bytes, run.stdout_sha256), ("err", command.stderr_bytes, run.stderr_sha256)):
                if size and not world.spool.read(command.id, stream, 0, 1):
                    continue
                kept += 1
                if checks.output_hash(world, command.id, stream) != was:
                    yield _bad("output", f"what {run.command} wrote on std{stream} was changed since")
        if ran:
            yield _told("command", records, len(ran), "commands are recorded as it says")
            yield _told("output", kept, 2 * len(ran), "outputs are kept, and what they were")


def _good(name: str, found: str) -> Check:
    return Check(name=name, verdict=Found.OK, found=found)


def _bad(name: str, found: str) -> Check:
    return Check(name=name, verdict=Found.FAILED, found=found, hint="trust neither it nor what it is of")


def _unsure(name: str, found: str) -> Check:
    return Check(name=name, verdict=Found.WARNING, found=found)


def _told(name: str, there: int, all_: int, what: str) -> Check:
    return Check(name=name, verdict=Found.OK if there == all_ else Found.WARNING, found=f"{there} of {all_} {what}")


# once more


@operation("receipt.replay", Scope.PROJECTS_EXECUTE, Pace.LONG)
def replay(world: World, receipt: str, *, tell: checks.Audience | None = None, limit_seconds: int = checks.LIMIT) -> Replay:
    """Run the commands of a receipt again on its commit, in a clean pod, and compare: the tree and each end decide.

    What they print is compared too, but decides nothing, as much that prints is honest and never the same twice. Conflict for a
    receipt whose signature does not fit.
    """
    return again(world, known.receipt(world, receipt), tell=tell, limit_seconds=limit_seconds)


def again(world: World, one: Receipt, *, tell: checks.Audience | None = None, limit_seconds: int = checks.LIMIT) -> Replay:
    """Run the commands of a receipt again, which may be one that is not kept here."""
    if not world.signing.holds(one.signer, one.signature, body(one)):
        raise Conflict(
            f"{one.id} is not as it was signed, so it is not run",
            hint=f"rdev receipt verify {one.id} says what was changed",
            code="RECEIPT_CHANGED",
            receipt=one.id,
        )
    project = known.project(world, one.project)
    if world.forge.commit(project, one.commit) is None:
        raise NotFound(
            f"the repository of {project.name} does not have {one.commit[:10]} any more",
            hint=f"push it there: {world.forge.url(project.name)}",
            receipt=one.id,
        )
    ran = [run for run in one.checks if run.reason != "skipped"]
    if not ran:
        raise Invalid(
            f"{one.id} holds no command that was run", hint="declare checks in .rdev.yaml; the next receipt has them", field="receipt"
        )
    checked = checks.run(world, project, one.commit, _steps(ran), tell=tell, limit_seconds=limit_seconds)
    runs = tuple(_compared(was, now) for was, now in zip(ran, checked.runs, strict=True))
    equal = checked.tree == one.tree and all(run.equal for run in runs)
    return Replay(
        receipt=one.id, project=project.name, commit=one.commit, verdict=Verdict.PASSED if equal else Verdict.FAILED,
        tree=_same(checked.tree, one.tree), image=_same(checked.image, one.image), runs=runs, duration_ms=checked.duration_ms,
        notes=checked.notes,
    )  # fmt: skip


def _steps(ran: Sequence[CheckRun]) -> Sequence[Step]:
    """Return steps that run exactly what was run, in that order."""
    found: dict[str, Step] = {}
    for run in ran:
        before = found.get(run.step)
        found[run.step] = Step(name=run.step, lines=(*(before.lines if before else ()), run.line))
    return tuple(found.values())


def _compared(was: CheckRun, now: CheckRun) -> ReplayedRun:
    return ReplayedRun(
        step=was.step, line=was.line, command=now.command, recorded=was.exit_code, replayed=now.exit_code, reason=now.reason,
        equal=(was.exit_code, was.reason) == (now.exit_code, now.reason),
        stdout=_same(was.stdout_sha256, now.stdout_sha256), stderr=_same(was.stderr_sha256, now.stderr_sha256),
    )  # fmt: skip


def _same(one: Any, other: Any) -> str:
    return "equal" if one == other else "differs"
