"""Webhooks from the line of the journal to the endpoint: nothing lost, nothing for the wrong ears. T-WH-4 to 6, T-WH-9."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook as Reference

from rdev_cli.domain.access import Grant, Scope
from rdev_cli.domain.errors import Denied, Invalid, NotFound
from rdev_cli.domain.project import Project, ProjectState
from rdev_cli.domain.values import ProjectId
from rdev_cli.domain.webhook import TEST, DeliveryState, WebhookSecret, WebhookState
from rdev_cli.ops import webhooks
from rdev_cli.wiring.services import Services, SystemClock
from tests.support.receiver import Answer, Receiver, reply

pytestmark = pytest.mark.state

ALLOWED = {"RDEV_WEBHOOK_ALLOW": "127.0.0.0/8", "RDEV_WEBHOOK_BACKOFF": "0.001"}
Make = Callable[..., Receiver]


class Later(SystemClock):
    """The real clock, put forward as a test likes."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def now(self) -> datetime:
        return super().now() + self.ahead


@pytest.fixture
def world(home: Mapping[str, str], tmp_path: Path) -> Iterator[Services]:
    made = Services(environ={**home, **ALLOWED}, cwd=tmp_path)
    yield made
    made.close()


@pytest.fixture
def receiver() -> Iterator[Make]:
    made: list[Receiver] = []

    def make(answer: Answer | None = None, status: int = 200) -> Receiver:
        made.append(Receiver(answer, status))
        return made[-1]

    yield make
    for one in made:
        one.close()


def hook(world: Services, url: str, *events: str, projects: tuple[str, ...] = ()) -> WebhookSecret:
    return webhooks.add(world, url=url, events=events or ("command.*",), projects=projects)


def say(world: Services, *kinds: str, project: str = "shop", times: int = 1) -> None:
    with world.store.transaction() as tx:
        for _ in range(times):
            for kind in kinds or ("command.started",):
                tx.append(kind, "cmd_00000000000000000001", {"project": project, "kind": "exec"})


def settle(world: Services, seconds: float = 25) -> None:
    """Deliver until nothing is pending at an enabled endpoint."""
    end = time.monotonic() + seconds
    while any(one.state is DeliveryState.PENDING for one in world.store.deliveries(limit=5000)):
        assert time.monotonic() < end, Counter(one.state for one in world.store.deliveries(limit=5000))
        if not webhooks.deliver(world):
            time.sleep(0.01)


def made_project(world: Services, name: str) -> None:
    now = world.clock.now()
    one = Project(
        id=ProjectId(f"prj_{name}"), name=name, description="", source="", network=False, state=ProjectState.READY, pod=name, repository="",
        branch="main", created_at=now, updated_at=now,
    )  # fmt: skip
    with world.store.transaction() as tx:
        tx.put_project(one)


def bound(world: Services, *projects: str) -> Services:
    scopes = frozenset({Scope.WEBHOOKS_READ, Scope.WEBHOOKS_WRITE})
    return world.acting(Grant(actor="key:key_1", scopes=scopes, projects=frozenset(projects), key="key_1"))


# what is sent


def test_a_line_of_the_journal_arrives_signed_with_its_subject_and_its_number(world: Services, receiver: Make) -> None:
    one = receiver()
    made = hook(world, one.url)
    say(world, "command.started", "project.created", "command.completed")
    assert webhooks.deliver(world) == 2
    line = next(event for event in world.store.events(after=0) if event.kind == "command.started")
    found = {json.loads(body)["type"]: (headers, json.loads(body)) for headers, body in one.messages}
    assert set(found) == {"command.started", "command.completed"}
    headers, message = found["command.started"]
    assert message["data"] == {**line.data, "subject": line.subject, "seq": line.seq}
    assert message["timestamp"] == line.at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    for got, body in one.messages:
        assert Reference(made.secret).verify(body, dict(got))
    assert headers["webhook-id"] in {delivery.id for delivery in world.store.deliveries()}
    assert webhooks.deliver(world) == 0
    assert {delivery.state for delivery in world.store.deliveries()} == {DeliveryState.DELIVERED}


def test_a_secret_is_in_no_table_and_no_line(world: Services, receiver: Make) -> None:
    made = hook(world, receiver().url)
    again = webhooks.rotate(world, made.id)
    say(world)
    webhooks.deliver(world)
    for secret in (made.secret, again.secret):
        word = secret.removeprefix("whsec_").rstrip("=").encode()
        for path in world.folder.rglob("*"):
            if path.is_file():
                assert word not in path.read_bytes(), path
    assert secret not in repr(again)


