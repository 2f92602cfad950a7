"""Every command, every format, well and badly ended: what is printed is what its schema says, and stdout holds nothing else."""

import json
import os
import re
import subprocess
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from tests.e2e.test_hand import LEAVES, TYPED, UNTRIED, words

Rdev = Callable[..., "subprocess.CompletedProcess[bytes]"]
SCHEMAS = Path(__file__).parents[2] / "rdev_cli" / "_data" / "schemas"
# What each command answers with -o json. A new command must get a line here.
ANSWERS: dict[tuple[str, ...], str] = {
    ("demo",): "demo",
    ("project", "create"): "plan",
    ("project", "list"): "project-list",
    ("project", "show"): "project-shown",
    ("project", "set"): "project",
    ("project", "sync"): "project-sync",
    ("agent", "run"): "command",
    ("agent", "list"): "agent-list",
    ("agent", "show"): "agent",
    ("agent", "health"): "check-list",
    ("agent", "usage"): "usage-list",
    ("credential", "set"): "credential",
    ("credential", "list"): "credential-list",
    ("credential", "import"): "credential-list",
    ("credential", "remove"): "credential",
    ("credential", "test"): "check-list",
    ("key", "create"): "key-created",
    ("key", "list"): "key-list",
    ("key", "show"): "key",
    ("key", "revoke"): "key",
    ("completion",): "completion",
    ("project", "status"): "project-status",
    ("project", "adopt"): "plan",
    ("project", "delete"): "plan",
    ("claude",): "command",
    ("checkin",): "checkin",
    ("session", "checkin"): "checkin",
    ("exec",): "command-output",
    ("shell",): "command-output",
    ("git",): "command-output",
    ("command", "list"): "command-list",
    ("command", "show"): "command",
    ("command", "output"): "command-output",
    ("command", "attach"): "command-output",
    ("command", "cancel"): "command",
    ("ci", "run"): "checked",
    ("receipt", "list"): "receipt-list",
    ("receipt", "show"): "receipt",
    ("receipt", "verify"): "check-list",
    ("receipt", "replay"): "replay",
    ("cp",): "copied",
    ("ps",): "command-list",
    ("logs",): "command-output",
    ("events",): "event-list",
    ("journal", "prune"): "pruning",
    ("operation", "list"): "operation-list",
    ("operation", "show"): "operation",
    **{("session", verb): "session" for verb in ("start", "show", "end")},
    ("session", "list"): "session-list",
    **dict.fromkeys((("session", "preview"), ("preview", "close")), "preview"),
    ("preview", "list"): "preview-list",
    **{("session", verb): "command-output" for verb in ("exec", "shell", "git")},
    ("session", "claude"): "command",
    ("session", "files"): "copied",
    ("session", "attach"): "error",  # a terminal is a person's
    ("session", "events"): "event-list",
    ("checkout", "start"): "checkout-folder",
    ("checkout", "list"): "checkout-list",
    ("checkout", "show"): "checkout",
    ("checkout", "extend"): "checkout",
    ("checkout", "cancel"): "checkout",
    ("branch", "list"): "branch-list",
    **{("pool", verb): "worker-list" for verb in ("list", "fill", "drain")},
    ("pool", "audit"): "audit-list",
    ("webhook", "add"): "webhook-secret",
    ("webhook", "list"): "webhook-list",
    ("webhook", "test"): "delivery",
    ("webhook", "deliveries"): "delivery-list",
    ("webhook", "replay"): "delivery",
    ("webhook", "rotate"): "webhook-secret",
    ("webhook", "remove"): "webhook",
    ("context", "list"): "context-list",
    ("context", "show"): "context",
    ("context", "view"): "setting-list",
    ("context", "use"): "context",
    ("context", "set"): "context",
    ("context", "test"): "check-list",
    ("context", "remove"): "context",
    ("context", "install"): "manifests",
    ("gc",): "orphan-list",
    ("doctor",): "check-list",
    ("schema",): "schema-list",
    ("uninstall",): "holding-list",
    ("serve",): "serving",
    ("version",): "version",
}
FOLLOWED = {("exec",), ("shell",), ("git",), ("command", "attach")}  # -o jsonl tells their output as it comes
EVENT = {
    "seq": 1, "at": "2026-01-31T12:00:00.000Z", "kind": "project.deleted", "subject": "shop", "actor": "local:me", "data": {"id": "prj_1"}, "hash": "0",
    "project": "shop",
}  # fmt: skip
FORMATS = jsonschema.FormatChecker(formats=())


@FORMATS.checks("date-time", raises=ValueError)
def _moment(text: object) -> bool:
    return isinstance(text, str) and datetime.fromisoformat(text).tzinfo is not None and text.endswith("Z")


def closed(schema: Any) -> Any:
    """Return the schema with no room for a field that it does not name."""
    if isinstance(schema, dict):
        inside = {key: closed(value) for key, value in schema.items() if key != "if"}
        named = schema.get("type") == "object" and "properties" in schema
        return {**schema, **inside, **({"additionalProperties": False} if named else {})}
    return [closed(one) for one in schema] if isinstance(schema, list) else schema


