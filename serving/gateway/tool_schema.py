"""A tool's parameters: JSON Schema, as far as the platform knows it.

The engine keeps to the schema of a strict tool by a grammar that it compiles, in a process that all
tenants share, and one of a tenant at a time; what takes long is refused there. A string of at most
128 characters takes 2.6 seconds, 1,000 properties 4.6, 50 KB of constants 2.9, 300 ranges of large
numbers 19 (xgrammar 0.2.7).
Other schemas are text for the model, and are only read.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from serving.errors import InvalidToolError, ToolLimitError

_DEEPEST = 16
_LONGEST_STRICT = 128  # of `maxLength` and its like
# Of all strict schemas of a request together.
MOST_STRICT_BYTES = 16_384
_MOST_LENGTH, _MOST_PROPERTIES, _MOST_BOUNDS = 128, 256, 32
_TYPES = frozenset(("string", "number", "integer", "boolean", "object", "array", "null"))

Check = Callable[[Any], bool]


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _types(value: Any) -> bool:
    named = value if isinstance(value, list) else [value]
    return bool(named) and all(isinstance(name, str) and name in _TYPES for name in named)


def _strings(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def _is(*kinds: type) -> Check:
    return lambda value: isinstance(value, kinds)


_PLAIN: dict[str, Check] = {
    "type": _types,
    "required": _strings,
    "enum": lambda value: isinstance(value, list) and bool(value),
    "const": lambda value: True,
    "default": lambda value: True,
    "examples": _is(list),
    "$ref": lambda value: isinstance(value, str) and value.startswith("#"),
    **dict.fromkeys(("title", "description", "$schema", "$comment", "format"), _is(str)),
    **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), _number),
    "multipleOf": lambda value: _number(value) and value > 0,
    **dict.fromkeys(("nullable", "deprecated", "readOnly", "writeOnly", "uniqueItems"), _is(bool)),
}
_BOUNDS = {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "format"}
_COUNTS = ("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties")
_SCHEMA = ("items", "additionalProperties", "not", "if", "then", "else", "contains")
_SCHEMAS = ("anyOf", "oneOf", "allOf", "prefixItems")
_NAMED_SCHEMAS = ("properties", "$defs", "definitions", "dependentSchemas")
# Only in schemas that no grammar is made of.
_NOT_STRICT: dict[str, Check] = {"pattern": _is(str)}


def check_schema(schema: dict[str, Any], where: str, *, strict: bool) -> None:
    """Refuse a schema that the engine could not read, or should not compile.

    where: its place in the request, for the message, which quotes nothing else of it.

    Raises:
        InvalidToolError: a keyword that is not known, or has no value that it can have.
    """
    if schema.get("type", "object") != "object":
        raise InvalidToolError(f"{where}: a tool's parameters are an object.", where)
    _check(schema, where, strict, 0)


def check_cost(schemas: Sequence[dict[str, Any]]) -> None:
    """Refuse strict schemas, which were checked, that together take long to compile.

    Raises:
        ToolLimitError: they do.
    """
    parts = [part for schema in schemas for part in _parts(schema)]
    length = sum(max(part.get("minLength", 0), part.get("maxLength", 0)) for part in parts)
    properties = sum(len(part.get("properties", ())) for part in parts)
    bounds = sum(not _BOUNDS.isdisjoint(part) for part in parts)
    if len(json.dumps(list(schemas))) > MOST_STRICT_BYTES:
        raise ToolLimitError(f"Strict tools' schemas may have {MOST_STRICT_BYTES} bytes of JSON.")
    if length > _MOST_LENGTH:
        raise ToolLimitError(f"Strict tools' strings may have {_MOST_LENGTH} characters together.")
    if properties > _MOST_PROPERTIES:
        raise ToolLimitError(f"Strict tools may have {_MOST_PROPERTIES} properties together.")
    if bounds > _MOST_BOUNDS:
        raise ToolLimitError(f"Strict tools may have {_MOST_BOUNDS} ranges and formats together.")


def _parts(schema: Any) -> Iterator[dict[str, Any]]:
    """A schema, and all that are in it."""
    if isinstance(schema, dict):
        yield schema
        for keyword, value in schema.items():
            for inner in _inner(keyword, value, "", True):
                yield from _parts(inner)


def _check(schema: Any, where: str, strict: bool, depth: int) -> None:
    if isinstance(schema, bool):
        return
    if not isinstance(schema, dict) or depth > _DEEPEST:
        raise InvalidToolError(f"{where}: no schema, or nested too deeply.", where)
    for keyword, value in schema.items():
        for inner in _inner(keyword, value, where, strict):
            _check(inner, where, strict, depth + 1)


def _inner(keyword: str, value: Any, where: str, strict: bool) -> list[Any]:
    """The schemas inside a keyword's value, which was looked at."""
    if keyword in _SCHEMA:
        return [value]
    if keyword in _SCHEMAS and isinstance(value, list) and value:
        return value
    if keyword in _NAMED_SCHEMAS and isinstance(value, dict):
        return list(value.values())
    known = _PLAIN | ({} if strict else _NOT_STRICT)
    if keyword in _COUNTS and _count(value) and not (strict and value > _LONGEST_STRICT):
        return []
    if keyword not in known or not known[keyword](value):
        more = " of a strict tool" if strict else ""
        raise InvalidToolError(f"{where}: a keyword or its value is not supported{more}.", where)
    return []
