"""Steps that are run in a clean pod: what a project declares, and in which order they are run."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from rdev_cli.domain.errors import Invalid
from rdev_cli.domain.review import Step
from rdev_cli.domain.values import shown

FILE = ".rdev.yaml"
MOST = 100  # steps of one run, and lines of one step
LINE = 64 << 10  # bytes of a line: what every system takes as one word of an argv
_NAME = re.compile(r"[^\x00-\x1f\x7f]{1,64}")
_HOW = "checks:\\n  - make test   (or: - {name: unit, run: make test})"


def declared(data: Any, where: str) -> tuple[Step, ...]:
    """Return the `checks` of a project's .rdev.yaml (plain data, every value text), nothing of it believed; Invalid says which one is wrong.

    A check is a line of sh, or a name with `run` (a line, or several that are run each for itself) and what it `depends_on`.
    """
    if data is None or data == "":
        return ()
    if not isinstance(data, Mapping):
        raise Invalid(f"{where} is not a list of settings", hint="project: NAME, context: NAME, checks: [...]", file=where)
    given = data.get("checks") or []
    if not isinstance(given, list):
        raise Invalid(f"{where}: checks is no list", hint=_HOW.replace("\\n", " "), file=where, field="checks")
    many(len(given), "checks", where)
    steps = [_check(one, f"{where}: checks[{at}]", where) for at, one in enumerate(given)]
    return ordered(steps, where)


def _check(one: Any, place: str, where: str) -> Step:
    if isinstance(one, str):
        return Step(name=_named(one), lines=(line(one, place, where),))
    if not isinstance(one, Mapping):
        raise Invalid(f"{place} is neither a line of sh nor a check with a name", hint="- {name: unit, run: make test}", file=where)
    for key in one:
        if key not in ("name", "run", "depends_on"):
            raise Invalid(f"{place} has '{shown(str(key))}', which a check has not", hint="name, run, depends_on", file=where)
    texts = listed(one.get("run", ""), f"{place}.run", where)
    if not texts:
        raise Invalid(f"{place} has nothing to run", hint="- {name: unit, run: make test}", file=where)
    many(len(texts), "lines", where)
    lines = tuple(line(text, f"{place}.run", where) for text in texts)
    name = one.get("name") or _named(lines[0])
    return Step(
        name=step_name(name, place, where), lines=lines, depends_on=tuple(listed(one.get("depends_on", ""), f"{place}.depends_on", where))
    )


def _named(text: str) -> str:
    """Return the name of a check that has none of its own: what it runs, as far as a name goes."""
    words = " ".join(re.sub(r"[\x00-\x1f\x7f]", " ", text).split())
    return words if len(words) <= 60 else words[:57] + "..."


# what pipelines are held to as well


def line(text: Any, place: str, where: str) -> str:
    """Return a line of sh, which may be of several lines, if it can be given to a shell; else Invalid."""
    if not isinstance(text, str):
        raise Invalid(f"{place} is no text", hint="write it as one line of sh, in quotes if it holds `: ` or `#`", file=where)
    if not text.strip():
        raise Invalid(f"{place} is empty", hint="write a line of sh, or take it out", file=where)
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        size = -1
    if size < 0 or "\0" in text:
        raise Invalid(f"{place} holds what no program can be given", hint="write it as text in UTF-8", file=where)
    if size > LINE:
        raise Invalid(f"{place} is longer than {LINE >> 10} KiB", hint="put it into a script of the repository", file=where)
    return text.strip("\n")


def step_name(text: Any, place: str, where: str) -> str:
    """Return the name of a step: one line of at most 64 characters; else Invalid."""
    if not isinstance(text, str) or not _NAME.fullmatch(text) or not text.strip():
        raise Invalid(f"{place}: '{shown(str(text))}' is no name of a step", hint="one line of at most 64 characters", file=where)
    try:
        text.encode()
    except UnicodeEncodeError as e:
        raise Invalid(f"{place}: its name is no text", hint="write it as text in UTF-8", file=where) from e
    return text


def listed(value: Any, place: str, where: str) -> Sequence[Any]:
    """Return what may stand there alone or as a list; Invalid for anything else."""
    if isinstance(value, str):
        return [value] if value else []
    if isinstance(value, list):
        return value
    raise Invalid(f"{place} is neither text nor a list", hint="write a list: [one, two]", file=where)


def many(count: int, what: str, where: str) -> None:
    """Check that there are not too many of something; Invalid if there are."""
    if count > MOST:
        raise Invalid(
            f"{where} has {count} {what}, and {MOST} are the most", hint="join some of them in a script of the repository", file=where
        )


def ordered(steps: Sequence[Step], where: str) -> tuple[Step, ...]:
    """Return steps so that each comes behind those that it depends on, else as they stand; Invalid for a name that is not there, or a circle."""
    names: set[str] = set()
    for step in steps:
        if step.name in names:
            raise Invalid(f"{where}: two steps are called '{shown(step.name)}'", hint="give one of them another name", file=where)
        names.add(step.name)
    for step in steps:
        for other in step.depends_on:
            if other not in names:
                raise Invalid(
                    f"{where}: '{shown(step.name)}' depends on '{shown(str(other))}', which is not there",
                    hint=f"the steps are {shown(', '.join(sorted(names)), most=200)}",
                    file=where,
                )
    left, placed, done = list(steps), list[Step](), set[str]()
    while left:
        following = next((step for step in left if set(step.depends_on) <= done), None)
        if following is None:
            around = ", ".join(shown(step.name) for step in left)
            raise Invalid(f"{where}: these steps wait for each other: {around}", hint="take one depends_on out", file=where)
        left.remove(following)
        placed.append(following)
        done.add(following.name)
    return tuple(placed)