@cache
def validator(name: str) -> jsonschema.Draft202012Validator:
    schema = json.loads((SCHEMAS / f"{name}.json").read_text())
    return jsonschema.Draft202012Validator(closed(schema), format_checker=FORMATS)


def check(name: str, document: Any, where: object) -> None:
    wrong = [f"{error.json_path}: {error.message[:300]}" for error in validator(name).iter_errors(document)]
    assert not wrong, (where, name, wrong)


def line_of(leaf: tuple[str, ...], line: Mapping[str, Any]) -> str:
    """Return the schema of one line of -o jsonl."""
    if leaf in FOLLOWED or line.get("type") == "ended":
        return f"{line['type']}-line"
    if leaf in {("demo",), ("claude",)} and "seq" in line:
        return "event"
    return ANSWERS[leaf].removesuffix("-list")


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("version", {"version": "1", "python": "3.11", "more": 1}),
        ("version", {"version": "1"}),
        ("version", {"version": 1, "python": "3.11"}),
        ("output-line", {"command": "c", "stream": "stdout", "offset": 0, "id": "1-0", "type": "output", "data": "x", "data_b64": "eA=="}),
        ("output-line", {"command": "c", "stream": "stdout", "offset": 0, "id": "1-0", "type": "output"}),
        ("context-list", {"items": [], "next": "c"}),
        ("error", {"error": {"code": "X", "message": "m", "hint": "h"}}),
        ("event", {**EVENT, "at": "yesterday"}),
        ("event", {**EVENT, "data": {"id": "prj_1", "more": 1}}),
        ("event", {**EVENT, "data": {}}),
    ],
)
def test_the_check_sees_what_the_schema_does_not_say(name: str, bad: Mapping[str, Any]) -> None:
    with pytest.raises(AssertionError):
        check(name, bad, "made up")


def test_an_event_of_a_kind_that_is_not_known_yet_is_no_error() -> None:
    check("event", EVENT, "known")
    check("event", {**EVENT, "kind": "moon.landed", "data": {"any": "thing"}}, "unknown")


@pytest.fixture
def command(rdev: Rdev, project: str) -> str:
    assert rdev("exec", project, "--", "sh", "-c", "echo out; echo err >&2").returncode == 0
    return rdev("command", "list", "-o", "name").stdout.decode().strip()


def tried() -> Iterator[tuple[str, ...]]:
    yield from (leaf for leaf in LEAVES if leaf not in UNTRIED)


def test_every_command_has_a_schema() -> None:
    assert set(ANSWERS) == set(LEAVES)
    assert {path.stem for path in SCHEMAS.glob("*.json")} >= set(ANSWERS.values())


def test_every_answer_is_what_its_schema_says_in_every_format(rdev: Rdev, command: str) -> None:
    for leaf in tried():
        answers = {}
        for form in ("json", "yaml", "jsonl"):
            ran = rdev(*words(leaf, form, command))
            where = (leaf, form, ran.stdout[:500], ran.stderr[:500])
            assert ran.returncode in ((0, 9) if leaf == ("doctor",) else (0,)), where
            assert not ran.stderr, where  # talk for a person would stand here, and there is none
            if form == "jsonl":
                for line in ran.stdout.decode().splitlines():
                    check(line_of(leaf, json.loads(line)), json.loads(line), where)
                continue
            answers[form] = json.loads(ran.stdout) if form == "json" else yaml.safe_load(ran.stdout)
            check(ANSWERS[leaf], answers[form], where)
        assert shape(answers["json"]) == shape(answers["yaml"]), leaf


def shape(value: Any) -> Any:
    """Return a document without what differs between two runs: numbers, ids, times, and words that hold them."""
    if isinstance(value, dict):
        return {key: shape(one) for key, one in value.items()}
    if isinstance(value, list):
        return [shape(one) for one in value[:1]]
    return "" if isinstance(value, int | float | str) and not isinstance(value, bool) else value


def test_yaml_says_the_same_as_json(rdev: Rdev, command: str) -> None:
    for typed in (
        ("project", "show", "shop"),
        ("command", "show", command),
        ("command", "output", command),
        ("events",),
        ("schema", "event"),
    ):
        assert yaml.safe_load(rdev(*typed, "-o", "yaml").stdout) == json.loads(rdev(*typed, "-o", "json").stdout), typed


def failures(command: str) -> Iterator[tuple[tuple[str, ...], list[str]]]:
    """Yield every command as it is typed so that it fails: with a flag that there is not, and in a context that there is not."""
    for leaf in LEAVES:
        typed = [command if word == "ID" else word for word in TYPED.get(leaf, ("claude", "shop", "hello"))]
        at = typed.index("--") if "--" in typed else len(typed)
        yield leaf, [*typed[:at], "--no-such-flag", *typed[at:]]
        if leaf not in {("version",), ("schema",), ("completion",)}:
            yield leaf, [*typed[:at], "--context", "nope", *typed[at:]]
    yield ("schema",), ["schema", "nope"]
    yield ("exec",), ["exec", "nope", "--", "ls"]
    yield ("project", "delete"), ["project", "delete", "shop"]
    yield ("claude",), ["claude", "shop", "hello", "--isolation", "none"]


