"""Other ways to search one tenant among many, for comparison: a slab of numpy for each tenant, and
`qdrant-client`'s local mode. Both answer the same hybrid question.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from qdrant_client import QdrantClient, models

from evals.performance.corpus import Question, TenantPoints
from rag.store.fusion import LEXICAL, PREFETCH, UNSEEN
from rag.store.terms import Terms

_BATCH = 2_000
_COLLECTION = "points"

# A text's term weights.
Sparse = Callable[[str], Terms]


class NumpySlab:
    """One tenant's vectors and postings in memory: no index, nothing shared, nothing persistent.

    What isolation by copies costs is the memory of every tenant at once, idle ones too.
    """

    def __init__(self, tenant: TenantPoints, sparse: Sparse) -> None:
        self._vectors = tenant.vectors
        postings: dict[int, list[tuple[int, float]]] = {}
        for row, text in enumerate(tenant.texts):
            vector = sparse(text)
            for term, weight in zip(vector.indices, vector.values, strict=True):
                postings.setdefault(term, []).append((row, weight))
        self._postings = {term: _posting(rows) for term, rows in postings.items()}

    def search(self, question: Question, sparse: Terms, limit: int) -> list[int]:
        """The best rows, by the sum of cosine and weighed BM25."""
        dense = self._vectors @ np.asarray(question.dense, np.float32)
        terms = self._bm25(sparse)
        scores = {row: float(dense[row]) for row in _best(dense, PREFETCH)}
        for row in _best(terms, PREFETCH):
            if terms[row] > 0:
                weighed = LEXICAL / len(sparse.indices) * float(terms[row])
                scores[row] = scores.get(row, UNSEEN) + weighed
        return sorted(scores, key=lambda row: -scores[row])[:limit]

    def _bm25(self, sparse: Terms) -> NDArray[np.float32]:
        count = len(self._vectors)
        scores = np.zeros(count, np.float32)
        for term, weight in zip(sparse.indices, sparse.values, strict=True):
            if term in self._postings:
                rows, weights = self._postings[term]
                rarity = np.log((count - len(rows) + 0.5) / (len(rows) + 0.5) + 1)
                scores[rows] += weight * weights * rarity
        return scores


class LocalMode:
    """`qdrant-client` without a server: it takes the same calls and knows no index."""

    def __init__(self, dimension: int) -> None:
        self._client = QdrantClient(":memory:")
        self._client.create_collection(
            _COLLECTION,
            {"dense": models.VectorParams(size=dimension, distance=models.Distance.COSINE)},
            sparse_vectors_config={"bm25": models.SparseVectorParams(modifier=models.Modifier.IDF)},
        )
        self._written = 0

    def put(self, tenant: TenantPoints, sparse: Sparse) -> None:
        """Write all points of a tenant."""
        rows = range(len(tenant.texts))
        points = [self._point(tenant, row, sparse(tenant.texts[row])) for row in rows]
        for begin in range(0, len(points), _BATCH):
            self._client.upsert(_COLLECTION, points[begin : begin + _BATCH])

    def search(self, tenant: str, question: Question, sparse: Terms, limit: int) -> list[int]:
        """The best rows of the tenant."""
        mine = models.Filter(
            must=[models.FieldCondition(key="tenant", match=models.MatchValue(value=tenant))]
        )
        terms = models.SparseVector(indices=list(sparse.indices), values=list(sparse.values))
        legs = [
            models.Prefetch(query=query, using=using, filter=mine, limit=PREFETCH)
            for query, using in ((question.dense, "dense"), (terms, "bm25"))
        ]
        found = self._client.query_points(
            _COLLECTION,
            prefetch=legs,
            query=_weighed(len(terms.indices)),
            query_filter=mine,
            limit=limit,
        )
        return [int((point.payload or {})["row"]) for point in found.points]

    def close(self) -> None:
        """Forget everything."""
        self._client.close()

    def _point(self, tenant: TenantPoints, row: int, sparse: Terms) -> models.PointStruct:
        self._written += 1
        terms = models.SparseVector(indices=list(sparse.indices), values=list(sparse.values))
        return models.PointStruct(
            id=self._written,
            vector={"dense": tenant.vectors[row].tolist(), "bm25": terms},
            payload={"tenant": tenant.name, "row": row},
        )


def _weighed(terms: int) -> models.FormulaQuery:
    lexical = models.MultExpression(mult=[LEXICAL / terms, "$score[1]"])
    return models.FormulaQuery(
        formula=models.SumExpression(sum=["$score[0]", lexical]),
        defaults={"$score[0]": UNSEEN, "$score[1]": 0.0},
    )


def _posting(rows: Sequence[tuple[int, float]]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    numbers, weights = zip(*rows, strict=True)
    return np.asarray(numbers, np.int64), np.asarray(weights, np.float32)


def _best(scores: NDArray[np.float32], count: int) -> Iterable[int]:
    if len(scores) <= count:
        return [int(row) for row in np.argsort(-scores)]
    some = np.argpartition(-scores, count)[:count]
    return [int(row) for row in some[np.argsort(-scores[some])]]
