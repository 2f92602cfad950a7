"""Commands in pods, held against pods that are played: every break of the way, and every word of a pod's status that says what befell it."""

import itertools
import os
import random
import re
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdev_cli.adapters.kubernetes import commands, hand
from rdev_cli.adapters.kubernetes.commands import PodCommands
from rdev_cli.adapters.kubernetes.hand import beginning
from rdev_cli.adapters.kubernetes.inputs import escape
from rdev_cli.adapters.kubernetes.losses import Fate, fate
from rdev_cli.adapters.kubernetes.socket import V4, V5, Broken, Closed, Status
from rdev_cli.adapters.shared import runner
from rdev_cli.domain.command import Ending, Launch, Outcome
from rdev_cli.domain.errors import Denied, Invalid, Unavailable
from rdev_cli.domain.project import Project, ProjectState
from rdev_cli.domain.values import ProjectId
from tests.support.pipes import PipeApi

RUNS = int(os.environ.get("RDEV_TEST_SCRIPTED_CUTS", "2000"))
NOW = datetime(2026, 1, 1, tzinfo=UTC)
PROJECT = Project(
    id=ProjectId("prj_01j9playedcommands"), name="shop", description="", source="", network=True, state=ProjectState.READY, pod="rdev-shop-1",
    repository="", branch="main", created_at=NOW, updated_at=NOW,
)  # fmt: skip


# a pod.sh that is played: what it tells is known, and every connection breaks after so many bytes


class Played:
    """One connection. It takes the text, answers as pod.sh does, and is gone after `budget` bytes of both ways together."""

    def __init__(self, pod: "PlayedPod", budget: float) -> None:
        self.protocol, self.status = V5, None
        self.left = budget  # what was left of it when it was closed
        self._pod, self._left, self._text, self._told = pod, budget, b"", None
        self._out: Iterator[tuple[int, bytes]] | None = None

    def send(self, data: bytes) -> None:
        self._left -= len(data)
        self.left = self._left
        if self._left <= 0:
            raise Broken("cut")
        if data == b"ok\n":
            self._pod.taken = True
            return
        self._text += data
        end = self._text.split(b"\n", 1)[0]
        if self._text.endswith(b"\n" + end + b"\n"):
            self._out = self._pod.tell(self._text.decode())

    def read(self, wait: float) -> tuple[int, bytes] | None:
        if self._out is None or self._left <= 0:
            raise Closed("cut")
        found = next(self._out, None)
        if found is None:
            self.status = Status(code=0)
            raise Closed("over")
        self._left -= len(found[1])
        self.left = self._left
        if self._left <= 0:
            part = found[1][: len(found[1]) + int(self._left)]
            return (found[0], part) if part else self.read(wait)
        return found

    def close(self) -> None:
        self._left = 0


class PlayedPod:
    """A command whose streams and end are known, told in pieces of any size and in any order of the two streams."""

    def __init__(self, chance: random.Random, out: bytes, err: bytes, code: int) -> None:
        self.chance, self.streams, self.code = chance, (out, err), code
        self.started = self.connections = 0
        self.taken = False
        self.budget: Callable[[], float] = lambda: float("inf")

    def get(self, path: str, *, timeout: float = 0) -> Any:
        box = {"name": "box", "containerID": "c-1", "state": {"running": {}}}
        return {"metadata": {"name": PROJECT.pod, "uid": "u-1"}, "status": {"phase": "Running", "containerStatuses": [box]}}

    def exec(self, *_: object, **__: object) -> Played:
        self.connections += 1
        self.last = Played(self, self.budget())
        return self.last

    def tell(self, text: str) -> Iterator[tuple[int, bytes]]:
        word = {name: re.search(rf"^{name}='?([^'\n]*)'?$", text, re.MULTILINE) for name in ("mark", "what", "skip_out", "skip_err")}
        mark, what, *skips = (found[1] if found else "" for found in word.values())
        at = [int(skip) << 16 for skip in skips]
        lines = []
        if what == "start":
            lines.append("exists" if self.started else "ready")
            self.started = 1
            lines = [f"said {lines[0]}"]
        if not self.started:
            lines = ["gone"]
        elif self.taken:
            lines.append("gone")
        else:
            lines.append(f"from {at[0]} {at[1]}")
        stdout = "".join(f"{mark} {line}\n" for line in lines).encode()
        if not self.started or self.taken:
            yield 1, stdout
            return
        sizes = [len(stream) for stream in self.streams]
        end = f"{mark} end {sizes[0]} {sizes[1]} 0 00 {self.code} exited \n".encode()
        half = self.chance.randrange(at[0], max(at[0], sizes[0]) + 1)
        stdout += self.streams[0][at[0] : half] + f"{mark} seen\n".encode() + self.streams[0][half:] + end
        left = {1: stdout, 2: self.streams[1][at[1] :]}
        while any(left.values()):
            channel = self.chance.choice([one for one in left if left[one]])
            size = self.chance.choice((1, 7, 100, 32768))
            yield channel, left[channel][:size]
            left[channel] = left[channel][size:]


