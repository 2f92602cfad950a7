"""Keys: their form, what lets one in, what turns one away, and that none makes a wider one. T-KEY-1, 2, 4, 5; T-IP-2."""

import hmac
import re
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from rdev_cli.domain.access import Grant, KeySpec, Scope, within
from rdev_cli.domain.codec import to_json
from rdev_cli.domain.errors import Denied, Invalid, NotFound
from rdev_cli.domain.values import Secret
from rdev_cli.ops import keys
from rdev_cli.wiring.services import Services

pytestmark = pytest.mark.state

FORM = re.compile("rdev_sk_[a-z0-9]{8}_[0-9a-f]{32}")
ADMIN = Secret(f"rdev_sk_firstkey_{'0123456789abcdef' * 2}")


@pytest.fixture
def world(home: Mapping[str, str], tmp_path: Path) -> Iterator[Services]:
    made = Services(environ=home, cwd=tmp_path)
    yield made
    made.close()


def spec(**more: Any) -> KeySpec:
    return KeySpec(**{"name": "ci", "scopes": (Scope.KEYS_WRITE, Scope.SESSIONS_READ), **more})


def refused(call: Callable[[], object]) -> Denied:
    with pytest.raises(Denied) as caught:
        call()
    return caught.value


def test_a_key_has_its_form_and_no_two_are_alike(world: Services) -> None:
    made = [keys.create(world, spec()) for _ in range(20)]
    assert all(FORM.fullmatch(one.key) and one.key.startswith(f"rdev_sk_{one.prefix}_") for one in made)
    assert len({one.key[-32:] for one in made}) == len({one.prefix for one in made}) == 20


def test_nothing_that_is_kept_holds_a_key_or_opens_anything(world: Services) -> None:
    made = keys.create(world, spec())
    keys.used(world, {made.id: world.clock.now()})
    world.close()
    for path in world.folder.rglob("*"):
        assert not path.is_file() or made.key[-32:].encode() not in path.read_bytes(), path
    with closing(sqlite3.connect(world.folder / "state.db")) as db:
        cells = {str(cell) for row in db.execute("select * from keys").fetchall() for cell in row}
        cells |= {str(cell) for row in db.execute("select * from events").fetchall() for cell in row}
    shown = keys.show(world, made.id)
    for cell in cells | {to_json(shown)}:
        for tried in (cell, f"rdev_sk_{made.prefix}_{cell}", f"rdev_sk_{made.prefix}_{cell[:32]}", f"rdev_sk_{made.prefix}_{cell[-32:]}"):
            assert refused(lambda tried=tried: keys.authenticate(world, tried, address="127.0.0.1")).code == "UNAUTHORIZED"
    assert made.key not in repr(made)


def test_a_key_lets_in_as_what_it_allows_and_nobody_else(world: Services) -> None:
    bound = keys.create(world, spec(projects=("shop",)))
    assert keys.authenticate(world, bound.key, address="") == Grant(
        actor=f"key:{bound.id}", scopes=frozenset({Scope.KEYS_WRITE, Scope.SESSIONS_READ}), projects=frozenset({"shop"}), key=bound.id
    )
    assert keys.authenticate(world, keys.create(world, spec()).key, address="10.0.0.1").projects is None


@pytest.mark.parametrize("tried", ["", "rdev_sk_", "é", "\udcff", "rdev_sk_firstkey_" + "0" * 31, "x" * 100_000, "0" * 64, "RDEV_SK_"])
def test_what_is_no_key_lets_nobody_in(world: Services, tried: str) -> None:
    keys.create(world, spec())
    assert refused(lambda: keys.authenticate(world, tried, address="127.0.0.1", admin=ADMIN)).code == "UNAUTHORIZED"


