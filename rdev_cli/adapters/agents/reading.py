"""What the readers of agents' streams share: a line as a document, and its words and numbers within bounds."""

import json
import math
from typing import Any

LINE_MAX = 16 << 20  # bytes; a longer line tells nothing
TEXT_MAX = 1 << 16  # characters of what it says
ANSWER_MAX = 2000  # characters of a tool's result
TARGET_MAX = 200  # characters, also of the names it gives
_COUNT_MAX = 2**63 - 1  # the ledger's integers are SQLite's

# the first of these in a tool's input says what it was used on
_TARGETS = ("file_path", "filePath", "notebook_path", "command", "pattern", "path", "url", "query", "description")


def document(line: bytes) -> dict[str, Any]:
    """Return the JSON object on a line, an empty one for anything else."""
    if len(line) > LINE_MAX:
        return {}
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def inner(value: object) -> dict[str, Any]:
    """Return an object inside a document, an empty one where there is something else."""
    return value if isinstance(value, dict) else {}


def text(value: object, most: int = TEXT_MAX) -> str:
    """Return words, cut to `most` characters; empty for what is no text."""
    if not isinstance(value, str):
        return ""
    cut = value if len(value) <= most else value[: most - 1] + "…"
    # JSON may hold halves of surrogate pairs, which no UTF-8 can carry on
    return cut.encode("utf-8", "replace").decode()


def name(value: object) -> str:
    """Return a name: short words."""
    return text(value, TARGET_MAX)


def target(given: object) -> str:
    """Return what a tool was used on, in a few words, from its input."""
    for key in _TARGETS:
        value = inner(given).get(key)
        if isinstance(value, str) and value.strip():
            return text(value.strip().splitlines()[0], TARGET_MAX)
    return ""


def count(*values: object) -> int:
    """Return the sum of those that are positive integers."""
    total = sum(value for value in values if type(value) is int and value > 0)
    return min(total, _COUNT_MAX)


def cost(value: object) -> float:
    """Return US dollars, 0 for what is no finite positive number."""
    # a bool is an int, JSON's parser takes NaN, and an int may be too large for a float
    if type(value) is int:
        value = float(min(max(value, 0), _COUNT_MAX))
    return value if isinstance(value, float) and math.isfinite(value) and value > 0 else 0.0
