"""Qdrant Edge: the server's engine in this process. The only module that drives a shard."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

from qdrant_edge import (
    Bm25,
    CountRequest,
    Distance,
    EdgeConfig,
    EdgeShard,
    EdgeSparseVectorParams,
    EdgeVectorParams,
    Fusion,
    HnswIndexConfig,
    IdfParams,
    KeywordIndexParams,
    Modifier,
    Point,
    Prefetch,
    Query,
    QueryRequest,
    ScrollRequest,
    SearchParams,
    UpdateOperation,
)

from isolation.context import (
    OperatorContext,
    TenantContext,
    require_operator,
    require_same_tenant,
    require_tenant,
)
from isolation.tenant_id import TenantId
from rag.documents import DocumentVersion, EmbeddedChunk, Passage
from rag.errors import StoreError, StoreLockedError, UnsafeCollectionError
from rag.filters import Where
from rag.store import predicate
from rag.store.point_ids import point_id
from rag.store.port import HybridQuery, TenantCollection, VectorStore

T = TypeVar("T")
_DENSE, _BM25 = "dense", "bm25"
_PREFETCH = 30
_RRF_K = 60
# One call holds the GIL to its end: a large document is written in pieces, and others run between.
_BATCH = 64


class EdgeVectorStore(VectorStore):
    """One shard in one folder, owned by one process; its calls never overlap.

    Each call holds the GIL to its end (docs/decisions/0007), so that a thread of its own would
    stop the event loop as long, and cost a hop more. What runs as one job happens with no search
    in between.
    """

    def __init__(self, shard: EdgeShard, dimension: int) -> None:
        self._shard = shard
        self._dimension = dimension
        self._lock = Lock()
        self._bm25 = Bm25()

    @classmethod
    def open(cls, path: Path, dimension: int) -> EdgeVectorStore:
        """Open the shard in `path`, or make it there.

        Raises:
            StoreLockedError: another process has it open.
            UnsafeCollectionError: its tenant index is missing.
        """
        if path.exists() and any(path.iterdir()):
            return cls(_load(path), dimension)
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        shard = EdgeShard.create(str(path), _config(dimension))
        # Before any point: made after optimizing, recall is .011 and nothing says so.
        shard.update(
            UpdateOperation.create_field_index(predicate.TENANT, KeywordIndexParams(is_tenant=True))
        )
        for key in (predicate.DOCUMENT, predicate.STATE):
            shard.update(UpdateOperation.create_field_index(key, KeywordIndexParams()))
        return cls(shard, dimension)

    def of(self, ctx: TenantContext) -> TenantCollection:
        return EdgeTenantCollection(self, require_tenant(ctx, "the vector store"))

    async def settle(
        self, operator: OperatorContext, tenant: TenantId, document_id: str, version: str | None
    ) -> None:
        require_operator(operator, "settling the vector store")
        self.run(lambda shard: _settle(shard, tenant, document_id, version))

    def run(self, job: Callable[[EdgeShard], T]) -> T:
        """Run `job` on the shard; jobs never overlap, whatever thread or event loop they are of."""
        with self._lock:
            return job(self._shard)

    async def optimize(self, operator: OperatorContext) -> None:
        """Build the indexes of what was written; minutes, in which the process stands still.

        So it is for a process that serves nobody (`bulkhead ingest --optimize`).
        """
        require_operator(operator, "optimizing the vector store")
        self.run(lambda shard: shard.optimize())

    def sparse_of_document(self, text: str) -> Any:
        """BM25 term weights of a passage."""
        return self._bm25.embed_document(text)

    def sparse_of_query(self, text: str) -> Any:
        """BM25 term weights of a query."""
        return self._bm25.embed_query(text)

    def check_vector(self, dense: Sequence[float]) -> None:
        """The engine accepts NaN silently; the store does not.

        Raises:
            StoreError: wrong size, or a number that is not finite.
        """
        if len(dense) != self._dimension or not all(map(math.isfinite, dense)):
            raise StoreError(f"A dense vector has {self._dimension} finite numbers.")

    async def close(self) -> None:
        self.run(lambda shard: shard.close())


class EdgeTenantCollection(TenantCollection):
    """One tenant's points in the shard."""

    def __init__(self, store: EdgeVectorStore, ctx: TenantContext) -> None:
        self._store = store
        self._ctx = ctx

    async def stage(self, version: DocumentVersion, chunks: Sequence[EmbeddedChunk]) -> None:
        for chunk in chunks:
            self._store.check_vector(chunk.dense)
        for begin in range(0, len(chunks), _BATCH):
            batch = chunks[begin : begin + _BATCH]
            self._upsert([self._point(version, chunk) for chunk in batch])
            await asyncio.sleep(0)

    def _upsert(self, points: list[Point]) -> None:
        operation = UpdateOperation.upsert_points(points)
        self._store.run(lambda shard: shard.update(operation))

    async def publish(self, document_id: str, version: str) -> None:
        tenant = self._ctx.tenant_id
        self._store.run(lambda shard: _settle(shard, tenant, document_id, version))

    async def delete(self, document_id: str) -> None:
        tenant = self._ctx.tenant_id
        self._store.run(lambda shard: _settle(shard, tenant, document_id, None))

    async def search(
        self, query: HybridQuery, *, limit: int, where: Where | None = None
    ) -> list[Passage]:
        self._store.check_vector(query.dense)
        if limit < 1:
            return []
        request = self._hybrid(query, limit, where)
        return [self._passage(hit) for hit in self._store.run(lambda s: s.query(request))]

    async def get(self, document_id: str) -> list[Passage]:
        mine = predicate.published_of(self._ctx.tenant_id, document_id)
        request = ScrollRequest(limit=1_000_000, filter=mine, with_payload=True)
        records, _ = self._store.run(lambda shard: shard.scroll(request))
        return sorted((self._passage(record) for record in records), key=lambda p: p.ordinal)

    async def count(self) -> int:
        request = CountRequest(exact=True, filter=predicate.published_of(self._ctx.tenant_id))
        return self._store.run(lambda shard: shard.count(request))

    def _hybrid(self, query: HybridQuery, limit: int, where: Where | None) -> QueryRequest:
        mine = predicate.published_of(self._ctx.tenant_id, where=where)
        wide = max(limit, _PREFETCH)
        legs = [Prefetch(limit=wide, query=Query.Nearest(query.dense, using=_DENSE), filter=mine)]
        if query.text:
            sparse = Query.Nearest(self._store.sparse_of_query(query.text), using=_BM25)
            # Else other tenants' documents weigh this tenant's terms.
            own = predicate.published_of(self._ctx.tenant_id)
            own_terms = SearchParams(idf=IdfParams(corpus=own))
            legs.append(Prefetch(limit=wide, query=sparse, filter=mine, params=own_terms))
        return QueryRequest(
            limit=limit,
            prefetches=legs,
            query=Fusion.Rrf(k=_RRF_K),  # type: ignore[arg-type]  # the stub leaves its class out
            filter=mine,
            with_payload=True,
        )

    def _point(self, version: DocumentVersion, chunk: EmbeddedChunk) -> Point:
        tenant = self._ctx.tenant_id
        payload = {
            predicate.DOCUMENT: version.document_id,
            predicate.VERSION: version.version,
            predicate.STATE: predicate.STAGED,
            predicate.METADATA: predicate.stored_metadata(version.metadata),
            "title": version.title,
            "ordinal": chunk.chunk.ordinal,
            "text": chunk.chunk.text,
            # Last: nothing that comes before can stand in for it.
            predicate.TENANT: tenant,
        }
        vector = {
            _DENSE: chunk.dense,
            _BM25: self._store.sparse_of_document(chunk.chunk.text),
        }
        return Point(
            id=point_id(tenant, version.document_id, version.version, chunk.chunk.ordinal),
            vector=vector,
            payload=payload,
        )

    def _passage(self, record: Any) -> Passage:
        payload = record.payload
        require_same_tenant(self._ctx, payload[predicate.TENANT], "a search result")
        return Passage(
            tenant_id=TenantId(payload[predicate.TENANT]),
            document_id=payload[predicate.DOCUMENT],
            version=payload[predicate.VERSION],
            ordinal=int(payload["ordinal"]),
            title=payload["title"],
            text=payload["text"],
            score=float(getattr(record, "score", 0.0)),
        )


