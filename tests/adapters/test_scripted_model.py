"""The scripted model plays its script to whoever speaks the Messages API."""

import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from rdev_cli.adapters import scripted
from rdev_cli.adapters.scripted import ScriptedModel, ToolCall, Turn
from rdev_cli.adapters.shared import messages
from rdev_cli.adapters.shared.messages import Reply, Text, ToolUse

WRITE = ToolCall(name="Write", input={"file_path": "a", "content": "b"})
SCRIPT = (Turn(text="I write.", tools=(WRITE,)), Turn(tools=(WRITE, WRITE)), Turn(text="It is written."))
PROMPT = {"role": "user", "content": [{"type": "text", "text": "write a"}]}
REMINDER = {"type": "text", "text": "<system-reminder>\nthe date\n</system-reminder>"}
USE = {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_1_0", "name": "Write", "input": {}}]}
RESULT: dict[str, Any] = {
    "role": "user",
    "content": [{"type": "tool_result", "tool_use_id": "toolu_1_0", "content": "ok"}, REMINDER],
}


@pytest.fixture
def model() -> Iterator[ScriptedModel]:
    with ScriptedModel(SCRIPT) as model:
        yield model


def _send(
    model: ScriptedModel, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
) -> tuple[int, bytes]:
    address = urlsplit(model.url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=10)
    try:
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def _body(*talk: object, stream: bool = False, tools: bool = True) -> bytes:
    document: dict[str, Any] = {"model": "m", "messages": talk, "stream": stream, "max_tokens": 5}
    return json.dumps({**document, "tools": [{"name": "Write"}]} if tools else document).encode()


def _ask(model: ScriptedModel, *talk: object, stream: bool = False, tools: bool = True) -> Reply:
    status, body = _send(model, "POST", "/v1/messages?beta=true", _body(*talk, stream=stream, tools=tools))
    assert status == 200
    return messages.parse_reply(body, streamed=stream)


def _texts(reply: Reply) -> list[str]:
    return [block.text for block in reply.content if isinstance(block, Text)]


@pytest.mark.parametrize("stream", [True, False])
def test_a_prompt_gets_the_first_turn(model: ScriptedModel, stream: bool) -> None:
    reply = _ask(model, PROMPT, stream=stream)
    assert reply.content == (Text(text="I write."), ToolUse(id="toolu_1_0", name="Write", input=WRITE.input))
    assert reply.stop_reason == "tool_use"
    assert reply.model == "m"


def test_a_retry_gets_the_same_turn(model: ScriptedModel) -> None:
    assert _ask(model, PROMPT, USE, RESULT) == _ask(model, PROMPT, USE, RESULT, stream=True)
    assert model.requests == 2


def test_each_answer_of_the_agent_gets_the_next_turn(model: ScriptedModel) -> None:
    second = _ask(model, PROMPT, USE, RESULT)
    ids = [block.id for block in second.content if isinstance(block, ToolUse)]
    assert len(set(ids)) == 2
    assert "toolu_1_0" not in ids
    third = _ask(model, PROMPT, USE, RESULT, USE, RESULT)
    assert (_texts(third), third.stop_reason) == (["It is written."], "end_turn")


def test_after_the_script_there_is_a_plain_end(model: ScriptedModel) -> None:
    reply = _ask(model, PROMPT, *[USE, RESULT] * 7)
    assert (_texts(reply), reply.stop_reason) == ([scripted.END], "end_turn")


def test_a_new_prompt_begins_the_script_again(model: ScriptedModel) -> None:
    said = {"role": "assistant", "content": "It is written."}
    assert _texts(_ask(model, PROMPT, USE, RESULT, said, PROMPT)) == ["I write."]


def test_reminders_are_no_prompt(model: ScriptedModel) -> None:
    first = {"role": "user", "content": [REMINDER, {"type": "text", "text": "write a"}]}
    aside = {"role": "user", "content": [REMINDER]}
    system = {"role": "system", "content": [{"type": "text", "text": "# Environment"}]}
    assert _texts(_ask(model, first, system)) == ["I write."]
    assert _ask(model, first, system, USE, RESULT, aside).content == (
        ToolUse(id="toolu_5_0", name="Write", input=WRITE.input),
        ToolUse(id="toolu_5_1", name="Write", input=WRITE.input),
    )


def test_words_beside_a_tools_result_are_no_prompt(model: ScriptedModel) -> None:
    result = {"role": "user", "content": [*RESULT["content"], {"type": "text", "text": "a hook says no"}]}
    assert _texts(_ask(model, PROMPT, USE, result)) == []


def test_a_request_without_tools_gets_a_plain_text(model: ScriptedModel) -> None:
    reply = _ask(model, PROMPT, USE, RESULT, tools=False)
    assert (_texts(reply), reply.stop_reason) == ([scripted.ASIDE], "end_turn")


def test_tokens_are_counted_from_lengths_alone(model: ScriptedModel) -> None:
    long = {"role": "user", "content": "x" * 400}
    assert _ask(model, long).usage == _ask(model, long).usage
    assert _ask(model, long).usage.input_tokens == 100
    status, body = _send(model, "POST", "/v1/messages/count_tokens", _body(long))
    assert (status, json.loads(body)) == (200, {"input_tokens": 100})
    assert _ask(model, long).usage.output_tokens > 0


def test_counting_tokens_asks_for_no_reply(model: ScriptedModel) -> None:
    _send(model, "POST", "/v1/messages/count_tokens", _body(PROMPT))
    assert model.requests == 0


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_it_says_that_it_is_there(model: ScriptedModel, method: str) -> None:
    status, body = _send(model, method, "/")
    assert status == 200
    assert bool(body) == (method == "GET")


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status", "kind"),
    [
        ("POST", "/v1/messages", b"{", {}, 400, "invalid_request_error"),
        ("POST", "/v1/messages", b"{}", {}, 400, "invalid_request_error"),
        ("POST", "/v1/complete", b"{}", {}, 404, "not_found_error"),
        ("GET", "/v1/models", None, {}, 404, "not_found_error"),
        ("POST", "/v1/messages", b"", {"Content-Length": "-1"}, 411, "invalid_request_error"),
        ("POST", "/v1/messages", b"", {"Content-Length": str(1 << 40)}, 413, "request_too_large"),
        ("POST", "/v1/messages", b"", {"Content-Length": "9" * 5000}, 413, "request_too_large"),
        ("DELETE", "/", None, {}, 501, "api_error"),
    ],
    ids=lambda value: str(value)[:12],
)
def test_what_it_does_not_take_is_refused_in_the_apis_shape(
    model: ScriptedModel,
    method: str,
    path: str,
    body: bytes | None,
    headers: dict[str, str],
    status: int,
    kind: str,
) -> None:
    got, answer = _send(model, method, path, body, headers)
    assert (got, json.loads(answer)["error"]["type"]) == (status, kind)
    assert model.requests == 0


