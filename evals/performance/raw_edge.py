"""Qdrant Edge by hand, as an application without our layer would call it. For comparison only."""

from __future__ import annotations

from qdrant_edge import (
    Expression,
    FieldCondition,
    Filter,
    Formula,
    IdfParams,
    MatchValue,
    Prefetch,
    Query,
    QueryRequest,
    SearchParams,
)

from isolation.tenant_id import TenantId
from rag.store.edge.store import EdgeVectorStore
from rag.store.fusion import LEXICAL, PREFETCH, UNSEEN
from rag.store.port import HybridQuery


def hybrid(
    store: EdgeVectorStore, tenant: str, query: HybridQuery, limit: int
) -> list[tuple[str, float]]:
    """The same hybrid query; texts and scores, since an application reads what it finds."""
    mine = Filter(must=[_is("tenant_id", tenant)])
    sparse = store.sparse_of_query(TenantId(tenant), query.text)
    bm25 = [Expression.Constant(LEXICAL / len(sparse.indices)), Expression.Variable("$score[1]")]
    weighed = Expression.Sum([Expression.Variable("$score[0]"), Expression.Mult(bm25)])
    request = QueryRequest(
        limit=limit,
        prefetches=[
            Prefetch(
                limit=PREFETCH,
                query=Query.Nearest(query.dense, using="dense"),
                filter=mine,
            ),
            Prefetch(
                limit=PREFETCH,
                query=Query.Nearest(sparse, using="bm25"),
                filter=mine,
                params=SearchParams(idf=IdfParams(corpus=mine)),
            ),
        ],
        query=Formula(weighed, defaults={"$score[0]": UNSEEN, "$score[1]": 0.0}),
        filter=mine,
        with_payload=True,
    )
    hits = store.run(lambda shard: shard.query(request))
    return [((hit.payload or {})["text"], hit.score) for hit in hits]


def post_filtered(store: EdgeVectorStore, tenant: str, dense: list[float], limit: int) -> list[int]:
    """The wrong way: everybody's nearest, ten times too many, then the tenant's own among them."""
    request = QueryRequest(
        limit=10 * limit, query=Query.Nearest(dense, using="dense"), with_payload=True
    )
    found = store.run(lambda shard: shard.query(request))
    payloads = [hit.payload or {} for hit in found]
    own = [int(payload["ordinal"]) for payload in payloads if payload["tenant_id"] == tenant]
    return own[:limit]


def _is(key: str, value: str) -> FieldCondition:
    return FieldCondition(key=key, match=MatchValue(value=value))
