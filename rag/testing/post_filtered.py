"""A store that searches everybody's points and filters what was found: the leaky twin that loses.

With the tenant's predicate in the query it is as right as any; the contract takes that away.
"""

from __future__ import annotations

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


class PostFiltered(VectorStore):
    """Searches everybody's points, and picks the tenant's own out of what was found."""

    def __init__(self, store: VectorStore) -> None:
        self._store = store

    def of(self, ctx: TenantContext) -> TenantCollection:
        return _PostFilteredCollection(self._store.of(ctx), ctx)

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


class _PostFilteredCollection(TenantCollection):
    def __init__(self, everybodys: TenantCollection, ctx: TenantContext) -> None:
        self._everybodys = everybodys
        self._ctx = ctx

    async def stage(self, version: DocumentVersion, chunks: Sequence[EmbeddedChunk]) -> None:
        await self._everybodys.stage(version, chunks)

    async def publish(
        self, document_id: str, version: str, *, versions: Collection[str] | None = None
    ) -> None:
        await self._everybodys.publish(document_id, version, versions=versions)

    async def delete(self, document_id: str, *, versions: Collection[str] | None = None) -> None:
        await self._everybodys.delete(document_id, versions=versions)

    async def search(
        self,
        query: HybridQuery,
        *,
        limit: int,
        where: Where | None = None,
        compare: bool = False,
    ) -> list[Passage]:
        found = await self._everybodys.search(query, limit=limit, where=where, compare=compare)
        return _own(self._ctx, found)

    async def get(self, document_id: str) -> list[Passage]:
        return _own(self._ctx, await self._everybodys.get(document_id))

    async def chunks(
        self, document_id: str, version: str, ordinals: range, *, vectors: bool = False
    ) -> list[StoredChunk]:
        return await self._everybodys.chunks(document_id, version, ordinals, vectors=vectors)

    async def read(self, stretches: Sequence[Stretch]) -> list[Passage]:
        return _own(self._ctx, await self._everybodys.read(stretches))

    async def count(self) -> int:
        return await self._everybodys.count()

    async def list(self, *, limit: int = 100, after: str | None = None) -> DocumentPage:
        return await self._everybodys.list(limit=limit, after=after)


def _own(ctx: TenantContext, passages: Sequence[Passage]) -> list[Passage]:
    return [passage for passage in passages if passage.tenant_id == ctx.tenant_id]
