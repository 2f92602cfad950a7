"""A checkout: a branch of a project on the user's own machine, with a credential that ends."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from rdev_cli.domain.errors import Invalid
from rdev_cli.domain.values import LONGEST, ProjectId, branch, name

LASTS = 8 * 3600  # seconds that a checkout's credential is good for, unless its starter says otherwise
OWED = 30 * 86400  # seconds for which a debt to revoke is tried again


class CheckoutState(StrEnum):
    """Where a checkout is in its life."""

    ACTIVE = "active"
    CHECKED_IN = "checked_in"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckoutSpec:
    """What a caller asks for."""

    project: str
    branch: str = ""  # the branch that the work starts from and shall go back to; empty: the project's
    lasts_seconds: int = LASTS

    def __post_init__(self) -> None:
        name(self.project, "project name")
        if self.branch:
            branch(self.branch)
        if not 60 <= self.lasts_seconds <= LONGEST:
            raise Invalid("a checkout lasts 60s at least and 366d at most", hint="--for 8h", field="for")


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkout:
    """What everybody may see of it."""

    id: str
    project: str
    project_id: ProjectId
    branch: str  # rdev/<id>: the only one that its credential can write
    target: str  # the branch that it shall go back to
    base: str  # the commit that it started from
    state: CheckoutState
    url: str  # what git clones; no credential is in it
    account: str  # what the forge knows its holder as; empty where a forge has no accounts
    actor: str
    created_at: datetime
    expires_at: datetime
    ended_at: datetime | None = None
    place: str = (
        ""  # where this machine keeps its credential: keyring, file or passphrase; empty: whoever asked for it has it, or there is none
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckoutStarted(Checkout):
    """A new checkout with its credential, which nobody will ever see again; empty where a forge needs none."""

    token: str = field(default="", repr=False)
    push_option: str = ""  # what each push must say (git push -o), empty where nothing is asked for


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckoutFolder(Checkout):
    """A checkout that was cloned here; its credential stays in the vault."""

    folder: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """What a folder that rdev clones into says of itself, from the first moment on."""

    checkout: str
    context: str
    project: str
    target: str  # as it was asked for; empty: the project's own branch
    branch: str
    url: str = ""
    push_option: str = ""  # what each push must say, known when it is whole
    whole: bool = False  # False: its clone was not finished


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """How the work in such a folder stands."""

    folder: str  # its top
    mark: Mark
    branch: str  # the one that is checked out, empty for none
    head: str  # its commit
    staged: bool  # something is added for the next commit
    dirty: tuple[str, ...]  # paths that are changed or new and not added
    busy: str = ""  # what git is in the middle of there: merge, rebase, cherry-pick, revert, bisect; empty: nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Debt:
    """Something at a provider that must be taken away: written down before it is made, forgotten when it is known to be gone."""

    id: str
    project: str
    kind: str  # account: an account at the forge, with its tokens and rules
    subject: str  # its name there
    reason: str  # what it was made for: a checkout's id
    created_at: datetime
    due_at: datetime  # from then on it is to be taken away; later while it is still needed
    tries: int = 0
    next_at: datetime  # when it is tried (again)
    trouble: str = ""  # what kept it back the last time
