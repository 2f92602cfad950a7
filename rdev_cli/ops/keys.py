"""Keys: what a caller from elsewhere shows, and what it is allowed by it."""

import hmac
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from datetime import datetime, timedelta
from hashlib import sha256

from rdev_cli.domain.access import Grant, Key, KeyCreated, KeySpec, key_prefix, narrower, within
from rdev_cli.domain.errors import Denied, Invalid, NotFound
from rdev_cli.domain.values import Secret, id_like, shown
from rdev_cli.ops.ledger import Scope, operation
from rdev_cli.ports import World

_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
_NOBODY = "0" * 64  # what a key is compared with where there is none of its prefix: no text has this digest


@operation("key.create", Scope.KEYS_WRITE)
def create(world: World, spec: KeySpec) -> KeyCreated:
    """Create a key for `rdev serve`; it is shown once, and only a hash of it is kept.

    It allows its scopes and nothing else; with projects, on these projects only; with networks, from there only. `admin` is all scopes.
    A key makes no key that allows more than itself: Denied WIDER_KEY names the part.
    """
    now = world.clock.now()
    expires = None if spec.expires_seconds is None else now + timedelta(seconds=spec.expires_seconds)
    narrower(spec, expires, world.grant, standing(world, world.grant))
    prefix, secret = "".join(secrets.choice(_LETTERS) for _ in range(8)), secrets.token_hex(16)
    key = Key(
        id=world.new_id("key"), name=spec.name, prefix=prefix, scopes=spec.scopes, projects=spec.projects, cidrs=spec.cidrs,
        created_at=now, created_by=world.actor, expires_at=expires,
    )  # fmt: skip
    whole = f"rdev_sk_{prefix}_{secret}"
    with world.store.transaction() as tx:
        tx.put_key(key, digest(whole))
        what = ("name", "prefix", "scopes", "projects", "cidrs", "expires_at")
        tx.append("key.created", key.id, {each: getattr(key, each) for each in what})
    return KeyCreated(**{each.name: getattr(key, each.name) for each in fields(key)}, key=whole)


@operation("key.list", Scope.KEYS_READ)
def list_(world: World) -> Sequence[Key]:
    """List keys: what each allows and when it was last used, never the key itself."""
    return world.store.keys()


@operation("key.show", Scope.KEYS_READ)
def show(world: World, key: str) -> Key:
    """Show what a key allows and when it was last used, never the key itself."""
    return known(world, key)


@operation("key.revoke", Scope.KEYS_WRITE)
def revoke(world: World, key: str) -> Key:
    """Revoke a key for good: its next request is refused, and its open streams end within seconds.

    Keys that it made stay. To revoke it again changes nothing.
    """
    found = known(world, key, whole=True)
    if found.revoked_at is not None:
        return found
    now = world.clock.now()
    with world.store.transaction() as tx:
        tx.revoke_key(found.id, now)
        tx.append("key.revoked", found.id, {"name": found.name, "prefix": found.prefix})
    return replace(found, revoked_at=now)


def key_id(text: str) -> str:
    """Return text if it can be a key's id, or the beginning of one, else raise Invalid."""
    if not id_like(text, "key"):  # it may be the key itself, which is not repeated
        raise Invalid("that is no key's id", hint="rdev key list shows the ids: key_…", field="key")
    return text


def known(world: World, text: str, *, whole: bool = False) -> Key:
    """Return a key by its id or, unless `whole`, by a unique beginning of it (4 characters after `key_`)."""
    key_id(text)
    everything = world.store.keys()
    found = [one for one in everything if one.id.startswith(text)]
    if not found:
        raise NotFound(f"there is no key {text}", hint="rdev key list shows the ones there are", key=text)
    if len(found) > 1:
        raise Invalid(f"more than one key begins with {text}", hint="rdev key list shows the ids; type more of it", field="key")
    if whole and found[0].id != text:
        raise Invalid(f"{text} is only the beginning of an id", hint=f"type it whole: {found[0].id}", field="key")
    return found[0]


def digest(key: str) -> str:
    """Return what is kept of a key: a plain hash is enough for a secret of 128 random bits, which nobody can guess through."""
    return sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def admin_key(text: str) -> Secret:
    """Return the first key, which the server is started with and never stores; Invalid if it has not the form of a key."""
    if not key_prefix(text):
        raise Invalid(
            "RDEV_ADMIN_KEY is not a key",
            hint='8 of a-z0-9 and 32 of 0-9a-f: RDEV_ADMIN_KEY="rdev_sk_firstkey_$(openssl rand -hex 16)"',
            field="RDEV_ADMIN_KEY",
        )
    return Secret(text)


def authenticate(world: World, presented: str, *, address: str, admin: Secret | None = None) -> Grant:
    """Return what whoever shows a key from a peer's address is allowed; `world` is the server's own.

    Denied UNAUTHORIZED for a key that nobody made, whichever part of it is wrong, with the same work done; KEY_REVOKED, KEY_EXPIRED,
    IP_NOT_ALLOWED for one that was made.
    """
    shown_, prefix = digest(presented), key_prefix(presented)
    first = digest(admin.reveal()) if admin is not None else _NOBODY
    id, hash = world.store.key_hash(prefix)
    if hmac.compare_digest(shown_, first):
        return Grant(actor="admin", scopes=frozenset({Scope.ADMIN}))
    if not hmac.compare_digest(shown_, hash or _NOBODY):
        raise Denied("there is no such key", hint="show one in the header X-API-Key or Authorization: Bearer", code="UNAUTHORIZED")
    key = _near(_stands(world.store.find_key(id), world.clock.now()), address)
    projects = frozenset(key.projects) if key.projects else None
    return Grant(actor=f"key:{key.id}", scopes=frozenset(key.scopes), projects=projects, key=key.id)


def standing(world: World, grant: Grant) -> Key | None:
    """Return the key behind a grant, None if there is none; Denied if it was revoked or has expired since. One look into the state."""
    return _stands(world.store.find_key(grant.key), world.clock.now()) if grant.key else None


def still(world: World, grant: Grant, *, address: str) -> Key | None:
    """Return the key behind a grant that is used once more, None if there is none; Denied as `authenticate` says it."""
    key = standing(world, grant)
    return None if key is None else _near(key, address)


def _near(key: Key, address: str) -> Key:
    if key.cidrs and not within(address, key.cidrs):
        raise Denied(
            f"this key is not for the address {shown(address) or 'of a socket'}",
            hint=f"rdev key show {key.id}",
            code="IP_NOT_ALLOWED",
            key=key.id,
        )
    return key


def stands(world: World, id: str) -> bool:
    """Say whether a key is there and was neither revoked nor has expired."""
    try:
        _stands(world.store.find_key(id), world.clock.now())
    except Denied:
        return False
    return True


def _stands(key: Key | None, now: datetime) -> Key:
    if key is None or key.revoked_at is not None:
        raise Denied("this key was revoked", hint="whoever owns the server makes another: rdev key create", code="KEY_REVOKED")
    if key.expires_at is not None and key.expires_at <= now:
        raise Denied(
            f"this key expired at {key.expires_at.isoformat(timespec='seconds')}",
            hint="whoever owns the server makes another: rdev key create",
            code="KEY_EXPIRED",
            key=key.id,
        )
    return key


def used(world: World, times: Mapping[str, datetime]) -> None:
    """Note when keys were last used, by id: what was gathered for a minute is written at once, so that a request writes nothing."""
    if times:
        with world.store.transaction() as tx:
            for id, at in times.items():
                tx.use_key(id, at)
