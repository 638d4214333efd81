"""Documents into the knowledge base, in the steps of docs/decisions/0001."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
)
from dataclasses import dataclass, replace
from typing import Literal
from weakref import WeakValueDictionary

from isolation.context import OperatorContext, TenantContext, require_unrestricted
from isolation.masking.documents import DocumentMasking
from isolation.tenant_id import TenantId
from rag.archive import ArchivedDocument
from rag.catalog import CatalogEntry, DocumentCatalog, TenantCatalog
from rag.claims import BUSY_POLL, DocumentClaims
from rag.documents import EmbeddedChunk, Source
from rag.embedding.port import Embedder
from rag.errors import DocumentNotFoundError, VectorsMovingError
from rag.gate import SwitchGate, WriteGate
from rag.generation import Generation
from rag.masked_source import Masking
from rag.store.port import VectorStore
from rag.writing import NewVersion, VersionWriter, signed


@dataclass(frozen=True, slots=True)
class IngestOutcome:
    """What an ingestion did, and how many chunks the document has now."""

    status: Literal["created", "replaced", "unchanged"]
    chunks: int


class Ingestor:
    """Ingestion for all tenants. Bind it first. masking: None, documents are kept as they are."""

    def __init__(
        self,
        store: VectorStore,
        catalog: DocumentCatalog,
        embedder: Embedder,
        masking: Masking | None = None,
    ) -> None:
        self.generation = Generation(store, embedder)
        self._masking = masking
        self._catalog = catalog
        self._locks: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()
        self._gate = WriteGate()
        self._switching = SwitchGate()
        self._filling: VectorStore | None = None

    def of(self, ctx: TenantContext) -> TenantIngestor:
        """Ingestion as this tenant sees it."""
        return TenantIngestor(self, self._catalog.of(ctx), ctx)

    async def masking(self, ctx: TenantContext) -> DocumentMasking | None:
        """How the tenant's documents are masked now; None: they are not."""
        return None if self._masking is None else await self._masking.documents(ctx)

    async def reconcile(self, operator: OperatorContext, *, alone: bool = True) -> int:
        """Finish what a kill interrupted; how many writes that were. Run before serving.

        alone: nobody else writes to this catalogue. Else only the writes of who has been silent for
        too long are finished, and this is run from time to time.
        """
        left = await self._catalog.take_over(operator, alone=alone)
        store = self.generation.store
        for write in left:
            claim, tenant = write.claim, write.tenant_id
            await store.settle(
                operator, tenant, claim.document_id, write.committed, versions=claim.versions
            )
            await self._catalog.settled(operator, write)
        return len(left)

    async def purge(self, operator: OperatorContext, tenant: TenantId) -> int:
        """Delete all documents of a tenant, and take no more of them; how many there were.

        Writes that have begun are waited for, at whatever gateway: none lands behind the deletion.

        Raises:
            StoreError: the store still finds something; nothing of the catalogue is gone then.
        """
        await self._gate.close(tenant)
        while await self._catalog.writing(operator, tenant):  # noqa: ASYNC110 - it can only be asked
            await asyncio.sleep(BUSY_POLL)
        async with self._switching.passing():
            for store in self.stores():
                await store.purge(operator, tenant)
            return await self._catalog.purge(operator, tenant)

    def writing(self, ctx: TenantContext) -> AbstractContextManager[None]:
        """Around every write; refuses a tenant that is being deleted."""
        return self._gate.passing(ctx.tenant_id)

    def lock(self, ctx: TenantContext, document_id: str) -> asyncio.Lock:
        """One writer a document."""
        return self._locks.setdefault((ctx.tenant_id, document_id), asyncio.Lock())

    def publishing(self) -> AbstractAsyncContextManager[None]:
        """Around a step that is meant for the generation of now."""
        return self._switching.passing()

    def stores(self) -> list[VectorStore]:
        """The store that answers, and one that is being filled: what is deleted goes from both."""
        return [self.generation.store] + ([self._filling] if self._filling is not None else [])

    def fill(self, store: VectorStore | None) -> None:
        """Deletions reach `store`, too, from now on; None: no more."""
        self._filling = store

    def switching(self) -> AbstractAsyncContextManager[None]:
        """While the block runs, nothing is published or deleted: `generation` is set in it."""
        return self._switching.closed()


