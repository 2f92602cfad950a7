"""JSON Schemas (2020-12) of what rdev prints, made from the types of the domain.

An answer may get new fields, and a kind of event may be new: a schema refuses neither.
"""

import types
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import datetime
from enum import Enum
from typing import Any, Literal, NewType, NotRequired, TypedDict, Union, get_args, get_origin, get_type_hints, is_typeddict

from rdev_cli.domain.access import Key, KeyCreated
from rdev_cli.domain.agent import AgentEventKind, AgentInfo
from rdev_cli.domain.answers import Accepted, CompletionScript, ErrorDocument, SchemaEntry, Served, Version
from rdev_cli.domain.checkout import Checkout, CheckoutFolder, CheckoutStarted, CheckoutState
from rdev_cli.domain.command import Command, CommandKind, CommandState
from rdev_cli.domain.credential import Credential
from rdev_cli.domain.event import Event
from rdev_cli.domain.files import Copied
from rdev_cli.domain.job import Job
from rdev_cli.domain.lines import Demo, EndedLine, OutputLine
from rdev_cli.domain.log import PodLog
from rdev_cli.domain.output import CommandOutput
from rdev_cli.domain.page import Page
from rdev_cli.domain.plan import Plan
from rdev_cli.domain.premises import Holding
from rdev_cli.domain.preview import Preview
from rdev_cli.domain.project import Project
from rdev_cli.domain.pruning import Pruning
from rdev_cli.domain.report import Check, Context, Setting
from rdev_cli.domain.resource import Orphan
from rdev_cli.domain.review import Checked, Checkin, Receipt, Replay, Verdict
from rdev_cli.domain.serving import Manifests
from rdev_cli.domain.session import Purpose, Session
from rdev_cli.domain.standing import ProjectFound, ProjectStatus, ProjectSync
from rdev_cli.domain.usage import ProjectShown, Usage
from rdev_cli.domain.webhook import Delivery, Webhook, WebhookSecret
from rdev_cli.domain.worker import Audit, Worker
from rdev_cli.ports.forge import Branch

