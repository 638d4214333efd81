"""Any store, with texts and titles sealed under their tenant's key (docs/decisions/0011).

The engine sees a text once, when it is written, for its BM25 terms; what it keeps is sealed.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Protocol

from isolation.context import OperatorContext, TenantContext, require_tenant
from isolation.sealing import TenantCipher
from isolation.tenant_id import TenantId
from rag.documents import (
    Chunk,
    DocumentPage,
    DocumentVersion,
    EmbeddedChunk,
    Passage,
    StoredChunk,
    Stretch,
)
from rag.filters import Where
from rag.store.port import HybridQuery, TenantCollection, VectorStore


class TextKeys(Protocol):
    """The tenants' keys."""

    async def cipher(self, ctx: TenantContext) -> TenantCipher:
        """The tenant's own; made at its first use."""


class SealedVectorStore(VectorStore):
    """`inner`, which never keeps a text that it can read."""

    def __init__(self, inner: VectorStore, keys: TextKeys) -> None:
        self._inner = inner
        self._keys = keys

    def of(self, ctx: TenantContext) -> TenantCollection:
        own = require_tenant(ctx, "the vector store")
        return _SealedCollection(self._inner.of(own), self._keys, own)

    async def settle(
        self,
        operator: OperatorContext,
        tenant: TenantId,
        document_id: str,
        version: str | None,
        *,
        versions: Collection[str] | None = None,
    ) -> None:
        await self._inner.settle(operator, tenant, document_id, version, versions=versions)

    async def purge(self, operator: OperatorContext, tenant: TenantId) -> None:
        await self._inner.purge(operator, tenant)

    async def close(self) -> None:
        await self._inner.close()


class _SealedCollection(TenantCollection):
    def __init__(self, inner: TenantCollection, keys: TextKeys, ctx: TenantContext) -> None:
        self._inner = inner
        self._keys = keys
        self._ctx = ctx

    async def stage(self, version: DocumentVersion, chunks: Sequence[EmbeddedChunk]) -> None:
        cipher = await self._keys.cipher(self._ctx)
        sealed = [
            replace(one, chunk=replace(one.chunk, kept=cipher.seal(_kept(one.chunk))))
            for one in chunks
        ]
        await self._inner.stage(replace(version, title=cipher.seal(version.title)), sealed)

    async def publish(
        self, document_id: str, version: str, *, versions: Collection[str] | None = None
    ) -> None:
        await self._inner.publish(document_id, version, versions=versions)

    async def delete(self, document_id: str, *, versions: Collection[str] | None = None) -> None:
        await self._inner.delete(document_id, versions=versions)

    async def search(
        self,
        query: HybridQuery,
        *,
        limit: int,
        where: Where | None = None,
        compare: bool = False,
    ) -> list[Passage]:
        found = await self._inner.search(query, limit=limit, where=where, compare=compare)
        return await self._opened(found)

    async def read(self, stretches: Sequence[Stretch]) -> list[Passage]:
        return await self._opened(await self._inner.read(stretches))

    async def get(self, document_id: str) -> list[Passage]:
        return await self._opened(await self._inner.get(document_id))

    async def chunks(
        self, document_id: str, version: str, ordinals: range, *, vectors: bool = False
    ) -> list[StoredChunk]:
        found = await self._inner.chunks(document_id, version, ordinals, vectors=vectors)
        if not found:
            return []
        cipher = await self._keys.cipher(self._ctx)
        return [
            replace(
                one,
                version=replace(one.version, title=cipher.open(one.version.title)),
                chunk=replace(one.chunk, text=cipher.open(one.chunk.text)),
            )
            for one in found
        ]

    async def count(self) -> int:
        return await self._inner.count()

    async def _opened(self, passages: Sequence[Passage]) -> list[Passage]:
        if not passages:
            return []
        cipher = await self._keys.cipher(self._ctx)
        return [
            replace(one, title=cipher.open(one.title), text=cipher.open(one.text))
            for one in passages
        ]

    async def list(self, *, limit: int = 100, after: str | None = None) -> DocumentPage:
        page = await self._inner.list(limit=limit, after=after)
        if not page.documents:
            return page
        cipher = await self._keys.cipher(self._ctx)
        opened = [replace(one, title=cipher.open(one.title)) for one in page.documents]
        return DocumentPage(opened, page.after)


def _kept(chunk: Chunk) -> str:
    return chunk.text if chunk.kept is None else chunk.kept
