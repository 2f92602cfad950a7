"""rdev session."""

import sys
from collections.abc import Callable
from typing import Annotated

import typer

from rdev_cli.domain.codec import plain
from rdev_cli.domain.errors import Invalid
from rdev_cli.domain.session import IDLE, TTL, Session, SessionSpec
from rdev_cli.domain.values import branch as branch_rule
from rdev_cli.domain.values import id_like, shown
from rdev_cli.domain.values import name as name_rule
from rdev_cli.faces.cli import checkin as checkins
from rdev_cli.faces.cli import claude as claudes
from rdev_cli.faces.cli import exec_ as execs
from rdev_cli.faces.cli import files as copies
from rdev_cli.faces.cli import git as gits
from rdev_cli.faces.cli import shell as shells
from rdev_cli.faces.cli.arguments import Detached, Limit, Offline, PassphraseFile, Repeat, Some, one
from rdev_cli.faces.cli.checkin import Merge, Message
from rdev_cli.faces.cli.claude import Conversation, Model, NoCommit, Prompt, Tools
from rdev_cli.faces.cli.face import F, Placed, Tailed, Verb, Worded, checked, confirm, does, duration, hand, noun, say, write
from rdev_cli.faces.cli.once import told
from rdev_cli.faces.cli.previews import mount
from rdev_cli.faces.cli.show import columns, show
from rdev_cli.ops import sessions, terminals

app = noun("Sessions: a pod of its own for a while, on a branch of a project, with an end.")


def _id(value: str) -> None:
    if not id_like(value, "ses"):
        raise Invalid(f"'{shown(value)}' is no session id", hint="rdev session list shows the ids: ses_…")


Id = Annotated[str, typer.Argument(metavar="SESSION", help="Its id, or a unique beginning of it.", show_default=False)]
Whole = Annotated[str, typer.Argument(metavar="SESSION", help="Its whole id.", show_default=False)]
Wait = Annotated[str | None, typer.Option("--timeout", metavar="DURATION", help="How long to wait while another process has it (30s).")]


def _also(name: str, *, cls: type[Verb], words: str, epilog: str) -> Callable[[F], F]:
    """Attach what a session shares with a project: another command's work, whose words are shown whole in the list, too."""
    return app.command(name, cls=cls, help=words, short_help=words, epilog=epilog)


@does(app, "start", sessions.start, epilog="rdev session start shop · rdev session start shop --branch feature/cart --idle 2h", cls=Placed)
def start(
    ctx: typer.Context,
    project: Some = None,
    branch: Annotated[
        str | None,
        typer.Option(
            "--branch",
            metavar="BRANCH",
            help="Go on with this branch, or make it; one of its own, by default.",
            callback=checked(branch_rule),
        ),
    ] = None,
    agent: Annotated[
        str | None,
        typer.Option(
            "--agent", metavar="NAME", help="The agent that works in it; the project's.", callback=checked(lambda v: name_rule(v, "agent"))
        ),
    ] = None,
    idle: Annotated[str | None, typer.Option("--idle", metavar="DURATION", help="End it when nothing was done for so long (30m).")] = None,
    ttl: Annotated[str | None, typer.Option("--ttl", metavar="DURATION", help="End it after so long in any case (8h).")] = None,
    timeout: Wait = None,
    idempotency_key: Repeat = None,
) -> None:
    here = hand(ctx)
    here.options["wait_seconds"] = duration(timeout, "timeout")
    spec = SessionSpec(
        project=one(ctx, project), branch=branch or "", agent=agent or "", idle_seconds=duration(idle, "idle") or IDLE,
        ttl_seconds=duration(ttl, "ttl") or TTL,
    )  # fmt: skip
    world = here.world()
    here.standing = "a session may be half started: rdev session list shows it, rdev session end SESSION clears it"
    made = told(world, idempotency_key, sessions.start, plain(spec), Session, lambda there: sessions.start(there, spec))
    if here.human:
        say(f"started {made.id} on {made.branch}; rdev session attach {made.id} opens a terminal, rdev session end {made.id} ends it")
    show(ctx, made)


