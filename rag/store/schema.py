"""A collection's settings, the same in every engine."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rag.errors import StoreError
from rag.store import predicate

DENSE, BM25 = "dense", "bm25"
# No graph of all points; one of each tenant's.
HNSW_M, HNSW_PAYLOAD_M = 0, 16
# Vectors are of half-precision numbers: recall is the same, and a walk reads half as much memory.
# The threshold is in KiB of them: 6,826 vectors of 384 dimensions.
HNSW_EF_CONSTRUCT, FULL_SCAN_THRESHOLD = 100, 5_120
# Beside the tenant's own index.
INDEXED = (predicate.DOCUMENT, predicate.STATE, predicate.ACCESS)


def check_vector(dense: Sequence[float], dimension: int) -> None:
    """Engines accept NaN silently; a store does not.

    Raises:
        StoreError: wrong size, or a number that is not finite.
    """
    # One number that is not finite makes the sum so.
    if len(dense) != dimension or not math.isfinite(sum(dense)):
        raise StoreError(f"A dense vector has {dimension} finite numbers.")
