"""The store's contract on the real Qdrant Edge: two tenants, the same ids, contradicting facts."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from isolation.context import TenantContext
from isolation.errors import CrossTenantError, InvalidRequestError, UnmintedContextError
from isolation.testing.contexts import operator_for_tests, tenant_for_tests
from rag.documents import Chunk, DocumentVersion, EmbeddedChunk
from rag.errors import StoreError, StoreLockedError
from rag.store import predicate
from rag.store.conditions import Every
from rag.store.edge.store import EdgeVectorStore
from rag.store.point_ids import point_id
from rag.store.port import HybridQuery

FJELLVIK, VOLTBAY = tenant_for_tests("fjellvik"), tenant_for_tests("voltbay")
QUERY = HybridQuery("how many days for returns", [1.0, 0.1, 0.0, 0.0])


def _chunks(text: str) -> list[EmbeddedChunk]:
    return [EmbeddedChunk(Chunk(0, text), [1.0, 0.0, 0.0, 0.0])]


async def _put(store: EdgeVectorStore, ctx: TenantContext, text: str, version: str = "v1") -> None:
    await store.of(ctx).stage(DocumentVersion("returns", version, "Returns"), _chunks(text))
    await store.of(ctx).publish("returns", version)


async def _texts(store: EdgeVectorStore, ctx: TenantContext) -> list[str]:
    return [passage.text for passage in await store.of(ctx).search(QUERY, limit=50)]


@pytest.fixture
async def store(tmp_path: Path) -> AsyncGenerator[EdgeVectorStore, None]:
    store = EdgeVectorStore.open(tmp_path / "edge", 4)
    await _put(store, FJELLVIK, "Returns are accepted within 30 days")
    await _put(store, VOLTBAY, "Returns are accepted within 14 days")
    yield store
    await store.close()


async def _leaks(store: EdgeVectorStore) -> bool:
    """Whether one of the two tenants sees anything of the other."""
    try:
        seen = {ctx.tenant_id: await _texts(store, ctx) for ctx in (FJELLVIK, VOLTBAY)}
    except CrossTenantError:
        return True
    assert any("30 days" in text for text in seen["fjellvik"])
    assert any("14 days" in text for text in seen["voltbay"])
    return "14 days" in str(seen["fjellvik"]) or "30 days" in str(seen["voltbay"])


async def test_a_tenant_never_retrieves_anothers_chunk(store: EdgeVectorStore) -> None:
    assert not await _leaks(store)


async def test_a_twin_without_the_predicate_is_caught(
    store: EdgeVectorStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predicate, "visible_to", lambda *_, **__: Every(()))
    assert await _leaks(store)


async def test_ids_are_the_tenants_own(store: EdgeVectorStore) -> None:
    await _put(store, VOLTBAY, "Returns are accepted within 7 days", "v2")
    assert await _texts(store, FJELLVIK) == ["Returns are accepted within 30 days"]
    await store.of(VOLTBAY).delete("returns")
    assert await _texts(store, VOLTBAY) == []
    assert await store.of(FJELLVIK).count() == 1


async def test_a_staged_version_is_invisible_and_publishing_replaces_whole(
    store: EdgeVectorStore,
) -> None:
    mine = store.of(FJELLVIK)
    second = DocumentVersion("returns", "v2", "Returns")
    await mine.stage(second, _chunks("Returns are accepted within 60 days"))
    assert [passage.version for passage in await mine.get("returns")] == ["v1"]
    assert await _texts(store, FJELLVIK) == ["Returns are accepted within 30 days"]
    await mine.publish("returns", "v2")
    assert await _texts(store, FJELLVIK) == ["Returns are accepted within 60 days"]


async def test_settling_leaves_the_committed_version_alone(store: EdgeVectorStore) -> None:
    operator = operator_for_tests()
    await store.of(FJELLVIK).stage(DocumentVersion("returns", "v2", "R"), _chunks("half"))
    await store.settle(operator, FJELLVIK.tenant_id, "returns", "v1")
    assert await _texts(store, FJELLVIK) == ["Returns are accepted within 30 days"]
    await store.settle(operator, FJELLVIK.tenant_id, "returns", None)
    assert await _texts(store, FJELLVIK) == []
    assert await store.of(VOLTBAY).count() == 1


async def test_foreign_documents_do_not_move_a_score(store: EdgeVectorStore) -> None:
    before = [p.score for p in await store.of(FJELLVIK).search(QUERY, limit=5)]
    for number in range(20):
        version = DocumentVersion(f"r{number}", "v1", "R")
        await store.of(VOLTBAY).stage(version, _chunks("returns days returns"))
        await store.of(VOLTBAY).publish(f"r{number}", "v1")
    assert [p.score for p in await store.of(FJELLVIK).search(QUERY, limit=5)] == before


async def test_a_write_under_anothers_point_id_changes_nothing_and_is_told(
    store: EdgeVectorStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second line: ids that two tenants could both name, as a twin without the first."""
    await _put(store, VOLTBAY, "Returns are accepted within 7 days", "v2")
    monkeypatch.setattr(
        "rag.store.edge.collection.point_id", lambda _, *parts: point_id(VOLTBAY.tenant_id, *parts)
    )
    with pytest.raises(CrossTenantError):
        await _put(store, FJELLVIK, "Mine now", "v2")
    assert await _texts(store, VOLTBAY) == ["Returns are accepted within 7 days"]