@does(app, "list", sessions.list_)
def list_(
    ctx: typer.Context,
    project: Annotated[str | None, typer.Option("--project", "-p", metavar="PROJECT", help="Only this project's.")] = None,
    live: Annotated[bool, typer.Option("--live", help="Only those that have not ended.")] = False,
    all_: Annotated[bool, typer.Option("--all", help="Those of rdev's own checks too.")] = False,
    before: Annotated[
        str | None, typer.Option("--before", metavar="SESSION", help="Only those older than this one.", callback=checked(_id))
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=10000, help="At most so many.")] = 50,
) -> None:
    chosen = "" if project is None else one(ctx, project)
    found = sessions.list_(hand(ctx).world(), project=chosen, live=live, all=all_, before=before or "", limit=limit)
    empty = "nothing matches" if project or live or before else "no sessions yet; start one: rdev session start PROJECT"
    show(ctx, found, empty=empty, more="rdev session list --before {}")


@does(app, "show", sessions.show)
def show_(ctx: typer.Context, session: Id) -> None:
    show(ctx, sessions.show(hand(ctx).world(), session))


@_also("exec", cls=Tailed, words="Run a command in a session.", epilog="rdev session exec ses_01j9 -- go test ./...")
def exec_(
    ctx: typer.Context,
    session: Id,
    stdin: Annotated[bool, typer.Option("-i", "--stdin", help="Forward stdin, and close it at its end.")] = False,
    terminal: Annotated[bool, typer.Option("-t", "--tty", help="Give it a terminal.")] = False,
    timeout: Limit = None,
    no_network: Offline = False,
    no_wait: Detached = False,
    idempotency_key: Repeat = None,
) -> None:
    hand(ctx).remote = True
    _id(session)
    execs.exec_(
        ctx, session, stdin=stdin, terminal=terminal, timeout=timeout, no_network=no_network, no_wait=no_wait, idempotency_key=idempotency_key
    )  # fmt: skip


@_also("shell", cls=Worded, words="Run a line of sh in a session.", epilog="rdev session shell ses_01j9 'ls | wc -l'")
def shell(
    ctx: typer.Context,
    session: Id,
    line: Annotated[str, typer.Argument(metavar="LINE", help="The line, as one word.", show_default=False)],
    stdin: Annotated[bool, typer.Option("-i", "--stdin", help="Forward stdin, and close it at its end.")] = False,
    timeout: Limit = None,
    no_network: Offline = False,
    no_wait: Detached = False,
    idempotency_key: Repeat = None,
) -> None:
    hand(ctx).remote = True
    _id(session)
    shells.shell(
        ctx, session, line, stdin=stdin, timeout=timeout, no_network=no_network, no_wait=no_wait, idempotency_key=idempotency_key
    )  # fmt: skip


@_also("git", cls=Tailed, words="Run git in a session's work tree.", epilog="rdev session git ses_01j9 -- log --oneline")
def git(ctx: typer.Context, session: Id, timeout: Limit = None, no_wait: Detached = False, idempotency_key: Repeat = None) -> None:
    hand(ctx).remote = True
    _id(session)
    gits.git(ctx, session, timeout=timeout, no_wait=no_wait, idempotency_key=idempotency_key)


@_also(
    "claude", cls=Placed, words="Let Claude Code work in a session; it is one conversation, which each prompt goes on with.",
    epilog='rdev session claude ses_01j9 "add a cart" · rdev session claude ses_01j9 "and test it"',
)  # fmt: skip
def claude(
    ctx: typer.Context,
    session: Id,
    prompt: Prompt = None,
    model: Model = "",
    tools: Tools = "",
    conversation: Conversation = "",
    no_commit: NoCommit = False,
    timeout: Limit = None,
    no_network: Offline = False,
    no_wait: Detached = False,
    passphrase_file: PassphraseFile = None,
    idempotency_key: Repeat = None,
) -> None:
    _id(session)
    claudes.claude(
        ctx, session, prompt, model=model, tools=tools, conversation=conversation, no_commit=no_commit, timeout=timeout, no_network=no_network,
        no_wait=no_wait, passphrase_file=passphrase_file, idempotency_key=idempotency_key,
    )  # fmt: skip


