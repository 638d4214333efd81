"""Whose texts are embedded next: those of the tenant which has had the least embedded.

The model is shared. Without turns, a question would wait until a batch of another tenant's document
was embedded: seconds, as long as that document is coming in.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from weakref import WeakKeyDictionary

from isolation.context import TenantContext, require_tenant
from isolation.fair_slots import FairSlots
from rag.embedding.batches import batches
from rag.embedding.port import Embedder, for_queries
from rag.windows import windows

# Of a model that does not say how many calls it answers at the same time (`at_once`).
_AT_ONCE = 4
# Characters of one turn of counting: some 15 ms.
_COUNTED = 8_000
_LINES: WeakKeyDictionary[Embedder, FairSlots] = WeakKeyDictionary()


def line_before(model: Embedder) -> FairSlots:
    """All tenants' lines before a model: the same for everybody who asks it."""
    itself: Embedder = getattr(model, "behind", model)
    if itself not in _LINES:
        _LINES[itself] = FairSlots(getattr(itself, "at_once", _AT_ONCE))
    return _LINES[itself]


class InTurn:
    """An `Embedder`: a model as one tenant may ask it, a few texts at a time."""

    def __init__(self, ctx: TenantContext, model: Embedder) -> None:
        self._ctx = require_tenant(ctx, "the embedding model")
        self._model = model
        self.name, self.dimension, self.checksum = model.name, model.dimension, model.checksum
        self.count_tokens = model.count_tokens
        of_queries = for_queries(model)
        self.queries: Embedder = self if of_queries is model else InTurn(ctx, of_queries)

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Unit-length vectors in the order of `texts`."""
        line = line_before(self._model)
        vectors: dict[int, list[float]] = {}
        # A turn is what the model on this CPU computes at once.
        for batch in batches(texts):
            own = [texts[index] for index in batch]
            async with line.turn(self._ctx, sum(map(len, own))):
                vectors.update(zip(batch, await self._model.embed(own), strict=True))
        return [vectors[index] for index in range(len(texts))]

    async def tokens(self, texts: Sequence[str]) -> int:
        """How many tokens they have together, counted off the event loop."""
        line, total = line_before(self._model), 0
        for piece in (piece for text in texts for piece in windows(text, _COUNTED)):
            async with line.turn(self._ctx, len(piece)):
                total += await asyncio.to_thread(self.count_tokens, piece)
        return total

    def close(self) -> None:
        """The model is its owner's."""
