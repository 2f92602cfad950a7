"""Puts what ships beside the package into the wheel, as far as a checkout has it: skeleton, cookbooks, completions, manifests, man pages."""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FOLDERS = ("skeleton", "cookbooks", "completions", "deploy")
MAN = "docs/man"


class CustomBuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """Adds each folder that is there as rdev_cli/_data/<folder>, man pages as share/man/man1; an editable installation has the checkout."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Name the folders; a forced inclusion that does not exist would fail the build."""
        if version == "editable":
            return
        for name in FOLDERS:
            if (folder := Path(self.root) / name).is_dir():
                build_data["force_include"][str(folder)] = f"rdev_cli/_data/{name}"
        if (folder := Path(self.root) / MAN).is_dir():
            build_data["shared_data"][str(folder)] = "share/man/man1"
