"""Callers' filters: whatever is asked, only the tenant's own is found, and just what was asked for.

`qdrant-client`'s local mode, another implementation of the same language, is the oracle.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, assert_never

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from qdrant_client import QdrantClient, models

from isolation.context import TenantContext
from isolation.testing.contexts import tenant_for_tests
from rag.documents import Chunk, Document, DocumentVersion, EmbeddedChunk
from rag.errors import InvalidFilterError
from rag.filter_json import filter_as_json, parse_filter
from rag.filters import AllOf, AnyOf, Between, Equals, Metadata, Not, Scalar, Where
from rag.store.conditions import Every
from rag.store.edge.store import EdgeVectorStore
from rag.store.port import HybridQuery

TENANTS = tenant_for_tests("fjellvik"), tenant_for_tests("voltbay")
QUERY = HybridQuery("returns", [1.0, 0.0, 0.0, 0.0])
MOST = 100

FIELDS = st.sampled_from(["lang", "year", "public", "tenant_id", "state", "document_id"])
VALUES: st.SearchStrategy[Scalar] = st.one_of(
    st.sampled_from(["en", "no", "fjellvik", "voltbay", "published", "staged", ""]),
    st.integers(-3, 3),
    st.booleans(),
    st.sampled_from([0.5, 1.0, -0.0, 2.25]),
)
LEAVES: st.SearchStrategy[Where] = st.one_of(
    st.builds(Equals, FIELDS, VALUES),
    st.builds(Between, FIELDS, st.integers(-3, 3).map(float), st.none() | st.just(2.0)),
)
FILTERS: st.SearchStrategy[Where] = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: AllOf(tuple(parts))),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: AnyOf(tuple(parts))),
        inner.map(Not),
    ),
    max_leaves=6,
)


@dataclass
class Engines:
    ours: EdgeVectorStore
    oracle: QdrantClient

    async def found(self, ctx: TenantContext, where: Where | None) -> set[str]:
        passages = await self.ours.of(ctx).search(QUERY, limit=MOST, where=where)
        assert {passage.tenant_id for passage in passages} <= {ctx.tenant_id}
        return {passage.document_id for passage in passages}

    def right(self, ctx: TenantContext, where: Where | None) -> set[str]:
        own = models.FieldCondition(key="owner", match=models.MatchValue(value=ctx.tenant_id))
        asked = [] if where is None else [_for_the_oracle(where)]
        records, _ = self.oracle.scroll("c", models.Filter(must=[own, *asked]), limit=1_000)
        return {(record.payload or {})["id"] for record in records}


def _for_the_oracle(where: Where) -> models.Filter:
    match where:
        case Equals(field, value):
            key = f"meta.{field}"
            if isinstance(value, bool | str):
                matched = models.MatchValue(value=value)
                return models.Filter(must=[models.FieldCondition(key=key, match=matched)])
            exactly = models.Range(gte=float(value), lte=float(value))
            return models.Filter(must=[models.FieldCondition(key=key, range=exactly)])
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


def _documents() -> list[tuple[str, Metadata]]:
    """The same of both tenants; some hold the store's own field names, with foreign values."""
    languages: list[Scalar] = ["en", "no", "", "fjellvik"]
    years: list[Scalar] = [-3, 0, 1, 2, 0.5, 1.0, 2.25, True]
    documents: list[tuple[str, Metadata]] = [("bare", {})]
    for number, year in enumerate(years):
        metadata: dict[str, Scalar] = {"lang": languages[number % 4], "year": year}
        if number % 2:
            metadata |= {"public": number % 3 == 0, "tenant_id": "voltbay", "state": "staged"}
        documents.append((f"d{number}", metadata))
    return documents


@pytest.fixture(scope="module")
def engines() -> Iterator[Engines]:
    import asyncio

    with tempfile.TemporaryDirectory() as folder:
        store = EdgeVectorStore.open(Path(folder) / "edge", 4)
        oracle = QdrantClient(":memory:")
        vectors = models.VectorParams(size=1, distance=models.Distance.DOT)
        oracle.create_collection("c", vectors)
        asyncio.run(_fill(store, oracle))
        yield Engines(store, oracle)
        asyncio.run(store.close())
        oracle.close()


async def _fill(store: EdgeVectorStore, oracle: QdrantClient) -> None:
    points: list[Any] = []
    for ctx in TENANTS:
        for name, metadata in _documents():
            document_id = f"{ctx.tenant_id}/{name}"
            chunks = [EmbeddedChunk(Chunk(0, f"returns {name}"), [1.0, 0.0, 0.0, 0.0])]
            version = DocumentVersion(document_id, "v1", "T", metadata)
            await store.of(ctx).stage(version, chunks)
            await store.of(ctx).publish(document_id, "v1")
            payload = {"owner": ctx.tenant_id, "id": document_id, "meta": dict(metadata)}
            points.append(models.PointStruct(id=len(points), vector=[1.0], payload=payload))
    oracle.upsert("c", points)


@settings(
    max_examples=400,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(where=FILTERS)
async def test_any_filter_finds_the_tenants_own_and_what_the_oracle_finds(
    engines: Engines, where: Where
) -> None:
    for ctx in TENANTS:
        assert await engines.found(ctx, where) == engines.right(ctx, where)


async def test_without_a_filter_everything_of_the_tenant_is_found(engines: Engines) -> None:
    for ctx in TENANTS:
        everything = {f"{ctx.tenant_id}/{name}" for name, _ in _documents()}
        assert await engines.found(ctx, None) == engines.right(ctx, None) == everything


async def test_a_filter_that_replaces_the_predicate_is_caught(
    engines: Engines, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The leaky twin: LlamaIndex's own store lets a caller's filter stand in for the tenant's."""
    from rag.store import predicate

    honest = predicate.visible_to

    def replaced(ctx: Any, document_id: Any = None, where: Where | None = None) -> Any:
        return honest(ctx) if where is None else Every((predicate._compiled(where),))

    monkeypatch.setattr(predicate, "visible_to", replaced)
    everybodys = Not(Equals("lang", "nobody's"))
    with pytest.raises(Exception, match="another tenant"):
        await engines.found(TENANTS[0], everybodys)


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
