"""The one request of a hybrid search on a server: the tenant's filter on each leg; the root's is
the caller's to send."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from qdrant_client import models

from rag.store.fusion import LEXICAL, PREFETCH, UNSEEN
from rag.store.schema import BM25, DENSE


@dataclass(slots=True)
class HybridRequest:
    """Legs are added; the score of a hit is the sum of what each weighs.

    mine: what the search may see. own: whose terms count, where it is counted how rare one is; with
    everybody's, other tenants would move the scores.
    """

    mine: models.Filter
    own: models.Filter
    limit: int
    legs: list[models.Prefetch] = field(default_factory=list)
    _parts: list[models.Expression] = field(default_factory=list)
    _unseen: dict[str, float] = field(default_factory=dict)

    def nearest(self, dense: list[float]) -> None:
        """The dense leg."""
        self._add(dense, DENSE, 1.0, UNSEEN, None)

    def best(self, terms: models.SparseVector) -> None:
        """The BM25 leg; `terms` are a query's weights, at least one."""
        own_terms = models.SearchParams(idf=models.IdfCorpusParams(corpus=self.own))
        self._add(terms, BM25, LEXICAL / len(terms.indices), 0.0, own_terms)

    @property
    def empty(self) -> bool:
        """There is nothing to search by."""
        return not self.legs or self.limit < 1

    @property
    def query(self) -> models.FormulaQuery:
        """How the legs' scores become one."""
        return models.FormulaQuery(
            formula=models.SumExpression(sum=self._parts), defaults=dict(self._unseen)
        )

    def _add(
        self,
        query: Any,
        using: str,
        weight: float,
        unseen: float,
        params: models.SearchParams | None,
    ) -> None:
        score = f"$score[{len(self.legs)}]"
        self._parts.append(models.MultExpression(mult=[weight, score]))
        self._unseen[score] = unseen
        wide = max(self.limit, PREFETCH)
        self.legs.append(
            models.Prefetch(query=query, using=using, filter=self.mine, limit=wide, params=params)
        )
