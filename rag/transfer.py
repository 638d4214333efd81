"""A tenant's documents out into an archive, and back from one. The operator's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

from isolation.context import OperatorContext, TenantContext, require_operator, require_unrestricted
from rag.archive import ArchivedDocument, ArchiveHeader, ArchiveWriter, checked, contents
from rag.documents import EmbeddedChunk
from rag.errors import ArchiveError, StoreError
from rag.ingest import Ingestor, TenantIngestor

_PAGE = 256


@dataclass(frozen=True, slots=True)
class Restored:
    """What an archive held, all of which is there now."""

    documents: int
    chunks: int


class TenantTransfer:
    """Exports and restores; `ctx` is the tenant's, by a credential that sees all of it."""

    def __init__(self, ingestor: Ingestor) -> None:
        self._ingestor = ingestor

    async def exported(
        self, operator: OperatorContext, ctx: TenantContext
    ) -> AsyncGenerator[bytes, None]:
        """The archive's bytes. Each document as it is when its turn comes; writes go on.

        Raises:
            StoreError: a chunk is missing.
        """
        require_operator(operator, "exporting a tenant")
        require_unrestricted(ctx)
        documents = self._ingestor.of(ctx)
        writer = ArchiveWriter(self._header(ctx.tenant_id))
        yield writer.begin()
        for entry in await documents.list():
            async for piece in self._document(documents, ctx, entry.document_id, writer):
                yield piece
        yield writer.end()

    async def _document(
        self, documents: TenantIngestor, ctx: TenantContext, name: str, writer: ArchiveWriter
    ) -> AsyncGenerator[bytes, None]:
        async with documents.held(name) as entry:
            if entry is None:
                return  # Deleted since it was listed.
            collection = self._ingestor.generation.store.of(ctx)
            for begin in range(0, entry.chunks, _PAGE):
                page = range(begin, min(begin + _PAGE, entry.chunks))
                stored = await collection.chunks(name, entry.version, page, vectors=True)
                if len(stored) < len(page):
                    raise StoreError("A chunk of a document is missing; ingest it anew.")
                if not begin:
                    yield writer.document(ArchivedDocument(entry, stored[0].version.metadata))
                yield b"".join(writer.chunk(one.chunk, one.dense or []) for one in stored)

    async def restore(
        self, operator: OperatorContext, ctx: TenantContext, path: Path, archived_as: str
    ) -> Restored:
        """Make every document of the archive the one version of its id; others stay as they are.

        archived_as: whose archive it is meant to be. The file is looked at as a whole first; if the
        store fails in the middle, running it again goes through all of it again.

        Raises:
            ArchiveError: it is damaged, or of another tenant or model; nothing was restored.
            VectorsMovingError: a re-embedding took over meanwhile; each document is whole, the old
                one or the archived one.
        """
        require_operator(operator, "restoring a tenant")
        require_unrestricted(ctx)
        header = await asyncio.to_thread(checked, path)
        generation = self._ingestor.generation
        self._check(header, archived_as)
        documents, chunks = self._ingestor.of(ctx), 0
        restored = 0
        reading = _Reading(contents(path, header))
        while (archived := reading.document()) is not None:
            await documents.put_back(archived, reading.chunks(archived.entry.chunks), generation)
            restored, chunks = restored + 1, chunks + archived.entry.chunks
        return Restored(restored, chunks)

    def _header(self, tenant: str) -> ArchiveHeader:
        embedder = self._ingestor.generation.embedder
        return ArchiveHeader(tenant, embedder.name, embedder.dimension)

    def _check(self, header: ArchiveHeader, archived_as: str) -> None:
        if header.tenant != archived_as:
            raise ArchiveError(
                "The archive is another tenant's. Say whose it is if that is what you want."
            )
        if header != self._header(header.tenant):
            raise ArchiveError("The archive's vectors are of another model. Ingest anew instead.")


class _Reading:
    """An archive, read once from its beginning to its end."""

    def __init__(self, rest: Iterator[ArchivedDocument | EmbeddedChunk]) -> None:
        self._rest = rest

    def document(self) -> ArchivedDocument | None:
        """The next document; None at the end. The chunks of the one before have been read."""
        found = next(self._rest, None)
        assert not isinstance(found, EmbeddedChunk)
        return found

    async def chunks(self, number: int) -> AsyncIterator[list[EmbeddedChunk]]:
        """The chunks of the document that was read last, in batches."""
        batch: list[EmbeddedChunk] = []
        for count in range(1, number + 1):
            found = next(self._rest)
            assert isinstance(found, EmbeddedChunk)
            batch.append(found)
            if len(batch) == _PAGE or count == number:
                yield batch
                batch = []
