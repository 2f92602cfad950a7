"""Check-in: what a session or a checkout made goes to its project by a pull request that was reviewed, and never by force."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from rdev_cli.domain.checkout import CheckoutState
from rdev_cli.domain.command import OPEN, CommandKind
from rdev_cli.domain.errors import Conflict, Failed, Invalid, NotFound, RdevError
from rdev_cli.domain.operation import OperationState, StepState
from rdev_cli.domain.review import Checkin, Finding, Pull, Receipt, Severity, Verdict
from rdev_cli.domain.session import SessionState
from rdev_cli.domain.values import shown
from rdev_cli.ops import checkouts, commands, known, receipts, reviews, scanning, sessions, workspaces
from rdev_cli.ops.changes import Source, source
from rdev_cli.ops.ensure import HELD, begin, lease
from rdev_cli.ops.ledger import Pace, Scope, operation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from rdev_cli.domain.checkin import CheckinSpec
    from rdev_cli.domain.checkout import Checkout
    from rdev_cli.domain.lease import Lease
    from rdev_cli.domain.operation import Operation
    from rdev_cli.domain.session import Session
    from rdev_cli.ops.checks import Audience
    from rdev_cli.ports import World

NAMED = 10  # changed files that a refusal names


@operation("checkin.run", Scope.PROJECTS_EXECUTE, Pace.LONG)
def run(
    world: World, spec: CheckinSpec, *, folder: str = "", tell: Callable[[str], None] | None = None, audience: Audience | None = None
) -> Checkin:
    """Check in what a session or a checkout made: its branch, a pull request, a review, and the merge if that is asked for.

    What is staged is committed; other changes are refused. A secret in the change stops it before anything is pushed. Each step
    finds what is there already, so the same again goes on where one was cut off. Conflict, with what to type, where a branch
    moved, was rewritten or does not merge: nothing is ever forced. A review that fails leaves the pull request open.
    """
    # `folder`: a checkout's clone on this machine, from which its branch is pushed; without one what was pushed already is checked in
    first = source(world, spec)
    with lease(world, f"checkin:{first.id}") as held:
        return _Checkin(world, held, source(world, spec), spec, folder, tell or (lambda _: None), audience).run()


def verdict(checkin: Checkin) -> None:
    """Raise Failed if a check-in's review did not pass: that is what it means to whoever asked for it."""
    if checkin.verdict is not Verdict.FAILED or checkin.merged:  # a person may merge it all the same
        return
    errors = sum(one.severity is Severity.ERROR for one in checkin.findings)
    many = f"{errors} error{'' if errors == 1 else 's'}" if errors else "it could not be finished"
    where = f"pull request {checkin.pull.number} stays open" if checkin.pull else "nothing was merged"
    raise Failed(
        f"the review did not pass ({many}); {where}",
        hint=f"mend what it found, commit, and again: rdev checkin {checkin.session or checkin.checkout}",
        code="REVIEW_FAILED",
        receipt=checkin.receipt,
    )


