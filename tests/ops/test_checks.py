"""Checks in a clean pod: what runs, what does not, and that nothing is left behind whatever happens."""

from typing import Any

import pytest

from rdev_cli.domain.command import Ending
from rdev_cli.domain.errors import Cancelled, Conflict, Invalid, NotFound, OutcomeUnknown, Unavailable
from rdev_cli.domain.review import Step, Verdict
from rdev_cli.domain.session import Purpose, Session, SessionState
from rdev_cli.ops import checks, ci, known, sweeping
from tests.fakes.forge import commit
from tests.fakes.world import MemoryWorld

pytestmark = pytest.mark.state


def step(name: str, *lines: str, after: tuple[str, ...] = (), environment: tuple[tuple[str, str], ...] = ()) -> Step:
    return Step(name=name, lines=lines or ("true",), depends_on=after, environment=environment)


def run(world: MemoryWorld, *steps: Step, **more: Any) -> Any:
    project = known.project(world, "shop")
    return checks.run(world, project, world.forge.head(project), steps, **more)


def left(world: MemoryWorld) -> list[Session]:
    return [one for one in world.store.some(Session) if one.state is not SessionState.ENDED]


class Witness:
    """Remembers what was told, and may do something at it."""

    def __init__(self, at: Any = None) -> None:
        self.told: list[tuple[str, ...]] = []
        self._at = at or (lambda command: None)

    def noted(self, notes: Any) -> None:
        self.told += [("note", note) for note in notes]

    def began(self, step: str, line: str, command: Any) -> None:
        self.told.append(("began", step, line))
        self._at(command)

    def came(self, command: Any, progress: Any) -> None:
        pass

    def ended(self, run: Any) -> None:
        self.told.append(("ended", run.step, run.reason))


def put(world: MemoryWorld, **files: str) -> str:
    """Put files into the repository and return the commit."""
    found = world.forge.repositories["shop"]
    before = found.commits[found.branches["main"]]["files"]
    found.branches["main"] = commit(found.commits, found.branches["main"], "more", {**before, **files})
    return found.branches["main"]


def test_every_line_is_run_in_a_pod_that_is_made_for_it_and_goes_with_it(world):
    pods = set(world.cluster.pods)
    checked = run(world, step("a", "echo one", "echo two"), step("b", "true"))
    assert checked.verdict is Verdict.PASSED
    assert [(r.step, r.line, r.exit_code, r.reason) for r in checked.runs] == [
        ("a", "echo one", 0, ""),
        ("a", "echo two", 0, ""),
        ("b", "true", 0, ""),
    ]
    assert checked.runs[0].stdout_sha256 == "2c8b08da5ce60398e1f19af0e5dccc744df274b826abe585eaba68c525434806"  # of b"one\n"
    assert (checked.image, checked.tree) == ("memory", world.forge.tree(known.project(world, "shop"), checked.commit))
    assert set(world.cluster.pods) == pods
    (session,) = world.store.some(Session)
    assert (session.state, session.purpose, session.base) == (SessionState.ENDED, Purpose.CHECKS, checked.commit)
    told = [event for event in world.store.events(after=0, subject="shop") if event.kind == "checks.ended"]
    assert [event.data for event in told] == [
        {"project": "shop", "session": session.id, "commit": checked.commit, "verdict": "passed", "failed": []}
    ]


def test_a_step_ends_at_its_first_line_that_fails_and_what_waits_for_it_is_not_run(world):
    checked = run(world, step("a", "true", "false", "echo never"), step("b", after=("a",)), step("c", after=("b",)), step("d"))
    assert checked.verdict is Verdict.FAILED
    assert [(r.step, r.exit_code, r.reason) for r in checked.runs] == [
        ("a", 0, ""), ("a", 1, ""), ("a", None, "skipped"), ("b", None, "skipped"), ("c", None, "skipped"), ("d", 0, ""),
    ]  # fmt: skip
    assert [r.command for r in checked.runs if r.reason == "skipped"] == ["", "", ""]


def test_steps_are_run_in_the_order_in_which_they_depend_on_each_other(world):
    checked = run(world, step("c", after=("b",)), step("b", after=("a",)), step("a"))
    assert [r.step for r in checked.runs] == ["a", "b", "c"]
    with pytest.raises(Invalid):
        run(world, step("a", after=("a",)))
    assert left(world) == []


