"""Filters as JSON, both ways.

{"field": "lang", "equals": "en"}
{"field": "year", "at_least": 2020, "at_most": 2024}
{"all": [...]}   {"any": [...]}   {"not": {...}}
"""

from __future__ import annotations

from typing import Any, assert_never

from rag.errors import InvalidFilterError
from rag.filters import AllOf, AnyOf, Between, Equals, Not, Where

_SHAPES = '{"field", "equals"}, {"field", "at_least", "at_most"}, {"all"}, {"any"} or {"not"}'
# Before anything is built: a filter of a thousand levels is refused without recursing into it.
_MAX_DEPTH = 8


def parse_filter(value: object, _depth: int = 0) -> Where:
    """The filter that JSON describes.

    Raises:
        InvalidFilterError: it describes none; the message quotes nothing of it.
    """
    if not isinstance(value, dict) or _depth > _MAX_DEPTH:
        raise _unknown()
    keys = set(value)
    if keys == {"field", "equals"}:
        return Equals(value["field"], value["equals"])
    if "field" in keys and keys <= {"field", "at_least", "at_most"}:
        return Between(value["field"], _bound(value, "at_least"), _bound(value, "at_most"))
    if keys == {"all"}:
        return AllOf(_parts(value["all"], _depth))
    if keys == {"any"}:
        return AnyOf(_parts(value["any"], _depth))
    if keys == {"not"}:
        return Not(parse_filter(value["not"], _depth + 1))
    raise _unknown()


def filter_as_json(where: Where) -> dict[str, Any]:
    """What `parse_filter` reads."""
    match where:
        case Equals(field, value):
            return {"field": field, "equals": value}
        case Between(field, at_least, at_most):
            bounds = {"at_least": at_least, "at_most": at_most}
            return {"field": field} | {k: v for k, v in bounds.items() if v is not None}
        case AllOf(parts):
            return {"all": [filter_as_json(part) for part in parts]}
        case AnyOf(parts):
            return {"any": [filter_as_json(part) for part in parts]}
        case Not(part):
            return {"not": filter_as_json(part)}
        case _:
            assert_never(where)


def _parts(value: object, depth: int) -> tuple[Where, ...]:
    if not isinstance(value, list):
        raise _unknown()
    return tuple(parse_filter(part, depth + 1) for part in value)


def _bound(value: dict[str, Any], name: str) -> float | None:
    bound = value.get(name)
    if bound is None:
        return None
    if isinstance(bound, bool) or not isinstance(bound, int | float):
        raise InvalidFilterError("The bounds of a range are numbers.")
    return float(bound)


def _unknown() -> InvalidFilterError:
    return InvalidFilterError(f"A filter is one of {_SHAPES}.")
