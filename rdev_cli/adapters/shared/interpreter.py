"""The Python that runs rdev, as a tool that a sandbox can be shown."""

import sys
from pathlib import Path


def interpreter() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return (argv in front of a script, host paths that the script needs to see).

    Isolated and without site: no folder of the workspace, no variable and no installed package gets a say. Not the whole
    prefix is shown: in a ~/.local it holds more than an interpreter.
    """
    # the interpreter below a virtual environment needs nothing of it
    found = Path(getattr(sys, "_base_executable", "") or sys.executable).resolve()
    prefix = Path(sys.base_prefix).resolve()
    libraries = [prefix / name for name in dict.fromkeys(("lib", sys.platlibdir)) if (prefix / name).is_dir()]
    shown = [path for path in (found, *libraries) if not path.is_relative_to("/usr")]
    return (str(found), "-I", "-S", "-X", "utf8"), tuple(map(str, shown))