def test_whoever_looks_on_hears_of_each_line(world):
    witness = Witness()
    run(world, step("a", "false"), step("b", after=("a",)), tell=witness)
    assert witness.told == [("began", "a", "false"), ("ended", "a", ""), ("ended", "b", "skipped")]


def test_a_variable_reaches_its_step_alone_and_no_argv(world):
    run(world, step("a", "true", environment=(("LEVEL", "full"),)), step("b", "true"))
    launches = [one.launch for one in world.cluster.runs.values()]
    assert [launch.environment for launch in launches] == [(("CI", "true"), ("LEVEL", "full")), (("CI", "true"),)]
    assert [launch.argv for launch in launches] == [("sh", "-ec", "true")] * 2


def test_several_lines_in_one_shell_say_which_of_them_failed(world):
    run(world, step("a", "echo one\nfalse"))
    assert [one.launch.argv[:2] for one in world.cluster.runs.values()] == [("sh", "-exc")]


def test_the_time_of_all_steps_together_is_bounded(world, monkeypatch):
    started = world.clock.monotonic()
    now = [started]
    monkeypatch.setattr(type(world.clock), "monotonic", lambda self: now[0])

    def late(command: Any) -> None:
        now[0] = started + 61
        world.cluster.end(command.id, 143, Ending.TIMEOUT)

    checked = run(world, step("a", "sleep 100", "true"), step("b"), limit_seconds=60, tell=Witness(late))
    assert [(r.step, r.exit_code, r.reason) for r in checked.runs] == [
        ("a", 143, "timeout"),
        ("a", None, "skipped"),
        ("b", None, "timeout"),
    ]
    assert checked.verdict is Verdict.FAILED
    assert [one.launch.limit_seconds for one in world.cluster.runs.values()] == [60]
    assert left(world) == []


def test_a_stop_ends_the_command_and_the_pod(world):
    with pytest.raises(Cancelled):
        run(world, step("a", "sleep 100"), tell=Witness(lambda command: world.stop.set("cancelled")))
    (one,) = world.cluster.runs.values()
    assert one.outcome is not None
    assert left(world) == []


def test_a_look_on_that_breaks_leaves_nothing_behind(world):
    def broken(command: Any) -> None:
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        run(world, step("a", "sleep 100"), tell=Witness(broken))
    assert all(one.outcome is not None for one in world.cluster.runs.values())
    assert left(world) == []


def test_an_outcome_that_nobody_knows_is_no_verdict(world):
    with pytest.raises(OutcomeUnknown):
        run(world, step("a", "sleep 100"), tell=Witness(lambda command: world.cluster.end(command.id, -1, Ending.LOST)))
    assert left(world) == []


def test_a_pod_that_went_is_not_made_again_under_steps_that_did_not_all_run_in_it(world):
    def gone(command: Any) -> None:
        (session,) = left(world)
        world.cluster.pods.pop(session.pod)

    with pytest.raises(Unavailable) as caught:
        run(world, step("a", "true"), step("b", "true"), tell=Witness(gone))
    assert caught.value.code == "POD_GONE"
    assert len(world.cluster.runs) == 1
    assert left(world) == []


