"""What a repository declares to be run: checks of .rdev.yaml and pipelines, foreign text that is believed in nothing."""

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdev_cli.adapters.shared import safe_yaml
from rdev_cli.domain.errors import Conflict, Invalid
from rdev_cli.domain.review import Step
from rdev_cli.domain.steps import LINE, MOST, declared, ordered
from rdev_cli.domain.woodpecker import Pipeline, pipeline


def checks(text: str) -> tuple[Step, ...]:
    return declared(safe_yaml.load(text.encode(), ".rdev.yaml", texts=True), ".rdev.yaml")


def piped(text: str, branch: str = "main", *, here: bool = True) -> Pipeline:
    return pipeline(safe_yaml.load(text.encode(), ".woodpecker.yml", texts=True), ".woodpecker.yml", branch=branch, here=here)


# .rdev.yaml


@pytest.mark.parametrize("text", ["", "project: shop\n", "checks:\n", "checks: []\n", "# nothing\n"])
def test_a_project_may_declare_no_checks(text: str) -> None:
    assert checks(text) == ()


def test_a_check_is_a_line_or_has_a_name_and_each_of_its_lines_is_run_for_itself() -> None:
    found = checks(
        "checks:\n  - make test\n  - name: unit\n    run: [make unit, make more]\n    depends_on: make test\n  - run: 'echo: one'\n"
    )
    assert [(step.name, step.lines, step.depends_on) for step in found] == [
        ("make test", ("make test",), ()),
        ("unit", ("make unit", "make more"), ("make test",)),
        ("echo: one", ("echo: one",), ()),
    ]


def test_a_text_of_several_lines_is_one_line_to_be_run_and_named_by_its_words() -> None:
    (found,) = checks("checks:\n  - |\n    make\n    make test\n")
    assert (found.name, found.lines) == ("make make test", ("make\nmake test",))


def test_values_are_text_whatever_they_look_like() -> None:
    (found,) = checks("checks:\n  - name: 1.10\n    run: on\n")
    assert (found.name, found.lines) == ("1.10", ("on",))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- a\n", "not a list of settings"),
        ("checks: make test\n", "checks is no list"),
        ("checks: {a: b}\n", "checks is no list"),
        ("checks: [[a]]\n", "neither a line of sh nor a check"),
        ("checks: ['']\n", "is empty"),
        ("checks: ['  ']\n", "is empty"),
        ("checks:\n  - make: test\n", "has 'make', which a check has not"),
        ("checks:\n  - name: a\n", "has nothing to run"),
        ("checks:\n  - {name: a, run: []}\n", "has nothing to run"),
        ("checks:\n  - {name: a, run: {b: c}}\n", "neither text nor a list"),
        ("checks:\n  - {name: a, run: [{b: c}]}\n", "is no text"),
        ('checks:\n  - {name: "a\\nb", run: c}\n', "is no name of a step"),
        ('checks:\n  - "a\\ud800"\n', "is not YAML at line 2"),
        ('checks:\n  - "a\\0b"\n', "holds what no program can be given"),
        ("checks: [a, a]\n", "two steps are called 'a'"),
        ("checks:\n  - {name: a, run: b, depends_on: c}\n", "depends on 'c', which is not there"),
        ("checks:\n  - {name: a, run: b, depends_on: a}\n", "wait for each other: a"),
        ("checks:\n  - {name: a, run: b, depends_on: c}\n  - {name: c, run: b, depends_on: a}\n", "wait for each other: a, c"),
        (f"checks: ['{'x' * (LINE + 1)}']\n", "longer than 64 KiB"),
        (f"checks: [{', '.join(f'l{n}' for n in range(MOST + 1))}]\n", "101 checks, and 100 are the most"),
        ("checks: [&a make, *a]\n", "anchors and aliases are not taken"),
        ("checks: [{<<: {run: b}}]\n", "has '<<', which a check has not"),
        ("checks: !!python/object/apply:os.system [id]\n", "tags are not taken"),
    ],
)
def test_what_is_no_check_is_refused_and_the_place_is_named(text: str, said: str) -> None:
    with pytest.raises(Invalid) as caught:
        checks(text)
    assert said in caught.value.message
    assert caught.value.hint


def test_half_of_a_character_is_nothing_that_a_program_can_be_given() -> None:
    for data in ({"checks": ["a\ud800"]}, {"checks": [{"name": "\udc80", "run": "a"}]}):
        with pytest.raises(Invalid):
            declared(data, ".rdev.yaml")


