"""A person looks at a dev server with hot reload in a session, and at nothing once the session has ended."""

import json
import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import Rdev
from tests.support.serving import Server

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser
SERVER = Path(__file__).parents[1] / "support" / "hotserver.py"
PYTHON = getattr(sys, "_base_executable", sys.executable)


def _free() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        port: int = one.getsockname()[1]
        return port


def test_a_preview_is_hot_while_the_session_lives_and_404_within_five_seconds_of_its_end(
    tab: "Page", complaints: list[str], server: Server, rdev: Rdev, project: str
) -> None:
    def ran(*words: str, **more: bytes) -> str:
        found = rdev(*words, **more)  # type: ignore[arg-type]
        assert found.returncode == 0, found.stderr.decode()
        return found.stdout.decode().strip()

    ran("context", "set", "local", "--show", sys.base_prefix)
    session = ran("session", "start", project, "-o", "name").splitlines()[-1]
    port = str(_free())
    ran("exec", session, "-i", "--", "sh", "-c", "cat >/home/rdev/hot.py", input=SERVER.read_bytes())
    command = ran("exec", session, "--no-wait", "--", PYTHON, "/home/rdev/hot.py", port).splitlines()[-1]
    end = time.monotonic() + 30
    while "listens" not in ran("command", "output", command):
        assert time.monotonic() < end
        time.sleep(0.1)
    preview = json.loads(ran("session", "preview", session, port, "-o", "json"))
    assert preview["url"].endswith(f".localhost:{server.port}/")
    tab.goto(preview["url"])
    tab.wait_for_function("state.textContent === 'hot' && text.textContent === 'one'")
    ran("exec", session, "--", "sh", "-c", "echo two >page.txt")
    tab.wait_for_function("text.textContent === 'two'")
    assert complaints == []

    # no page of another site opens its WebSocket, though it knows the address
    refused = tab.context.new_page().evaluate(
        "url => new Promise(done => { const way = new WebSocket(url); way.onopen = () => done('open'); way.onerror = () => done('refused'); })",
        f"ws://{preview['id']}.localhost:{server.port}/hot",
    )
    assert refused == "refused"

    ran("session", "end", session)
    began = time.monotonic()
    tab.wait_for_function("state.textContent === 'cold'", timeout=5000)
    while (answer := tab.goto(preview["url"])) is None or answer.status != 404:
        assert time.monotonic() - began < 5
        time.sleep(0.1)
    assert time.monotonic() - began < 5
