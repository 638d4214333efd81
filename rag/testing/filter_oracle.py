"""The store contract: whatever filter is asked, just what was asked for is found, of the tenant.

`qdrant-client`'s local mode, another implementation of the same language, is the oracle. It is
given the caller's metadata as it came, and no access and no staging: it knows nothing of the store.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import assert_never

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from qdrant_client import QdrantClient, models

from isolation.context import TenantContext
from rag.filters import AllOf, AnyOf, Between, Equals, Metadata, Not, Scalar, Where
from rag.store.port import VectorStore
from rag.testing.merchants import BOTH, found, put

_FIELDS = st.sampled_from(["lang", "year", "public", "tenant_id", "state", "document_id"])
_VALUES: st.SearchStrategy[Scalar] = st.one_of(
    st.sampled_from(["en", "no", "fjellvik", "voltbay", "published", "staged", ""]),
    st.integers(-3, 3),
    st.booleans(),
    st.sampled_from([0.5, 1.0, -0.0, 2.25]),
)
_LEAVES: st.SearchStrategy[Where] = st.one_of(
    st.builds(Equals, _FIELDS, _VALUES),
    st.builds(Between, _FIELDS, st.integers(-3, 3).map(float), st.none() | st.just(2.0)),
)
FILTERS: st.SearchStrategy[Where] = st.recursive(
    _LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: AllOf(tuple(parts))),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: AnyOf(tuple(parts))),
        inner.map(Not),
    ),
    max_leaves=6,
)


class Oracle:
    """Which documents of a tenant a filter holds for, by another engine's word."""

    def __init__(self) -> None:
        self._client = QdrantClient(":memory:")
        vectors = models.VectorParams(size=1, distance=models.Distance.DOT)
        self._client.create_collection("c", vectors)
        self._points = 0

    def add(self, ctx: TenantContext, document_id: str, metadata: Metadata) -> None:
        """Note a document."""
        payload = {"owner": ctx.tenant_id, "id": document_id, "meta": dict(metadata)}
        point = models.PointStruct(id=self._points, vector=[1.0], payload=payload)
        self._client.upsert("c", [point])
        self._points += 1

    def right(self, ctx: TenantContext, where: Where | None) -> set[str]:
        """The ids that are right."""
        own = models.FieldCondition(key="owner", match=models.MatchValue(value=ctx.tenant_id))
        asked = [] if where is None else [_for_the_oracle(where)]
        records, _ = self._client.scroll("c", models.Filter(must=[own, *asked]), limit=1_000)
        return {(record.payload or {})["id"] for record in records}

    def close(self) -> None:
        """Free it."""
        self._client.close()


def _for_the_oracle(where: Where) -> models.Filter:
    match where:
        case Equals(field, value):
            return models.Filter(must=[_equals(f"meta.{field}", value)])
        case Between(field, low, high):
            bounds = models.Range(gte=low, lte=high)
            return models.Filter(must=[models.FieldCondition(key=f"meta.{field}", range=bounds)])
        case AllOf(parts):
            return models.Filter(must=[_for_the_oracle(part) for part in parts])
        case AnyOf(parts):
            return models.Filter(should=[_for_the_oracle(part) for part in parts])
        case Not(part):
            return models.Filter(must_not=[_for_the_oracle(part)])
        case _:
            assert_never(where)


def _equals(key: str, value: Scalar) -> models.FieldCondition:
    if isinstance(value, bool | str):
        return models.FieldCondition(key=key, match=models.MatchValue(value=value))
    exactly = models.Range(gte=float(value), lte=float(value))
    return models.FieldCondition(key=key, range=exactly)


def varied() -> list[tuple[str, Metadata]]:
    """Documents for both tenants; some hold the store's own field names, with foreign values."""
    languages: list[Scalar] = ["en", "no", "", "fjellvik"]
    years: list[Scalar] = [-3, 0, 1, 2, 0.5, 1.0, 2.25, True]
    documents: list[tuple[str, Metadata]] = [("bare", {})]
    for number, year in enumerate(years):
        metadata: dict[str, Scalar] = {"lang": languages[number % 4], "year": year}
        if number % 2:
            metadata |= {"public": number % 3 == 0, "tenant_id": "voltbay", "state": "staged"}
        documents.append((f"d{number}", metadata))
    return documents


async def plant_varied(store: VectorStore, oracle: Oracle) -> None:
    """The same documents of both tenants, in the store and for the oracle."""
    for ctx in BOTH:
        for name, metadata in varied():
            document_id = f"{ctx.tenant_id}/{name}"
            await put(store, ctx, document_id, f"returns {name}", metadata=metadata)
            oracle.add(ctx, document_id, metadata)


class FilterContract:
    """Callers' filters. The subclass has the fixture `store`."""

    @pytest.fixture
    def oracle(self) -> Iterator[Oracle]:
        oracle = Oracle()
        yield oracle
        oracle.close()

    @settings(
        max_examples=300,
        deadline=None,
        # One store for all examples, and this same test for all engines.
        suppress_health_check=[
            HealthCheck.function_scoped_fixture,
            HealthCheck.differing_executors,
            HealthCheck.too_slow,
        ],
    )
    @given(where=FILTERS)
    async def test_any_filter_finds_the_tenants_own_and_what_the_oracle_finds(
        self, store: VectorStore, oracle: Oracle, where: Where
    ) -> None:
        if not oracle.right(BOTH[0], None):
            await plant_varied(store, oracle)
        for ctx in BOTH:
            assert await self.ids(store, ctx, where) == oracle.right(ctx, where)

    async def test_without_a_filter_everything_of_the_tenant_is_found(
        self, store: VectorStore, oracle: Oracle
    ) -> None:
        await plant_varied(store, oracle)
        for ctx in BOTH:
            everything = {f"{ctx.tenant_id}/{name}" for name, _ in varied()}
            assert await self.ids(store, ctx, None) == oracle.right(ctx, None) == everything

    async def ids(self, store: VectorStore, ctx: TenantContext, where: Where | None) -> set[str]:
        """The documents that are found, all of them the tenant's."""
        passages = await found(store, ctx, where=where)
        assert {passage.tenant_id for passage in passages} <= {ctx.tenant_id}
        return {passage.document_id for passage in passages}
