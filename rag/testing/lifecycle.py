"""The store contract: a document's life, from staging to purging."""

from __future__ import annotations

import asyncio
import math

import pytest

from isolation.errors import InvalidRequestError
from isolation.testing.contexts import operator_for_tests
from rag.documents import DocumentVersion
from rag.errors import StoreError
from rag.filters import Metadata
from rag.store.port import HybridQuery, VectorStore
from rag.testing.merchants import (
    FJELLVIK,
    QUESTION,
    VOLTBAY,
    embedded,
    found,
    listed,
    plant,
    put,
    returns,
    texts,
)

_SECOND = DocumentVersion("returns", "v2", "Returns")
_NO_VECTORS = [[1.0], [], [math.nan] * 4, [math.inf, 0.0, 0.0, 0.0], [1.0] * 5]


class LifeCycleContract:
    """What is written, published and deleted. The subclass has the fixture `store`: an empty one
    of `merchants.DIMENSION` numbers."""

    async def test_an_empty_store_shows_nothing(self, store: VectorStore) -> None:
        assert await found(store, FJELLVIK) == []
        assert await store.of(FJELLVIK).get("returns") == []
        assert await store.of(FJELLVIK).count() == 0
        assert await listed(store, FJELLVIK) == []

    async def test_a_document_is_read_back_as_it_was_written(self, store: VectorStore) -> None:
        await put(store, FJELLVIK, "returns", "first part", "second part")
        read = await store.of(FJELLVIK).get("returns")
        assert [passage.text for passage in read] == ["first part", "second part"]
        assert {(p.document_id, p.version, p.title) for p in read} == {("returns", "v1", "Returns")}
        assert await store.of(FJELLVIK).count() == 2

    async def test_chunks_are_read_as_they_were_staged(self, store: VectorStore) -> None:
        metadata: Metadata = {"lang": "en", "year": 2024.0, "public": True}
        groups, dense = frozenset({"vip", "staff"}), [0.6, 0.8, 0.0, 0.0]
        version = DocumentVersion("returns", "v1", "Returns", metadata, groups)
        mine = store.of(FJELLVIK)
        await mine.upsert(version, embedded("zero", "one", "two", dense=dense))
        chunks = await mine.chunks("returns", "v1", range(1, 5), vectors=True)
        assert [(one.chunk.ordinal, one.chunk.text) for one in chunks] == [(1, "one"), (2, "two")]
        assert {one.version.groups for one in chunks} == {groups}
        assert chunks[0].version == version
        # Engines keep half-precision numbers: below 1, they are 2^-11 apart.
        assert chunks[0].dense == pytest.approx(dense, abs=2**-12)
        assert [one.dense for one in await mine.chunks("returns", "v1", range(1))] == [None]
        assert await mine.chunks("returns", "v0", range(3)) == []
        assert await mine.chunks("returns", "v1", range(0)) == []

    async def test_a_document_of_many_chunks_is_kept_whole(self, store: VectorStore) -> None:
        await put(store, FJELLVIK, "long", *(f"part {number}" for number in range(200)))
        read = await store.of(FJELLVIK).get("long")
        assert [passage.ordinal for passage in read] == list(range(200))
        chunks = await store.of(FJELLVIK).chunks("long", "v1", range(200))
        assert [one.chunk.ordinal for one in chunks] == list(range(200))

    async def test_a_document_may_be_staged_in_parts(self, store: VectorStore) -> None:
        mine = store.of(FJELLVIK)
        await mine.stage(_SECOND, embedded("one", "two")[:1])
        await mine.stage(_SECOND, embedded("one", "two")[1:])
        await mine.publish("returns", "v2")
        assert [passage.text for passage in await mine.get("returns")] == ["one", "two"]

    async def test_a_staged_version_is_seen_by_no_read(self, store: VectorStore) -> None:
        await plant(store)
        await store.of(FJELLVIK).stage(_SECOND, embedded("Returns within 60 days", "more"))
        assert {p.version for p in await store.of(FJELLVIK).get("returns")} == {"v1"}
        assert await texts(store, FJELLVIK) == [returns(FJELLVIK)]
        assert await store.of(FJELLVIK).count() == 1
        first = DocumentVersion("new", "v1", "New")
        await store.of(FJELLVIK).stage(first, embedded("text"))
        assert await store.of(FJELLVIK).chunks("new", "v1", range(1)) == []
        assert await listed(store, FJELLVIK) == ["returns"]

    async def test_publishing_replaces_whole(self, store: VectorStore) -> None:
        await put(store, FJELLVIK, "returns", "one", "two", "three")
        mine = store.of(FJELLVIK)
        await mine.stage(_SECOND, embedded("Returns within 60 days"))
        await mine.publish("returns", "v2")
        assert await texts(store, FJELLVIK) == ["Returns within 60 days"]
        assert await mine.count() == 1

    async def test_a_reader_beside_a_publication_always_finds_a_whole_version(
        self, store: VectorStore
    ) -> None:
        await put(store, FJELLVIK, "returns", "old one", "old two")
        mine, done = store.of(FJELLVIK), asyncio.Event()
        seen: list[set[tuple[str, int]]] = []

        async def read() -> None:
            while not done.is_set():
                passages = await mine.get("returns")
                seen.append({(passage.version, passage.ordinal) for passage in passages})
                await asyncio.sleep(0)

        reader = asyncio.create_task(read())
        for number in range(5):
            version = DocumentVersion("returns", f"n{number}", "Returns")
            await mine.upsert(version, embedded("new one", "new two"))
        done.set()
        await reader
        whole = [
            {version for version, _ in one if {(version, 0), (version, 1)} <= one} for one in seen
        ]
        assert all(whole)

    async def test_staging_again_and_publishing_again_are_harmless(
        self, store: VectorStore
    ) -> None:
        mine = store.of(FJELLVIK)
        for _ in range(2):
            await mine.stage(_SECOND, embedded("Returns within 60 days"))
        for _ in range(2):
            await mine.publish("returns", "v2")
        assert await texts(store, FJELLVIK) == ["Returns within 60 days"]

    async def test_deleting_takes_staged_versions_too_and_an_unknown_id_is_no_error(
        self, store: VectorStore
    ) -> None:
        await plant(store)
        await store.of(FJELLVIK).stage(_SECOND, embedded("Returns within 60 days"))
        await store.of(FJELLVIK).delete("returns")
        await store.of(FJELLVIK).delete("unknown")
        await store.of(FJELLVIK).publish("returns", "v2")
        assert await texts(store, FJELLVIK) == []

    async def test_a_late_writer_deletes_nothing_that_came_after_it(
        self, store: VectorStore
    ) -> None:
        """It names what it replaces; what others wrote meanwhile it does not know."""
        await plant(store)
        mine, late = store.of(FJELLVIK), DocumentVersion("returns", "late", "Returns")
        await mine.stage(late, embedded("late"))
        await put(store, FJELLVIK, "returns", "Returns within 60 days", version="v2")
        await mine.publish("returns", "late", versions={"v1", "late"})
        await mine.delete("returns", versions={"v1", "late"})
        await mine.delete("returns", versions=set())
        settled = operator_for_tests(), FJELLVIK.tenant_id, "returns"
        await store.settle(*settled, "late", versions={"v1", "late"})
        await store.settle(*settled, None, versions={"v1"})
        assert await texts(store, FJELLVIK) == ["Returns within 60 days"]
        await mine.delete("returns", versions={"v2"})
        assert await texts(store, FJELLVIK) == []

    async def test_settling_leaves_the_committed_version_alone(self, store: VectorStore) -> None:
        await plant(store)
        operator, tenant = operator_for_tests(), FJELLVIK.tenant_id
        await store.of(FJELLVIK).stage(_SECOND, embedded("half"))
        await store.settle(operator, tenant, "returns", "v1")
        await store.of(FJELLVIK).publish("returns", "v1")
        assert await texts(store, FJELLVIK) == [returns(FJELLVIK)]
        await store.settle(operator, tenant, "returns", None)
        assert await texts(store, FJELLVIK) == []
        assert await texts(store, VOLTBAY) == [returns(VOLTBAY)]

    async def test_purging_leaves_nothing_of_a_tenant_and_all_of_the_other(
        self, store: VectorStore
    ) -> None:
        await plant(store)
        await store.of(FJELLVIK).stage(_SECOND, embedded("half"))
        for _ in range(2):
            await store.purge(operator_for_tests(), FJELLVIK.tenant_id)
        await store.settle(operator_for_tests(), FJELLVIK.tenant_id, "returns", "v2")
        assert await texts(store, FJELLVIK) == []
        assert await texts(store, VOLTBAY) == [returns(VOLTBAY)]

    async def test_every_document_is_listed_once_page_by_page(self, store: VectorStore) -> None:
        names = [f"r{number}" for number in range(5)]
        for name in names:
            await put(store, FJELLVIK, name, "one", "two", "three")
        assert sorted(await listed(store, FJELLVIK, limit=2)) == names
        with pytest.raises(InvalidRequestError):
            await store.of(FJELLVIK).list(after="not a cursor")

    async def test_a_search_gives_no_more_than_it_is_asked_for(self, store: VectorStore) -> None:
        await put(store, FJELLVIK, "returns", *(f"Returns, part {n}" for n in range(5)))
        assert [len(await found(store, FJELLVIK, limit=n)) for n in (-1, 0, 1, 5, 1_000)] == [
            0,
            0,
            1,
            5,
            5,
        ]

    async def test_a_question_without_words_is_answered_by_the_vector(
        self, store: VectorStore
    ) -> None:
        await plant(store)
        passages = await store.of(FJELLVIK).search(HybridQuery("", QUESTION.dense), limit=5)
        assert [passage.text for passage in passages] == [returns(FJELLVIK)]

    @pytest.mark.parametrize("dense", _NO_VECTORS)
    async def test_a_vector_that_is_none_is_refused_and_nothing_is_written(
        self, store: VectorStore, dense: list[float]
    ) -> None:
        mine = store.of(FJELLVIK)
        if dense:  # without any, the search goes by words alone
            with pytest.raises(StoreError):
                await mine.search(HybridQuery("returns", dense), limit=5)
        with pytest.raises(StoreError):
            await mine.stage(_SECOND, [*embedded("good"), *embedded("bad", dense=dense)])
        await mine.publish("returns", "v2")
        assert await mine.count() == 0
