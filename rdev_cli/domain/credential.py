"""Credentials: a name, where its value is kept, and the rules for both. The values themselves are a vault's."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from rdev_cli.domain.errors import Invalid
from rdev_cli.domain.values import Secret

VALUE_MAX = 1 << 16  # bytes
FILE_MAX = 1 << 20  # bytes of a file with many
GITEA_TOKEN = "GITEA_TOKEN"  # noqa: S105 -- the name of the forge's credential
HOOK_SECRET = "GITEA_HOOK_SECRET"  # noqa: S105 -- the name of what the forge signs its messages with

_NAME = re.compile(r"[A-Z][A-Z0-9_]{0,63}")
_LINE = re.compile(r"(?:export[ \t]+)?([A-Za-z0-9_.-]+)[ \t]*=[ \t]*(.*)")
# a quoted value and nothing behind it but a comment
_SINGLE = re.compile(r"'([^']*)'\s*(?:#.*)?")
_DOUBLE = re.compile(r'"((?:[^"\\]|\\.)*)"\s*(?:#.*)?')
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """What is known of a credential without opening the vault."""

    name: str
    place: str  # keyring, file or passphrase
    updated_at: datetime
    used_by: tuple[str, ...] = ()  # the agents that take it; found anew each time, not kept


def credential_name(text: str) -> str:
    """Return text if it can name a credential, which is also the variable that an agent gets, else raise Invalid."""
    if not _NAME.fullmatch(text):
        raise Invalid(
            "that is not the name of a credential",  # it may be the value, so it is not repeated
            hint="use 1 to 64 of A-Z, 0-9 and '_', starting with a letter, and the value by stdin: rdev credential set ANTHROPIC_API_KEY",
            code="INVALID_NAME",
            field="credential name",
        )
    return text


def credential_value(data: bytes) -> Secret:
    """Return what was typed or read as a value, without one newline at its end; Invalid if no variable can hold it."""
    if len(data) > VALUE_MAX + 2:
        raise _bad("longer than 64 KiB", "a credential is a key, a token or a certificate")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        # nothing of the value may stand in an error, and the decoder's own holds all of it
        raise _bad("no text in UTF-8", "encode it first, by base64 for example") from None
    text = text.removesuffix("\n").removesuffix("\r") if text.endswith("\n") else text
    if not text:
        raise _bad("empty", "pipe it in, or name a file: --from-file FILE")
    if "\0" in text:
        raise _bad("not usable: it holds a NUL byte", "encode it first, by base64 for example")
    if len(text.encode()) > VALUE_MAX:
        raise _bad("longer than 64 KiB", "a credential is a key, a token or a certificate")
    return Secret(text)


def _bad(what: str, hint: str) -> Invalid:
    return Invalid(f"the value is {what}", hint=hint, field="value")


def parse_env(data: bytes) -> Mapping[str, Secret]:
    """Return the credentials in a file of lines KEY=VALUE, as .env files have them; Invalid names the line, never what it holds.

    Comments, `export` and quotes are understood, in double quotes also backslashes. Nothing is expanded.
    """
    if len(data) > FILE_MAX:
        raise Invalid("the file is longer than 1 MiB", hint="lines KEY=VALUE are expected", field="file")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Invalid("the file is no text in UTF-8", hint="lines KEY=VALUE are expected", field="file") from None
    found: dict[str, Secret] = {}
    for number, name, value in _lines(text):
        try:
            credential_name(name)
            if name in found:
                raise Invalid("the name stands twice")
            found[name] = credential_value(value.encode())
        except Invalid as e:
            what = "the name is not allowed: A-Z, 0-9 and _ only" if e.code == "INVALID_NAME" else e.message
            raise _at(number, what, "correct the line, or remove it") from None
    if not found:
        raise Invalid("there is no credential in the file", hint="lines KEY=VALUE are expected", field="file")
    return found


def _lines(text: str) -> Iterator[tuple[int, str, str]]:
    for number, raw in enumerate(text.split("\n"), 1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            raise _at(number, "it is not KEY=VALUE", "comments begin with #")
        yield number, match[1], _unquoted(number, match[2])


def _unquoted(number: int, text: str) -> str:
    if text[:1] in ("'", '"'):
        match = (_SINGLE if text[0] == "'" else _DOUBLE).fullmatch(text)
        if match is None:
            raise _at(number, "the quotes do not match", "close them on the same line; a value of several lines: rdev credential set NAME")
        return match[1] if text[0] == "'" else re.sub(r"\\(.)", lambda m: _ESCAPES.get(m[1], m[1]), match[1])
    return re.sub(r"(^|\s+)#.*", "", text)


def _at(number: int, what: str, hint: str) -> Invalid:
    return Invalid(f"line {number}: {what}", hint=f"{hint}; nothing was kept", field="file", line=number)