class Sped:
    """Time that passes by sleeping alone."""

    def __init__(self) -> None:
        self.at = 1000.0

    def monotonic(self) -> float:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.at += seconds

    def time(self) -> float:
        return time.time()


def sped(monkeypatch: pytest.MonkeyPatch) -> None:
    one = Sped()
    for module in (commands, hand):
        monkeypatch.setattr(module, "time", one)


def run(pod: PlayedPod, folder: Path, id: str) -> tuple[Outcome, bytes, bytes]:
    one = PodCommands(pod, namespace="n", container="box", spool=folder)  # type: ignore[arg-type]
    one.start(PROJECT, Launch(id=id, argv=("x",)))
    seen = (-1, -1)
    for _ in range(1000):
        progress = one.advance(PROJECT, id, after=seen, wait=5.0)
        seen = progress.stdout, progress.stderr
        if progress.outcome is not None:
            return progress.outcome, (folder / id / "out").read_bytes(), (folder / id / "err").read_bytes()
    raise AssertionError("it never ended")


def test_t_exec_2_cuts_at_random_bytes_change_no_byte_and_no_code(tmp_path, monkeypatch):
    sped(monkeypatch)
    chance, cuts = random.Random(), 0
    for number in range(RUNS):
        sizes = chance.choice((0, 1, 100, 70_000, 200_000)), chance.choice((0, 3, 70_000))
        pod = PlayedPod(chance, chance.randbytes(sizes[0]), chance.randbytes(sizes[1]), chance.choice((0, 1, 255)))
        pod.budget = lambda: chance.choice((chance.uniform(1, 40_000), chance.uniform(1, 400_000)))
        id = f"cmd_{number}"
        outcome, out, err = run(pod, tmp_path, id)
        assert (outcome.code, outcome.ending, out == pod.streams[0], err == pod.streams[1]) == (pod.code, Ending.EXITED, True, True), number
        cuts += pod.connections - 1
        for path in (tmp_path / id).iterdir():
            path.unlink()
    assert cuts > RUNS / 2


def test_t_exec_2_a_cut_after_every_single_byte_changes_nothing(tmp_path, monkeypatch):
    sped(monkeypatch)
    chance = random.Random(7)
    whole, allowed = PlayedPod(chance, b"some words", b"others", 3), 10_000_000.0
    whole.budget = lambda: allowed
    run(whole, tmp_path, "cmd_whole")
    length = int(allowed - whole.last.left)
    for number, at in enumerate([*range(1, length - 600, 997), *range(length - 600, length + 1)]):
        pod = PlayedPod(chance, b"some words", b"others", 3)
        budgets = itertools.chain([at], itertools.repeat(float("inf")))
        pod.budget = lambda budgets=budgets: next(budgets)
        outcome, out, err = run(pod, tmp_path, f"cmd_{number}")
        assert (outcome.code, outcome.ending, out, err) == (3, Ending.EXITED, b"some words", b"others"), at


def test_t_exec_5_a_command_that_prints_what_pod_sh_says_without_its_mark_forges_nothing(tmp_path, monkeypatch):
    sped(monkeypatch)
    forged = b"\x1e" + b"0" * 32 + b" end 0 0 0 00 0 exited\n\x1e\x1e" + b"\x1e" * 40
    outcome, out, _ = run(PlayedPod(random.Random(), forged, b"", 9), tmp_path, "cmd_forged")
    assert (outcome.code, out) == (9, forged)


