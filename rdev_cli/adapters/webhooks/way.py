"""The Hooks port: what sends is loaded with the first message, and a rule for addresses needs no library."""

import secrets
from base64 import b64encode
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING

from rdev_cli.adapters.webhooks.policy import Policy, Resolve, networks, parsed, system_addresses
from rdev_cli.domain.errors import Invalid, Unavailable
from rdev_cli.domain.values import Secret, shown
from rdev_cli.domain.webhook import WAITS, Outcome
from rdev_cli.ports.timing import Stop

if TYPE_CHECKING:
    from rdev_cli.adapters.webhooks.sender import HttpSender
    from rdev_cli.ports.vault import Vaults


class HookWay:
    """The way to endpoints, as the environment says: RDEV_WEBHOOK_ALLOW (networks), RDEV_WEBHOOK_BACKOFF (seconds before the second try)."""

    def __init__(self, environ: Mapping[str, str], *, vaults: "Vaults", resolve: Resolve = system_addresses) -> None:
        self._policy = Policy(networks(environ.get("RDEV_WEBHOOK_ALLOW", "")), resolve=resolve)
        self.vaults, self.first_wait = vaults, _wait(environ.get("RDEV_WEBHOOK_BACKOFF", ""))

    def check(self, url: str, *, stop: Stop) -> None:
        self._policy.addresses(parsed(url), stop)

    def new_secret(self) -> Secret:
        # as the specification writes it, with 32 random bytes
        return Secret("whsec_" + b64encode(secrets.token_bytes(32)).decode())

    def send(self, url: str, *, id: str, body: str, secrets: Sequence[Secret], at: datetime, stop: Stop) -> Outcome:
        return self._sender.send(url, id=id, body=body, secrets=secrets, at=at, stop=stop)

    @cached_property
    def _sender(self) -> "HttpSender":
        try:
            from rdev_cli.adapters.webhooks.sender import HttpSender  # noqa: PLC0415 -- only where something is sent
        except ImportError as e:
            hint = "install it: pip install 'rdev[serve]'"
            raise Unavailable("what sends webhooks is not installed", hint=hint, code="TOOL_MISSING", tool=e.name or "") from e
        return HttpSender(self._policy)


def _wait(text: str) -> float:
    try:
        found = float(text or WAITS[1])
    except ValueError:
        found = 0.0
    if not 0.0001 <= found <= 3600:
        raise Invalid(
            f"RDEV_WEBHOOK_BACKOFF: '{shown(text)}' is no number of seconds",
            hint="from 0.0001 to 3600; 5 by default",
            field="RDEV_WEBHOOK_BACKOFF",
        )
    return found
