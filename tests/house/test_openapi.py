"""The OpenAPI document: never less than what was released, and what its page says."""

import copy
import json
from collections.abc import Callable
from typing import Any

import jsonschema
import pytest

from tests.house.breaking import unserved
from tests.house.listing import ROOT

Document = dict[str, Any]


def read(path: str) -> Document:
    return json.loads((ROOT / path).read_text())


def test_nothing_that_was_served_is_gone_or_changed() -> None:
    released = read("tests/golden/openapi.json")
    assert len(released["paths"]) > 20
    assert unserved(released, read("docs/openapi.json")) == [], "docs/versions.md says what may change, and when"


def test_every_reference_leads_somewhere_and_every_schema_is_one() -> None:
    made = read("docs/openapi.json")
    assert made["openapi"].startswith("3.1")
    seen = 0
    todo: list[Any] = [made]
    while todo:
        one = todo.pop()
        if isinstance(one, dict):
            if isinstance(one.get("$ref"), str):
                found: Any = made
                for part in one["$ref"].removeprefix("#/").split("/"):
                    found = found[part]
                seen += 1
            todo += one.values()
        elif isinstance(one, list):
            todo += one
    assert seen > 100
    assert not [name for name in made["components"]["schemas"] if "__" in name], "two bodies have one name"
    for schema in made["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)


def test_an_operations_id_is_its_own() -> None:
    ids = [one["operationId"] for below in read("docs/openapi.json")["paths"].values() for one in below.values()]
    assert len(set(ids)) == len(ids)


def _gone(made: Document) -> None:
    del made["paths"]["/projects"]["post"]


def _needed(made: Document) -> None:
    made["components"]["schemas"]["ProjectCreation"]["required"].append("model")


def _narrower(made: Document) -> None:
    made["paths"]["/projects"]["get"]["x-scope"] = "admin"


def _parameter(made: Document) -> None:
    made["paths"]["/commands"]["get"]["parameters"][0]["required"] = True


def _less(made: Document) -> None:
    del made["components"]["schemas"]["Project"]["properties"]["pod"]


def _without(made: Document) -> None:
    del made["components"]["schemas"]["ProjectCreation"]["properties"]["source"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_gone, "POST /projects is gone"),
        (_needed, "model must be given now"),
        (_narrower, "x-scope was projects:read and is admin"),
        (_parameter, "must be given now"),
        (_less, "the field pod is gone"),
        (_without, "the field source is gone"),
    ],
)
def test_what_breaks_a_caller_is_seen(change: Callable[[Document], None], words: str) -> None:
    old = read("docs/openapi.json")
    new = copy.deepcopy(old)
    change(new)
    assert any(words in line for line in unserved(old, new))


def test_what_only_adds_breaks_nobody() -> None:
    old = read("docs/openapi.json")
    new = copy.deepcopy(old)
    new["paths"]["/more"] = new["paths"]["/projects"]
    new["components"]["schemas"]["Project"]["properties"]["more"] = {"type": "string"}
    new["components"]["schemas"]["ProjectCreation"]["properties"]["more"] = {"type": "string"}
    assert unserved(old, new) == []
