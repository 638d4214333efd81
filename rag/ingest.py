"""Documents into the knowledge base, in the steps of docs/decisions/0001."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal
from weakref import WeakValueDictionary

from isolation.context import OperatorContext, TenantContext, require_unrestricted
from isolation.tenant_id import TenantId
from rag.catalog import CatalogEntry, DocumentCatalog, TenantCatalog
from rag.documents import Document, DocumentVersion, EmbeddedChunk
from rag.embedding.port import Embedder
from rag.errors import DocumentNotFoundError
from rag.gate import WriteGate
from rag.splitting import Splitter
from rag.store.port import TenantCollection, VectorStore


@dataclass(frozen=True, slots=True)
class IngestOutcome:
    """What an ingestion did, and how many chunks the document has now."""

    status: Literal["created", "replaced", "unchanged"]
    chunks: int


class Ingestor:
    """Ingestion for all tenants. Bind it first."""

    def __init__(self, store: VectorStore, catalog: DocumentCatalog, embedder: Embedder) -> None:
        self._store = store
        self._catalog = catalog
        self._embedder = embedder
        self._splitter = Splitter(embedder.count_tokens)
        self._locks: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()
        self._gate = WriteGate()

    def of(self, ctx: TenantContext) -> TenantIngestor:
        """Ingestion as this tenant sees it."""
        return TenantIngestor(self, self._store.of(ctx), self._catalog.of(ctx), ctx)

    async def reconcile(self, operator: OperatorContext) -> int:
        """Finish what a kill interrupted; how many writes that were. Run before serving."""
        pending = await self._catalog.pending(operator)
        for write in pending:
            await self._store.settle(operator, write.tenant_id, write.document_id, write.committed)
            await self._catalog.settled(operator, write)
        return len(pending)

    async def purge(self, operator: OperatorContext, tenant: TenantId) -> int:
        """Delete all documents of a tenant, and take no more of them; how many there were.

        Writes that have begun are waited for: none lands behind the deletion.

        Raises:
            StoreError: the store still finds something; nothing of the catalogue is gone then.
        """
        await self._gate.close(tenant)
        await self._store.purge(operator, tenant)
        return await self._catalog.purge(operator, tenant)

    def writing(self, ctx: TenantContext) -> AbstractContextManager[None]:
        """Around every write; refuses a tenant that is being deleted."""
        return self._gate.passing(ctx.tenant_id)

    def lock(self, ctx: TenantContext, document_id: str) -> asyncio.Lock:
        """One writer a document."""
        return self._locks.setdefault((ctx.tenant_id, document_id), asyncio.Lock())

    async def embedded(self, document: Document) -> list[EmbeddedChunk]:
        """The document's chunks with their vectors; splitting runs off the event loop."""
        chunks = await asyncio.to_thread(self._splitter.split, document)
        vectors = await self._embedder.embed([chunk.text for chunk in chunks])
        return [EmbeddedChunk(c, vector) for c, vector in zip(chunks, vectors, strict=True)]


class TenantIngestor:
    """One tenant's documents."""

    def __init__(
        self,
        shared: Ingestor,
        collection: TenantCollection,
        catalog: TenantCatalog,
        ctx: TenantContext,
    ) -> None:
        self._shared = shared
        self._collection = collection
        self._catalog = catalog
        self._ctx = ctx

    async def ingest(self, document: Document) -> IngestOutcome:
        """Make `document` the one version of its id. When this returns, it is kept.

        Raises:
            RestrictedKeyError: the credential is restricted to groups.
        """
        require_unrestricted(self._ctx)
        async with self._shared.lock(self._ctx, document.id):
            with self._shared.writing(self._ctx):
                return await self._ingest(document)

    async def _ingest(self, document: Document) -> IngestOutcome:
        before = await self._catalog.get(document.id)
        if before and before.fingerprint == document.fingerprint:
            return IngestOutcome("unchanged", before.chunks)
        chunks = await self._shared.embedded(document)
        await self._write(document, chunks)
        return IngestOutcome("replaced" if before else "created", len(chunks))

    async def list(self) -> list[CatalogEntry]:
        """All documents, by id."""
        return await self._catalog.list()

    async def get(self, document_id: str) -> CatalogEntry:
        """One document.

        Raises:
            DocumentNotFoundError: the tenant has none of this id.
        """
        entry = await self._catalog.get(document_id)
        if entry is None:
            raise DocumentNotFoundError
        return entry

    async def delete(self, document_id: str) -> None:
        """Delete one document. When this returns, no search finds it.

        Raises:
            DocumentNotFoundError: the tenant has none of this id.
            RestrictedKeyError: the credential is restricted to groups.
        """
        require_unrestricted(self._ctx)
        async with self._shared.lock(self._ctx, document_id):
            with self._shared.writing(self._ctx):
                await self.get(document_id)
                await self._catalog.begin(document_id)
                await self._catalog.remove(document_id)
                await self._collection.delete(document_id)
                await self._catalog.finish(document_id)

    async def _write(self, document: Document, chunks: Sequence[EmbeddedChunk]) -> None:
        version = uuid.uuid4().hex
        await self._catalog.begin(document.id)
        staged = DocumentVersion(
            document.id, version, document.title, document.metadata, document.groups
        )
        await self._collection.stage(staged, chunks)
        await self._catalog.commit(
            CatalogEntry(
                document.id,
                document.title,
                version,
                document.fingerprint,
                len(chunks),
                datetime.now(UTC),
                document.groups,
            )
        )
        await self._collection.publish(document.id, version)
        await self._catalog.finish(document.id)
