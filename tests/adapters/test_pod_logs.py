"""A pod's log by pages: whatever the order and the times of its lines, each is told once."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from rdev_cli.adapters.kubernetes.logs import page
from rdev_cli.domain.errors import Invalid, NotFound, Unavailable
from rdev_cli.domain.log import LogSpec, PodLog
from rdev_cli.domain.project import Project, ProjectState
from rdev_cli.domain.values import ProjectId

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
SHOP = Project(
    id=ProjectId("prj_01j9contract00000001"), name="shop", description="", source="", network=True, state=ProjectState.READY,
    pod="rdev-shop-00000001", repository="", branch="main", created_at=NOW, updated_at=NOW,
)  # fmt: skip


class Server:
    """The part of the API that logs are read from: what a kubelet does with sinceTime, sinceSeconds and tailLines."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []
        self.phase, self.now, self.trouble = "Running", NOW, None

    def say(self, text: str, *, late: timedelta = timedelta()) -> None:
        self.now += timedelta(milliseconds=50)
        self.lines.append((f"{self.now - late:%Y-%m-%dT%H:%M:%S.%f}000Z", text))

    def get(self, path: str) -> dict[str, object]:
        return {"metadata": {}, "status": {"phase": self.phase}}

    def log(
        self,
        namespace: str,
        pod: str,
        container: str,
        *,
        since_time: str = "",
        since_seconds: int = 0,
        tail: int = -1,
        previous: bool = False,
        timestamps: bool = False,
    ) -> Iterator[bytes]:
        if self.trouble is not None:
            raise self.trouble
        assert timestamps
        since = since_time[:-1] or (f"{self.now - timedelta(seconds=since_seconds):%Y-%m-%dT%H:%M:%S.%f}" if since_seconds else "")
        found = [line for line in self.lines if line[0] >= since]
        data = "".join(f"{stamp} {text}\n" for stamp, text in (found[-tail:] if tail > 0 else found)).encode()
        for at in range(0, len(data), 7):
            yield data[at : at + 7]


def read(server: Server, after: str = "", *, most: int = 1 << 20, **spec: object) -> PodLog:
    return page(server, "ns", SHOP, LogSpec(project="shop", **spec), after=after, most=most)  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", range(20))
def test_each_line_is_told_once_though_times_are_not_in_order(seed: int) -> None:
    server, chance = Server(), random.Random(seed)
    told, at = b"", ""
    for number in range(200):
        server.say(f"line {number}", late=timedelta(milliseconds=chance.choice((0, 0, 0, 60, 400))))
        if number % 17 == 0:  # two lines of one time
            server.lines.append((server.lines[-1][0], f"twin {number}"))
        if chance.random() < 0.4:
            part = read(server, at)
            told, at = told + part.log, part.next
    told += read(server, at).log
    assert told.decode() == "".join(f"{text}\n" for _, text in server.lines)


@pytest.mark.parametrize(("spec", "count"), [({"tail": 0}, 0), ({"tail": 3}, 3), ({"since_seconds": 1}, 21)])
def test_what_was_cut_off_at_the_beginning_does_not_come_later(spec: dict[str, int], count: int) -> None:
    server = Server()
    for number in range(60):
        server.say(f"old {number}")
    first = read(server, **spec)
    assert first.log.count(b"\n") == count
    server.say("new")
    second = read(server, first.next, **spec)
    server.say("newer")
    assert (second.log, read(server, second.next, **spec).log) == (b"new\n", b"newer\n")


@pytest.mark.parametrize("spec", [{}, {"tail": 0}, {"tail": 5}, {"since_seconds": 60}])
def test_a_log_that_is_empty_goes_on_with_its_first_line(spec: dict[str, int]) -> None:
    server = Server()
    first = read(server, **spec)
    assert first.log == b""
    server.say("one")
    second = read(server, first.next, **spec)
    assert (second.log, read(server, second.next, **spec).log) == (b"one\n", b"")


def test_where_nothing_is_young_enough_a_log_goes_on_with_its_next_line_whatever_the_clock_here_says() -> None:
    server = Server()
    server.now -= timedelta(days=400)  # it is wrong, or the clock here is
    server.say("old")
    server.now += timedelta(hours=1)
    first = read(server, since_seconds=60)
    assert first.log == b""
    server.say("new")
    assert read(server, first.next, since_seconds=60).log == b"new\n"


def test_a_log_that_was_rotated_goes_on_with_what_is_there() -> None:
    server = Server()
    for number in range(10):
        server.say(f"line {number}")
    at = read(server).next
    server.lines.clear()
    for number in range(10, 13):
        server.say(f"line {number}")
    assert read(server, at).log == b"line 10\nline 11\nline 12\n"


def test_only_the_end_of_a_long_log_is_told_and_that_is_said() -> None:
    server = Server()
    for number in range(100):
        server.say(f"line {number:03}")
    part = read(server, most=90)
    assert (part.log.splitlines()[-1], part.cut, len(part.log) <= 90) == (b"line 099", True, True)
    server.say("new")
    assert read(server, part.next).log == b"new\n"


def test_a_pod_that_is_over_has_told_everything() -> None:
    server = Server()
    server.say("last")
    assert not read(server).ended
    server.phase = "Succeeded"
    assert read(server).ended


def test_a_log_that_is_not_there_says_why() -> None:
    server = Server()
    server.trouble = NotFound("pods not found", hint="")  # type: ignore[assignment]
    with pytest.raises(NotFound, match="the pod of shop is not there"):
        read(server)
    server.trouble = Invalid("previous terminated container not found", hint="")  # type: ignore[assignment]
    with pytest.raises(NotFound, match="was not restarted"):
        read(server, previous=True)
    with pytest.raises(Unavailable, match="has no log yet"):
        read(server)
    with pytest.raises(Invalid, match="no position"):
        read(server, "yesterday")