def test_t_wh_5_a_line_that_is_not_kept_is_told_to_nobody_and_one_that_is_kept_is_queued_with_it(world: Services, receiver: Make) -> None:
    hook(world, receiver().url)
    before = world.store.last_event()

    def half() -> None:
        with world.store.transaction() as tx:
            tx.append("command.started", "cmd_1", {"project": "shop"})
            raise RuntimeError

    with pytest.raises(RuntimeError):
        half()
    assert (world.store.last_event(), list(world.store.deliveries())) == (before, [])
    say(world)
    assert [delivery.seq for delivery in world.store.deliveries()] == [before + 1]


def test_a_webhook_of_a_project_hears_of_no_other(world: Services, receiver: Make) -> None:
    made_project(world, "shop")
    one = receiver()
    hook(world, one.url, projects=("shop",))
    say(world, project="blog")
    say(world, project="")
    say(world, project="shop")
    webhooks.deliver(world)
    assert [json.loads(body)["data"]["project"] for _, body in one.messages] == ["shop"]


def test_what_a_bound_key_makes_hears_of_its_projects_alone_and_others_do_not_see_it(world: Services, receiver: Make) -> None:
    for name in ("shop", "blog"):
        made_project(world, name)
    one = receiver()
    key, other = bound(world, "shop"), bound(world, "blog")
    made = hook(key, one.url)
    assert made.projects == ("shop",)
    with pytest.raises(NotFound):
        hook(key, one.url, projects=("blog",))
    everything = hook(world, receiver().url)
    say(world, project="blog")
    say(world, project="shop")
    webhooks.deliver(world)
    assert [json.loads(body)["data"]["project"] for _, body in one.messages] == ["shop"]
    assert [one.id for one in webhooks.list_(key)] == [made.id]
    assert list(webhooks.list_(other)) == []
    assert {delivery.webhook for delivery in webhooks.deliveries(key).items} == {made.id}
    assert webhooks.deliveries(other).items == ()
    mine = webhooks.deliveries(key).items[0].id
    for act in (webhooks.try_, webhooks.rotate, webhooks.remove):
        for id in (made.id, everything.id):
            with pytest.raises(NotFound):
                act(other, id)
        with pytest.raises(NotFound):
            act(key, everything.id)
    with pytest.raises(NotFound):
        webhooks.replay(other, mine)
    assert webhooks.replay(key, mine).state is DeliveryState.DELIVERED
    assert webhooks.rotate(key, made.id).secret != made.secret
    assert webhooks.remove(key, made.id).id == made.id
    assert [one.id for one in webhooks.list_(world)] == [everything.id]


def test_a_line_that_a_bound_key_writes_reaches_a_webhook_that_hears_everything(world: Services, receiver: Make) -> None:
    made_project(world, "shop")
    one = receiver()
    hook(world, one.url)
    say(bound(world, "shop"), project="shop")
    webhooks.deliver(world)
    assert len(one.messages) == 1


def test_where_it_leads_is_looked_at_when_it_is_added(world: Services, home: Mapping[str, str], tmp_path: Path) -> None:
    strict = Services(environ=home, cwd=tmp_path)
    for url, code in (
        ("https://127.0.0.1/", "ADDRESS_NOT_ALLOWED"),
        ("http://93.184.215.14/", "ADDRESS_NOT_ALLOWED"),
        ("ftp://a.example.com/", "WEBHOOK_URL"),
    ):
        with pytest.raises((Denied, Invalid)) as refused:
            hook(strict, url)
        assert refused.value.code == code
    assert list(strict.store.webhooks()) == []
    assert strict.store.last_event() == 0
    strict.close()
    with pytest.raises(Invalid, match="no event is named"):
        webhooks.add(world, url="http://127.0.0.1/", events=())


def test_t_wh_1_where_it_leads_is_looked_at_again_when_it_is_sent(
    world: Services, receiver: Make, home: Mapping[str, str], tmp_path: Path
) -> None:
    one = receiver()
    hook(world, one.url)
    say(world)
    strict = Services(environ=home, cwd=tmp_path)
    assert webhooks.deliver(strict) == 1
    assert one.messages == []
    assert "not public" in strict.store.deliveries()[0].attempts[0].error
    strict.close()