def test_every_failure_is_what_its_schema_says_and_leaves_stdout_empty(rdev: Rdev, command: str) -> None:
    for number, (leaf, typed) in enumerate(failures(command)):
        at = typed.index("--") if "--" in typed else len(typed)
        form = ("json", "jsonl", "yaml")[number % 3]
        ran = rdev(*typed[:at], "-o", form, *typed[at:], env={"PATH": "/usr/bin:/bin"})
        where = (typed, form, ran.returncode, ran.stdout[:300], ran.stderr[:500])
        assert ran.returncode not in (0, 1), where
        assert ran.stdout == b"", where
        check("error", json.loads(ran.stderr), where)
        assert leaf


def test_what_fails_at_work_still_answers_as_its_schema_says(rdev: Rdev, project: str) -> None:
    for typed, code in ((("sh", "-c", "echo x; exit 7"), 7), (("/nonexistent",), 127), (("sh", "-c", "kill -9 $$"), 137)):
        ran = rdev("exec", project, "-o", "json", "--", *typed)
        assert ran.returncode == code
        check("command-output", json.loads(ran.stdout), typed)
    ran = rdev("exec", project, "--timeout", "1s", "-o", "jsonl", "--", "sleep", "30")
    assert ran.returncode == 124
    for line in ran.stdout.splitlines():
        check(line_of(("exec",), json.loads(line)), json.loads(line), line)
    started = rdev("exec", project, "--no-wait", "-o", "json", "--", "true")
    check("command", json.loads(started.stdout), "exec --no-wait")


def test_bytes_that_are_no_text_are_what_the_schema_says_too(rdev: Rdev, project: str) -> None:
    odd = os.fsdecode(b"\xff\xfe")
    out = rdev("exec", project, "-o", "json", "--", "printf", odd)
    assert {"argv_b64", "stdout_b64", "stderr"} <= set(json.loads(out.stdout))
    check("command-output", json.loads(out.stdout), "exec")
    lines = rdev("exec", project, "-o", "jsonl", "--", "printf", odd).stdout.splitlines()
    for line in lines:
        check(line_of(("exec",), json.loads(line)), json.loads(line), line)
    assert "data_b64" in json.loads(lines[0])
    check("event-list", json.loads(rdev("events", "-o", "json").stdout), "events")


def test_a_folder_with_a_name_that_is_no_text_is_what_the_schema_says(rdev: Rdev, tmp_path: Path) -> None:
    odd = {"XDG_STATE_HOME": os.fsdecode(os.fsencode(tmp_path) + b"/\xff")}
    for typed, name in ((("context", "view"), "setting-list"), (("doctor",), "check-list"), (("project", "create", "shop"), "project")):
        ran = rdev(*typed, "-o", "json", env=odd)
        check(name, json.loads(ran.stdout or ran.stderr), (typed, ran))


@pytest.mark.parametrize("form", ["json", "jsonl"])
def test_a_demo_tells_events_and_its_own_document(form: str, rdev: Rdev) -> None:
    ran = rdev("demo", "--agent", "bundled", "-o", form)
    assert ran.returncode == 0, ran.stderr
    lines = [json.loads(line) for line in ran.stdout.splitlines()]
    for line in lines:
        check(line_of(("demo",), line), line, form)
    assert sum("seq" not in line for line in lines) == 1
    journal = json.loads(rdev("events", "-o", "json").stdout)
    check("event-list", journal, "events")
    assert {"project.created", "command.started", "agent.used", "agent.finished", "commit.delivered", "project.deleted"} <= {
        line["kind"] for line in journal["items"]
    }


# rdev schema


def test_schemas_are_listed_and_each_is_printed_whole(rdev: Rdev) -> None:
    listed = json.loads(rdev("schema", "-o", "json").stdout)["items"]
    assert [one["name"] for one in listed] == sorted(path.stem for path in SCHEMAS.glob("*.json"))
    for name in ("project", "event", listed[-1]["name"]):
        whole = json.loads((SCHEMAS / f"{name}.json").read_text())
        assert rdev("schema", name).stdout.decode() == (SCHEMAS / f"{name}.json").read_text()
        assert json.loads(rdev("schema", name, "-o", "json").stdout) == whole
        assert yaml.safe_load(rdev("schema", name, "-o", "yaml").stdout) == whole
    names = rdev("schema", "-o", "name").stdout.decode().split()
    assert rdev("schema", names[0], "-o", "name").stdout.decode().split() == names[:1]


def test_an_unknown_schema_is_3_and_says_where_the_names_are(rdev: Rdev) -> None:
    ran = rdev("schema", "prject")
    assert (ran.returncode, ran.stdout) == (3, b"")
    assert re.search(rb"hint:  rdev schema lists", ran.stderr)
