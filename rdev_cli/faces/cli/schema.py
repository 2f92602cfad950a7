"""rdev schema."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from rdev_cli.domain.answers import SchemaEntry
from rdev_cli.domain.codec import to_json
from rdev_cli.domain.errors import NotFound
from rdev_cli.domain.values import shown
from rdev_cli.faces.cli.face import Verb, hand, noun, write
from rdev_cli.faces.cli.show import emit, show

app = noun("")
_FOLDER = Path(__file__).parents[2] / "_data" / "schemas"  # docs/generate.py writes it


@app.command(
    "schema",
    cls=Verb,
    help="Show the JSON Schema of a document that rdev prints.\n\nWithout a name it lists the documents; docs/versions.md says what may change.",
    epilog="rdev schema project · rdev schema event-list",
)
def schema(ctx: typer.Context, name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="The document.")] = None) -> None:
    found = {path.stem: path for path in sorted(_FOLDER.glob("*.json"), key=lambda path: path.stem)}
    if name is None:
        show(ctx, [SchemaEntry(name=stem, what=json.loads(path.read_bytes())["description"]) for stem, path in found.items()])
        return
    if name not in found:
        raise NotFound(f"there is no schema '{shown(name)}'", hint="rdev schema lists the ones there are", schema=name)
    text, form = found[name].read_text(), hand(ctx).output
    if form in ("json", "jsonl"):
        emit(to_json(json.loads(text)))
    elif form == "yaml":
        show(ctx, json.loads(text))
    else:
        write(sys.stdout, f"{name}\n" if form == "name" else text)
