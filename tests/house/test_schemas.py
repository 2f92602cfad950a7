"""The schemas: whole, true to the types they are made of, and never less than what was released."""

import ast
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.house.breaking import breaking, missing
from tests.house.listing import ROOT, modules, tree

SHIPPED = ROOT / "rdev_cli" / "_data" / "schemas"
RELEASED = ROOT / "tests" / "golden" / "schemas"


def read(folder: Path) -> dict[str, Any]:
    return {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}


def test_nothing_that_was_released_is_gone_or_changed() -> None:
    released = read(RELEASED)
    assert len(released) > 15
    assert missing(released, read(SHIPPED)) == [], "docs/versions.md says what may change, and when"


def test_every_schema_is_one_and_says_what_it_is_of() -> None:
    for name, schema in read(SHIPPED).items():
        jsonschema.Draft202012Validator.check_schema(schema)
        assert schema["$schema"] == jsonschema.Draft202012Validator.META_SCHEMA["$id"]
        assert schema["title"] == name
        assert schema["$id"] == f"urn:rdev:schema:{name}"
        assert schema["description"]


def kinds_written() -> set[str]:
    """The kinds of events that the operations write, as far as they stand there as words."""
    found = set()
    for path in modules("ops"):
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "append" and len(node.args) == 3:
                found |= {one.value for one in ast.walk(node.args[0]) if isinstance(one, ast.Constant) and "." in str(one.value)}
    return {kind for kind in found if not str(kind).endswith(".")}


def test_every_kind_of_event_that_is_written_has_its_data_in_the_schema() -> None:
    known = {part["if"]["properties"]["kind"]["const"] for part in read(SHIPPED)["event"]["$defs"]["Event"]["allOf"] if "if" in part}
    written = kinds_written()
    assert len(written) >= 7
    assert written <= known, "docs/schemas.py: EVENTS"


# what breaks, on made-up pairs

TEXT, NUMBER = {"type": "string"}, {"type": "integer"}


def thing(required: tuple[str, ...] = ("a",), **fields: Any) -> dict[str, Any]:
    return {"type": "object", "properties": fields, "required": list(required)}


def kind(name: str, **fields: Any) -> dict[str, Any]:
    return {"if": {"properties": {"kind": {"const": name}}}, "then": {"properties": {"data": thing((), **fields)}}}


ENUM = {"type": "string", "enum": ["x", "y"]}
NULL = {"type": "null"}
FINE: dict[str, tuple[Mapping[str, Any], Mapping[str, Any]]] = {
    "the same": (thing(a=TEXT), thing(a=TEXT)),
    "a field more": (thing(a=TEXT), thing(("a", "b"), a=TEXT, b=NUMBER)),
    "a value more": (ENUM, {"type": "string", "enum": ["x", "y", "z"]}),
    "always there now": (thing((), a=TEXT), thing(("a",), a=TEXT)),
    "other words": ({**thing(a=TEXT), "description": "one"}, {**thing(a=TEXT), "description": "two"}),
    "a kind more": ({"allOf": [kind("k", a=TEXT)]}, {"allOf": [kind("k", a=TEXT), kind("l", b=TEXT)]}),
    "never null now": ({"type": ["string", "null"]}, TEXT),
    "another name inside": (
        {"$ref": "#/$defs/A", "$defs": {"A": thing(a=TEXT)}}, {"$ref": "#/$defs/B", "$defs": {"B": thing(a=TEXT)}},
    ),
}  # fmt: skip
BREAKS: dict[str, tuple[Mapping[str, Any], Mapping[str, Any], str]] = {
    "a field gone": (thing(a=TEXT, b=TEXT), thing(a=TEXT), "the field b is gone"),
    "another type": (thing(a=TEXT), thing(a=NUMBER), "a: the type was string and is integer"),
    "null now": (TEXT, {"type": ["string", "null"]}, "is null/string"),
    "null in the list of types now": ({"anyOf": [TEXT]}, {"anyOf": [TEXT, NULL]}, "one of 2"),
    "a value gone": (ENUM, {"type": "string", "enum": ["x"]}, "y is gone"),
    "any value now": (ENUM, TEXT, "not listed any more"),
    "perhaps missing now": (thing(a=TEXT), thing((), a=TEXT), "a may be missing now"),
    "perhaps base64 now": (
        thing(a=TEXT), {**thing((), a=TEXT, a_b64=TEXT), "allOf": [{"oneOf": [{"required": ["a"]}, {"required": ["a_b64"]}]}]}, "another form",
    ),
    "no time any more": ({"type": "string", "format": "date-time"}, TEXT, "format"),
    "deep inside a list": ({"type": "array", "items": thing(a=TEXT)}, {"type": "array", "items": thing((), b=TEXT)}, "the field a is gone"),
    "behind a reference": (
        {"$ref": "#/$defs/A", "$defs": {"A": thing(a=TEXT)}}, {"$ref": "#/$defs/A", "$defs": {"A": thing(a=NUMBER)}}, "is integer",
    ),
    "a kind gone": ({"allOf": [kind("k", a=TEXT)]}, {"allOf": []}, "the kind k is gone"),
    "a kind's field gone": ({"allOf": [kind("k", a=TEXT)]}, {"allOf": [kind("k")]}, "the field a is gone"),
}  # fmt: skip


@pytest.mark.parametrize("case", FINE)
def test_what_is_only_more_breaks_nothing(case: str) -> None:
    assert breaking(*FINE[case]) == []


@pytest.mark.parametrize("case", BREAKS)
def test_what_is_less_or_other_breaks(case: str) -> None:
    old, new, words = BREAKS[case]
    (found,) = breaking(old, new)
    assert words in found


def test_what_must_newly_be_given_breaks_a_caller_and_what_may_be_left_out_does_not() -> None:
    less, more = thing(("a",), a=TEXT, b=TEXT), thing(("a", "b"), a=TEXT, b=TEXT)
    assert breaking(less, more, given=True) == ["the document: b must be given now"]
    assert breaking(more, less, given=True) == []
    assert breaking(TEXT, ENUM, given=True)
    assert breaking(ENUM, {"type": "string", "enum": ["x"]}, given=True)
    assert breaking(TEXT, {"type": ["string", "null"]}, given=True) == []


def test_a_schema_that_is_gone_breaks_and_a_new_one_does_not() -> None:
    assert missing({"a": TEXT}, {"a": TEXT, "b": TEXT}) == []
    assert missing({"a": TEXT, "b": TEXT}, {"a": TEXT}) == ["b: the schema is gone"]


def test_a_thing_that_holds_itself_is_compared_once() -> None:
    tree_ = {"$ref": "#/$defs/T", "$defs": {"T": thing((), a={"type": "array", "items": {"$ref": "#/$defs/T"}})}}
    assert breaking(tree_, tree_) == []