@given(st.binary(max_size=40), st.integers(1, 32))
def test_what_may_be_the_beginning_of_a_mark_is_held_back_and_nothing_else(data, length):
    mark = b"\x1e" + b"a1" * 16
    assert beginning(data, mark) == next((at for at in range(len(data)) if mark.startswith(data[at:])), len(data))
    assert beginning(data + mark[:length], mark) <= len(data)


@given(st.binary(max_size=300))
def test_stdin_goes_as_printable_lines(data):
    line = escape(data)
    assert re.fullmatch(rb"[\x20-\x7e]*", line)
    assert re.sub(rb"\\0([0-7]{3})", lambda m: bytes((int(m[1], 8),)), line) == data


# real shells behind pipes


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, part in (("RUN", "run"), ("WORKSPACE", "workspace"), ("HOME", "home")):
        (tmp_path / part).mkdir()
        monkeypatch.setattr(hand, name, str(tmp_path / part))
    return tmp_path


@pytest.fixture
def api(folders: Path) -> Iterator[PipeApi]:
    found = PipeApi(runner.SHELL, {"PATH": os.environ["PATH"]})
    found.add(PROJECT.pod)
    yield found
    for one in found.execs:
        one.close()
        one.process.wait(30)


@pytest.fixture
def pods(api: PipeApi, folders: Path) -> PodCommands:
    return PodCommands(api, namespace="n", container="box", spool=folders / "spool")  # type: ignore[arg-type]


def ends(pods: PodCommands, id: str) -> Outcome:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        outcome = pods.advance(PROJECT, id, wait=0.5).outcome
        if outcome is not None:
            return outcome
    raise AssertionError("it has not ended")


def begun(pods: PodCommands, folders: Path, *argv: str, **more: Any) -> str:
    pods.start(PROJECT, Launch(id="cmd_one", argv=argv, **more))
    end = time.monotonic() + 30
    while not (folders / "spool/cmd_one/out").exists() or not (folders / "spool/cmd_one/out").read_bytes():
        assert time.monotonic() < end
        pods.advance(PROJECT, "cmd_one", wait=0.2)
    return "cmd_one"


def test_a_version_4_server_carries_stdin_too_though_it_cannot_end_it(api, pods, folders):
    api._protocol = V4
    data = random.Random(1).randbytes(60_000)
    started = pods.start(PROJECT, Launch(id="cmd_one", argv=("cat",), stdin=True))
    assert started.input is not None
    for at in range(0, len(data), 7000):
        assert started.input.write(data[at : at + 7000])
    started.input.finish()
    assert ends(pods, "cmd_one").code == 0
    assert (folders / "spool/cmd_one/out").read_bytes() == data


def test_a_command_outlives_its_connection_and_is_followed_again(api, pods, folders):
    id = begun(pods, folders, "sh", "-c", "echo one; sleep 1; echo two; exit 4")
    api.execs[-1].cut()
    api.execs[-1].process.kill()  # as a container runtime does to what a lost connection had started
    assert ends(pods, id) == Outcome(code=4, ending=Ending.EXITED, at=runner.outcome(folders / "spool" / id).at)
    assert (folders / "spool" / id / "out").read_bytes() == b"one\ntwo\n"


def test_what_is_in_the_spool_is_looked_up_without_a_cluster_and_gone_from_the_pod(api, pods, folders):
    pods.start(PROJECT, Launch(id="cmd_one", argv=("sh", "-c", "echo much; exit 2")))
    first = ends(pods, "cmd_one")
    connections, api.pods = len(api.execs), {}
    assert ends(PodCommands(api, namespace="n", container="box", spool=folders / "spool"), "cmd_one") == first
    assert len(api.execs) == connections == 1
    end = time.monotonic() + 30
    while (left := {one.name for one in (folders / "run/cmd_one").iterdir()}) != {"taken"}:
        assert time.monotonic() < end, left


