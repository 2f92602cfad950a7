"""A line of debug for rdev's log, for the price of a look into a dictionary when nobody reads it."""

import sys
from collections.abc import Sequence


def trace(message: str, argv: Sequence[str] = ()) -> None:
    """Log what a program was started with, if whoever runs rdev opened the log. Environments and stdin stay out of it."""
    logging = sys.modules.get("logging")  # not imported here: that would cost every command what only -v needs
    if logging is not None:
        logging.getLogger("rdev").debug(message, extra={"argv": list(argv[:40])})