# failing


def test_t_wh_4_a_410_disables_and_the_journal_says_so_and_a_test_that_goes_well_enables(world: Services, receiver: Make) -> None:
    one = receiver(status=410)
    made = hook(world, one.url)
    say(world, times=3)
    webhooks.deliver(world)
    webhooks.deliver(world)
    (now,) = webhooks.list_(world)
    assert now.state is WebhookState.DISABLED
    line = world.store.events(after=0, subject=made.id)[-1]
    assert (line.kind, "410" in line.data["reason"]) == ("webhook.disabled", True)
    count = len(one.messages)
    say(world)  # it is told nothing of what happens meanwhile
    assert webhooks.deliver(world) == 0
    assert len(one.messages) == count
    one.status = 200
    tried = webhooks.try_(world, made.id)
    assert (tried.kind, tried.state) == (TEST, DeliveryState.DELIVERED)
    assert [event.kind for event in world.store.events(after=line.seq, subject=made.id)] == ["webhook.enabled", "webhook.tested"]
    say(world)
    settle(world)
    assert webhooks.list_(world)[0].state is WebhookState.ENABLED


def test_a_test_that_fails_is_not_tried_again(world: Services, receiver: Make) -> None:
    one = receiver(status=500)
    made = hook(world, one.url)
    tried = webhooks.try_(world, made.id)
    assert (tried.state, tried.due_at, tried.attempts[0].status) == (DeliveryState.FAILED, None, 500)
    assert webhooks.deliver(world) == 0
    assert len(one.messages) == 1


def test_t_wh_4_tries_go_on_after_a_restart_by_the_same_schedule_and_id(home: Mapping[str, str], tmp_path: Path, receiver: Make) -> None:
    one = receiver(status=500)
    clock = Later()
    environ = {**home, "RDEV_WEBHOOK_ALLOW": "127.0.0.0/8"}

    def fresh() -> Services:
        made = Services(environ=environ, cwd=tmp_path)
        made.__dict__["clock"] = clock
        return made

    first = fresh()
    hook(first, one.url)
    say(first)
    waits = []
    for _ in range(10):
        again = fresh()  # each try is another process's
        assert webhooks.deliver(again) == 1
        assert webhooks.deliver(again) == 0
        (delivery,) = again.store.deliveries()
        again.close()
        if delivery.due_at is not None:
            now = clock.now()
            waits.append((delivery.due_at - now).total_seconds())
            clock.ahead += delivery.due_at - now + timedelta(seconds=1)
            rest = first.store.webhooks()[0].blocked_until
            if rest is not None and rest > clock.now():
                clock.ahead += rest - clock.now()
    for wait, usual in zip(waits, (5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400), strict=True):
        assert usual * 0.8 - 5 <= wait <= usual * 1.2 + 5
    assert len(set(one.ids())) == 1
    assert len(one.messages) == 10
    assert delivery.state is DeliveryState.FAILED
    assert first.store.webhooks()[0].state is WebhookState.DISABLED
    first.close()


def test_t_wh_6_after_a_rotation_both_secrets_sign_for_a_day_and_then_the_new_one_alone(
    home: Mapping[str, str], tmp_path: Path, receiver: Make
) -> None:
    one, clock = receiver(), Later()
    world = Services(environ={**home, **ALLOWED}, cwd=tmp_path)
    world.__dict__["clock"] = clock
    made = hook(world, one.url)
    new = webhooks.rotate(world, made.id)
    for hours, secrets in ((0, {made.secret, new.secret}), (23.9, {made.secret, new.secret}), (24.1, {new.secret})):
        clock.ahead = timedelta(hours=hours)
        say(world)
        webhooks.deliver(world)
        headers, body = one.messages[-1]
        stamp = datetime.fromtimestamp(int(headers["webhook-timestamp"]), UTC)
        signed = {
            secret
            for secret in (made.secret, new.secret)
            if Reference(secret).sign(headers["webhook-id"], stamp, body.decode()) in headers["webhook-signature"].split()
        }
        assert signed == secrets
        assert len(headers["webhook-signature"].split()) == len(secrets)
    world.close()


