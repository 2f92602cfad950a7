"""What the OpenAPI document promises, tried with made-up requests: no fault of rdev's own, and no answer that it does not describe."""

import json
import os
import warnings
from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from rdev_cli.domain.access import Grant, Scope
from rdev_cli.faces.http.app import create_app
from rdev_cli.faces.http.face import unauthorized
from tests.conftest import Rdev

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_headers_conformance, response_schema_conformance]
NIGHTLY = os.environ.get("HYPOTHESIS_PROFILE") == "nightly"
EXAMPLES = 200 if NIGHTLY else 6  # for each route, with names that there are, and with any
# each of these starts sandboxes, or works through the whole state: a few are as good as many
HEAVY = {"doctor.check", "agent.health", "file.copy", "file.copy.put", "project.status", "gc.collect.look"}
KEY = f"rdev_sk_{'0' * 8}_{'0' * 32}"
CALLERS: dict[str, frozenset[Scope] | None] = {
    "admin": frozenset({Scope.ADMIN}),
    "reader": frozenset({Scope.PROJECTS_READ}),
    "nobody": None,
}


@pytest.fixture
def ids(project: str, rdev: Rdev) -> dict[str, str]:
    """The names of things that there are."""
    ran = rdev("exec", project, "-o", "json", "--", "echo", "words")
    assert rdev("credential", "set", "GITEA_TOKEN", input=b"x").returncode == 0
    for agent in ("claude", "opencode"):  # one that is not installed is a 503, which is true and no fault
        assert rdev("context", "set", "local", "--agent-path", f"{agent}=/bin/true").returncode == 0
    return {"project": project, "command": json.loads(ran.stdout)["id"], "agent": "claude", "name": "GITEA_TOKEN", "context": "local"}


@pytest.fixture(params=CALLERS)
def schema(request: pytest.FixtureRequest, services: Any, ids: dict[str, str]) -> Iterator[Any]:
    scopes = CALLERS[request.param]

    def door(key: str, address: str) -> Grant:
        if scopes is None or key != KEY:
            raise unauthorized()
        return Grant(actor=f"key:{request.param}", scopes=scopes)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its client's library, which is not ours
        yield schemathesis.openapi.from_asgi("/openapi.json", create_app(services, door)), request.param


def test_no_request_makes_a_fault_or_an_answer_that_is_not_described(schema: Any, ids: dict[str, str]) -> None:
    loaded, who = schema
    headers = {} if who == "nobody" else {"x-api-key": KEY}
    wrong: list[str] = []
    tried = 0
    for found in loaded.get_all_operations():
        operation = found.ok()
        name = operation.definition.raw["operationId"]
        if any("text/event-stream" in one.get("content", {}) for one in operation.definition.raw["responses"].values()):
            continue  # it has no end to wait for: test_streams.py
        most = EXAMPLES if who == "admin" else max(1, EXAMPLES // 4)
        most = most if NIGHTLY or name not in HEAVY else 2
        named = {one.name: ids[one.name] for one in operation.path_parameters if one.name in ids}
        for given_ in ({}, {"path_parameters": named}) if named else ({},):
            for mode in GenerationMode:

                @settings(max_examples=most, deadline=None, database=None, derandomize=not NIGHTLY, suppress_health_check=list(HealthCheck))
                @given(case=operation.as_strategy(generation_mode=mode, **given_))
                def send(case: Any) -> None:
                    nonlocal tried
                    tried += 1
                    answer = case.call(headers=headers)
                    case.validate_response(answer, checks=CHECKS)

                try:
                    send()
                except hypothesis.errors.Unsatisfiable:
                    continue  # nothing of this operation can be wrong
                except (Exception, BaseExceptionGroup) as e:  # noqa: BLE001 -- all of them are told together
                    wrong.append(f"{operation.label} ({mode.value}): {e}")
    assert not wrong, "\n\n".join(wrong)
    assert tried > 30
