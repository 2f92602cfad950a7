"""Projects: create, look at, delete."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rdev_cli.domain.errors import Conflict, Unavailable
from rdev_cli.domain.project import Project, ProjectState, pod_name
from rdev_cli.domain.values import ProjectId
from rdev_cli.ops import known
from rdev_cli.ops.ledger import Pace, Scope, operation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rdev_cli.domain.plan import Plan
    from rdev_cli.domain.project import ProjectSpec
    from rdev_cli.domain.standing import ProjectFound, ProjectStatus, ProjectSync
    from rdev_cli.domain.usage import ProjectShown
    from rdev_cli.ops.ensure import Step
    from rdev_cli.ports import World
    from rdev_cli.ports.store import Writing


@operation("project.create", Scope.PROJECTS_EXECUTE, Pace.LONG)
def create(world: World, spec: ProjectSpec) -> Project:
    """Create a project: its record, its repository and its pod.

    The repository starts from the skeleton, or takes history and branches of a source. Repeats are safe:
    the same values continue or return what is there. Conflict if it exists with other values, naming the field;
    a failure or a stop undoes everything.
    """
    from rdev_cli.ops.ensure import begin, carry, lease

    if spec.source:
        spec = replace(spec, source=world.forge.check_source(spec.source, world.stop))
    with lease(world, f"project:{spec.name}") as held:
        found = world.store.find_project(spec.name)
        if found is not None:
            _same(found, spec)
            if found.state is ProjectState.READY:
                return found
        project = found or _fresh(world, spec)
        if found is None:  # where nothing can be made, nothing is recorded that would have to be undone
            world.cluster.ready()
            world.forge.ready(project)
        unfinished = [o for o in world.store.unfinished(f"project:{spec.name}") if o.kind == "project.create"]
        intent = unfinished[0] if unfinished else begin(world, "project.create", f"project:{spec.name}", {"name": spec.name})
        with world.store.transaction() as tx:
            tx.put_project(replace(project, state=ProjectState.CREATING))
            if not unfinished:
                tx.put_operation(intent)
                tx.append("project.requested", spec.name, {"id": project.id, "source": spec.source})
        making = _Making(world, project)

        def done(tx: Writing) -> None:
            project = making.project = replace(making.project, state=ProjectState.READY, updated_at=world.clock.now())
            tx.put_project(project)
            tx.append("project.created", project.name, {"id": project.id, "repository": project.repository, "pod": project.pod})

        def undone(tx: Writing) -> None:
            tx.drop_project(project)
            tx.append("project.undone", project.name, {"id": project.id})

        def failed(tx: Writing) -> None:
            tx.put_project(replace(project, state=ProjectState.FAILED, updated_at=world.clock.now()))

        carry(world, held, intent, making.steps(), done=done, undone=undone, failed=failed, finish=f"rdev project delete {spec.name}")
        return making.project


class _Making:
    """The steps that make a project; its branch is known once its repository is filled."""

    def __init__(self, world: World, project: Project) -> None:
        self.world, self.project = world, project

    def fill(self) -> None:
        world, project = self.world, self.project
        if project.source:
            self.project = replace(project, branch=world.forge.take(project, project.source, world.stop))
        else:
            world.forge.seed(project, world.shelf.skeleton({"name": project.name, "description": project.description}))

    def steps(self) -> Sequence[Step]:
        from rdev_cli.ops import hooks_in, workspaces
        from rdev_cli.ops.ensure import Step

        world, project = self.world, self.project
        address = hooks_in.address(world)
        start = f"take history and branches from {project.source}" if project.source else "commit the skeleton"

        def nothing() -> None:
            """Undone together with the step before it."""

        return [
            Step(
                "repository",
                f"make the repository {project.repository}",
                lambda: world.forge.ensure_repository(project),
                lambda: world.forge.delete_repository(project),
            ),
            Step("first commit", start, self.fill, nothing),
            *(
                [Step("hook", f"have the forge tell {address} of pushes", lambda: hooks_in.register(world, self.project), nothing)]
                if address
                else []
            ),
            Step(
                "pod", f"make the pod {project.pod}", lambda: world.cluster.ensure_pod(project), lambda: world.cluster.delete_pod(project)
            ),
            Step("work tree", "check the work tree out into it", lambda: workspaces.bring_in(world, self.project, fresh=True), nothing),
        ]


def _fresh(world: World, spec: ProjectSpec) -> Project:
    id, now = ProjectId(world.new_id("prj")), world.clock.now()
    return Project(
        id=id, name=spec.name, description=spec.description, source=spec.source, network=spec.network, agent=spec.agent, model=spec.model,
        state=ProjectState.CREATING, pod=pod_name(spec.name, id), repository=world.forge.url(spec.name), branch="main",
        created_at=now, updated_at=now,
    )  # fmt: skip


def plan_create(world: World, spec: ProjectSpec) -> Plan:
    """Return what `create` would do now, changing nothing; it raises what `create` would refuse."""
    from rdev_cli.domain.plan import Plan

    if spec.source:
        spec = replace(spec, source=world.forge.check_source(spec.source, world.stop))
    found = world.store.find_project(spec.name)
    if found is not None:
        _same(found, spec)
        if found.state is ProjectState.READY:
            return Plan(project=spec.name, would=f"leave {spec.name} as it is: it is there", steps=())
    project = found or _fresh(world, spec)
    world.cluster.ready()
    if found is None:
        world.forge.ready(project)
    steps = _Making(world, project).steps()
    return Plan(project=spec.name, would=f"{'go on with' if found else 'create'} {spec.name}", steps=tuple(s.words for s in steps))


def _same(found: Project, spec: ProjectSpec) -> None:
    if found.state is ProjectState.DELETING:
        raise Conflict(
            f"{found.name} is being deleted", hint=f"rdev project delete {found.name} goes on with it", code="DELETING", project=found.name
        )
    for field in ("description", "source", "network", "agent", "model"):
        if getattr(found, field) != getattr(spec, field):
            raise Conflict(
                f"there is already a project {found.name}, with another {'--from' if field == 'source' else field}",
                hint=f"rdev project show {found.name}",
                project=found.name,
                field=field,
            )


@operation("project.list", Scope.PROJECTS_READ)
def list_(world: World) -> Sequence[Project]:
    """List projects by name."""
    return world.store.projects()


def found(world: World) -> Sequence[ProjectFound]:
    """Return the projects that have a record here, and those of others whose pods stand in the same place, by name."""
    from rdev_cli.domain.resource import POD
    from rdev_cli.domain.standing import ProjectFound

    mine = world.cluster.owned()
    pods = [pod for pod in (*mine.items, *world.cluster.others()) if pod.kind == POD and pod.noun == "project"]
    recorded, here = world.store.known().recorded, world.store.projects()  # behind the pods: what is made meanwhile has its record first
    listed = [
        ProjectFound(
            name=p.name, id=p.id, pod=p.pod, state=p.state.value, whose="here", installation=mine.installation, created_at=p.created_at
        )
        for p in here
    ]  # fmt: skip
    known = {p.id for p in here}
    for pod in pods:
        if pod.installation != mine.installation:
            whose = "another"
        elif pod.project_id in known:
            continue
        else:
            whose = "context" if pod.project_id in recorded else "nobody"
        listed.append(
            ProjectFound(
                name=pod.project, id=pod.project_id, pod=pod.name, state="", whose=whose, installation=pod.installation,
                created_at=pod.created_at,
            )
        )  # fmt: skip
    return sorted(listed, key=lambda one: (one.name, one.whose != "here", one.pod))


@operation("project.adopt", Scope.PROJECTS_EXECUTE, Pace.LONG)
def adopt(world: World, project: str) -> Project:
    """Take over a project that has a pod here and no record: of a state that was lost, or of another installation.

    The pod and all that belongs to it get this installation's marks and a record under a new id; the commits of its work tree
    become the repository. Name the pod where several projects have the name. The installation that had it loses it.
    """
    # NotFound if there is none; Conflict if the name has a record, in any context, or if several pods are meant; a failure
    # gives the marks back and undoes the rest.
    from rdev_cli.ops import adopting

    return adopting.adopt(world, project)


def plan_adopt(world: World, project: str) -> Plan:
    """Return what `adopt` would do now, changing nothing; it raises what `adopt` would refuse."""
    from rdev_cli.ops import adopting

    return adopting.plan(world, project)


@operation("project.show", Scope.PROJECTS_READ)
def show(world: World, project: str) -> ProjectShown:
    """Show one project, and what agents have used on it."""
    from rdev_cli.domain.usage import ProjectShown

    found = known.project(world, project)
    return ProjectShown(**{name: getattr(found, name) for name in Project.__slots__}, usage=tuple(world.store.usage(project=project)))


@operation("project.set", Scope.PROJECTS_EXECUTE)
def set_(world: World, project: str, *, agent: str | None = None, model: str | None = None, description: str | None = None) -> Project:
    """Change what a project says of itself: its description, and the agent and model that work on it.

    None leaves a value as it is, an empty one takes it away. NotFound for an agent that there is not.
    """
    known.project(world, project)
    if agent:
        world.agents.named(agent)
    with world.store.transaction() as tx:
        found = tx.find_project(project) or known.project(world, project)
        changed: dict[str, Any] = {k: v for k, v in (("agent", agent), ("model", model), ("description", description)) if v is not None}
        if {k: getattr(found, k) for k in changed} == changed:
            return found
        found = replace(found, **changed, updated_at=world.clock.now())
        assert found.spec  # which checks itself
        tx.put_project(found)
        tx.append("project.changed", project, {"id": found.id, **changed})
    return found


@operation("project.status", Scope.PROJECTS_READ)
def status(world: World, project: str) -> ProjectStatus:
    """Show how a project stands: the newest commits of its repository and its work tree, its pod, what runs in it."""
    from rdev_cli.domain.command import OPEN
    from rdev_cli.domain.standing import ProjectStatus
    from rdev_cli.ops import commands, workspaces

    found = known.project(world, project)
    commands.reconcile(world, project)
    unfinished = world.store.unfinished(f"project:{project}")
    head = world.forge.head(found)
    present, pod_head = world.cluster.pod_present(found), ""
    if present:
        with suppress(Unavailable):  # where nothing can run, the rest can still be told
            pod_head = workspaces.head(world, found)
    return ProjectStatus(
        project=found,
        pod_present=present,
        head=world.forge.commit(found, head) if head else None,
        pod_head=pod_head,
        running=tuple(c.id for c in world.store.commands(project=project, states=OPEN)),
        unfinished=unfinished[0].kind if unfinished else "",
    )


@operation("project.sync", Scope.PROJECTS_EXECUTE, Pace.LONG)
def sync(world: World, project: str) -> ProjectSync:
    """Bring the repository's newer commits into the work tree, and the work tree's own to the repository.

    Both ways fast-forward only, and nothing is thrown away: Conflict, with what to type, if both sides moved on, if changed files
    are in the way, or while an agent works there. Partial if the branch moved on in that moment: the commit went to a branch of its own.
    """
    from rdev_cli.domain.command import OPEN, CommandKind
    from rdev_cli.domain.standing import ProjectSync
    from rdev_cli.ops import commands, workspaces
    from rdev_cli.ops.ensure import lease

    found = known.whole(world, project)
    commands.revive(world, found)
    commands.reconcile(world, project)
    for other in world.store.commands(project=project, states=OPEN, limit=1000):
        if other.kind is CommandKind.AGENT and not other.session_id:
            raise commands.busy(found, other.id)
    with lease(world, f"project:{project}"), lease(world, f"workspace:{found.id}"):
        with world.store.transaction() as tx:
            known.still(tx, found)
        commit, before, delivery = workspaces.sync(world, found)
        synced = ProjectSync(
            project=project, commit=commit, brought_in=commit != before, delivered=delivery is not None and not delivery.rescued
        )
        with world.store.transaction() as tx:
            facts = {"commit": commit, "brought_in": synced.brought_in, "branch": delivery.branch if delivery else ""}
            tx.append("project.synced", project, facts)
    if delivery is not None and delivery.rescued:
        raise workspaces.rescued(delivery.branch)
    return synced


@operation("project.delete", Scope.PROJECTS_EXECUTE, Pace.LONG)
def delete(world: World, project: str) -> Project:
    """Delete a project: its running commands, its pod with the work tree, its repository, its record.

    Everything is attempted; Partial joins what failed, and the same command goes on. The journal keeps its history.
    """
    from rdev_cli.domain.operation import OperationState
    from rdev_cli.ops.ensure import begin, clear, lease

    known.project(world, project)
    with lease(world, f"project:{project}") as held:
        found = known.project(world, project)
        pending = world.store.unfinished(f"project:{project}")
        mine = [o for o in pending if o.kind == "project.delete"]
        intent = mine[0] if mine else begin(world, "project.delete", f"project:{project}", {"name": project})
        with world.store.transaction() as tx:
            tx.put_project(replace(found, state=ProjectState.DELETING, updated_at=world.clock.now()))
            if not mine:
                tx.put_operation(intent)
                tx.append("project.delete_requested", project, {"id": found.id})

        def done(tx: Writing) -> None:
            tx.drop_project(found)
            for other in pending:
                tx.end_operation(other.id, OperationState.UNDONE)  # what was cut off is cleared with it
            tx.append("project.deleted", project, {"id": found.id})

        clear(world, held, intent, _removing(world, found), done=done, finish=f"rdev project delete {project}")
        return found


def _removing(world: World, project: Project) -> Sequence[Step]:
    from rdev_cli.ops import checkouts, commands, receipts, sweeping
    from rdev_cli.ops.ensure import Step

    def nothing() -> None:
        """A removal is not undone."""

    return [
        Step("sessions", f"end the sessions of {project.name}; nothing of them is kept", lambda: sweeping.end_all(world, project), nothing),
        Step("checkouts", f"cancel the checkouts of {project.name}", lambda: checkouts.cancel_all(world, project), nothing),
        Step("keys", f"forget the keys that sign receipts of {project.name}", lambda: receipts.forget(world, project), nothing),
        Step("commands", f"end the commands of {project.name} and forget their output", lambda: commands.end_all(world, project), nothing),
        Step("pod", f"remove the pod {project.pod} with the work tree", lambda: world.cluster.delete_pod(project), nothing),
        Step("repository", f"remove the repository {project.repository}", lambda: world.forge.delete_repository(project), nothing),
    ]


def plan_delete(world: World, project: str) -> Plan:
    """Return what `delete` would do now, changing nothing."""
    from rdev_cli.domain.plan import Plan

    found = known.project(world, project)
    steps = (*(step.words for step in _removing(world, found)), "forget the record; the journal keeps its history")
    return Plan(project=project, would=f"delete {project}", steps=steps)
