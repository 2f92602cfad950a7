"""A world for each caller over one set of adapters: built once, and closed where a caller is bound to projects."""

import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from rdev_cli.domain.access import Grant, Scope
from rdev_cli.domain.errors import Denied
from rdev_cli.ops import contexts, credentials, doctor, premises
from rdev_cli.wiring.services import Services

BOUND = Grant(actor="key:key_1", scopes=frozenset({Scope.ADMIN}), projects=frozenset({"shop"}), key="key_1")
WHOLE = Grant(actor="key:key_2", scopes=frozenset({Scope.ADMIN}), key="key_2")
SHARED = ("settings", "folder", "installation", "clock", "cluster", "spool", "forge", "agents", "vaults", "shelf", "premises", "files")


@pytest.fixture
def services(home: Mapping[str, str], tmp_path: Path) -> Iterator[Services]:
    made = Services(environ={**home, "ANTHROPIC_API_KEY": "of the server's own environment"}, cwd=tmp_path)
    yield made
    made.close()


@pytest.mark.parametrize("part", SHARED)
def test_a_part_is_built_once_for_all_callers_whoever_asks_first(services: Services, part: str) -> None:
    first, second = services.acting(WHOLE), services.acting(WHOLE)
    assert getattr(first, part) is getattr(second, part) is getattr(services, part)


def test_a_part_is_built_once_though_many_threads_ask_at_once(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    made, found, gate = list[str](), list[object](), threading.Barrier(16)
    shelf = type(services).__dict__["forge"]
    build = shelf._build
    monkeypatch.setattr(shelf, "_build", lambda root: made.append("forge") or build(root))
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)

    def ask() -> None:
        gate.wait()
        found.append(services.acting(WHOLE).forge)

    threads = [threading.Thread(target=ask) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sys.setswitchinterval(before)
    assert (made, len(found), len(set(map(id, found)))) == (["forge"], 16, 1)


def test_a_caller_that_asks_for_nothing_builds_nothing(services: Services) -> None:
    for grant in (WHOLE, BOUND):
        assert services.acting(grant).store.projects() == []
    assert not {"cluster", "vaults", "forge", "agents", "spool", "api"} & set(vars(services))


def test_each_caller_has_its_own_name_and_sight(services: Services) -> None:
    for grant in (WHOLE, BOUND):
        world = services.acting(grant)
        with world.store.transaction() as tx:
            tx.append("project.changed", "shop", {})
        assert (world.actor, world.grant) == (grant.actor, grant)
    assert [event.actor for event in services.store.events(after=0)] == [WHOLE.actor, BOUND.actor]
    assert services.actor.startswith("local:")


@pytest.mark.parametrize(
    "ask",
    [
        contexts.view,
        lambda world: contexts.set_(world, "local", {"vault": "file"}),
        lambda world: contexts.use(world, "local"),
        lambda world: credentials.set_(world, "GITEA_TOKEN", b"x"),
        credentials.checks,
        premises.plan,
        lambda world: world.in_keyring("local"),
        lambda world: world.at_forge("local"),
        doctor.check,
    ],
)
def test_what_belongs_to_no_project_is_closed_to_whoever_is_bound_to_some(services: Services, ask: Callable[[Services], object]) -> None:
    with pytest.raises(Denied) as caught:
        ask(services.acting(BOUND))
    assert caught.value.hint


def test_a_bound_caller_sees_no_context_and_no_credential_and_its_agents_get_theirs(services: Services) -> None:
    contexts.set_(services, "local", {"vault": "file"})
    credentials.set_(services, "ANTHROPIC_AUTH_TOKEN", b"from the vault")
    for grant in (BOUND, WHOLE):
        world = services.acting(grant)
        assert [(name, value.reveal()) for name, value in world.agent_environment("claude")] == [("ANTHROPIC_AUTH_TOKEN", "from the vault")]
        assert list(world.agent_given("claude")) == ["ANTHROPIC_AUTH_TOKEN"]
        assert world.agent_variable("claude", "ANTHROPIC_API_KEY") is None
        assert world.settings.default_agent() == services.settings.default_agent()
    assert services.agent_variable("claude", "ANTHROPIC_API_KEY") is not None
    assert (contexts.list_(services.acting(BOUND)), credentials.list_(services.acting(BOUND))) == ((), [])
