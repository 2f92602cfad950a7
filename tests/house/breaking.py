"""What of a schema's change breaks whoever was written for the old one."""

from collections.abc import Iterator, Mapping
from typing import Any

Schema = Mapping[str, Any]


def breaking(old: Schema, new: Schema, *, given: bool = False) -> list[str]:
    """Return each breaking change as words.

    `given`: a document that a caller hands in, where something that must newly be there breaks, and a value that may
    newly be missing does not; of a document that rdev prints the opposite is true. A new field breaks neither.
    """
    return list(_compare(old, new, (old, new), "", given, frozenset()))


def missing(old: Mapping[str, Schema], new: Mapping[str, Schema]) -> list[str]:
    """Return every breaking change between two sets of schemas of what rdev prints."""
    gone = [f"{name}: the schema is gone" for name in sorted(set(old) - set(new))]
    return gone + [f"{name}: {words}" for name in sorted(set(old) & set(new)) for words in breaking(old[name], new[name])]


def _resolved(schema: Schema, root: Schema) -> Schema:
    while "$ref" in schema:
        found: Any = root
        for part in schema["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        schema = found
    return schema


def _types(schema: Schema) -> set[str]:
    found = schema.get("type", [])
    return {found} if isinstance(found, str) else set(found)


def _values(schema: Schema) -> set[Any] | None:
    if "const" in schema:
        return {schema["const"]}
    return set(schema["enum"]) if "enum" in schema else None


def _forms(schema: Schema) -> list[set[str]]:
    """Return the sets of fields of which exactly one set is there."""
    return [{"/".join(sorted(one.get("required", ()))) for one in part["oneOf"]} for part in schema.get("allOf", ()) if "oneOf" in part]


def _kinds(schema: Schema) -> dict[Any, Schema]:
    """Return what more is said of a document of some kind, by the kind."""
    return {
        next(iter(part["if"]["properties"].values()))["const"]: part.get("then", {}) for part in schema.get("allOf", ()) if "if" in part
    }


def _compare(
    old: Schema, new: Schema, roots: tuple[Schema, Schema], at: str, given: bool, seen: frozenset[tuple[str, str]]
) -> Iterator[str]:
    refs = (old.get("$ref", ""), new.get("$ref", ""))
    if all(refs):
        if refs in seen:
            return
        seen |= {refs}
    old, new = _resolved(old, roots[0]), _resolved(new, roots[1])
    here = at or "the document"
    was, now = _types(old), _types(new)
    if was != now and not (was > now and not given) and not (was < now and given):
        yield f"{here}: the type was {'/'.join(sorted(was)) or 'any'} and is {'/'.join(sorted(now)) or 'any'}"
    for word in ("format", "contentEncoding"):
        if old.get(word) != new.get(word):
            yield f"{here}: the {word} was {old.get(word)} and is {new.get(word)}"
    values, left = _values(old), _values(new)
    if values is not None and left is None and not given:
        yield f"{here}: the values are not listed any more"
    elif values is not None and left is not None and values - left:
        yield f"{here}: {', '.join(sorted(map(str, values - left)))} is gone"
    elif values is None and left is not None and given:
        yield f"{here}: only some values are taken now"
    for name, field in old.get("properties", {}).items():
        if name not in new.get("properties", {}):
            yield f"{here}: the field {name} is gone"
        else:
            yield from _compare(field, new["properties"][name], roots, f"{at}.{name}".lstrip("."), given, seen)
    had, has = set(old.get("required", ())), set(new.get("required", ()))
    if given:
        yield from (f"{here}: {name} must be given now" for name in sorted(has - had))
    else:
        either = {name for form in _forms(new) for names in form for name in names.split("/")}
        words = {True: "may come in another form now", False: "may be missing now"}
        yield from (f"{here}: {name} {words[name in either]}" for name in sorted(had - has) if name in new.get("properties", {}))
    for kind, more in _kinds(old).items():
        if kind not in _kinds(new):
            yield f"{here}: the kind {kind} is gone"
        else:
            yield from _compare(more, _kinds(new)[kind], roots, f"{at}[{kind}]", given, seen)
    if "items" in old:
        yield from _compare(old["items"], new.get("items", {}), roots, f"{at}[]", given, seen)
    first, second = old.get("anyOf", []), new.get("anyOf", [])
    if len(first) != len(second):
        yield f"{here}: the type was one of {len(first)} and is one of {len(second)}"
    else:
        for one, two in zip(first, second, strict=True):
            yield from _compare(one, two, roots, at, given, seen)


def unserved(old: Schema, new: Schema) -> list[str]:
    """Return every breaking change between two OpenAPI documents, for whoever calls."""
    return list(_routes(old, new))


def _routes(old: Schema, new: Schema) -> Iterator[str]:
    for path, below in old["paths"].items():
        for method, was in below.items():
            here, now = f"{method.upper()} {path}", new["paths"].get(path, {}).get(method)
            if now is None:
                yield f"{here} is gone"
                continue
            for word in ("operationId", "x-scope", "x-pace"):
                if was.get(word) != now.get(word):
                    yield f"{here}: {word} was {was.get(word)} and is {now.get(word)}"
            yield from (f"{here}: {words}" for words in _asked(was, now, (old, new)))
            yield from (f"{here}: {words}" for words in _answered(was, now, (old, new)))


def _asked(was: Schema, now: Schema, roots: tuple[Schema, Schema]) -> Iterator[str]:
    had, has = ({(one["in"], one["name"]): one for one in operation.get("parameters", ())} for operation in (was, now))
    for where, name in sorted(set(had) - set(has)):
        yield f"the {where} parameter {name} is gone"
    for (where, name), one in sorted(has.items()):
        if one.get("required") and not had.get((where, name), {}).get("required"):
            yield f"the {where} parameter {name} must be given now"
    for key in sorted(set(had) & set(has)):
        yield from _compare(had[key]["schema"], has[key]["schema"], roots, key[1], True, frozenset())
    body, takes = was.get("requestBody"), now.get("requestBody")
    if takes and takes.get("required") and not (body and body.get("required")):
        yield "a body must be given now"
    yield from _contents((body or {}).get("content", {}), (takes or {}).get("content", {}), roots, "the body", given=True)


def _answered(was: Schema, now: Schema, roots: tuple[Schema, Schema]) -> Iterator[str]:
    for status, response in was["responses"].items():
        found = now["responses"].get(status)
        if found is None:
            yield f"the answer {status} is gone"
        else:
            first, second = _resolved(response, roots[0]), _resolved(found, roots[1])
            yield from _contents(first.get("content", {}), second.get("content", {}), roots, status, given=False)


def _contents(was: Schema, now: Schema, roots: tuple[Schema, Schema], at: str, *, given: bool) -> Iterator[str]:
    for media, content in was.items():
        if media not in now:
            yield f"{at}: {media} is gone"
        else:
            yield from _compare(content["schema"], now[media]["schema"], roots, at, given, frozenset())