def test_the_same_work_is_done_for_a_key_that_nobody_made_whichever_part_is_wrong(world: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    made, work = keys.create(world, spec()), list[str]()
    digest, compare, store = keys.digest, hmac.compare_digest, type(world.store)
    asked = store.key_hash
    monkeypatch.setattr(keys, "digest", lambda key: work.append(f"hash {len(key)}") or digest(key))
    monkeypatch.setattr(hmac, "compare_digest", lambda a, b: work.append(f"compare {len(a)} {len(b)}") or compare(a, b))
    monkeypatch.setattr(store, "key_hash", lambda self, prefix: work.append(f"look {len(prefix)}") or asked(self, prefix))
    told = []
    for tried in (f"rdev_sk_{'z' * 8}_{made.key[-32:]}", made.key[:-1] + ("0" if made.key[-1] != "0" else "1")):
        for admin in (None, ADMIN):
            work.clear()
            error = refused(lambda tried=tried, admin=admin: keys.authenticate(world, tried, address="127.0.0.1", admin=admin))
            told.append((admin is None, [*work], error.code, error.message, error.hint, error.context))
    assert told[0] == told[2]
    assert told[1] == told[3]
    assert told[0][1] == ["hash 49", "look 8", "compare 64 64", "compare 64 64"]


def test_a_key_is_turned_away_when_its_time_is_over_or_it_was_revoked(world: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    short, other = keys.create(world, spec(expires_seconds=60)), keys.create(world, spec())
    grants = [keys.authenticate(world, one.key, address="127.0.0.1") for one in (short, other)]
    for grant in grants:
        keys.standing(world, grant)
    keys.revoke(world, other.id)
    later = world.clock.now() + timedelta(seconds=61)
    monkeypatch.setattr(type(world.clock), "now", lambda _: later)
    for one, grant, code in ((short, grants[0], "KEY_EXPIRED"), (other, grants[1], "KEY_REVOKED")):
        assert refused(lambda one=one: keys.authenticate(world, one.key, address="127.0.0.1")).code == code
        for acting in (world, world.acting(grant)):
            assert refused(lambda acting=acting, grant=grant: keys.standing(acting, grant)).code == code
        wrong = f"{one.key[:-4]}{'0000' if one.key[-4:] != '0000' else '1111'}"
        assert refused(lambda wrong=wrong: keys.authenticate(world, wrong, address="127.0.0.1")).code == "UNAUTHORIZED"


def test_a_grant_that_no_key_is_behind_stands(world: Services) -> None:
    assert keys.standing(world, world.grant) is None


def test_revoked_is_revoked_and_the_journal_tells_it_once_without_a_secret(world: Services) -> None:
    made = keys.create(world, spec(projects=("shop",)))
    first = keys.revoke(world, made.id)
    assert keys.revoke(world, made.id).revoked_at == first.revoked_at
    told = world.store.events(after=0, subject=made.id)
    assert [event.kind for event in told] == ["key.created", "key.revoked"]
    assert made.key[-32:] not in to_json(told)
    assert told[0].data["scopes"] == ["keys:write", "sessions:read"]


def test_only_a_whole_id_revokes(world: Services) -> None:
    made = keys.create(world, spec())
    assert keys.show(world, made.id[:-1]).id == made.id
    for text, kind in ((made.id[:-1], Invalid), (f"key_{'0' * 20}", NotFound), (made.key, Invalid), ("ci", Invalid)):
        with pytest.raises(kind) as caught:
            keys.revoke(world, text)
        assert made.key not in f"{caught.value} {caught.value.hint} {caught.value.context}"
    assert keys.show(world, made.id).revoked_at is None


def test_the_last_use_is_the_latest_that_was_told(world: Services) -> None:
    made, now = keys.create(world, spec()), world.clock.now()
    for at in (now, now - timedelta(hours=1), now + timedelta(minutes=1), now):
        keys.used(world, {made.id: at, "key_gone": at})
    assert keys.show(world, made.id).last_used_at == now + timedelta(minutes=1)


# the first key


def test_the_first_key_may_do_everything_and_is_kept_nowhere(world: Services) -> None:
    grant = keys.authenticate(world, ADMIN.reveal(), address="", admin=keys.admin_key(ADMIN.reveal()))
    assert (grant.actor, grant.allows(Scope.AUDIT_READ), grant.projects, grant.key) == ("admin", True, None, "")
    keys.create(world.acting(grant), spec(scopes=(Scope.ADMIN,)))
    assert refused(lambda: keys.authenticate(world, ADMIN.reveal(), address="")).code == "UNAUTHORIZED"


@pytest.mark.parametrize("text", ["", "secret", ADMIN.reveal()[:-1], ADMIN.reveal() + "\n", ADMIN.reveal().upper()])
def test_a_first_key_of_another_form_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(Invalid) as caught:
        keys.admin_key(text)
    assert not text or text not in f"{caught.value} {caught.value.context}"


# none makes a wider one

NARROW = {"scopes": (Scope.KEYS_WRITE, Scope.SESSIONS_READ), "projects": ("shop", "shed"), "cidrs": ("10.1.0.0/16", "fd00::/8"), "expires_seconds": 3600}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"scopes": (Scope.KEYS_WRITE, Scope.KEYS_READ)}, "scopes"),
        ({"scopes": (Scope.ADMIN,)}, "scopes"),
        ({"projects": ("shop", "other")}, "projects"),
        ({"projects": ()}, "projects"),
        ({"cidrs": ()}, "cidrs"),
        ({"cidrs": ("10.0.0.0/8",)}, "cidrs"),
        ({"cidrs": ("10.1.2.0/24", "192.0.2.1")}, "cidrs"),
        ({"cidrs": ("::/0",)}, "cidrs"),
        ({"expires_seconds": None}, "expires"),
        ({"expires_seconds": 7200}, "expires"),
    ],
)
def test_a_key_makes_no_wider_one(world: Services, change: dict[str, Any], part: str) -> None:
    own = keys.create(world, spec(**NARROW))
    maker = world.acting(keys.authenticate(world, own.key, address="10.1.2.3"))
    error = refused(lambda: keys.create(maker, spec(**{**NARROW, "expires_seconds": 60, **change})))
    assert (error.code, error.context["field"], bool(error.hint)) == ("WIDER_KEY", part, True)
    assert [one.id for one in keys.list_(world)] == [own.id]