# What each schema is of, and how such a document is asked for.
DOCUMENTS: dict[str, tuple[Any, str]] = {
    "accepted": (Accepted, "what takes long, taken on over HTTP: 202"),
    "agent": (AgentInfo, "an agent, and what it would run with: rdev agent show -o json"),
    "agent-list": (Sequence[AgentInfo], "rdev agent list -o json"),
    "branch": (Branch, "a branch of a project's repository, and the commit that it is at"),
    "branch-list": (Sequence[Branch], "rdev branch list -o json"),
    "checkout": (Checkout, "a checkout without its credential: rdev checkout show -o json, rdev checkout extend -o json"),
    "checkout-folder": (CheckoutFolder, "a checkout that was cloned here: rdev checkout start -o json"),
    "checkout-list": (Page[Checkout], "rdev checkout list -o json"),
    "checkout-started": (
        CheckoutStarted,
        "a new checkout with its credential, the one time that it is told: POST /projects/{project}/checkouts",
    ),
    "audit": (Audit, "a worker of the warm pool that was looked at"),
    "audit-list": (Sequence[Audit], "rdev pool audit -o json"),
    "check": (Check, "one thing that the doctor looked at"),
    "check-list": (
        Sequence[Check],
        "rdev doctor -o json, rdev agent health -o json, rdev credential test -o json, rdev receipt verify -o json",
    ),
    "checked": (Checked, "what steps came to on a commit: rdev ci run -o json"),
    "checkin": (Checkin, "what became of a check-in: rdev checkin -o json, rdev session checkin -o json"),
    "command": (Command, "a command and its outcome: rdev command show -o json, exec and claude with --no-wait"),
    "command-list": (Page[Command], "rdev command list -o json, rdev ps -o json"),
    "command-output": (CommandOutput, "a command with what it printed: rdev exec -o json, rdev command output -o json"),
    "completion": (CompletionScript, "rdev completion SHELL -o json"),
    "context": (Context, "a named place to work: rdev context show -o json"),
    "context-list": (Sequence[Context], "rdev context list -o json"),
    "copied": (Copied, "what a copy brought over: rdev cp -o json"),
    "credential": (Credential, "a credential without its value: rdev credential set -o json"),
    "credential-list": (Sequence[Credential], "rdev credential list -o json, rdev credential import -o json"),
    "delivery": (Delivery, "a message to a webhook, with every try: rdev webhook test -o json, rdev webhook replay -o json"),
    "delivery-list": (Page[Delivery], "rdev webhook deliveries -o json"),
    "demo": (Demo, "rdev demo -o json"),
    "ended-line": (EndedLine, "the last line of a command that was followed: rdev exec -o jsonl, rdev command attach -o jsonl"),
    "error": (ErrorDocument, "any failure, on stderr, with -o json, jsonl or yaml"),
    "event": (Event, "a line of the journal: rdev events -o jsonl, rdev claude -o jsonl"),
    "event-list": (Page[Event], "rdev events -o json, rdev session events -o json"),
    "holding": (Holding, "something that rdev keeps on this machine"),
    "holding-list": (Sequence[Holding], "rdev uninstall -o json"),
    "key": (Key, "a key without its secret: rdev key show -o json, rdev key revoke -o json"),
    "key-created": (KeyCreated, "a new key, the one time that it is shown: rdev key create -o json"),
    "key-list": (Sequence[Key], "rdev key list -o json"),
    "orphan": (Orphan, "a thing in a place that no record is about"),
    "orphan-list": (Sequence[Orphan], "rdev gc -o json"),
    "operation": (Job, "an operation that was asked for over HTTP: rdev operation show -o json"),
    "operation-list": (Page[Job], "rdev operation list -o json"),
    "pod-log": (PodLog, "a part of the log of a project's pod: rdev logs -o json, where pods have one"),
    "manifests": (Manifests, "what puts rdev serve into a cluster: rdev context install --print -o json"),
    "output-line": (OutputLine, "a piece of output: rdev exec -o jsonl, rdev command attach -o jsonl"),
    "plan": (Plan, "what would be done: --dry-run -o json of project create, adopt and delete"),
    "preview": (Preview, "a port of a session and its address: rdev session preview -o json, rdev preview close -o json"),
    "preview-list": (Sequence[Preview], "rdev preview list -o json"),
    "project": (Project, "a project: rdev project create -o json, rdev project set -o json"),
    "project-found": (ProjectFound, "a project of whoever, as it is found in a place"),
    "project-found-list": (Sequence[ProjectFound], "rdev project list --all -o json"),
    "project-list": (Sequence[Project], "rdev project list -o json"),
    "project-shown": (ProjectShown, "a project and what agents have used on it: rdev project show -o json"),
    "project-sync": (ProjectSync, "rdev project sync -o json"),
    "project-status": (ProjectStatus, "rdev project status -o json"),
    "pruning": (Pruning, "rdev journal prune -o json"),
    "receipt": (Receipt, "what was checked on which tree, signed: rdev receipt show -o json"),
    "receipt-list": (Page[Receipt], "rdev receipt list -o json"),
    "replay": (Replay, "what the commands of a receipt came to when they were run again: rdev receipt replay -o json"),
    "schema": (SchemaEntry, "a document that has a schema, and how it is asked for"),
    "schema-list": (Sequence[SchemaEntry], "rdev schema -o json"),
    "setting": (Setting, "a setting and where its value came from"),
    "setting-list": (Sequence[Setting], "rdev context view -o json"),
    "usage": (Usage, "what runs of an agent have used"),
    "usage-list": (Sequence[Usage], "rdev agent usage -o json"),
    "webhook": (Webhook, "an endpoint that is told what happens: rdev webhook remove -o json"),
    "webhook-list": (Sequence[Webhook], "rdev webhook list -o json"),
    "webhook-secret": (WebhookSecret, "a webhook with its secret: rdev webhook add -o json, rdev webhook rotate -o json"),
    "session": (Session, "a session: rdev session show -o json, rdev session start -o json, rdev session end -o json"),
    "session-list": (Page[Session], "rdev session list -o json"),
    "worker": (Worker, "a pod of the warm pool, and who has it"),
    "worker-list": (Sequence[Worker], "rdev pool list -o json, rdev pool fill -o json, rdev pool drain -o json"),
    "serving": (Served, "rdev serve -o json"),
    "version": (Version, "rdev version -o json"),
}
# Text that may be what no UTF-8 document can hold: the words of a command, and paths. The field is then `…_b64`.
BYTES = {
    "Command.argv", "EndedLine.argv", "CommandOutput.argv", "CommandStarted.argv", "Project.repository", "Project.source", "ProjectShown.repository", "ProjectShown.source", "AgentInfo.program",
     "ProjectCreated.repository", "Checkout.url", "CheckoutFolder.url", "CheckoutFolder.folder", "CheckoutStarted.url",
    "ProjectRequested.source", "Plan.would", "Plan.steps", "Setting.value", "Setting.origin", "Check.found", "Check.hint", "Holding.name", "Problem.message", "Problem.hint",
    "Copied.path", "Copied.here", "Skipped.path", "FileCopied.path",
}  # fmt: skip


