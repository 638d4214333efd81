"""A store that searches everybody's points and filters what was found: the leaky twin that loses.

With the tenant's predicate in the query it is as right as any; the contract takes that away.
"""

from __future__ import annotations

from collections.abc import Sequence

from isolation.context import TenantContext
from rag.documents import DocumentPage, DocumentVersion, EmbeddedChunk, Passage, StoredChunk
from rag.store.port import TenantCollection
from rag.store.wrapping import WrappingCollection, WrappingStore


class PostFiltered(WrappingStore):
    """Searches everybody's points, and picks the tenant's own out of what was found."""

    def of(self, ctx: TenantContext) -> TenantCollection:
        return _PostFilteredCollection(self._inner.of(ctx), ctx)


class _PostFilteredCollection(WrappingCollection):
    def __init__(self, everybodys: TenantCollection, ctx: TenantContext) -> None:
        super().__init__(everybodys)
        self._ctx = ctx

    async def stage(self, version: DocumentVersion, chunks: Sequence[EmbeddedChunk]) -> None:
        await self._inner.stage(version, chunks)

    async def _passages(self, found: list[Passage]) -> list[Passage]:
        return [passage for passage in found if passage.tenant_id == self._ctx.tenant_id]

    async def _chunks(self, found: list[StoredChunk]) -> list[StoredChunk]:
        return found

    async def _page(self, page: DocumentPage) -> DocumentPage:
        return page
