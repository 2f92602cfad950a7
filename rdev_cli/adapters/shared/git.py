"""git on the host: bare repositories only, a fixed argv, an environment of its own."""

import contextlib
import os
import re
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from rdev_cli.adapters.shared.trace import trace
from rdev_cli.domain.errors import Failed, TimedOut, Unavailable
from rdev_cli.domain.values import Secret, shown
from rdev_cli.ports.timing import HEAVY_WRITE, Stop

_HARMLESS = ("zeroPaddedFilemode", "badTimezone", "missingSpaceBeforeDate")  # old histories are full of these
# `index-pack` with the checks that a fetch makes: git 2.39 makes none of a bundle's objects when it fetches from one.
STRICT = "--strict=" + ",".join(f"{name}=ignore" for name in _HARMLESS)
# Nothing that a repository says may run a program here; what a pack holds is checked.
SAFE = (
    "-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "core.symlinks=false", "-c", "core.askPass=",
    "-c", "credential.helper=", "-c", "protocol.ext.allow=never", "-c", "gc.auto=0", "-c", "maintenance.auto=false",
    "-c", "push.recurseSubmodules=no", "-c", "push.gpgSign=false", "-c", "fetch.recurseSubmodules=false", "-c", "fetch.fsckObjects=true",
    *(word for name in _HARMLESS for word in ("-c", f"fetch.fsck.{name}=ignore")),
)  # fmt: skip
_KEPT = ("PATH", "LANG", "LC_ALL", "TMPDIR", "SSH_AUTH_SOCK", "SSL_CERT_FILE", "SSL_CERT_DIR", "https_proxy", "HTTPS_PROXY", "no_proxy")


def environment(home: Path, protocols: str, header: Secret | None = None) -> dict[str, str]:
    """Return git's whole environment; `protocols` is what it may speak, joined by `:`, empty for none.

    `header` goes with each of its HTTP requests: no other place than its environment has it.
    """
    own: dict[str, str] = {}
    if header is not None:
        # to the address that was meant, and to none that it names instead
        told = (("http.extraHeader", header.reveal()), ("http.followRedirects", "false"))
        own = {"GIT_CONFIG_COUNT": str(len(told))}
        for number, (key, value) in enumerate(told):
            own |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
        if "SSL_CERT_FILE" in os.environ:
            own["GIT_SSL_CAINFO"] = os.environ["SSL_CERT_FILE"]  # as Python has it
    return {
        **own,
        **{key: os.environ[key] for key in _KEPT if key in os.environ},
        "HOME": str(home),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_PROTOCOL_FROM_USER": "0",
        "GIT_ALLOW_PROTOCOL": protocols or "none",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_SSH_COMMAND": "ssh -oBatchMode=yes",
    }


def git(
    repository: Path,
    *argv: str,
    options: Sequence[str] = (),
    more: Mapping[str, str] | None = None,
    stdin: bytes | BinaryIO | None = None,
    stdout: BinaryIO | None = None,
    protocols: str = "",
    header: Secret | None = None,
    ok: Sequence[int] = (0,),
    timeout: float = HEAVY_WRITE,
    stop: Stop | None = None,
) -> tuple[int, bytes]:
    """Run git in a bare repository and return (exit code, stdout); `options` stand before its verb, `more` in its environment.

    Data stands behind `--end-of-options` in argv; that is the caller's duty and a test's. Failed if the exit
    code is not among `ok`; TimedOut after `timeout` seconds; whatever `stop` says, while it runs.
    """
    import tempfile  # noqa: PLC0415 -- slow to load, and who only asks where a branch stands needs none

    source = stdin if stdin is not None and not isinstance(stdin, bytes) else None
    trace("git", argv)
    with tempfile.TemporaryFile() as errors:
        try:
            process = subprocess.Popen(
                ["git", "-C", str(repository), *SAFE, *options, *argv],
                stdin=subprocess.PIPE if isinstance(stdin, bytes) else source or subprocess.DEVNULL,
                stdout=stdout or subprocess.PIPE,
                stderr=errors,
                env={**environment(repository.parent, protocols, header), **(more or {})},
                start_new_session=True,  # a Ctrl-C is rdev's to answer
            )
        except FileNotFoundError as e:
            raise Unavailable("git is not installed", hint="install it: apt install git", code="TOOL_MISSING", tool="git") from e
        with process:
            out = _finish(process, stdin if isinstance(stdin, bytes) else None, timeout, stop, argv[0])
        if process.returncode not in ok:
            errors.seek(0)
            said = errors.read(4000).decode(errors="replace").strip()
            raise Failed(
                f"git {argv[0]} failed: {telling(said) or process.returncode}",
                hint="what git said stands in the context (-o json)",
                code="GIT_FAILED",
                said=said,
            )
        return process.returncode, out


def telling(said: str) -> str:
    """Return the line of git's text that says why, fit for a message; empty if there is none."""
    # behind an empty line git gives advice that fits every failure
    lines = [line.strip() for line in said.strip().partition("\n\n")[0].splitlines() if line.strip()]
    at = next((n for n, line in enumerate(lines) if line.startswith(("fatal: ", "error: "))), len(lines) - 1)
    if at > 0 and lines[at] == "fatal: Could not read from remote repository.":
        at -= 1  # ssh has said why, just before
    return shown(re.sub("^(fatal|error): ", "", lines[at]), most=200) if lines else ""


def _finish(process: "subprocess.Popen[bytes]", data: bytes | None, timeout: float, stop: Stop | None, what: str) -> bytes:
    waited = 0.0
    while True:
        try:
            out, _ = process.communicate(data, timeout=0.2 if stop else timeout)
        except subprocess.TimeoutExpired:
            data, waited = None, waited + 0.2
            if stop is not None and not stop.is_set() and waited < timeout:
                continue
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # with its helpers: ssh, remote-https, index-pack
            process.communicate()
            if stop is not None:
                stop.check(f"git {what}")
            raise TimedOut(
                f"git {what} took longer than {timeout:.0f} seconds", hint="try again, or clone it yourself and use --from DIR"
            ) from None
        return out or b""
