"""A model that plays a script: a small server that agents take for the Messages API, for the demo and for tests."""

import socket
import sys
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from rdev_cli.adapters.shared import messages
from rdev_cli.adapters.shared.messages import (
    Block,
    Malformed,
    Message,
    Reply,
    Request,
    Text,
    ToolResult,
    ToolUse,
    Usage,
)

ASIDE = "Scripted work"  # the answer to requests without tools: titles, summaries, quota checks
END = "Done."  # the answer once the script is over
IDLE = 30  # seconds that a client may take to say the rest of its request
_REMINDER = "<system-reminder>"


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """A tool that the script uses."""

    name: str
    input: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One answer of the script, given `pause` seconds after it was asked for."""

    text: str = ""
    tools: tuple[ToolCall, ...] = ()
    pause: float = 0.0


class ScriptedModel:
    """Plays the same script to every prompt, over HTTP on this machine.

    The turn is read off the conversation and nothing is remembered between requests, so a retry gets the same answer
    and any number of agents may play at once.
    """

    def __init__(self, script: Sequence[Turn], *, host: str = "127.0.0.1") -> None:
        self.script = tuple(script)
        self._requests = 0
        self._counting = threading.Lock()
        self._closing = threading.Event()
        self._server = _Server(self, host)
        # shutdown() waits for one poll
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="scripted-model", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()

    @property
    def url(self) -> str:
        """Return what an agent takes as ANTHROPIC_BASE_URL."""
        host, port = self._server.server_address[:2]
        return f"http://{host!s}:{port}"

    @property
    def requests(self) -> int:
        """Return how many replies have been asked for so far."""
        with self._counting:
            return self._requests

    def close(self) -> None:
        """End every pause and connection, and the server; a second time does nothing."""
        if not self._closing.is_set():
            self._closing.set()
            self._server.shutdown()
            self._thread.join()
            self._server.hang_up()
            self._server.server_close()

    def count(self) -> None:
        """Note that a reply was asked for."""
        with self._counting:
            self._requests += 1

    def wait(self, seconds: float) -> bool:
        """Pause; return whether to go on."""
        return not self._closing.wait(seconds)

    def turn(self, request: Request) -> Turn:
        """Return the turn that a conversation has come to."""
        if not request.tools:
            return Turn(text=ASIDE)
        said = 0
        for message in reversed(request.messages):
            if _is_prompt(message):
                break
            said += message.role == "assistant"
        return self.script[said] if said < len(self.script) else Turn(text=END)


def _is_prompt(message: Message) -> bool:
    """Tell a person's words from the results and reminders that an agent sends in the same role."""
    if message.role != "user" or any(isinstance(block, ToolResult) for block in message.content):
        return False
    return any(isinstance(block, Text) and not block.text.lstrip().startswith(_REMINDER) for block in message.content)


# How OpenCode calls the tools that a script names as Claude Code does.
_OTHER_WORDS = {
    "Write": ("write", {"file_path": "filePath", "content": "content"}),
    "Edit": ("edit", {"file_path": "filePath", "old_string": "oldString", "new_string": "newString", "replace_all": "replaceAll"}),
    "Read": ("read", {"file_path": "filePath", "offset": "offset", "limit": "limit"}),
    "Bash": ("bash", {"command": "command", "description": "description"}),
    "Glob": ("glob", {"pattern": "pattern", "path": "path"}),
    "Grep": ("grep", {"pattern": "pattern", "path": "path"}),
}


def _offered(call: ToolCall, offered: Collection[str]) -> ToolCall:
    """Return a tool's use in the words of the agent that asks: the tools that it offers tell which those are."""
    if call.name in offered or call.name not in _OTHER_WORDS:
        return call
    name, fields = _OTHER_WORDS[call.name]
    given = {fields.get(key, key): value for key, value in call.input.items()}
    if name == "bash":
        given.setdefault("description", "run it")
    return ToolCall(name=name, input=given) if name in offered else call


