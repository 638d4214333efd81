"""Re-embedding: one generation answers, another is filled and takes its place, and nothing is lost
between. The same on every engine: Qdrant Edge, a Qdrant server's adapter over the loopback server,
and a real server when BULKHEAD_TEST_QDRANT_URL names one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from isolation.access import restricted_to
from isolation.tenant_id import TenantId
from isolation.testing.contexts import tenant_for_tests
from rag.archive import ArchivedDocument
from rag.documents import Document, DocumentVersion, EmbeddedChunk
from rag.errors import StoreError, UnsafeCollectionError, VectorsMovingError
from rag.generation import Generation
from rag.store import terms
from rag.store.generations import MadeWith
from rag.store.port import HybridQuery, TenantCollection
from rag.store.terms import TermSpace
from tests.rag.reembedding import (
    BOTH,
    FJELLVIK,
    NEW,
    OLD,
    OPERATOR,
    REAL_URL,
    VOLTBAY,
    Knowledge,
    Make,
    SlowEmbedder,
    on_engine,
    opened,
)

_REAL = pytest.mark.skipif(
    REAL_URL is None, reason="no Qdrant server here: set BULKHEAD_TEST_QDRANT_URL to one"
)


@pytest.fixture(params=["edge", "loopback", "tiered", pytest.param("real", marks=_REAL)])
async def make(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[Make, None]:
    async with on_engine(request.param, tmp_path) as made:
        yield made


@pytest.fixture
async def knowledge(make: Make) -> AsyncGenerator[Knowledge, None]:
    async with opened(make) as knowledge:
        yield knowledge


async def test_another_models_vectors_are_refused_with_the_way_out(
    make: Make, knowledge: Knowledge
) -> None:
    for other in (NEW, MadeWith("old", 4, "other weights")):
        with pytest.raises(UnsafeCollectionError, match="bulkhead reembed"):
            await make().open(other)


async def test_all_is_there_after_a_switch_and_each_tenants_own(knowledge: Knowledge) -> None:
    before = {ctx.tenant_id: await knowledge.texts(ctx) for ctx in (FJELLVIK, VOLTBAY)}
    await knowledge.reembed(SlowEmbedder(8, "new"))
    for ctx, foreign in ((FJELLVIK, "14 days"), (VOLTBAY, "30 days")):
        assert await knowledge.texts(ctx) == before[ctx.tenant_id]
        assert len(before[ctx.tenant_id]) == 8
        assert foreign not in str(await knowledge.texts(ctx))
    assert knowledge.live.embedder.dimension == 8
    with pytest.raises(UnsafeCollectionError):
        await knowledge.make().open(OLD)


async def test_terms_that_all_tenants_share_answer_until_a_copy_makes_them_the_tenants_own(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    placed: list[str] = []
    honest = terms._own

    def seen(tenant: TenantId, indices: Iterable[int]) -> Iterable[int]:
        placed.append(tenant)
        return honest(tenant, indices)

    async def found(knowledge: Knowledge) -> list[int]:
        asked = HybridQuery("returns within 30 days", [])
        return [len(await knowledge.engine.of(ctx).search(asked, limit=50)) for ctx in BOTH]

    monkeypatch.setattr(terms, "_own", seen)
    async with opened(make, replace(OLD, terms=TermSpace.shared)) as knowledge:
        assert await found(knowledge) == [8, 8]
        assert not placed
        assert knowledge.engine.shares_terms
        assert knowledge.ingestor.generation.store.shares_terms
        await knowledge.reembed(SlowEmbedder(4, "old"), copy=True)
        assert await found(knowledge) == [8, 8]
        assert {ctx.tenant_id for ctx in BOTH} == set(placed)
        assert not knowledge.engine.shares_terms


async def test_what_is_written_and_deleted_meanwhile_is_there_and_gone(
    knowledge: Knowledge,
) -> None:
    mine, reembedding = (
        knowledge.ingestor.of(FJELLVIK),
        asyncio.ensure_future(knowledge.reembed(SlowEmbedder(8, "new"))),
    )
    searches = 0
    for number in range(8):
        await mine.ingest(Document(f"new{number}", "New", f"Returns within 45 days, new {number}."))
        await mine.ingest(Document("d1", "Returns", f"Returns within 60 days, again {number}."))
        if number < 3:
            await mine.delete(f"d{number + 4}")
        assert await knowledge.texts(FJELLVIK)
        assert "30 days" not in str(await knowledge.texts(VOLTBAY))
        searches += 1
    await reembedding
    await mine.ingest(Document("last", "Last", "Returns within 90 days, last."))
    texts = await knowledge.texts(FJELLVIK)
    kept = {f"Returns within 30 days, {n}." for n in range(8) if n not in (1, 4, 5, 6)}
    new = {f"Returns within 45 days, new {n}." for n in range(8)}
    assert texts == kept | new | {
        "Returns within 60 days, again 7.",
        "Returns within 90 days, last.",
    }
    assert searches == 8


async def test_a_write_that_began_before_the_switch_lands_behind_it(knowledge: Knowledge) -> None:
    writing, go_on = asyncio.Event(), asyncio.Event()

    class Waiting(SlowEmbedder):
        async def embed(self, texts: Sequence[str]) -> list[list[float]]:
            writing.set()
            await go_on.wait()
            return await super().embed(texts)

    now = knowledge.ingestor.generation
    knowledge.ingestor.generation = Generation(now.store, Waiting(4, "old"))
    late = asyncio.ensure_future(
        knowledge.ingestor.of(FJELLVIK).ingest(Document("late", "Late", "Returns: late."))
    )
    await writing.wait()
    await knowledge.reembed(SlowEmbedder(8, "new"))
    assert not late.done()
    go_on.set()
    assert (await late).status == "created"
    assert "Returns: late." in await knowledge.texts(FJELLVIK)


async def test_groups_go_with_their_documents(knowledge: Knowledge) -> None:
    staff = tenant_for_tests("fjellvik", access=restricted_to(["staff"]))
    guest = tenant_for_tests("fjellvik", access=restricted_to(["guest"]))
    for copy in (False, True):
        await knowledge.reembed(SlowEmbedder(8, "new"), copy=copy)
        assert len(await knowledge.texts(staff)) == 8
        assert len(await knowledge.texts(guest)) == 6
        assert len(await knowledge.texts(VOLTBAY)) == 8


@pytest.mark.parametrize("nth", [1, 5, 9], ids=str)
async def test_a_tenant_that_is_deleted_meanwhile_is_in_neither(
    knowledge: Knowledge, nth: int
) -> None:
    """By another gateway: before its first document, in the middle, and after its last one."""

    class Meanwhile(SlowEmbedder):
        asked = 0

        async def embed(self, texts: Sequence[str]) -> list[list[float]]:
            self.asked += 1
            if self.asked == nth:
                await knowledge.delete(FJELLVIK)
            return await super().embed(texts)

    embedder = Meanwhile(8, "new")
    await knowledge.reembed(embedder)
    assert embedder.asked >= nth
    assert knowledge.live.embedder.name == "new"
    assert await knowledge.engine.of(FJELLVIK).count() == 0
    assert len(await knowledge.texts(VOLTBAY)) == 8


async def test_what_a_kill_left_is_gone_on_with_and_holds_no_deleted_tenant(
    knowledge: Knowledge, make: Make
) -> None:
    class Dying(SlowEmbedder):
        left = 12

        async def embed(self, texts: Sequence[str]) -> list[list[float]]:
            self.left -= 1
            if not self.left:
                raise asyncio.CancelledError
            return await super().embed(texts)

    with pytest.raises(asyncio.CancelledError):
        await knowledge.reembed(Dying(8, "new"))
    # The moment between the last write and the look whether the tenant is still there.
    await knowledge.engine.purge(OPERATOR, FJELLVIK.tenant_id)
    await knowledge.catalog.purge(OPERATOR, FJELLVIK.tenant_id)
    knowledge.gone.add(FJELLVIK.tenant_id)
    counting = Dying(8, "new")
    counting.left = 1_000
    knowledge.generations = make()
    await knowledge.reembed(counting)
    assert 1_000 - counting.left <= 8
    assert await knowledge.engine.of(FJELLVIK).count() == 0
    assert len(await knowledge.texts(VOLTBAY)) == 8


async def test_a_restore_that_meets_a_switch_is_refused_and_changes_nothing(
    knowledge: Knowledge,
) -> None:
    mine, before = knowledge.ingestor.of(FJELLVIK), knowledge.ingestor.generation
    entry = await mine.get("d1")
    stored = await before.store.of(FJELLVIK).chunks("d1", entry.version, range(1), vectors=True)
    await knowledge.reembed(SlowEmbedder(4, "new"))

    async def batches() -> AsyncGenerator[list[EmbeddedChunk], None]:
        yield [EmbeddedChunk(stored[0].chunk, stored[0].dense or [])]

    with pytest.raises(VectorsMovingError):
        await mine.put_back(ArchivedDocument(entry, {}), batches(), before)
    assert len(await knowledge.texts(FJELLVIK)) == 8
    assert (await mine.get("d1")).version == entry.version


async def test_a_copy_that_is_not_complete_is_not_switched_to(
    knowledge: Knowledge, monkeypatch: pytest.MonkeyPatch
) -> None:
    collection = type(knowledge.engine.of(FJELLVIK))
    count = collection.count

    async def one_missing(self: TenantCollection) -> int:
        return await count(self) - 1

    before = await knowledge.texts(FJELLVIK)
    with monkeypatch.context() as patched:
        patched.setattr(collection, "count", one_missing)
        with pytest.raises(StoreError, match="not complete"):
            await knowledge.reembed(SlowEmbedder(8, "new"))
    assert await knowledge.texts(FJELLVIK) == before
    await knowledge.reembed(SlowEmbedder(8, "new"))
    assert await knowledge.texts(FJELLVIK) == before


class Leaky:
    """A copy that writes what it should not."""

    def __init__(self, knowledge: Knowledge, monkeypatch: pytest.MonkeyPatch) -> None:
        self._collection = type(knowledge.engine.of(FJELLVIK))
        self._patch = monkeypatch

    def forgets_groups(self) -> None:
        honest = self._collection.stage

        async def stage(own: Any, version: DocumentVersion, chunks: Any) -> None:
            await honest(own, replace(version, groups=frozenset()), chunks)

        self._patch.setattr(self._collection, "stage", stage)

    def writes_anothers_tenant(self) -> None:
        honest = self._collection.stage

        async def stage(own: Any, version: DocumentVersion, chunks: Any) -> None:
            own._ctx = VOLTBAY
            await honest(own, version, chunks)

        self._patch.setattr(self._collection, "stage", stage)


async def test_a_copy_that_forgets_the_groups_is_caught(
    knowledge: Knowledge, monkeypatch: pytest.MonkeyPatch
) -> None:
    Leaky(knowledge, monkeypatch).forgets_groups()
    with pytest.raises(AssertionError):
        await test_groups_go_with_their_documents(knowledge)


async def test_a_copy_under_anothers_tenant_is_never_switched_to(
    knowledge: Knowledge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The count of each tenant catches it before anybody could be answered by it."""
    before = await knowledge.texts(VOLTBAY)
    Leaky(knowledge, monkeypatch).writes_anothers_tenant()
    with pytest.raises(StoreError, match="not complete"):
        await knowledge.reembed(SlowEmbedder(8, "new"))
    assert await knowledge.texts(VOLTBAY) == before
