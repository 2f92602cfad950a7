"""The connection under a stream: how it is given up, and when it counts as dead."""

import asyncio
import socket
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

DEAD = 30  # seconds without a sign of the other side, while something is on its way to it


class Wire(H11Protocol):
    """HTTP/1.1 whose application can drop the connection, by `scope["rdev.abort"]`.

    Without that one who reads nothing stays for ever: what closes a connection waits for what is still to be sent.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection."""
        super().connection_made(transport)
        app = self.app

        async def reaching(scope: Any, receive: Any, send: Any) -> None:
            scope["rdev.abort"] = transport.abort
            await app(scope, receive, send)

        self.app = reaching
        peer = transport.get_extra_info("socket")
        if hasattr(socket, "TCP_USER_TIMEOUT") and peer is not None and peer.family in (socket.AF_INET, socket.AF_INET6):
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, DEAD * 1000)
