"""Answers for a person: facts of one thing, a table of many."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rdev_cli.domain.codec import plain, stamp, to_json
from rdev_cli.domain.values import coarse, sized, spoken
from rdev_cli.faces.cli.face import clean

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rdev_cli.domain.access import Key
    from rdev_cli.domain.agent import AgentInfo
    from rdev_cli.domain.command import Command
    from rdev_cli.domain.credential import Credential
    from rdev_cli.domain.files import Copied
    from rdev_cli.domain.preview import Preview
    from rdev_cli.domain.project import Project
    from rdev_cli.domain.report import Context
    from rdev_cli.domain.standing import ProjectStatus, ProjectSync
    from rdev_cli.domain.webhook import Delivery, Webhook

    Pairs = list[tuple[str, str]]
    Rows = list[tuple[str, ...]]


def ago(moment: datetime) -> str:
    """Return how long ago that was, as people say it."""
    passed = (datetime.now(UTC) - moment).total_seconds()
    return "now" if passed < 1 else f"{spoken(passed)} ago" if passed < 60 else f"{coarse(passed)} ago"


def _width(text: str) -> int:
    if text.isascii():
        return len(text)
    from rich.cells import cell_len  # noqa: PLC0415 -- only for text that takes other widths

    return cell_len(text)


def table(head: tuple[str, ...], rows: Rows, columns: int = 0, *, goes_on: bool = False) -> str:
    """Return rows under upper-case heads (unless it `goes_on` under other rows), aligned by spaces, no boxes.

    What is wider than `columns` (0: no bound) is shortened where that leaves something to read, else each row becomes facts, a line each.
    """
    cells = [head, *[tuple(clean(cell) for cell in row) for row in rows]]
    widths = [max(_width(row[i]) for row in cells) for i in range(len(head))]
    over = sum(widths) + 2 * (len(widths) - 1) - columns if columns else 0
    if over > 0:
        room = widths[-1] - over
        if head[-1] not in _MOST or room < _LEAST:
            return "\n" * goes_on + "\n".join(_facts(list(zip(head, row, strict=True)), columns) for row in cells[1:])
        cells = [(*row[:-1], _short(row[-1], room)) for row in cells]
        widths[-1] = room
    lines = ("  ".join(cell + " " * (widths[i] - _width(cell)) for i, cell in enumerate(row)).rstrip() for row in cells[goes_on:])
    return "\n".join(lines) + "\n"


def _facts(pairs: Pairs, columns: int = 0) -> str:
    wide = max(len(name) for name, _ in pairs)
    if not columns:
        return "".join(f"{name:<{wide}}  {clean(value)}\n" for name, value in pairs if value)
    from textwrap import wrap  # noqa: PLC0415 -- only for a terminal

    # a word longer than a line is left to the terminal: cut, nobody could copy it
    room = max(columns - wide - 2, 1)
    lines = ((name, wrap(clean(value), room, break_long_words=False, break_on_hyphens=False)) for name, value in pairs)
    return "".join(f"{name if at == 0 else '':<{wide}}  {line}\n" for name, parts in lines for at, line in enumerate(parts))


# one thing, for a person


def card(value: Any, columns: int = 0) -> str:
    """Return one thing as facts, a line each, wrapped at words to `columns` (0: not); what has several values has as many lines."""
    kind = type(value).__name__
    own = _CARDS.get(kind) or (_elsewhere(kind).CARDS[kind] if kind in _ELSEWHERE else None)
    if own is not None:
        return _facts(own(value), columns)
    pairs: list[tuple[str, str]] = []
    for key, item in plain(value).items():
        several = item if isinstance(item, list) and item else [item]
        pairs += [("" if at else key, str(one)) for at, one in enumerate(several)]
    return _facts(pairs, columns)


def _project(value: Project) -> Pairs:
    return [
        ("name", value.name), ("id", value.id), ("state", value.state.value), ("description", value.description),
        ("repository", value.repository), ("branch", value.branch), ("from", value.source), ("pod", value.pod),
        ("network", "yes" if value.network else "no"), ("agent", value.agent), ("model", value.model), ("created", ago(value.created_at)),
        *[("used by", f"{u.agent} {u.model}: {_spent(u)} in {u.runs} runs") for u in getattr(value, "usage", ())],
    ]  # fmt: skip


def _spent(used: Any) -> str:
    money = f", {used.cost_usd:.4f} USD" if used.cost_usd else ""
    return f"{used.input_tokens} tokens in, {used.output_tokens} out{money}"


def _agent(value: AgentInfo) -> Pairs:
    return [
        ("name", value.name + (" (the one that works where nobody says which)" if value.default else "")),
        ("program", value.program or f"not on this machine; rdev context set local --agent-path {value.name}=PATH"),
        ("model", value.model or "its own choice"), ("tools", ", ".join(value.tools)),
        ("takes", ", ".join(f"{name} (given)" if name in value.given else name for name in value.variables) or "nothing"),
    ]  # fmt: skip


def _status(value: ProjectStatus) -> Pairs:
    head = value.head
    return [
        ("project", value.project.name), ("state", value.project.state.value),
        ("pod", value.project.pod if value.pod_present else "gone; the next command makes it again"),
        ("commit", f"{head.sha[:10]} {head.subject} ({ago(head.at)})" if head else "none"),
        ("work tree", f"{value.pod_head[:10]}{', the same' if head and head.sha == value.pod_head else ''}" if value.pod_head else ""),
        ("running", ", ".join(value.running) or "nothing"), ("unfinished", value.unfinished),
    ]  # fmt: skip


def _sync(value: ProjectSync) -> Pairs:
    news = (
        "the work tree has the repository's newer commits" if value.brought_in
        else "the repository has the work tree's newer commits" if value.delivered else "none: both stood there"
    )  # fmt: skip
    return [("project", value.project), ("commit", value.commit[:10]), ("news", news)]


def _command(value: Command) -> Pairs:
    tokens = f"{value.input_tokens} in, {value.output_tokens} out" if value.input_tokens or value.output_tokens else ""
    return [
        ("id", value.id), ("project", value.project), ("kind", value.agent or value.kind.value), ("command", _line(value.argv)),
        ("state", value.state.value), ("exit code", "" if value.exit_code is None else str(value.exit_code)), ("reason", value.reason), ("cause", value.cause),
        ("started", ago(value.created_at)), ("took", _took(value)), ("output", f"{value.stdout_bytes} bytes, {value.stderr_bytes} on stderr{', cut' if value.truncated else ''}"),
        ("commit", value.commit[:10]), ("delivered to", value.delivered), ("tokens", tokens),
        ("cost", f"{value.cost_usd:.4f} USD" if value.cost_usd else ""), ("model", value.model), ("by", value.actor),
    ]  # fmt: skip


def _plain(setting: object) -> str:
    words = {True: "yes", False: "no"}
    return "; ".join(setting) if isinstance(setting, list) else words[setting] if isinstance(setting, bool) else str(setting)


def _context(value: Context) -> Pairs:
    agents = [
        (f"{name} {what}", text)
        for name, entry in value.agents.items()
        for what, text in (("path", entry.get("path", "")), *((f"env {key}", text) for key, text in entry.get("env", {}).items()))
    ]
    return [
        ("name", value.name), ("current", "yes" if value.current else "no"), ("runtime", value.runtime), ("isolation", value.isolation),
        *(("" if at else "show", path) for at, path in enumerate(value.show)), ("pool", "" if value.pool is None else str(value.pool)),
        *((key.replace("_", " "), _plain(setting)) for key, setting in value.cluster.items()), ("forge", value.forge),
        *((key.replace("_", " "), text) for key, text in value.gitea.items()), *agents,
    ]  # fmt: skip


def _credential(value: Credential) -> Pairs:
    used = ", ".join(value.used_by) or "no agent declares it"
    return [("name", value.name), ("place", value.place), ("updated", ago(value.updated_at)), ("used by", used)]


def _webhook(value: Webhook) -> Pairs:
    rest = f", left alone until {stamp(value.blocked_until)}" if value.blocked_until else ""
    return [
        ("id", value.id), ("url", value.url), *(("" if at else "events", kind) for at, kind in enumerate(value.events)),
        ("projects", ", ".join(value.projects) or "all"), ("state", value.state.value + (f": {value.reason}" if value.reason else "")),
        ("failing", f"{value.failures} in a row{rest}" if value.failures else ""), ("secret", getattr(value, "secret", "")),
        ("old secret", f"signs until {stamp(value.old_secret_until)}" if value.old_secret_until else ""),
        ("created", ago(value.created_at)), ("by", value.created_by),
    ]  # fmt: skip


def _delivery(value: Delivery) -> Pairs:
    tries = [(one, str(one.status or "no answer") + (f", {one.error}" if one.error else "")) for one in value.attempts]
    return [
        ("id", value.id), ("webhook", value.webhook), ("event", value.kind), ("seq", str(value.seq or "")), ("state", value.state.value),
        ("next try", stamp(value.due_at) if value.due_at else ""),
        *(("" if at else "tries", f"{ago(one.at)}: {came} ({one.duration_ms} ms)") for at, (one, came) in enumerate(tries)),
        ("answer", value.attempts[-1].answer if value.attempts else ""),
    ]  # fmt: skip


def _key(value: Key) -> Pairs:
    return [
        ("id", value.id), ("name", value.name), ("begins with", f"rdev_sk_{value.prefix}_"), ("state", _stands(value)),
        ("scopes", ", ".join(value.scopes)), ("projects", ", ".join(value.projects) or "all"), ("from", ", ".join(value.cidrs) or "anywhere"),
        ("created", f"{ago(value.created_at)} by {value.created_by}"), ("expires", _until(value)),
        ("last used", ago(value.last_used_at) if value.last_used_at else "never"),
        ("revoked", ago(value.revoked_at) if value.revoked_at else ""),
    ]  # fmt: skip


def _stands(key: Key) -> str:
    over = key.expires_at is not None and key.expires_at <= datetime.now(UTC)
    return "revoked" if key.revoked_at else "expired" if over else "in force"


def _until(key: Key) -> str:
    return key.expires_at.astimezone().strftime("%Y-%m-%d %H:%M") if key.expires_at else "never"


def _whose(value: Any) -> str:
    words = {"here": "this context's", "context": "another context's", "nobody": "of this installation, without a record"}
    return words.get(value.whose) or f"of the installation {value.installation or 'nobody named'}"


def _copied(value: Copied) -> Pairs:
    folders = f" and {value.folders} folders" if value.folders else ""
    return [
        ("copied", f"{value.files} files{folders}, {sized(value.bytes)}"),
        ("to", value.here if value.out else f"{value.project}:{value.path}"),
        ("left out", str(value.skipped_count) if value.skipped_count else ""),
    ]


def _preview(value: Preview) -> Pairs:
    return [
        ("url", value.url), ("session", value.session), ("port", str(value.port)), ("state", value.state.value), ("project", value.project),
        ("opened", f"{ago(value.created_at)} by {value.actor}"), ("closed", ago(value.closed_at) if value.closed_at else ""),
    ]  # fmt: skip


# by the name of a type, so that showing one kind of thing does not load the others
_CARDS: dict[str, Callable[[Any], Pairs]] = {
    "Project": _project, "ProjectShown": _project, "ProjectStatus": _status, "Command": _command, "Context": _context, "AgentInfo": _agent,
    "ProjectSync": _sync, "Credential": _credential, "Copied": _copied, "Webhook": _webhook, "WebhookSecret": _webhook, "Delivery": _delivery,
    "Key": _key, "Preview": _preview,
}  # fmt: skip


# kinds with tables in a module of their own, which whoever is shown other things need not load
_ELSEWHERE = {
    **dict.fromkeys(("Receipt", "Replay", "Checkin"), "review_tables"),
    **dict.fromkeys(("Checkout", "CheckoutFolder", "CheckoutStarted", "Branch"), "checkout_tables"),
    "Session": "session_tables",
    **dict.fromkeys(("Worker", "Audit"), "pool_tables"),
}


def _elsewhere(kind: str) -> Any:
    import importlib  # noqa: PLC0415 -- only for these

    return importlib.import_module(f"rdev_cli.faces.cli.{_ELSEWHERE[kind]}")


def _line(argv: Sequence[str]) -> str:
    import shlex  # noqa: PLC0415 -- only to show a command line

    return shlex.join(argv)


def _took(command: Command) -> str:
    return "" if command.duration_ms is None else spoken(command.duration_ms / 1000)


# many things, for a person


# the last column of some tables is foreign text of any length: characters of it that are shown unless somebody wants all of it
_MOST = {"COMMAND": 60, "WHAT": 100, "DESCRIPTION": 1000}
_LEAST = 12  # characters of it that are worth a column

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
        ("COMMAND", False, lambda c: _line(c.argv)),
    ),
    "Job": (
        ("ID", False, lambda j: j.id),
        ("OPERATION", False, lambda j: j.operation),
        ("PROJECT", False, lambda j: j.project or "-"),
        ("STATE", False, lambda j: j.state.value),
        ("ASKED", False, lambda j: ago(j.created_at)),
        ("BY", True, lambda j: j.actor),
        ("WHAT", False, lambda j: j.error.message if j.error else ""),
    ),
    "Event": (
        ("SEQ", False, lambda e: str(e.seq)),
        ("AT", False, lambda e: e.at.astimezone().strftime("%H:%M:%S")),
        ("KIND", False, lambda e: e.kind),
        ("SUBJECT", False, lambda e: e.subject),
        ("BY", True, lambda e: e.actor),
        ("WHAT", False, lambda e: ", ".join(f"{k}={_value(v)}" for k, v in e.data.items() if v not in ("", None))),
    ),
    "AgentInfo": (
        ("NAME", False, lambda a: a.name),
        ("DEFAULT", False, lambda a: "*" if a.default else ""),
        ("MODEL", False, lambda a: a.model or "-"),
        ("PROGRAM", False, lambda a: a.program or "not on this machine"),
        ("GIVEN", True, lambda a: ",".join(a.given)),
    ),
    "Usage": (
        ("PROJECT", False, lambda u: u.project),
        ("AGENT", False, lambda u: u.agent),
        ("MODEL", False, lambda u: u.model or "-"),
        ("RUNS", False, lambda u: str(u.runs)),
        ("TOKENS IN", False, lambda u: str(u.input_tokens)),
        ("OUT", False, lambda u: str(u.output_tokens)),
        ("USD", False, lambda u: f"{u.cost_usd:.4f}"),
        ("LAST", True, lambda u: ago(u.last_at) if u.last_at else ""),
    ),
    "Context": (
        ("NAME", False, lambda c: c.name),
        ("CURRENT", False, lambda c: "*" if c.current else ""),
        ("RUNTIME", False, lambda c: c.runtime),
        ("ISOLATION", False, lambda c: c.isolation),
        ("NAMESPACE", False, lambda c: str(c.cluster.get("namespace") or "-")),
    ),
    "Credential": (
        ("NAME", False, lambda c: c.name),
        ("PLACE", False, lambda c: c.place),
        ("UPDATED", False, lambda c: ago(c.updated_at)),
        ("USED BY", False, lambda c: ", ".join(c.used_by) or "-"),
    ),
    "Webhook": (
        ("ID", False, lambda w: w.id),
        ("STATE", False, lambda w: w.state.value),
        ("EVENTS", False, lambda w: ",".join(w.events)),
        ("PROJECTS", False, lambda w: ",".join(w.projects) or "all"),
        ("FAILURES", True, lambda w: str(w.failures)),
        ("URL", False, lambda w: w.url),
    ),
    "Delivery": (
        ("ID", False, lambda d: d.id),
        ("STATE", False, lambda d: d.state.value),
        ("EVENT", False, lambda d: d.kind),
        ("CREATED", False, lambda d: ago(d.created_at)),
        ("TRIES", False, lambda d: str(len(d.attempts))),
        ("WEBHOOK", True, lambda d: d.webhook),
        ("LAST", False, lambda d: (d.attempts[-1].error or str(d.attempts[-1].status)) if d.attempts else "-"),
    ),
    "Key": (
        ("ID", False, lambda k: k.id),
        ("NAME", False, lambda k: k.name),
        ("STATE", False, _stands),
        ("SCOPES", False, lambda k: ",".join(k.scopes)),
        ("PROJECTS", False, lambda k: ",".join(k.projects) or "all"),
        ("EXPIRES", False, _until),
        ("USED", False, lambda k: ago(k.last_used_at) if k.last_used_at else "never"),
        ("PREFIX", True, lambda k: k.prefix),
        ("FROM", True, lambda k: ",".join(k.cidrs) or "anywhere"),
        ("BY", True, lambda k: k.created_by),
    ),
    "Preview": (
        ("SESSION", False, lambda p: p.session),
        ("PORT", False, lambda p: str(p.port)),
        ("OPENED", True, lambda p: ago(p.created_at)),
        ("BY", True, lambda p: p.actor),
        ("URL", False, lambda p: p.url),
    ),
    "Setting": (("NAME", False, lambda s: s.name), ("VALUE", False, lambda s: s.value), ("ORIGIN", False, lambda s: s.origin)),
    "Holding": (
        ("FATE", False, lambda h: h.fate.value),
        ("KIND", False, lambda h: h.kind),
        ("CONTEXT", False, lambda h: h.context),
        ("SIZE", False, lambda h: sized(h.bytes) if h.bytes else ""),
        ("NAME", False, lambda h: h.name + (f" ({h.reason})" if h.reason else "")),
    ),
    "ProjectFound": (
        ("NAME", False, lambda p: p.name or "-"),
        ("STATE", False, lambda p: p.state or "-"),
        ("WHOSE", False, _whose),
        ("CREATED", False, lambda p: ago(p.created_at)),
        ("POD", False, lambda p: p.pod),
    ),
    "Orphan": (
        ("STATE", False, lambda o: o.state.value),
        ("KIND", False, lambda o: o.kind),
        ("NAME", False, lambda o: o.name),
        ("PROJECT", False, lambda o: o.project or "-"),
        ("AGE", False, lambda o: spoken(o.age_seconds)),
        ("NAMESPACE", True, lambda o: o.namespace),
        ("UID", True, lambda o: o.uid),
        ("REASON", False, lambda o: o.reason),
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
    if _width(text) <= most:
        return text
    cut = text[: most - 3]
    while _width(cut) > most - 3:
        cut = cut[:-1]
    return cut + "..."


def rows(values: Sequence[Any], *, wide: bool, head: bool = True, columns: int = 0) -> str:
    """Return many things as a table, fit for `columns` (0: any) unless it is a wide one; a page that goes on under another has no head."""
    if not values:
        return ""
    kind = type(values[0]).__name__
    columns_of = _COLUMNS[kind] if kind in _COLUMNS else _elsewhere(kind).COLUMNS[kind]
    kinds = [(name, get) for name, only_wide, get in columns_of if wide or not only_wide]
    cells = [tuple(get(one) if wide or name not in _MOST else _short(get(one), _MOST[name]) for name, get in kinds) for one in values]
    return table(tuple(name for name, _ in kinds), cells, 0 if wide else columns, goes_on=not head)
