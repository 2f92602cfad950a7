"""The secret scan: what a change must not carry into a repository, told by file and line and never by its value."""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass
from fnmatch import fnmatchcase
from math import log2
from typing import TYPE_CHECKING

from rdev_cli.domain.errors import Conflict, RdevError
from rdev_cli.domain.values import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from rdev_cli.domain.project import Project
    from rdev_cli.ports import World

ALLOWED = ".rdev-allow-secrets"  # paths, or patterns of them, in which a secret is none; only as the target branch has it
SHORTEST = 12  # characters of a credential's value that is looked for; a shorter one stands in many texts by chance
NAMED = 10  # places that a message names; the context has up to MOST
MOST = 200
_WORDS = ("_URL", "_MODEL", "_HOST", "_REGION")  # credentials of such names are settings, not secrets

# Each has a form that nothing else has, so that a hit is one.
_KINDS: tuple[tuple[str, re.Pattern[bytes]], ...] = tuple(
    (kind, re.compile(pattern))
    for kind, pattern in (
        ("a private key", rb"-----BEGIN (?:[A-Z0-9]{1,12} ){0,2}PRIVATE KEY(?: BLOCK)?-----(?s:.{0,300}?)[A-Za-z0-9+/]{32}"),
        ("an rdev key", rb"\brdev_sk_[a-z0-9]{8}_[0-9a-f]{32}\b"),
        ("an Anthropic key", rb"\bsk-ant-[a-z0-9]{2,12}-[A-Za-z0-9_-]{20,}"),
        ("an OpenAI key", rb"\bsk-[A-Za-z0-9_-]{8,120}T3BlbkFJ[A-Za-z0-9_-]{16,}"),
        ("a GitHub token", rb"\b(?:gh[pousr]_[A-Za-z0-9]{36,255}|github_pat_[A-Za-z0-9_]{60,255})"),
        ("a GitLab token", rb"\bgl(?:pat|dt|rt|cbt|ptt|soat)-[A-Za-z0-9_-]{20,}"),
        (
            "a Gitea token",
            rb"(?i)\b(?:gitea|forgejo)[a-z0-9_. -]{0,24}(?:token|secret|pat)\b[\"']?\s{0,4}[:=]{1,2}\s{0,4}[\"']?[0-9a-f]{40}\b",
        ),
        ("an AWS key", rb"\b(?:AKIA|ASIA)(?![A-Z2-7]{9}EXAMPLE)[A-Z2-7]{16}\b"),
        ("a Google key", rb"\bAIza[0-9A-Za-z_-]{35}(?![0-9A-Za-z_-])"),
        (
            "a Slack token",
            rb"\bxox[abeoprs]-[0-9][A-Za-z0-9-]{20,}|\bhooks\.slack\.com/services/T[A-Z0-9]{6,}/B[A-Z0-9]{6,}/[A-Za-z0-9]{20,}",
        ),
        ("a Stripe key", rb"\b[rs]k_live_[A-Za-z0-9]{20,}"),
        ("an npm token", rb"\bnpm_[A-Za-z0-9]{36}\b"),
        ("a PyPI token", rb"\bpypi-AgEI[A-Za-z0-9_-]{50,}"),
        ("a Docker token", rb"\bdckr_[po]at_[A-Za-z0-9_-]{27,}"),
        ("a Hugging Face token", rb"\bhf_[A-Za-z0-9]{34}\b"),
        ("a SendGrid key", rb"\bSG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}\b"),
        ("a webhook's secret", rb"\bwhsec_[A-Za-z0-9+/]{32,}={0,2}"),
    )
)
# A value is a secret by its looks only behind a name that says so.
_ASSIGNED = re.compile(
    rb"(?i)(?<![a-z0-9])[a-z0-9_.-]{0,40}?"
    rb"(?:passw(?:or)?d|passphrase|secret|token|(?:api|access|auth|secret|private|encryption|signing|master|account|storage)[_-]?key)"
    rb"[\"']?\s{0,8}(?::|=|:=|=>)\s{0,8}[\"']?([A-Za-z0-9+/_~.=-]{20,200})(?![A-Za-z0-9+/_~.=-])"
)
_IN_URL = re.compile(rb"\b[a-z][a-z0-9+.-]{1,20}://[^/\s:@\"'<>]{1,64}:([A-Za-z0-9+_~.=!$%^&*-]{12,200})@[A-Za-z0-9\[]")
_WORDLIKE = re.compile(rb"[A-Za-z]+[0-9]{0,3}(?:[_.-]+(?:[A-Za-z]+[0-9]{0,3}|[0-9]{1,3}))*")
_HEX = re.compile(rb"(?i)[0-9a-f]+")
_UNREAL = re.compile(rb"(?i)example|placeholder|change.?me|your[_-]|dummy|redacted|(.)\1{5}|012345|abcdef0|123456789")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """Where something looks like a secret, and of which kind; what it is stands nowhere."""

    file: str
    line: int
    kind: str


