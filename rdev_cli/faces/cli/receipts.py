"""rdev receipt."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from rdev_cli.domain.errors import Invalid, NotFound
from rdev_cli.domain.report import Check
from rdev_cli.domain.report import Verdict as Found
from rdev_cli.domain.review import Replay, Verdict
from rdev_cli.domain.values import id_like, shown
from rdev_cli.faces.cli.arguments import Limit, Some, one
from rdev_cli.faces.cli.checking import audience
from rdev_cli.faces.cli.face import Placed, checked, does, duration, hand, noun, read, say
from rdev_cli.faces.cli.show import show
from rdev_cli.ops import receipts

if TYPE_CHECKING:
    from rdev_cli.faces.cli.face import Hand

app = noun("Receipts: what was checked on which tree, signed; held against what is there, and run again.")

Id = Annotated[str, typer.Argument(metavar="RECEIPT", help="Its id, or a unique beginning of it.", show_default=False)]
Either = Annotated[
    str,
    typer.Argument(metavar="RECEIPT|FILE", help="Its id, or a file that receipt show -o json was kept in; - is stdin.", show_default=False),
]
_MOST = 5 << 20  # bytes of a document that are read at all


def _id(value: str) -> None:
    if not id_like(value, "rcp"):
        raise Invalid(f"'{shown(value)}' is no receipt id", hint="rdev receipt list PROJECT shows the ids: rcp_…")


@does(app, "list", receipts.list_)
def list_(
    ctx: typer.Context,
    project: Some = None,
    before: Annotated[
        str | None, typer.Option("--before", metavar="RECEIPT", help="Only those older than this one.", callback=checked(_id))
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=10000, help="At most so many.")] = 50,
) -> None:
    project = one(ctx, project)
    found = receipts.list_(hand(ctx).world(), project, before=before or "", limit=limit)
    empty = "nothing matches" if before else "no receipts yet; each check-in writes one: rdev checkin"
    show(ctx, found, empty=empty, more=f"rdev receipt list {project} --before {{}}")


@does(app, "show", receipts.show)
def show_(ctx: typer.Context, receipt: Id) -> None:
    show(ctx, receipts.show(hand(ctx).world(), receipt))


@does(app, "verify", receipts.verify, epilog="rdev receipt verify rcp_01… --replay · rdev receipt verify kept.json", cls=Placed)
def verify(
    ctx: typer.Context,
    receipt: Either,
    replay: Annotated[bool, typer.Option("--replay", help="Run its commands again, too, in a clean pod, and compare.")] = False,
    timeout: Limit = None,
) -> None:
    here, limit = hand(ctx), duration(timeout, "timeout")
    if limit and not replay:
        raise Invalid("--timeout is of no use without --replay", hint="add --replay, or leave it out", code="USAGE")
    world, given = here.world(), _given(here, receipt)
    found = [*receipts.verify(world, given)]
    if replay and not _failed(found):
        from rdev_cli.domain.receipt import parsed  # noqa: PLC0415 -- the rare case
        from rdev_cli.ops import known  # noqa: PLC0415

        whole = known.receipt(world, given) if isinstance(given, str) else parsed(given)[0]
        more = {"limit_seconds": limit} if limit else {}
        found += _told(receipts.again(world, whole, tell=audience(here, world), **more))
    show(ctx, found)
    if _failed(found):
        raise typer.Exit(9)


@does(app, "replay", receipts.replay, epilog="rdev receipt replay rcp_01…", cls=Placed)
def replay_(ctx: typer.Context, receipt: Id, timeout: Limit = None) -> None:
    here, limit = hand(ctx), duration(timeout, "timeout")
    world = here.world()
    more = {"limit_seconds": limit} if limit else {}
    found = receipts.replay(world, receipt, tell=audience(here, world), **more)
    for note in found.notes if here.human else ():
        say(f"note: {note}")
    show(ctx, found)
    if found.verdict is Verdict.FAILED:
        raise typer.Exit(9)


def _failed(found: Sequence[Check]) -> bool:
    return any(check.verdict is Found.FAILED for check in found)


def _given(here: "Hand", text: str) -> str | bytes:
    """Return an id as it is, and what a file or stdin holds."""
    if text == "-":
        return read(here, _MOST)
    if id_like(text, "rcp") and not os.path.exists(text):
        return text
    try:
        with open(text, "rb") as file:
            return file.read(_MOST)
    except (FileNotFoundError, NotADirectoryError) as e:
        hint = "rdev receipt list PROJECT shows the ids: rcp_…; or name a file that holds one"
        raise NotFound(f"'{shown(text)}' is neither a receipt's id nor a file", hint=hint) from e
    except (OSError, ValueError) as e:
        raise Invalid(f"'{shown(text)}' cannot be read as a file", hint="rdev receipt list PROJECT shows the ids: rcp_…") from e


def _told(replay: Replay) -> Sequence[Check]:
    """Return what running it again came to, a line for the tree and for each command."""
    same = replay.tree == "equal"
    found = [
        Check(
            name="replay.tree",
            verdict=Found.OK if same else Found.FAILED,
            found=f"{replay.commit[:10]} in a clean pod: {replay.tree}; the image: {replay.image}",
        )
    ]
    for run in replay.runs:
        now = f"exit code {run.replayed}" if not run.reason else run.reason
        words = now if run.equal else f"{now}, and the receipt says {'no exit code' if run.recorded is None else run.recorded}"
        verdict = Found.OK if run.equal else Found.FAILED
        found.append(
            Check(name="replay.command", verdict=verdict, found=f"{run.step}: {words}; its stdout: {run.stdout}, its stderr: {run.stderr}")
        )
    return [*found, *(Check(name="replay.pod", verdict=Found.WARNING, found=note) for note in replay.notes)]
