"""YAML that others may have written: gated by its events before anything is composed.

`yaml.safe_load` alone is no defence: a merge key bomb of 463 bytes keeps it busy for ever.
"""

import re
from typing import Any

import yaml

from rdev_cli.domain.errors import Invalid
from rdev_cli.domain.values import shown

BYTES, DEPTH, NODES = 256 << 10, 20, 10_000
TEXTS = 4 << 20  # what is all text needs no trying, so more of it is taken
PLAIN = 1000  # characters of an unquoted value: a longer one is no number or date, but may take seconds to be tried as one
_UNSEEN = re.compile("[\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]")


def load(text: bytes, where: str, *, texts: bool = False) -> Any:
    """Return the plain data of one YAML document; Invalid, with line and column, for anything but plain data.

    `texts` takes every value for text, whatever it looks like, and so a longer document and longer values too: nothing is tried as anything else.
    """
    most, nodes_most, loader = (
        (TEXTS, 20 * NODES, getattr(yaml, "CBaseLoader", yaml.BaseLoader)) if texts else (BYTES, NODES, yaml.SafeLoader)
    )
    if len(text) > most:
        raise Invalid(f"{where} is larger than {most >> 10} KiB", hint="keep settings only in it", file=where)
    if text.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        raise Invalid(f"{where} at line 1, column 1: it begins with a byte order mark", hint="save it as UTF-8 without one", file=where)
    depth = nodes = 0
    try:
        for event in yaml.parse(text, Loader=loader):
            nodes += 1
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
            if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
                raise _refused(where, event, "anchors and aliases are not taken")
            if getattr(event, "tag", None) is not None and getattr(event, "tag", "") != "!":
                raise _refused(where, event, "tags are not taken")
            if isinstance(event, yaml.ScalarEvent) and event.value == "<<" and event.style is None:
                raise _refused(where, event, "merge keys are not taken")
            if isinstance(event, yaml.ScalarEvent) and event.style is None and len(event.value) > PLAIN and not texts:
                raise _refused(where, event, "a value as long as this must stand in quotes")
            if depth > DEPTH or nodes > nodes_most:
                raise _refused(where, event, "it is nested too deep or too long")
        one = loader(text)  # the gate came first, so this is bounded
        node = one.get_single_node()
        if node is None:
            return None
        _no_twins(node, where)
        return one.construct_document(node)
    except (yaml.YAMLError, UnicodeError, ValueError, ArithmeticError, RecursionError) as e:
        mark = getattr(e, "problem_mark", None)
        place = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise Invalid(
            f"{where} is not YAML{place}: {getattr(e, 'problem', None) or type(e).__name__}", hint="mend that place", file=where
        ) from e


def _refused(where: str, event: "yaml.Event", why: str) -> Invalid:
    mark = event.start_mark
    assert mark is not None  # what was parsed from text has one
    return Invalid(f"{where} at line {mark.line + 1}, column {mark.column + 1}: {why}", hint="write the values out", file=where)


def _no_twins(node: "yaml.Node", where: str) -> None:
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            mark = key.start_mark
            place = f"{where} at line {mark.line + 1}, column {mark.column + 1}"
            if not isinstance(key, yaml.ScalarNode):
                raise Invalid(f"{place}: a key is no plain word", hint="write a word in front of the colon", file=where)
            if key.value in seen:
                raise Invalid(f"{place}: '{shown(key.value)}' stands there twice", hint="keep one of them", file=where)
            seen.add(key.value)
            _no_twins(value, where)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _no_twins(item, where)


def dump(value: Any) -> bytes:
    """Return plain data as YAML for people: block style, keys in the order given; what could drive a terminal is escaped."""
    text: str = yaml.safe_dump(value, sort_keys=False, allow_unicode=True, default_flow_style=False)
    if _UNSEEN.search(text):  # printable to YAML, but it hides or turns what stands around it
        text = yaml.safe_dump(value, sort_keys=False, allow_unicode=False, default_flow_style=False)
    return text.encode()
