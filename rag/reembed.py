"""A new generation of all vectors, while the old one answers (docs/decisions/0013).

Documents are copied from the old generation; what is written meanwhile goes to the old one and is
copied by the next pass, what is deleted goes from both. When a pass finds little to do, writes wait
for a moment: the rest is copied, each tenant's chunks are counted, and the new one takes over. What
was copied is known from the new generation itself, so that a kill loses one document's work; what
changed meanwhile, at whatever gateway, is known from the catalogue.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass, field

from isolation.context import OperatorContext, TenantContext
from isolation.errors import TenantSuspendedError
from isolation.tenant_id import TenantId
from rag.ahead import ahead
from rag.catalog import CatalogEntry, DocumentCatalog
from rag.documents import EmbeddedChunk, StoredChunk, StoredDocument
from rag.errors import StoreError
from rag.generation import Generation
from rag.ingest import Ingestor
from rag.pipeline import BATCH
from rag.store.port import TenantCollection

# Over what was written meanwhile, before writes wait for the rest.
_PASSES = 5


@dataclass(slots=True)
class Progress:
    """How far it is; `chunks` of about `total`, which others may change meanwhile."""

    total: int = 0
    chunks: int = 0
    documents: int = 0


@dataclass(frozen=True, slots=True)
class Reembedding:
    """One filling of `target` from what `ingestor` writes to.

    tenants: all that there ever were. there: whether one is there, and not being deleted.
    bind: a tenant's context, for the operator. hold: while the block runs, nothing is committed,
    at any gateway. copy: the vectors stay as they are, where the model does.
    """

    ingestor: Ingestor
    catalog: DocumentCatalog
    target: Generation
    tenants: Callable[[], Awaitable[Collection[TenantId]]]
    there: Callable[[TenantId], Awaitable[bool]]
    bind: Callable[[TenantId], TenantContext]
    hold: Callable[[], AbstractAsyncContextManager[None]]
    copy: bool
    progress: Progress = field(default_factory=Progress)
    _seen: dict[TenantId, str] = field(default_factory=dict)
    _uncounted: set[TenantId] = field(default_factory=set)

    async def run(self, operator: OperatorContext, switch: Callable[[], Awaitable[None]]) -> None:
        """Fill the target, hold it against the catalogue, and call `switch` while no write lands.

        Raises:
            StoreError: a tenant's chunks are not all there; nothing is switched.
        """
        self.ingestor.fill(self.target.store)
        try:
            await self._changed(operator)
            await self._pass(operator, await self.tenants())
            for _ in range(_PASSES):
                if not (changed := await self._changed(operator)):
                    break
                await self._pass(operator, changed)
            async with self.hold():
                await self._pass(operator, await self._changed(operator), held=True)
                await switch()
        finally:
            self.ingestor.fill(None)

    async def _changed(self, operator: OperatorContext) -> set[TenantId]:
        """Whose documents have changed since this was asked the last time, or could not be
        counted because they did."""
        marks, seen = await self.catalog.marks(operator), dict(self._seen)
        self._seen.clear()
        self._seen.update(marks)
        either = marks.keys() | seen.keys()
        changed = {tenant for tenant in either if marks.get(tenant) != seen.get(tenant)}
        return changed | self._uncounted

    async def _pass(
        self, operator: OperatorContext, tenants: Collection[TenantId], *, held: bool = False
    ) -> None:
        """held: nothing is committed meanwhile, so that all must be there at the end."""
        self._uncounted.clear()
        for tenant in sorted(tenants):
            if await self.there(tenant):
                await self._copied(tenant, held)
            # Asked again: a deletion at another gateway may have been over before the last write.
            if not await self.there(tenant):
                await self.target.store.purge(operator, tenant)
            elif tenant in self._uncounted and held:
                raise StoreError(
                    "The new vectors are not complete: the old ones stay. Run it again."
                )

    async def _copied(self, tenant: TenantId, held: bool) -> None:
        try:
            await self._tenant(self.bind(tenant), held)
        except TenantSuspendedError:
            # It is being deleted, and its key is gone.
            self._uncounted.add(tenant)

    async def _tenant(self, ctx: TenantContext, held: bool) -> None:
        target = self.target.store.of(ctx)
        entries = await self.catalog.of(ctx).list()
        there = {document.document_id: document.version async for document in _documents(target)}
        for gone in there.keys() - {entry.document_id for entry in entries}:
            await target.delete(gone)
        self.progress.total += sum(entry.chunks for entry in entries)
        for entry in entries:
            if there.get(entry.document_id) != entry.version:
                if held:
                    await self._show(ctx, entry)
                await self._document(ctx, entry, held)
            self.progress.chunks += entry.chunks
            self.progress.documents += 1
        if await target.count() != sum(entry.chunks for entry in entries):
            self._uncounted.add(ctx.tenant_id)

    async def _show(self, ctx: TenantContext, entry: CatalogEntry) -> None:
        """What is committed and not shown yet (its gateway is about to, or died) is shown."""
        source = self.ingestor.generation.store.of(ctx)
        await source.publish(entry.document_id, entry.version, versions=[entry.version])

    async def _document(self, ctx: TenantContext, entry: CatalogEntry, held: bool) -> None:
        target, staged = self.target.store.of(ctx), 0
        async with aclosing(ahead(self._embedded(ctx, entry))) as batches:
            async for stored, chunks in batches:
                await target.stage(stored.version, chunks)
                staged += len(chunks)
        if held:
            await self._publish(ctx, entry, staged)
            return
        async with self.ingestor.lock(ctx, entry.document_id):
            await self._publish(ctx, entry, staged)

    async def _publish(self, ctx: TenantContext, entry: CatalogEntry, staged: int) -> None:
        """Unless it was replaced or deleted while it was copied: the next pass sees that."""
        target = self.target.store.of(ctx)
        now = await self.catalog.of(ctx).get(entry.document_id)
        if now is not None and now.version == entry.version and staged == entry.chunks:
            await target.publish(entry.document_id, entry.version)
        else:
            await target.delete(entry.document_id)

    async def _embedded(
        self, ctx: TenantContext, entry: CatalogEntry
    ) -> AsyncIterator[tuple[StoredChunk, list[EmbeddedChunk]]]:
        async with aclosing(ahead(self._stored(ctx, entry))) as batches:
            async for stored in batches:
                if self.copy:
                    vectors = [one.dense or [] for one in stored]
                else:
                    texts = [one.chunk.text for one in stored]
                    vectors = await self.target.embedder.embed(texts)
                pairs = zip(stored, vectors, strict=True)
                yield stored[0], [EmbeddedChunk(one.chunk, vector) for one, vector in pairs]

    async def _stored(
        self, ctx: TenantContext, entry: CatalogEntry
    ) -> AsyncIterator[list[StoredChunk]]:
        source = self.ingestor.generation.store.of(ctx)
        for begin in range(0, entry.chunks, BATCH):
            ordinals = range(begin, min(begin + BATCH, entry.chunks))
            batch = await source.chunks(
                entry.document_id, entry.version, ordinals, vectors=self.copy
            )
            if not batch:
                return
            yield batch


async def _documents(collection: TenantCollection) -> AsyncIterator[StoredDocument]:
    after: str | None = None
    while True:
        page = await collection.list(limit=1_000, after=after)
        for document in page.documents:
            yield document
        after = page.after
        if after is None:
            return
