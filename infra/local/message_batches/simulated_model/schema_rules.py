"""The limits of structured output: which JSON Schemas the API would compile.

A schema that passes is well formed, has only local references and no recursion, so it can be filled blindly.
"""

from collections.abc import Iterator
from typing import Any

MAX_OPTIONAL = 24
MAX_UNIONS = 16
# The SDK's schema helper moves these into descriptions because the API refuses them.
_BOUNDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")
_REFUSED = {
    "number": _BOUNDS,
    "integer": _BOUNDS,
    "string": ("minLength", "maxLength"),
    "array": ("maxItems", "uniqueItems"),
}
_TYPES = frozenset({"object", "array", "string", "number", "integer", "boolean", "null"})
_GROUPS = ("properties", "$defs", "definitions")
_BRANCHES = ("anyOf", "allOf")
_PREFIX = "output_config.format.schema: "


def schema_refusal(schema: dict[str, Any]) -> str | None:
    """Why the schema cannot be used, or None."""
    optional = unions = 0
    for node in _nodes(schema):
        problem = _shape_problem(node) or _keyword_problem(node)
        if problem is not None:
            return _PREFIX + problem
        optional += len(set(node.get("properties", ())) - set(node.get("required", ())))
        unions += "anyOf" in node or isinstance(node.get("type"), list)
    if optional > MAX_OPTIONAL or unions > MAX_UNIONS:
        return _PREFIX + f"Schema is too complex: at most {MAX_OPTIONAL} optional and {MAX_UNIONS} union parameters"
    problem = _reference_problem(schema, schema, ())
    return None if problem is None else _PREFIX + problem


def resolve(root: dict[str, Any], reference: str) -> Any:
    """What a local reference points at; None where it points nowhere."""
    target: Any = root
    for part in reference.removeprefix("#/").split("/"):
        target = target.get(part) if isinstance(target, dict) else None
    return target


def _nodes(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The schema and every schema inside it, each before its children."""
    yield schema
    for child in _children(schema):
        yield from _nodes(child)


def _children(schema: dict[str, Any]) -> list[dict[str, Any]]:
    children: list[object] = [schema.get("items")]
    for name in _BRANCHES:
        children += schema.get(name, ())
    for name in _GROUPS:
        children += schema.get(name, {}).values()
    return [child for child in children if isinstance(child, dict)]


def _shape_problem(node: dict[str, Any]) -> str | None:
    """A keyword whose value is of the wrong kind."""
    for name in _GROUPS:
        group = node.get(name, {})
        if not isinstance(group, dict) or not all(isinstance(child, dict) for child in group.values()):
            return f"{name}: should map names to schemas"
    for name in (*_BRANCHES, "enum", "required"):
        if name in node and not (isinstance(node[name], list) and (node[name] or name == "required")):
            return f"{name}: should be a list that is not empty"
    if not all(isinstance(branch, dict) for name in _BRANCHES for branch in node.get(name, ())):
        return "anyOf, allOf: should hold schemas"
    if not all(isinstance(name, str) for name in node.get("required", ())):
        return "required: should hold names"
    return None if isinstance(node.get("items", {}), dict) else "items: should be a schema"


def _keyword_problem(node: dict[str, Any]) -> str | None:
    """A keyword that the API does not take."""
    if not {"type", "enum", "const", "$ref", *_BRANCHES} & set(node):
        return "every schema needs a type, enum, const, anyOf, allOf or $ref"
    kinds = node.get("type", [])
    for kind in kinds if isinstance(kinds, list) else [kinds]:
        if not isinstance(kind, str) or kind not in _TYPES:
            return f"unknown type {kind!r}"
        if kind == "object" and node.get("additionalProperties") is not False:
            return "For 'object' type, 'additionalProperties' must be explicitly set to false"
        refused = [name for name in _REFUSED.get(kind, ()) if name in node]
        if refused:
            return f"For '{kind}' type, properties {', '.join(refused)} are not supported"
    return "type: should name a type" if kinds == [] and "type" in node else None


def _reference_problem(root: dict[str, Any], node: dict[str, Any], followed: tuple[str, ...]) -> str | None:
    """A reference that leads outside, nowhere, or back to where it came from."""
    if "$ref" in node:
        reference = node["$ref"]
        if not isinstance(reference, str) or not isinstance(resolve(root, reference), dict):
            return f"$ref: {reference!r} is not a local schema"
        if reference in followed:
            return "recursive schemas are not supported"
        return _reference_problem(root, resolve(root, reference), (*followed, reference))
    return next((text for child in _children(node) if (text := _reference_problem(root, child, followed))), None)
