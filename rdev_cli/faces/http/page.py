"""The page: what a person sees of projects, sessions and commands. Nothing is changed here."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from starlette.requests import Request
from starlette.responses import Response

from rdev_cli.domain.access import Scope
from rdev_cli.domain.agent import AgentEventKind
from rdev_cli.domain.command import OPEN, Command, CommandKind, CommandState, befell
from rdev_cli.domain.errors import Failed, NotFound, OutcomeUnknown, Unavailable
from rdev_cli.domain.event import Event
from rdev_cli.domain.output import whole as whole_text
from rdev_cli.domain.page import Page
from rdev_cli.domain.project import Project
from rdev_cli.domain.session import LIVE
from rdev_cli.domain.standing import Commit
from rdev_cli.domain.values import id_like
from rdev_cli.faces.http import signing_in
from rdev_cli.faces.http.face import Routes, whole
from rdev_cli.faces.http.feeds import View
from rdev_cli.faces.http.metrics import Looped
from rdev_cli.faces.http.rendering import Paged, printed, render, to
from rdev_cli.faces.http.sittings import PATH, Sittings
from rdev_cli.faces.http.stream import EventStream, journal_, life, output
from rdev_cli.ops import commands, doctor, events, known, previews, projects, receipts, sessions
from rdev_cli.ports import World
from rdev_cli.wiring.serving import Standing

T = TypeVar("T")
U = TypeVar("U")

ROWS = 50  # of a list
FEW = 20  # of a list that is a part of a page
PROJECTS = 25  # of theirs, as each asks the forge for its newest commit
TAIL = 1 << 18  # bytes of each stream of a command that stand on its page; the rest is for `rdev command output`
STEPS = 200  # of what an agent did


class Notes(list[str]):
    """What could not be found out for a page, in words: the rest of it is shown all the same."""

    def tried(self, ask: Callable[[], T], otherwise: U) -> T | U:
        """Return an answer, or something else if nobody gave one."""
        try:
            return ask()
        except (Unavailable, OutcomeUnknown, Failed) as e:
            if e.message not in self:
                self.append(e.message)
            return otherwise


# lists


def _home(world: World, request: Request) -> Response:
    if not world.grant.allows(Scope.PROJECTS_READ):  # a key for something else is shown that
        return to(f"{PATH}/{'sessions' if world.grant.allows(Scope.SESSIONS_READ) else 'health'}")
    after = request.query_params.get("after", "")
    notes, everything = Notes(), projects.list_(world)
    ahead = [one for one in everything if one.name > after]
    shown = ahead[:PROJECTS]
    running = Counter(one.project for one in world.store.commands(states=OPEN, limit=1000))
    live: Counter[str] = Counter()
    if world.grant.allows(Scope.SESSIONS_READ):
        live.update(one.project for one in sessions.list_(world, live=True, limit=1000).items)
    return render(
        request, "projects", projects=shown, heads=_heads(world, shown, notes), running=running, live=live, notes=notes,
        count=len(everything), after=after, next=shown[-1].name if len(ahead) > PROJECTS else "", seq=events.last(world),
    )  # fmt: skip


def _heads(world: World, of: Sequence[Project], notes: Notes) -> Mapping[str, Commit]:
    """Return the newest commit of each project's branch, as far as the forge tells: one that does not answer is not asked for every project."""
    found: dict[str, Commit] = {}
    for project in of:
        commit = notes.tried(lambda project=project: _head(world, project), None)  # type: ignore[misc]
        if notes:
            break
        if commit is not None:
            found[project.name] = commit
    return found


def _head(world: World, project: Project) -> Commit | None:
    try:
        sha = world.forge.head(project)
        return world.forge.commit(project, sha) if sha else None
    except NotFound:  # it is half made or half gone
        return None


def _sessions(world: World, request: Request) -> Response:
    everything, before = request.query_params.get("all") == "1", _before(request, "ses")
    found = sessions.list_(world, live=not everything, before=before, limit=ROWS)
    return render(request, "sessions", sessions=found.items, next=found.next, everything=everything, notes=(), seq=events.last(world))


