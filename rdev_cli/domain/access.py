"""Who may do what: scopes, keys, and what a caller was granted."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from rdev_cli.domain.errors import Denied, Invalid
from rdev_cli.domain.values import LONGEST, name, shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

_KEY = re.compile("rdev_sk_([a-z0-9]{8})_[0-9a-f]{32}")
_NETWORK = re.compile("[0-9A-Fa-f.:]{2,45}(/[0-9]{1,3})?")


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


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyCreated(Key):
    """A new key, with what its holder shows; nobody will ever see that again."""

    key: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySpec:
    """What a new key shall be allowed."""

    name: str
    scopes: tuple[Scope, ...]
    projects: tuple[str, ...] = ()  # empty: all; they need not exist yet
    cidrs: tuple[str, ...] = ()  # empty: from anywhere
    expires_seconds: int | None = None  # None: never

    def __post_init__(self) -> None:
        name(self.name, "key name")
        if not self.scopes:
            raise Invalid("a key needs a scope", hint=f"one or more of {', '.join(Scope)}", field="scopes")
        for project in self.projects:
            name(project, "project name")
        if self.expires_seconds is not None and not 0 < self.expires_seconds <= LONGEST:
            raise Invalid("the key would end at once, or in more than a year", hint="between 1s and 366d, or never", field="expires")
        for what in ("scopes", "projects"):
            object.__setattr__(self, what, tuple(sorted(set(getattr(self, what)))))
        object.__setattr__(self, "cidrs", tuple(dict.fromkeys(str(network(text)) for text in self.cidrs)))


def scope(text: str) -> Scope:
    """Return the scope of that name, else raise Invalid."""
    try:
        return Scope(text)
    except ValueError:
        raise Invalid(f"there is no scope '{shown(text)}'", hint=f"one of {', '.join(Scope)}", field="scopes") from None


def key_prefix(text: str) -> str:
    """Return the 8 characters by which a key is found, empty if text is no key: `rdev_sk_`, 8 of a-z0-9, `_`, 32 of 0-9a-f."""
    match = _KEY.fullmatch(text)
    return match[1] if match else ""


def network(text: str) -> "IPv4Network | IPv6Network":
    """Return the network that text means, a single address too; Invalid if it has bits behind its mask, with the right spelling."""
    import ipaddress  # noqa: PLC0415 -- only keys with networks need it

    try:
        if not _NETWORK.fullmatch(text):
            raise ValueError(text)
        found = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise Invalid(f"'{shown(text)}' is no network", hint="as 10.0.0.0/8, 192.0.2.7 or fd00::/8", field="cidrs") from None
    if ipaddress.ip_interface(text).ip != found.network_address:
        raise Invalid(f"'{shown(text)}' has bits behind its mask", hint=f"did you mean {found}?", field="cidrs")
    mapped = getattr(found.network_address, "ipv4_mapped", None)
    if mapped is not None and found.prefixlen >= 96:  # as a peer on a socket for both families shows itself
        return ipaddress.IPv4Network((mapped, found.prefixlen - 96))
    return found


def _address(text: str) -> "IPv4Address | IPv6Address | None":
    import ipaddress  # noqa: PLC0415 -- only keys with networks need it

    try:
        found = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found


def within(address: str, cidrs: Sequence[str]) -> bool:
    """Say whether a peer's address is in one of the networks; what is no address, as a Unix socket's peer, is in none."""
    found = _address(address)
    return found is not None and any(found in network(text) for text in cidrs)


def narrower(spec: KeySpec, expires_at: datetime | None, grant: Grant, own: Key | None) -> None:
    """Check that a new key allows nothing that its maker is not allowed; Denied WIDER_KEY names the part.

    `own` is the key that the maker showed, None for the local user and the first key, who are bound by nothing but their grant.
    """
    more = [one.value for one in spec.scopes if not grant.allows(one)]
    if more:
        raise _wider("scopes", f"allow {', '.join(more)}", f"leave out --scope {' --scope '.join(more)}")
    if grant.projects is not None and not (spec.projects and grant.projects.issuperset(spec.projects)):
        others = [one for one in spec.projects if one not in grant.projects]
        hint = f"bind it to some of yours: --project {' --project '.join(sorted(grant.projects))}"
        raise _wider("projects", f"reach {', '.join(others) or 'all projects'}", hint)
    if own is None:
        return
    if own.cidrs and not (spec.cidrs and all(_covered(text, own.cidrs) for text in spec.cidrs)):
        raise _wider("cidrs", "be used from more addresses", f"bind it to these or a part of them: --cidr {' --cidr '.join(own.cidrs)}")
    if own.expires_at is not None and (expires_at is None or expires_at > own.expires_at):
        raise _wider("expires", "last longer", f"yours ends at {own.expires_at.isoformat(timespec='seconds')}: give a shorter --expires")


def _covered(text: str, cidrs: Sequence[str]) -> bool:
    import ipaddress  # noqa: PLC0415 -- only keys with networks need it

    one = network(text)
    if isinstance(one, ipaddress.IPv4Network):
        return any(
            one.subnet_of(n) for n in ipaddress.collapse_addresses(n for n in map(network, cidrs) if isinstance(n, ipaddress.IPv4Network))
        )
    return any(
        one.subnet_of(n) for n in ipaddress.collapse_addresses(n for n in map(network, cidrs) if isinstance(n, ipaddress.IPv6Network))
    )


def _wider(part: str, what: str, hint: str) -> Denied:
    return Denied(f"a key makes no wider one, and this one would {what}", hint=hint, code="WIDER_KEY", field=part)