@pytest.mark.parametrize("call", ["ensure_pod", "run", "start", "advance"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_what_keeps_the_checks_from_being_made_is_raised_and_nothing_is_left(world, call, when):
    world.cluster.trouble.add(f"{call}:{when}")
    with pytest.raises(Unavailable):
        run(world, step("a", "sleep 100"), limit_seconds=5)
    world.cluster.trouble.clear()
    for session in left(world):  # what could not be ended while nothing answered is ended by the sweeper
        with world.store.transaction() as tx:
            tx.forget(f"checks:{session.id}")
    sweeping.sweep(world)
    assert left(world) == []
    assert set(world.cluster.pods) == {known.project(world, "shop").pod}


def test_a_pod_that_does_not_go_keeps_no_result_back(world):
    world.cluster.trouble.add("delete_pod:before")
    checked = run(world, step("a"))
    assert checked.verdict is Verdict.PASSED
    (session,) = left(world)
    assert f"rdev session end {session.id}" in checked.notes[0]
    world.cluster.trouble.clear()
    sweeping.sweep(world)
    assert left(world) == []


def test_a_pod_with_another_commit_is_not_taken_for_the_one_asked_about(world, monkeypatch):
    monkeypatch.setattr(checks.workspaces, "head", lambda world, place: "0" * 40)
    with pytest.raises(Unavailable) as caught:
        run(world, step("a"))
    assert caught.value.code == "NOT_CLEAN"
    assert world.cluster.runs == {}
    assert left(world) == []


# what a project declares


def test_checks_are_those_of_the_commit(world):
    project = known.project(world, "shop")
    first = put(world, **{".rdev.yaml": "checks: [echo old]\n"})
    second = put(world, **{".rdev.yaml": "checks: [echo new]\n"})
    assert [[s.lines for s in checks.declared(world, project, sha)] for sha in (first, second)] == [[("echo old",)], [("echo new",)]]
    third = put(world, **{".rdev.yaml": "checks: {}\n  bad"})
    with pytest.raises(Invalid) as caught:
        checks.declared(world, project, third)
    assert caught.value.message.startswith(f".rdev.yaml at {third[:10]}")


def test_a_commit_is_the_one_given_or_the_newest_of_a_branch(world):
    project = known.project(world, "shop")
    sha = world.forge.head(project)
    assert checks.at(world, project) == checks.at(world, project, branch="main") == checks.at(world, project, commit=sha) == sha
    for given in ({"commit": "0" * 40}, {"branch": "none"}):
        with pytest.raises(NotFound):
            checks.at(world, project, **given)
    for text in ("main", sha[:10], "--upload-pack=x", sha.upper()):
        with pytest.raises(Invalid):
            checks.at(world, project, commit=text)


# pipelines

PIPELINE = """
labels: {a: b}
steps:
  - {name: build, image: golang, commands: [echo built]}
  - {name: deploy, commands: [echo deployed], when: {event: tag}}
"""


def test_a_pipeline_is_run_and_what_is_left_out_is_told_before_and_in_the_answer(world):
    sha = put(world, **{".woodpecker.yml": PIPELINE})
    witness = Witness()
    checked = ci.run(world, "shop", tell=witness)
    assert (checked.commit, checked.verdict, [r.step for r in checked.runs]) == (sha, Verdict.PASSED, ["build"])
    assert len(checked.notes) == 3
    assert witness.told == [*(("note", note) for note in checked.notes), ("began", "build", "echo built"), ("ended", "build", "")]
    (one,) = world.cluster.runs.values()
    assert dict(one.launch.environment) == {
        "CI": "true", "CI_REPO_NAME": "shop", "CI_COMMIT_SHA": sha, "CI_COMMIT_BRANCH": "main", "CI_PIPELINE_EVENT": "manual",
    }  # fmt: skip


def test_a_pipeline_of_a_branch_is_that_of_its_commit(world):
    old = put(world, **{".woodpecker.yaml": "steps: {a: {commands: echo old}}\n"})
    found = world.forge.repositories["shop"]
    found.branches["feature/cart"] = put(world, **{".woodpecker.yml": "steps: {a: {commands: echo cart}}\n"})
    found.branches["main"] = old
    assert [r.line for r in ci.run(world, "shop", branch="feature/cart").runs] == ["echo cart"]
    assert [r.line for r in ci.run(world, "shop").runs] == ["echo old"]
    assert [r.line for r in ci.run(world, "shop", commit=found.branches["feature/cart"]).runs] == ["echo cart"]


def test_what_cannot_be_run_is_refused_before_there_is_a_pod(world):
    with pytest.raises(Conflict) as caught:
        ci.run(world, "shop")
    assert caught.value.code == "NO_PIPELINE"
    put(world, **{".woodpecker.yml": "steps: {a: {commands: b, when: {branch: other}}}\n"})
    with pytest.raises(Conflict):
        ci.run(world, "shop")
    put(world, **{".woodpecker.yml": "services: {}\n"})
    with pytest.raises(Invalid):
        ci.run(world, "shop")
    with pytest.raises(Invalid):
        ci.run(world, "shop", branch="--bad")
    assert list(world.store.some(Session)) == []


def test_a_command_that_somebody_cancels_has_not_passed(world):
    checked = run(world, step("a", "sleep 9"), tell=Witness(lambda command: world.cluster.end(command.id, 143, Ending.CANCELLED)))
    assert (checked.verdict, checked.runs[0].reason) == (Verdict.FAILED, "cancelled")