class TenantIngestor:
    """One tenant's documents."""

    def __init__(self, shared: Ingestor, catalog: TenantCatalog, ctx: TenantContext) -> None:
        self._shared = shared
        self._catalog = catalog
        self._claims = DocumentClaims(catalog, shared.publishing)
        self._writer = VersionWriter(shared, catalog, self._claims, ctx)
        self._ctx = ctx

    async def ingest(self, document: Source) -> IngestOutcome:
        """Make `document` the one version of its id. When this returns, it is kept.

        Raises:
            RestrictedKeyError: the credential is restricted to groups.
        """
        require_unrestricted(self._ctx)
        async with self._shared.lock(self._ctx, document.id):
            with self._shared.writing(self._ctx):
                return await self._ingest(document)

    async def _ingest(self, document: Source) -> IngestOutcome:
        before = await self._catalog.get(document.id)
        masking = await self._shared.masking(self._ctx)
        fingerprint = signed(masking, await asyncio.to_thread(lambda: document.fingerprint))
        if before and before.fingerprint == fingerprint:
            await self._finish_what_was_left(document.id)
            return IngestOutcome("unchanged", before.chunks)
        new = NewVersion(document, masking, fingerprint, uuid.uuid4().hex)
        async with self._claims.claimed(document.id, new.version) as claim:
            try:
                chunks = await self._writer.write(new, claim)
            except Exception:
                await self._writer.withdraw(claim)
                raise
            await self._catalog.finish(claim)
        return IngestOutcome("replaced" if before else "created", chunks)

    @asynccontextmanager
    async def held(self, document_id: str) -> AsyncGenerator[CatalogEntry | None, None]:
        """One document that nobody changes while the block runs; None if there is none."""
        async with self._shared.lock(self._ctx, document_id):
            with self._shared.writing(self._ctx):
                async with self._claims.claimed(document_id) as claim:
                    yield await self._catalog.get(document_id)
                    await self._catalog.finish(claim)

    async def put_back(
        self,
        archived: ArchivedDocument,
        batches: AsyncIterator[Sequence[EmbeddedChunk]],
        generation: Generation,
    ) -> None:
        """Make an archived document the one version of its id, with the vectors that it has.

        batches: its chunks, in order. generation: whose model they were found to be of.

        Raises:
            RestrictedKeyError: the credential is restricted to groups.
            VectorsMovingError: another generation took over since; nothing is changed.
        """
        require_unrestricted(self._ctx)
        entry = replace(archived.entry, version=uuid.uuid4().hex)
        async with self._shared.lock(self._ctx, entry.document_id):
            with self._shared.writing(self._ctx):
                async with self._claims.claimed(entry.document_id, entry.version) as claim:
                    try:
                        # Its vectors are of the model of now, until it is published.
                        async with self._shared.publishing():
                            if generation is not self._shared.generation:
                                raise VectorsMovingError
                            await self._writer.put_back(entry, archived.metadata, batches, claim)
                    except Exception:
                        await self._writer.withdraw(claim)
                        raise
                    await self._catalog.finish(claim)

    async def _finish_what_was_left(self, document_id: str) -> None:
        """A committed version that a store which was away has not shown is shown before it is
        called unchanged."""
        if await self._catalog.unfinished(document_id):
            async with self._claims.claimed(document_id) as claim:
                await self._writer.withdraw(claim)

    async def unchanged(self, document_id: str, source: str, groups: frozenset[str]) -> bool:
        """Whether the document is what a file of this digest gives: then it need not be read."""
        before = await self._catalog.get(document_id)
        source = signed(await self._shared.masking(self._ctx), source)
        if before is None or (before.source, before.groups) != (source, groups):
            return False
        return not await self._catalog.unfinished(document_id)

    async def page(self, *, after: str | None = None, limit: int = 1_000) -> list[CatalogEntry]:
        """The first `limit` documents by id, of those behind `after`; as `list` shows them."""
        return await self._shown(await self._catalog.page(after=after, limit=limit))

    async def _shown(self, entries: list[CatalogEntry]) -> list[CatalogEntry]:
        if await self._shared.masking(self._ctx) is None:
            return entries
        return [replace(entry, source=None) for entry in entries]

    async def list(self) -> list[CatalogEntry]:
        """All documents, by id; without `source` where they are masked: it names a file's text
        and its masking, and the file alone says nothing."""
        return await self._shown(await self._catalog.list())

    async def find(self, document_id: str) -> CatalogEntry | None:
        """One document, if there is one."""
        return await self._catalog.get(document_id)

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
                async with self._claims.claimed(document_id) as claim:
                    await self._claims.settled(claim, lambda: self._writer.remove(claim))
