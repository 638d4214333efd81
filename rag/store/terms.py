"""BM25 term weights, in a space of the tenant's own: one word of two tenants is two dimensions.

The engine's list of a term's points, and so how often it occurs, is then one tenant's. Without any
filter BM25 finds nobody else's points, and it takes no longer among many tenants than alone.
Words are counted by Edge's tokenizer, for a server too.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from hashlib import blake2s

from qdrant_edge import Bm25

from isolation.tenant_id import TenantId

# An engine's dimensions are numbers of so many bytes.
_BYTES = 4


class TermSpace(StrEnum):
    """Whose dimensions the terms of a generation's points are."""

    own = "own"
    # As it was before; kept readable, so that `bulkhead reembed` can copy it into a new one.
    shared = "shared"


@dataclass(frozen=True, slots=True)
class Terms:
    """Weights of a text's terms, as many `values` as `indices`; a text may have none."""

    indices: list[int]
    values: list[float]


class TermCounter:
    """Counts the terms of texts, into `space`."""

    def __init__(self, space: TermSpace) -> None:
        self.space = space
        self._bm25 = Bm25()

    def of_document(self, tenant: TenantId, text: str) -> Terms:
        """The weights of a passage's terms."""
        counted = self._bm25.embed_document(text)
        return self._placed(tenant, counted.indices, counted.values)

    def of_query(self, tenant: TenantId, text: str) -> Terms:
        """The weights of a query's terms."""
        counted = self._bm25.embed_query(text)
        return self._placed(tenant, counted.indices, counted.values)

    def _placed(self, tenant: TenantId, indices: list[int], values: list[float]) -> Terms:
        if self.space is TermSpace.shared:
            return Terms(list(indices), list(values))
        # Two terms of one text that fall together, one in four billion, count as one.
        weights: dict[int, float] = {}
        for index, value in zip(_own(tenant, indices), values, strict=True):
            weights[index] = weights.get(index, 0.0) + value
        return Terms(list(weights), list(weights.values()))


def _own(tenant: TenantId, indices: Iterable[int]) -> Iterable[int]:
    """The tenant's dimension of each term; no two ids begin alike, since none holds a zero."""
    tenants = blake2s(f"{tenant}\0".encode(), digest_size=_BYTES)
    for index in indices:
        terms = tenants.copy()
        terms.update(index.to_bytes(_BYTES, "little"))
        yield int.from_bytes(terms.digest(), "little")
