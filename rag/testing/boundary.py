"""The store contract: what one tenant tries on another's points."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from isolation.context import TenantContext
from isolation.errors import UnmintedContextError
from isolation.testing.contexts import operator_for_tests, tenant_for_tests
from rag.documents import DocumentVersion, Passage
from rag.filters import AllOf, AnyOf, Equals, Not, Where
from rag.store.point_ids import point_id
from rag.store.port import VectorStore
from rag.testing.merchants import (
    BOTH,
    FACTS,
    FJELLVIK,
    RANKED,
    VOLTBAY,
    embedded,
    everything_seen,
    found,
    listed,
    other,
    plant,
    plant_ranked,
    put,
    returns,
    texts,
)

_ANYTHING = Not(Equals("lang", "nobody's"))
# What a caller may send in the hope of another tenant, or of what is not published.
HOSTILE_FILTERS: list[Where] = [
    _ANYTHING,
    Not(_ANYTHING),
    Equals("tenant_id", "voltbay"),
    Not(Equals("tenant_id", "fjellvik")),
    AnyOf((Equals("tenant_id", "voltbay"), _ANYTHING)),
    AnyOf((Equals("tenant_id", "voltbay"), Equals("tenant_id", "fjellvik"))),
    AllOf((AllOf((AnyOf((_ANYTHING,)),)),)),
    Equals("state", "staged"),
    Not(Equals("state", "published")),
    Equals("document_id", "returns"),
]


class BoundaryContract:
    """Attacks on another tenant's points. The subclass has the fixture `store`."""

    async def test_a_tenant_never_retrieves_anothers_chunk(self, store: VectorStore) -> None:
        await plant(store)
        for ctx in BOTH:
            seen = await everything_seen(store, ctx)
            assert FACTS[ctx.tenant_id] in seen
            assert FACTS[other(ctx).tenant_id] not in seen
            assert other(ctx).tenant_id not in seen

    async def test_a_small_tenant_beside_a_large_one_finds_all_of_its_own(
        self, store: VectorStore
    ) -> None:
        """What is filtered after the search finds little, or nothing."""
        many = (f"how many days for returns: {number}" for number in range(150))
        await put(store, VOLTBAY, "many", *many)
        await put(store, FJELLVIK, "few", *(f"Parcels, {number}" for number in range(5)))
        assert len(await found(store, FJELLVIK, limit=5)) == 5

    async def test_ids_are_the_tenants_own(self, store: VectorStore) -> None:
        await plant(store)
        await put(store, VOLTBAY, "returns", "Returns within 7 days", version="v2")
        assert await texts(store, FJELLVIK) == [returns(FJELLVIK)]
        await store.of(VOLTBAY).delete("returns")
        assert await texts(store, VOLTBAY) == []
        assert await texts(store, FJELLVIK) == [returns(FJELLVIK)]
        assert await store.of(FJELLVIK).count() == 1

    async def test_anothers_document_is_as_unknown_as_one_that_is_not_there(
        self, store: VectorStore
    ) -> None:
        await put(store, FJELLVIK, "secret", returns(FJELLVIK))
        theirs = store.of(VOLTBAY)
        for document_id in ("secret", "unknown", "fjellvik\0secret"):
            assert await theirs.get(document_id) == []
            assert await theirs.chunks(document_id, "v1", range(9), vectors=True) == []
            await theirs.delete(document_id)
            await theirs.publish(document_id, "v1")
        assert await texts(store, FJELLVIK) == [returns(FJELLVIK)]

    async def test_anothers_version_is_not_published_nor_deleted(self, store: VectorStore) -> None:
        await plant(store)
        second = DocumentVersion("returns", "v2", "Returns")
        await store.of(FJELLVIK).stage(second, embedded("Returns within 60 days"))
        await store.of(VOLTBAY).publish("returns", "v2")
        assert await texts(store, FJELLVIK) == [returns(FJELLVIK)]
        await store.of(FJELLVIK).publish("returns", "v2")
        assert await texts(store, FJELLVIK) == ["Returns within 60 days"]

    async def test_names_that_run_together_are_kept_apart(self, store: VectorStore) -> None:
        short, long = tenant_for_tests("fjell"), tenant_for_tests("fjellvik")
        await put(store, short, "vik-returns", "Returns of the short one")
        await put(store, long, "-returns", "Returns of the long one")
        assert await texts(store, short) == ["Returns of the short one"]
        assert await texts(store, long) == ["Returns of the long one"]

    @pytest.mark.parametrize("where", HOSTILE_FILTERS, ids=str)
    async def test_no_filter_reaches_beyond_the_tenants_published_points(
        self, store: VectorStore, where: Where
    ) -> None:
        await plant(store)
        staged = DocumentVersion("draft", "v1", "Draft")
        await store.of(FJELLVIK).stage(staged, embedded("Returns, a draft"))
        passages = await found(store, FJELLVIK, where=where)
        assert {passage.text for passage in passages} <= {returns(FJELLVIK)}

    async def test_metadata_that_names_the_stores_own_fields_is_only_metadata(
        self, store: VectorStore
    ) -> None:
        posing = {"tenant_id": "voltbay", "state": "staged", "document_id": "x", "access": "x"}
        await put(store, FJELLVIK, "returns", returns(FJELLVIK), metadata=posing)
        assert await texts(store, FJELLVIK) == [returns(FJELLVIK)]
        assert await texts(store, VOLTBAY) == []
        where = Equals("tenant_id", "voltbay")
        assert len(await found(store, FJELLVIK, where=where)) == 1

    async def test_anothers_cursor_lists_no_more_than_ones_own(self, store: VectorStore) -> None:
        await plant(store)
        for owner in BOTH:
            cursor = str(point_id(owner.tenant_id, "returns", "v1", 0))
            page = await store.of(FJELLVIK).list(after=cursor)
            assert {(one.document_id, one.version) for one in page.documents} <= {("returns", "v1")}
        assert await listed(store, FJELLVIK) == ["returns"]

    async def test_counts_do_not_tell_of_others(self, store: VectorStore) -> None:
        await put(store, FJELLVIK, "returns", returns(FJELLVIK))
        for number in range(7):
            await put(store, VOLTBAY, f"r{number}", "Returns", "and more")
        assert await store.of(FJELLVIK).count() == 1
        assert len(await listed(store, FJELLVIK)) == 1

    async def test_foreign_documents_move_no_score_and_no_rank(self, store: VectorStore) -> None:
        """A term that is rare in one's own documents stays so, whatever others plant."""
        await plant_ranked(store)
        before = await store.of(FJELLVIK).search(RANKED, limit=5)
        assert [passage.text for passage in before] == ["boots", "tents tents", "tents"]
        await put(store, VOLTBAY, "poison", *["boots boots boots"] * 40)
        assert await store.of(FJELLVIK).search(RANKED, limit=5) == before

    async def test_a_passage_carries_no_vector_and_no_point_id(self, store: VectorStore) -> None:
        await plant(store)
        (passage,) = await found(store, FJELLVIK)
        assert set(Passage._fields) == {
            "tenant_id",
            "document_id",
            "version",
            "ordinal",
            "title",
            "text",
            "score",
            "similarity",
            "masked",
        }
        assert str(point_id(FJELLVIK.tenant_id, "returns", "v1", 0)) not in repr(passage)

    async def test_many_tenants_at_once_see_their_own(self, store: VectorStore) -> None:
        contexts = [tenant_for_tests(f"shop-{number}") for number in range(12)]

        async def live(ctx: TenantContext) -> None:
            for version in ("v1", "v2", "v3"):
                text = f"Returns of {ctx.tenant_id}, {version}"
                await put(store, ctx, "returns", text, version=version)
                passages = await found(store, ctx)
                assert [passage.text for passage in passages] == [text]

        await asyncio.gather(*(live(ctx) for ctx in contexts))

    @pytest.mark.parametrize("forged", [None, "fjellvik", FJELLVIK.tenant_id, object()])
    def test_a_store_binds_to_minted_contexts_only(self, store: VectorStore, forged: Any) -> None:
        with pytest.raises(UnmintedContextError):
            store.of(forged)

    async def test_what_is_the_operators_takes_no_tenants_context(self, store: VectorStore) -> None:
        await plant(store)
        forged: Any
        for forged in (FJELLVIK, None):
            with pytest.raises(UnmintedContextError):
                await store.purge(forged, VOLTBAY.tenant_id)
            with pytest.raises(UnmintedContextError):
                await store.settle(forged, VOLTBAY.tenant_id, "returns", None)
        assert await texts(store, VOLTBAY) == [returns(VOLTBAY)]
        with pytest.raises(UnmintedContextError):
            store.of(operator_for_tests())  # type: ignore[arg-type]
