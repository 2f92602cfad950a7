"""rdev checkin, and the same of a session."""

import os
from typing import Annotated

import typer

from rdev_cli.domain.checkin import CheckinSpec, about
from rdev_cli.domain.codec import plain
from rdev_cli.domain.command import Command, Progress
from rdev_cli.domain.errors import NotFound
from rdev_cli.domain.review import Checkin
from rdev_cli.faces.cli.arguments import PassphraseFile, Repeat
from rdev_cli.faces.cli.checking import Onlooker, first
from rdev_cli.faces.cli.face import Misused, Placed, does, duration, hand, noun, say
from rdev_cli.faces.cli.once import told
from rdev_cli.faces.cli.show import show
from rdev_cli.ops import checkins, known

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rdev_cli.faces.cli.face import Hand
    from rdev_cli.ports import World

app = noun("")

Message = Annotated[
    str,
    typer.Option("--message", "-m", metavar="TEXT", help="Of the commit of what is staged; its first line is the pull request's title."),
]
Merge = Annotated[bool, typer.Option("--merge", help="Merge it, once its review has passed.")]
Wait = Annotated[
    str | None, typer.Option("--timeout", metavar="DURATION", help="How long to wait while another process works on it (30s).")
]


@does(
    app, "checkin", checkins.run, "checkin", cls=Placed,
    epilog='rdev checkin -m "Add a health page" · rdev checkin --merge ses_01j9 · rdev checkin chk_01j9',
)  # fmt: skip
def checkin(
    ctx: typer.Context,
    source: Annotated[
        str | None,
        typer.Argument(metavar="[SESSION|CHECKOUT]", help="Its id; the checkout of the working directory, by default.", show_default=False),
    ] = None,
    message: Message = "",
    merge: Merge = False,
    timeout: Wait = None,
    passphrase_file: PassphraseFile = None,
    idempotency_key: Repeat = None,
) -> None:
    here = hand(ctx)
    here.options["passphrase_file"] = passphrase_file
    here.options["wait_seconds"] = duration(timeout, "timeout")
    if source == "":
        raise Misused("the id is empty", "rdev session list and rdev checkout list show the ids: ses_…, chk_…")
    folder = ""
    if source is None:
        source, folder = _of_the_folder(here)
    spec = about(source, message=message, merge=merge)
    if spec.checkout and not folder:
        folder = _its_folder(here, spec.checkout)
    run(ctx, spec, folder=folder, key=idempotency_key)


class _Onlooker(Onlooker):
    """Says which check runs and what came of it, on stderr: what the checks print is not the answer."""

    def began(self, step: str, line: str, command: Command) -> None:  # noqa: ARG002 -- the audience's shape
        say(f"--- {step}" + (f": {first(line)}" if first(line) != step else ""))

    def came(self, command: Command, progress: Progress) -> None:
        """Leave the output where it is."""


def run(ctx: typer.Context, spec: CheckinSpec, *, folder: str = "", key: str | None = None) -> None:
    """Check in, show what became of it, and end with 9 if its review did not pass."""
    here = hand(ctx)
    world = here.world()
    if spec.session:  # as they may be typed short, but a key is for one thing
        spec = CheckinSpec(session=known.session(world, spec.session).id, message=spec.message, merge=spec.merge)
    else:
        spec = CheckinSpec(checkout=known.checkout(world, spec.checkout).id, message=spec.message, merge=spec.merge)
    here.standing = f"the check-in may be half done: rdev checkin {spec.id} goes on"
    talk, audience = (say, _Onlooker(here, world)) if here.human else (None, None)

    def act(there: "World") -> Checkin:
        return checkins.run(there, spec, folder=folder, tell=talk, audience=audience)

    done = told(world, key, checkins.run, {**plain(spec), "folder": folder}, Checkin, act)
    here.standing = ""
    if here.human and done.verdict is None and not done.merged:
        say(f"nothing to check in: {done.target} has all of {done.branch}")
    show(ctx, done)
    checkins.verdict(done)


def _of_the_folder(here: "Hand") -> tuple[str, str]:
    """Return the checkout that the working directory is in, and its folder."""
    try:
        found = here.world().copies.look(os.getcwd())
    except NotFound as e:
        raise NotFound(
            "the working directory is no checkout",
            hint="cd into one, or name a session or a checkout: rdev session list and rdev checkout list show their ids",
            code=e.code,
        ) from e
    if found.mark.context != here.world().settings.context:
        here.again(context=found.mark.context)
    return found.mark.checkout, found.folder


def _its_folder(here: "Hand", checkout: str) -> str:
    """Return the folder of a checkout if the working directory is in it, else nothing: then what was pushed is checked in."""
    try:
        found = here.world().copies.look(os.getcwd())
    except NotFound:
        return ""
    return found.folder if found.mark.checkout.startswith(checkout) else ""