def test_a_pause_comes_after_the_stream_has_begun() -> None:
    with ScriptedModel([Turn(text="late", pause=60)]) as model, _connected(model) as connection:
        _post(connection, _body(PROMPT, stream=True))
        assert b"message_start" in _until(connection, b"message_start")
        connection.settimeout(0.1)
        with pytest.raises(TimeoutError):
            connection.recv(1)


def test_closing_ends_a_pause() -> None:
    model = ScriptedModel([Turn(text="late", pause=60)])
    with _connected(model) as connection:
        _post(connection, _body(PROMPT, stream=True))
        _until(connection, b"message_start")
        began = time.monotonic()
        model.close()
        assert time.monotonic() - began < 10
        while part := connection.recv(1 << 16):
            assert b"late" not in part


def test_closing_ends_connections_that_say_nothing_and_leaves_no_thread() -> None:
    before = set(threading.enumerate())
    model = ScriptedModel(SCRIPT)
    with _connected(model) as silent, _connected(model) as halfway:
        halfway.sendall(b"POST /v1/messages HTTP/1.1\r\nContent-Length: 100\r\n\r\n{")
        _ask(model, PROMPT)
        began = time.monotonic()
        model.close()
        model.close()
        assert time.monotonic() - began < scripted.IDLE / 2
        assert silent.recv(1) == b""
        assert set(threading.enumerate()) <= before


def test_a_client_that_hangs_up_leaves_no_word_and_the_next_is_served(capfd: pytest.CaptureFixture[str]) -> None:
    with ScriptedModel([Turn(text="x" * 1_000_000)]) as model:
        for sent in (b"", b"POST /v1/mess", b"POST /v1/messages HTTP/1.1\r\nContent-Length: 100\r\n\r\n{"):
            with _connected(model) as connection:
                connection.sendall(sent)
        with _connected(model) as connection:
            # a reset while the answer is written, not a polite end
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            _post(connection, _body(PROMPT, stream=True))
            _until(connection, b"message_start")
        assert len(_texts(_ask(model, PROMPT))[0]) == 1_000_000
    captured = capfd.readouterr()
    assert captured.out + captured.err == ""


def test_agents_in_parallel_get_the_same(model: ScriptedModel) -> None:
    replies: list[Reply] = []
    threads = [threading.Thread(target=lambda: replies.append(_ask(model, PROMPT, stream=True))) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(replies) == model.requests == 16
    assert all(reply == replies[0] for reply in replies)


def _connected(model: ScriptedModel) -> socket.socket:
    address = urlsplit(model.url)
    assert address.hostname == "127.0.0.1"
    return socket.create_connection((address.hostname, address.port), timeout=10)


def _post(connection: socket.socket, body: bytes) -> None:
    connection.sendall(b"POST /v1/messages HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body) + body)


def _until(connection: socket.socket, word: bytes) -> bytes:
    seen = b""
    while word not in seen:
        part = connection.recv(1 << 16)
        assert part, seen
        seen += part
    return seen
