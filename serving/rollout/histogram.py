"""Durations as counts in buckets, so that arms of several gateways add up."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

# Bucket n ends at 0.1 ms x 2^(n/8): a reading is wrong by 9% at most.
_FIRST, _PER_DOUBLING = 1e-4, 8
_LAST = 8 * 30  # about 30 hours


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts by bucket. Durations in seconds."""

    buckets: Mapping[int, int] = field(default_factory=dict)

    @classmethod
    def of(cls, *durations: float) -> Histogram:
        """The histogram of these durations."""
        counted: dict[int, int] = {}
        for duration in durations:
            bucket = bucket_of(duration)
            counted[bucket] = counted.get(bucket, 0) + 1
        return cls(counted)

    @property
    def count(self) -> int:
        """How many durations."""
        return sum(self.buckets.values())

    def __add__(self, other: Histogram) -> Histogram:
        both = {**self.buckets}
        for bucket, count in other.buckets.items():
            both[bucket] = both.get(bucket, 0) + count
        return Histogram(both)

    def at(self, rank: int) -> tuple[float, float]:
        """Between which two durations the one of this rank (from 1) is.

        Raises:
            IndexError: there are fewer.
        """
        for bucket in sorted(self.buckets):
            rank -= self.buckets[bucket]
            if rank <= 0:
                return _edge(bucket - 1) if bucket else 0.0, _edge(bucket)
        raise IndexError(rank)


def bucket_of(duration: float) -> int:
    """The bucket that a duration falls into."""
    if duration <= _FIRST:
        return 0
    return min(math.ceil(math.log2(duration / _FIRST) * _PER_DOUBLING), _LAST)


def _edge(bucket: int) -> float:
    return float(_FIRST * 2 ** (bucket / _PER_DOUBLING))
