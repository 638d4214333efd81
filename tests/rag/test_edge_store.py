"""The store contract on the real Qdrant Edge, and what is Edge's alone."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncGenerator, Coroutine
from pathlib import Path
from typing import Any

import pytest
from qdrant_edge import Prefetch, QueryRequest, SearchParams

from isolation.tenant_id import TenantId
from rag.documents import DocumentVersion
from rag.errors import StoreLockedError
from rag.filters import Equals
from rag.store.edge import collection, hybrid, settling
from rag.store.edge.store import EdgeVectorStore
from rag.store.port import VectorStore
from rag.testing.merchants import DIMENSION, FJELLVIK, embedded, found, texts
from rag.testing.stores import StoreContract
from rag.testing.twins import Place, ids_of


async def _ticks(work: Coroutine[Any, Any, object]) -> int:
    """How often others could run while it did."""
    ticks, going = 0, asyncio.ensure_future(work)
    while not going.done():
        ticks += 1
        await asyncio.sleep(0)
    await going
    return ticks


async def test_others_run_while_a_large_document_is_written_and_read(tmp_path: Path) -> None:
    """All tenants' requests wait for what the shard does at once (docs/decisions/0007)."""
    store = EdgeVectorStore.open(tmp_path / "edge", DIMENSION)
    mine, version = store.of(FJELLVIK), DocumentVersion("long", "v1", "Long")
    chunks = embedded(*(f"chunk {n}" for n in range(640)))
    assert await _ticks(mine.stage(version, chunks)) >= 640 // collection._BATCH
    assert await _ticks(mine.publish("long", "v1")) >= 640 // settling._BATCH

    async def read() -> None:
        for begin in range(0, 640, 64):
            assert len(await mine.chunks("long", "v1", range(begin, begin + 64))) == 64

    assert await _ticks(read()) >= 640 // 64
    await store.close()


class _BreakableEdge:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._patch = monkeypatch

    def forget(self, *places: Place) -> None:
        def prefetch(**asked: Any) -> Prefetch:
            place = "dense" if asked["params"] is None else "sparse"
            return Prefetch(**asked | ({"filter": None} if place in places else {}))

        def query(**asked: Any) -> QueryRequest:
            return QueryRequest(**asked | ({"filter": None} if "root" in places else {}))

        self._patch.setattr(hybrid, "Prefetch", prefetch)
        self._patch.setattr(hybrid, "QueryRequest", query)
        if "corpus" in places:
            self._patch.setattr(hybrid, "SearchParams", lambda **_: SearchParams())

    def share_ids(self, owner: TenantId) -> None:
        self._patch.setattr(collection, "point_id", ids_of(owner))


class TestEdge(StoreContract):
    @pytest.fixture
    async def store(self, tmp_path: Path) -> AsyncGenerator[VectorStore, None]:
        store = EdgeVectorStore.open(tmp_path / "edge", DIMENSION)
        yield store
        await store.close()

    @pytest.fixture
    def breakable(self, monkeypatch: pytest.MonkeyPatch) -> _BreakableEdge:
        return _BreakableEdge(monkeypatch)

    async def test_the_predicate_stands_on_each_prefetch_the_root_and_the_corpus(
        self, store: EdgeVectorStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[QueryRequest] = []

        def seen(**request: Any) -> QueryRequest:
            asked.append(QueryRequest(**request))
            return asked[-1]

        monkeypatch.setattr(hybrid, "QueryRequest", seen)
        await found(store, FJELLVIK, where=Equals("lang", "en"))
        (query,) = asked
        dense, sparse = query.prefetches
        corpus = sparse.params.idf.corpus
        for condition in (query.filter, dense.filter, sparse.filter, corpus):
            tenant = condition.must[0]
            assert (tenant.key, tenant.match.value) == ("tenant_id", "fjellvik")
        assert len(corpus.must) < len(query.filter.must)  # the caller's filter is not in it

    async def test_a_second_open_says_who_is_in_the_way(
        self, store: EdgeVectorStore, tmp_path: Path
    ) -> None:
        with pytest.raises(StoreLockedError, match="running gateway"):
            EdgeVectorStore.open(tmp_path / "edge", DIMENSION)


_KILLED_AFTER_PUBLISH = """
import asyncio, os, signal, sys
from pathlib import Path
from rag.testing.merchants import DIMENSION, FJELLVIK, put
from rag.store.edge.store import EdgeVectorStore

async def main():
    store = EdgeVectorStore.open(Path(sys.argv[1]), DIMENSION)
    await put(store, FJELLVIK, "returns", "Returns are accepted within 30 days")
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


async def test_a_published_version_survives_kill_9(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _KILLED_AFTER_PUBLISH, str(tmp_path / "edge")]
    root = Path(__file__).parents[2]
    assert subprocess.run(command, cwd=root, check=False).returncode == -9
    store = EdgeVectorStore.open(tmp_path / "edge", DIMENSION)
    assert await texts(store, FJELLVIK) == ["Returns are accepted within 30 days"]
    await store.close()
