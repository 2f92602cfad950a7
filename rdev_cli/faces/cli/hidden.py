"""Asking a person for what nobody may see: one line of a terminal, without echo."""

import os
import select
import sys
import termios

from rdev_cli.domain.errors import Cancelled, Invalid
from rdev_cli.domain.values import Secret
from rdev_cli.faces.cli.face import Hand


def ask(here: Hand, question: str) -> Secret | None:
    """Return the line that a person types; None if there is no terminal. stdin may be a pipe then: the terminal is asked by itself."""
    if sys.stdin.isatty():
        return _ask(here, 0, question)
    try:
        terminal = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return _ask(here, terminal, question)
    finally:
        os.close(terminal)


def _ask(here: Hand, terminal: int, question: str) -> Secret | None:
    if _in_background(terminal):
        return None  # to ask would stop the process
    before = termios.tcgetattr(terminal)
    silent = [*before[:3], before[3] & ~termios.ECHO, *before[4:]]
    data = b""
    termios.tcsetattr(terminal, termios.TCSAFLUSH, silent)  # what was typed ahead was echoed, and is thrown away
    try:
        os.write(2 if terminal == 0 else terminal, question.encode())
        while not data.endswith(b"\n") and (part := _some(here, terminal)):
            data += part
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)
        os.write(2 if terminal == 0 else terminal, b"\n")
    try:
        text = data.removesuffix(b"\n").decode()
    except UnicodeDecodeError:
        raise Invalid("what was typed is no text in UTF-8", hint="give it in a file") from None
    if not text:
        raise Cancelled("nothing was typed", hint="try again; nothing was changed")
    return Secret(text)


def _in_background(terminal: int) -> bool:
    try:
        return os.tcgetpgrp(terminal) != os.getpgrp()
    except OSError:
        return False  # it is not this session's terminal, which stops nobody


def _some(here: Hand, terminal: int) -> bytes:
    while not select.select([terminal], [], [], 0.2)[0]:
        if here.signal:
            raise Cancelled("stopped while it asked")
    return os.read(terminal, 1 << 16)
