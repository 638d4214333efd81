"""Synthetic points of many tenants: Zipf sizes, clustered unit vectors, Zipf words. Seeded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
_VOCABULARY, _CLUSTERS = 5_000, 20


@dataclass(frozen=True, slots=True)
class TenantPoints:
    """One tenant's points: `vectors` is (n, dimension), unit length; one text each."""

    name: str
    vectors: Vectors
    texts: list[str]


@dataclass(frozen=True, slots=True)
class Question:
    """Near one of the tenant's points, in vector and words."""

    text: str
    dense: list[float]


class Corpus:
    """Points of `tenants` tenants, `points` in all; the largest first."""

    def __init__(self, points: int, tenants: int, dimension: int, seed: int) -> None:
        self._dimension = dimension
        self._random = np.random.default_rng(seed)
        weights = 1 / np.arange(1, tenants + 1)
        self.sizes = [max(int(points * w / weights.sum()), 1) for w in weights]
        frequencies = 1 / np.arange(1, _VOCABULARY + 1)
        self._frequencies = frequencies / frequencies.sum()

    def tenants(self) -> Iterator[TenantPoints]:
        """All tenants' points, made as they are asked for."""
        for number, size in enumerate(self.sizes):
            yield self.tenant(f"tenant-{number}", size)

    def tenant(self, name: str, size: int) -> TenantPoints:
        """One more tenant's points."""
        centres = self._unit(self._random.normal(size=(_CLUSTERS, self._dimension)))
        own = centres[self._random.integers(0, _CLUSTERS, size)]
        noise = self._random.normal(size=(size, self._dimension)) / np.sqrt(self._dimension)
        words = self._random.choice(_VOCABULARY, (size, 12), p=self._frequencies)
        return TenantPoints(name, self._unit(own + noise), [_text(row) for row in words])

    def questions(self, tenant: TenantPoints, count: int) -> list[Question]:
        """Questions that some of the tenant's points answer."""
        rows = self._random.integers(0, len(tenant.vectors), count)
        noise = self._random.normal(size=(count, self._dimension)) / np.sqrt(self._dimension)
        dense = self._unit(tenant.vectors[rows] + 0.5 * noise)
        words = [" ".join(tenant.texts[row].split()[:6]) for row in rows]
        return [Question(text, vector.tolist()) for text, vector in zip(words, dense, strict=True)]

    def _unit(self, vectors: NDArray[np.float64]) -> Vectors:
        unit: Vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype("f4")
        return unit


def exact(tenant: TenantPoints, question: Question, limit: int) -> list[int]:
    """The nearest points by brute force: what recall is measured against."""
    scores = tenant.vectors @ np.asarray(question.dense, np.float32)
    return [int(row) for row in np.argsort(-scores)[:limit]]


def _text(row: NDArray[np.int64]) -> str:
    return " ".join(f"word{number}" for number in row)