def values(world: World) -> tuple[tuple[bytes, ...], tuple[str, ...]]:
    """Return the values of this context's credentials that are secrets, and words about those that could not be read."""
    from rdev_cli.ops import credentials  # noqa: PLC0415 -- with the check-in, not with its module

    house, found, unread = world.house, [], []
    for one in house.store.credentials():
        if one.name.endswith(_WORDS):
            continue
        try:
            value = credentials.reveal(house, one).reveal().strip()
        except RdevError as e:
            unread.append(f"the value of {one.name} could not be looked for: {e.message}")
            continue
        if len(value) >= SHORTEST:
            found.append(value.encode())
    return tuple(found), tuple(unread)


def scan(
    blobs: Iterable[tuple[str, int, bytes]],
    *,
    own: Sequence[bytes] = (),
    allowed: Sequence[str] = (),
    before: Callable[[str], bytes | None] = lambda _: None,
) -> tuple[tuple[Hit, ...], tuple[str, ...]]:
    """Look through what a change adds; return what was found, and the paths of which only the beginning could be looked at.

    `own` are values that are secrets whatever they look like, `allowed` patterns of paths in which only those count, and `before`
    gives what stood at a path before the change: what stood there already is not the change's.
    """
    hits: list[Hit] = []
    cut: list[str] = []
    for path, size, head in blobs:
        if size > len(head):
            cut.append(path)
        found = [*_own(head, own), *([] if any(_covers(one, path) for one in allowed) else _looks(head))]
        if not found:
            continue
        old = before(path) or b""
        starts = [0, *(match.end() for match in re.finditer(b"\n", head))]
        for at, text, kind in found:
            if text not in old:
                hits.append(Hit(file=path, line=bisect_right(starts, at), kind=kind))
    unique = sorted(set(hits), key=lambda hit: (hit.file, hit.line, hit.kind))
    return tuple(unique[:MOST]), tuple(dict.fromkeys(cut))


def allowed(world: World, project: Project, target: str) -> tuple[str, ...]:
    """Return the patterns of paths that the target branch's commit allows; a change cannot allow itself anything."""
    text = world.forge.read(project, target, ALLOWED) or b""
    lines = (line.strip() for line in text.decode(errors="replace").splitlines())
    return tuple(line for line in lines if line and not line.startswith("#"))


def refuse(hits: Sequence[Hit], *, target: str) -> None:
    """Raise Conflict SECRET_FOUND that names every place, if there is any."""
    if not hits:
        return
    named = ", ".join(f"{shown(hit.file, most=120)}:{hit.line} ({hit.kind})" for hit in hits[:NAMED])
    more = f" and {len(hits) - NAMED} more" if len(hits) > NAMED else ""
    raise Conflict(
        f"the change holds what looks like a secret, so it stays where it is: {named}{more}",
        hint=f"take it out of every commit of the change, and out of use; where it is none, name the file in {ALLOWED} on {target}",
        code="SECRET_FOUND",
        found=[{"file": hit.file, "line": hit.line, "kind": hit.kind} for hit in hits],
    )


def _covers(pattern: str, path: str) -> bool:
    return fnmatchcase(path, pattern) or (pattern.endswith("/") and path.startswith(pattern))


def _own(data: bytes, own: Sequence[bytes]) -> Iterable[tuple[int, bytes, str]]:
    for value in own:
        if (at := data.find(value)) >= 0:
            yield at, value, "the value of a credential of this context"


def _looks(data: bytes) -> Iterable[tuple[int, bytes, str]]:
    taken: set[int] = set()
    for kind, pattern in _KINDS:
        for match in pattern.finditer(data):
            taken.update((match.start(), match.end()))
            yield match.start(), match[0], kind
    for pattern, kind in ((_ASSIGNED, "a secret by its name and its looks"), (_IN_URL, "a password in a URL")):
        for match in pattern.finditer(data):
            if _random(match[1]) and match.end(1) not in taken:
                yield match.start(1), match[1], kind


def _random(value: bytes) -> bool:
    """Say whether a value looks drawn at random: no word, no stand-in, and as many different characters as chance gives."""
    if _WORDLIKE.fullmatch(value) or _UNREAL.search(value):
        return False
    digits = sum(48 <= byte <= 57 for byte in value)
    if not digits or digits == len(value):
        return False
    entropy = -sum(n / len(value) * log2(n / len(value)) for n in (value.count(bytes((byte,))) for byte in set(value)))
    return entropy >= (3.0 if _HEX.fullmatch(value) else 3.3 if len(value) < 20 else 3.7)