# what the journal's lines hold


class ProjectRequested(TypedDict):
    """A project shall be made."""

    id: str
    source: str


class ProjectCreated(TypedDict):
    """A project is there."""

    id: str
    repository: str
    pod: str


class ProjectNamed(TypedDict):
    """What happened to a project."""

    id: str


class ProjectAdopted(TypedDict):
    """A pod is taken over, of an installation that may be this one."""

    id: str
    pod: str
    installation: str


class ProjectChanged(TypedDict):
    """What a project says of itself now; what was left as it was is left out."""

    id: str
    agent: NotRequired[str]
    model: NotRequired[str]
    description: NotRequired[str]


class ProjectSynced(TypedDict):
    """Where repository and work tree met."""

    commit: str
    brought_in: bool
    branch: str


class BranchMoved(TypedDict):
    """A branch of the repository is at another commit than the last time that the forge told of it; empty where it was or is not there."""

    branch: str
    before: str
    commit: str


class CredentialMoved(TypedDict):
    """Where a credential is kept, or was."""

    place: str


class KeyNamed(TypedDict):
    """Which key it is, for whoever has it."""

    name: str
    prefix: str


class KeyMade(KeyNamed):
    """What a new key allows; without projects all, without networks from anywhere."""

    scopes: list[str]
    projects: list[str]
    cidrs: list[str]
    expires_at: str | None


class NotWhole(TypedDict):
    """Steps that could not be undone, or not be done."""

    project: NotRequired[str]
    operation: str
    left: list[str]


class CheckoutAsked(TypedDict):
    """A checkout shall be made: its branch, and the one that it starts from."""

    project: str
    branch: str
    target: str


class CheckoutBegun(CheckoutAsked):
    """A checkout is there, and its credential counts until then."""

    base: str
    expires_at: datetime


class CheckoutNamed(TypedDict):
    """What happened to a checkout."""

    project: str


class CheckoutExtended(CheckoutNamed):
    """Until when a checkout's credential counts now."""

    expires_at: datetime


class CheckoutEnded(CheckoutNamed):
    """A checkout is over; what was pushed stays on its branch."""

    branch: str


class CheckoutRevoked(CheckoutNamed):
    """The credential of a checkout is gone, or could not be taken away yet."""

    account: str
    trouble: NotRequired[str]


class SessionNamed(TypedDict):
    """What happened to a session."""

    project: str


class SessionAsked(SessionNamed):
    """A session shall be started; `purpose` is work, or checks for rdev's own."""

    branch: str
    base: str
    purpose: Purpose
    agent: str


class SessionStarted(SessionNamed):
    """A session takes work; `worker` is empty for a pod that was made for it."""

    branch: str
    base: str
    pod: str
    worker: str


class SessionExpiring(SessionNamed):
    """A session ends then, if nothing is done in it (`idle`) or in any case (`expired`)."""

    reason: str
    ends_at: datetime


