"""rdev webhook."""

from typing import Annotated

import typer

from rdev_cli.domain.errors import Invalid
from rdev_cli.domain.values import id_like, name, shown
from rdev_cli.domain.webhook import Delivery, DeliveryState, WebhookSecret
from rdev_cli.faces.cli.arguments import PassphraseFile
from rdev_cli.faces.cli.face import checked, confirm, does, hand, noun, say
from rdev_cli.faces.cli.show import show
from rdev_cli.ops import webhooks

app = noun("Webhooks: endpoints elsewhere that are told what happens.")

Id = Annotated[str, typer.Argument(metavar="WEBHOOK", help="Its id, or a unique beginning of it.", show_default=False)]


def _projects(values: list[str]) -> None:
    for value in values:
        name(value, "project name")


def _delivery(value: str) -> None:
    if not id_like(value, "dlv"):
        raise Invalid(f"'{shown(value)}' is no id of a delivery", hint="rdev webhook deliveries shows the ids: dlv_…")


@does(app, "add", webhooks.add, epilog="rdev webhook add --url https://hooks.example.com/rdev --event 'command.*'")
def add(
    ctx: typer.Context,
    url: Annotated[str, typer.Option("--url", metavar="URL", help="Where messages are sent: https://HOST/PATH.", show_default=False)],
    event: Annotated[
        list[str],
        typer.Option("--event", metavar="EVENT", help="A kind of event, or all of a noun: command.*; can be repeated.", show_default=False),
    ],
    project: Annotated[
        list[str] | None,
        typer.Option(
            "--project", "-p", metavar="PROJECT", help="Only what is about this project; can be repeated.", callback=checked(_projects)
        ),
    ] = None,
    passphrase_file: PassphraseFile = None,
) -> None:
    here = hand(ctx)
    here.options["passphrase_file"] = passphrase_file
    _shown(ctx, webhooks.add(here.world(), url=url, events=event, projects=project or []))


@does(app, "list", webhooks.list_)
def list_(ctx: typer.Context) -> None:
    empty = "there are no webhooks; rdev webhook add --url URL --event 'command.*' makes one"
    show(ctx, webhooks.list_(hand(ctx).world()), empty=empty)


@does(app, "test", webhooks.try_)
def try_(ctx: typer.Context, webhook: Id, passphrase_file: PassphraseFile = None) -> None:
    here = hand(ctx)
    here.options["passphrase_file"] = passphrase_file
    _came_back(ctx, webhooks.try_(here.world(), webhook))


@does(app, "deliveries", webhooks.deliveries)
def deliveries(
    ctx: typer.Context,
    webhook: Annotated[
        str | None,
        typer.Argument(metavar="[WEBHOOK]", help="Only those to this one: its id, or a unique beginning of it.", show_default=False),
    ] = None,
    before: Annotated[
        str | None, typer.Option("--before", metavar="DELIVERY", help="Only those older than this one.", callback=checked(_delivery))
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=10000, help="At most so many.")] = 50,
) -> None:
    if webhook == "":
        raise typer.BadParameter("the id is empty; rdev webhook list shows the ids", param_hint="'[WEBHOOK]'")
    found = webhooks.deliveries(hand(ctx).world(), webhook=webhook or "", before=before or "", limit=limit)
    show(ctx, found, empty="nothing matches" if before else "nothing was sent yet", more="rdev webhook deliveries --before {}")


@does(app, "replay", webhooks.replay)
def replay(
    ctx: typer.Context,
    delivery: Annotated[str, typer.Argument(metavar="DELIVERY", help="Its id, or a unique beginning of it.", show_default=False)],
    passphrase_file: PassphraseFile = None,
) -> None:
    here = hand(ctx)
    here.options["passphrase_file"] = passphrase_file
    _came_back(ctx, webhooks.replay(here.world(), delivery))


@does(app, "rotate", webhooks.rotate)
def rotate(ctx: typer.Context, webhook: Id, passphrase_file: PassphraseFile = None) -> None:
    here = hand(ctx)
    here.options["passphrase_file"] = passphrase_file
    _shown(ctx, webhooks.rotate(here.world(), webhook))


@does(app, "remove", webhooks.remove)
def remove(ctx: typer.Context, webhook: Id, yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False) -> None:
    here = hand(ctx)
    found = webhooks.known(here.world(), webhook)
    confirm(ctx, f"Remove the webhook {found.id} to {found.url}, and forget what was sent to it?", yes=yes)
    gone = webhooks.remove(here.world(), found.id)
    if here.human:
        say(f"removed {gone.id}")
    else:
        show(ctx, gone)


def _shown(ctx: typer.Context, made: WebhookSecret) -> None:
    show(ctx, made)
    if hand(ctx).human:
        say("keep the secret now: it is not shown again")


def _came_back(ctx: typer.Context, delivery: Delivery) -> None:
    show(ctx, delivery)
    if delivery.state is not DeliveryState.DELIVERED:
        raise typer.Exit(6 if delivery.attempts[-1].status is None else 9)
