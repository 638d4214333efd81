"""Any store, with texts and titles sealed under their tenant's key (docs/decisions/0011).

The engine sees a text once, when it is written, for its BM25 terms; what it keeps is sealed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from isolation.context import TenantContext, require_tenant
from isolation.sealing import TenantCipher
from rag.documents import (
    Chunk,
    DocumentPage,
    DocumentVersion,
    EmbeddedChunk,
    Passage,
    StoredChunk,
)
from rag.store.port import TenantCollection, VectorStore
from rag.store.wrapping import WrappingCollection, WrappingStore


class TextKeys(Protocol):
    """The tenants' keys."""

    async def cipher(self, ctx: TenantContext) -> TenantCipher:
        """The tenant's own; made at its first use."""


class SealedVectorStore(WrappingStore):
    """`inner`, which never keeps a text that it can read."""

    def __init__(self, inner: VectorStore, keys: TextKeys) -> None:
        super().__init__(inner)
        self._keys = keys

    def of(self, ctx: TenantContext) -> TenantCollection:
        own = require_tenant(ctx, "the vector store")
        return _SealedCollection(self._inner.of(own), self._keys, own)


class _SealedCollection(WrappingCollection):
    def __init__(self, inner: TenantCollection, keys: TextKeys, ctx: TenantContext) -> None:
        super().__init__(inner)
        self._keys = keys
        self._ctx = ctx

    async def stage(self, version: DocumentVersion, chunks: Sequence[EmbeddedChunk]) -> None:
        cipher = await self._keys.cipher(self._ctx)
        sealed = [
            replace(one, chunk=replace(one.chunk, kept=cipher.seal(_kept(one.chunk))))
            for one in chunks
        ]
        await self._inner.stage(replace(version, title=cipher.seal(version.title)), sealed)

    async def _passages(self, found: list[Passage]) -> list[Passage]:
        if not found:
            return []
        cipher = await self._keys.cipher(self._ctx)
        return [
            one._replace(title=cipher.open(one.title), text=cipher.open(one.text)) for one in found
        ]

    async def _chunks(self, found: list[StoredChunk]) -> list[StoredChunk]:
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

    async def _page(self, page: DocumentPage) -> DocumentPage:
        if not page.documents:
            return page
        cipher = await self._keys.cipher(self._ctx)
        opened = [replace(one, title=cipher.open(one.title)) for one in page.documents]
        return DocumentPage(opened, page.after)


def _kept(chunk: Chunk) -> str:
    return chunk.text if chunk.kept is None else chunk.kept
