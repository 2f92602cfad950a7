"""Answers for a person: facts of one thing, a table of many."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rdev_cli.domain.codec import plain, to_json
from rdev_cli.domain.values import sized, spoken
from rdev_cli.faces.cli.show import clean

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rdev_cli.domain.command import Command
    from rdev_cli.domain.project import Project, ProjectStatus

    Rows = list[tuple[str, ...]]


def ago(moment: datetime) -> str:
    """Return how long ago that was, as people say it."""
    passed = (datetime.now(UTC) - moment).total_seconds()
    return "now" if passed < 1 else f"{spoken(passed)} ago" if passed < 60 else f"{_coarse(passed)} ago"


def _coarse(passed: float) -> str:
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if passed >= size:
            return f"{int(passed // size)} {unit}" if unit == "min" else f"{int(passed // size)}{unit}"
    return "0 min"


def _width(text: str) -> int:
    if text.isascii():
        return len(text)
    from rich.cells import cell_len  # noqa: PLC0415 -- only for text that takes other widths

    return cell_len(text)


def table(head: tuple[str, ...], rows: Rows) -> str:
    """Return rows under upper-case heads, aligned by spaces, no boxes, never clipped."""
    cells = [head, *[tuple(clean(cell) for cell in row) for row in rows]]
    widths = [max(_width(row[i]) for row in cells) for i in range(len(head))]
    lines = ("  ".join(cell + " " * (widths[i] - _width(cell)) for i, cell in enumerate(row)).rstrip() for row in cells)
    return "\n".join(lines) + "\n"


def _facts(pairs: Sequence[tuple[str, str]]) -> str:
    wide = max(len(name) for name, _ in pairs)
    return "".join(f"{name:<{wide}}  {clean(value)}\n" for name, value in pairs if value)


# one thing, for a person


def card(value: Any) -> str:
    """Return one thing as facts, a line each; what has several values has as many lines."""
    own = _CARDS.get(type(value).__name__)
    if own is not None:
        return own(value)
    pairs: list[tuple[str, str]] = []
    for key, item in plain(value).items():
        several = item if isinstance(item, list) and item else [item]
        pairs += [("" if at else key, str(one)) for at, one in enumerate(several)]
    return _facts(pairs)


def _project(value: Project) -> str:
    return _facts(
        [
            ("name", value.name), ("id", value.id), ("state", value.state.value), ("description", value.description),
            ("repository", value.repository), ("branch", value.branch), ("from", value.source), ("pod", value.pod),
            ("network", "yes" if value.network else "no"), ("created", ago(value.created_at)),
        ]
    )  # fmt: skip


def _status(value: ProjectStatus) -> str:
    head = value.head
    return _facts(
        [
            ("project", value.project.name), ("state", value.project.state.value),
            ("pod", value.project.pod if value.pod_present else "gone; the next command makes it again"),
            ("commit", f"{head.sha[:10]} {head.subject} ({ago(head.at)})" if head else "none"),
            ("running", ", ".join(value.running) or "nothing"), ("unfinished", value.unfinished),
        ]
    )  # fmt: skip


def _command(value: Command) -> str:
    tokens = f"{value.input_tokens} in, {value.output_tokens} out" if value.input_tokens or value.output_tokens else ""
    return _facts(
        [
            ("id", value.id), ("project", value.project), ("kind", value.agent or value.kind.value), ("command", _line(value.argv)),
            ("state", value.state.value), ("exit code", "" if value.exit_code is None else str(value.exit_code)), ("reason", value.reason),
            ("started", ago(value.created_at)), ("took", _took(value)), ("output", f"{value.stdout_bytes} bytes, {value.stderr_bytes} on stderr"),
            ("commit", value.commit[:10]), ("delivered to", value.delivered), ("tokens", tokens),
            ("cost", f"{value.cost_usd:.4f} USD" if value.cost_usd else ""), ("model", value.model), ("by", value.actor),
        ]
    )  # fmt: skip


# by the name of a type, so that showing one kind of thing does not load the others
_CARDS: dict[str, Callable[[Any], str]] = {"Project": _project, "ProjectStatus": _status, "Command": _command}


def _line(argv: Sequence[str]) -> str:
    import shlex  # noqa: PLC0415 -- only to show a command line

    return shlex.join(argv)


def _took(command: Command) -> str:
    return "" if command.duration_ms is None else spoken(command.duration_ms / 1000)


# many things, for a person


def _of(rows: Sequence[Any], columns: Sequence[tuple[str, bool, Callable[[Any], str]]], *, wide: bool) -> str:
    chosen = [(head, get) for head, only_wide, get in columns if wide or not only_wide]
    return table(tuple(head for head, _ in chosen), [tuple(get(row) for _, get in chosen) for row in rows])


_COLUMNS: dict[str, Sequence[tuple[str, bool, Callable[[Any], str]]]] = {
    "Project": (
        ("NAME", False, lambda p: p.name),
        ("STATE", False, lambda p: p.state.value),
        ("CREATED", False, lambda p: ago(p.created_at)),
        ("DESCRIPTION", False, lambda p: p.description),
        ("POD", True, lambda p: p.pod),
        ("REPOSITORY", True, lambda p: p.repository),
    ),
    "Command": (
        ("ID", False, lambda c: c.id),
        ("PROJECT", False, lambda c: c.project),
        ("STATE", False, lambda c: c.state.value),
        ("EXIT", False, lambda c: "-" if c.exit_code is None else str(c.exit_code)),
        ("STARTED", False, lambda c: ago(c.created_at)),
        ("TOOK", True, _took),
        ("BY", True, lambda c: c.actor),
        ("COMMAND", False, lambda c: _short(_line(c.argv), 60)),
    ),
    "Event": (
        ("SEQ", False, lambda e: str(e.seq)),
        ("AT", False, lambda e: e.at.astimezone().strftime("%H:%M:%S")),
        ("KIND", False, lambda e: e.kind),
        ("SUBJECT", False, lambda e: e.subject),
        ("BY", True, lambda e: e.actor),
        ("WHAT", False, lambda e: _short(", ".join(f"{k}={_value(v)}" for k, v in e.data.items() if v not in ("", None)), 100)),
    ),
    "Context": (
        ("NAME", False, lambda c: c.name),
        ("CURRENT", False, lambda c: "*" if c.current else ""),
        ("RUNTIME", False, lambda c: c.runtime),
        ("ISOLATION", False, lambda c: c.isolation),
    ),
    "Setting": (("NAME", False, lambda s: s.name), ("VALUE", False, lambda s: s.value), ("ORIGIN", False, lambda s: s.origin)),
    "Holding": (
        ("FATE", False, lambda h: h.fate.value),
        ("KIND", False, lambda h: h.kind),
        ("CONTEXT", False, lambda h: h.context),
        ("SIZE", False, lambda h: sized(h.bytes) if h.bytes else ""),
        ("NAME", False, lambda h: h.name + (f" ({h.reason})" if h.reason else "")),
    ),
    "SchemaEntry": (("NAME", False, lambda s: s.name), ("WHAT", False, lambda s: s.what)),
    "Check": (
        ("CHECK", False, lambda c: c.name),
        ("", False, lambda c: c.verdict.value),
        ("FOUND", False, lambda c: c.found + (f" -> {c.hint}" if c.hint and c.verdict.value != "ok" else "")),
    ),
}


def _value(value: Any) -> str:
    if isinstance(value, list):
        return _line([str(one) for one in value])
    return to_json(value) if isinstance(value, dict) else str(value)


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 3] + "..."


def rows(values: Sequence[Any], *, wide: bool, head: bool = True) -> str:
    """Return many things as a table; a page that goes on under an earlier one has no head."""
    if not values:
        return ""
    text = _of(values, _COLUMNS[type(values[0]).__name__], wide=wide)
    return text if head else text.partition("\n")[2]
