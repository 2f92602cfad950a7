"""rdev preview, and rdev session preview."""

import contextlib
import errno
import selectors
import socket
import sys
import threading
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rdev_cli.domain.errors import Conflict, Invalid, RdevError, Unavailable
from rdev_cli.domain.preview import port as port_rule
from rdev_cli.domain.values import id_like, shown
from rdev_cli.faces.cli.face import Misused, checked, does, hand, noun, say, write
from rdev_cli.faces.cli.show import show
from rdev_cli.ops import known, previews
from rdev_cli.ports.timing import LOOKUP

if TYPE_CHECKING:
    from rdev_cli.ports import World

app = noun("Previews: ports of sessions, under addresses that nobody can guess.")

_PIECE = 256 << 10
_LOOK = 2.0  # seconds between two looks whether the session still is there
_MOST = 256  # connections at a time


def _id(value: str) -> None:
    if not id_like(value, "ses"):
        raise Invalid(f"'{shown(value)}' is no session id", hint="rdev session list shows the ids: ses_…")


_Session = Annotated[
    str,
    typer.Argument(metavar="SESSION", help="Its id, or a unique beginning of it: ses_…", show_default=False, callback=checked(_id)),
]
_Port = Annotated[
    str, typer.Argument(metavar="PORT", help="Where a program in it listens.", show_default=False, callback=checked(port_rule))
]


def mount(sessions: typer.Typer) -> None:
    """Attach what opens a port to the commands of a session."""

    @does(sessions, "preview", previews.open_, "session preview", epilog="rdev session preview ses_01j9 3000")
    def preview(
        ctx: typer.Context,
        session: _Session,
        port: _Port,
        local: Annotated[
            bool, typer.Option("--local", help="Listen at a port of this machine instead, until Ctrl-C; needs no rdev serve.")
        ] = False,
        at: Annotated[
            str | None,
            typer.Option("--at", metavar="PORT", help="Which one, with --local; the same number by default.", callback=checked(port_rule)),
        ] = None,
    ) -> None:
        if at is not None and not local:
            raise Misused("--at says where --local listens", f"rdev session preview {session} {port} --local --at {at}")
        world = hand(ctx).world()
        if local:
            _forward(ctx, session, port_rule(port), port_rule(at) if at is not None else 0)
            return
        from rdev_cli.wiring.serving import preview_base, running  # noqa: PLC0415 -- only here

        servers = running(world)
        base = preview_base(world.settings.preview_domain, servers[-1] if servers else "")
        made = previews.open_(world, session, port_rule(port), base=base)
        show(ctx, made)
        if not servers and not world.settings.preview_domain:
            say(f"nothing serves it on this machine yet: rdev serve; or without a server: rdev session preview {session} {port} --local")


@does(app, "list", previews.list_)
def list_(
    ctx: typer.Context,
    session: Annotated[
        str | None,
        typer.Argument(metavar="[SESSION]", help="Of this session only: its id, or a unique beginning of it.", callback=checked(_id)),
    ] = None,
) -> None:
    show(ctx, previews.list_(hand(ctx).world(), session or ""), empty="no port is open; rdev session preview SESSION PORT opens one")


@does(app, "close", previews.close)
def close(ctx: typer.Context, session: _Session, port: _Port) -> None:
    show(ctx, previews.close(hand(ctx).world(), session, port_rule(port)))


# a plain port of this machine


def _forward(ctx: typer.Context, session: str, port: int, at: int) -> None:
    """Carry connections to a port of this machine into the session, until somebody says stop or the session ends."""
    here = hand(ctx)
    world: World = here.world()
    place = previews.place(world, session)
    id = place.session_id
    listener = _listen(port, at)
    with listener:
        where = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        say(f"port {port} of {id} is at {where} until Ctrl-C")
        if here.human:
            write(sys.stdout, where + "\n")
        else:
            from rdev_cli.domain.preview import Preview  # noqa: PLC0415 -- only here

            now = world.clock.now()
            show(ctx, Preview(id="", project=place.name, session=id, port=port, url=where, actor=world.actor, created_at=now))
        _accept(world, listener, id, port)


def _listen(port: int, at: int) -> socket.socket:
    """Return a socket that listens at a port of the loopback: the one asked for, else the same number, else a free one."""
    for number in (at,) if at else (port, 0):
        made = socket.socket()
        try:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind(("127.0.0.1", number))
            made.listen(128)
        except OSError as e:
            made.close()
            if number == 0:
                raise Unavailable(f"cannot listen on this machine: {e.strerror}", hint="try it again", code="MACHINE") from e
            if at and e.errno == errno.EADDRINUSE:
                raise Conflict(
                    f"port {at} of this machine is taken", hint="leave --at out: a free one is taken", code="ADDRESS_IN_USE"
                ) from e
            if at:
                raise Unavailable(
                    f"cannot listen at port {at}: {e.strerror}", hint="take a port above 1023: --at 8081", code="MACHINE"
                ) from e
        else:
            return made
    raise AssertionError


def _accept(world: "World", listener: socket.socket, session: str, port: int) -> None:
    open_, room = set[socket.socket](), threading.Semaphore(_MOST)
    waiting = selectors.DefaultSelector()
    waiting.register(listener, selectors.EVENT_READ)
    looked = world.clock.monotonic()
    try:
        while not world.stop.is_set():
            ready = waiting.select(0.2)
            if world.clock.monotonic() - looked >= _LOOK:
                looked = world.clock.monotonic()
                known.ready(world, session)  # raises once it has ended
            if not ready or not room.acquire(timeout=0.2):
                continue
            visitor, _ = listener.accept()
            open_.add(visitor)
            threading.Thread(target=_carry, args=(world, session, port, visitor, open_, room), name="preview", daemon=True).start()
    finally:
        for visitor in list(open_):
            _shut(visitor)
    world.stop.check("the preview")


def _carry(world: "World", session: str, port: int, visitor: socket.socket, open_: set[socket.socket], room: threading.Semaphore) -> None:
    """Carry one connection, both ways, until both sides have ended it."""
    try:
        far = socket.socket(fileno=previews.reach(world, session, port, timeout=LOOKUP).detach())
        far.setblocking(True)
        back = threading.Thread(target=_pump, args=(far, visitor), name="preview", daemon=True)
        back.start()
        _pump(visitor, far)
        back.join()
        far.close()
    except RdevError as e:
        say(f"{e.message}; {e.hint}" if e.hint else e.message)
    except OSError as e:
        say(f"a connection broke: {e.strerror}")
    finally:
        _shut(visitor)
        open_.discard(visitor)
        visitor.close()
        room.release()
        closing: Any = world.store
        closing.close()


def _pump(source: socket.socket, to: socket.socket) -> None:
    """Carry bytes one way; an end is carried on, a break ends both."""
    try:
        while data := source.recv(_PIECE):
            to.sendall(data)
        to.shutdown(socket.SHUT_WR)
    except OSError:
        _shut(source)
        _shut(to)


def _shut(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