async def test_every_document_is_listed_once_page_by_page(store: EdgeVectorStore) -> None:
    for number in range(5):
        version = DocumentVersion(f"r{number}", "v1", "R")
        chunks = [EmbeddedChunk(Chunk(n, "text"), [1.0, 0.0, 0.0, 0.0]) for n in range(3)]
        await store.of(FJELLVIK).upsert(version, chunks)
    seen: list[str] = []
    after = None
    while True:
        page = await store.of(FJELLVIK).list(limit=2, after=after)
        seen += [document.document_id for document in page.documents]
        if (after := page.after) is None:
            break
    assert sorted(seen) == ["r0", "r1", "r2", "r3", "r4", "returns"]


async def test_anothers_cursor_lists_no_more_than_ones_own(store: EdgeVectorStore) -> None:
    foreign = str(point_id(VOLTBAY.tenant_id, "returns", "v1", 0))
    page = await store.of(FJELLVIK).list(after=foreign)
    assert {document.document_id for document in page.documents} <= {"returns"}
    with pytest.raises(InvalidRequestError):
        await store.of(FJELLVIK).list(after="not a cursor")


@pytest.mark.parametrize("dense", [[1.0], [math.nan] * 4, [math.inf, 0.0, 0.0, 0.0]])
async def test_a_vector_that_is_none_is_refused(store: EdgeVectorStore, dense: list[float]) -> None:
    with pytest.raises(StoreError):
        await store.of(FJELLVIK).search(HybridQuery("returns", dense), limit=5)


@pytest.mark.parametrize("forged", [None, "fjellvik"])
async def test_the_store_binds_to_minted_contexts_only(store: EdgeVectorStore, forged: Any) -> None:
    with pytest.raises(UnmintedContextError):
        store.of(forged)


async def test_a_second_open_says_who_is_in_the_way(store: EdgeVectorStore, tmp_path: Path) -> None:
    with pytest.raises(StoreLockedError, match="running gateway"):
        EdgeVectorStore.open(tmp_path / "edge", 4)


_KILLED_AFTER_PUBLISH = """
import asyncio, os, signal, sys
from pathlib import Path
from tests.rag.test_edge_store import FJELLVIK, _put
from rag.store.edge.store import EdgeVectorStore

async def main():
    store = EdgeVectorStore.open(Path(sys.argv[1]), 4)
    await _put(store, FJELLVIK, "Returns are accepted within 30 days")
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


async def test_a_published_version_survives_kill_9(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _KILLED_AFTER_PUBLISH, str(tmp_path / "edge")]
    root = Path(__file__).parents[2]
    assert subprocess.run(command, cwd=root, check=False).returncode == -9
    store = EdgeVectorStore.open(tmp_path / "edge", 4)
    assert await _texts(store, FJELLVIK) == ["Returns are accepted within 30 days"]
    await store.close()