class SessionRescued(SessionNamed):
    """What was not checked in was brought to this branch."""

    branch: str


class SessionEnded(SessionNamed):
    """A session is over, why, and the branch that keeps what was not checked in; `gone`: its pod was, and nothing could be looked for."""

    branch: str
    reason: str
    rescue: str
    gone: bool


class FileCopied(TypedDict):
    """Files were copied out of the project's pod, or into it; `failed` of them could not be."""

    project: NotRequired[str]
    path: str
    out: bool
    files: int
    bytes: int
    failed: int


class OperationMoved(TypedDict):
    """What was asked for over HTTP, by the name of its operation; `project` is empty if it is about none."""

    operation: str
    project: str


class PreviewMoved(TypedDict):
    """A port of a session was opened or closed; its address is told to nobody who did not ask for it."""

    project: str
    port: int


class CommandStarted(TypedDict):
    """A command was started; long words, and more than twenty, are cut."""

    project: str
    kind: CommandKind
    argv: list[str]
    agent: str


class CommandSettled(TypedDict):
    """How a command ended."""

    project: str
    exit_code: int | None
    reason: str
    duration_ms: int | None


class CommitMoved(TypedDict):
    """Where an agent's commit went, or what kept it back."""

    commit: str
    branch: str
    trouble: str


class ChecksEnded(TypedDict):
    """Steps have come to their end on a commit; `failed` names those that did not pass."""

    project: str
    session: str
    commit: str
    verdict: Verdict
    failed: list[str]


class ReceiptWritten(TypedDict):
    """A receipt was signed; of each field of it a digest is kept, so that a change of one has a name."""

    project: str
    commit: str
    verdict: Verdict
    fields: dict[str, str]


class SignerCreated(TypedDict):
    """From here on this key signs the receipts of a project."""

    project: str
    public_key: str


class AgentTold(TypedDict):
    """What an agent said or did; what is empty is left out."""

    offset: int
    text: NotRequired[str]
    tool: NotRequired[str]
    target: NotRequired[str]
    failed: NotRequired[bool]
    session: NotRequired[str]
    model: NotRequired[str]
    input_tokens: NotRequired[int]
    output_tokens: NotRequired[int]
    cost_usd: NotRequired[float]


class CheckinRequested(TypedDict):
    """A session's or a checkout's branch shall be checked in, and merged if its review passes and `merge` says so."""

    project: str
    branch: str
    target: str
    merge: bool


class CheckinOpened(TypedDict):
    """A pull request was opened."""

    project: str
    pull: int
    url: str
    commit: str
    branch: str
    target: str


class CheckinReviewed(TypedDict):
    """What the review of a commit came to; `findings` are counts by severity."""

    project: str
    pull: int
    commit: str
    receipt: str
    verdict: str
    findings: dict[str, int]


class CheckinMerged(TypedDict):
    """A commit was merged into the target, which became `merged`."""

    project: str
    pull: int
    commit: str
    merged: str
    target: str


class CheckinStopped(TypedDict):
    """A check-in came to no end; the code of its error says why."""

    project: str
    code: str


class CheckinEnded(TypedDict):
    """What a check-in came to; without a pull request there was nothing to check in."""

    project: str
    commit: str
    pull: int | None
    receipt: str
    verdict: str
    merged: str


class JournalPruned(TypedDict):
    """What was removed of the journal: so many lines, up to one with that seq and hash."""

    before: str
    count: int
    through: int
    hash: str


class GarbageCollected(TypedDict):
    """What a run removed from a place, with what became of each thing, and the file that lists it."""

    place: str
    objects: list[dict[str, str]]
    file: str


class WebhookNamed(TypedDict):
    """What happened to a webhook; `project` is there if it is about one alone."""

    project: NotRequired[str]


class WebhookAdded(WebhookNamed):
    """An endpoint shall be told of such events."""

    host: str
    events: list[str]


class WebhookRemoved(WebhookNamed):
    """An endpoint is told nothing more."""

    host: str


