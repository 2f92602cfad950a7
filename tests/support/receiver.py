"""An endpoint on the loopback that keeps what is sent to it and answers as a test says."""

import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = Callable[[Mapping[str, str], bytes, Any], None]


class _Server(ThreadingHTTPServer):
    request_queue_size = 256
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: whoever sends may leave at any time."""


class Receiver:
    """One endpoint; `answer` takes the headers (lower case), the body and the handler, and may do with the connection what it likes."""

    def __init__(self, answer: Answer | None = None, status: int = 200, wrap: Callable[[Any], Any] | None = None) -> None:
        self.messages: list[tuple[Mapping[str, str], bytes]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                receiver.messages.append((headers, body))
                if answer is not None:
                    answer(headers, body, self)
                else:
                    reply(self, receiver.status)

            def log_message(self, *_: object) -> None: ...

        self.status = status
        self._server = _Server(("127.0.0.1", 0), Handler)
        if wrap is not None:
            self._server.socket = wrap(self._server.socket)
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/hook"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    def ids(self) -> list[str]:
        return [headers["webhook-id"] for headers, _ in self.messages]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)


def reply(handler: Any, status: int, body: bytes = b"", headers: Mapping[str, str] | None = None) -> None:
    """Answer one request as usual."""
    handler.send_response(status)
    for name, value in {"content-length": str(len(body)), **(headers or {})}.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(body)
