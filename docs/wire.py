"""Makes docs/http.md from the OpenAPI document of what `rdev serve` serves."""

from collections.abc import Mapping
from typing import Any

from rdev_cli.faces.http.app import PUBLIC, create_app
from rdev_cli.wiring.services import Services

HEAD = """# rdev over HTTP

`rdev serve` answers with the same operations as the command line. `/openapi.json` has this page for programs (OpenAPI 3.1), `/docs` for people.

* An answer is `{"data": …, "meta": {"request_id", "timestamp"}}`; `data` is byte for byte what the command prints with `-o json`.
* A failure is `{"error": {"code", "message", "hint", "context"}, "meta": …}`; [errors.md](errors.md) has the codes.
* A key goes in one header, once: `X-API-Key: rdev_sk_…` or `Authorization: Bearer rdev_sk_…`. In both, twice, as a cookie, by Basic or in the address
  it does not count: 401. A key without the scope of a route: 403, naming the scope; `admin` has all of them. Another project's things are not there: 404.
* A `moment` is answered at once. What is `long` is taken on: 202 with `{"id", "stream_url"}`, and it is done though the server restarts.
* Ids are given whole. A `/` at the end, another case and another method are other requests: 404, 405.
* `X-Request-Id` is answered, the caller's own if it is a word of at most 64 letters, digits, `.`, `_` and `-`.
* Bytes that are not UTF-8 come in a field `…_b64`, and are given so.
"""
STATUSES = """## Statuses

| status | meaning |
|---|---|
"""


def document() -> dict[str, Any]:
    """Return the OpenAPI document; no state is opened for it."""

    def nobody(key: str, address: str) -> Any:
        raise NotImplementedError(key, address)

    return create_app(Services(environ={"HOME": "/nowhere"}), nobody).openapi()


def _shape(schema: Mapping[str, Any], parts: Mapping[str, Any]) -> Mapping[str, Any]:
    found = schema
    while "$ref" in found:
        found = parts[found["$ref"].rpartition("/")[2]]
    return found


def _kind(schema: Mapping[str, Any]) -> str:
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_kind(one) for one in schema["anyOf"]))
    if "$ref" in schema:
        return f"`{schema['$ref'].rpartition('/')[2]}`"
    if schema.get("type") == "array":
        return f"list of {_kind(schema['items'])}"
    return str(schema.get("format") or schema.get("type") or "anything")


def _given(operation: Mapping[str, Any], parts: Mapping[str, Any]) -> list[str]:
    lines = [
        f"* `{one['name']}` ({one['in']}{', needed' if one.get('required') and one['in'] != 'path' else ''}): {_kind(one['schema'])}"
        for one in operation.get("parameters", ())
    ]
    for media, content in operation.get("requestBody", {}).get("content", {}).items():
        shape = _shape(content["schema"], parts)
        if media != "application/json":
            lines.append(f"* body: bytes (`{media}`)")
        for name, field in shape.get("properties", {}).items():
            needed = ", needed" if name in shape.get("required", ()) else ""
            lines.append(f"* `{name}` (body{needed}): {_kind(field)}")
    return lines


def _answer(operation: Mapping[str, Any]) -> str:
    told = []
    for status, response in operation["responses"].items():
        for media, content in response.get("content", {}).items():
            data = content["schema"].get("properties", {}).get("data")
            told.append(f"{status} with {_kind(data)}" if data else f"{status} with `{media}`")
    return ", ".join(told)


def page(made: Mapping[str, Any]) -> str:
    """Return docs/http.md, without the line that says who made it."""
    parts = made["components"]["schemas"]
    rows, blocks = [], []
    for path, below in made["paths"].items():
        for method, operation in below.items():
            typed = f"{method.upper()} {path}"
            scope = operation.get("x-scope", "")
            rows.append(f"| `{typed}` | `{operation['operationId']}` | `{scope}` | {operation.get('x-pace', '')} |")
            lines = [f"### {typed}\n", operation["summary"]]
            if operation.get("description"):
                lines.append("\n" + operation["description"])
            lines.append("")
            lines += [*_given(operation, parts), f"* answers {_answer(operation)}", ""]
            blocks.append("\n".join(lines))
    table = "## Routes\n\n| route | operation | scope | pace |\n|---|---|---|---|\n" + "\n".join(rows)
    public = f"\n\nAnybody may ask for {', '.join(f'`{path}`' for path in sorted(PUBLIC))}.\n"
    errors = made["components"]["responses"].items()
    statuses = STATUSES + "\n".join(f"| {name.removeprefix('error-')} | {one['description']} |" for name, one in errors) + "\n"
    return "\n".join([HEAD, table + public, statuses, "## What each takes and answers\n", *blocks])
