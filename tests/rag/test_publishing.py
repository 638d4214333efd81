"""A large document changes in one moment for every reader, and the event loop goes on meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable
from pathlib import Path
from uuid import UUID

import pytest
from qdrant_edge import UpdateOperation

from isolation.access import restricted_to
from isolation.errors import CrossTenantError
from isolation.testing.contexts import operator_for_tests, tenant_for_tests
from rag.documents import Chunk, DocumentVersion, EmbeddedChunk
from rag.store import predicate
from rag.store.edge import settling
from rag.store.edge.hidden import Hidden
from rag.store.edge.store import EdgeVectorStore
from rag.store.port import HybridQuery, TenantCollection

FJELLVIK, VOLTBAY = tenant_for_tests("fjellvik"), tenant_for_tests("voltbay")
CHUNKS = 3_000
QUERY = HybridQuery("returns", [1.0, 0.0, 0.0, 0.0])


@pytest.fixture
async def store(tmp_path: Path) -> AsyncGenerator[EdgeVectorStore, None]:
    store = EdgeVectorStore.open(tmp_path / "edge", 4)
    yield store
    await store.close()


async def _stage(collection: TenantCollection, version: str) -> None:
    chunks = [
        EmbeddedChunk(Chunk(n, f"Returns, {version}, {n}"), [1.0, n / CHUNKS, 0.0, 0.0])
        for n in range(CHUNKS)
    ]
    await collection.stage(DocumentVersion("book", version, "Book"), chunks)


async def _seen_during(collection: TenantCollection, work: Awaitable[None]) -> list[str]:
    """Which versions each search shows while `work` runs, as one text a search."""
    task = asyncio.ensure_future(work)
    seen = []
    while not task.done():
        found = await collection.search(QUERY, limit=20)
        seen.append("+".join(sorted({passage.version for passage in found})))
        assert await collection.count() in (0, CHUNKS)
        await asyncio.sleep(0)
    await task
    return seen


async def test_a_reader_sees_the_old_version_whole_and_then_the_new_one_whole(
    store: EdgeVectorStore,
) -> None:
    mine = store.of(FJELLVIK)
    await _stage(mine, "v1")
    assert set(await _seen_during(mine, mine.publish("book", "v1"))) <= {"", "v1"}
    await _stage(mine, "v2")
    seen = await _seen_during(mine, mine.publish("book", "v2"))
    assert set(seen) == {"v1", "v2"}
    assert seen == sorted(seen)
    assert await mine.count() == CHUNKS


async def test_a_reader_sees_nothing_of_what_is_being_deleted(store: EdgeVectorStore) -> None:
    mine, other = store.of(FJELLVIK), store.of(VOLTBAY)
    for collection in (mine, other):
        await _stage(collection, "v1")
        await collection.publish("book", "v1")
    seen = await _seen_during(mine, mine.delete("book"))
    assert len(seen) > 2
    # The first one was asked before the deletion began.
    assert set(seen[1:]) == {""}
    assert await other.count() == CHUNKS


async def test_without_the_moment_two_versions_are_seen(
    store: EdgeVectorStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: it is what is hidden that makes it one moment."""
    mine = store.of(FJELLVIK)
    await _stage(mine, "v1")
    await mine.publish("book", "v1")
    await _stage(mine, "v2")
    monkeypatch.setattr(Hidden, "conditions", lambda *_: ())

    async def counts() -> set[int]:
        task, counted = asyncio.ensure_future(mine.publish("book", "v2")), set()
        while not task.done():
            counted.add(await mine.count())
            await asyncio.sleep(0)
        return counted

    assert max(await counts()) > CHUNKS


