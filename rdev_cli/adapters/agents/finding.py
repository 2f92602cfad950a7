"""Where an agent's program is on this machine, and what a sandbox must show to run it."""

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from rdev_cli.domain.agent import Program

# outside of these a sandbox may show nothing of the host
_SHOWN = Path("/usr")


Finder = Callable[[str, str, Sequence[str]], Program | None]


def find(agent: str, path: str, args: Sequence[str]) -> Program | None:
    """Return the program at a path, or of that name on PATH, with `args` behind it; None if it is not here."""
    found = shutil.which(os.path.expanduser(path))
    if found is None:
        return None
    file = Path(found).resolve()
    interpreter = _interpreter(file)
    if interpreter is None:
        return Program(agent=agent, argv=(str(file), *args), paths=outside((file,)))
    # the interpreter by its own path: a sandbox's PATH need not lead to it, as `env node` would have it
    return Program(agent=agent, argv=(*interpreter, str(file), *args), paths=outside((Path(interpreter[0]), _package(file))))


def of_image(agent: str, path: str, args: Sequence[str]) -> Program:
    """Return the program as an image has it, at that path or of that name on its PATH; whether it is there is seen in a pod only."""
    return Program(agent=agent, argv=(path, *args), paths=())


def outside(paths: Sequence[Path]) -> tuple[str, ...]:
    """Return the paths that a sandbox does not show anyway."""
    return tuple(dict.fromkeys(str(path) for path in paths if not path.is_relative_to(_SHOWN)))


def _interpreter(file: Path) -> tuple[str, ...] | None:
    """Return the command that a script's first line names, None for a binary."""
    try:
        with file.open("rb") as stream:
            first = stream.readline(4096)
    except OSError:
        return None  # it may be run though not read
    if not first.startswith(b"#!"):
        return None
    words = os.fsdecode(first[2:].strip()).split(maxsplit=1)  # the kernel hands over the rest as one argument
    if words and Path(words[0]).name == "env":
        words = (words[1] if len(words) > 1 else "").removeprefix("-S").split()
    found = shutil.which(words[0]) if words else None
    return (str(Path(found).resolve()), *words[1:]) if found else None


def _package(file: Path) -> Path:
    """Return the nearest folder with a package.json, else the script alone."""
    home = Path.home().resolve()
    for folder in file.parents:
        # a package.json in a home, or above it, would bare the home to the agent
        if home.is_relative_to(folder):
            break
        if (folder / "package.json").is_file():
            return folder
    return file