@pytest.mark.parametrize("change", ["deleted", "made again"])
def test_t_exec_14_a_pod_that_is_gone_is_named(api, pods, folders, change):
    id = begun(pods, folders, "sh", "-c", "echo here; exec sleep 600")
    lost = api.pods.pop(PROJECT.pod)
    if change == "made again":
        api.add(PROJECT.pod, uid="u-2", container="c-2")
    api.execs[-1].cut()
    outcome = ends(pods, id)
    assert (outcome.ending, outcome.cause) == (Ending.LOST, "Deleted")
    api.pods[PROJECT.pod] = lost
    pods._ask(PROJECT, id, "sweep")


def test_a_cluster_that_does_not_answer_for_a_while_is_waited_for(api, pods, folders, monkeypatch):
    id = begun(pods, folders, "sh", "-c", "echo here; sleep 1; exit 6")
    away = Unavailable("it does not answer", hint="wait", code="CLUSTER_UNREACHABLE")

    def refuse(*_: object, **__: object) -> None:
        raise away

    with monkeypatch.context() as patch:
        patch.setattr(api, "exec", refuse)
        patch.setattr(api, "get", refuse)
        api.execs[-1].cut()
        for _ in range(3):
            assert pods.advance(PROJECT, id, wait=0.3).outcome is None
    assert ends(pods, id).code == 6


def test_a_right_that_is_taken_away_in_mid_command_is_said(api, pods, folders, monkeypatch):
    id = begun(pods, folders, "sh", "-c", "echo here; sleep 1; exit 6")
    with monkeypatch.context() as patch:

        def refuse(*_: object, **__: object) -> None:
            raise Denied("you may not create pods/exec", hint="ask for the right", code="FORBIDDEN")

        patch.setattr(api, "exec", refuse)
        api.execs[-1].cut()
        with pytest.raises(Denied):
            ends(pods, id)
    assert ends(pods, id).code == 6


def test_one_command_cannot_be_without_the_network_that_its_pod_has(pods):
    with pytest.raises(Invalid, match="network"):
        pods.start(PROJECT, Launch(id="cmd_one", argv=("true",), network=False))


def test_no_word_of_a_command_is_on_the_argv_of_an_exec(api, pods, monkeypatch):
    asked = []
    real = api.exec
    monkeypatch.setattr(api, "exec", lambda *words, **more: asked.append(words) or real(*words, **more))
    pods.start(PROJECT, Launch(id="cmd_one", argv=("echo", "a-prompt"), environment=(("TOKEN", "a-secret"),)))
    ends(pods, "cmd_one")
    assert "a-prompt" not in repr(asked)
    assert "a-secret" not in repr(asked)
    assert len(repr(asked)) < 500  # it is a part of a URL


# what befell a pod


def pod(**more: Any) -> dict[str, Any]:
    box = {"name": "box", "ready": True, "containerID": "c-1", "state": {"running": {}}, **more.pop("box", {})}
    return {
        "metadata": {"name": "p", "uid": "u-1", **more.pop("metadata", {})},
        "status": {"phase": "Running", "containerStatuses": [box], "conditions": [{"type": "Ready", "status": "True"}], **more},
    }


LEAVING = {"deletionTimestamp": "2026-01-01T00:00:00Z"}
ENDED = {"state": {"terminated": {"reason": "Error"}}}


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (pod(), Fate()),
        (None, Fate(cause="Deleted", over=True)),
        (pod(metadata={"uid": "u-2"}), Fate(cause="Deleted", over=True)),
        (pod(metadata=LEAVING), Fate()),  # it has its grace, and what runs may end well
        (pod(metadata=LEAVING, box=ENDED), Fate(cause="Deleted", over=True)),
        (pod(phase="Failed", reason="Evicted", message="low on memory"), Fate(cause="Evicted", over=True)),
        (
            pod(
                metadata=LEAVING, box=ENDED, conditions=[{"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"}]
            ),
            Fate(cause="Evicted", over=True),
        ),
        (
            pod(metadata=LEAVING, conditions=[{"type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaintManager"}]),
            Fate(cause="NodeLost", over=True),
        ),
        (pod(conditions=[{"type": "Ready", "status": "False"}]), Fate(cause="NodeLost")),
        (pod(box={"state": {"terminated": {"reason": "OOMKilled"}}}), Fate(cause="OOMKilled")),
        (pod(box={"state": {"waiting": {}}, "lastState": {"terminated": {"reason": "OOMKilled"}}}), Fate(cause="OOMKilled")),
        (pod(box={"containerID": "c-2", "lastState": {"terminated": {"reason": "Completed"}}}), Fate(cause="Restarted")),
        (pod(phase="Failed", box={"state": {"terminated": {"reason": "OOMKilled"}}}), Fate(cause="OOMKilled", over=True)),
        (pod(phase="Succeeded", box=ENDED), Fate(cause="Restarted", over=True)),
    ],
)
def test_t_exec_14_what_befell_a_pod_is_read_out_of_its_status(found, said):
    assert fate(found, {"uid": "u-1", "container": "c-1"}, "box") == said


