"""An HTTP request handed straight to an application, byte for byte as it would come off the wire."""

import asyncio
import contextlib
import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import unquote


class Answer:
    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body

    @property
    def code(self) -> str:
        """The error's code, empty for none."""
        return json.loads(self.body).get("error", {}).get("code", "") if self.body[:1] == b"{" else ""


class Wire:
    """One loop for many requests, which a client would make one for each."""

    def __init__(self, app: Any) -> None:
        self._app, self._runner = app, asyncio.Runner()

    def close(self) -> None:
        self._runner.close()

    def ask(
        self,
        method: str,
        target: str,
        headers: Sequence[tuple[str, str]] = (),
        body: bytes = b"",
        *,
        peer: str = "127.0.0.1",
    ) -> Answer:
        return self._runner.run(self._ask(method, target, headers, body, peer))

    async def _ask(self, method: str, target: str, headers: Sequence[tuple[str, str]], body: bytes, peer: str) -> Answer:
        path, _, query = target.partition("?")
        given = [("host", "testserver"), *headers]
        if body:
            given += [("content-type", "application/json"), ("content-length", str(len(body)))]
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http", "path": unquote(path),
            "raw_path": path.encode(), "query_string": query.encode(), "root_path": "", "client": (peer, 1), "server": ("testserver", 80),
            "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in given], "state": {},
        }  # fmt: skip
        sent: list[dict[str, Any]] = []
        gone = asyncio.Event()
        todo = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> dict[str, Any]:
            if todo:
                return todo.pop()
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)
            if (b"content-type", b"text/event-stream") in [(name, value.partition(b";")[0]) for name, value in message.get("headers", ())]:
                served.cancel()  # its end is not waited for: that it begins is what is asked

        served = asyncio.ensure_future(self._app(scope, receive, send))
        with contextlib.suppress(asyncio.CancelledError):
            await served
        first = next(one for one in sent if one["type"] == "http.response.start")
        whole = b"".join(one.get("body", b"") for one in sent if one["type"] == "http.response.body")
        return Answer(first["status"], {name.decode(): value.decode("latin-1") for name, value in first["headers"]}, whole)
