"""LlamaIndex's metadata filters in our own words. What has no meaning here is refused.

To LlamaIndex's own stores an empty filter means everything, and an unknown operator is sometimes
skipped: a filter that is not understood must not widen what is found.
"""

from __future__ import annotations

from llama_index.core.vector_stores.types import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
)

from rag.errors import InvalidFilterError
from rag.filters import AllOf, AnyOf, Between, Equals, Not, Where

_NUMBERS = (FilterOperator.GT, FilterOperator.GTE, FilterOperator.LT, FilterOperator.LTE)


def translated(filters: MetadataFilters) -> Where:
    """The same condition.

    `!=` and `nin` hold for documents without the field. `not`: none of the parts holds.

    Raises:
        InvalidFilterError: an operator, a condition or a value that there is no equal of here; or
            no part at all.
    """
    if not isinstance(filters, MetadataFilters):
        raise InvalidFilterError("filters is LlamaIndex's MetadataFilters.")
    parts = tuple(
        translated(part) if isinstance(part, MetadataFilters) else _one(part)
        for part in filters.filters
    )
    if not parts:
        raise InvalidFilterError("The filter is empty. Pass none where none is meant.")
    match filters.condition:
        case FilterCondition.AND:
            return AllOf(parts)
        case FilterCondition.OR:
            return AnyOf(parts)
        case FilterCondition.NOT:
            return Not(AnyOf(parts))
        case _:
            raise InvalidFilterError("The condition of a filter is and, or, or not.")


def _one(asked: MetadataFilter) -> Where:
    operator, key, value = asked.operator, asked.key, asked.value
    if operator in (FilterOperator.IN, FilterOperator.NIN):
        among = AnyOf(tuple(Equals(key, one) for one in _listed(value)))
        return among if operator is FilterOperator.IN else Not(among)
    if operator in _NUMBERS:
        return _compared(operator, key, _number(value))
    if value is None or isinstance(value, list):
        raise InvalidFilterError(f"The operator {operator.value} needs one value.")
    if operator is FilterOperator.EQ:
        return Equals(key, value)
    if operator is FilterOperator.NE:
        return Not(Equals(key, value))
    raise InvalidFilterError(f"The operator {operator.value} is not known here.")


def _compared(operator: FilterOperator, key: str, value: float) -> Where:
    if operator is FilterOperator.GTE:
        return Between(key, at_least=value)
    if operator is FilterOperator.LTE:
        return Between(key, at_most=value)
    within = (
        Between(key, at_least=value)
        if operator is FilterOperator.GT
        else Between(key, at_most=value)
    )
    return AllOf((within, Not(Equals(key, value))))


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidFilterError("Greater and less compare numbers.")
    return float(value)


def _listed(value: object) -> list[str | int | float]:
    if not isinstance(value, list) or not value:
        raise InvalidFilterError("in and nin need a list of at least one value.")
    return value
