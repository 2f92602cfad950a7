"""Names, ids, durations and secrets: what is true of them wherever they are used."""

import re
from datetime import datetime
from typing import NewType

from rdev_cli.domain.errors import Invalid

ProjectId = NewType("ProjectId", str)
CommandId = NewType("CommandId", str)
OperationId = NewType("OperationId", str)
SessionId = NewType("SessionId", str)

_NAME = re.compile(r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?")
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@\[\]-]{0,199}")
_TOOL = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
_CROCKFORD = "0123456789abcdefghjkmnpqrstvwxyz"
_DURATION = re.compile(r"([1-9][0-9]{0,8})(s|m|h|d)")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
# what git takes for no name of a branch (git help check-ref-format), and a leading `-`, which is an option to whoever forgets to end them
_NO_BRANCH = re.compile(r"^[-/.]|[/.]$|//|/\.|\.\.|@\{|\.lock(/|$)|[\x00-\x20\x7f~^:?*\[\\]|^HEAD$")
_GRAPHIC = re.compile(r"[^\x20-\x7e]")
# what drives a terminal or a page's letters: controls, marks without a width, what turns the direction of what follows
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]")
# a pattern of the variables that decide which code a program runs
RULING = "(LD|DYLD)_.*|PYTHON.*|PERL5.*|NODE_OPTIONS|BASH_ENV|ENV|IFS|PATH|SHELLOPTS|BASHOPTS|PS4"
LONGEST = 366 * 86400  # seconds of the longest duration that is taken
ID_PREFIXES = ("prj_", "ses_", "cmd_", "chk_", "tsk_", "wrk_", "bld_", "key_", "whk_", "dlv_", "opn_", "rcp_", "sgn_")


def shown(text: str, *, most: int = 60) -> str:
    """Return foreign text fit for a message: control and non-ASCII characters escaped, cut at `most` characters."""
    safe = _GRAPHIC.sub(lambda m: m[0].encode("unicode_escape", "backslashreplace").decode("ascii", "replace"), text)
    return safe if len(safe) <= most else safe[: most - 3] + "..."


def clean(text: str, *, lines: bool = False) -> str:
    """Return foreign text in which nothing can drive a terminal or a page: controls are shown, not obeyed; tabs and, with `lines`, ends of lines stay."""

    def told(match: re.Match[str]) -> str:
        if match[0] in "\t\n":
            return match[0] if lines else " "
        return match[0].encode("unicode_escape").decode()

    return _UNSAFE.sub(told, text)


def name(text: str, what: str = "name") -> str:
    """Return text if it obeys the one name rule, else raise Invalid.

    The rule makes every accepted name valid as a Kubernetes name and label value, a DNS label, a
    database and Redis user, a repository and a part of a branch, with room for suffixes.
    """
    if not _NAME.fullmatch(text):
        near = re.sub("[^a-z0-9]+", "-", text.lower()).strip("-")
        raise Invalid(
            f"{what} '{shown(text)}' is not allowed",
            hint="use 1 to 40 of a-z, 0-9 and '-', starting with a letter and not ending with '-'"
            + (f": {near}" if _NAME.fullmatch(near) else ""),
            code="INVALID_NAME",
            field=what,
        )
    return text


def word(text: str, what: str) -> str:
    """Return text if it may stand for a model, a conversation or their like: a word that no program takes for an option, else raise Invalid."""
    if not _WORD.fullmatch(text):
        raise Invalid(
            f"{what} '{shown(text)}' is not allowed", hint="letters, digits and . _ : / @ [ ] -, a letter or digit first", field=what
        )
    return text


def tool(text: str) -> str:
    """Return text if it can be the name of an agent's tool, else raise Invalid."""
    if not _TOOL.fullmatch(text):
        raise Invalid(f"'{shown(text)}' is no name of a tool", hint="names with commas between: Read,Edit,Bash", field="tools")
    return text


def branch(text: str) -> str:
    """Return text if git takes it for a branch's name and no program for an option, else raise Invalid; at most 200 bytes of UTF-8."""
    try:
        fits = 0 < len(text.encode()) <= 200 and not _NO_BRANCH.search(text)
    except UnicodeEncodeError:
        fits = False
    if not fits:
        raise Invalid(f"branch '{shown(text)}' is not allowed", hint="as git takes them, at most 200 bytes: feature/cart", field="branch")
    return text


def new_id(prefix: str, now: datetime, randomness: int) -> str:
    """Return `prefix_` + 10 characters of time (ms) + 10 of randomness (50 bits), in Crockford base32: sortable."""
    number = (int(now.timestamp() * 1000) << 50) | (randomness & ((1 << 50) - 1))
    return f"{prefix}_" + "".join(_CROCKFORD[(number >> shift) & 31] for shift in range(95, -5, -5))


def id_like(text: str, prefix: str) -> bool:
    """Say whether text is an id of that kind, or a usable beginning of one (4 characters after `_`)."""
    return re.fullmatch(rf"{prefix}_[0-9a-z]{{4,20}}", text) is not None


def seconds(text: str, field: str = "timeout") -> int:
    """Return the seconds in a duration such as 90s, 30m, 8h or 7d; raise Invalid for anything else."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise Invalid(f"{field} '{shown(text)}' is not a duration", hint="write a number and a unit: 90s, 30m, 8h or 7d", field=field)
    total = int(match[1]) * _UNITS[match[2]]
    if total > LONGEST:
        raise Invalid(f"{field} '{shown(text)}' is longer than a year", hint="366d is the most", field=field)
    return total


def spoken(total: float) -> str:
    """Return a number of seconds as people say it: 0.4s, 12s, 3m20s, 2h05m."""
    if total < 10:
        return f"{total:.1f}s"
    if total < 60:
        return f"{total:.0f}s"
    minutes, rest = divmod(round(total), 60)
    if minutes < 60:
        return f"{minutes}m{rest:02d}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}m"


def coarse(total: float) -> str:
    """Return a number of seconds in its largest unit, for what is long ago: 12 s, 3 min, 2h, 4d."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, " min")):
        if total >= size:
            return f"{int(total // size)}{unit}"
    return f"{int(total)} s"


def sized(count: int) -> str:
    """Return a number of bytes as people say it: 312 B, 1.5 MiB."""
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


class Secret:
    """A value that shows itself only when asked by name."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the value; every use of this word can be searched for."""
        return self._value

    def __repr__(self) -> str:
        return "•••"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(("Secret", self._value))
