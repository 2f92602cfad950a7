"""A real browser, and a server that it looks at: Debian's chromium, driven by what `requirements-browser.lock` brings."""

import os
import subprocess
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from tests.support.serving import Server, start

if TYPE_CHECKING:  # the default run, which collects these files, has no browser and nothing that drives one
    from playwright.sync_api import Browser, Page

Spawn = Callable[..., "subprocess.Popen[bytes]"]

CHROMIUM = "/usr/bin/chromium"
PATIENCE = 20_000  # milliseconds that an element may take to appear


@pytest.fixture(scope="session")
def browser() -> "Iterator[Browser]":
    """The browser, started once; it reaches no network but the loopback."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        found = driver.chromium.launch(
            executable_path=CHROMIUM,
            chromium_sandbox=os.geteuid() != 0,  # it refuses to be root in its own sandbox
            args=["--disable-background-networking", "--no-proxy-server"],
        )
        yield found
        found.close()


@pytest.fixture
def tab(browser: "Browser") -> "Iterator[Page]":
    """An empty tab of a person's own: no cookie, nothing cached."""
    context = browser.new_context()
    context.set_default_timeout(PATIENCE)
    yield context.new_page()
    context.close()


@pytest.fixture
def complaints(tab: "Page") -> list[str]:
    """What the tab's console was told, and what it failed at: errors of scripts, what its policy refused."""
    found: list[str] = []
    tab.on("console", lambda message: found.append(message.text) if message.type in ("error", "warning") else None)
    tab.on("pageerror", lambda error: found.append(str(error)))
    return found


@pytest.fixture
def server(spawn: Spawn) -> Server:
    """A server as a user starts one, with the first key `tests.support.serving.ADMIN`."""
    return start(spawn)