def _commands(world: World, request: Request) -> Response:
    running, before = request.query_params.get("running") == "1", _before(request, "cmd")
    notes = Notes()
    found = notes.tried(
        lambda: commands.list_(world, running=running, before=before, limit=ROWS),
        _recorded(world, running=running, before=before, limit=ROWS),
    )
    return render(request, "commands", commands=found.items, next=found.next, running=running, notes=notes, seq=events.last(world))


def _recorded(
    world: World, *, project: str = "", session: str = "", running: bool = False, before: str = "", limit: int = FEW
) -> Page[Command]:
    """Return commands as they were last known, for where nobody can be asked how they are."""
    found = world.store.commands(project=project, session=session, states=OPEN if running else (), before=before, limit=limit + 1)
    return Page(tuple(found[:limit]), found[limit - 1].id if len(found) > limit else None)


def _before(request: Request, prefix: str) -> str:
    found = request.query_params.get("before", "")
    return found if id_like(found, prefix) else ""


# one thing


def _project(world: World, request: Request) -> Response:
    seq, notes = events.last(world), Notes()
    found = known.project(world, request.path_params["project"])
    name = found.name
    stands = notes.tried(lambda: projects.status(world, name), None)
    ran = notes.tried(lambda: commands.list_(world, project=name, limit=FEW), _recorded(world, project=name))
    here = world.grant.allows(Scope.SESSIONS_READ)
    return render(
        request, "project", project=found, stands=stands, commands=ran.items, more=ran.next is not None, notes=notes, seq=seq,
        sessions=sessions.list_(world, project=name, limit=FEW).items if here else (),
        receipts=receipts.list_(world, name, limit=FEW).items,
        usage=world.store.usage(project=name),
    )  # fmt: skip


def _session(world: World, request: Request) -> Response:
    seq, notes = events.last(world), Notes()
    found = sessions.show(world, whole(request.path_params["session"], "ses", "session"))
    opened = previews.list_(world, found.id)
    ran: Sequence[Command] = ()
    if world.grant.allows(Scope.PROJECTS_READ):
        ran = notes.tried(lambda: commands.list_(world, session=found.id, limit=FEW), _recorded(world, session=found.id)).items
    return render(
        request, "session", session=found, live=found.state in LIVE, previews=opened, commands=ran, notes=notes, seq=seq
    )  # fmt: skip


def _command(world: World, request: Request) -> Response:
    seq, notes = events.last(world), Notes()
    found = _the_command(world, request)
    found, progress = notes.tried(lambda: commands.follow(world, found, wait=0), (found, None))
    ends = (progress.stdout, progress.stderr) if progress is not None else (found.stdout_bytes, found.stderr_bytes)
    begin = tuple(max(0, end - TAIL) for end in ends)
    told = commands.output(world, found, offset=begin[0], stderr_offset=begin[1])
    data = (told.stdout[: ends[0] - begin[0]], told.stderr[: ends[1] - begin[1]])
    texts, places = zip(*(_shown(part, at, last=found.state not in OPEN) for part, at in zip(data, begin, strict=True)), strict=True)
    agent = found.kind is CommandKind.AGENT
    return render(
        request, "command", command=found, open=found.state in OPEN, pending=found.state is CommandState.PENDING, befell=befell(found),
        stdout=texts[0], stderr=texts[1], left_out=begin, place="-".join(map(str, places)), notes=notes, seq=seq, agent=agent,
        gone=sum(ends) > 0 and not any(data), steps=_steps(world, found) if agent else (),
    )  # fmt: skip


def _shown(data: bytes, begin: int, *, last: bool) -> tuple[str, int]:
    """Return a piece of a stream as text, and the byte after it: half a character at its end is left to what follows."""
    data = data if last else whole_text(data)
    end = begin + len(data)
    if begin:  # it may begin in the middle of a character
        data = data.lstrip(bytes(range(0x80, 0xC0)))
    return printed(data), end


