"""Measures of a ranking, and intervals by resampling."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_SEED, _RESAMPLES = 7, 4_000


def ndcg(ranked: Sequence[str], relevant: frozenset[str], depth: int = 10) -> float:
    """Normalized discounted cumulative gain at `depth`, with binary relevance."""
    gain = sum(1 / math.log2(i + 2) for i, one in enumerate(ranked[:depth]) if one in relevant)
    return gain / sum(1 / math.log2(i + 2) for i in range(min(depth, len(relevant))))


def recall(ranked: Sequence[str], relevant: frozenset[str], depth: int = 20) -> float:
    """The share of the relevant documents among the first `depth`."""
    return len(relevant.intersection(ranked[:depth])) / len(relevant)


def mean_with_interval(values: Sequence[float]) -> dict[str, Any]:
    """The mean, and the 95% interval of the percentile bootstrap over the questions.

    Of differences between two systems on the same questions, this is the paired bootstrap.
    """
    sample = np.asarray(values, dtype=np.float64)
    low, high = np.quantile(_resampled(sample).mean(axis=1), [0.025, 0.975])
    return {"mean": _round(sample.mean()), "low": _round(low), "high": _round(high)}


def median_interval(values: Sequence[float]) -> tuple[float, float]:
    """The 95% interval of the median, by the percentile bootstrap."""
    medians = np.median(_resampled(np.asarray(values, dtype=np.float64)), axis=1)
    low, high = np.quantile(medians, [0.025, 0.975])
    return float(low), float(high)


def share(count: int, of: int) -> dict[str, Any]:
    """A share with its 95% Wilson interval; without one for none of none."""
    if of == 0:
        return {"count": 0, "of": 0}
    z, p = 1.959964, count / of
    centre, scale = p + z * z / (2 * of), 1 + z * z / of
    half = z * math.sqrt(p * (1 - p) / of + z * z / (4 * of * of))
    low, high = max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)
    return {"count": count, "of": of, "share": _round(p), "low": _round(low), "high": _round(high)}


def separation(positives: Sequence[float], negatives: Sequence[float]) -> float:
    """How often a positive scores above a negative (area under the ROC curve)."""
    p, n = np.asarray(positives)[:, None], np.asarray(negatives)[None]
    return _round(float(np.mean((p > n) + 0.5 * (p == n))))


def _resampled(sample: NDArray[np.float64]) -> NDArray[np.float64]:
    random = np.random.default_rng(_SEED)
    rows = random.integers(0, len(sample), (_RESAMPLES, len(sample)))
    resampled: NDArray[np.float64] = sample[rows]
    return resampled


def _round(value: Any) -> float:
    return round(float(value), 4)
