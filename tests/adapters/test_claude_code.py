"""Claude Code as rdev sees it: where its program is, how it is called, what its lines mean."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rdev_cli.adapters.agents import reading
from rdev_cli.adapters.agents.claude_code import ClaudeCode
from rdev_cli.domain.agent import AgentEvent, AgentEventKind, AgentTask, Program

PROGRAM = Program(agent="claude", argv=("claude",), paths=())


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give every test a home and a PATH of its own."""
    home = tmp_path / "home"
    (home / "bin").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("PATH", str(home / "bin"))
    return home


def _file(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(0o755)
    return path


def _one(document: object) -> AgentEvent:
    (event,) = ClaudeCode().parse(json.dumps(document).encode())
    return event


def _use(tool: str, given: object) -> AgentEvent:
    return _one({"type": "assistant", "message": {"content": [{"type": "tool_use", "name": tool, "input": given}]}})


def _result(**fields: Any) -> AgentEvent:
    return _one({"type": "result", "subtype": "success", "is_error": False, "result": "done", **fields})


def test_a_machine_without_the_program_has_none(home: Path) -> None:
    assert ClaudeCode().program() is None
    assert ClaudeCode(str(home / "nowhere")).program() is None
    plain = home / "bin" / "claude"
    plain.write_text("not executable")
    assert ClaudeCode().program() is None


def test_a_binary_is_shown_alone_and_by_its_real_path(home: Path) -> None:
    binary = _file(home / "share" / "versions" / "2", b"\x7fELF...")
    (home / "bin" / "claude").symlink_to(binary)
    program = ClaudeCode().program()
    assert program == Program(agent="claude", argv=(str(binary),), paths=(str(binary),))


def test_the_configured_path_wins_and_may_begin_at_home(home: Path) -> None:
    _file(home / "bin" / "claude", b"\x7fELF")
    other = _file(home / "other", b"\x7fELF")
    program = ClaudeCode("~/other").program()
    assert program is not None
    assert program.argv == (str(other),)


@pytest.mark.parametrize(
    ("first", "options"),
    [("/usr/bin/env node", ()), ("/usr/bin/env -S node --a  --b", ("--a", "--b")), ("{node} --a b", ("--a b",))],
)
def test_a_script_is_run_by_its_interpreter_and_shown_with_its_package(home: Path, first: str, options: tuple[str, ...]) -> None:
    node = _file(home / "node-22" / "node", b"\x7fELF")
    (home / "bin" / "node").symlink_to(node)
    package = home / "lib" / "claude-code"
    script = _file(package / "dist" / "cli.js", f"#!{first.format(node=node)}\nrest".encode())
    (package / "package.json").touch()
    (home / "bin" / "claude").symlink_to(script)
    program = ClaudeCode().program()
    assert program is not None
    assert program.argv == (str(node), *options, str(script))
    assert program.paths == (str(node), str(package))


def test_a_package_json_in_the_home_does_not_bare_the_home(home: Path) -> None:
    (home / "package.json").touch()
    _file(home / "bin" / "node", b"\x7fELF")
    script = _file(home / "tools" / "claude", b"#!/usr/bin/env node\n")
    program = ClaudeCode(str(script)).program()
    assert program is not None
    assert program.paths == (str(home / "bin" / "node"), str(script))


def test_what_lies_under_usr_need_not_be_shown(home: Path) -> None:
    program = ClaudeCode("/usr/bin/env").program()
    assert program is not None
    assert program.paths == ()


@pytest.mark.parametrize("first", [b"#!", b"#!/usr/bin/env", b"#!/nowhere/node", b"#!\xff\xfe", b""])
def test_a_script_whose_interpreter_is_not_here_is_left_to_the_system(home: Path, first: bytes) -> None:
    script = _file(home / "bin" / "claude", first + b"\n")
    program = ClaudeCode().program()
    assert program is not None
    assert program.argv == (str(script),)


def test_the_tools_named_are_all_there_are_and_none_needs_asking() -> None:
    argv = ClaudeCode().argv(PROGRAM, AgentTask(prompt="secret words", model="", tools=("Read", "Bash")))
    assert argv[:2] == ("claude", "-p")
    assert argv[argv.index("--output-format") + 1] == "stream-json"
    assert "--verbose" in argv
    assert {"--tools=Read,Bash", "--allowedTools=Read,Bash"} <= set(argv)
    assert not [part for part in argv if "secret" in part or part.startswith("--model")]


def test_no_tools_means_none_and_not_all() -> None:
    argv = ClaudeCode().argv(PROGRAM, AgentTask(prompt="p", model="", tools=()))
    assert "--tools=" in argv


def test_a_model_cannot_be_taken_for_an_option() -> None:
    argv = ClaudeCode().argv(PROGRAM, AgentTask(prompt="p", model="--dangerous", tools=()))
    assert "--model=--dangerous" in argv
    assert "--dangerous" not in argv


def test_its_first_line_tells_session_and_model() -> None:
    event = _one({"type": "system", "subtype": "init", "session_id": "s", "model": "m", "tools": []})
    assert event == AgentEvent(kind=AgentEventKind.STARTED, session="s", model="m")


def test_one_line_may_tell_several_things_in_order() -> None:
    content = [
        {"type": "thinking", "thinking": "hm"},
        {"type": "text", "text": "I write\x1b[31m."},
        {"type": "tool_use", "name": "Write", "input": {"file_path": "a.py", "content": "x"}},
    ]
    events = ClaudeCode().parse(json.dumps({"type": "assistant", "message": {"content": content}}).encode())
    assert list(events) == [
        AgentEvent(kind=AgentEventKind.SAID, text="I write\x1b[31m."),
        AgentEvent(kind=AgentEventKind.USED, tool="Write", target="a.py"),
    ]


@pytest.mark.parametrize(
    ("tool", "given", "target"),
    [
        ("Edit", {"replace_all": False, "file_path": "a b.py", "old_string": "x"}, "a b.py"),
        ("Bash", {"description": "tests", "command": "\n make test\nrm -r x"}, "make test"),
        ("Grep", {"pattern": "TODO", "path": "src"}, "TODO"),
        ("WebFetch", {"url": "http://x/", "prompt": "p"}, "http://x/"),
        ("Task", {"description": "look around", "prompt": "long"}, "look around"),
        ("Odd", {"command": ["ls"], "pattern": 5}, ""),
        ("Odd", "ls", ""),
    ],
)
def test_a_tool_is_told_with_what_it_was_used_on(tool: str, given: object, target: str) -> None:
    event = _use(tool, given)
    assert (event.kind, event.tool, event.target) == (AgentEventKind.USED, tool, target)


def test_a_long_target_is_cut_visibly() -> None:
    target = _use("Bash", {"command": "x" * 10_000}).target
    assert len(target) == reading.TARGET_MAX
    assert target.endswith("…")


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("plain", "plain"),
        ([{"type": "text", "text": "a"}, {"type": "image"}, 5, {"type": "text", "text": "b"}], "a\nb"),
        (None, ""),
    ],
)
def test_a_tools_answer_is_told(content: object, text: str) -> None:
    block = {"type": "tool_result", "tool_use_id": "t", "content": content}
    event = _one({"type": "user", "message": {"role": "user", "content": [block]}})
    assert event == AgentEvent(kind=AgentEventKind.ANSWERED, text=text)
    failed = _one({"type": "user", "message": {"content": [{**block, "is_error": True}]}})
    assert failed.failed