def _steps(world: World, command: Command) -> Sequence[Event]:
    kinds = {kind.value for kind in (AgentEventKind.SAID, AgentEventKind.USED, AgentEventKind.ANSWERED, AgentEventKind.RETRIED)}
    return [one for one in events.newest(world, subject=command.id, limit=STEPS).items if one.kind in kinds]


def _receipt(world: World, request: Request) -> Response:
    notes = Notes()
    found = receipts.show(world, whole(request.path_params["receipt"], "rcp", "receipt"))
    proofs = notes.tried(lambda: tuple(receipts.verify(world, found.id)), ())
    return render(request, "receipt", receipt=found, proofs=proofs, notes=notes)


def _the_command(world: World, request: Request) -> Command:
    return known.command(world, whole(request.path_params["command"], "cmd", "command"), whole=True)


# what is live


def _following(world: World, request: Request, project: str, subject: str = "") -> EventStream:
    """Return the stream of a project's history, as the sitting lasts."""
    return _lasting(request, journal_(world, request, View(frozenset({project}), subject), project, _after(request)))


def _everything(world: World, request: Request) -> Response:
    return _lasting(request, journal_(world, request, View(world.grant.projects), "", _after(request)))


def _project_events(world: World, request: Request) -> Response:
    return _following(world, request, known.project(world, request.path_params["project"]).name)


def _session_events(world: World, request: Request) -> Response:
    found = sessions.show(world, whole(request.path_params["session"], "ses", "session"))
    return _lasting(request, life(world, request, found, _after(request)))


def _command_events(world: World, request: Request) -> Response:
    command = _the_command(world, request)
    return _following(world, request, command.project, command.id)


def _command_output(world: World, request: Request) -> Response:
    return _lasting(request, output(world, request, _the_command(world, request), _after(request)))


def _after(request: Request) -> str | None:
    return request.headers.get("last-event-id") or request.query_params.get("after")


def _lasting(request: Request, stream: EventStream) -> EventStream:
    sittings: Sittings = request.app.state.sittings
    sitting = request.state.sitting
    stream.over = lambda: sittings.over(sitting)
    return stream


def routes(standing: Callable[[], Sequence[Standing]], loops: Sequence[Looped]) -> Routes:
    """Return the routes; `standing` tells how the state and the providers were when they were last looked at, `loops` what is done by the clock."""

    def health(world: World, request: Request) -> Response:  # noqa: ARG001 -- a page's shape
        found = standing()
        return render(request, "health", standing=found, well=bool(found) and not any(one.code for one in found), loops=loops)

    def checked(world: World, request: Request) -> Response:
        return render(request, "doctor", checks=doctor.check(world))

    def lost(world: World, request: Request) -> Response:  # noqa: ARG001 -- a page's shape
        raise NotFound("there is no such page", hint="go on from the list of projects")

    reads, sees = Scope.PROJECTS_READ, Scope.SESSIONS_READ
    return [
        *signing_in.routes,
        Paged(f"{PATH}/", _home),
        Paged(f"{PATH}/events", _everything, scope=Scope.AUDIT_READ),
        Paged(f"{PATH}/projects/{{project}}", _project, scope=reads),
        Paged(f"{PATH}/projects/{{project}}/events", _project_events, scope=reads),
        Paged(f"{PATH}/sessions", _sessions, scope=sees),
        Paged(f"{PATH}/sessions/{{session}}", _session, scope=sees),
        Paged(f"{PATH}/sessions/{{session}}/events", _session_events, scope=sees),
        Paged(f"{PATH}/commands", _commands, scope=reads),
        Paged(f"{PATH}/commands/{{command}}", _command, scope=reads),
        Paged(f"{PATH}/commands/{{command}}/events", _command_events, scope=reads),
        Paged(f"{PATH}/commands/{{command}}/output", _command_output, scope=reads),
        Paged(f"{PATH}/receipts/{{receipt}}", _receipt, scope=reads),
        Paged(f"{PATH}/health", health),
        Paged(f"{PATH}/doctor", checked, scope=Scope.ADMIN),
        Paged(f"{PATH}/{{rest:path}}", lost),
    ]
