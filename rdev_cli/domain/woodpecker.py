"""A pipeline as Woodpecker writes it: what of it is run here, what is told to be left out, and what is refused by name."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

from rdev_cli.domain.errors import Conflict, Invalid
from rdev_cli.domain.review import Step
from rdev_cli.domain.steps import line, listed, many, ordered, step_name
from rdev_cli.domain.values import shown

FILES = (".woodpecker.yml", ".woodpecker.yaml")
EVENTS = ("push", "manual")  # what a run that somebody asks for stands for
_VARIABLE = re.compile("[A-Za-z_][A-Za-z0-9_]{0,127}")
# what a whole pipeline may have, beside its steps
_REFUSED = {
    "services": "services are not run here: a step can start what it needs",
    "clone": "the work tree is filled by rdev, from the repository's own objects",
    "skip_clone": "the work tree is filled by rdev, from the repository's own objects",
    "matrix": "a matrix is not run here: write the steps out",
    "depends_on": "other pipelines are not run here: write the steps into one",
    "workspace": "the work tree is where rdev has it",
    "pipeline": "that is the old word for it: steps",
    "branches": "that is the old word for it: when: {branch: main}",
}
_IGNORED = {"labels": "which machine runs it is the context's choice", "variables": "values are written out where they are used"}
# what a step may have
_STEP = {"name", "image", "commands", "environment", "depends_on", "when", "pull"}
_STEP_REFUSED = {
    "secrets": "a step gets no secret here: commit no value either; it can read what the project's pod has",
    "settings": "plugins are not run here: write what it does as commands",
    "services": "services are not run here: a step can start what it needs",
    "matrix": "a matrix is not run here: write the steps out",
    "detach": "a step that goes on beside the others is not run here: start it with & in the step that needs it",
    "failure": "a step whose failure does not count is not run here: write `|| true` behind its command",
    "entrypoint": "commands are run by sh",
    "directory": "write cd as the first of its commands",
    "privileged": "no pod here has more rights than another",
    "volumes": "no folder of a machine is shown to a pod",
    "devices": "no device of a machine is shown to a pod",
}
# conditions that are evaluated; `status` only to tell what runs after a failure alone
_WHEN = ("branch", "event", "status")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline:
    """What shall be run, in order, and words for people about what is not as it is written there."""

    steps: tuple[Step, ...]
    notes: tuple[str, ...]


def pipeline(data: Any, where: str, *, branch: str, here: bool) -> Pipeline:
    """Return what a pipeline (plain data, every value text) means for a branch; Invalid names what is not run here.

    `here`: programs are this machine's, else an image's. Conflict NOTHING_TO_RUN if every step is for something else.
    """
    if not isinstance(data, Mapping):
        raise Invalid(f"{where} is no pipeline", hint="steps: [{name: test, image: alpine, commands: [make test]}]", file=where)
    notes: list[str] = []
    for key in data:
        if key in _REFUSED:
            raise _refused(where, str(key), _REFUSED[key])
        if key in _IGNORED:
            notes.append(f"{key} is left out: {_IGNORED[key]}")
        elif key not in ("steps", "when", "runs_on"):
            raise _refused(where, str(key), "a pipeline has steps and when")
    if "failure" in (ran := listed(data.get("runs_on", ""), "runs_on", where)) and "success" not in ran:
        raise _refused(where, "runs_on", "what only follows a failure is not run here")
    told: list[str] = []
    if not _wanted(data.get("when", ""), "when", where, branch, told):
        raise _nothing(where, branch)
    steps = _steps(data.get("steps", ""), where, branch, told)
    if not steps:
        raise _nothing(where, branch)
    images = {image for _, image in steps if image}
    if images:
        what = f"the image{'s' if len(images) > 1 else ''} {', '.join(shown(image) for image in sorted(images))}"
        notes.append(
            f"{what}: not used; the steps run {'in the sandbox, with the programs of this machine' if here else 'in the image of the context'}"
        )
    return Pipeline(steps=ordered([step for step, _ in steps], where), notes=(*notes, *told))


def _steps(given: Any, where: str, branch: str, told: list[str]) -> Sequence[tuple[Step, str]]:
    """Return the steps that are for this branch, each with the image that it names."""
    if isinstance(given, Mapping):
        written = [(str(name), one) for name, one in given.items()]
    elif isinstance(given, list):
        written = [(str(one.get("name") or f"step-{at}") if isinstance(one, Mapping) else "", one) for at, one in enumerate(given, 1)]
    else:
        written = []
    if not written:
        raise Invalid(
            f"{where} has no steps", hint="steps: [{name: test, image: alpine, commands: [make test]}]", file=where, field="steps"
        )
    many(len(written), "steps", where)
    for name, one in written:
        step_name(name, "steps", where)
        if not isinstance(one, Mapping):
            raise Invalid(f"{where}: the step '{shown(name)}' is no step", hint="{image: alpine, commands: [make test]}", file=where)
    names = [name for name, _ in written]
    graph = any("depends_on" in one for _, one in written)
    found: list[tuple[Step, str]] = []
    left_out: set[str] = set()
    for at, (name, one) in enumerate(written):
        step = _step(name, one, where, names[:at] if not graph else None)
        if _wanted(one.get("when", ""), f"the step '{shown(name)}'", where, branch, told):
            found.append((step, str(one.get("image") or "")))
        else:
            left_out.add(name)
            told.append(f"the step '{shown(name)}' is left out: its `when` is for something else")
    # what waits for a step that is left out waits for nothing
    return [(replace(step, depends_on=tuple(d for d in step.depends_on if d not in left_out)), image) for step, image in found]


def _step(name: str, one: Mapping[str, Any], where: str, before: Sequence[str] | None) -> Step:
    place = f"the step '{shown(name)}'"
    for key in one:
        if key in _STEP_REFUSED:
            raise _refused(where, str(key), _STEP_REFUSED[key], step=name)
        if key not in _STEP:
            raise _refused(where, str(key), f"a step has {', '.join(sorted(_STEP))}", step=name)
    if not isinstance(one.get("image", ""), str):
        raise Invalid(f"{where}: {place}: its image is no name", hint="image: alpine", file=where)
    commands = listed(one.get("commands", ""), f"{place}: commands", where)
    if not commands:
        raise _refused(where, "a step without commands", "plugins are not run here: write what it does as commands", step=name)
    many(len(commands), "commands", where)
    # one shell runs them all, so that `cd` and `export` reach the next one
    joined = "\n".join(line(text, f"{place}: commands", where) for text in commands)
    depends = [
        step_name(other, f"{place}: depends_on", where) for other in listed(one.get("depends_on", ""), f"{place}: depends_on", where)
    ]
    return Step(
        name=name,
        lines=(line(joined, f"{place}: commands", where),),
        environment=_environment(one.get("environment", ""), place, where),
        depends_on=tuple(depends if before is None else before),  # where no step names another each waits for all before it
    )


def _environment(given: Any, place: str, where: str) -> tuple[tuple[str, str], ...]:
    if isinstance(given, Mapping):
        pairs = [(str(name), value) for name, value in given.items()]
    else:
        pairs = []
        for one in listed(given, f"{place}: environment", where):
            name, equals, value = str(one).partition("=") if isinstance(one, str) else ("", "", "")
            if not equals:
                raise Invalid(f"{where}: {place}: its environment is not NAME=VALUE", hint="environment: {CI_LEVEL: full}", file=where)
            pairs.append((name, value))
    for name, value in pairs:
        if not _VARIABLE.fullmatch(name):
            raise Invalid(f"{where}: {place}: '{shown(name)}' is no name of a variable", hint="letters, digits and _", file=where)
        if isinstance(value, Mapping) and "from_secret" in value:
            raise _refused(where, f"environment.{name}", _STEP_REFUSED["secrets"])
        if not isinstance(value, str):
            raise Invalid(f"{where}: {place}: the value of {name} is no text", hint=f"{name}: value", file=where)
        if value:
            line(value if value.strip() else "-", f"{place}: {name}", where)  # what no program can be given is no value either
    return tuple(pairs)


def _wanted(given: Any, place: str, where: str, branch: str, told: list[str]) -> bool:
    """Say whether a condition holds for a run that somebody asks for on this branch: one of its alternatives, all that stands in it."""
    choices = [given] if isinstance(given, Mapping) else listed(given, f"{place}: when", where)
    if not choices:
        return True
    held = False
    for one in choices:
        if not isinstance(one, Mapping):
            raise Invalid(f"{where}: {place}: its `when` is no condition", hint="when: {branch: main, event: push}", file=where)
        after_failure = one.get("status", "success") == "failure" or one.get("status") == ["failure"]
        fits = (
            _matches(one.get("branch", ""), [branch], f"{place}: when.branch", where)
            and _matches(one.get("event", ""), EVENTS, f"{place}: when.event", where)
            and not after_failure
        )
        if fits:
            told += [f"{place}: `when: {shown(str(key))}` is not looked at, and taken as true" for key in one if key not in _WHEN]
        held = held or fits
    return held


def _matches(given: Any, values: Sequence[str], place: str, where: str) -> bool:
    """Say whether one of the values is among the patterns, as Woodpecker reads them: a word, a list, or include and exclude."""
    include, exclude = given, ""
    if isinstance(given, Mapping):
        for key in given:
            if key not in ("include", "exclude"):
                raise Invalid(f"{where}: {place} has '{shown(str(key))}'", hint="include: [main], exclude: [old/*]", file=where)
        include, exclude = given.get("include", ""), given.get("exclude", "")
    wanted, never = ([str(one) for one in listed(part, place, where)] for part in (include, exclude))
    if any(fnmatchcase(value, pattern) for value in values for pattern in never):
        return False
    return not wanted or any(fnmatchcase(value, pattern) for value in values for pattern in wanted)


def _refused(where: str, key: str, why: str, step: str = "") -> Invalid:
    at = f" of the step '{shown(step)}'" if step else ""
    return Invalid(
        f"{where}: {shown(key)}{at} is not taken: {why}",
        hint="take it out, or run the pipeline where it belongs",
        code="PIPELINE",
        file=where,
        field=shown(key),
    )


def _nothing(where: str, branch: str) -> Conflict:
    return Conflict(
        f"{where} has nothing to run on {shown(branch)}: what stands there is for other branches or events",
        hint="rdev ci run PROJECT --branch NAME takes another branch",
        code="NOTHING_TO_RUN",
        branch=branch,
    )
