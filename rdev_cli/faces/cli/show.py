"""How an answer is printed: one JSON for all, tables and cards (tables.py) for people."""

import sys
from collections.abc import Sequence
from typing import Any

import typer

from rdev_cli.domain.codec import document, to_json
from rdev_cli.domain.page import Page
from rdev_cli.faces.cli.face import hand, send, unwritable, write


def handle(value: Any) -> str:
    """Return what the next command takes for this thing: the name of what has a name, else its id."""
    if type(value).__name__ in ("Key", "KeyCreated"):
        return str(value.id)  # several may have one name
    if type(value).__name__ == "Checkin":
        return str(value.receipt or value.session or value.checkout)
    for field in ("name", "id", "seq", "agent", "receipt", "through", "shell"):
        if hasattr(value, field):
            return str(getattr(value, field))
    return str(value.project if isinstance(value.project, str) else value.project.name)


def emit(text: str) -> None:
    """Print a document: UTF-8 whatever the terminal, a newline at the end."""
    try:
        send(sys.stdout, (text + "\n").encode())
    except BrokenPipeError:
        raise
    except OSError as e:
        raise unwritable(e) from e


def columns() -> int:
    """Return the width that an answer should fit into: that of a terminal, 0 for everything else."""
    if not sys.stdout.isatty():
        return 0
    import shutil  # noqa: PLC0415 -- a program has no width

    return shutil.get_terminal_size().columns


def show(ctx: typer.Context, value: Any, *, empty: str = "", more: str = "") -> None:
    """Print an answer in the format asked for; `empty` and `more` (with `{}` for where to go on) are words for a person."""
    form, many = hand(ctx).output, isinstance(value, Sequence | Page)
    items: Sequence[Any] = value.items if isinstance(value, Page) else value if many else (value,)
    if form == "json":
        emit(to_json(document(value)))
    elif form == "jsonl":
        for item in items:
            emit(to_json(item))
    elif form == "yaml":
        from rdev_cli.wiring.text import to_yaml  # noqa: PLC0415 -- YAML is slow to load

        emit(to_yaml(document(value)).rstrip("\n"))
    elif form == "name":
        for item in items:
            write(sys.stdout, handle(item) + "\n")
    elif many and not items:
        if empty:
            write(sys.stderr, empty + "\n")
    else:
        from rdev_cli.faces.cli.tables import card, rows  # noqa: PLC0415 -- a program needs no tables

        write(sys.stdout, rows(items, wide=form == "wide", columns=columns()) if many else card(value, columns()))
        if isinstance(value, Page) and value.next:
            write(sys.stderr, f"there are more: {more.format(value.next)}\n" if more else "there are more\n")