PLAIN = st.recursive(
    st.text(max_size=8), lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4), max_leaves=12
)
KEYS = st.sampled_from(
    ["checks", "name", "run", "depends_on", "steps", "commands", "environment", "when", "branch", "event", "image", "include", "services"]
)
SHAPED = st.recursive(
    st.text(max_size=8), lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=5), max_leaves=20
)


@given(PLAIN | SHAPED)
def test_whatever_stands_there_is_taken_or_refused_in_words(data: Any) -> None:
    for read in (lambda: declared(data, ".rdev.yaml"), lambda: pipeline(data, ".woodpecker.yml", branch="main", here=True)):
        with contextlib.suppress(Invalid, Conflict):
            read()


@given(st.lists(st.lists(st.integers(0, 7), max_size=3), min_size=1, max_size=8))
def test_each_step_comes_behind_those_it_depends_on_or_there_is_a_circle(edges: list[list[int]]) -> None:
    steps = [
        Step(name=str(n), lines=("true",), depends_on=tuple(str(o) for o in others if o < len(edges))) for n, others in enumerate(edges)
    ]
    try:
        placed = ordered(steps, "x")
    except Invalid:
        waiting = {step.name: set(step.depends_on) for step in steps}
        while free := [name for name, others in waiting.items() if not others]:
            for name in free:
                del waiting[name]
            for others in waiting.values():
                others.difference_update(free)
        assert waiting  # it is true that nothing could begin
        return
    assert sorted(step.name for step in placed) == sorted(step.name for step in steps)
    for at, step in enumerate(placed):
        assert set(step.depends_on) <= {before.name for before in placed[:at]}


# pipelines


def test_steps_are_a_list_or_a_map_and_each_waits_for_all_before_it() -> None:
    listed = piped("steps:\n  - {name: a, image: x, commands: [make, make test]}\n  - {name: b, commands: ls}\n")
    mapped = piped("steps:\n  a: {image: x, commands: [make, make test]}\n  b: {commands: ls}\n")
    assert listed.steps == mapped.steps
    assert [(s.name, s.lines, s.depends_on) for s in listed.steps] == [("a", ("make\nmake test",), ()), ("b", ("ls",), ("a",))]


def test_a_step_without_a_name_is_called_by_its_place() -> None:
    assert [step.name for step in piped("steps: [{commands: a}, {commands: b}]\n").steps] == ["step-1", "step-2"]


def test_with_depends_on_anywhere_steps_wait_for_what_they_name_alone() -> None:
    found = piped("steps:\n  c: {commands: c, depends_on: [a, b]}\n  a: {commands: a}\n  b: {commands: b, depends_on: a}\n")
    assert [(step.name, step.depends_on) for step in found.steps] == [("a", ()), ("b", ("a",)), ("c", ("a", "b"))]


def test_an_environment_is_a_map_or_a_list_and_every_value_is_text() -> None:
    for text in ("{GO: 1.10, ON: yes, NONE: ''}", "[GO=1.10, ON=yes, NONE=]"):
        (step,) = piped(f"steps: [{{commands: a, environment: {text}}}]\n").steps
        assert step.environment == (("GO", "1.10"), ("ON", "yes"), ("NONE", ""))


def test_an_image_is_told_to_be_left_out_and_where_the_steps_run_instead() -> None:
    text = "steps: [{image: golang, commands: a}, {image: alpine, commands: b}]\n"
    assert piped(text).notes == ("the images alpine, golang: not used; the steps run in the sandbox, with the programs of this machine",)
    assert piped(text, here=False).notes == ("the images alpine, golang: not used; the steps run in the image of the context",)


