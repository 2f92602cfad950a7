"""What a forge tells is only a reason to look: what moved is told once, as it is found, whatever was said and whoever dies."""

from pathlib import Path

import pytest

from rdev_cli.domain.errors import NotFound, Unavailable
from rdev_cli.domain.project import ProjectSpec
from rdev_cli.domain.values import Secret
from rdev_cli.ops import credentials, hooks_in, projects
from tests.fakes.forge import commit
from tests.fakes.world import MemoryWorld

pytestmark = pytest.mark.state


@pytest.fixture
def world(tmp_path: Path) -> MemoryWorld:
    made = MemoryWorld(tmp_path)
    made.settings.set("gt", {"gitea_url": "http://gitea.invalid", "public_url": "https://rdev.invalid/", "vault": "file"})
    made.settings.use("gt")
    projects.create(made, ProjectSpec(name="shop"))
    yield made
    made.close()


def moved(world: MemoryWorld) -> list[tuple[str, str, str]]:
    lines = world.store.events(after=0, subject="shop", limit=1000)
    return [(line.data["branch"], line.data["before"], line.data["commit"]) for line in lines if line.kind == "branch.moved"]


def test_a_project_is_made_with_a_hook_that_has_the_contexts_secret(world):
    assert world.forge.repositories["shop"].hooks == {"https://rdev.invalid/hooks/gitea": hooks_in.secret(world).reveal()}
    projects.create(world, ProjectSpec(name="other"))
    assert world.forge.repositories["other"].hooks == world.forge.repositories["shop"].hooks
    assert [one.used_by for one in credentials.list_(world) if one.name == "GITEA_HOOK_SECRET"] == [("the forge",)]


def test_a_project_without_an_address_has_no_hook_and_no_secret(tmp_path):
    plain = MemoryWorld(tmp_path)
    projects.create(plain, ProjectSpec(name="shop"))
    assert plain.forge.repositories["shop"].hooks == {}
    with pytest.raises(NotFound):
        hooks_in.secret(plain)
    plain.close()


def test_what_moved_is_told_once(world):
    repository = world.forge.repositories["shop"]
    first = repository.branches["main"]
    assert hooks_in.look(world, "shop") == []
    repository.branches["main"] = second = commit(repository.commits, first, "second", ["a"])
    repository.branches["new"] = first
    for _ in (1, 2, 3):
        hooks_in.look(world, "shop")
    assert moved(world) == [("main", first, second), ("new", "", first)]
    del repository.branches["new"]
    hooks_in.look(world, "shop")
    assert moved(world)[2:] == [("new", first, "")]


def test_what_was_looked_at_by_one_who_was_killed_is_told_by_the_next(world, monkeypatch):
    repository = world.forge.repositories["shop"]
    first = repository.branches["main"]
    repository.branches["main"] = second = commit(repository.commits, first, "second", ["a"])
    with monkeypatch.context() as patch:
        patch.setattr(world.store, "transaction", lambda: (_ for _ in ()).throw(Unavailable("dead", hint="")))
        with pytest.raises(Unavailable):
            hooks_in.look(world, "shop")
    hooks_in.look(world, "shop")
    assert moved(world) == [("main", first, second)]


def test_a_signature_is_one_of_exactly_these_bytes_under_exactly_this_secret():
    import hashlib
    import hmac

    good = hmac.new(b"s", b"body", hashlib.sha256).hexdigest()
    assert hooks_in.signed(Secret("s"), b"body", good)
    for secret, body, signature in (
        ("s", b"body ", good), ("t", b"body", good), ("s", b"body", ""), ("s", b"body", good.upper()), ("s", b"body", f"sha256={good}"),
        ("s", b"body", "é"), ("s", b"body", hmac.new(b"s", b"body", hashlib.sha1).hexdigest()),
    ):  # fmt: skip
        assert not hooks_in.signed(Secret(secret), body, signature)
