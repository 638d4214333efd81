"""A document, masked as its lines are read: nothing is split, embedded or indexed in clear."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Protocol, Self

from isolation.context import TenantContext
from isolation.masking.documents import DocumentMask, DocumentMasking
from rag.documents import Chunk, Source

# Characters that are analysed at once: enough for a model to see what stands around a name, and so
# little that a chat's turn does not wait long behind it.
_ENOUGH, _LONGEST = 600, 2_000


class Masking(Protocol):
    """How tenants' documents are masked."""

    async def documents(self, ctx: TenantContext) -> DocumentMasking | None:
        """By the tenant's policy of now; None: they are not."""


@dataclass(frozen=True, slots=True)
class MaskedSource:
    """A document with placeholders. Its lines are asked for on another thread than `loop`'s, where
    the analysis runs."""

    title: str
    document: Source
    mask: DocumentMask
    loop: asyncio.AbstractEventLoop

    @classmethod
    async def of(cls, document: Source, mask: DocumentMask) -> Self:
        """The document under its mask."""
        title = await mask.mask(document.title)
        return cls(title, document, mask, asyncio.get_running_loop())

    def lines(self) -> Iterator[str]:
        """The masked text's lines, with their ends."""
        for piece in _pieces(self.document.lines()):
            masking = asyncio.run_coroutine_threadsafe(self.mask.mask(piece), self.loop)
            yield from io.StringIO(masking.result())

    def valued(self, chunk: Chunk) -> Chunk:
        """A chunk of these lines, with what its placeholders stand for."""
        return replace(chunk, values=self.mask.values_in(chunk.text))


def _pieces(lines: Iterable[str]) -> Iterator[str]:
    """The lines in pieces that end where a paragraph does, if it is not too long."""
    piece: list[str] = []
    size = 0
    for line in lines:
        piece.append(line)
        size += len(line)
        if size >= _LONGEST or (size >= _ENOUGH and not line.strip()):
            yield "".join(piece)
            piece, size = [], 0
    if piece:
        yield "".join(piece)
