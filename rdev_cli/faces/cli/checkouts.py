"""rdev checkout."""

import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from rdev_cli.domain.checkout import LASTS, CheckoutSpec
from rdev_cli.domain.errors import Invalid
from rdev_cli.domain.values import branch as branch_rule
from rdev_cli.domain.values import id_like, shown
from rdev_cli.faces.cli.arguments import Name, PassphraseFile, one
from rdev_cli.faces.cli.face import checked, confirm, does, duration, hand, noun, say
from rdev_cli.faces.cli.show import show
from rdev_cli.ops import checkouts, known

app = noun("Checkouts: a branch on your own machine, with a credential that reaches nothing else and ends.")


def _id(value: str) -> str:
    if not id_like(value, "chk"):
        raise Invalid(f"'{shown(value)}' is no checkout id", hint="rdev checkout list shows the ids: chk_…", field="checkout")
    return value


Id = Annotated[
    str, typer.Argument(metavar="CHECKOUT", help="Its id, or a unique beginning of it: chk_…", show_default=False, callback=checked(_id))
]
Whole = Annotated[str, typer.Argument(metavar="CHECKOUT", help="Its whole id: chk_…", show_default=False, callback=checked(_id))]
For = Annotated[str, typer.Option("--for", metavar="DURATION", help="How long its credential counts, from now on: 90m, 8h, 2d.")]


def helper(context: str, id: str) -> Sequence[str]:
    """Return what git runs to be told the credential of a checkout, wherever the user stands and whatever a folder there names."""
    own = os.path.abspath(sys.argv[0])
    started = os.path.basename(own) == "rdev" and os.access(own, os.X_OK)
    # -P: else Python would look for modules in the folder that git is in, which holds whatever the repository brought
    return (*((own,) if started else (sys.executable, "-P", "-m", "rdev_cli")), "checkout", "credential", id, "--context", context)


@does(
    app, "start", checkouts.start, epilog="rdev checkout start shop · rdev checkout start shop feature/cart --dir ~/src/cart --for 2d"
)  # fmt: skip
def start(
    ctx: typer.Context,
    project: Name,
    branch: Annotated[
        str | None,
        typer.Argument(
            metavar="[BRANCH]",
            help="Where the work starts, and shall go back to; the project's branch, by default.",
            show_default=False,
            callback=checked(branch_rule),
        ),
    ] = None,
    dir_: Annotated[
        str | None, typer.Option("--dir", metavar="DIR", help="The folder to clone into, a new one; ./PROJECT by default.")
    ] = None,
    for_: For = f"{LASTS // 3600}h",
    passphrase_file: PassphraseFile = None,
) -> None:
    here = hand(ctx)
    here.options["passphrase_file"] = passphrase_file
    spec = CheckoutSpec(project=project, branch=branch or "", lasts_seconds=duration(for_, "for"))
    if dir_ == "":
        raise typer.BadParameter("the folder's name is empty", param_hint="'--dir'")
    world = here.world()
    context = world.settings.context
    here.standing = "it may be half made: the same command goes on, rdev checkout list shows it"
    made = checkouts.open_(world, spec, dir_ or project, context=context, helper=lambda id: helper(context, id))
    show(ctx, made)
    if here.human:
        say("work there and commit as always; rdev checkin in that folder brings it to review")


@does(app, "list", checkouts.list_)
def list_(
    ctx: typer.Context,
    project: Annotated[str | None, typer.Option("--project", "-p", metavar="PROJECT", help="Only this project's.")] = None,
    all_: Annotated[bool, typer.Option("--all", help="Those that have ended, too.")] = False,
    before: Annotated[
        str | None, typer.Option("--before", metavar="CHECKOUT", help="Only those older than this one.", callback=checked(_id))
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=10000, help="At most so many.")] = 50,
) -> None:
    chosen = "" if project is None else one(ctx, project)
    found = checkouts.list_(hand(ctx).world(), project=chosen, ended=all_, before=before or "", limit=limit)
    empty = "nothing matches" if project or all_ or before else "no checkout is active; rdev checkout start PROJECT makes one"
    show(ctx, found, empty=empty, more="rdev checkout list --before {}")


@does(app, "show", checkouts.show)
def show_(ctx: typer.Context, checkout: Id) -> None:
    show(ctx, checkouts.show(hand(ctx).world(), checkout))


@does(app, "extend", checkouts.extend, epilog="rdev checkout extend chk_01j9 --for 2d")
def extend(ctx: typer.Context, checkout: Id, for_: For = f"{LASTS // 3600}h") -> None:
    show(ctx, checkouts.extend(hand(ctx).world(), checkout, lasts_seconds=duration(for_, "for")))


@does(app, "cancel", checkouts.cancel)
def cancel(ctx: typer.Context, checkout: Whole, yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False) -> None:
    here = hand(ctx)
    world = here.world()
    found = known.checkout(world, checkout, whole=True)
    if not checkouts.now_ended(world, found):
        confirm(ctx, f"Cancel the checkout {found.id} of {found.project}? What was not pushed stays in its folder alone.", yes=yes)
    here.standing = f"its credential may count still: rdev checkout cancel {found.id} goes on"
    gone = checkouts.cancel(world, found.id)
    if here.human:
        say(f"{gone.id} is {gone.state.value.replace('_', ' ')}, and its credential counts no more; every folder stays as it is")
    else:
        show(ctx, gone)
