"""What it costs a search that texts are sealed: the same hybrid search on two stores that differ in
nothing else, in turns."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from evals.performance.corpus import Corpus
from isolation.context import TenantContext
from isolation.sealing import TenantCipher
from isolation.testing.contexts import tenant_for_tests
from rag.documents import Chunk, DocumentVersion, EmbeddedChunk
from rag.store.edge.store import EdgeVectorStore
from rag.store.port import HybridQuery, VectorStore
from rag.store.sealed import SealedVectorStore

_DIMENSION, _LIMIT, _SEED = 384, 10, 7
# As a passage of 200 tokens has.
_CHARACTERS = 900


class _OneKey:
    async def cipher(self, ctx: TenantContext) -> TenantCipher:
        return self._cipher

    def __init__(self, ctx: TenantContext) -> None:
        self._cipher = TenantCipher(ctx.tenant_id, b"k" * 32)


async def measure(points: int, questions: int) -> dict[str, Any]:
    """p50 of a search that returns ten passages of 900 characters, in the open and sealed."""
    ctx, corpus = tenant_for_tests("acme"), Corpus(points, 1, _DIMENSION, _SEED)
    tenant = corpus.tenant("acme", points)
    seconds: dict[str, list[float]] = {"in_the_open": [], "sealed": []}
    with tempfile.TemporaryDirectory() as folder:
        engines = [EdgeVectorStore.open(Path(folder, name), _DIMENSION) for name in seconds]
        stores: list[VectorStore] = [engines[0], SealedVectorStore(engines[1], _OneKey(ctx))]
        chunks = [
            EmbeddedChunk(Chunk(row, text.ljust(_CHARACTERS, "x")), vector.tolist())
            for row, (text, vector) in enumerate(zip(tenant.texts, tenant.vectors, strict=True))
        ]
        for store in stores:
            await store.of(ctx).upsert(DocumentVersion("book", "v1", "Book"), chunks)
        sides = list(zip(seconds.values(), stores, strict=True))
        for number, question in enumerate(corpus.questions(tenant, questions)):
            query = HybridQuery(question.text, question.dense)
            for taken, store in sides if number % 2 else reversed(sides):
                begun = time.perf_counter()
                await store.of(ctx).search(query, limit=_LIMIT)
                taken.append(time.perf_counter() - begun)
        for store in stores:
            await store.close()
    clear, sealed = (1_000 * statistics.median(taken) for taken in seconds.values())
    return {
        "points": points,
        "passages": _LIMIT,
        "characters": _CHARACTERS,
        "in_the_open_p50_ms": round(clear, 3),
        "sealed_p50_ms": round(sealed, 3),
        "cost": round(sealed / clear - 1, 3),
    }
