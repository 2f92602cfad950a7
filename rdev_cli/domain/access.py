"""Who may do what: scopes, keys, and what a caller was granted."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Scope(StrEnum):
    """What a caller must be allowed to do; `admin` implies all others."""

    PROJECTS_READ = "projects:read"
    PROJECTS_EXECUTE = "projects:execute"
    SESSIONS_READ = "sessions:read"
    SESSIONS_EXECUTE = "sessions:execute"
    BUILDS_READ = "builds:read"
    BUILDS_WRITE = "builds:write"
    QUEUE_READ = "queue:read"
    QUEUE_WRITE = "queue:write"
    VERIFY_READ = "verify:read"
    VERIFY_WRITE = "verify:write"
    KEYS_READ = "keys:read"
    KEYS_WRITE = "keys:write"
    WEBHOOKS_READ = "webhooks:read"
    WEBHOOKS_WRITE = "webhooks:write"
    CREDENTIALS_READ = "credentials:read"
    CREDENTIALS_WRITE = "credentials:write"
    SDLC_APPROVE = "sdlc:approve"
    AUDIT_READ = "audit:read"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What a caller may do, and on which projects; every door makes one, the store looks at it again."""

    actor: str  # as the journal names it: local:<user>, key:<id>, admin
    scopes: frozenset[Scope]
    projects: frozenset[str] | None = None  # names; None: all of them, and what belongs to no project
    key: str = ""  # the id of the key that was shown, empty for the local user and the first key

    def allows(self, scope: Scope) -> bool:
        """Say whether this scope, or all of them, was granted."""
        return Scope.ADMIN in self.scopes or scope in self.scopes

    def sees(self, project: str) -> bool:
        """Say whether a project is within the grant; the empty name stands for what belongs to none."""
        return self.projects is None or project in self.projects


def local(actor: str) -> Grant:
    """Return the grant of whoever owns the state: everything."""
    return Grant(actor=actor, scopes=frozenset({Scope.ADMIN}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A key, as everybody may see it; its secret was shown once and only a hash of it is kept."""

    id: str
    name: str
    prefix: str  # the 8 characters by which its holder knows it: rdev_sk_<prefix>_…
    scopes: tuple[Scope, ...]
    projects: tuple[str, ...] = ()  # empty: all
    cidrs: tuple[str, ...] = ()  # empty: from anywhere
    created_at: datetime
    created_by: str
    expires_at: datetime | None = None
    last_used_at: datetime | None = None
    revoked_at: datetime | None = None
