"""A receipt as a document that somebody hands in: read strictly, for whatever is not exactly as it was printed was changed."""

import json
import re
import types
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from datetime import datetime
from enum import Enum
from typing import Any, NewType, Union, get_args, get_origin, get_type_hints

from rdev_cli.domain.codec import moment, plain
from rdev_cli.domain.codec import value as value_of
from rdev_cli.domain.errors import Invalid
from rdev_cli.domain.review import Receipt
from rdev_cli.domain.values import shown

BYTES = 4 << 20  # of a document; what a receipt holds is bounded by what a project declares
_HEX = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_HINT = "give what rdev receipt show RECEIPT -o json printed"


def canonical(value: Any) -> bytes:
    """Return plain data as the one text that stands for it: JSON in ASCII with sorted keys and no blanks, which every language can write."""
    return json.dumps(plain(value), sort_keys=True, separators=(",", ":")).encode()


def parsed(document: bytes) -> tuple[Receipt, Sequence[str]]:
    """Return the receipt that a document holds, and what in it no receipt has or no rdev would write so; Invalid if it is none."""
    if len(document) > BYTES:
        raise _none(f"it is longer than {BYTES >> 20} MiB")
    twice: list[str] = []

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in items]
        twice.extend(f"{shown(name)} (twice)" for name in {name for name in names if names.count(name) > 1})
        return dict(items)

    def constant(text: str) -> Any:
        raise ValueError(text)

    try:
        data = json.loads(document, object_pairs_hook=pairs, parse_constant=constant)
    except (ValueError, RecursionError) as e:
        raise _none("it is no JSON") from e
    if not isinstance(data, dict):
        raise _none("it is no object")
    hints = get_type_hints(Receipt)
    wrong = [f"{shown(name)} (which no receipt has)" for name in data if name not in hints]
    for name, hint in hints.items():
        if name not in data:
            raise _none(f"{name} is missing")
        if not _fits(hint, data[name]):
            raise _none(f"its {name} is none")
    for name in ("commit", "base"):
        if not _HEX.fullmatch(data[name]) and (name == "commit" or data[name]):
            raise _none(f"its {name} is no commit")
    receipt: Receipt = value_of(Receipt, {name: data[name] for name in hints})
    again = plain(receipt)
    # times and nested objects may be written in other ways that mean the same: rdev writes one
    wrong += [name for name in hints if canonical(again.get(name)) != canonical(data[name])]
    return receipt, [*wrong, *twice]


def _fits(hint: Any, data: Any) -> bool:
    """Say whether plain data is of a type, so that nobody behind this meets anything else."""
    origin, given = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return any(data is None if one is type(None) else _fits(one, data) for one in given)
    if origin is tuple:
        return isinstance(data, list) and all(_fits(given[0], one) for one in data)
    if isinstance(hint, NewType):
        return _fits(hint.__supertype__, data)
    if hint is int:
        return isinstance(data, int) and not isinstance(data, bool) and abs(data) < 1 << 63
    if isinstance(hint, type) and is_dataclass(hint):
        hints = get_type_hints(hint)
        return isinstance(data, dict) and all(f.name in data and _fits(hints[f.name], data[f.name]) for f in fields(hint))
    if not isinstance(data, str):
        return False
    try:
        data.encode()
        if hint is datetime:
            return moment(data).tzinfo is not None
        if isinstance(hint, type) and issubclass(hint, Enum):
            hint(data)
    except ValueError:
        return False
    return True


def _none(why: str) -> Invalid:
    return Invalid(f"that is no receipt: {why}", hint=_HINT, field="receipt")