class WebhookRotated(WebhookNamed):
    """A webhook has a new secret; until then the old one signs, too."""

    old_secret_until: datetime


class WebhookDisabled(WebhookNamed):
    """Nothing is sent to an endpoint any more, until a test of it goes well."""

    host: str
    reason: str


class WebhookTried(WebhookNamed):
    """A message was sent by hand, and this came back; no status: nothing did."""

    delivery: str
    status: int | None
    error: str


class WorkerMade(TypedDict):
    """A pod is kept warm; not `reused`: it serves one session and no second."""

    project: str
    pod: str
    image: str
    reused: bool


class WorkerMoved(TypedDict):
    """A session has a worker, or has one that goes when it is given back."""

    project: str
    session: str
    pod: str


class WorkerGivenBack(WorkerMoved):
    """A worker was scrubbed after a session, so much was removed, and this was proved."""

    removed: int
    proved: list[str]


class WorkerDestroyed(WorkerMoved):
    """A worker is gone, and why."""

    reason: str


SETTLED = (CommandState.COMPLETED, CommandState.FAILED, CommandState.CANCELLED, CommandState.LOST)
EVENTS: dict[str, Any] = {
    "project.requested": ProjectRequested,
    "project.created": ProjectCreated,
    "project.adoption_requested": ProjectAdopted,
    "project.adopted": ProjectAdopted,
    "project.changed": ProjectChanged,
    "project.synced": ProjectSynced,
    "branch.moved": BranchMoved,
    "credential.set": CredentialMoved,
    "credential.removed": CredentialMoved,
    "key.created": KeyMade,
    "key.revoked": KeyNamed,
    "project.undone": ProjectNamed,
    "project.undo_failed": NotWhole,
    "project.delete_requested": ProjectNamed,
    "project.delete_failed": NotWhole,
    "project.deleted": ProjectNamed,
    "checkout.requested": CheckoutAsked,
    "checkout.started": CheckoutBegun,
    "checkout.undone": CheckoutNamed,
    "checkout.extended": CheckoutExtended,
    **{f"checkout.{state.value}": CheckoutEnded for state in CheckoutState if state is not CheckoutState.ACTIVE},
    "checkout.revoked": CheckoutRevoked,
    "checkout.revoke_failed": CheckoutRevoked,
    "session.requested": SessionAsked,
    "session.started": SessionStarted,
    "session.undone": SessionNamed,
    "session.undo_failed": NotWhole,
    "session.expiring": SessionExpiring,
    "session.rescued": SessionRescued,
    "session.ended": SessionEnded,
    "session.end_failed": NotWhole,
    "file.copied": FileCopied,
    "operation.requested": OperationMoved,
    "operation.done": OperationMoved,
    "operation.failed": OperationMoved,
    "preview.opened": PreviewMoved,
    "preview.closed": PreviewMoved,
    "command.requested": CommandStarted,
    "command.started": CommandStarted,
    **{f"command.{state.value}": CommandSettled for state in SETTLED},
    "checks.ended": ChecksEnded,
    "receipt.written": ReceiptWritten,
    "signer.created": SignerCreated,
    "commit.delivered": CommitMoved,
    "commit.kept": CommitMoved,
    "checkin.requested": CheckinRequested,
    "checkin.opened": CheckinOpened,
    "checkin.reviewed": CheckinReviewed,
    "checkin.merged": CheckinMerged,
    "checkin.stopped": CheckinStopped,
    "checkin.ended": CheckinEnded,
    "journal.pruned": JournalPruned,
    "gc.collected": GarbageCollected,
    "worker.made": WorkerMade,
    "worker.claimed": WorkerMoved,
    "worker.draining": WorkerMoved,
    "worker.given_back": WorkerGivenBack,
    "worker.destroyed": WorkerDestroyed,
    "webhook.added": WebhookAdded,
    "webhook.removed": WebhookRemoved,
    "webhook.rotated": WebhookRotated,
    "webhook.disabled": WebhookDisabled,
    "webhook.enabled": WebhookNamed,
    "webhook.tested": WebhookTried,
    "webhook.replayed": WebhookTried,
    **{kind.value: AgentTold for kind in AgentEventKind},
}