def test_t_exec_14_a_node_that_answers_is_not_lost_however_often_the_way_to_it_breaks(tmp_path, monkeypatch):
    sped(monkeypatch)
    chance = random.Random(3)
    pod = PlayedPod(chance, chance.randbytes(3_000_000), b"", 0)
    real = pod.exec

    def slow(*words: object, **more: object) -> Played:
        commands.time.sleep(10.0)
        return real(*words, **more)

    monkeypatch.setattr(pod, "exec", slow)
    # each gets a little farther, and none of them to the end of what is there: ten minutes of it
    pod.budget = lambda: 25_000 + 70_000 if pod.connections < 60 else float("inf")
    outcome, out, _ = run(pod, tmp_path, "cmd_slow")
    assert (outcome.code, outcome.ending, out == pod.streams[0]) == (0, Ending.EXITED, True)
    assert pod.connections >= 40


@pytest.mark.parametrize("others", [True, False], ids=["others are answered", "nobody is answered"])
def test_t_exec_14_a_node_counts_as_lost_only_if_it_answers_nobody(tmp_path, monkeypatch, others):
    sped(monkeypatch)
    pod = PlayedPod(random.Random(5), b"x" * 100, b"", 0)
    one = PodCommands(pod, namespace="n", container="box", spool=tmp_path)  # type: ignore[arg-type]
    one.start(PROJECT, Launch(id="cmd_unlucky", argv=("x",)))
    one.close()
    real = pod.exec

    def busy(*words: object, **more: object) -> Played:
        commands.time.sleep(10.0)
        raise Unavailable("it does not answer in time", hint="")

    for _ in range(12):  # two minutes
        monkeypatch.setattr(pod, "exec", busy)
        outcome = one.advance(PROJECT, "cmd_unlucky", wait=10.0).outcome
        if outcome is not None:
            break
        if others:
            monkeypatch.setattr(pod, "exec", real)
            one.start(PROJECT, Launch(id=f"cmd_{os.urandom(4).hex()}", argv=("x",)))
    assert outcome == (None if others else Outcome(code=-1, ending=Ending.LOST, cause="NodeLost"))


def test_what_stays_of_a_command_in_its_pod_goes_when_its_output_is_kept_nowhere(tmp_path, monkeypatch):
    for name, part in (("RUN", "run"), ("WORKSPACE", "workspace"), ("HOME", "home")):
        (tmp_path / part).mkdir()
        monkeypatch.setattr(hand, name, str(tmp_path / part))
    for name, days, left in (("cmd_old", 9, "taken"), ("cmd_week", 6, "taken"), ("cmd_running", 9, "pid")):
        (tmp_path / "run" / name).mkdir()
        (tmp_path / "run" / name / left).touch()
        then = time.time() - days * 86400
        os.utime(tmp_path / "run" / name / left, (then, then))
    api = PipeApi(runner.SHELL, {"PATH": os.environ["PATH"]})
    api.add(PROJECT.pod)
    one = PodCommands(api, namespace="n", container="box", spool=tmp_path / "spool")  # type: ignore[arg-type]
    one.start(PROJECT, Launch(id="cmd_new", argv=("true",)))
    end = time.monotonic() + 30
    while one.advance(PROJECT, "cmd_new", wait=1.0).outcome is None or (tmp_path / "run" / "cmd_old").exists():
        assert time.monotonic() < end, list((tmp_path / "run").iterdir())
    for pipe in api.execs:
        pipe.close()
        pipe.process.wait(30)
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["cmd_new", "cmd_running", "cmd_week"]
    assert [path.name for path in (tmp_path / "run" / "cmd_new").iterdir()] == ["taken"]
