"""The control: the same calls with a minted context type-check."""

from __future__ import annotations

from isolation.context import TenantContext
from rag.documents import Passage
from rag.store.port import HybridQuery, VectorStore


async def bound(store: VectorStore, ctx: TenantContext, query: HybridQuery) -> list[Passage]:
    return await store.of(ctx).search(query, limit=3)
