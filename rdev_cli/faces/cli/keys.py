"""rdev key."""

from collections.abc import Callable
from typing import Annotated, Any

import typer

from rdev_cli.domain.access import KeySpec, network, scope
from rdev_cli.domain.values import name as name_rule
from rdev_cli.faces.cli.face import checked, confirm, does, duration, hand, noun, say
from rdev_cli.faces.cli.show import emit, show
from rdev_cli.ops import keys

app = noun("Keys: what a caller of `rdev serve` shows, and what it is allowed by it.")


def _named(value: str) -> str:
    return keys.key_id(value)  # before anything is logged or asked: what was typed may be the key itself


def _name(value: str) -> None:
    name_rule(value, "key name")


def _all(check: Callable[[str], object]) -> Callable[..., Any]:
    def callback(ctx: typer.Context, param: Any, values: list[str] | None) -> list[str]:
        return [checked(check)(ctx, param, value) for value in values or ()]

    return callback


def _project(value: str) -> None:
    name_rule(value, "project name")


Id = Annotated[str, typer.Argument(metavar="KEY", help="Its id, or a unique beginning of it: key_…", show_default=False, callback=_named)]
Whole = Annotated[str, typer.Argument(metavar="KEY", help="Its whole id: key_…", show_default=False, callback=_named)]


@does(
    app, "create", keys.create,
    epilog="rdev key create --name ci --scope sessions:read --project shop --cidr 10.0.0.0/8 --expires 30d",
)  # fmt: skip
def create(
    ctx: typer.Context,
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="What it is for.", callback=checked(_name))],
    scope_: Annotated[
        list[str], typer.Option("--scope", metavar="SCOPE", help="What it allows; may stand several times.", callback=_all(scope))
    ],
    project: Annotated[
        list[str] | None,
        typer.Option("--project", metavar="PROJECT", help="On this project only; may stand several times.", callback=_all(_project)),
    ] = None,
    cidr: Annotated[
        list[str] | None,
        typer.Option("--cidr", metavar="CIDR", help="From this network only; may stand several times.", callback=_all(network)),
    ] = None,
    expires: Annotated[str, typer.Option("--expires", metavar="DURATION|never", help="Until so long from now: 30d, or never.")] = "never",
) -> None:
    here = hand(ctx)
    spec = KeySpec(
        name=name, scopes=tuple(scope(one) for one in scope_), projects=tuple(project or ()), cidrs=tuple(cidr or ()),
        expires_seconds=None if expires == "never" else duration(expires, "expires"),
    )  # fmt: skip
    made = keys.create(here.world(), spec)
    if here.human:
        emit(made.key)
        say(f"this is the key {made.name}, shown this once and never again; rdev key show {made.id} says what it allows")
    else:
        show(ctx, made)


@does(app, "list", keys.list_)
def list_(ctx: typer.Context) -> None:
    show(ctx, keys.list_(hand(ctx).world()), empty="there are no keys; rdev key create makes one")


@does(app, "show", keys.show)
def show_(ctx: typer.Context, key: Id) -> None:
    show(ctx, keys.show(hand(ctx).world(), key))


@does(app, "revoke", keys.revoke)
def revoke(ctx: typer.Context, key: Whole, yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False) -> None:
    here = hand(ctx)
    world = here.world()
    found = keys.known(world, key, whole=True)
    confirm(ctx, f"Revoke the key {found.name} ({found.id}) for good?", yes=yes)
    gone = keys.revoke(world, found.id)
    if here.human:
        say(f"revoked {gone.name} ({gone.id})")
    else:
        show(ctx, gone)
