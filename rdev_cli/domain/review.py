"""Checks, reviews and check-ins: what was run on which tree, what it said, and the receipt that proves it."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from rdev_cli.domain.values import ProjectId


class Severity(StrEnum):
    """How much a finding weighs: an error keeps a change back, the others do not."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


class Verdict(StrEnum):
    """What a review came to."""

    PASSED = "passed"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Something to run in a clean pod: lines of sh, in order, each its own command; the first that fails ends the step."""

    name: str
    lines: tuple[str, ...]
    environment: tuple[tuple[str, str], ...] = ()
    depends_on: tuple[str, ...] = ()  # names of steps that must have passed


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckRun:
    """One line that was run, and what came of it."""

    step: str
    line: str
    command: str  # cmd_…: its output while that is kept
    exit_code: int | None  # None: it never came to an end of its own
    reason: str = ""  # why not: timeout, cancelled, setup; skipped: a step before it failed
    duration_ms: int
    stdout_sha256: str
    stderr_sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What a set of steps came to on one commit, in a pod that nothing else had touched."""

    project: str
    commit: str
    tree: str
    image: str  # what the pod was made of: an image with its digest, or `local`
    verdict: Verdict
    runs: tuple[CheckRun, ...]
    duration_ms: int
    notes: tuple[str, ...] = ()  # what was not run as it is written, and what is left to do


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that a review has to say."""

    severity: Severity
    source: str  # check, agent, scan
    message: str
    file: str = ""
    line: int = 0  # 0: of the whole file


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """What the checks and, where one is configured, an agent say of a change."""

    verdict: Verdict
    findings: tuple[Finding, ...]
    checked: Checked
    agent: str = ""
    model: str = ""
    command: str = ""  # the agent's run
    input_tokens: int = 0
    output_tokens: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What is signed of a check-in: which change, which commands ran on exactly its tree, and what they came to."""

    id: str
    project: str
    project_id: ProjectId
    session: str = ""
    checkout: str = ""
    branch: str
    target: str
    base: str  # the commit of the target that the change starts from
    commit: str
    tree: str
    diff_sha256: str  # of the change from base to commit, as git prints it
    image: str
    verdict: Verdict
    checks: tuple[CheckRun, ...]
    findings: tuple[Finding, ...]
    agent: str = ""
    model: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    actor: str
    created_at: datetime
    signer: str  # the public key: base64 of 32 bytes (Ed25519)
    signature: str = ""  # base64 of 64 bytes, over the canonical JSON of all else


@dataclass(frozen=True, slots=True, kw_only=True)
class Signer:
    """A key that signs a project's receipts, as everybody may know it; its private half is in the vault under this id."""

    id: str
    project: str
    project_id: ProjectId
    public_key: str  # base64 of 32 bytes (Ed25519)
    place: str  # where the private half is: keyring, file or passphrase
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayedRun:
    """One line of a receipt, and what it came to when it was run again; what a program prints may honestly differ from run to run."""

    step: str
    line: str
    command: str
    recorded: int | None  # the exit code in the receipt
    replayed: int | None
    reason: str  # why it did not simply exit this time
    equal: bool  # it came to the same end
    stdout: str  # equal or differs
    stderr: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """What the commands of a receipt came to when they were run again on its tree, in a clean pod."""

    receipt: str
    project: str
    commit: str
    verdict: Verdict  # passed: the same tree, and every line came to the same end
    tree: str  # equal or differs
    image: str  # likewise; it decides nothing
    runs: tuple[ReplayedRun, ...]
    duration_ms: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Pull:
    """A pull request."""

    number: int
    url: str  # where a person looks at it, empty where there is no such place
    head: str  # the branch
    base: str
    sha: str  # the commit of head
    state: str  # open, merged, closed
    merged: str = ""  # the commit that it became
    title: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkin:
    """What became of a check-in."""

    project: str
    session: str = ""
    checkout: str = ""
    branch: str
    target: str
    commit: str
    pull: Pull | None  # None: there was nothing to check in
    receipt: str
    verdict: Verdict | None
    findings: tuple[Finding, ...] = ()
    merged: str = ""  # the commit that the target got, empty if it was not merged
    revoked: bool = False  # the checkout's credential counts no more
