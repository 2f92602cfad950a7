"""Asks the Messages API whether it takes a key or a token: one request that costs nothing, for a count of tokens."""

import http.client
import json
from urllib.parse import urlsplit

from rdev_cli.adapters.agents.bundled import MODEL
from rdev_cli.adapters.shared.bounded import within
from rdev_cli.domain.errors import Cancelled, RdevError, Unavailable
from rdev_cli.domain.report import Check, Verdict
from rdev_cli.domain.values import Secret
from rdev_cli.ports.timing import LOOKUP, Stop

VARIABLES = ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN")
_DEFAULT = "https://api.anthropic.com"
_BODY = {"model": MODEL, "messages": [{"role": "user", "content": "Hello"}]}


def tried(variable: str, value: Secret, *, base_url: str, stop: Stop) -> Check:
    """Return what the API says: ok, failed where it refuses the value, warning where it could not be asked."""
    if not (value.reveal().isascii() and value.reveal().isprintable()):
        return _check(Verdict.FAILED, "it holds characters that no key has", f"set it again: rdev credential set {variable}")
    address = urlsplit(base_url or _DEFAULT)
    try:
        host, port = address.hostname, address.port
    except ValueError:
        host, port = None, None
    if not host or address.scheme not in ("http", "https"):
        return _check(Verdict.WARNING, "ANTHROPIC_BASE_URL is not an http address", "correct it where it is set")
    secret = {"x-api-key": value.reveal()} if variable == "ANTHROPIC_API_KEY" else {"authorization": f"Bearer {value.reveal()}"}
    headers = {"content-type": "application/json", "anthropic-version": "2023-06-01", "connection": "close", **secret}
    kind = http.client.HTTPSConnection if address.scheme == "https" else http.client.HTTPConnection

    def ask() -> int:
        connection = kind(host, port, timeout=LOOKUP)
        try:
            # not through a proxy and after no redirect: the value goes to this address and no other
            connection.request("POST", address.path.rstrip("/") + "/v1/messages/count_tokens", json.dumps(_BODY).encode(), headers)
            return connection.getresponse().status
        except OSError as e:
            raise Unavailable(f"cannot reach {host}: {e.strerror or type(e).__name__}") from e
        finally:
            connection.close()

    try:
        status = within(LOOKUP, ask, what=f"the connection to {host}", stop=stop)
    except Cancelled:
        raise
    except RdevError as e:
        return _check(Verdict.WARNING, e.message, "look at the network, or at ANTHROPIC_BASE_URL")
    if status in (401, 403):
        return _check(Verdict.FAILED, f"{host} refuses it ({status})", f"set one that is valid: rdev credential set {variable}")
    if status not in (200, 429):  # past its limit is past the door
        return _check(Verdict.WARNING, f"{host} answers {status}, which says nothing about it", "look at ANTHROPIC_BASE_URL, or try again")
    return _check(Verdict.OK, f"{host} takes it" + (", and is at its limit now" if status == 429 else ""))


def _check(verdict: Verdict, found: str, hint: str = "") -> Check:
    return Check(name="api", verdict=verdict, found=found, hint=hint)
