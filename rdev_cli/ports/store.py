"""What rdev asks of its own memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from contextlib import AbstractContextManager
    from datetime import datetime
    from typing import Any

    from rdev_cli.domain.access import Grant, Key
    from rdev_cli.domain.command import Command, CommandState
    from rdev_cli.domain.credential import Credential
    from rdev_cli.domain.event import Event
    from rdev_cli.domain.job import Job, Work
    from rdev_cli.domain.lease import Lease
    from rdev_cli.domain.operation import Operation, OperationState, StepState
    from rdev_cli.domain.project import Project
    from rdev_cli.domain.repeat import Kept
    from rdev_cli.domain.report import Check
    from rdev_cli.domain.resource import Known, Mark
    from rdev_cli.domain.usage import Usage
    from rdev_cli.domain.webhook import Delivery, Webhook


class Record(Protocol):
    """A record of a kind that is kept like others: sessions, previews, checkouts, debts, receipts, workers."""

    @property
    def id(self) -> str: ...
    @property
    def project(self) -> str:
        """The name of the project that it belongs to, empty for what belongs to none."""
        ...


R = TypeVar("R", bound=Record)


class Writing(Protocol):
    """What may be written inside one transaction; reads here see what it wrote."""

    def put_project(self, project: Project) -> None:
        """Insert or replace by id; Conflict when another project has the name."""
        ...

    def drop_project(self, project: Project) -> None:
        """Forget the project and its commands; the journal keeps their history."""
        ...

    def find_project(self, name: str) -> Project | None: ...
    def put_command(self, command: Command) -> None: ...
    def find_command(self, id: str) -> Command | None: ...

    def put(self, record: Record) -> None:
        """Insert or replace a record by id, in a project that the caller sees (else NotFound); Denied for one of no project to whom projects bind."""
        ...

    def find(self, kind: type[R], id: str) -> R | None: ...

    def drop(self, kind: type[R], id: str) -> None:
        """Forget a record; nothing happens if there is none that the caller sees."""
        ...

    def parsed(self, command: str) -> int:
        """Return the offset up to which the command's stdout has been told to the journal."""
        ...

    def set_parsed(self, command: str, offset: int) -> None: ...

    def put_credential(self, credential: Credential) -> None:
        """Insert or replace the record of a credential by name."""
        ...

    def drop_credential(self, name: str) -> None: ...

    def put_key(self, key: Key, hash: str) -> None:
        """Insert a key with the hash of what its holder shows; Conflict when another has its prefix."""
        ...

    def revoke_key(self, id: str, at: datetime) -> None:
        """Note when a key was revoked; the first time stays."""
        ...

    def use_key(self, id: str, at: datetime) -> None:
        """Note when a key was used, unless a later use is known."""
        ...

    def append(self, kind: str, subject: str, data: Mapping[str, Any]) -> None:
        """Write one line of the journal, chained to the last, in the name of the store's actor.

        For each webhook that wants it a delivery is written, too, and so kept together with the line or not at all.
        """
        ...

    def put_webhook(self, webhook: Webhook) -> None:
        """Insert or replace by id."""
        ...

    def drop_webhook(self, id: str) -> None:
        """Forget a webhook and its deliveries."""
        ...

    def find_webhook(self, id: str) -> Webhook | None: ...

    def put_delivery(self, delivery: Delivery, body: str | None = None) -> None:
        """Insert a delivery with what is sent; without a body replace the one with its id, if it is still there."""
        ...

    def find_delivery(self, id: str) -> Delivery | None: ...

    def forget_deliveries(self, before: datetime) -> None:
        """Forget deliveries that are over and were made before a time."""
        ...

    def prune(self, before: datetime) -> tuple[int, int, str]:
        """Remove the journal's oldest lines, those written before a time; return how many, and seq and hash of the last of them.

        That last one becomes the anchor: the chain begins after it. (0, the anchor) if there is nothing so old.
        """
        ...

    def put_operation(self, operation: Operation) -> None: ...
    def put_step(self, operation: str, position: int, name: str, state: StepState) -> None: ...
    def end_operation(self, operation: str, state: OperationState) -> None: ...

    def hold(self, lease: Lease, seconds: float) -> None:
        """Check that the lease is still ours (owner and attempt) and prolong it; Conflict LEASE_LOST if not."""
        ...

    def take(self, name: str, *, owner: str, seconds: float) -> Lease:
        """Claim a name inside this transaction; Conflict BUSY, naming the holder in `context`, if it is held."""
        ...

    def release(self, name: str, owner: str) -> None:
        """Give a claim back; nothing happens if it is not ours any more."""
        ...

    def forget(self, name: str) -> None:
        """Give up a claim for good, whoever has it: nobody will ever ask for this name again."""
        ...

    def mark(self, place: str, things: Collection[str], now: Mark) -> None:
        """Keep the marks of these things of a place, by uid, mark with `now` those that have none, and forget those of all others."""
        ...

    def put_job(self, work: Work) -> None:
        """Insert or replace a job by id, in a project that the caller sees (else NotFound); one that has ended keeps no request."""
        ...

    def find_job(self, id: str) -> Job | None: ...
    def drop_job(self, id: str) -> None: ...

    def waiting_jobs(self) -> Sequence[Work]:
        """Return every job that has not ended, oldest first."""
        ...

    def recall(self, id: str) -> Kept | None:
        """Return what is kept of a request under an idempotency key, while it is younger than 24 h."""
        ...

    def remember(self, kept: Kept) -> None:
        """Keep a request under its idempotency key for 24 h, or what it was answered."""
        ...

    def let_go(self, id: str) -> None:
        """Forget a request, so that its key is free again."""
        ...


