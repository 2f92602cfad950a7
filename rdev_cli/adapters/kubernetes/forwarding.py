"""A port of a pod as a stream socket of this machine: two threads carry bytes between it and a WebSocket of the API server."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading
import time
from typing import TYPE_CHECKING

from websocket import ABNF, WebSocketException

from rdev_cli.adapters.kubernetes import states
from rdev_cli.adapters.kubernetes.manifests import LABEL
from rdev_cli.adapters.kubernetes.socket import PIECE, Frames
from rdev_cli.domain.errors import NotFound, Unavailable
from rdev_cli.domain.project import ownership

if TYPE_CHECKING:
    from rdev_cli.adapters.kubernetes.api import Api
    from rdev_cli.adapters.kubernetes.wire import Wire
    from rdev_cli.domain.project import Project

_DATA, _TROUBLE = 0, 1
LINGER = (
    10.0  # seconds without a byte that the far end has, once there is nothing more to tell it: this protocol has no word for half an end
)
_SAID = 4096  # bytes of what is wrong


def dial(api: Api, namespace: str, installation: str, project: Project, port: int, *, timeout: float) -> socket.socket:
    """Return a socket whose other end is a port of this pod: the same one, by its uid and labels, before and after it was connected to.

    A pod of the pool goes from hand to hand, and a name may be given again; the API server connects by name.
    """
    before = _looked(api, namespace, installation, project)
    wire = api.forward(namespace, project.pod, port, timeout=timeout)
    try:
        if _looked(api, namespace, installation, project) != before:
            raise _gone(project)
        return _Carrying(wire, port).ours
    except BaseException:
        wire.close()
        raise


def _looked(api: Api, namespace: str, installation: str, project: Project) -> str:
    """Return the uid of the pod, if it runs and carries this place's marks."""
    try:
        found = api.get(f"/api/v1/namespaces/{namespace}/pods/{project.pod}")
    except NotFound as e:
        raise _gone(project) from e
    marks = {f"{LABEL}{key}": value for key, value in ownership(project, installation).items()}
    if not marks.items() <= (found["metadata"].get("labels") or {}).items() or states.leaving(found):
        raise _gone(project)
    if found["status"].get("phase") != "Running":
        raise Unavailable(
            f"the pod {project.pod} does not run", hint="rdev session show SESSION says how it is", code="POD_NOT_READY", pod=project.pod
        )
    return str(found["metadata"]["uid"])


def _gone(project: Project) -> NotFound:
    return NotFound("the pod is not there any more", hint="rdev session list shows the sessions there are", code="NO_POD", pod=project.pod)


class _Carrying:
    """One stream on its way. It ends, with both its ends, when either end does."""

    def __init__(self, wire: Wire, port: int) -> None:
        self.ours, self._near = socket.socketpair()
        self._wire, self._frames, self._port, self._heard = wire, Frames(wire), struct.pack("<H", port), time.monotonic()
        self._sending = threading.Lock()
        for work in (self._in, self._out):
            threading.Thread(target=work, name="preview", daemon=True).start()

    def _in(self) -> None:
        """Carry what the pod sends, until the way or the near end is closed."""
        self._wire.deadline = float("inf")
        at, first = -1, {_DATA: b"", _TROUBLE: b""}
        try:
            while True:
                frame = self._frames.recv_frame()
                data = bytes(frame.data)  # type: ignore[arg-type]  # the library's word for text, which these never are
                if frame.opcode == ABNF.OPCODE_CLOSE:
                    break
                if frame.opcode == ABNF.OPCODE_PING:
                    self._frame(ABNF.OPCODE_PONG, data)
                    continue
                if frame.opcode not in (ABNF.OPCODE_BINARY, ABNF.OPCODE_TEXT, ABNF.OPCODE_CONT):
                    continue
                if frame.opcode != ABNF.OPCODE_CONT:
                    at, data = (data[0], data[1:]) if data else (-1, b"")
                if at not in first:
                    continue
                if len(first[at]) < len(self._port):  # each channel begins with the port that it is of
                    more = len(self._port) - len(first[at])
                    first[at], data = first[at] + data[:more], data[more:]
                if data and at == _TROUBLE:
                    break  # it says why there is no connection, or none any more: the far end is gone
                if data:
                    self._heard = time.monotonic()
                    self._near.sendall(data)
        except (OSError, ValueError, WebSocketException):
            pass  # as good an end as any: whoever reads sees that bytes are missing by their own protocol
        self._end()

    def _out(self) -> None:
        """Carry what the near end sends; after its end wait until nobody reads there any more, or nothing comes."""
        try:
            while data := self._near.recv(PIECE):
                self._frame(ABNF.OPCODE_BINARY, bytes([_DATA]) + data)
            poller = select.poll()
            poller.register(self._near, 0)  # a hang-up is told unasked
            self._heard = time.monotonic()
            while not poller.poll(500) and time.monotonic() < self._heard + LINGER:
                pass
        except (OSError, ValueError):
            pass
        self._end()

    def _frame(self, opcode: int, data: bytes) -> None:
        with self._sending:
            self._wire.push(ABNF.create_frame(data, opcode).format(), float("inf"))

    def _end(self) -> None:
        self._wire.close()
        with contextlib.suppress(OSError):
            self._near.shutdown(socket.SHUT_RDWR)
        self._near.close()