@pytest.mark.parametrize(
    ("when", "runs"),
    [
        ("{branch: main}", True),
        ("{branch: other}", False),
        ("{branch: [other, ma*]}", True),
        ("{branch: {include: 'm*', exclude: main}}", False),
        ("{branch: {exclude: 'release/*'}}", True),
        ("{event: push}", True),
        ("{event: [tag, manual]}", True),
        ("{event: [tag, deployment, pull_request]}", False),
        ("{event: {exclude: push}}", False),
        ("{branch: main, event: tag}", False),
        ("[{event: tag}, {branch: main}]", True),
        ("[{event: tag}, {branch: other}]", False),
        ("{status: failure}", False),
        ("{status: [success, failure]}", True),
        ("[]", True),
    ],
)
def test_a_condition_on_branch_and_event_is_looked_at(when: str, runs: bool) -> None:
    found = piped(f"steps:\n  a: {{commands: a}}\n  b: {{commands: b, when: {when}}}\n")
    assert [step.name for step in found.steps] == (["a", "b"] if runs else ["a"])
    assert ("the step 'b' is left out: its `when` is for something else" in found.notes) is not runs
    whole = f"when: {when}\nsteps: {{a: {{commands: a}}}}\n"
    if runs:
        assert len(piped(whole).steps) == 1
    else:
        with pytest.raises(Conflict) as caught:
            piped(whole)
        assert caught.value.code == "NOTHING_TO_RUN"


def test_a_condition_that_is_not_looked_at_is_taken_as_true_and_told() -> None:
    found = piped("steps:\n  a: {commands: a, when: {path: 'src/**', branch: main}}\n")
    assert [step.name for step in found.steps] == ["a"]
    assert found.notes == ("the step 'a': `when: path` is not looked at, and taken as true",)


def test_nobody_waits_for_a_step_that_is_left_out() -> None:
    found = piped("steps:\n  a: {commands: a, when: {event: tag}}\n  b: {commands: b, depends_on: a}\n")
    assert [(step.name, step.depends_on) for step in found.steps] == [("b", ())]


STEP = "steps: {a: {commands: b, %s}}\n"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("services: {db: {image: postgres}}\nsteps: {a: {commands: b}}\n", "services"),
        ("clone: {git: {image: x}}\nsteps: {a: {commands: b}}\n", "clone"),
        ("skip_clone: true\nsteps: {a: {commands: b}}\n", "skip_clone"),
        ("matrix: {GO: ['1', '2']}\nsteps: {a: {commands: b}}\n", "matrix"),
        ("depends_on: [other]\nsteps: {a: {commands: b}}\n", "depends_on"),
        ("workspace: {base: /go}\nsteps: {a: {commands: b}}\n", "workspace"),
        ("pipeline: {a: {commands: b}}\n", "pipeline"),
        ("runs_on: failure\nsteps: {a: {commands: b}}\n", "runs_on"),
        ("stages: [a]\nsteps: {a: {commands: b}}\n", "stages"),
        (STEP % "secrets: [token]", "secrets"),
        (STEP % "environment: {TOKEN: {from_secret: token}}", "environment.TOKEN"),
        (STEP % "settings: {repo: x}", "settings"),
        (STEP % "privileged: true", "privileged"),
        (STEP % "volumes: ['/:/host']", "volumes"),
        (STEP % "detach: true", "detach"),
        (STEP % "failure: ignore", "failure"),
        (STEP % "directory: sub", "directory"),
        (STEP % "group: x", "group"),
        ("steps: {a: {image: plugins/docker}}\n", "a step without commands"),
    ],
)
def test_what_is_not_run_here_is_refused_by_its_name(text: str, named: str) -> None:
    with pytest.raises(Invalid) as caught:
        piped(text)
    assert caught.value.code == "PIPELINE"
    assert caught.value.context["field"] == named
    assert named in caught.value.message


@pytest.mark.parametrize(
    "text",
    [
        "- a\n", "a\n", "", "steps:\n", "steps: []\n", "steps: x\n", "steps: [x]\n", "steps: {a: x}\n", "steps: {a: {commands: {b: c}}}\n",
        "steps: {a: {commands: ['']}}\n", "steps: [{name: a, commands: b}, {name: a, commands: c}]\n", "steps: {a: {commands: b, when: x}}\n",
        "steps: {a: {commands: b, when: {branch: {only: x}}}}\n", "steps: {a: {commands: b, depends_on: z}}\n", "steps: {a: {commands: b, environment: {'A B': c}}}\n",
        "steps: {a: {commands: b, environment: [A]}}\n", "steps: {a: {commands: b, environment: {A: [b]}}}\n", "steps: {a: {commands: b, image: [c]}}\n",
        "steps: {a: {commands: b, depends_on: c}, c: {commands: d, depends_on: a}}\n",
    ],
)  # fmt: skip
def test_what_is_no_pipeline_is_refused(text: str) -> None:
    with pytest.raises(Invalid) as caught:
        piped(text)
    assert caught.value.hint