def test_a_key_makes_one_that_is_as_wide_or_narrower(world: Services) -> None:
    own = keys.create(world, spec(**NARROW))
    maker = world.acting(keys.authenticate(world, own.key, address="10.1.2.3"))
    for change in (
        {},
        {"projects": ("shed",), "scopes": (Scope.SESSIONS_READ,)},
        {"cidrs": ("10.1.255.0/24", "fd00:1::/32", "::ffff:10.1.0.1")},
    ):
        made = keys.create(maker, spec(**{**NARROW, "expires_seconds": 60, **change}))
        assert made.created_by == f"key:{own.id}"
    admin = keys.create(world, spec(scopes=(Scope.ADMIN,), cidrs=("10.0.0.0/9", "10.128.0.0/9")))
    whole = world.acting(keys.authenticate(world, admin.key, address="10.1.2.3"))
    assert keys.create(whole, spec(scopes=tuple(Scope), cidrs=("10.0.0.0/8",))).scopes == tuple(sorted(Scope))


def test_a_revoked_key_makes_none(world: Services) -> None:
    own = keys.create(world, spec())
    maker = world.acting(keys.authenticate(world, own.key, address=""))
    keys.revoke(world, own.id)
    assert refused(lambda: keys.create(maker, spec())).code == "KEY_REVOKED"


def test_a_key_for_some_projects_sees_the_keys_of_these_alone(world: Services) -> None:
    made = {projects: keys.create(world, spec(projects=projects)) for projects in ((), ("shop",), ("other",), ("other", "shop"))}
    maker = world.acting(keys.authenticate(world, made["shop",].key, address=""))
    assert [one.id for one in keys.list_(maker)] == [made["shop",].id]
    for projects in ((), ("other",), ("other", "shop")):
        with pytest.raises(NotFound):
            keys.revoke(maker, made[projects].id)