def test_t_wh_6_two_rotations_in_a_row_lose_nothing_that_an_endpoint_may_have(world: Services, receiver: Make) -> None:
    one = receiver()
    made = hook(world, one.url)
    secrets = [made.secret, *(webhooks.rotate(world, made.id).secret for _ in range(2))]
    webhooks.try_(world, made.id)
    headers, body = one.messages[-1]
    assert len(headers["webhook-signature"].split()) == 3
    for secret in secrets:
        Reference(secret).verify(body, dict(headers))


def test_a_secret_that_is_gone_from_the_vault_fails_with_words_and_a_rotation_mends_it(world: Services, receiver: Make) -> None:
    one = receiver()
    made = hook(world, one.url)
    (world.folder / "vault.json").unlink()
    say(world)
    webhooks.deliver(world)
    assert "vault" in world.store.deliveries()[0].attempts[0].error
    assert one.messages == []
    new = webhooks.rotate(world, made.id)
    settle(world)
    headers, body = one.messages[-1]
    assert Reference(new.secret).verify(body, dict(headers))


def test_a_removed_webhook_hears_nothing_and_leaves_nothing(world: Services, receiver: Make) -> None:
    one = receiver()
    made = hook(world, one.url)
    say(world)
    webhooks.remove(world, made.id)
    say(world)
    assert webhooks.deliver(world) == 0
    assert list(world.store.deliveries()) == []
    assert not (world.folder / "vault.json").exists()
    assert world.store.events(after=0, subject=made.id)[-1].kind == "webhook.removed"


def test_a_replay_sends_the_same_message_under_the_same_id(world: Services, receiver: Make) -> None:
    one = receiver()
    hook(world, one.url)
    say(world)
    webhooks.deliver(world)
    (delivery,) = world.store.deliveries()
    again = webhooks.replay(world, delivery.id)
    assert (again.state, len(again.attempts)) == (DeliveryState.DELIVERED, 2)
    (first, body), (second, same) = one.messages
    assert (first["webhook-id"], body) == (second["webhook-id"], same)
    one.status = 500
    assert webhooks.replay(world, delivery.id).state is DeliveryState.PENDING
    one.status = 200
    settle(world)
    assert set(one.ids()) == {delivery.id}


def test_deliveries_come_in_pages_newest_first(world: Services, receiver: Make) -> None:
    hook(world, receiver().url)
    say(world, times=5)
    page = webhooks.deliveries(world, limit=2)
    rest = webhooks.deliveries(world, before=page.next or "", limit=10)
    found = [*page.items, *rest.items]
    assert len({one.id for one in found}) == 5
    assert [one.id for one in found] == sorted((one.id for one in found), reverse=True)
    assert rest.next is None


def test_what_was_delivered_a_week_ago_is_forgotten_and_what_is_pending_is_not(
    home: Mapping[str, str], tmp_path: Path, receiver: Make
) -> None:
    one, clock = receiver(), Later()
    world = Services(environ={**home, **ALLOWED}, cwd=tmp_path)
    world.__dict__["clock"] = clock
    hook(world, one.url)
    say(world)
    webhooks.deliver(world)
    say(world)
    clock.ahead = timedelta(days=8)
    webhooks.deliver(world)
    assert len(world.store.deliveries()) == 1
    assert len(one.messages) == 2
    world.close()


# many, and a process that dies


def test_a_thousand_deliveries_at_a_third_of_failures_arrive_each_at_least_once_and_once_after_dedupe(
    world: Services, receiver: Make
) -> None:
    chance = random.Random(11)
    lock = threading.Lock()
    taken: Counter[str] = Counter()

    def shaky(headers: Mapping[str, str], body: bytes, handler: Any) -> None:
        with lock:
            lot = chance.random()
            if lot >= 0.3 or lot < 0.05:  # some of the failures come after the effect
                taken[headers["webhook-id"]] += 1
        if lot >= 0.3:
            reply(handler, 200)
        elif lot < 0.1:
            handler.connection.shutdown(2)
        else:
            reply(handler, (500, 503, 404)[int(lot * 100) % 3])

    made = hook(world, receiver(shaky).url)
    say(world, times=1000)
    settle(world, 240)  # a loaded machine is slow, and nothing hangs
    wanted = {delivery.id: delivery for delivery in world.store.deliveries(limit=5000)}
    assert len(wanted) == 1000
    assert {delivery.state for delivery in wanted.values()} == {DeliveryState.DELIVERED}
    assert set(taken) == set(wanted)  # each at least once; by its id, which never changes, once
    assert sum(taken.values()) > 1000
    assert len({delivery.seq for delivery in wanted.values()}) == 1000
    assert webhooks.known(world, made.id).state is WebhookState.ENABLED
    world.close()


