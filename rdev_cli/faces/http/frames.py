"""Server-sent events as bytes: each holds one line of JSON, which nothing that it tells of can break."""

from typing import Any

from rdev_cli.domain.answers import ErrorDocument, Problem
from rdev_cli.domain.codec import to_json
from rdev_cli.domain.errors import RdevError


def frame(kind: str, data: Any, id: str = "") -> bytes:
    """Return one event. `id` is what the client says when it comes again, to go on after this one; empty: this event has no place."""
    at = f"id: {id}\n" if id else ""
    # JSON escapes what ends a line, and the codec the rest of what a reader may take for that
    return f"{at}event: {kind}\ndata: {to_json(data)}\n\n".encode()


def retry(milliseconds: int) -> bytes:
    """Return how long a client waits before it comes again, as the first line of the event that follows."""
    return f"retry: {milliseconds}\n".encode()


def trouble(error: RdevError) -> bytes:
    """Return the event that says why a stream ends, in the words that every door uses."""
    return frame("error", told(error))


def told(error: RdevError) -> ErrorDocument:
    """Return an error as a document."""
    return ErrorDocument(error=Problem(code=error.code, message=error.message, hint=error.hint, context=error.context))
