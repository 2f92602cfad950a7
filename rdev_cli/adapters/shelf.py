"""What ships with rdev: the skeleton, from a checkout's folder or from the wheel."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from jinja2 import StrictUndefined
from jinja2.sandbox import ImmutableSandboxedEnvironment

_PACKAGE = Path(__file__).parents[1]


def skeleton_folder() -> Path:
    """Return the skeleton's folder: a checkout's own comes first."""
    checkout = _PACKAGE.parent / "skeleton"
    return checkout if (checkout / "CLAUDE.md.j2").is_file() else _PACKAGE / "_data" / "skeleton"


class PackagedShelf:
    """The Shelf port on packaged files. A name that ends in `.j2` is a template."""

    def skeleton(self, values: Mapping[str, str]) -> Mapping[str, tuple[bytes, bool]]:
        root = skeleton_folder()
        environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False)
        files: dict[str, tuple[bytes, bool]] = {}
        for path in sorted(root.rglob("*")):
            if not path.is_file():
                continue
            content, name = path.read_bytes(), path.relative_to(root).as_posix()
            if name.endswith(".j2"):
                content = environment.from_string(content.decode()).render(dict(values)).encode()
                name = name.removesuffix(".j2")
            files[name] = content, path.suffix == ".sh" or content.startswith(b"#!")
        return files

    def kinds(self) -> Sequence[str]:
        event = json.loads((_PACKAGE / "_data" / "schemas" / "event.json").read_bytes())["$defs"]["Event"]
        return [one["if"]["properties"]["kind"]["const"] for one in event["allOf"]]
