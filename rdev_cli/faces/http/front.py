"""Where a connection of the server begins: what it asks for decides whether the app serves it, or the proxy of previews."""

import asyncio
from collections.abc import Callable
from typing import Any

import h11

from rdev_cli.faces.http.heads import HEAD, named
from rdev_cli.faces.http.previewing import Visit
from rdev_cli.faces.http.visits import Visits
from rdev_cli.faces.http.wire import Wire


class Front(Wire):
    """A connection of the server, before it is known whom a request is for: the hosts of previews never reach the app, nor its host a preview."""

    visits: Visits

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._again: Callable[[], asyncio.Protocol] = lambda: type(self)(*args, **more)
        self._head = b""

    def data_received(self, data: bytes) -> None:
        """Hold a request's head until its host is known."""
        if not self._head and (self.conn.their_state is not h11.IDLE or self.conn.trailing_data[0]):
            super().data_received(data)
            return
        self._head += data
        end = self._head.find(b"\r\n\r\n")
        if end < 0 and self._head[0] > 0x20 and len(self._head) < HEAD and b"\n\n" not in self._head and b"\n\r\n" not in self._head:
            self._unset_keepalive_if_required()
            return  # the limit on the time that this takes runs already
        head, self._head = self._head, b""
        host = named(head[: max(end, 0)])
        if not host or self.visits.label(host) is None:
            super().data_received(head)
            return
        self.leave()
        visit = Visit(self.visits, self.connections, self.again)
        self.transport.set_protocol(visit)
        visit.connection_made(self.transport)
        visit.data_received(head)

    def leave(self) -> None:
        """Let go of the connection."""
        self._unset_keepalive_if_required()
        self.connections.discard(self)

    def again(self, transport: asyncio.Transport, head: bytes) -> None:
        """Take a connection back, whose next request is for the app."""
        front = self._again()
        transport.set_write_buffer_limits()
        transport.set_protocol(front)
        front.connection_made(transport)
        front.data_received(head)
