"""The connection under a stream: how it is given up, and when it counts as dead."""

import asyncio
import socket
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

DEAD = 30  # seconds without a sign of the other side, while something is on its way to it


class Wire(H11Protocol):
    """HTTP/1.1 whose application can reach the connection, as `scope["rdev.wire"]`, to bound what it holds and to drop it.

    Without that one who reads nothing stays for ever: what closes a connection waits for what is still to be sent.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection."""
        super().connection_made(transport)
        app = self.app

        async def reaching(scope: Any, receive: Any, send: Any) -> None:
            scope["rdev.wire"] = transport
            await app(scope, receive, send)

        self.app = reaching
        peer = transport.get_extra_info("socket")
        if hasattr(socket, "TCP_USER_TIMEOUT") and peer is not None and peer.family in (socket.AF_INET, socket.AF_INET6):
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, DEAD * 1000)


def bounded(wire: asyncio.Transport) -> None:
    """Let a connection hold little that its other side has not read: the system alone would keep megabytes for it."""
    wire.set_write_buffer_limits(high=1 << 15)
    peer = wire.get_extra_info("socket")
    if peer is not None:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 17)
