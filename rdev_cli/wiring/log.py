"""rdev's own log: to stderr with -v, to a bounded file with --log-file, text or JSON."""

import json
import logging
import os
import re
import sys
from collections.abc import Mapping, Sequence
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path

from rdev_cli.domain.errors import Invalid
from rdev_cli.domain.values import Secret
from rdev_cli.wiring.rules import SECRET

FIELDS = ("request_id", "method", "route", "status", "actor", "loop", "command", "argv", "exit_code", "duration_ms", "code", "error")
BYTES, FILES = 5 << 20, 2
_KEY = re.compile("rdev_sk_[a-z0-9]{8}_[0-9a-f]{32}")
_SECRET_LEAST = 8  # characters: a shorter one would be found in words that have nothing to do with it


class _Masked(logging.Filter):
    """Shows the values that it knows to be secret as •••, and no word of an argv longer than 200 characters."""

    def __init__(self, secrets: Sequence[str]) -> None:
        super().__init__()
        self._secrets = sorted((secret for secret in secrets if len(secret) >= _SECRET_LEAST), key=len, reverse=True)

    def _mask(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, repr(Secret(secret)))
        return _KEY.sub(repr(Secret("")), text)

    def filter(self, record: logging.LogRecord) -> bool:
        # masked before it is cut: half a secret would not be known any more
        for name in ("command", "error"):
            if hasattr(record, name):
                setattr(record, name, self._mask(str(getattr(record, name))))
        if hasattr(record, "argv"):
            record.argv = [self._mask(word)[:200] for word in record.argv]
        return True


def secrets(environ: Mapping[str, str]) -> list[str]:
    """Return what the caller's environment holds for agents to prove who they are."""
    from rdev_cli.adapters.agents.registry import KnownAgents  # noqa: PLC0415 -- only for a log

    names = {variable for agent in KnownAgents({}).all() for variable in agent.variables if SECRET.search(variable)}
    return [environ[name] for name in names if environ.get(name)]


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        body = {"at": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"), "level": record.levelname.lower(), "message": record.getMessage()}
        body |= {name: getattr(record, name) for name in FIELDS if hasattr(record, name)}
        return json.dumps(body, sort_keys=True, default=str)


class _Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        facts = " ".join(f"{name}={getattr(record, name)!r}" for name in FIELDS if hasattr(record, name))
        return f"{self.formatTime(record, '%H:%M:%S')} {record.levelname.lower()} {record.getMessage()} {facts}".rstrip()


class _Private(RotatingFileHandler):
    """A log file of mode 0600 that is never larger than BYTES, with one older one beside it."""

    def _open(self) -> TextIOWrapper:
        fd = os.open(self.baseFilename, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        os.fchmod(fd, 0o600)
        return open(fd, "a", encoding="utf-8", errors="backslashreplace")


def log() -> logging.Logger:
    """Return rdev's logger."""
    return logging.getLogger("rdev")


def set_up(*, verbose: bool, file: str, json_lines: bool) -> None:
    """Send the log where it is wanted."""
    logger, formatter = log(), _Json() if json_lines else _Text()
    logger.setLevel(logging.DEBUG)
    for known in list(logger.filters):
        logger.removeFilter(known)
    logger.addFilter(_Masked(secrets(os.environ)))
    logger.propagate = False
    logging.raiseExceptions = False  # a log that cannot be written is no reason to print a traceback
    for old in list(logger.handlers):
        logger.removeHandler(old)
        old.close()
    handlers: list[logging.Handler] = []
    if verbose:
        handlers.append(logging.StreamHandler(sys.stderr))
    if file:
        try:
            if not (Path(file).is_file() or not os.path.lexists(file)):
                raise OSError(0, "it is no file")
            handlers.append(_Private(Path(file), maxBytes=BYTES, backupCount=FILES - 1, encoding="utf-8"))
        except OSError as e:
            raise Invalid(
                f"cannot write the log {file}: {e.strerror}", hint="give --log-file a file of yours", code="LOG", file=file
            ) from e
    for handler in handlers:
        handler.setFormatter(formatter)
        logger.addHandler(handler)
