"""A store that keeps whose request it is beside the request: the leaky twin of concurrency."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence

from isolation.context import OperatorContext, TenantContext
from isolation.tenant_id import TenantId
from rag.documents import (
    DocumentPage,
    DocumentVersion,
    EmbeddedChunk,
    Passage,
    StoredChunk,
    Stretch,
)
from rag.filters import Where
from rag.store.port import HybridQuery, TenantCollection, VectorStore


class AmbientTenant(VectorStore):
    """Keeps whose request it is beside the request: right until two requests overlap."""

    def __init__(self, store: VectorStore) -> None:
        self._store = store
        self.current: TenantContext

    def of(self, ctx: TenantContext) -> TenantCollection:
        self.current = ctx
        return _AmbientCollection(self, self._store)

    async def settle(
        self,
        operator: OperatorContext,
        tenant: TenantId,
        document_id: str,
        version: str | None,
        *,
        versions: Collection[str] | None = None,
    ) -> None:
        await self._store.settle(operator, tenant, document_id, version, versions=versions)

    async def purge(self, operator: OperatorContext, tenant: TenantId) -> None:
        await self._store.purge(operator, tenant)

    async def close(self) -> None:
        await self._store.close()


class _AmbientCollection(TenantCollection):
    """Waits a moment, as what goes over a network does, and then asks whose request it is."""

    def __init__(self, ambient: AmbientTenant, store: VectorStore) -> None:
        self._ambient = ambient
        self._store = store

    async def _own(self) -> TenantCollection:
        await asyncio.sleep(0)
        return self._store.of(self._ambient.current)

    async def stage(self, version: DocumentVersion, chunks: Sequence[EmbeddedChunk]) -> None:
        await (await self._own()).stage(version, chunks)

    async def publish(
        self, document_id: str, version: str, *, versions: Collection[str] | None = None
    ) -> None:
        await (await self._own()).publish(document_id, version, versions=versions)

    async def delete(self, document_id: str, *, versions: Collection[str] | None = None) -> None:
        await (await self._own()).delete(document_id, versions=versions)

    async def search(
        self,
        query: HybridQuery,
        *,
        limit: int,
        where: Where | None = None,
        compare: bool = False,
    ) -> list[Passage]:
        own = await self._own()
        return await own.search(query, limit=limit, where=where, compare=compare)

    async def get(self, document_id: str) -> list[Passage]:
        return await (await self._own()).get(document_id)

    async def chunks(
        self, document_id: str, version: str, ordinals: range, *, vectors: bool = False
    ) -> list[StoredChunk]:
        return await (await self._own()).chunks(document_id, version, ordinals, vectors=vectors)

    async def read(self, stretches: Sequence[Stretch]) -> list[Passage]:
        return await (await self._own()).read(stretches)

    async def count(self) -> int:
        return await (await self._own()).count()

    async def list(self, *, limit: int = 100, after: str | None = None) -> DocumentPage:
        return await (await self._own()).list(limit=limit, after=after)