@dataclass(slots=True)
class _Checkin:
    """One check-in on its way; each step looks at what is there, and does what is left."""

    world: World
    held: Lease
    source: Source
    spec: CheckinSpec
    folder: str
    tell: Callable[[str], None]
    audience: Audience | None
    intent: Operation | None = None
    reached: int = 0
    target: str = ""  # the commit that the target is at
    base: str = ""  # the commit that the change starts from
    scanned: str = ""  # the commit up to which it was looked through
    notes: list[Finding] = field(default_factory=list)

    def run(self) -> Checkin:
        """Do it."""
        self._begin()
        try:
            done = self._carry()
        except BaseException as error:
            if not (isinstance(error, Conflict) and error.code == "LEASE_LOST"):  # else somebody else carries it on
                self._end(OperationState.UNDONE, "stopped", code=error.code if isinstance(error, RdevError) else type(error).__name__)
            raise
        self._end(
            OperationState.DONE, "ended", commit=done.commit, pull=done.pull.number if done.pull else None, receipt=done.receipt,
            verdict=done.verdict.value if done.verdict else "", merged=done.merged,
        )  # fmt: skip
        return done

    def _carry(self) -> Checkin:
        world, source = self.world, self.source
        self._step("branch")
        head = self._publish()
        if not head:
            raise NotFound(
                f"{source.branch} is not in the repository of {source.project.name} any more",
                hint=f"in its clone, again: rdev checkin {source.id}"
                if source.checkout
                else f"rdev session list --project {source.project.name}",
                code="BRANCH_GONE",
                branch=source.branch,
            )
        if not self.target:
            self._aim()
        if world.forge.ancestor(source.project, head, self.target):
            return self._there_already(head)
        self._gate(head)
        if world.forge.tree(source.project, head) == world.forge.tree(source.project, self.base):
            # commits that change nothing, or nothing any more
            return self._answer(head, world.forge.find_pull(source.project, source.branch, source.target))
        self._step("pull request")
        pull = self._open(head)
        self._step("review")
        receipt = self._review(head, pull)
        if receipt.verdict is Verdict.FAILED:
            return self._answer(head, pull, receipt)
        if self.spec.merge:
            self._step("merge")
            pull = self._merge(head, pull, receipt)
        self._step("end")
        return self._finish(head, pull, receipt)

    # the operation's record

    def _begin(self) -> None:
        world, source = self.world, self.source
        left = [one for one in world.store.unfinished(source.subject) if one.kind == "checkin.run"]
        self.intent = (
            left[0] if left else begin(world, "checkin.run", source.subject, {"merge": self.spec.merge, "receipt": world.new_id("rcp")})
        )
        with world.store.transaction() as tx:
            tx.hold(self.held, HELD)
            if not left:
                tx.put_operation(self.intent)
                facts = {"project": source.project.name, "branch": source.branch, "target": source.target, "merge": self.spec.merge}
                tx.append("checkin.requested", source.id, facts)

    def _step(self, name: str) -> None:
        self.world.stop.check(f"the check-in of {self.source.id}")
        assert self.intent is not None
        with self.world.store.transaction() as tx:
            tx.hold(self.held, HELD)
            tx.put_step(self.intent.id, self.reached, name, StepState.INTENT)
        self.reached += 1

    def _note(self, kind: str, **facts: Any) -> None:
        with self.world.store.transaction() as tx:
            tx.hold(self.held, HELD)
            tx.append(f"checkin.{kind}", self.source.id, {"project": self.source.project.name, **facts})

    def _end(self, state: OperationState, kind: str, **facts: Any) -> None:
        assert self.intent is not None
        with self.world.store.transaction() as tx:
            tx.hold(self.held, HELD)
            tx.end_operation(self.intent.id, state)
            tx.append(f"checkin.{kind}", self.source.id, {"project": self.source.project.name, **facts})

    # the branch

    def _publish(self) -> str:
        """Bring the work to its branch; return the commit that the branch is at."""
        world, source = self.world, self.source
        if source.session is not None and source.session.state is SessionState.READY:
            return self._from_session(source.session)
        if source.session is not None and source.session.reason != "checked_in":
            known.ready(world, source.session.id)  # which says why not
        if source.checkout is not None and source.checkout.state is not CheckoutState.CHECKED_IN:
            if checkouts.now_ended(world, source.checkout):
                raise checkouts.over(source.checkout)
            if self.folder:
                return self._from_folder(source.checkout)
        return world.forge.find_branch(source.project, source.branch)

    def _from_folder(self, checkout: Checkout) -> str:
        world = self.world
        head = checkouts.commit(world, checkout, self.folder, self.spec.message)
        self._look(world.copies.blobs_added(world.copies.look(self.folder), checkout.base, head))
        return checkouts.publish(world, checkout, self.folder, self.spec.message)

    def _from_session(self, session: Session) -> str:
        world, source = self.world, self.source
        if source.branch == source.target:
            raise Conflict(
                f"{session.id} works on {source.target} itself, so there is nothing that its commits could be merged into",
                hint=f"rdev session start {source.project.name} begins one on a branch of its own",
                code="SAME_BRANCH",
                session=session.id,
            )
        place = known.ready(world, session.id)
        commands.revive(world, place)
        commands.reconcile(world, place.name)
        for other in world.store.commands(project=place.name, session=session.id, states=OPEN, limit=1000):
            if other.kind is CommandKind.AGENT:
                raise commands.busy(place, other.id)
        with lease(world, f"workspace:{place.id}"):
            found = sessions.tree(world, place)
            if found.unmerged:
                raise _dirty(session.id, found.unmerged, len(found.unmerged), "a merge is not finished", "add FILE")
            if found.staged:
                sessions.commit_staged(world, place, self.spec.message.strip() or f"Work of {session.id}", world.actor)
            elif found.dirty:
                raise _dirty(session.id, found.dirty, found.dirty_count, "files are changed and not staged", "add --all")
            head, _, where = workspaces.sync(world, place, gate=self._look)
        if where is not None and where.rescued:
            raise workspaces.rescued(where.branch)
        return head

    # what the change is

    def _aim(self) -> None:
        """Look where the target is."""
        source = self.source
        self.target = self.world.forge.find_branch(source.project, source.target)
        if not self.target:
            raise NotFound(
                f"{source.target} is not in the repository of {source.project.name} any more",
                hint=f"rdev branch list {source.project.name} shows what is there",
                code="BRANCH_GONE",
                branch=source.target,
            )

    def _gate(self, head: str) -> None:
        """Find where the change starts, and look through it for secrets; nothing of it goes anywhere before."""
        world, project, source = self.world, self.source.project, self.source
        if not self.target:
            self._aim()
        self.base = world.forge.merge_base(project, self.target, head)
        if not self.base or (source.rooted and source.began and not world.forge.ancestor(project, source.began, self.target)):
            raise Conflict(
                f"{source.target} was rewritten: it no longer holds the commit that this work began at",
                hint=f"begin again on it, and take your own commits along: git cherry-pick {source.began[:12]}..{head[:12]}",
                code="BASE_REWRITTEN",
                branch=source.target,
            )
        if self.scanned != head:
            self._look(world.forge.blobs_added(project, self.base, head))
            self.scanned = head

    def _look(self, blobs: Iterable[tuple[str, int, bytes]]) -> None:
        """Look through what is new for secrets; Conflict SECRET_FOUND."""
        world, project = self.world, self.source.project
        if not self.target:
            self._aim()
        own, unread = scanning.values(world)

        def before(path: str) -> bytes | None:
            try:
                return world.forge.read(project, self.target, path)
            except Invalid:  # too large to be compared: all of it counts as new
                return None

        hits, cut = scanning.scan(blobs, own=own, allowed=scanning.allowed(world, project, self.target), before=before)
        scanning.refuse(hits, target=self.source.target)
        words = [(f"only the beginning of {shown(path)} was looked through for secrets", path) for path in cut[:NAMED]]
        if len(cut) > NAMED:
            words.append((f"likewise of {len(cut) - NAMED} other large files", ""))
        for text, path in (*words, *((text, "") for text in unread)):
            one = Finding(severity=Severity.WARNING, source="scan", message=text, file=path)
            if one not in self.notes:
                self.notes.append(one)

    # pull request, review, merge

    def _open(self, head: str) -> Pull:
        world, source = self.world, self.source
        found = world.forge.find_pull(source.project, source.branch, source.target)
        if found is not None:
            return found
        title = next((line.strip() for line in self.spec.message.splitlines() if line.strip()), "")
        if not title:
            commit = world.forge.commit(source.project, head)
            title = commit.subject if commit and commit.subject else f"Check in {source.id}"
        what = "session" if source.session else "checkout"
        pull = world.forge.open_pull(
            source.project,
            head=source.branch,
            base=source.target,
            title=title[:200],
            body=f"{self.spec.message.strip()}\n\nrdev {what} {source.id}".strip(),
        )
        self._note("opened", pull=pull.number, url=pull.url, commit=head, branch=source.branch, target=source.target)
        self.tell(f"opened pull request {pull.number}{f': {pull.url}' if pull.url else ''}")
        return pull

    def _passed(self, head: str) -> Receipt | None:
        """Return the receipt of a review that this very change has passed already."""
        source = self.source
        of = {"commit": head, "base": self.base, "target": source.target, "verdict": Verdict.PASSED.value}
        of |= {"session": source.session.id if source.session else "", "checkout": source.checkout.id if source.checkout else ""}
        found = self.world.store.some(Receipt, project=source.project.name, of=of, limit=1)
        return found[0] if found else None

    def _review(self, head: str, pull: Pull) -> Receipt:
        world, source = self.world, self.source
        assert self.intent is not None
        id = str(self.intent.spec["receipt"])
        written = world.store.find(Receipt, id)
        if written is not None and (written.commit, written.base) == (head, self.base):
            return written  # by the same check-in, before it was cut off
        if (found := self._passed(head)) is not None:
            self.tell(f"this commit has passed its review: {found.id}")
            return found
        said = reviews.review(
            world, source.project, base=self.base, commit=head, target=self.target, tell=self.tell, audience=self.audience
        )
        world.stop.check(f"the check-in of {source.id}")
        receipt = receipts.write(
            world, source.project, id=id if written is None else "", session=source.session.id if source.session else "",
            checkout=source.checkout.id if source.checkout else "", branch=source.branch, target=source.target, base=self.base, commit=head,
            tree=said.checked.tree, diff_sha256=world.forge.changes(source.project, self.base, head, most=0).patch_sha256,
            image=said.checked.image, verdict=said.verdict, checks=said.checked.runs, findings=(*self.notes, *said.findings),
            agent=said.agent, model=said.model, input_tokens=said.input_tokens, output_tokens=said.output_tokens,
        )  # fmt: skip
        counts = {one.value: sum(each.severity is one for each in receipt.findings) for one in Severity}
        self._note("reviewed", pull=pull.number, commit=head, receipt=receipt.id, verdict=said.verdict.value, findings=counts)
        world.forge.comment(source.project, pull.number, _summary(receipt))
        return receipt

    def _merge(self, head: str, pull: Pull, receipt: Receipt | None) -> Pull:
        world, source = self.world, self.source
        proof = f"\n\nRdev-Receipt: {receipt.id}" if receipt else ""
        message = f"Merge {source.branch} into {source.target}\n\n{pull.title}{proof}\n"
        try:
            merged = world.forge.merge(source.project, pull, sha=head, message=message)
        except Conflict as e:
            raise Conflict(
                e.message,
                hint=self._way_out(e),
                code=e.code,
                **{**e.context, "pull": pull.number, "receipt": receipt.id if receipt else ""},
            ) from e
        self._note("merged", pull=pull.number, commit=head, merged=merged.merged, target=source.target)
        self.tell(f"merged into {source.target}")
        return merged

    def _way_out(self, error: Conflict) -> str:
        """Return what to type about a merge that does not go through; a session gets the target's commit, so that it can be merged there."""
        world, source = self.world, self.source
        if error.code != "MERGE_CONFLICT":
            return error.hint
        if source.session is not None:
            newest = world.forge.find_branch(source.project, source.target)
            workspaces.set_beside(world, sessions.place(world, source.session), source.project, newest)
            into = f"rdev git {source.id} -- -c user.name=NAME -c user.email=MAIL merge refs/rdev/target"
            return f"merge {source.target} in the session, mend the files, add and commit them, then again: {into}"
        return f"git fetch && git merge origin/{source.target}, mend the files, commit, and again: rdev checkin --merge"

    # the end

    def _there_already(self, head: str) -> Checkin:
        """Answer for a branch whose commits the target has: nothing was made yet, or it was merged, by this or by others."""
        source = self.source
        if head == source.began:
            return self._answer(head)
        opened = self._opened(head)
        receipt = self._passed_before(head)
        if opened is not None and opened.state == "open":  # whoever merged it was cut off before the pull request knew
            opened = self._merge(head, opened, receipt)
        return self._finish(head, opened, receipt)

    def _passed_before(self, head: str) -> Receipt | None:
        """Return the newest receipt of this commit."""
        source = self.source
        of = {
            "commit": head,
            "session": source.session.id if source.session else "",
            "checkout": source.checkout.id if source.checkout else "",
        }
        found = self.world.store.some(Receipt, project=source.project.name, of=of, limit=1)
        return found[0] if found else None

    def _opened(self, head: str) -> Pull | None:
        """Return the pull request that the journal says was opened for this branch, None if there was none or it is of other commits."""
        number, after = 0, 0
        while page := self.world.store.events(after=after, subject=self.source.id, limit=500):
            number = next((int(one.data["pull"]) for one in reversed(page) if one.kind == "checkin.opened"), number)
            after = page[-1].seq
        if not number:
            return None
        try:
            found = self.world.forge.pull(self.source.project, number)
        except NotFound:
            return None
        return found if found.sha == head else None

    def _finish(self, head: str, pull: Pull | None, receipt: Receipt | None) -> Checkin:
        world, source = self.world, self.source
        revoked, merged = False, world.forge.ancestor(source.project, head, world.forge.find_branch(source.project, source.target))
        if source.checkout is not None:
            revoked = checkouts.finish(world, source.checkout, CheckoutState.CHECKED_IN)
            if not revoked:
                self.tell("its credential could not be revoked yet; rdev tries again by itself: rdev doctor shows what is owed")
        if source.session is not None and merged and self.spec.merge:
            sessions.end(world, source.session.id, reason="checked_in")
        return replace(self._answer(head, pull, receipt), revoked=revoked, merged=_became(pull, head) if merged else "")

    def _answer(self, head: str, pull: Pull | None = None, receipt: Receipt | None = None) -> Checkin:
        source = self.source
        return Checkin(
            project=source.project.name, session=source.session.id if source.session else "", checkout=source.checkout.id if source.checkout else "",
            branch=source.branch, target=source.target, commit=head, pull=pull, receipt=receipt.id if receipt else "",
            verdict=receipt.verdict if receipt else None, findings=receipt.findings if receipt else (),
        )  # fmt: skip


def _became(pull: Pull | None, head: str) -> str:
    return pull.merged if pull and pull.merged else head


def _summary(receipt: Receipt) -> str:
    """Return what people read of a review under its pull request."""
    lines = [f"Review of {receipt.commit[:12]}: {receipt.verdict.value} (receipt {receipt.id})", ""]
    lines += [f"* {ran.step}: `{shown(ran.line, most=200)}`: {ran.reason or ran.exit_code}" for ran in receipt.checks]
    for one in receipt.findings:
        where = f" {shown(one.file)}{f':{one.line}' if one.line else ''}" if one.file else ""
        lines.append(f"* {one.severity.value} ({one.source}){where}: {shown(one.message, most=500)}")
    return "\n".join(lines)


def _dirty(id: str, paths: tuple[str, ...], count: int, why: str, then: str) -> Conflict:
    named = ", ".join(shown(path) for path in paths[:NAMED]) + (f" and {count - NAMED} more" if count > NAMED else "")
    return Conflict(
        f"{why}: {named}",
        hint=f"rdev git {id} -- {then} takes them along, rdev git {id} -- stash -u puts them aside; then again",
        code="WORKTREE_DIRTY",
        files=list(paths[:NAMED]),
    )
