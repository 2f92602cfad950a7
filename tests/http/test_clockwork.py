"""The loops: at their interval, on one of two servers, through trouble, and ended at once. And how the providers stand."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Self

import pytest

from rdev_cli.domain.errors import Unavailable
from rdev_cli.faces.loops.clockwork import Clockwork, Loop
from rdev_cli.ports.timing import Stop
from rdev_cli.wiring.services import Services
from rdev_cli.wiring.serving import Health


@pytest.fixture
def world(home: Mapping[str, str], tmp_path: Path) -> Iterator[Services]:
    made = Services(environ=home, cwd=tmp_path)
    assert made.store.last_event() == 0
    yield made
    made.close()


def until(true: Callable[[], object], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.005)


class Running:
    """Loops that run until the block ends."""

    def __init__(self, world: Services, *loops: Loop) -> None:
        self.stop = Stop()
        self.clock = Clockwork(world, loops, self.stop, close=world.store.close)

    def __enter__(self) -> Self:
        self.clock.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set("cancelled")
        assert self.clock.join(30) == []


def test_a_loop_goes_on_at_once_while_there_is_more_and_stops_in_the_middle_of_a_wait(world: Services) -> None:
    left, passes = [3], list[float]()

    def body() -> bool:
        passes.append(time.monotonic())
        left[0] -= 1
        return left[0] > 0

    with Running(world, Loop(name="x", every=3600, body=body)) as running:
        until(lambda: len(passes) == 3)
        began = time.monotonic()
        running.stop.set("cancelled")
        assert running.clock.join(30) == []
        assert time.monotonic() - began < 20  # of an hour
    assert len(passes) == 3


def test_trouble_is_told_once_and_the_loop_goes_on(world: Services, caplog: pytest.LogCaptureFixture) -> None:
    passes = [0]

    def body() -> bool:
        passes[0] += 1
        if passes[0] <= 2:
            raise Unavailable("the moon is down", code="SILENT")
        return False

    loop = Loop(name="x", every=0.01, body=body)
    with caplog.at_level(logging.INFO, logger="rdev"), Running(world, loop):
        until(lambda: loop.passes >= 2)
    assert loop.failures == 2
    said = [(record.getMessage(), record.loop, getattr(record, "error", "")) for record in caplog.records]
    assert said == [("a loop failed", "x", "the moon is down"), ("a loop works again", "x", "")]


def test_of_two_servers_one_does_a_loop_and_the_other_takes_over_when_it_ends(world: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rdev_cli.faces.loops.clockwork.AGAIN", 0.01)
    one, two = (
        [Loop(name="alone", every=0.01, body=lambda: False), Loop(name="both", every=0.01, body=lambda: False, alone=False)] for _ in "12"
    )
    with Running(world, *two):
        with Running(world, *one):
            until(lambda: one[1].passes > 20 and two[1].passes > 20 and one[0].passes + two[0].passes > 20)
            assert sorted([one[0].passes > 0, two[0].passes > 0]) == [False, True]
        first = two[0].passes
        until(lambda: two[0].passes > max(first, 5))


def test_a_pass_that_does_not_end_is_named_and_left_behind(world: Services) -> None:
    free, inside = threading.Event(), threading.Event()
    stop = Stop()

    def body() -> bool:
        inside.set()
        free.wait(60)
        return False

    clock = Clockwork(world, [Loop(name="slow", every=1, body=body)], stop, close=world.store.close)
    clock.start()
    assert inside.wait(30)
    stop.set("cancelled")
    assert clock.join(0.05) == ["slow"]
    free.set()
    assert clock.join(30) == []


class Place:
    """A cluster that is as a test wants it."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.free = threading.Event()
        self.free.set()
        self.asked = 0

    def ready(self) -> None:
        self.asked += 1
        self.free.wait(60)
        if self.error is not None:
            raise self.error

    def owned(self) -> None: ...


@pytest.fixture
def place() -> Place:
    return Place()


def looked(world: Services, place: Place, limit: float = 30) -> Health:
    return Health(SimpleNamespace(store=world.store, new_id=world.new_id, clock=world.clock, cluster=place), limit)  # type: ignore[arg-type]


def test_how_things_stand_is_remembered_and_a_change_is_logged_once(
    world: Services, place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    health = looked(world, place)
    assert health.standing() == []
    with caplog.at_level(logging.INFO, logger="rdev"):
        for error in (None, Unavailable("gone", code="GONE"), Unavailable("gone", code="GONE"), None, None):
            place.error = error
            health.look()
            assert [(one.name, one.code) for one in health.standing()] == [("state", ""), ("cluster", "GONE" if error else "")]
    assert [record.getMessage() for record in caplog.records] == ["cluster is not well", "cluster is well again"]


def test_what_does_not_answer_in_time_is_not_well_and_is_not_asked_twice(world: Services, place: Place) -> None:
    health = looked(world, place, limit=0.2)
    place.free.clear()
    health.look()
    health.look()
    assert [one.code for one in health.standing() if one.name == "cluster"] == ["SILENT"]
    assert place.asked == 1
    place.free.set()
    until(lambda: health.look() or health.standing()[-1].code == "")


def test_what_nobody_foresaw_is_a_finding_too(world: Services, place: Place) -> None:
    place.error = ValueError("odd")
    health = looked(world, place)
    health.look()
    assert [(one.name, one.error) for one in health.standing()] == [("state", ""), ("cluster", "ValueError: odd")]


def test_a_state_that_cannot_be_written_is_not_well(world: Services, place: Place) -> None:
    health = looked(world, place)
    with world.store._database.writing():  # another's write that takes longer than the look may
        quick = looked(world, place, limit=0.2)
        quick.look()
        assert [one.code for one in quick.standing()] == ["SILENT", ""]
    health.look()
    assert [one.code for one in health.standing()] == ["", ""]
