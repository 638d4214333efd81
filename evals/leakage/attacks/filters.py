"""Filters that a caller may send in the hope of another tenant, generated."""

from __future__ import annotations

from random import Random
from typing import Any

from evals.leakage.world import Planted
from rag.filters import AllOf, AnyOf, Between, Equals, Not, Scalar, Where

_FIELDS = ("tenant_id", "state", "document_id", "access", "lang", "note", "year", "metadata")


def generated(random: Random, goal: Planted, depth: int = 0) -> Where:
    """A filter of at most four levels; much of it holds for the victim's documents."""
    kind = random.randrange(5) if depth < 3 else random.randrange(2)
    match kind:
        case 0:
            return Equals(random.choice(_FIELDS), _value(random, goal))
        case 1:
            return Between("year", float(random.randint(2015, 2022)), None)
        case 2:
            return Not(generated(random, goal, depth + 1))
        case _:
            parts = tuple(generated(random, goal, depth + 1) for _ in range(random.randint(1, 3)))
            return AllOf(parts) if kind == 3 else AnyOf(parts)


def malformed(random: Random, goal: Planted) -> dict[str, Any]:
    """What is no filter, as JSON: empty, out of the metadata's path, or in the engine's words."""
    own = {"field": "tenant_id", "equals": goal.owner}
    shapes: tuple[dict[str, Any], ...] = (
        {},
        {"all": []},
        {"any": []},
        {"not": {"all": []}},
        {"all": [{"any": []}, own]},
        {"should": [{"key": "tenant_id", "match": {"value": goal.owner}}]},
        {"must_not": []},
        {"field": "../tenant_id", "equals": goal.owner},
        {"field": "metadata.tenant_id", "equals": goal.owner},
        {"field": "tenant_id", "equals": {"any": [goal.owner]}},
        {"field": "tenant_id", "equals": None},
        {"field": "tenant_id", "equals": goal.owner, "tenant_id": goal.owner},
    )
    return random.choice(shapes)


def _value(random: Random, goal: Planted) -> Scalar:
    values: tuple[Scalar, ...] = (goal.owner, goal.id, goal.canary, "published", "staged", "*")
    return random.choice((*values, "en", "no", True, 2021, 0))