def test_a_long_answer_is_cut_visibly() -> None:
    block = {"type": "tool_result", "content": "x" * 10_000}
    text = _one({"type": "user", "message": {"content": [block]}}).text
    assert len(text) == reading.ANSWER_MAX
    assert text.endswith("…")


def test_the_last_line_tells_the_words_and_the_cost_with_cached_tokens_counted() -> None:
    usage = {
        "input_tokens": 1,
        "cache_read_input_tokens": 20,
        "cache_creation_input_tokens": 300,
        "output_tokens": 4000,
    }
    assert _result(session_id="s", usage=usage, total_cost_usd=0.25) == AgentEvent(
        kind=AgentEventKind.FINISHED,
        text="done",
        session="s",
        input_tokens=321,
        output_tokens=4000,
        cost_usd=0.25,
    )


def test_only_a_plain_no_to_is_error_is_success() -> None:
    assert not _result(is_error=False).failed
    for odd in (True, None, 0, "false"):
        assert _result(is_error=odd).failed


def test_a_limit_that_ended_it_is_named() -> None:
    event = _result(result=None, subtype="error_max_turns", is_error=True)
    assert (event.text, event.failed) == ("error_max_turns", True)


@pytest.mark.parametrize("odd", [True, "5", None, -5, math.nan, math.inf, [1], 10**400])
def test_odd_numbers_become_ones_that_can_be_kept(odd: object) -> None:
    event = _result(usage={"input_tokens": odd, "output_tokens": odd}, total_cost_usd=odd)
    assert 0 <= event.input_tokens < 2**63
    assert 0 <= event.output_tokens < 2**63
    assert event.cost_usd >= 0
    assert math.isfinite(event.cost_usd)


