"""An embedder that costs next to nothing: a text's vector is drawn from its hash. It knows equal
texts from others, and nothing more."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np


class HashedEmbedder:
    """Unit vectors of `dimension` numbers; the same text, the same vector."""

    def __init__(self, dimension: int = 384, name: str = "hashed") -> None:
        self.name = name
        self.dimension = dimension
        self.checksum = f"{name}-{dimension}"

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """In the order of `texts`."""
        return [self._vector(text) for text in texts]

    def count_tokens(self, text: str) -> int:
        """Words."""
        return len(text.split())

    def close(self) -> None:
        """Nothing is held."""

    def _vector(self, text: str) -> list[float]:
        drawn = np.random.default_rng(zlib.crc32(text.encode())).normal(size=self.dimension)
        unit: list[float] = (drawn / np.linalg.norm(drawn)).tolist()
        return unit
