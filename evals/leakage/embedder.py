"""Hashed words as a vector: the same text, the same vector, and no model's time."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

_WORD = re.compile(r"\w+")
DIMENSION = 64


class HashedWords:
    """Texts that share words are near each other. Boundaries do not depend on the embedding: what
    keeps tenants apart stands in the query's filter, whatever is near."""

    name = "hashed-words"
    dimension = DIMENSION
    checksum = f"hashed-words-{DIMENSION}"

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Unit-length vectors in the order of `texts`; others run before it returns."""
        await asyncio.sleep(0)
        return [_vector(text) for text in texts]

    def count_tokens(self, text: str) -> int:
        """Words."""
        return len(_WORD.findall(text))

    def close(self) -> None:
        """Nothing is held."""


def _vector(text: str) -> list[float]:
    words = _WORD.findall(text.lower()) or [""]
    total = np.sum([_of_word(word) for word in words], axis=0)
    unit: list[float] = (total / np.linalg.norm(total)).tolist()
    return unit


@lru_cache(100_000)
def _of_word(word: str) -> NDArray[np.float64]:
    seed = int.from_bytes(blake2b(word.encode(), digest_size=8).digest())
    return np.random.default_rng(seed).normal(size=DIMENSION)