@_also(
    "files", cls=Placed, words="Copy files and folders out of a session, or into it; :PATH is in the session.",
    epilog="rdev session files ses_01j9 :dist . · rdev session files ses_01j9 ./logo.png :site",
)  # fmt: skip
def files(
    ctx: typer.Context,
    session: Id,
    source: Annotated[str, typer.Argument(metavar="SOURCE", help=":PATH, or what is on this machine; - is stdin.", show_default=False)],
    target: Annotated[
        str, typer.Argument(metavar="TARGET", help="Where it goes: the other one of the two; - is stdout.", show_default=False)
    ],
    merge: Annotated[
        bool, typer.Option("--merge", help="Copy into a folder that is not empty, and replace files of the same name.")
    ] = False,
    timeout: Limit = None,
) -> None:
    _id(session)
    there = [f"{session}{word}" if word.startswith(":") else word for word in (source, target)]
    copies.cp(ctx, there[0], there[1], merge=merge, timeout=timeout)


@does(app, "attach", terminals.attach, epilog="rdev session attach ses_01j9 · rdev session attach ses_01j9 --look", cls=Placed)
def attach(
    ctx: typer.Context,
    session: Id,
    look: Annotated[bool, typer.Option("--look", help="Only look on: nothing that is typed goes there.")] = False,
) -> None:
    from rdev_cli.faces.cli import attaching  # noqa: PLC0415 -- with the work, not with help

    _id(session)
    raise typer.Exit(attaching.attach(ctx, hand(ctx), session, look=look))


@does(app, "events", sessions.events, epilog="rdev session events ses_01j9 --follow -o jsonl | jq .kind")
def events_(
    ctx: typer.Context,
    session: Id,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on, until the session ends.")] = False,
    after: Annotated[int, typer.Option("--after", min=0, metavar="SEQ", help="Only what came after this line.")] = 0,
    limit: Annotated[int, typer.Option("--limit", min=1, max=10000, help="At most so many at a time.")] = 1000,
) -> None:
    from rdev_cli.faces.cli.tables import rows  # noqa: PLC0415 -- a program needs no tables

    here = hand(ctx)
    world = here.world()
    if follow and here.output in ("json", "yaml"):
        raise typer.BadParameter("a stream has no end, so it cannot be one document: use -o jsonl", param_hint="'--output'")
    if not follow:
        page = sessions.events(world, session, after=after, limit=limit)
        show(ctx, page, empty="nothing matches", more=f"rdev session events {session} --after {{}}")
        return
    first = True
    while True:
        over = sessions.show(world, session).ended_at is not None  # before the lines: its end is the last of them
        page = sessions.events(world, session, after=after, limit=1000)
        if page.items and here.human:
            write(sys.stdout, rows(page.items, wide=here.output == "wide", head=first, columns=columns()))
        elif page.items:
            show(ctx, page)
        if page.items:
            first, after = False, page.items[-1].seq
        elif over:
            return
        else:
            world.stop.wait(0.2)
        if world.stop.is_set():
            raise typer.Exit(130)


mount(app)


@_also(
    "checkin", cls=Placed, words="Check in what was done in a session: a pull request, a review, and on wish a merge.",
    epilog='rdev session checkin ses_01j9 -m "Add a cart" --merge',
)  # fmt: skip
def checkin(
    ctx: typer.Context,
    session: Id,
    message: Message = "",
    merge: Merge = False,
    timeout: Wait = None,
    passphrase_file: PassphraseFile = None,
    idempotency_key: Repeat = None,
) -> None:
    _id(session)
    checkins.checkin(
        ctx, session, message=message, merge=merge, timeout=timeout, passphrase_file=passphrase_file, idempotency_key=idempotency_key
    )  # fmt: skip


@does(app, "end", sessions.end, epilog="rdev session end ses_01j9…")
def end(
    ctx: typer.Context,
    session: Whole,
    discard: Annotated[bool, typer.Option("--discard", help="Keep nothing of what was not checked in.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask whether it may be discarded.")] = False,
    timeout: Wait = None,
) -> None:
    here = hand(ctx)
    here.options["wait_seconds"] = duration(timeout, "timeout")
    world = here.world()
    if discard:
        confirm(ctx, f"End {session} and discard what was not checked in?", yes=yes)
    here.standing = f"{session} may be half ended: rdev session end {session} goes on"
    ended = sessions.end(world, session, discard=discard)
    if here.human:
        kept = f"; what was not checked in is kept on {ended.rescue}" if ended.rescue else ""
        say(f"ended {ended.id}{kept}")
    else:
        show(ctx, ended)
