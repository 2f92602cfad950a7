"""rdev completion."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from rdev_cli.domain.errors import Invalid
from rdev_cli.domain.values import shown
from rdev_cli.faces.cli.face import Verb, checked, hand, noun, write

app = noun("")

SCRIPTS = {"bash": "rdev.bash", "zsh": "_rdev", "fish": "rdev.fish", "powershell": "rdev.ps1"}
_PACKAGE = Path(__file__).parents[2]


def _shell(value: str) -> None:
    if value not in SCRIPTS:
        raise Invalid(f"there is no script for '{shown(value)}'", hint=f"one of {', '.join(SCRIPTS)}")


def script(shell: str) -> str:
    """Return a shell's script, from the wheel or from a checkout."""
    packed = _PACKAGE / "_data" / "completions"
    return ((packed if packed.is_dir() else _PACKAGE.parent / "completions") / SCRIPTS[shell]).read_text()


@app.command(
    "completion",
    cls=Verb,
    help="Print the completion script of a shell: commands, options and live names at Tab.",
    epilog="echo 'source <(rdev completion bash)' >>~/.bashrc",
)
def completion(
    ctx: typer.Context,
    shell: Annotated[
        str, typer.Argument(metavar="SHELL", help="bash, zsh, fish or powershell.", show_default=False, callback=checked(_shell))
    ],
) -> None:
    found = script(shell)
    if hand(ctx).human or hand(ctx).output == "name":
        write(sys.stdout, found)
        return
    from rdev_cli.domain.answers import CompletionScript  # noqa: PLC0415 -- a document needs more than a script does
    from rdev_cli.faces.cli.show import show  # noqa: PLC0415

    show(ctx, CompletionScript(shell=shell, script=found))
