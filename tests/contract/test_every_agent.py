"""What every agent's adapter promises, whatever its program prints: one suite for all of them."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdev_cli.adapters.agents.program import AnyProgram
from rdev_cli.adapters.agents.registry import KnownAgents
from rdev_cli.domain.agent import DEFAULT_TOOLS, AgentEvent, AgentEventKind, AgentTask, Program
from rdev_cli.ports.agent import Agent

RECORDED = Path(__file__).parent / "recorded"
SECRET = "words-of-the-prompt"


def _agents() -> list[Agent]:
    more = [AnyProgram(f"any-{kind}", "sh", args=("-c", "cat"), output=kind, variables=("A_KEY",)) for kind in ("lines", "jsonl")]
    return [*KnownAgents({}).all(), *more]


AGENTS = {agent.name: agent for agent in _agents()}
# The streams of a whole run, as the real programs printed them: said, used a tool, read an answer, ended.
STREAMS = {"claude": "claude.jsonl", "bundled": "claude.jsonl", "opencode": "opencode.jsonl", "any-jsonl": "any.jsonl"}


@pytest.fixture(params=AGENTS)
def agent(request: pytest.FixtureRequest) -> Agent:
    return AGENTS[request.param]


def _task(**more: object) -> AgentTask:
    return AgentTask(**{"prompt": SECRET, "model": "", "tools": DEFAULT_TOOLS, **more})  # type: ignore[arg-type]


def _told(agent: Agent) -> Sequence[AgentEvent]:
    lines = (RECORDED / STREAMS[agent.name]).read_bytes().splitlines(keepends=True)
    return [event for line in lines for event in agent.parse(line)]


def test_the_prompt_is_no_argument_and_no_variable(agent: Agent) -> None:
    program = Program(agent=agent.name, argv=("/bin/agent",), paths=())
    assert SECRET not in " ".join(agent.argv(program, _task()))
    assert SECRET not in repr(agent.environment(_task(), agent.variables))
    assert agent.argv(program, _task())[0] == "/bin/agent"


def test_a_model_and_a_conversation_are_words_of_their_own_and_never_options(agent: Agent) -> None:
    program = Program(agent=agent.name, argv=("/bin/agent",), paths=())
    task = _task(model="--evil", resume="--worse")
    words = [*agent.argv(program, task), *(agent.screen(program, task) or ())]
    assert not {"--evil", "--worse"} & set(words)


def test_an_environment_holds_no_value_of_what_is_given(agent: Agent) -> None:
    """It is told the names only, so there is nothing that it could write down."""
    for name, value in agent.environment(_task(), agent.variables):
        assert name.isidentifier()
        assert isinstance(value, str)
        assert "\n" not in value


def test_a_recorded_run_is_told_in_order_with_its_words_tools_and_sums(agent: Agent) -> None:
    if agent.name not in STREAMS:
        assert [e.kind for line in (b"one\n", b"\n", b"two\n") for e in agent.parse(line)] == [AgentEventKind.SAID] * 2
        return
    events = _told(agent)
    kinds = [event.kind for event in events]
    assert kinds[0] is AgentEventKind.STARTED
    assert events[0].session
    assert kinds[-1] is AgentEventKind.FINISHED
    assert not events[-1].failed
    for kind in (AgentEventKind.SAID, AgentEventKind.USED, AgentEventKind.ANSWERED):
        assert kind in kinds
    assert kinds.index(AgentEventKind.USED) < kinds.index(AgentEventKind.ANSWERED)
    assert any(event.target for event in events if event.kind is AgentEventKind.USED)
    spent = [event for event in events if event.kind in (AgentEventKind.SPENT, AgentEventKind.FINISHED)]
    assert sum(event.input_tokens for event in spent) > 0
    assert sum(event.output_tokens for event in spent) > 0


def test_a_parser_remembers_nothing(agent: Agent) -> None:
    if agent.name in STREAMS:
        assert _told(agent) == _told(agent)


_KEYS = (
    "type", "subtype", "part", "message", "content", "text", "tool", "state", "input", "tokens", "cache", "cost", "usage", "error", "data",
    "session_id", "sessionID", "reason", "result", "is_error", "total_cost_usd", "output", "metadata", "exit",
)  # fmt: skip
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(_KEYS), inner, max_size=6),
    max_leaves=20,
)


@pytest.mark.parametrize("name", AGENTS)
@given(
    line=st.binary(max_size=200)
    | _JSON.map(lambda value: json.dumps(value).encode())
    | st.dictionaries(st.sampled_from(_KEYS), _JSON, max_size=8)
    .map(lambda value: {**value, "type": value.get("type", "result")})
    .map(lambda value: json.dumps(value).encode())
)
def test_no_line_makes_a_parser_raise_and_what_it_tells_is_bounded(name: str, line: bytes) -> None:
    for event in AGENTS[name].parse(line):
        assert len(event.text) <= 1 << 16
        assert len(event.tool) <= 200
        assert len(event.target) <= 200
        assert 0 <= event.input_tokens < 2**63
        assert 0 <= event.output_tokens < 2**63
        assert event.cost_usd >= 0
        event.text.encode()