def test_t_wh_9_an_endpoint_with_thousands_waiting_that_never_answers_keeps_no_other_waiting(world: Services, receiver: Make) -> None:
    hang, let = threading.Event(), threading.Event()

    def hanging(headers: Mapping[str, str], body: bytes, handler: Any) -> None:
        hang.set()
        let.wait(30)
        handler.connection.shutdown(2)

    dead, alive = receiver(hanging), receiver()
    hook(world, dead.url)
    with world.store.transaction() as tx:
        for _ in range(10_000):
            tx.append("command.started", "cmd_1", {"project": "shop"})
    hook(world, alive.url)
    passing = threading.Thread(target=webhooks.deliver, args=(world,))
    passing.start()
    assert hang.wait(20)
    say(world, times=50)  # while the other endpoint's first messages hang
    end = time.monotonic() + 20
    while len(alive.messages) < 50 and time.monotonic() < end:
        time.sleep(0.02)
    got, stuck = len(alive.messages), len(dead.messages)
    world.stop.set("cancelled")
    let.set()
    passing.join(30)
    assert not passing.is_alive()
    assert got == 50
    assert stuck <= webhooks.EACH


def test_messages_that_were_stopped_on_their_way_are_sent_when_somebody_serves_again(
    world: Services, receiver: Make, home: Mapping[str, str], tmp_path: Path
) -> None:
    def stopping(headers: Mapping[str, str], body: bytes, handler: Any) -> None:
        if len(one.messages) == 1:
            world.stop.set("cancelled")
            time.sleep(1)
        reply(handler, 200)

    one = receiver(stopping)
    hook(world, one.url)
    say(world)
    assert webhooks.deliver(world) == 0
    (delivery,) = world.store.deliveries()
    assert (delivery.state, delivery.attempts) == (DeliveryState.PENDING, ())
    again = Services(environ={**home, **ALLOWED}, cwd=tmp_path)
    settle(again)
    assert one.ids() == [delivery.id] * 2
    again.close()


def test_two_who_deliver_at_once_send_nothing_twice(world: Services, receiver: Make, home: Mapping[str, str], tmp_path: Path) -> None:
    one = receiver(lambda headers, body, handler: reply(handler, 200))
    hook(world, one.url)
    say(world, times=40)
    other = Services(environ={**home, **ALLOWED}, cwd=tmp_path)
    threads = [threading.Thread(target=webhooks.deliver, args=(each,)) for each in (world, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    settle(world)
    assert Counter(one.ids()).most_common(1)[0][1] == 1
    assert len(one.messages) == 40
    other.close()


_DELIVERER = """
from rdev_cli.wiring.services import Services
from rdev_cli.ops import webhooks
webhooks.deliver(Services())
"""


def test_t_wh_5_a_kill_between_sent_and_written_down_sends_again_under_the_same_id(
    world: Services, receiver: Make, home: Mapping[str, str], tmp_path: Path
) -> None:
    arrived = threading.Event()

    def answer(headers: Mapping[str, str], body: bytes, handler: Any) -> None:
        if not arrived.is_set():
            arrived.set()
            time.sleep(30)  # it has its effect; whoever sent it dies before it knows
        reply(handler, 200)

    one = receiver(answer)
    hook(world, one.url)
    say(world)
    process = subprocess.Popen([sys.executable, "-c", _DELIVERER], env={**home, **ALLOWED}, cwd=tmp_path)
    assert arrived.wait(30)
    os.kill(process.pid, signal.SIGKILL)
    process.wait(10)
    (delivery,) = world.store.deliveries()
    assert (delivery.state, delivery.tries) == (DeliveryState.PENDING, 0)
    assert webhooks.deliver(world) == 1  # a dead holder's lease is nobody's
    assert one.ids() == [delivery.id] * 2
    assert world.store.deliveries()[0].state is DeliveryState.DELIVERED


def test_a_journal_that_nobody_hears_is_told_to_nobody(world: Services, receiver: Make) -> None:
    say(world, times=3)
    one = receiver()
    hook(world, one.url)  # what happened before is nobody's news
    assert webhooks.deliver(world) == 0
    assert (list(world.store.deliveries()), one.messages) == ([], [])
