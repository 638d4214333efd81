"""The one request of a hybrid search: the tenant's filter on each leg, and on the root."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from qdrant_edge import (
    Expression,
    Filter,
    Formula,
    IdfParams,
    PayloadSelector,
    Prefetch,
    Query,
    QueryRequest,
    SearchParams,
)

from rag.store.fusion import LEXICAL, PREFETCH, UNSEEN
from rag.store.payload import READ
from rag.store.schema import BM25, DENSE

_READ = PayloadSelector.Include(READ)


@dataclass(slots=True)
class HybridRequest:
    """Legs are added; the score of a hit is the sum of what each weighs.

    mine: what the search may see. own: whose terms count, where it is counted how rare one is; with
    everybody's, other tenants would move the scores.
    """

    mine: Filter
    own: Filter
    limit: int
    _legs: list[Prefetch] = field(default_factory=list)
    _parts: list[Expression] = field(default_factory=list)
    _unseen: dict[str, float] = field(default_factory=dict)

    def nearest(self, dense: list[float]) -> None:
        """The dense leg."""
        self._add(Query.Nearest(dense, using=DENSE), 1.0, UNSEEN, None)

    def best(self, terms: Any) -> None:
        """The BM25 leg; `terms` are a query's weights, at least one."""
        own_terms = SearchParams(idf=IdfParams(corpus=self.own))
        self._add(Query.Nearest(terms, using=BM25), LEXICAL / len(terms.indices), 0.0, own_terms)

    def built(self, *, with_vectors: bool) -> QueryRequest | None:
        """The request; None when there is nothing to search by."""
        if not self._legs or self.limit < 1:
            return None
        return QueryRequest(
            limit=self.limit,
            prefetches=self._legs,
            query=Formula(Expression.Sum(self._parts), defaults=self._unseen),
            filter=self.mine,
            with_payload=_READ,
            with_vector=[DENSE] if with_vectors else False,
        )

    def _add(self, query: Query, weight: float, unseen: float, params: SearchParams | None) -> None:
        score = f"$score[{len(self._legs)}]"
        found = Expression.Variable(score)
        self._parts.append(
            found if weight == 1.0 else Expression.Mult([Expression.Constant(weight), found])
        )
        self._unseen[score] = unseen
        wide = max(self.limit, PREFETCH)
        self._legs.append(Prefetch(limit=wide, query=query, filter=self.mine, params=params))
