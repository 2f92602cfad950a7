"""rdev's own log: to stderr with -v, to a bounded file with --log-file, text or JSON."""

import json
import logging
import os
import sys
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path

from rdev_cli.domain.errors import Invalid

FIELDS = ("command", "argv", "exit_code", "duration_ms", "code", "error")
BYTES, FILES = 5 << 20, 2


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