def _reply(request: Request, turn: Turn) -> Reply:
    offered = frozenset(request.tools)
    content: list[Block] = [Text(text=turn.text)] if turn.text else []
    # an id is used once in a conversation: its place there makes it so, and the same on a retry
    place = len(request.messages)
    for number, call in enumerate(_offered(call, offered) for call in turn.tools):
        content.append(ToolUse(id=f"toolu_{place}_{number}", name=call.name, input=call.input))
    return Reply(
        id=f"msg_{place}",
        model=request.model,
        content=tuple(content),
        usage=Usage(input_tokens=_input_tokens(request), output_tokens=_tokens(content)),
        stop_reason="tool_use" if turn.tools else "end_turn",
    )


def _input_tokens(request: Request) -> int:
    return _tokens([Text(text=request.system)]) + sum(_tokens(message.content) for message in request.messages)


def _tokens(content: Sequence[Block]) -> int:
    """Price a block as its length: four characters a token, as the rule of thumb has it."""
    total = 0
    for block in content:
        match block:
            case Text() | ToolResult():
                total += len(block.text)
            case ToolUse():
                total += len(block.name) + len(str(block.input))
            case _:
                total += len(str(block.raw))
    return -(-total // 4)


class _Server(ThreadingTCPServer):
    """Threads that end with the server, though their clients hold the connection."""

    request_queue_size = 64

    def __init__(self, model: ScriptedModel, host: str) -> None:
        self.model = model
        self._open: set[socket.socket] = set()
        self._guard = threading.Lock()
        super().__init__((host, 0), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._guard:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._guard:
            self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a client that hung up, which is a client's right."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)

    def hang_up(self) -> None:
        with self._guard:
            for connection in self._open:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass  # the client was first


class _Handler(BaseHTTPRequestHandler):
    """One request."""

    server: _Server
    protocol_version = "HTTP/1.1"
    timeout = IDLE

    def do_HEAD(self) -> None:
        self._answer(200 if self._path() == "/" else 404, "text/plain", b"")

    def do_GET(self) -> None:
        if self._path() == "/":
            self._answer(200, "text/plain", b"a scripted model\n")
        else:
            self.send_error(404, "there is nothing here")

    def do_POST(self) -> None:
        path = self._path()
        if path not in ("/v1/messages", "/v1/messages/count_tokens"):
            return self.send_error(404, "there is nothing here")
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit()):
            return self.send_error(411, "a Content-Length is required")
        if len(length) > 12 or int(length) > messages.LIMIT:
            return self.send_error(413, f"the request is larger than {messages.LIMIT} bytes")
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            raise ConnectionError("the client hung up within its request")
        try:
            request = messages.parse_request(body)
        except Malformed as error:
            return self.send_error(400, str(error))
        if path.endswith("count_tokens"):
            return self._answer(200, "application/json", b'{"input_tokens":%d}' % _input_tokens(request))
        self.server.model.count()
        turn = self.server.model.turn(request)
        reply = _reply(request, turn)
        if request.stream:
            self._stream(messages.emit_stream(reply), turn.pause)
        elif self.server.model.wait(turn.pause):
            self._answer(200, "application/json", messages.emit_reply(reply))
        return None

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:  # noqa: ARG002 -- http.server's shape
        """Refuse in the API's shape, which http.server's own refusals take too."""
        self._answer(int(code), "application/json", messages.emit_error(int(code), message or "refused"))

    def log_message(self, *_: Any) -> None:
        """Say nothing: stderr is the face's."""

    def _path(self) -> str:
        return urlsplit(self.path).path

    def _head(self, status: int, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Connection", "close")  # which also ends a stream, whose length nobody knows

    def _answer(self, status: int, kind: str, body: bytes) -> None:
        self._head(status, kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _stream(self, events: Iterator[bytes], pause: float) -> None:
        self._head(200, "text/event-stream")
        self.end_headers()
        self.wfile.write(next(events))  # the reply has begun before the pause: an agent sees a model that thinks
        if self.server.model.wait(pause):
            for event in events:
                self.wfile.write(event)
