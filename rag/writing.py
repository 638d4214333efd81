"""One version of a document: staged, committed, published (docs/decisions/0001), or withdrawn."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Protocol

from isolation.context import TenantContext
from isolation.masking.documents import DocumentMasking
from rag.catalog import CLAIM_SECONDS, CatalogEntry, Claim, TenantCatalog
from rag.claims import DocumentClaims
from rag.documents import DocumentVersion, EmbeddedChunk, Source
from rag.filters import Metadata
from rag.generation import Generation
from rag.pipeline import embedded
from rag.store.port import VectorStore


class Places(Protocol):
    """Where documents are written now."""

    @property
    def generation(self) -> Generation:
        """The generation of now."""

    def publishing(self) -> AbstractAsyncContextManager[None]:
        """Around a step that is meant for the generation of now."""

    def stores(self) -> list[VectorStore]:
        """The store that answers, and one that is being filled."""


@dataclass(frozen=True, slots=True)
class NewVersion:
    """A document to be written, how it is masked (None: not), and as which version."""

    document: Source
    masking: DocumentMasking | None
    fingerprint: str
    version: str

    @property
    def staged(self) -> DocumentVersion:
        """As the store gets it."""
        of = self.document
        return DocumentVersion(of.id, self.version, of.title, of.metadata, of.groups)

    def entry(self, chunks: int) -> CatalogEntry:
        """As the catalogue gets it."""
        return CatalogEntry(
            self.document.id,
            self.document.title,
            self.version,
            self.fingerprint,
            chunks,
            datetime.now(UTC),
            self.document.groups,
            self.document.source and signed(self.masking, self.document.source),
        )


def signed(masking: DocumentMasking | None, digest: str) -> str:
    """Masked otherwise, a document is another one."""
    return digest if masking is None else masking.signed(digest)


class VersionWriter:
    """Writes one tenant's versions, each under a claim that its caller holds."""

    def __init__(
        self, places: Places, catalog: TenantCatalog, claims: DocumentClaims, ctx: TenantContext
    ) -> None:
        self._places = places
        self._catalog = catalog
        self._claims = claims
        self._ctx = ctx

    async def write(self, new: NewVersion, claim: Claim) -> int:
        """Stage, commit, publish; again, if the vectors were made anew meanwhile. How many chunks
        it has."""
        while True:
            generation = self._places.generation
            try:
                chunks = await self._stage(generation, new, claim)
            except Exception:
                if generation is self._places.generation:
                    raise
                continue  # its store and its model are closed
            published = partial(self._published, generation, new.entry(chunks), claim)
            if await self._claims.settled(claim, published):
                return chunks

    async def put_back(
        self,
        entry: CatalogEntry,
        metadata: Metadata,
        batches: AsyncIterator[Sequence[EmbeddedChunk]],
        claim: Claim,
    ) -> None:
        """A version whose vectors are there already."""
        collection = self._places.generation.store.of(self._ctx)
        version = DocumentVersion(
            entry.document_id, entry.version, entry.title, metadata, entry.groups
        )
        async for batch in batches:
            await self._catalog.renew(claim)
            await collection.stage(version, batch)
        await self._catalog.commit(entry, claim)
        await collection.publish(entry.document_id, entry.version, versions=claim.versions)

    async def remove(self, claim: Claim) -> None:
        """Delete the document, in the catalogue first."""
        await self._catalog.remove(claim)
        for store in self._places.stores():
            await store.of(self._ctx).delete(claim.document_id, versions=claim.versions)
        await self._catalog.finish(claim)

    async def withdraw(self, claim: Claim) -> None:
        """After a failure: what is committed is what is there. Of what this writer knows of: if it
        lost the document to another, that one's version stays as it is."""
        now = await self._catalog.get(claim.document_id)
        async with self._places.publishing():
            collection = self._places.generation.store.of(self._ctx)
            if now is None:
                await collection.delete(claim.document_id, versions=claim.versions)
            else:
                await collection.publish(claim.document_id, now.version, versions=claim.versions)
            await self._catalog.finish(claim)

    async def _published(self, generation: Generation, entry: CatalogEntry, claim: Claim) -> bool:
        """Commit and publish; False: another generation took over."""
        if generation is not self._places.generation:
            return False
        await self._catalog.commit(entry, claim)
        collection = generation.store.of(self._ctx)
        await collection.publish(entry.document_id, entry.version, versions=claim.versions)
        return True

    async def _stage(self, generation: Generation, new: NewVersion, claim: Claim) -> int:
        collection, staged = generation.store.of(self._ctx), new.staged
        chunks, renewed = 0, time.monotonic()
        mask = None if new.masking is None else new.masking.begin()
        async with aclosing(embedded(self._ctx, new.document, generation, mask)) as batches:
            async for batch in batches:
                if time.monotonic() - renewed > CLAIM_SECONDS / 4:
                    await self._catalog.renew(claim)
                    renewed = time.monotonic()
                await collection.stage(staged, batch)
                chunks += len(batch)
        return chunks
