"""Conditions in the words of a Qdrant server."""

from __future__ import annotations

from typing import assert_never

from qdrant_client import models

from rag.store.conditions import Condition, Every, No, PointAmong, Some, TextAmong, TextIs, Within


def rendered(condition: Every) -> models.Filter:
    """The filter of a whole predicate."""
    return models.Filter(must=[_rendered(part) for part in condition.parts])


def _rendered(condition: Condition) -> models.Condition:
    match condition:
        case TextIs(path, value):
            return models.FieldCondition(key=path, match=models.MatchValue(value=value))
        case TextAmong(path, values):
            return models.FieldCondition(key=path, match=models.MatchAny(any=list(values)))
        case Within(path, at_least, at_most):
            return models.FieldCondition(key=path, range=models.Range(gte=at_least, lte=at_most))
        case PointAmong(ids):
            return models.HasIdCondition(has_id=[str(one) for one in ids])
        case Every():
            return rendered(condition)
        case Some(parts):
            return models.Filter(should=[_rendered(part) for part in parts])
        case No(part):
            return models.Filter(must_not=[_rendered(part)])
        case _:
            assert_never(condition)
