"""An embedding model that embeds the same texts once, where several ways are compared on them.

In evaluations alone: what a gateway would remember of one tenant's texts, another one could find
out by the time.
"""

from __future__ import annotations

from collections.abc import Sequence

from rag.embedding.port import Embedder


class Remembered:
    """An `Embedder`. Texts that come together are remembered together: a vector may depend on what
    shares its batch."""

    def __init__(self, model: Embedder) -> None:
        self._embed = model.embed
        self._known: dict[tuple[str, ...], list[list[float]]] = {}
        self.name, self.dimension, self.checksum = model.name, model.dimension, model.checksum
        self.count_tokens, self.close = model.count_tokens, model.close

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        asked = tuple(texts)
        if asked not in self._known:
            self._known[asked] = await self._embed(texts)
        return self._known[asked]