# from types to schemas

_PLAIN: dict[Any, dict[str, Any]] = {
    str: {"type": "string"}, bool: {"type": "boolean"}, int: {"type": "integer"}, float: {"type": "number"}, bytes: {"type": "string"},
    type(None): {"type": "null"}, datetime: {"type": "string", "format": "date-time"}, Any: {},
}  # fmt: skip
_BASE64 = {"type": "string", "contentEncoding": "base64"}
_NULL = {"type": "null"}


def of(hint: Any, below: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a type; the things that it refers to are put into `below`."""
    if hint in _PLAIN:
        return dict(_PLAIN[hint])
    if isinstance(hint, NewType):
        return of(hint.__supertype__, below)
    origin, given = get_origin(hint), get_args(hint)
    if origin is Literal:
        return {"type": "string", "enum": list(given)}
    if origin in (Union, types.UnionType):
        return {"anyOf": [of(one, below) for one in given]}
    if origin is Page:
        return _page(given[0], below, {"anyOf": [{"type": "string"}, _NULL]})
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {"type": "object"}
    if isinstance(origin, type) and issubclass(origin, Sequence):
        return {"type": "array", "items": of(given[0], below)}
    if isinstance(hint, type) and issubclass(hint, Enum):
        return {"type": "string", "enum": [one.value for one in hint]}
    if is_typeddict(hint):
        return _object(hint, get_type_hints(hint), below, needed=hint.__required_keys__)
    if is_dataclass(hint):
        name = getattr(hint, "__name__", "")
        if name not in below:
            below[name] = {}  # it may refer to itself
            hints = get_type_hints(hint)
            below[name] = _object(hint, {f.name: hints[f.name] for f in fields(hint)}, below, needed=frozenset(hints))
            if hint is Event:
                below[name]["allOf"] = [_kind(kind, data, below) for kind, data in EVENTS.items()]
        return {"$ref": f"#/$defs/{name}"}
    raise TypeError(f"no schema for {hint}")


def _object(cls: Any, hints: Mapping[str, Any], below: dict[str, Any], *, needed: frozenset[str]) -> dict[str, Any]:
    properties: dict[str, Any] = {}
    always, either = [], []
    for name, hint in hints.items():
        properties[name] = of(hint, below)
        if hint is bytes or f"{cls.__name__}.{name}" in BYTES:
            twin = f"{name}_b64"
            properties[twin] = dict(_BASE64) if properties[name]["type"] == "string" else {"type": "array", "items": dict(_BASE64)}
            either.append({"oneOf": [{"required": [name]}, {"required": [twin]}]})
        elif name in needed:
            always.append(name)
    made: dict[str, Any] = {"type": "object", "description": " ".join((cls.__doc__ or "").split("\n\n")[0].split())}
    return {**made, "properties": properties, "required": sorted(always), **({"allOf": either} if either else {})}


def _kind(kind: str, data: Any, below: dict[str, Any]) -> dict[str, Any]:
    return {"if": {"properties": {"kind": {"const": kind}}}, "then": {"properties": {"data": of(data, below)}}}


def _page(item: Any, below: dict[str, Any], following: dict[str, Any]) -> dict[str, Any]:
    properties = {"items": {"type": "array", "items": of(item, below)}, "next": following}
    return {"type": "object", "properties": properties, "required": ["items", "next"]}


def schemas() -> dict[str, dict[str, Any]]:
    """Return each document's schema by its name."""
    made = {}
    for name, (hint, what) in DOCUMENTS.items():
        below: dict[str, Any] = {}
        many = get_origin(hint) is not Page and get_origin(hint) is not None
        body = _page(get_args(hint)[0], below, dict(_NULL)) if many else of(hint, below)
        head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": f"urn:rdev:schema:{name}", "title": name}
        made[name] = {**head, "description": what, **body, **({"$defs": below} if below else {})}
    return made