def _settle(shard: EdgeShard, tenant: TenantId, document_id: str, version: str | None) -> None:
    if version is None:
        mine = predicate.document_of(tenant, document_id)
        shard.update(UpdateOperation.delete_points_by_filter(mine))
        return
    state = {predicate.STATE: predicate.PUBLISHED}
    mine = predicate.version_of(tenant, document_id, version)
    shard.update(UpdateOperation.set_payload_by_filter(mine, state))
    others = predicate.other_versions_of(tenant, document_id, version)
    shard.update(UpdateOperation.delete_points_by_filter(others))


def _load(path: Path) -> EdgeShard:
    try:
        shard = EdgeShard.load(str(path))
    except Exception as error:
        if "WouldBlock" not in str(error):
            raise StoreError(
                "The vector store cannot be opened; restore it or ingest anew."
            ) from None
        raise StoreLockedError(
            "Another process has the vector store open. Use the running gateway, or stop it."
        ) from None
    if predicate.TENANT not in shard.info().payload_schema:
        shard.close()
        raise UnsafeCollectionError(
            "The vector store has no tenant index and would lose recall silently; ingest anew."
        )
    return shard


def _config(dimension: int) -> EdgeConfig:
    hnsw = HnswIndexConfig(m=0, ef_construct=100, full_scan_threshold=10_000, payload_m=16)
    return EdgeConfig(
        vectors={
            _DENSE: EdgeVectorParams(size=dimension, distance=Distance.Cosine, hnsw_config=hnsw)
        },
        sparse_vectors={_BM25: EdgeSparseVectorParams(modifier=Modifier.Idf)},
        hnsw_config=hnsw,
        wal_enabled=True,
    )
