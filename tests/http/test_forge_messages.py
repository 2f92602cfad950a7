"""Where the forge tells: nobody is believed but by a signature, and nothing of what is said but which repository. T-WH-8."""

import hmac
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rdev_cli.domain.project import ProjectSpec
from rdev_cli.faces.http.app import create_app
from rdev_cli.ops import hooks_in, projects
from tests.fakes.forge import commit
from tests.fakes.world import MemoryWorld
from tests.support.wire import Answer, Wire

pytestmark = pytest.mark.state
Tell = Callable[..., Answer]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MemoryWorld]:
    made = MemoryWorld(tmp_path)
    made.settings.set("gt", {"gitea_url": "http://gitea.invalid", "public_url": "https://rdev.invalid", "vault": "file"})
    made.settings.use("gt")
    monkeypatch.setattr(made.forge, "url", lambda project: f"http://gitea.invalid/acme/{project}.git")
    for name in ("shop", "other"):
        projects.create(made, ProjectSpec(name=name))
    yield made
    made.close()


@pytest.fixture
def tell(world: MemoryWorld) -> Iterator[Tell]:
    wire = Wire(create_app(world, lambda key, address: None))

    def told(
        repository: object = None, *, delivery: str = "one", signature: str | None = None, body: bytes | None = None, **more: object
    ) -> Answer:
        said = {"repository": repository or {"id": 7, "name": "shop", "full_name": "acme/shop"}, **more}
        sent = json.dumps(said).encode() if body is None else body
        good = hmac.new(hooks_in.secret(world).reveal().encode(), sent, "sha256").hexdigest()
        headers = [("x-gitea-delivery", delivery), ("x-gitea-event", "push")]
        if signature != "none":
            headers.append(("x-gitea-signature", good if signature is None else signature))
        return wire.ask("POST", "/hooks/gitea", headers, sent)

    yield told
    wire.close()


def lines(world: MemoryWorld, project: str = "shop") -> int:
    return sum(line.kind == "branch.moved" for line in world.store.events(after=0, subject=project, limit=1000))


def push(world: MemoryWorld, project: str = "shop") -> str:
    repository = world.forge.repositories[project]
    made = commit(repository.commits, repository.branches["main"], "pushed", [f"file-{len(repository.commits)}"])
    repository.branches["main"] = made
    return made


def test_a_signed_message_makes_rdev_look_and_tell_what_it_found_itself(world, tell):
    made = push(world)
    answer = tell(ref="refs/heads/main", after="f" * 40)  # which is not so
    assert (answer.status, json.loads(answer.body)["data"]) == (202, {"project": "shop", "taken": True})
    told = [line.data for line in world.store.events(after=0, subject="shop", limit=100) if line.kind == "branch.moved"]
    assert [(one["branch"], one["commit"]) for one in told] == [("main", made)]


@pytest.mark.parametrize("signature", ["none", "", "0" * 64, "sha256=" + "0" * 64])
def test_a_message_that_is_not_signed_is_refused_and_nothing_is_looked_at(world, tell, signature, monkeypatch):
    push(world)
    monkeypatch.setattr(world.forge, "news", lambda project: pytest.fail("it looked"))
    answer = tell(signature=signature)
    assert (answer.status, answer.code, lines(world)) == (401, "UNAUTHORIZED", 0)


def test_a_replay_tells_nothing_new_under_its_own_id_or_another(world, tell):
    push(world)
    assert [json.loads(tell(delivery=id).body)["data"]["taken"] for id in ("one", "one", "two")] == [True, False, True]
    assert lines(world) == 1


def test_another_repository_a_renamed_one_and_fields_of_another_project_lead_nowhere(world, tell):
    push(world)
    push(world, "other")
    for repository in (
        {"id": 8, "name": "shop", "full_name": "evil/shop"}, {"id": 7, "name": "renamed", "full_name": "acme/renamed"},
        {"id": 7, "name": "../shop", "full_name": "acme/../shop"}, {"id": 7, "name": "x" * 5000, "full_name": "acme/shop"},
    ):  # fmt: skip
        assert tell(repository).status == 404, repository
    assert tell({"id": 99, "name": "other", "full_name": "acme/shop"}).status == 404
    assert (lines(world), lines(world, "other")) == (0, 0)
    assert tell({"id": 99, "name": "shop", "full_name": "acme/shop"}, project="other").status == 202  # looked at is our own, by its name
    assert (lines(world), lines(world, "other")) == (1, 0)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b"{}", b'{"repository": []}', b'{"repository": {"name": "shop"}}', b"\xff" * 9])
def test_what_is_no_message_is_refused(tell, body):
    answer = tell(body=body)
    assert (answer.status, answer.code) == (400, "BAD_REQUEST")


def test_a_forge_that_does_not_answer_costs_nothing_and_the_next_message_finds_all(world, tell):
    made = push(world)
    world.forge.trouble.add("news:before")
    assert tell(delivery="one").status == 202
    assert lines(world) == 0
    world.forge.trouble.clear()
    tell(delivery="two")
    told = [line.data["commit"] for line in world.store.events(after=0, subject="shop", limit=100) if line.kind == "branch.moved"]
    assert told == [made]
