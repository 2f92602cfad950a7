"""Man pages: rdev(1), and one for each noun and each command at the root, from the same tree as docs/cli.md."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import typer

Leaf = tuple[tuple[str, ...], Any]  # the words that name a command, and the command
Row = tuple[str, str]  # how it is typed, what it means
_ESCAPES = str.maketrans({"\\": "\\e", "-": "\\-", "'": "\\(aq", "~": "\\(ti", "^": "\\(ha", '"': "\\(dq", "`": None})


def plain(text: str) -> str:
    """Return text on one line as roff prints it: nothing of it is a request, an escape or a typographic quote."""
    text = " ".join(text.translate(_ESCAPES).split())
    return f"\\&{text}" if text.startswith(".") else text


def bold(text: str) -> str:
    """Return text in bold."""
    return f"\\fB{plain(text)}\\fR"


def head(name: str, summary: str) -> list[str]:
    """Return how a page begins; it has no date and no version, so that it changes with its words only."""
    return [
        '.\\" made by docs/generate.py (`just docs`); do not edit',
        f'.TH {plain(name.upper())} 1 "" rdev rdev',
        ".nh",
        ".ad l",
        ".SH NAME",
        f"{plain(name)} \\- {plain(summary[:1].lower() + summary[1:].rstrip('.'))}",
    ]


def prose(text: str) -> list[str]:
    """Return the paragraphs of a text."""
    return [line for one in text.strip().split("\n\n") for line in (".PP", plain(one))]


def terms(rows: Iterable[Row]) -> list[str]:
    """Return a list of terms and what they mean."""
    return [line for typed, meaning in rows for line in (".TP", bold(typed), plain(meaning))]


def typed_as(typed: str, command: Any) -> str:
    """Return how a command is typed."""
    pieces = " ".join(piece for piece in command.collect_usage_pieces(typer.Context(command, info_name=typed)) if piece)
    return f"{bold(typed)} {plain(pieces)}"


def taken(typed: str, command: Any, shared: Mapping[str | None, Row]) -> list[str]:
    """Return the arguments and the options of a command, but for those that every command has."""
    ctx = typer.Context(command, info_name=typed)
    params = sorted(command.params, key=lambda param: str(param.param_type_name))  # "argument" comes before "option"
    records = [record for param in params if param.name not in shared and (record := param.get_help_record(ctx))]
    return terms((record[0].replace("<int range>", "N"), record[1]) for record in records)


def page(name: str, summary: str, found: Sequence[Leaf], shared: Mapping[str | None, Row]) -> str:
    """Return the page of a command at the root, or of a noun with all its commands."""
    commands = [(" ".join(("rdev", *path)), command) for path, command in found if not hasattr(command, "commands")]
    lines = [*head(f"rdev-{name}", summary), ".SH SYNOPSIS"]
    lines.append("\n.br\n".join(typed_as(*one) for one in commands))
    lines.append(".SH DESCRIPTION")
    options: list[str] = []
    for typed, command in commands:
        title = [f'.SS "{plain(typed)}"'] if len(commands) > 1 else []
        lines += [*title, *prose(command.help or "")]
        if command.epilog:
            examples = [line for one in command.epilog.split(" · ") for line in (plain(one), ".br")][:-1]
            lines += [".PP", "For example:", ".PP", ".RS 4", *examples, ".RE"]
        if own := taken(typed, command, shared):
            options += [*title, *own]
    lines += [
        ".SH OPTIONS",
        *options,
        ".PP",
        "What every command takes, and the twins of options in the environment, are in",
        ".BR rdev (1).",
    ]
    lines += [".SH EXIT STATUS", "0 if it is done, and known to be done; what the others mean is in", ".BR rdev (1).", ".SH SEE ALSO"]
    return "\n".join([*lines, ".BR rdev (1)", ""])


def pages(
    root: Any, summaries: Mapping[str, str], found: Sequence[Leaf], shared: Mapping[str | None, Row], exits: Sequence[Row], twins: str
) -> dict[str, str]:
    """Return every page by the name of its file."""
    lines = [*head("rdev", root.help), ".SH SYNOPSIS", f"{bold('rdev')} {plain('COMMAND [OPTIONS] [ARGS]')}"]
    lines += [".SH DESCRIPTION", *prose(f"{root.help}\n\nNew here? Type: rdev demo. Each command has a page of its own."), ".SS Commands"]
    lines += [*terms((f"rdev {name}", summary) for name, summary in summaries.items()), ".SH OPTIONS", "Every command takes:"]
    own = [record for param in root.params if (record := param.get_help_record(typer.Context(root, info_name="rdev")))]
    lines += [*terms(shared.values()), ".PP", "rdev alone takes:", *terms(own), ".SH ENVIRONMENT", *prose(twins)]
    lines += [".SH EXIT STATUS", *terms(exits), ".SH SEE ALSO"]
    lines += [",\n".join(f".BR {plain(f'rdev-{name}')} (1)" for name in summaries), ""]
    made = {"rdev.1": "\n".join(lines)}
    for name, summary in summaries.items():
        made[f"rdev-{name}.1"] = page(name, summary, [leaf for leaf in found if leaf[0][0] == name], shared)
    return made
