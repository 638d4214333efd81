"""Conditions in Qdrant Edge's words."""

from __future__ import annotations

from typing import assert_never

from qdrant_edge import FieldCondition, Filter, HasIdCondition, MatchAny, MatchValue, RangeFloat

from rag.store.conditions import Condition, Every, No, PointAmong, Some, TextAmong, TextIs, Within


def rendered(condition: Every) -> Filter:
    """The filter of a whole predicate."""
    return Filter(must=[_rendered(part) for part in condition.parts])


def _rendered(condition: Condition) -> FieldCondition | HasIdCondition | Filter:
    match condition:
        case TextIs(path, value):
            return FieldCondition(key=path, match=MatchValue(value=value))
        case TextAmong(path, values):
            return FieldCondition(key=path, match=MatchAny(any=list(values)))
        case Within(path, at_least, at_most):
            return FieldCondition(key=path, range=RangeFloat(gte=at_least, lte=at_most))
        case PointAmong(ids):
            return HasIdCondition(set(ids))
        case Every():
            return rendered(condition)
        case Some(parts):
            return Filter(should=[_rendered(part) for part in parts])
        case No(part):
            return Filter(must_not=[_rendered(part)])
        case _:
            assert_never(condition)
