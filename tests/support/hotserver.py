"""A small dev server with hot reload: a page, and a WebSocket that tells it when a file has changed. Nothing but the standard library."""

import base64
import hashlib
import os
import socket
import sys
import threading
import time

PAGE = b"""<!doctype html><title>hot</title><p id="text">%b</p><p id="state">loading</p><script>
const way = new WebSocket(`ws://${location.host}/hot`);
way.onopen = () => state.textContent = "hot";
way.onmessage = event => text.textContent = event.data;
way.onclose = () => state.textContent = "cold";
</script>"""
FILE = "page.txt"


def serve(one: socket.socket) -> None:
    head = b""
    while b"\r\n\r\n" not in head:
        data = one.recv(4096)
        if not data:
            return
        head += data
    lines = dict(line.lower().split(": ", 1) for line in head.decode("latin-1").split("\r\n")[1:] if ": " in line)
    if lines.get("upgrade") == "websocket":
        key = next(line.partition(": ")[2] for line in head.decode().split("\r\n") if line.lower().startswith("sec-websocket-key"))
        accept = base64.b64encode(hashlib.sha1(f"{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode(), usedforsecurity=False).digest())
        one.sendall(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
            + accept
            + b"\r\n\r\n"
        )
        told = text()
        while True:
            if (now := text()) != told:
                told = now
                one.sendall(bytes([0x81, len(now)]) + now)
            time.sleep(0.05)
    body = PAGE % text()
    one.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(body) + body)
    one.close()


def text() -> bytes:
    if not os.path.exists(FILE):
        return b"one"
    with open(FILE, "rb") as file:
        return file.read().strip()


if __name__ == "__main__":
    listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
    sys.stdout.write("listens\n")
    sys.stdout.flush()
    while True:
        threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
