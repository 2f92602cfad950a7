"""What may stand next on a command line, for the shells' completion scripts: `rdev __complete WORD...`.

The words are what stands after `rdev` up to the cursor; the last one is being typed and may be empty. The answer's first line says what it is:
`:words`, and then one candidate a line, `VALUE<TAB>DESCRIPTION` (the whole word, also in `--output=json`); `:files` or `:dirs`, and then nothing,
as a shell knows its files best. A value is made of plain characters only; a description is foreign text without controls, at most 72
characters. Nothing is written and nothing is said on stderr; what cannot be read has no candidates, and the exit code is 0.

This runs at each Tab, so nothing that is slow to load may be loaded here: no typer, no enum, no re (tests/house/test_startup.py).
"""

from __future__ import annotations

import os

from rdev_cli.faces.cli.words import ARGUMENTS, GROUPS, OPTIONS, ROOT, SHARED, TAILED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    Pairs = Iterable[tuple[str, str]]


def main(words: Sequence[str]) -> int:
    """Print the answer; whoever asked may have left."""
    data = answer(words).encode("utf-8", "replace")
    try:
        while data:
            data = data[os.write(1, data) :]
    except OSError:
        pass
    return 0


def answer(words: Sequence[str]) -> str:
    """Return the answer for the words up to the cursor."""
    *before, word = words or [""]
    path = ""
    while path in GROUPS and before:
        path = f"{path} {before.pop(0)}".strip()
    if path in GROUPS:
        return _words(word, _spelled(word, ROOT if not path else ROOT[:1]) if word.startswith("-") else GROUPS[path].items())
    return _leaf(path, before, word) if path in ARGUMENTS else ":words\n"


def _leaf(path: str, before: Sequence[str], word: str) -> str:
    """Return the answer behind a command: a value of an option, an option, or an argument."""
    options = (*OPTIONS[path], *SHARED)
    kinds = {spelling: kind for spellings, kind, _ in options for spelling in spellings}
    given: dict[str, str] = {}
    pending, position, ended = "", 0, False
    for each in before:
        if pending:
            given[pending], pending = each, ""
        elif ended or not each.startswith("-") or each == "-":
            position += 1
        elif each == "--":
            if path in TAILED:
                return ":files\n"  # the words of another program
            ended = True
        elif found := _valued(each, kinds):
            option, head = found
            if head is None:
                pending = option
            else:
                given[option] = each[len(head) :]
    if pending:
        return _answer(kinds[pending] or "", word, "", given)
    if not ended and word.startswith("-"):
        option, head = _valued(word, kinds) or ("", None)
        return _words(word, _spelled(word, options)) if head is None else _answer(kinds[option] or "", word, head, given)
    if position < len(ARGUMENTS[path]):
        return _answer(ARGUMENTS[path][position], word, "", given)
    return _words(word, [("--", "what to run stands after it")] if path in TAILED and not ended else [])


def _valued(word: str, kinds: Mapping[str, str | None]) -> tuple[str, str | None] | None:
    """Return the option of a word that takes a value, and what stands before a value in the same word (None: the value is the next word)."""
    if word.startswith("--"):
        name, equals, _ = word.partition("=")
        return (name, name + equals if equals else None) if kinds.get(name) is not None else None
    for at in range(1, len(word)):  # short flags may stand together, the last one with its value: -itojson
        if (option := f"-{word[at]}") not in kinds:
            return None
        if kinds[option] is not None:
            return option, word[: at + 1] if word[at + 1 :] else None
    return None


def _spelled(word: str, options: Sequence[tuple[Sequence[str], str | None, str]]) -> Pairs:
    """Yield options in their long spelling; a short one only if it has no other, or stands there already."""
    for spellings, _, words in options:
        yield word if word in spellings else max(spellings, key=len), words


def _answer(kind: str, word: str, head: str, given: Mapping[str, str]) -> str:
    """Return the answer for a value; `head` stands before it in the same word."""
    if kind in ("files", "dirs"):
        return f":{kind}\n"
    typed = word[len(head) :]
    return _words(word, ((head + value, words) for value, words in _values(kind, typed, given)))


def _values(kind: str, typed: str, given: Mapping[str, str]) -> Pairs:
    """Return the values of a kind: the words of a closed list (`|text|json`), or names that are alive."""
    if kind.startswith("|"):
        return [(value, "") for value in kind[1:].split("|")]
    if kind not in ("project", "command", "context", "credential", "key", "checkout", "session"):
        return ()
    from rdev_cli.wiring import names  # noqa: PLC0415 -- words need no state

    if kind == "context":
        return names.contexts(os.environ)
    folder = names.folder(os.environ, given.get("--context", ""))
    found = {
        "project": names.projects, "command": names.commands, "credential": names.credentials, "key": names.keys, "checkout": names.checkouts, "session": names.sessions,
    }  # fmt: skip
    return found[kind](folder, typed)


def _words(word: str, pairs: Pairs) -> str:
    lines = [f"{value}\t{_line(words)}" if words else value for value, words in pairs if value.startswith(word)]
    return "".join(f"{line}\n" for line in (":words", *lines))


def _line(text: str) -> str:
    """Return foreign text as one short line that cannot drive a terminal."""
    safe = " ".join("".join(c if c.isprintable() else " " for c in text[:200]).split())
    return safe if len(safe) <= 72 else safe[:69] + "..."
