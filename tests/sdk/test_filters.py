"""LlamaIndex's filters: the same condition in our words, or a refusal, and never nothing."""

from __future__ import annotations

from typing import Any

import pytest
from llama_index.core.vector_stores.types import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
)

from rag.errors import InvalidFilterError
from rag.filters import AllOf, AnyOf, Between, Equals, Not, Where
from rag.llama_index.filters import translated

_KNOWN: dict[FilterOperator, tuple[Any, Where]] = {
    FilterOperator.EQ: ("x", Equals("f", "x")),
    FilterOperator.NE: ("x", Not(Equals("f", "x"))),
    FilterOperator.GT: (2, AllOf((Between("f", at_least=2), Not(Equals("f", 2))))),
    FilterOperator.GTE: (2, Between("f", at_least=2)),
    FilterOperator.LT: (2, AllOf((Between("f", at_most=2), Not(Equals("f", 2))))),
    FilterOperator.LTE: (2, Between("f", at_most=2)),
    FilterOperator.IN: (["a", "b"], AnyOf((Equals("f", "a"), Equals("f", "b")))),
    FilterOperator.NIN: (["a"], Not(AnyOf((Equals("f", "a"),)))),
}
_WRONG: list[tuple[FilterOperator, Any]] = [
    (FilterOperator.EQ, None),
    (FilterOperator.EQ, ["a"]),
    (FilterOperator.NE, None),
    (FilterOperator.GT, "2"),
    (FilterOperator.LTE, None),
    (FilterOperator.IN, "a"),
    (FilterOperator.IN, []),
    (FilterOperator.NIN, []),
]


def _one(operator: FilterOperator, value: Any, key: str = "f") -> MetadataFilter:
    return MetadataFilter(key=key, value=value, operator=operator)


@pytest.mark.parametrize("operator", FilterOperator)
def test_every_operator_is_translated_or_refused(operator: FilterOperator) -> None:
    value, expected = _KNOWN.get(operator, ("x", None))
    filters = MetadataFilters(filters=[_one(operator, value)])
    if expected is not None:
        assert translated(filters) == AllOf((expected,))
        return
    with pytest.raises(InvalidFilterError, match=operator.value):
        translated(filters)


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (FilterCondition.AND, AllOf((Equals("f", 1), Equals("g", 2)))),
        (FilterCondition.OR, AnyOf((Equals("f", 1), Equals("g", 2)))),
        (FilterCondition.NOT, Not(AnyOf((Equals("f", 1), Equals("g", 2))))),
    ],
)
def test_every_condition_is_translated(condition: FilterCondition, expected: Where) -> None:
    parts = [_one(FilterOperator.EQ, 1), _one(FilterOperator.EQ, 2, "g")]
    assert translated(MetadataFilters(filters=parts, condition=condition)) == expected


def test_nested_filters_are_nested() -> None:
    inner = MetadataFilters(filters=[_one(FilterOperator.EQ, 1)], condition=FilterCondition.OR)
    outer = MetadataFilters(filters=[inner, _one(FilterOperator.EQ, 2)])
    assert translated(outer) == AllOf((AnyOf((Equals("f", 1),)), Equals("f", 2)))


@pytest.mark.parametrize(("operator", "value"), _WRONG)
def test_a_value_that_does_not_fit_is_refused(operator: FilterOperator, value: Any) -> None:
    with pytest.raises(InvalidFilterError):
        translated(MetadataFilters(filters=[_one(operator, value)]))


@pytest.mark.parametrize(
    "filters",
    [
        MetadataFilters(filters=[]),
        MetadataFilters(filters=[MetadataFilters(filters=[])]),
        MetadataFilters(filters=[_one(FilterOperator.EQ, "x")], condition=None),
        MetadataFilters(filters=[_one(FilterOperator.EQ, "x", "metadata.text.f")]),
        MetadataFilters(filters=[_one(FilterOperator.EQ, "x", "../tenant_id")]),
    ],
)
def test_what_other_stores_take_for_everything_is_refused(filters: MetadataFilters) -> None:
    with pytest.raises(InvalidFilterError):
        translated(filters)
