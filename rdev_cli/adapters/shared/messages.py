"""The Anthropic Messages API on the wire: requests and replies read, replies and errors written."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

LIMIT = 32 << 20  # bytes; the API itself takes no larger request
PIECE = 64  # characters of a streamed delta

# https://docs.anthropic.com/en/api/errors
_ERRORS = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    529: "overloaded_error",
}


class Malformed(ValueError):
    """Bytes that the API would neither send nor take."""


class Refused(Exception):
    """The API's own word that there is no reply."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(f"{kind}: {message}")
        self.kind, self.message = kind, message


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """Words."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolUse:
    """A tool that the model wants used."""

    id: str
    name: str
    input: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolResult:
    """What using a tool gave."""

    tool_use_id: str
    text: str
    failed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Other:
    """A block of a kind that is only carried (thinking, image, ...); of a streamed one, what its start held."""

    raw: Mapping[str, Any]


Block = Text | ToolUse | ToolResult | Other


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens; `input_tokens` are those that no cache served or kept."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_creation_tokens: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message of a conversation."""

    role: str
    content: tuple[Block, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is asked of a model."""

    model: str
    messages: tuple[Message, ...]
    system: str = ""
    tools: tuple[str, ...] = ()  # their names
    stream: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What a model answers; `stop_reason` is empty until it is known."""

    id: str
    model: str
    content: tuple[Block, ...]
    usage: Usage = field(default_factory=Usage)
    stop_reason: str = "end_turn"


def parse_request(body: bytes) -> Request:
    """Read the body of `POST /v1/messages` or of its `count_tokens`; raises Malformed."""
    document = _document(body)
    model = document.get("model")
    if not isinstance(model, str) or not model:
        raise Malformed("model: a name is required")
    messages = document.get("messages")
    if not isinstance(messages, list) or not messages:
        raise Malformed("messages: at least one is required")
    tools = document.get("tools") or []
    if not isinstance(tools, list):
        raise Malformed("tools: a list is required")
    return Request(
        model=model,
        messages=tuple(_message(entry, place) for place, entry in enumerate(messages)),
        system=_words(document.get("system")),
        tools=tuple(_text(tool, "name") for tool in tools if isinstance(tool, dict)),
        stream=document.get("stream") is True,
    )


def parse_reply(body: bytes, *, streamed: bool) -> Reply:
    """Read a whole reply; raises Malformed, also for a stream that was cut, and Refused for the API's errors."""
    if streamed:
        reader = ReplyReader()
        reader.feed(body)
        if not reader.complete:
            raise Malformed("the stream ends before message_stop")
        return reader.reply()
    document = _document(body)
    _refuse(document)
    content = document.get("content")
    if not isinstance(content, list):
        raise Malformed("content: a list is required")
    return Reply(
        id=_text(document, "id"),
        model=_text(document, "model"),
        content=tuple(_block(entry, "content") for entry in content),
        usage=_usage(document.get("usage"), Usage()),
        stop_reason=_text(document, "stop_reason"),
    )


class ReplyReader:
    """A streamed reply as it comes by: what was read so far can be asked for at any time."""

    def __init__(self) -> None:
        self.complete = False
        self._id = self._model = self._stop_reason = ""
        self._usage = Usage()
        self._blocks: dict[int, Block] = {}
        self._parts: dict[int, list[str]] = {}
        self._line = bytearray()
        self._data: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> None:
        """Take the next bytes, cut anywhere; raises Malformed, and Refused for an error in the stream."""
        self._size += len(data)
        if self._size > LIMIT:
            raise Malformed(f"the reply is larger than {LIMIT} bytes")
        *lines, rest = data.split(b"\n")
        for line in lines:
            self._line += line
            whole = bytes(self._line).removesuffix(b"\r")
            self._line.clear()
            self._take(whole)
        self._line += rest

    def reply(self) -> Reply:
        """Return what has come so far; a tool's input that is not whole is empty."""
        content: list[Block] = []
        for index in sorted(self._blocks):
            block = self._blocks[index]
            parts = self._parts.get(index)
            content.append(Text(text=block.text + "".join(parts)) if parts and isinstance(block, Text) else block)
        return Reply(
            id=self._id,
            model=self._model,
            content=tuple(content),
            usage=self._usage,
            stop_reason=self._stop_reason,
        )

    def _take(self, line: bytes) -> None:
        # https://html.spec.whatwg.org/multipage/server-sent-events.html: an empty line ends an event
        if line.startswith(b"data:"):
            self._data.append(line[5:].removeprefix(b" "))
        elif not line and self._data:
            document = _document(b"\n".join(self._data))
            self._data.clear()
            self._event(document)

    def _event(self, event: Mapping[str, Any]) -> None:
        _refuse(event)
        match event.get("type"):
            case "message_start":
                message = _object(event, "message")
                self._id, self._model = _text(message, "id"), _text(message, "model")
                self._usage = _usage(message.get("usage"), self._usage)
            case "content_block_start":
                self._blocks[_index(event)] = _block(event.get("content_block"), "content_block")
            case "content_block_delta":
                self._delta(_index(event), _object(event, "delta"))
            case "content_block_stop":
                self._close(_index(event))
            case "message_delta":
                self._stop_reason = _text(_object(event, "delta"), "stop_reason") or self._stop_reason
                self._usage = _usage(event.get("usage"), self._usage)
            case "message_stop":
                self.complete = True
            case _:
                pass  # the API's versioning policy: events of new kinds may come at any time

    def _delta(self, index: int, delta: Mapping[str, Any]) -> None:
        if index not in self._blocks:
            raise Malformed(f"a delta for block {index}, which never started")
        part = _text(delta, "text") or _text(delta, "partial_json")
        self._parts.setdefault(index, []).append(part)

    def _close(self, index: int) -> None:
        block, parts = self._blocks.get(index), "".join(self._parts.get(index, ()))
        if isinstance(block, ToolUse) and parts:
            try:
                value = _document(parts.encode("utf-8", "replace"))
            except Malformed:
                return  # max_tokens cuts a tool's input anywhere; what was spent is still to be counted
            self._blocks[index] = ToolUse(id=block.id, name=block.name, input=value)


def emit_reply(reply: Reply) -> bytes:
    """Write a reply as the plain JSON body."""
    return _json(_envelope(reply, [_raw(block) for block in reply.content], reply.stop_reason or None, reply.usage))


def emit_stream(reply: Reply) -> Iterator[bytes]:
    """Write a reply as server-sent events, one at a time; the first is message_start."""
    yield _sse(
        "message_start",
        message=_envelope(
            reply,
            [],
            None,
            Usage(
                input_tokens=reply.usage.input_tokens,
                cache_read_tokens=reply.usage.cache_read_tokens,
                cache_creation_tokens=reply.usage.cache_creation_tokens,
            ),
        ),
    )
    yield _sse("ping")
    for index, block in enumerate(reply.content):
        empty: Block = block
        deltas: list[dict[str, str]] = []
        if isinstance(block, Text):
            empty = Text(text="")
            deltas = [{"type": "text_delta", "text": part} for part in _pieces(block.text)]
        elif isinstance(block, ToolUse):
            empty = ToolUse(id=block.id, name=block.name, input={})
            deltas = [{"type": "input_json_delta", "partial_json": part} for part in _pieces(_json(block.input).decode())]
        yield _sse("content_block_start", index=index, content_block=_raw(empty))
        for delta in deltas:
            yield _sse("content_block_delta", index=index, delta=delta)
        yield _sse("content_block_stop", index=index)
    yield _sse(
        "message_delta",
        delta={"stop_reason": reply.stop_reason or None, "stop_sequence": None},
        usage={"output_tokens": reply.usage.output_tokens},
    )
    yield _sse("message_stop")


def emit_error(status: int, message: str) -> bytes:
    """Write the body that goes with an HTTP status."""
    kind = _ERRORS.get(status, "api_error" if status >= 500 else "invalid_request_error")
    return _json({"type": "error", "error": {"type": kind, "message": message}})


def _document(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"not JSON: {error}") from error
    if not isinstance(document, dict):
        raise Malformed("a JSON object is required")
    return document


def _refuse(document: Mapping[str, Any]) -> None:
    if document.get("type") == "error":
        error = _object(document, "error")
        raise Refused(_text(error, "type"), _text(error, "message"))


def _message(entry: object, place: int) -> Message:
    where = f"messages.{place}"
    if not isinstance(entry, dict) or entry.get("role") not in ("user", "assistant", "system"):
        raise Malformed(f"{where}: an object with a role is required")
    content = entry.get("content")
    if isinstance(content, str):
        return Message(role=entry["role"], content=(Text(text=content),))
    if not isinstance(content, list):
        raise Malformed(f"{where}.content: a string or a list is required")
    return Message(role=entry["role"], content=tuple(_block(block, where) for block in content))


def _block(entry: object, where: str) -> Block:
    if not isinstance(entry, dict) or not isinstance(entry.get("type"), str):
        raise Malformed(f"{where}: a block with a type is required")
    match entry["type"]:
        case "text":
            return Text(text=_text(entry, "text"))
        case "tool_use":
            return ToolUse(id=_text(entry, "id"), name=_text(entry, "name"), input=_object(entry, "input"))
        case "tool_result":
            return ToolResult(
                tool_use_id=_text(entry, "tool_use_id"),
                text=_words(entry.get("content")),
                failed=entry.get("is_error") is True,
            )
        case _:
            return Other(raw=entry)


def _raw(block: Block) -> Mapping[str, Any]:
    match block:
        case Text():
            return {"type": "text", "text": block.text}
        case ToolUse():
            return {"type": "tool_use", "id": block.id, "name": block.name, "input": block.input}
        case ToolResult():
            return {
                "type": "tool_result",
                "tool_use_id": block.tool_use_id,
                "content": block.text,
                "is_error": block.failed,
            }
        case Other():
            return block.raw


def _words(content: object) -> str:
    """Return the text of a field that may be a string or a list of blocks."""
    if isinstance(content, str):
        return content
    blocks: Sequence[object] = content if isinstance(content, list) else ()
    return "\n".join(_text(block, "text") for block in blocks if isinstance(block, dict) and block.get("type") == "text")


def _text(document: Mapping[str, Any], key: str) -> str:
    value = document.get(key)
    return value if isinstance(value, str) else ""


def _object(document: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = document.get(key)
    if not isinstance(value, dict):
        raise Malformed(f"{key}: an object is required")
    return value


def _index(event: Mapping[str, Any]) -> int:
    index = event.get("index")
    if type(index) is not int:
        raise Malformed("index: a number is required")
    return index


def _usage(entry: object, before: Usage) -> Usage:
    """Read usage over what was known: message_delta repeats only what has changed."""
    told: Mapping[str, Any] = entry if isinstance(entry, dict) else {}

    def count(key: str, known: int) -> int:
        value = told.get(key)
        return value if type(value) is int and value >= 0 else known

    return Usage(
        input_tokens=count("input_tokens", before.input_tokens),
        output_tokens=count("output_tokens", before.output_tokens),
        cache_read_tokens=count("cache_read_input_tokens", before.cache_read_tokens),
        cache_creation_tokens=count("cache_creation_input_tokens", before.cache_creation_tokens),
    )


def _envelope(reply: Reply, content: list[Mapping[str, Any]], stop_reason: str | None, usage: Usage) -> dict[str, Any]:
    return {
        "id": reply.id,
        "type": "message",
        "role": "assistant",
        "model": reply.model,
        "content": content,
        "stop_reason": stop_reason,
        "stop_sequence": None,
        "usage": {
            "input_tokens": usage.input_tokens,
            "output_tokens": usage.output_tokens,
            "cache_read_input_tokens": usage.cache_read_tokens,
            "cache_creation_input_tokens": usage.cache_creation_tokens,
        },
    }


def _pieces(text: str) -> list[str]:
    return [text[start : start + PIECE] for start in range(0, len(text), PIECE)]


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _sse(kind: str, **fields: object) -> bytes:
    return b"event: " + kind.encode() + b"\ndata: " + _json({"type": kind, **fields}) + b"\n\n"
