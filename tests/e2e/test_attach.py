"""Sitting at a session's terminal: it goes on when one leaves, is found again, and is seen by several."""

import json
import os
import time
from collections.abc import Callable

import pytest

from rdev_cli.faces.cli.attaching import Leaving
from tests.conftest import Rdev
from tests.support.screen import Screen

pytestmark = pytest.mark.state


@pytest.mark.parametrize(
    ("typed", "goes_on", "leaves"),
    [
        ([b"ls\r"], b"ls\r", False),
        ([b"a\x10\x11b"], b"a", True),
        ([b"a\x10", b"\x11"], b"a", True),
        ([b"\x10\x10"], b"\x10", False),
        ([b"\x10x"], b"\x10x", False),
        ([b"~."], b"", True),
        ([b"ls\r~", b"."], b"ls\r", True),
        ([b"cd ~."], b"cd ~.", False),
        ([b"~~."], b"~.", False),
        ([b"~a"], b"~a", False),
        ([b"a\n~\x10\x11"], b"a\n~", True),
    ],
)
def test_two_ways_of_leaving_and_everything_else_goes_on(typed: list[bytes], goes_on: bytes, leaves: bool) -> None:
    leaving, out, left = Leaving(), b"", False
    for piece in typed:
        data, left = leaving.pass_on(piece)
        out += data
        if left:
            break
    assert (out, left) == (goes_on, leaves)


@pytest.fixture
def session(rdev: Rdev, project: str) -> str:
    """A session of the project."""
    return str(json.loads(rdev("session", "start", project, "-o", "json").stdout)["id"])


def _type(screen: Screen, text: bytes) -> None:
    os.write(screen.master, text)


def test_a_terminal_goes_on_when_its_user_leaves_and_is_found_again_by_two(rdev: Rdev, session: str, screen: Callable[..., Screen]) -> None:
    one = screen("session", "attach", session)
    one.shows(b"leaves it")
    _type(one, b"kept=here; echo so-$((40+2)); stty size\r")
    one.shows(b"so-42")
    one.shows(b"33 101")
    _type(one, b"\x10\x11")
    assert one.ends() == 0
    assert b"you left; it goes on" in one.seen
    assert one.restored
    two, three = (screen("session", "attach", session[:12] if n else session, rows=40, columns=90) for n in range(2))
    two.shows(b"so-42")
    three.shows(b"so-42")
    _type(two, b"echo and-$kept; until [ \"$(stty size)\" = '40 90' ]; do sleep 0.1; done; echo sized-$((1+1))\r")
    for each in (two, three):
        each.shows(b"and-here")
        each.shows(b"sized-2")
    _type(three, b"\r~.")
    assert three.ends() == 0
    _type(two, b"exit 5\r")
    assert two.ends() == 5
    told = json.loads(rdev("command", "list", "-o", "json").stdout)["items"]
    assert [(one["kind"], one["state"], one["exit_code"], one["session_id"]) for one in told] == [("shell", "failed", 5, session)]


def test_who_only_looks_on_changes_nothing(session: str, screen: Callable[..., Screen]) -> None:
    one = screen("session", "attach", session)
    one.shows(b"leaves it")
    other = screen("session", "attach", session, "--look")
    other.shows(b"Ctrl-C leaves it")
    _type(other, b"echo in-$((1+1))\r")
    _type(one, b"echo out-$((1+2))\r")
    other.shows(b"out-3")
    assert b"in-2" not in other.seen + one.shows(b"out-3")
    _type(other, b"\x03")
    assert other.ends() == 0
    _type(one, b"exit\r")
    assert one.ends() == 0


def test_the_end_of_the_session_ends_the_terminal(rdev: Rdev, session: str, screen: Callable[..., Screen]) -> None:
    one = screen("session", "attach", session)
    one.shows(b"leaves it")
    _type(one, b"echo a-$((1+1))\r")
    one.shows(b"a-2")
    began = time.monotonic()
    assert rdev("session", "end", session).returncode == 0
    assert one.ends() == 130
    assert time.monotonic() - began < 30
    assert one.restored