# what a key may be asked to allow


@pytest.mark.parametrize(
    "wrong",
    [
        {"scopes": ()}, {"name": "Ci"}, {"name": ""}, {"projects": ("*",)}, {"projects": ("",)}, {"expires_seconds": 0}, {"expires_seconds": -1},
        {"expires_seconds": 10**12}, *({"cidrs": (text,)} for text in ("", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0", "10.0.0.0/255.0.0.0", "::1%eth0",
        "fe80::1%1/64", "010.0.0.1", "localhost", "10.0.0.0/8,192.0.2.0/24", "0x0a000001", "10.0.0.0/8/8", "\uff11\uff10.0.0.1", "/8", "::ffff:10.0.0.0/129")),
    ],
)  # fmt: skip
def test_a_key_that_makes_no_sense_is_refused_with_what_would(wrong: dict[str, Any]) -> None:
    with pytest.raises(Invalid) as caught:
        spec(**wrong)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("10.0.0.1/8", "10.0.0.0/8"),
        ("10.1.2.3/31", "10.1.2.2/31"),
        ("fd00::1/8", "fd00::/8"),
        ("::ffff:10.0.0.1/104", "::ffff:10.0.0.0/104"),
    ],
)
def test_a_network_with_bits_behind_its_mask_is_answered_with_the_right_one(text: str, meant: str) -> None:
    with pytest.raises(Invalid) as caught:
        spec(cidrs=(text,))
    right = caught.value.hint.removeprefix("did you mean ").removesuffix("?")
    assert spec(cidrs=(right,)).cidrs == spec(cidrs=(meant,)).cidrs


@pytest.mark.parametrize(
    ("cidrs", "inside", "outside"),
    [
        (("10.0.0.1/32",), ("10.0.0.1", "::ffff:10.0.0.1", "::ffff:a00:1"), ("10.0.0.2", "10.0.0.0", "::1")),
        (("10.0.0.1",), ("10.0.0.1",), ("10.0.0.2",)),
        (("0.0.0.0/0",), ("1.2.3.4", "::ffff:1.2.3.4"), ("::1", "fd00::1")),
        (("::/0",), ("::1", "fd00::1", "fe80::1%eth0"), ("1.2.3.4", "::ffff:1.2.3.4")),
        (("::1/128",), ("::1",), ("::2", "127.0.0.1")),
        (("::ffff:10.0.0.0/104",), ("10.9.9.9", "::ffff:10.9.9.9"), ("11.0.0.1",)),
        (("10.0.0.0/8", "10.1.0.0/16", "10.0.0.0/8"), ("10.1.2.3", "10.200.0.1"), ("11.0.0.0",)),
        (("fe80::/10",), ("fe80::1%eth0", "fe80::1"), ("fd00::1",)),
        (("10.0.0.0/8",), (), ("", "localhost", "10.0.0.1, 10.0.0.2", "10.0.0.1:80", "[10.0.0.1]", "10.0.0.1/8", "testclient")),
    ],
)
def test_an_address_is_in_a_network_or_not(cidrs: tuple[str, ...], inside: tuple[str, ...], outside: tuple[str, ...]) -> None:
    kept = spec(cidrs=cidrs).cidrs
    assert [within(one, kept) for one in inside] == [True] * len(inside)
    assert [within(one, kept) for one in outside] == [False] * len(outside)


def test_a_key_from_a_foreign_address_is_told_so(world: Services) -> None:
    made = keys.create(world, spec(cidrs=("10.0.0.0/8",)))
    assert keys.authenticate(world, made.key, address="::ffff:10.1.2.3").key == made.id
    for address in ("192.0.2.1", "::1", ""):
        assert refused(lambda address=address: keys.authenticate(world, made.key, address=address)).code == "IP_NOT_ALLOWED"
