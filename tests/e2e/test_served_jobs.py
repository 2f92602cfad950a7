"""What is asked of `rdev serve` is done once, whenever the server is killed and however often it is asked."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.conftest import Rdev, Spawn
from tests.support.serving import Server, start


def ask(server: Server, method: str, path: str, body: object = None, **headers: str) -> Any:
    """Ask a server and return the answer's data."""
    status, _, told = server.ask(method, path, body, headers={name.replace("_", "-"): text for name, text in headers.items()})
    assert status < 300, told
    return told["data"]


def until(look: Callable[[], Any], good: Callable[[Any], bool], seconds: float = 60) -> Any:
    end = time.monotonic() + seconds
    while not good(found := look()):
        assert time.monotonic() < end, found
        time.sleep(0.05)
    return found


def test_what_was_asked_for_is_done_by_the_next_server_and_a_command_runs_once(rdev: Rdev, spawn: Spawn, project: str) -> None:
    server = start(spawn)
    commands = [ask(server, "POST", "/projects/shop/shell", {"command": f"echo {number} >>runs"})["id"] for number in range(8)]
    made = ask(server, "POST", "/projects", {"name": "other"})["id"]
    server.stop(9)
    server = start(spawn)
    operation = until(lambda: ask(server, "GET", f"/operations/{made}"), lambda one: one["state"] not in ("pending", "running"))
    assert (operation["state"], operation["answer"]["name"]) == ("done", "other")
    ran = []
    for number, id in enumerate(commands):
        ended = until(lambda id=id: ask(server, "GET", f"/commands/{id}"), lambda one: one["state"] not in ("pending", "running"))
        # `setup`: the server died within its runner's first moment, and nothing of the command ever ran
        assert (ended["state"], ended["reason"]) in (("completed", ""), ("failed", "setup")), ended
        ran += [str(number).encode()] if ended["state"] == "completed" else []
    assert len(ran) > 4
    assert server.stop() == 0
    assert sorted(rdev("shell", project, "cat runs").stdout.split()) == ran


def test_many_repeats_at_once_are_one_command(rdev: Rdev, spawn: Spawn, project: str) -> None:
    server = start(spawn)
    words = ("POST", "/projects/shop/shell", {"command": "echo ran >>runs"})
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda _: ask(server, *words, idempotency_key="k-1"), range(100)))
    assert all(one == answers[0] for one in answers)
    until(lambda: ask(server, "GET", f"/commands/{answers[0]['id']}"), lambda one: one["state"] == "completed")
    assert server.stop() == 0
    assert rdev("shell", project, "cat runs").stdout == b"ran\n"
