"""A document into embedded chunks, a batch at a time: memory does not grow with the document."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from itertools import islice

from isolation.context import TenantContext
from isolation.masking.documents import DocumentMask
from rag.ahead import ahead
from rag.documents import Chunk, EmbeddedChunk, Source
from rag.embedding.port import Embedder
from rag.embedding.turns import InTurn
from rag.generation import Generation
from rag.masked_source import MaskedSource
from rag.splitting import Splitter

# Enough that the embedder finds texts of like length in it, and little enough to hold four of.
BATCH = 256


async def embedded(
    ctx: TenantContext,
    document: Source,
    generation: Generation,
    mask: DocumentMask | None = None,
) -> AsyncGenerator[list[EmbeddedChunk], None]:
    """A tenant's document as chunks with their vectors, in order; under `mask`, none in clear.

    While a batch is written, the next one is embedded, and the one after it is split; the embedder,
    which is what takes the time, does not wait.
    """
    embedder = InTurn(ctx, generation.embedder)
    async with (
        aclosing(ahead(_split(document, generation.splitter, mask))) as chunks,
        aclosing(ahead(_embedded(chunks, embedder))) as batches,
    ):
        async for batch in batches:
            yield batch


async def _split(
    document: Source, splitter: Splitter, mask: DocumentMask | None
) -> AsyncIterator[list[Chunk]]:
    if mask is None:
        chunks = splitter.split(document)
    else:
        masked = await MaskedSource.of(document, mask)
        chunks = map(masked.valued, splitter.split(masked))
    # Off the event loop: splitting is the processor's work.
    while batch := await asyncio.to_thread(lambda: list(islice(chunks, BATCH))):
        yield batch


async def _embedded(
    batches: AsyncIterator[list[Chunk]], embedder: Embedder
) -> AsyncIterator[list[EmbeddedChunk]]:
    async for chunks in batches:
        vectors = await embedder.embed([chunk.text for chunk in chunks])
        yield [EmbeddedChunk(c, vector) for c, vector in zip(chunks, vectors, strict=True)]
