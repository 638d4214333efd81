"""A store that keeps whose request it is beside the request: the leaky twin of concurrency."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from isolation.context import TenantContext
from rag.documents import DocumentPage, DocumentVersion, EmbeddedChunk, Passage, StoredChunk
from rag.store.port import TenantCollection
from rag.store.wrapping import WrappingCollection, WrappingStore


class AmbientTenant(WrappingStore):
    """Keeps whose request it is beside the request: right until two requests overlap."""

    current: TenantContext

    def of(self, ctx: TenantContext) -> TenantCollection:
        self.current = ctx
        return _AmbientCollection(self, self._inner.of(ctx))

    def of_the_current(self) -> TenantCollection:
        return self._inner.of(self.current)


class _AmbientCollection(WrappingCollection):
    """Waits a moment, as what goes over a network does, and then asks whose request it is."""

    def __init__(self, ambient: AmbientTenant, own: TenantCollection) -> None:
        super().__init__(own)
        self._ambient = ambient

    async def _reached(self) -> TenantCollection:
        await asyncio.sleep(0)
        return self._ambient.of_the_current()

    async def stage(self, version: DocumentVersion, chunks: Sequence[EmbeddedChunk]) -> None:
        await (await self._reached()).stage(version, chunks)

    async def _passages(self, found: list[Passage]) -> list[Passage]:
        return found

    async def _chunks(self, found: list[StoredChunk]) -> list[StoredChunk]:
        return found

    async def _page(self, page: DocumentPage) -> DocumentPage:
        return page