class Store(Protocol):
    """What rdev remembers between calls."""

    def transaction(self) -> AbstractContextManager[Writing]:
        """Everything written inside is kept together with its journal lines, or not at all."""
        ...

    def acting(self, grant: Grant) -> Store:
        """Return the same memory for a caller: its journal lines carry that actor, and it holds nothing but what the grant sees.

        What is another project's is not there, as if it had never been; to write there is NotFound, too.
        """
        ...

    def find_project(self, name: str) -> Project | None: ...
    def projects(self) -> Sequence[Project]: ...

    def find(self, kind: type[R], id: str) -> R | None: ...

    def some(
        self,
        kind: type[R],
        *,
        beginning: str = "",
        project: str = "",
        of: Mapping[str, str | Sequence[str]] | None = None,
        before: str = "",
        limit: int = 100,
    ) -> Sequence[R]:
        """Return records of a kind, newest first: whose id begins so, of a project, and whose fields have one of the values that `of` names.

        With `before`, those with a lesser id.
        """
        ...

    def find_commands(self, beginning: str) -> Sequence[Command]:
        """Return commands whose id begins so, at most two: enough to tell a unique one."""
        ...

    def commands(
        self, *, project: str = "", session: str = "", states: Sequence[CommandState] = (), before: str = "", limit: int = 100
    ) -> Sequence[Command]:
        """Return commands, newest first; with `before`, those with a lesser id."""
        ...

    def parsed(self, command: str) -> int:
        """Return the offset up to which the command's stdout has been told to the journal."""
        ...

    def usage(self, *, project: str = "", since: str = "") -> Sequence[Usage]:
        """Return what agents' runs have used, a line for each project, agent and model; `since` is a time as the codec writes it."""
        ...

    def credentials(self) -> Sequence[Credential]:
        """Return the records of all credentials, by name; the values are a vault's."""
        ...

    def webhooks(self) -> Sequence[Webhook]:
        """Return all webhooks, oldest first; a caller held to some projects sees those that are about these alone."""
        ...

    def find_webhooks(self, beginning: str) -> Sequence[Webhook]:
        """Return webhooks whose id begins so."""
        ...

    def deliveries(self, *, webhook: str = "", before: str = "", limit: int = 100) -> Sequence[Delivery]:
        """Return deliveries of one webhook or of all, newest first; with `before`, those with a lesser id."""
        ...

    def find_deliveries(self, beginning: str) -> Sequence[Delivery]:
        """Return deliveries whose id begins so."""
        ...

    def body(self, delivery: str) -> str:
        """Return what a delivery sends; NotFound if there is no such delivery."""
        ...

    def due(self, webhook: str, now: datetime, *, most: int) -> Sequence[tuple[Delivery, str]]:
        """Return pending deliveries of a webhook whose time has come, with what is sent, the longest due first."""
        ...

    def keys(self) -> Sequence[Key]:
        """Return all keys, oldest first, revoked ones too."""
        ...

    def find_key(self, id: str) -> Key | None: ...

    def key_hash(self, prefix: str) -> tuple[str, str]:
        """Return (id, hash) of the key with a prefix, both empty if there is none; as much work either way."""
        ...

    def events(self, *, after: int, subject: str = "", session: str = "", limit: int = 100) -> Sequence[Event]:
        """Return journal lines with a greater seq, in order; with `session` those about it and about its commands. Never waits."""
        ...

    def last_event(self) -> int:
        """Return the seq of the newest line, 0 if there is none."""
        ...

    def prunable(self, before: datetime) -> tuple[int, int, str]:
        """Return what `prune` would, changing nothing."""
        ...

    def compact(self) -> None:
        """Give room that is not used any more back to the file system; Unavailable STATE_BUSY if others do not let go of it."""
        ...

    def unfinished(self, subject: str = "") -> Sequence[Operation]:
        """Return operations that are neither done nor undone, oldest first."""
        ...

    def known(self) -> Known:
        """Return which projects have a record, here and in the other contexts, and which had one; Unavailable if one of the states cannot be read."""
        ...

    def marks(self, place: str) -> Mapping[str, Mark]:
        """Return since when things of a place have no record, by uid."""
        ...

    def find_job(self, id: str) -> Job | None: ...

    def jobs(self, *, before: str = "", limit: int = 100) -> Sequence[Job]:
        """Return jobs, newest first; with `before`, those with a lesser id. What has ended is kept for 7 days."""
        ...

    def jobs_wait(self) -> bool:
        """Say whether any job has not ended, whosever it is."""
        ...

    def recall(self, id: str) -> Kept | None:
        """Return what is kept of a request under an idempotency key, while it is younger than 24 h."""
        ...

    def close(self) -> None:
        """Close what this thread has open."""
        ...

    def check(self) -> Sequence[Check]:
        """Look at itself: version, journal mode, integrity, the hash chain and its head."""
        ...