async def test_no_step_is_long(store: EdgeVectorStore, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    deleted, shown = UpdateOperation.delete_points, UpdateOperation.set_payload

    class Counted:
        """What a step changes."""

        @staticmethod
        def delete_points(ids: list[UUID]) -> UpdateOperation:
            sizes.append(len(ids))
            return deleted(ids)

        @staticmethod
        def set_payload(ids: list[UUID], payload: dict[str, str]) -> UpdateOperation:
            sizes.append(len(ids))
            return shown(ids, payload)

    monkeypatch.setattr(settling, "UpdateOperation", Counted)
    mine = store.of(FJELLVIK)
    await _stage(mine, "v1")
    await mine.publish("book", "v1")
    await store.purge(operator_for_tests(), FJELLVIK.tenant_id)
    assert max(sizes) == settling._BATCH
    assert sum(sizes) == 2 * CHUNKS


async def test_chunks_are_read_as_they_were_staged_and_nobody_elses(store: EdgeVectorStore) -> None:
    version = DocumentVersion("a", "v1", "A", {"lang": "en", "n": 2.0, "b": True}, frozenset({"x"}))
    chunks = [EmbeddedChunk(Chunk(n, f"text {n}"), [0.0, 1.0, 0.0, 0.0]) for n in range(5)]
    mine = store.of(FJELLVIK)
    await mine.stage(version, chunks)
    assert await mine.chunks("a", "v1", range(5)) == []
    await mine.publish("a", "v1")
    found = await mine.chunks("a", "v1", range(1, 9), vectors=True)
    assert [(one.version, one.chunk, one.dense) for one in found] == [
        (version, one.chunk, one.dense) for one in chunks[1:]
    ]
    assert await store.of(VOLTBAY).chunks("a", "v1", range(5)) == []
    restricted = tenant_for_tests("fjellvik", access=restricted_to({"y"}))
    assert await store.of(restricted).chunks("a", "v1", range(5)) == []


async def test_a_staged_point_that_is_anothers_is_noticed(
    store: EdgeVectorStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    chunk = [EmbeddedChunk(Chunk(0, "text"), [0.0, 1.0, 0.0, 0.0])]
    await store.of(FJELLVIK).stage(DocumentVersion("a", "v1", "A"), chunk)
    the_same = store.of(FJELLVIK)._point(DocumentVersion("a", "v1", "A"), chunk[0]).id
    monkeypatch.setattr("rag.store.edge.collection.point_id", lambda *_: the_same)
    with pytest.raises(CrossTenantError):
        await store.of(VOLTBAY).stage(DocumentVersion("a", "v1", "A"), chunk)


async def _put(collection: TenantCollection, document_id: str, *, publish: bool) -> None:
    version = DocumentVersion(document_id, "v1", document_id)
    await collection.stage(version, [EmbeddedChunk(Chunk(0, "Returns"), [1.0, 0.0, 0.0, 0.0])])
    if publish:
        await collection.publish(document_id, "v1")


async def _seen(store: EdgeVectorStore) -> set[str]:
    """The documents that every kind of read shows."""
    mine = store.of(FJELLVIK)
    searched = {passage.document_id for passage in await mine.search(QUERY, limit=9)}
    assert {document.document_id for document in (await mine.list()).documents} == searched
    assert await mine.count() == len(searched)
    return searched


async def test_what_a_kill_left_staged_is_not_seen_after_it(tmp_path: Path) -> None:
    store = EdgeVectorStore.open(tmp_path / "edge", 4)
    await _put(store.of(FJELLVIK), "there", publish=True)
    await _put(store.of(VOLTBAY), "there", publish=True)
    await _put(store.of(FJELLVIK), "left", publish=False)
    await store.close()
    store = EdgeVectorStore.open(tmp_path / "edge", 4)
    assert await _seen(store) == {"there"}
    visible = predicate.visible_to(FJELLVIK)
    assert store.hidden.seen(FJELLVIK.tenant_id, visible) == visible
    assert predicate.IS_PUBLISHED not in store.hidden.seen(VOLTBAY.tenant_id, visible).parts
    await store.of(FJELLVIK).delete("left")
    assert predicate.IS_PUBLISHED not in store.hidden.seen(FJELLVIK.tenant_id, visible).parts
    assert await _seen(store) == {"there"}
    await store.close()


async def test_one_document_that_is_published_shows_no_other_that_is_staged(
    store: EdgeVectorStore,
) -> None:
    mine = store.of(FJELLVIK)
    await _put(mine, "first", publish=False)
    await _put(mine, "second", publish=True)
    assert await _seen(store) == {"second"}
    await mine.publish("first", "v1")
    assert await _seen(store) == {"first", "second"}


async def test_without_the_note_of_what_is_staged_it_is_seen(
    store: EdgeVectorStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: nothing else keeps it out."""
    monkeypatch.setattr(Hidden, "stage", lambda *_: None)
    await _put(store.of(FJELLVIK), "first", publish=False)
    assert await _seen(store) == {"first"}
