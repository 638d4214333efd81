"""A tenant's own documents, out again: Markdown and metadata, in pieces.

The text is put together from the passages that were stored, by their headings: space between them
is not as it was.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

from isolation.context import TenantContext
from isolation.masking.masked_text import MaskedText
from rag.catalog import CatalogEntry
from rag.documents import Chunk, DocumentVersion, StoredChunk
from rag.ingest import Ingestor
from rag.spool import Spool

_BLOCK = 64_000
# Passages that are read at once; others run in between.
_STRETCH = 32
# Passages of one section overlap by less.
_OVERLAP = 2_000


@dataclass(frozen=True, slots=True)
class DocumentBegins:
    """A document: what is known of it. Its text follows, as `str`."""

    entry: CatalogEntry
    version: DocumentVersion


class Exporter:
    """Exports for all tenants. `spool`: a document lies there while its reader takes it."""

    def __init__(self, ingestor: Ingestor, spool: Spool) -> None:
        self._ingestor = ingestor
        self._spool = spool

    async def pieces(self, ctx: TenantContext) -> AsyncGenerator[DocumentBegins | str, None]:
        """The documents that the credential may see, by id, each whole and of one version."""
        for listed in await self._ingestor.of(ctx).list():
            with self._spool.file() as path:
                found = await self._spooled(ctx, listed.document_id, path)
                if found is None:
                    continue
                yield found
                with path.open(encoding="utf-8", newline="") as text:
                    while block := text.read(_BLOCK):
                        yield block

    async def _spooled(
        self, ctx: TenantContext, document_id: str, path: Path
    ) -> DocumentBegins | None:
        """Nobody writes the document meanwhile; a slow reader does not keep anybody waiting."""
        async with self._ingestor.lock(ctx, document_id), self._ingestor.publishing():
            entry = await self._ingestor.of(ctx).find(document_id)
            if entry is None:
                return None
            begun: DocumentBegins | None = None
            writer = _Markdown()
            with path.open("w", encoding="utf-8", newline="") as out:
                async for stored in self._stored(ctx, entry):
                    begun = begun or DocumentBegins(entry, stored.version)
                    out.writelines(writer.add(_in_clear(stored.chunk)))
            return begun

    async def _stored(self, ctx: TenantContext, entry: CatalogEntry) -> AsyncIterator[StoredChunk]:
        collection = self._ingestor.generation.store.of(ctx)
        for begin in range(0, entry.chunks, _STRETCH):
            ordinals = range(begin, begin + _STRETCH)
            for stored in await collection.chunks(entry.document_id, entry.version, ordinals):
                yield stored


def _in_clear(chunk: Chunk) -> str:
    return chunk.text if chunk.values is None else MaskedText(chunk.text, chunk.values, "").restored


class _Markdown:
    """Passages, each under its heading path, into one text."""

    def __init__(self) -> None:
        self._path: list[str] = []
        self._body = ""

    def add(self, passage: str) -> Iterator[str]:
        head, newline, body = passage.partition("\n")
        if not newline:
            yield passage
            return
        path = head.split(" > ")
        if path == self._path:
            body = _without_overlap(self._body, body)
            yield "\n" + body
        else:
            if self._path:
                yield "\n"
            common = _common(self._path, path)
            for depth in range(common, len(path)):
                yield f"{'#' * min(depth + 1, 6)} {path[depth]}\n\n"
            yield body
        self._path, self._body = path, body
        yield "\n"


def _common(one: list[str], other: list[str]) -> int:
    pairs = zip(one, other, strict=False)
    return next((depth for depth, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


def _without_overlap(before: str, after: str) -> str:
    """`after`, without the beginning that `before` ends with."""
    for length in range(min(len(before), len(after), _OVERLAP), 0, -1):
        if before.endswith(after[:length]):
            return after[length:].lstrip()
    return after
