"""`bulkhead bench ingest`: ingestion against the embedding model alone, and memory against size.

The rate is of the real model. The memory curve is of an embedder that costs nothing
(`hashed_embedder`), since 100,000 chunks take the real one hours on a few cores; the result says
so. Each size is a process of its own, whose memory while it ingests is held against what it had
before.
"""

from __future__ import annotations

import asyncio
import gc
import json
import random
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from evals.performance.hashed_embedder import HashedEmbedder
from evals.performance.retrieval import Progress
from isolation.tenant_id import tenant_id
from isolation.testing.contexts import operator_for_tests, tenant_for_tests
from rag.documents import SpooledDocument
from rag.embedding.minilm import MiniLmEmbedder
from rag.embedding.port import Embedder
from rag.ingest import Ingestor
from rag.splitting import Splitter
from rag.store.edge.store import EdgeVectorStore
from rag.store.sealed import SealedVectorStore
from serving.control.catalog import SqlDocumentCatalog
from serving.control.database import Database
from serving.control.tenant_keys import TenantKeys
from serving.control.tenants import TenantRegistry
from serving.control.text_keys import TextKeys
from serving.key_wrapping import KeyFile

_WORDS = 5_000
_CTX = tenant_for_tests("acme")


@dataclass(frozen=True, slots=True)
class Plan:
    """Chunks for the rate, and the sizes of the memory curve."""

    chunks: int = 3_000
    sizes: tuple[int, ...] = (1_000, 10_000, 100_000)


async def measure(plan: Plan, progress: Progress) -> dict[str, Any]:
    """Both figures; what they write stays in a temporary folder that is removed."""
    return {
        "measure": "ingestion: rate against the embedding model alone, and memory against size",
        "rate": await _rate(plan.chunks, progress),
        "memory": await _memory(plan.sizes, progress),
    }


async def _rate(chunks: int, progress: Progress) -> dict[str, Any]:
    embedder = MiniLmEmbedder()
    with tempfile.TemporaryDirectory() as folder:
        document = written(Path(folder), chunks)
        texts = [chunk.text for chunk in Splitter(embedder.count_tokens).split(document)]
        progress(f"embedding {len(texts)} chunks, alone and in an ingestion")
        halves: dict[str, list[float]] = {"alone": [], "ingesting": []}
        # In turns: a machine that is busy for a while is busy for both.
        for number in range(4):
            half = "alone" if number in (0, 3) else "ingesting"
            begun = time.perf_counter()
            if half == "alone":
                await embedder.embed(texts)
            else:
                async with ingestor(Path(folder, str(number)), embedder) as own:
                    begun = time.perf_counter()
                    await own.of(_CTX).ingest(document)
            halves[half].append(time.perf_counter() - begun)
        embedder.close()
    alone, ingesting = (2 * len(texts) / sum(halves[half]) for half in ("alone", "ingesting"))
    return {
        "embedder": MiniLmEmbedder.name,
        "chunks": len(texts),
        "model_alone_chunks_per_second": round(alone, 1),
        "ingestion_chunks_per_second": round(ingesting, 1),
        "share_of_the_model": round(ingesting / alone, 3),
    }


async def _memory(sizes: tuple[int, ...], progress: Progress) -> dict[str, Any]:
    cells = []
    for size in sizes:
        progress(f"ingesting {size} chunks, watching memory")
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", __name__, str(size)), stdout=asyncio.subprocess.PIPE
        )
        printed, _ = await child.communicate()
        cells.append(json.loads(printed))
    return {
        "embedder": "hashed: not a model, it costs nothing",
        "sizes": cells,
        "growth_first_to_last_mib": round(cells[-1]["added_mib"] - cells[0]["added_mib"], 1),
        "growth_of_what_passes_mib": round(cells[-1]["passing_mib"] - cells[0]["passing_mib"], 1),
    }


async def curve_point(size: int) -> dict[str, Any]:
    """Anonymous memory while one document of about `size` chunks is ingested; the engine's files,
    which the kernel may drop, are not counted."""
    embedder = HashedEmbedder()
    with tempfile.TemporaryDirectory() as folder:
        document = written(Path(folder), size)
        async with ingestor(Path(folder, "data"), embedder) as own:
            # What is loaded at the first document is no growth.
            await own.of(_CTX).ingest(written(Path(folder), 300, "first"))
            with _Watch() as watched:
                begun = time.perf_counter()
                outcome = await own.of(_CTX).ingest(document)
                seconds = time.perf_counter() - begun
            gc.collect()
            kept = _anonymous_mib()
    return {
        "chunks": outcome.chunks,
        "characters": document.characters,
        "before_mib": watched.before,
        "peak_mib": watched.peak,
        "added_mib": round(watched.peak - watched.before, 1),
        # What the engine keeps of so many points stays; the rest is what ingesting took.
        "kept_by_the_engine_mib": round(kept - watched.before, 1),
        "passing_mib": round(watched.peak - kept, 1),
        "chunks_per_second": round(outcome.chunks / seconds),
        "longest_gap_of_the_event_loop_ms": watched.gap,
    }


@asynccontextmanager
async def ingestor(folder: Path, embedder: Embedder) -> AsyncIterator[Ingestor]:
    """As the platform has it: sealed, on Qdrant Edge and SQLite."""
    database = await Database.open(f"sqlite+aiosqlite:///{folder}/bulkhead.db")
    await TenantRegistry(database).add(operator_for_tests(), tenant_id("acme"), "business")
    keys = TextKeys(TenantKeys(database, KeyFile(b"k" * 32)))
    shard = EdgeVectorStore.open(folder / "vectors", embedder.dimension)
    store = SealedVectorStore(shard, keys)
    own = Ingestor(store, SqlDocumentCatalog(database), embedder)
    yield own
    await store.close()
    await database.close()


def written(folder: Path, chunks: int, name: str = "book") -> SpooledDocument:
    """A document of about so many chunks, of some 120 words each."""
    draw = random.Random(7)
    path, characters = folder / f"{name}.md", 0
    with path.open("w") as out:
        for number in range(chunks):
            words = " ".join(f"word{draw.randrange(_WORDS)}" for _ in range(40))
            characters += out.write(f"## Part {number}\n\n{words}.\n\n")
    return SpooledDocument(name, name, path, characters)


class _Watch:
    """Samples anonymous memory from a thread, and the event loop's longest gap from a task."""

    before = peak = gap = 0.0

    def __enter__(self) -> _Watch:
        self.before = self.peak = _anonymous_mib()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample)
        self._thread.start()
        self._task = asyncio.ensure_future(self._tick())
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._task.cancel()

    def _sample(self) -> None:
        while not self._over.wait(0.05):
            self.peak = max(self.peak, _anonymous_mib())

    async def _tick(self) -> None:
        while True:
            begun = time.perf_counter()
            await asyncio.sleep(0.001)
            self.gap = max(self.gap, round(1_000 * (time.perf_counter() - begun - 0.001), 1))


def _anonymous_mib() -> float:
    memory = psutil.Process().memory_info()
    return round((memory.rss - memory.shared) / 2**20, 1)


if __name__ == "__main__":
    print(json.dumps(asyncio.run(curve_point(int(sys.argv[1])))))
