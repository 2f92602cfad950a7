"""Pipelines: the steps of a repository's .woodpecker.yml, run where rdev's own checks are."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from rdev_cli.domain.errors import Conflict
from rdev_cli.domain.values import branch as branch_rule
from rdev_cli.domain.woodpecker import FILES, pipeline
from rdev_cli.ops import checks, known
from rdev_cli.ops.ledger import Pace, Scope, operation

if TYPE_CHECKING:
    from rdev_cli.domain.project import Project
    from rdev_cli.domain.review import Checked
    from rdev_cli.domain.woodpecker import Pipeline
    from rdev_cli.ports import World


@operation("ci.run", Scope.BUILDS_WRITE, Pace.LONG)
def run(
    world: World,
    project: str,
    *,
    branch: str = "",
    commit: str = "",
    limit_seconds: int = checks.LIMIT,
    tell: checks.Audience | None = None,
) -> Checked:
    """Run the steps of .woodpecker.yml on a commit, in a clean pod, and show what they came to.

    The file is that of the commit: the newest of the branch, or the one named. Steps are lines of sh that one shell runs, in the
    order of depends_on; what a pod of rdev cannot give (services, plugins, secrets, a matrix) is refused by name, and what is not as
    it is written there is told. The verdict of all steps is passed or failed.
    """
    found, sha, plan = planned(world, project, branch=branch, commit=commit)
    if tell is not None:
        tell.noted(plan.notes)
    checked = checks.run(world, found, sha, plan.steps, tell=tell, limit_seconds=limit_seconds)
    return replace(checked, notes=(*plan.notes, *checked.notes))


def planned(world: World, project: str, *, branch: str = "", commit: str = "") -> tuple[Project, str, Pipeline]:
    """Return what `run` would run, and on which commit; it raises what `run` would refuse."""
    if branch:
        branch_rule(branch)
    if commit:
        checks.sha(commit)
    found = known.project(world, project)
    on = branch or found.branch
    sha = checks.at(world, found, branch=branch, commit=commit)
    for file in FILES:
        text = world.forge.read(found, sha, file)
        if text is not None:
            where = f"{file} at {sha[:10]}"
            plan = pipeline(world.foreign_yaml(text, where), where, branch=on, here=world.cluster.here)
            own = (("CI_REPO_NAME", found.name), ("CI_COMMIT_SHA", sha), ("CI_COMMIT_BRANCH", on), ("CI_PIPELINE_EVENT", "manual"))
            return found, sha, replace(plan, steps=tuple(replace(step, environment=(*own, *step.environment)) for step in plan.steps))
    raise Conflict(
        f"there is no {FILES[0]} at {sha[:10]} of {found.name}",
        hint=f"commit one, or name another branch: rdev ci run {found.name} --branch NAME",
        code="NO_PIPELINE",
        project=found.name,
    )
