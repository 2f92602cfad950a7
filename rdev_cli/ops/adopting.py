"""Taking over a project that has a pod and no record: other marks on what there is, and a repository of its commits."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from rdev_cli.domain.errors import Conflict, NotFound
from rdev_cli.domain.plan import Plan
from rdev_cli.domain.project import Project, ProjectSpec, ProjectState, adopted_id
from rdev_cli.domain.resource import POD, Owned
from rdev_cli.domain.values import ProjectId, name, shown
from rdev_cli.ops import hooks_in, workspaces
from rdev_cli.ops.ensure import Step, begin, carry, lease

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rdev_cli.domain.operation import Operation
    from rdev_cli.ports import World
    from rdev_cli.ports.store import Writing

_KIND = "project.adopt"
_POD_NAME = re.compile(r"rdev-[a-z][-a-z0-9]{0,39}-[0-9a-z]{8}")


def plan(world: World, text: str) -> Plan:
    """Return what `adopt` would do now."""
    pod, installation = _meant(world, text)
    begun = _begun(world, pod.project)
    project = begun[0] if begun else _record(world, pod)
    if not begun:
        world.forge.ready(project)
    whose = "of this installation" if pod.installation == installation else f"of the installation {shown(pod.installation) or 'nobody'}"
    steps = tuple(step.words for step in _Adopting(world, project, pod, installation).steps())
    return Plan(project=pod.project, would=f"take over {pod.project} {whose}", steps=steps)


def adopt(world: World, text: str) -> Project:
    """Take over the project that a name or a pod's name means."""
    pod, installation = _meant(world, text)
    with lease(world, f"project:{pod.project}") as held:
        begun = _begun(world, pod.project)
        project, intent = begun or (_record(world, pod), _intent(world, pod))
        if not begun:
            world.forge.ready(project)  # a name that is somebody else's there is told before anything is recorded
        with world.store.transaction() as tx:
            tx.put_project(project)
            if not begun:
                tx.put_operation(intent)
                tx.append("project.adoption_requested", project.name, {"id": project.id, "pod": pod.name, "installation": pod.installation})
        before = replace(pod, installation=str(intent.spec["installation"]), project_id=str(intent.spec["id"]))

        def done(tx: Writing) -> None:
            nonlocal project
            project = replace(project, state=ProjectState.READY, updated_at=world.clock.now())
            tx.put_project(project)
            tx.append("project.adopted", project.name, {"id": project.id, "pod": pod.name, "installation": before.installation})

        def undone(tx: Writing) -> None:
            tx.drop_project(project)
            tx.append("project.undone", project.name, {"id": project.id})

        def failed(tx: Writing) -> None:
            tx.put_project(replace(project, state=ProjectState.FAILED, updated_at=world.clock.now()))

        steps = _Adopting(world, project, before, installation).steps()
        carry(world, held, intent, steps, done=done, undone=undone, failed=failed, finish=f"rdev project adopt {project.name}")
        return project


class _Adopting:
    """The steps that take a project over."""

    def __init__(self, world: World, project: Project, pod: Owned, installation: str) -> None:
        self.world, self.project, self.pod, self.installation = world, project, pod, installation

    def mark(self) -> None:
        self.world.cluster.hand_over(self.pod, installation=self.installation, project=self.project.name, id=self.project.id)

    def give_back(self) -> None:
        now = replace(self.pod, installation=self.installation, project_id=self.project.id)
        before = self.pod
        with suppress(Conflict):  # it changed hands: then nothing of ours is on it
            self.world.cluster.hand_over(now, installation=before.installation, project=before.project, id=before.project_id)

    def fill(self) -> None:
        world, project = self.world, self.project
        if not workspaces.hand_in(world, project):
            world.forge.seed(project, world.shelf.skeleton({"name": project.name, "description": project.description}))
            workspaces.bring_in(world, project)

    def steps(self) -> Sequence[Step]:
        forge, project, pod = self.world.forge, self.project, self.pod
        address = hooks_in.address(self.world)

        def nothing() -> None:
            """Undone together with the repository."""

        return [
            Step(
                "repository",
                f"make the repository {project.repository}",
                lambda: forge.ensure_repository(project),
                lambda: forge.delete_repository(project),
            ),
            Step("marks", f"write this installation's marks on the pod {pod.name} and all that belongs to it", self.mark, self.give_back),
            Step("commits", "bring the commits of its work tree to the repository", self.fill, nothing),
            *(
                [Step("hook", f"have the forge tell {address} of pushes", lambda: hooks_in.register(self.world, project), nothing)]
                if address
                else []
            ),
        ]


def _meant(world: World, text: str) -> tuple[Owned, str]:
    """Return the pod that is meant, and this installation's id; raises what keeps it from being adopted."""
    if not _POD_NAME.fullmatch(text):
        name(text, "project name")
    mine = world.cluster.owned()
    pods = [pod for pod in (*mine.items, *world.cluster.others()) if pod.kind == POD and pod.noun == "project"]
    fit = [pod for pod in pods if text in (pod.project, pod.name)]
    for pod in fit:
        begun = _begun(world, pod.project)
        if begun is not None and begun[0].pod == pod.name:
            return pod, mine.installation
    recorded = world.store.known().recorded
    free = [pod for pod in fit if pod.project_id not in recorded]
    for one in sorted({text, *(pod.project for pod in free)}):
        if world.store.find_project(one) is not None:
            raise Conflict(f"there is a project {shown(one)} here already", hint=f"rdev project show {shown(one)}", project=one)
    if fit and not free:
        raise Conflict(f"{shown(text)} is a project of another context here", hint="rdev context list shows the contexts", project=text)
    if not free:
        raise NotFound(f"no pod here is of a project {shown(text)} without a record", hint="rdev project list --all shows what there is")
    if len(free) > 1:
        names = tuple(pod.name for pod in free)
        raise Conflict(
            f"{len(free)} pods are of a project {shown(text)}", hint=f"name the pod: {', '.join(names)}", code="SEVERAL", pods=names
        )
    ProjectSpec(name=free[0].project)  # whoever wrote the label: it must be a name
    return free[0], mine.installation


def _begun(world: World, name: str) -> tuple[Project, Operation] | None:
    """Return the record and the intent of an adoption that was cut off."""
    cut = next((o for o in world.store.unfinished(f"project:{name}") if o.kind == _KIND), None)
    found = world.store.find_project(name)
    return (found, cut) if found is not None and cut is not None else None


def _intent(world: World, pod: Owned) -> Operation:
    spec = {"name": pod.project, "pod": pod.name, "installation": pod.installation, "id": pod.project_id}
    return begin(world, _KIND, f"project:{pod.project}", spec)


def _record(world: World, pod: Owned) -> Project:
    now = world.clock.now()
    return Project(
        id=ProjectId(adopted_id(world.new_id("prj"), pod.name)), name=pod.project, description="", source="", network=True,
        state=ProjectState.CREATING, pod=pod.name, repository=world.forge.url(pod.project), branch="main", created_at=now, updated_at=now,
    )  # fmt: skip