def test_half_a_surrogate_pair_does_not_travel_on() -> None:
    (event,) = ClaudeCode().parse(rb'{"type":"result","is_error":false,"result":"a\ud800b"}')
    assert event.text == "a?b"


def test_a_line_too_long_tells_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    line = b'{"type":"result"}'
    assert ClaudeCode().parse(line)
    monkeypatch.setattr(reading, "LINE_MAX", len(line) - 1)
    assert not ClaudeCode().parse(line)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\n",
        b"\xff\xfe",
        b"null",
        b"[]",
        b'"result"',
        b"[" * 1_000_000,
        b'{"type":' * 100_000,
        b"1" * 5000,
        b'{"type":"stream_event","event":{}}',
        b'{"type":"system","subtype":"compact_boundary"}',
        b'{"type":"assistant","message":"x"}',
        b'{"type":["result"]}',
        b"Warning: no stdin data received in 3s",
    ],
    ids=lambda line: repr(line[:24]),
)
def test_a_line_that_tells_nothing_gives_no_events(line: bytes) -> None:
    assert not ClaudeCode().parse(line)


_ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)
_BLOCK = _ODD | st.fixed_dictionaries(
    {"type": st.sampled_from(["text", "tool_use", "tool_result", "x"]) | _ODD},
    optional={"text": _ODD, "name": _ODD, "input": _ODD, "content": _ODD, "is_error": _ODD},
)
_LINE = st.fixed_dictionaries(
    {"type": st.sampled_from(["system", "assistant", "user", "result"]) | _ODD},
    optional={
        "subtype": st.just("init") | _ODD,
        "message": _ODD | st.fixed_dictionaries({"content": _ODD | st.lists(_BLOCK, max_size=3)}),
        "usage": _ODD | st.dictionaries(st.sampled_from(["input_tokens", "output_tokens"]), _ODD),
        "result": _ODD,
        "is_error": _ODD,
        "total_cost_usd": _ODD,
        "session_id": _ODD,
        "model": _ODD,
    },
)


@settings(deadline=None)
@given(st.binary(max_size=200) | (_LINE | _ODD).map(lambda value: json.dumps(value).encode()))
def test_no_line_makes_it_raise_and_every_event_can_be_written_down(line: bytes) -> None:
    for event in ClaudeCode().parse(line):
        for text in (event.text, event.tool, event.target, event.session, event.model):
            text.encode()
        assert math.isfinite(event.cost_usd)


@pytest.mark.parametrize(
    "words", ["Not logged in · Please run /login", "Invalid API key · Please run /login", "OAuth token has expired · Please run /login"]
)
def test_an_agent_that_lacks_a_key_is_told_which_variable_holds_it(words):
    assert "ANTHROPIC_API_KEY" in ClaudeCode().advice(words)
    assert ClaudeCode().advice("the model said no") == ""


def test_each_time_the_model_is_asked_again_is_told_whatever_it_holds():
    for more, told in (
        ({"attempt": 2, "max_retries": 10}, "attempt 2 of 10"),
        ({"attempt": "x", "error": ["y"]}, "attempt 0"),
        ({"error_status": 401, "attempt": 1}, "the model's API refuses the key (401); attempt 1"),
        ({}, "attempt 0"),
    ):
        (event,) = ClaudeCode().parse(json.dumps({"type": "system", "subtype": "api_retry", **more}).encode())
        assert (event.kind, event.text.endswith(told)) == (AgentEventKind.RETRIED, True)
