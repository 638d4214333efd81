"""Filters as JSON, and what is no filter. What they find is in the store contract."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from rag.documents import Document
from rag.errors import InvalidFilterError
from rag.filter_json import filter_as_json, parse_filter
from rag.filters import Where
from rag.testing.filter_oracle import FILTERS


@given(where=FILTERS)
def test_json_carries_every_filter(where: Where) -> None:
    assert parse_filter(filter_as_json(where)) == where


@pytest.mark.parametrize(
    "value",
    [
        {},
        [],
        None,
        "tenant",
        {"all": []},
        {"any": []},
        {"any": {}},
        {"not": []},
        {"must": [{"key": "tenant_id"}]},
        {"field": "lang"},
        {"field": "lang", "equals": None},
        {"field": "lang", "equals": ["en"]},
        {"field": "lang", "equals": {"$ne": "x"}},
        {"field": "lang", "equals": float("nan")},
        {"field": "lang", "equals": 2**80},
        {"field": "lang", "equals": "x" * 2_000},
        {"field": "lang", "equals": "en", "tenant_id": "x"},
        {"field": "year", "at_least": True},
        {"field": "year", "at_least": float("inf")},
        {"field": "year", "at_least": None},
        {"field": "../tenant_id", "equals": "x"},
        {"field": "metadata.lang", "equals": "x"},
        {"field": "a[]", "equals": "x"},
        {"field": "", "equals": "x"},
        {"field": 1, "equals": "x"},
        {"any": [{"field": "lang", "equals": "en"}] * 65},
    ],
)
def test_what_is_no_filter_is_refused(value: object) -> None:
    with pytest.raises(InvalidFilterError):
        parse_filter(value)


def test_a_filter_of_a_thousand_levels_is_refused() -> None:
    deep: dict[str, Any] = {"field": "lang", "equals": "en"}
    for _ in range(1_000):
        deep = {"not": deep}
    with pytest.raises(InvalidFilterError):
        parse_filter(deep)


@pytest.mark.parametrize(
    "metadata",
    [{"Tenant": "x"}, {"a.b": 1}, {"a": [1]}, {"a": None}, {f"f{n}": n for n in range(40)}],
)
def test_metadata_that_a_filter_could_not_ask_for_is_refused(metadata: Any) -> None:
    with pytest.raises(InvalidFilterError):
        Document("id", "Title", "text", metadata)
