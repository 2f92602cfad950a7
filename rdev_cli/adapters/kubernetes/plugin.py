"""The login by a program that a kubeconfig names and its user consented to: run by the official client, in a process of its own.

That client sets no time limit and lends its own stdin, so it runs where both can be taken from it, and where what it loads costs nothing else.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from rdev_cli.adapters.shared.trace import trace
from rdev_cli.domain.errors import Unavailable
from rdev_cli.domain.values import shown
from rdev_cli.ports.timing import STANDARD

_MOST = 1 << 20  # bytes of an answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the plugin said: a token, or a certificate with its key, and until when it holds (wall clock seconds)."""

    token: str = field(default="", repr=False)
    certificate: tuple[bytes, bytes] | None = field(default=None, repr=False)
    until: float = float("inf")


def ask(told: Mapping[str, Any]) -> Answer:
    """Run the plugin, at most 30 seconds, without a stdin. Unavailable PLUGIN_FAILED with its own words, cut, where it gives no login."""
    # -P: the folder that rdev was called in must not be able to put a module in the way
    argv = [sys.executable, "-P", "-m", "rdev_cli.adapters.kubernetes.login"]
    trace("login plugin", argv)
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
    try:
        out, err = process.communicate(json.dumps(told).encode(), timeout=STANDARD)
    except subprocess.TimeoutExpired as e:
        raise _failed(told, f"it did not answer in {STANDARD:.0f} seconds") from e
    finally:
        _end(process)
    if process.returncode != 0 or len(out) > _MOST:
        words = err.decode(errors="replace").strip().splitlines()
        raise _failed(told, words[-1] if words else f"it ended with {process.returncode}")
    try:
        return _answer(json.loads(out))
    except (ValueError, KeyError, TypeError, AttributeError) as e:
        raise _failed(told, "its answer cannot be understood") from e


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Kill whatever is left of the plugin's session."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass
    process.communicate()


def _answer(status: Mapping[str, Any]) -> Answer:
    token = status.get("token") or ""
    pair = (status.get("clientCertificateData"), status.get("clientKeyData"))
    if not (token or all(pair)) or not isinstance(token, str) or not all(32 < ord(c) < 127 for c in token):
        raise ValueError
    ends = status.get("expirationTimestamp")
    return Answer(
        token=token,
        certificate=(pair[0].encode("ascii"), pair[1].encode("ascii")) if pair[0] and pair[1] else None,
        until=datetime.fromisoformat(ends).timestamp() if ends else float("inf"),
    )


def _failed(told: Mapping[str, Any], why: str) -> Unavailable:
    command = shown(told["exec"]["command"])
    return Unavailable(
        f"the login by {command} failed: {shown(why, most=300)}",
        hint=f"run it by hand to see what it needs: {command}",
        code="PLUGIN_FAILED",
    )
