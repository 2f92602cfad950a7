"""rdev checkout credential: what git asks for the credential of a checkout; nobody types it."""

import os
import select
import sys
from collections.abc import Sequence

from rdev_cli.domain.errors import RdevError

_MOST = 1 << 16  # bytes of a question
_KNOWN = ("protocol", "host", "path")


def main(words: Sequence[str]) -> int:
    """Answer git on stdout in its credential protocol; what is none of this checkout's is answered by nothing, and git goes on by itself.

    `words`: the checkout's id, `--context` and its name, and what git wants, which it adds: get, store or erase.
    """
    if len(words) != 4 or words[1] != "--context":
        sys.stderr.write("error: git asks this, nobody types it\nhint:  rdev checkout show CHECKOUT says what there is to know\n")
        return 2
    id, _, context, wanted = words
    if wanted != "get":  # nothing is kept that git found elsewhere, and no refusal makes rdev forget what it has
        return 0
    asked: dict[str, str] = {}
    for line in _question().split("\n"):
        name, _, value = line.partition("=")
        if name in _KNOWN:
            asked[name] = value
    from rdev_cli.faces.cli.face import Hand, clean, say  # noqa: PLC0415 -- for what is git's own there was no need
    from rdev_cli.faces.cli.hidden import ask  # noqa: PLC0415
    from rdev_cli.ops import checkouts  # noqa: PLC0415
    from rdev_cli.wiring.services import Services  # noqa: PLC0415

    here = Hand(None)
    os.umask(0o077)
    world = Services(flags={"context": context}, ask=lambda question: ask(here, question))
    try:
        found = checkouts.credential(world, id, asked)
    except RdevError as e:
        say(f"error: {clean(e.message)}" + (f"\nhint:  {clean(e.hint)}" if e.hint else ""))
        sys.stdout.write("quit=1\n")  # else git would ask a person for a name and a password
        return 0
    finally:
        world.close()
    if found is not None:
        account, token = found
        sys.stdout.write(f"username={account}\npassword={token.reveal()}\n")
    return 0


def _question() -> str:
    data = b""
    while len(data) < _MOST and select.select([0], [], [], 30)[0] and (part := os.read(0, 1 << 12)):
        data += part
        if data.endswith(b"\n\n"):
            break
    return data.decode("utf-8", "surrogateescape")
