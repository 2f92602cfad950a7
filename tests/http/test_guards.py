"""The guard by itself: bodies that come slowly or too many at a time, and what the app's own answers carry."""

import asyncio
import json
from collections.abc import Iterator, Mapping, MutableMapping
from pathlib import Path
from typing import Any

import pytest

from rdev_cli.domain.access import Grant, Scope
from rdev_cli.domain.errors import Unavailable
from rdev_cli.faces.http import guards
from rdev_cli.faces.http.guards import Guard
from rdev_cli.faces.http.limits import Hosts, Proxies
from rdev_cli.faces.http.metrics import Metrics
from rdev_cli.wiring.services import Services

Message = MutableMapping[str, Any]


@pytest.fixture
def world(home: Mapping[str, str], tmp_path: Path) -> Iterator[Services]:
    made = Services(environ=home, cwd=tmp_path)
    yield made
    made.close()


class Line:
    """A client: what it sends, and what it got."""

    def __init__(
        self, *parts: bytes, stuck: bool = False, headers: tuple[tuple[bytes, bytes], ...] = ((b"transfer-encoding", b"chunked"),)
    ) -> None:
        self.parts, self.stuck, self.got = list(parts), stuck, list[Message]()
        self.scope: Message = {
            "type": "http", "method": "POST", "path": "/x", "raw_path": b"/x", "server": ("127.0.0.1", 80), "client": ("127.0.0.1", 1),
            "headers": [(b"host", b"localhost"), *headers], "state": {"request_id": "req_1"},
        }  # fmt: skip

    async def receive(self) -> Message:
        if self.parts:
            part = self.parts.pop(0)
            return {"type": "http.request", "body": part, "more_body": bool(self.parts) or self.stuck}
        if self.stuck:
            await asyncio.Event().wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        self.got.append(message)

    @property
    def status(self) -> int:
        return int(self.got[0]["status"])

    @property
    def code(self) -> str:
        return str(json.loads(self.got[1]["body"])["error"]["code"])


async def app(scope: Message, receive: Any, send: Any) -> None:
    body = (await receive())["body"]
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


def guarded(world: Services, inner: Any = app, *, rate: int = 600, max_body: int = 1 << 20) -> Guard:
    return Guard(
        inner, hosts=Hosts(("localhost",), 80, ()), proxies=Proxies(()), metrics=Metrics(world), clock=world.clock, rate=rate, max_body=max_body
    )  # fmt: skip


def test_a_body_comes_whole_to_the_app_and_then_the_clients_leaving(world: Services) -> None:
    line = Line(b"one ", b"two")
    asyncio.run(guarded(world)(line.scope, line.receive, line.send))
    assert (line.status, line.got[1]["body"]) == (200, b"one two")
    headers = dict(line.got[0]["headers"])
    assert (headers[b"cache-control"], headers[b"x-content-type-options"]) == (b"no-store", b"nosniff")


def test_t_http_1_a_body_that_does_not_come_ends_in_time(world: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guards, "STANDARD", 0.05)
    monkeypatch.setattr(guards, "_SLOWEST", 1 << 30)
    line = Line(b"a", stuck=True)
    asyncio.run(guarded(world)(line.scope, line.receive, line.send))
    assert (line.status, line.code) == (408, "TIMED_OUT")
    assert dict(line.got[0]["headers"])[b"connection"] == b"close"


def test_t_http_1_a_body_is_counted_while_it_comes(world: Services) -> None:
    line = Line(b"a" * 60, b"a" * 60, stuck=True)
    asyncio.run(guarded(world, max_body=100)(line.scope, line.receive, line.send))
    assert (line.status, line.code) == (413, "TOO_LARGE")


def test_t_http_1_all_bodies_together_are_bounded_and_room_comes_back(world: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guards, "_HELD", 0)

    async def many() -> list[Line]:
        guard = guarded(world, max_body=100)
        held = [Line(b"a" * 90, stuck=True) for _ in range(2)]
        tasks = [asyncio.create_task(guard(line.scope, line.receive, line.send)) for line in held]
        await asyncio.sleep(0.05)
        over, after = Line(b"a" * 90), Line(b"a" * 90)
        await guard(over.scope, over.receive, over.send)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await guard(after.scope, after.receive, after.send)
        return [over, after]

    over, after = asyncio.run(many())
    assert (over.status, over.code, after.status) == (503, "BUSY", 200)


def test_a_client_that_leaves_in_the_middle_of_its_body_is_nobodys_trouble(world: Services) -> None:
    line = Line()
    asyncio.run(guarded(world)(line.scope, line.receive, line.send))
    assert line.got == []


def test_a_key_beyond_its_rate_is_refused_where_the_app_asks(world: Services) -> None:
    async def asking(scope: Message, receive: Any, send: Any) -> None:
        try:
            scope["state"]["admit"](Grant(actor="key:key_1", scopes=frozenset({Scope.ADMIN})))
            status = 200
        except Unavailable as e:
            status = {"TOO_MANY_REQUESTS": 429}[e.code]
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    guard, found = guarded(world, asking, rate=2), []
    for _ in range(3):
        line = Line(headers=())
        asyncio.run(guard(line.scope, line.receive, line.send))
        found.append((line.status, b"retry-after" in dict(line.got[0]["headers"]), dict(line.got[0]["headers"])[b"ratelimit-limit"]))
    assert found == [(200, False, b"2"), (200, False, b"2"), (429, True, b"2")]
