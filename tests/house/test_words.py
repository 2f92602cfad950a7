"""The words of completion: what the command tree says, read from the tree itself."""

from collections.abc import Iterator
from typing import Any

import pytest

from rdev_cli.faces.cli.complete import answer
from rdev_cli.faces.cli.face import Tailed
from rdev_cli.faces.cli.main import TREE, root


def branches(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield path, command
    for name in TREE if not path else getattr(command, "commands", {}):
        yield from branches(command.get_command(None, name), (*path, name))


ALL = dict(branches(root()))
GROUPS = [path for path, command in ALL.items() if hasattr(command, "commands")]
LEAVES = [path for path in ALL if path not in GROUPS]


def values(*words: str) -> set[str]:
    directive, *lines = answer(words).splitlines()
    assert directive == ":words"
    return {line.partition("\t")[0] for line in lines}


def spelled(path: tuple[str, ...]) -> Iterator[Any]:
    yield from (param for param in ALL[path].params if param.param_type_name == "option")


@pytest.mark.parametrize("path", GROUPS, ids=" ".join)
def test_below_a_group_are_its_commands(path: tuple[str, ...]) -> None:
    assert values(*path, "") == {below[-1] for below in ALL if below[:-1] == path and below}


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_behind_a_command_are_its_options(path: tuple[str, ...]) -> None:
    assert values(*path, "--") == {max(param.opts, key=len) for param in spelled(path)} | {"--help"}


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_an_option_takes_a_value_here_as_it_does_there(path: tuple[str, ...]) -> None:
    for param in spelled(path):
        for option in param.opts:
            after = answer([*path, option, "--"])
            assert (after == answer([*path, "--"])) == bool(param.is_flag), f"rdev {' '.join(path)} {option}"


def test_what_stands_behind_two_dashes_is_another_programs() -> None:
    for path in LEAVES:
        own = answer([*path, ""]) == ":files\n"  # its first argument is a file, on both sides of the dashes
        assert (answer([*path, "--", ""]) == ":files\n") == (isinstance(ALL[path], Tailed) or own), path
