"""What the Messages API's bytes mean, read and written."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rdev_cli.adapters.shared import messages
from rdev_cli.adapters.shared.messages import (
    Block,
    Malformed,
    Other,
    Refused,
    Reply,
    ReplyReader,
    Text,
    ToolResult,
    ToolUse,
    Usage,
)

_COUNTS = st.integers(min_value=0, max_value=10**9)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.text(max_size=200),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
_BLOCKS: st.SearchStrategy[Block] = st.one_of(
    st.builds(Text, text=st.text(max_size=300)),
    st.builds(ToolUse, id=st.text(), name=st.text(), input=st.dictionaries(st.text(max_size=5), _JSON, max_size=3)),
    st.builds(Other, raw=st.just({"type": "redacted_thinking", "data": "x"})),
)
_REPLIES = st.builds(
    Reply,
    id=st.text(),
    model=st.text(),
    content=st.lists(_BLOCKS, max_size=4).map(tuple),
    usage=st.builds(
        Usage,
        input_tokens=_COUNTS,
        output_tokens=_COUNTS,
        cache_read_tokens=_COUNTS,
        cache_creation_tokens=_COUNTS,
    ),
    stop_reason=st.sampled_from(["end_turn", "tool_use", "max_tokens"]),
)
REPLY = Reply(
    id="msg_1",
    model="m",
    content=(Text(text="a" * 100), ToolUse(id="toolu_1", name="Write", input={"content": "é" * 90})),
    usage=Usage(input_tokens=5, output_tokens=7, cache_read_tokens=11, cache_creation_tokens=13),
    stop_reason="tool_use",
)


def _request(**fields: object) -> bytes:
    return json.dumps({"model": "m", "messages": [{"role": "user", "content": "hello"}], **fields}).encode()


def _event(kind: str, **fields: object) -> bytes:
    return b"event: x\ndata: " + json.dumps({"type": kind, **fields}).encode() + b"\n\n"


@settings(deadline=None)
@given(_REPLIES)
def test_a_streamed_reply_is_read_as_it_was_written(reply: Reply) -> None:
    assert messages.parse_reply(b"".join(messages.emit_stream(reply)), streamed=True) == reply


@settings(deadline=None)
@given(_REPLIES)
def test_a_plain_reply_is_read_as_it_was_written(reply: Reply) -> None:
    assert messages.parse_reply(messages.emit_reply(reply), streamed=False) == reply


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_it_does_not_matter_where_a_stream_is_cut_into_pieces(size: int, end: bytes) -> None:
    stream = b"".join(messages.emit_stream(REPLY)).replace(b"\n", end)
    reader = ReplyReader()
    for start in range(0, len(stream), size):
        reader.feed(stream[start : start + size])
    assert reader.complete
    assert reader.reply() == REPLY


def test_a_stream_is_the_events_that_the_api_sends_in_their_order() -> None:
    kinds = [event.split(b"\n")[0].removeprefix(b"event: ").decode() for event in messages.emit_stream(REPLY)]
    assert list(dict.fromkeys(kinds)) == [
        "message_start",
        "ping",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    assert kinds.count("content_block_start") == kinds.count("content_block_stop") == 2
    assert kinds.count("content_block_delta") > 4


def test_a_tools_input_is_streamed_as_pieces_of_json() -> None:
    deltas = [json.loads(event.split(b"data: ")[1]) for event in messages.emit_stream(REPLY) if b"input_json" in event]
    assert len(deltas) > 1
    assert json.loads("".join(delta["delta"]["partial_json"] for delta in deltas)) == {"content": "é" * 90}


def test_the_tokens_spent_are_known_before_the_stream_ends() -> None:
    reader = ReplyReader()
    *events, _ = messages.emit_stream(REPLY)
    reader.feed(events[0])
    assert reader.reply().usage.input_tokens == 5
    reader.feed(b"".join(events[1:]))
    assert reader.reply().usage == REPLY.usage
    assert not reader.complete


def test_a_cut_stream_is_no_reply() -> None:
    with pytest.raises(Malformed, match="message_stop"):
        messages.parse_reply(b"".join(messages.emit_stream(REPLY))[:-30], streamed=True)


def test_a_tools_input_cut_by_max_tokens_is_empty_and_the_rest_is_kept() -> None:
    stream = b"".join(
        (
            _event("message_start", message={"id": "i", "model": "m", "usage": {"input_tokens": 3}}),
            _event("content_block_start", index=0, content_block={"type": "tool_use", "id": "t", "name": "W", "input": {}}),
            _event("content_block_delta", index=0, delta={"type": "input_json_delta", "partial_json": '{"a": "b'}),
            _event("content_block_stop", index=0),
            _event("message_delta", delta={"stop_reason": "max_tokens"}, usage={"output_tokens": 9}),
            _event("message_stop"),
        )
    )
    reply = messages.parse_reply(stream, streamed=True)
    assert reply.content == (ToolUse(id="t", name="W", input={}),)
    assert (reply.stop_reason, reply.usage.output_tokens) == ("max_tokens", 9)


def test_events_of_a_new_kind_are_passed_over() -> None:
    stream = _event("brand_new", index="?") + b": a comment\n\n" + b"".join(messages.emit_stream(REPLY))
    assert messages.parse_reply(stream, streamed=True) == REPLY


@pytest.mark.parametrize("streamed", [True, False])
def test_the_apis_error_is_told_apart_from_a_reply(streamed: bool) -> None:
    body = messages.emit_error(529, "busy")
    with pytest.raises(Refused) as caught:
        messages.parse_reply(b"event: error\ndata: " + body + b"\n\n" if streamed else body, streamed=streamed)
    assert (caught.value.kind, caught.value.message) == ("overloaded_error", "busy")


@pytest.mark.parametrize(("status", "kind"), [(400, "invalid_request_error"), (411, "invalid_request_error"), (501, "api_error")])
def test_every_status_has_a_kind_of_error(status: int, kind: str) -> None:
    assert json.loads(messages.emit_error(status, "m")) == {"type": "error", "error": {"type": kind, "message": "m"}}


def test_a_request_is_read_whole() -> None:
    request = messages.parse_request(
        _request(
            stream=True,
            system=[{"type": "text", "text": "one"}, {"type": "text", "text": "two"}],
            tools=[{"name": "Read"}, {"name": "Bash"}],
            messages=[
                {"role": "user", "content": "go"},
                {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "Read", "input": {"a": 1}}]},
                {
                    "role": "user",
                    "content": [
                        {
                            "type": "tool_result",
                            "tool_use_id": "t",
                            "is_error": True,
                            "content": [{"type": "text", "text": "no"}],
                        },
                        {"type": "image", "source": {}},
                    ],
                },
            ],
        )
    )
    assert (request.model, request.stream, request.system) == ("m", True, "one\ntwo")
    assert request.tools == ("Read", "Bash")
    assert [message.role for message in request.messages] == ["user", "assistant", "user"]
    assert request.messages[0].content == (Text(text="go"),)
    assert request.messages[1].content == (ToolUse(id="t", name="Read", input={"a": 1}),)
    assert request.messages[2].content == (
        ToolResult(tool_use_id="t", text="no", failed=True),
        Other(raw={"type": "image", "source": {}}),
    )


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff",
        b"[]",
        b"[" * 100_000,
        _request(model=1),
        _request(messages=[]),
        _request(messages="hello"),
        _request(messages=["hello"]),
        _request(messages=[{"role": "wizard", "content": ""}]),
        _request(messages=[{"role": "user", "content": 5}]),
        _request(messages=[{"role": "user", "content": ["x"]}]),
        _request(tools="all"),
    ],
    ids=lambda body: repr(body[:40]),
)
def test_what_the_api_would_not_take_is_malformed(body: bytes) -> None:
    with pytest.raises(Malformed):
        messages.parse_request(body)


@settings(deadline=None)
@given(st.binary(max_size=300) | _JSON.map(lambda value: json.dumps(value).encode()), st.booleans())
def test_reading_any_bytes_gives_a_reply_or_one_of_two_errors(body: bytes, streamed: bool) -> None:
    with pytest.raises((Malformed, Refused)):
        messages.parse_reply(b"data: " + body + b"\n\n" if streamed else body, streamed=streamed)


def test_a_reply_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages, "LIMIT", 100)
    reader = ReplyReader()
    for _ in range(7):
        reader.feed(b"data: xxxxxxx")
    with pytest.raises(Malformed, match="larger"):
        reader.feed(b"data: xxxxxxx")
