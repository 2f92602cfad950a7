"""The one way from domain values to plain data and to the JSON that every door speaks."""

import json
import re
import types
from base64 import b64decode, b64encode
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from enum import Enum
from pathlib import PurePath
from typing import Any, Union, get_args, get_origin, get_type_hints

# What JSON may hold as it is, but a terminal obeys: DEL and C1, and what hides or turns text. Escaped, it is the same document.
_UNSEEN = re.compile("[\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]")


def stamp(moment: datetime) -> str:
    """Return an aware time as RFC 3339 in UTC with milliseconds and `Z`."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def moment(text: str) -> datetime:
    """Return the aware time that `stamp` wrote."""
    return datetime.fromisoformat(text)


def _raw(value: Any) -> bool:
    """Say whether value is bytes, or text smuggling bytes (surrogates), that no UTF-8 document can hold."""
    try:
        if isinstance(value, bytes):
            value.decode()
        elif isinstance(value, str):
            value.encode("utf-8", "surrogateescape").decode()  # half a surrogate pair is no byte: `plain` replaces it
        elif isinstance(value, list | tuple):
            return any(_raw(v) for v in value if isinstance(v, str | bytes))
    except UnicodeDecodeError:
        return True
    except UnicodeEncodeError:
        return False
    return False


def _b64(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_b64(v) for v in value]
    if isinstance(value, str):
        value = value.encode("utf-8", "surrogateescape" if _raw(value) else "replace")
    return b64encode(value).decode()


def _pairs(items: Any) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, value in items:
        if _raw(value):
            out[f"{key}_b64"] = _b64(value)
        else:
            out[key] = plain(value)
    return out


def plain(value: Any) -> Any:
    """Return value as dicts, lists, strings and numbers.

    Bytes that are UTF-8 become text; a field that holds others is renamed `…_b64` and holds base64.
    """
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, str):
        return text if (text := str(value)).isascii() else text.encode("utf-8", "replace").decode()
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if is_dataclass(value) and not isinstance(value, type):
        return _pairs((f.name, getattr(value, f.name)) for f in fields(value) if not f.name.startswith("_"))
    if isinstance(value, datetime):
        return stamp(value)
    if isinstance(value, dict):
        return _pairs(value.items())
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(v) for v in value]
    if isinstance(value, PurePath):
        return str(value)
    return str(value)  # Secret and its like show what they allow


def document(value: Any) -> Any:
    """Return what a door answers with: a list of things becomes `{"items": [...], "next": null}`, all else stays."""
    return {"items": list(value), "next": None} if isinstance(value, list | tuple) else value


def to_json(value: Any) -> str:
    """Return value as the JSON every door speaks: sorted keys, compact, UTF-8, no newline at the end."""
    text = json.dumps(plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    # outside of strings JSON has none of these
    return _UNSEEN.sub(lambda m: f"\\u{ord(m[0]):04x}", text)


def value(hint: Any, data: Any) -> Any:
    """Return the domain value of a type that `plain` made this data of."""
    origin, given = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return None if data is None else value(next(one for one in given if one is not type(None)), data)
    if origin is tuple:
        return tuple(value(given[0], each) for each in data)
    if is_dataclass(hint) and isinstance(hint, type):
        hints = get_type_hints(hint)
        return hint(
            **{f.name: value(hints[f.name], _cell(data, f.name)) for f in fields(hint) if f.name in data or f"{f.name}_b64" in data}
        )
    if hint is datetime:
        return moment(data)
    return hint(data) if isinstance(hint, type) and issubclass(hint, Enum) else data


def _cell(data: Any, name: str) -> Any:
    if name in data:
        return data[name]
    found = data[f"{name}_b64"]
    decoded = [b64decode(each).decode("utf-8", "surrogateescape") for each in (found if isinstance(found, list) else [found])]
    return decoded if isinstance(found, list) else decoded[0]
