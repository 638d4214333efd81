"""One tenant's points in a Qdrant Edge shard."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from typing import Any, Protocol, TypeVar

from qdrant_edge import (
    CountRequest,
    EdgeShard,
    Filter,
    Point,
    ScrollRequest,
    SparseVector,
    UpdateOperation,
)

from isolation.context import TenantContext
from isolation.errors import CrossTenantError
from isolation.tenant_id import TenantId
from rag.documents import (
    DocumentPage,
    DocumentVersion,
    EmbeddedChunk,
    Passage,
    StoredChunk,
    Stretch,
)
from rag.filters import Where
from rag.store import predicate
from rag.store.conditions import Every
from rag.store.edge.hidden import Hidden
from rag.store.edge.hybrid import HybridRequest
from rag.store.edge.rendering import rendered
from rag.store.edge.settling import remove, show
from rag.store.fusion import cosine
from rag.store.payload import (
    LISTED,
    READ,
    document_of,
    passage_of,
    payload_of,
    stored_chunk_of,
)
from rag.store.point_ids import cursor, point_id
from rag.store.port import HybridQuery, TenantCollection
from rag.store.schema import BM25, DENSE

T = TypeVar("T")
# One call holds the GIL to its end: a large document is written in pieces, and others run between.
# Of these, a piece takes some 3 ms, and a request that comes in between needs several such turns.
_BATCH = 4


class SharedShard(Protocol):
    """What the bound collection needs of the store that all tenants share."""

    @property
    def hidden(self) -> Hidden:
        """What reads pass over."""

    def run(self, job: Callable[[EdgeShard], T]) -> T:
        """Run `job` on the shard, alone."""

    def sparse_of_document(self, tenant: TenantId, text: str) -> SparseVector:
        """BM25 weights of a passage's terms."""

    def sparse_of_query(self, tenant: TenantId, text: str) -> SparseVector:
        """BM25 weights of a query's terms."""

    def check_vector(self, dense: Sequence[float]) -> None:
        """Raises StoreError on one that is not finite, or not of the right size."""


class EdgeTenantCollection(TenantCollection):
    """One tenant's points in the shard."""

    def __init__(self, store: SharedShard, ctx: TenantContext) -> None:
        self._store = store
        self._ctx = ctx

    async def stage(self, version: DocumentVersion, chunks: Sequence[EmbeddedChunk]) -> None:
        for chunk in chunks:
            self._store.check_vector(chunk.dense)
        for begin in range(0, len(chunks), _BATCH):
            self._upsert([self._point(version, chunk) for chunk in chunks[begin : begin + _BATCH]])
            await asyncio.sleep(0)

    def _upsert(self, points: list[Point]) -> None:
        # The second line behind ids that no other tenant can name: nobody else's point is changed.
        mine = rendered(predicate.everything_of(self._ctx.tenant_id))
        operation = UpdateOperation.upsert_points(points, mine)
        ids = [point.id for point in points]
        self._store.run(lambda shard: self._written(shard, operation))
        # A conditional upsert skips a foreign point silently: it is looked up whether it did. One's
        # own that is not there any more was deleted meanwhile.
        there = self._store.run(lambda shard: shard.retrieve(ids, [predicate.TENANT], False))
        owners = {(record.payload or {})[predicate.TENANT] for record in there}
        if owners - {self._ctx.tenant_id}:
            raise CrossTenantError("a write to the vector store")

    def _written(self, shard: EdgeShard, points: UpdateOperation) -> None:
        self._store.hidden.stage(self._ctx.tenant_id)
        shard.update(points)

    async def publish(
        self, document_id: str, version: str, *, versions: Collection[str] | None = None
    ) -> None:
        await show(self._store, self._ctx.tenant_id, document_id, version, versions)

    async def delete(self, document_id: str, *, versions: Collection[str] | None = None) -> None:
        await remove(self._store, self._ctx.tenant_id, document_id, versions)

    async def search(
        self,
        query: HybridQuery,
        *,
        limit: int,
        where: Where | None = None,
        compare: bool = False,
    ) -> list[Passage]:
        compared = query.dense if compare else []

        def ask(shard: EdgeShard) -> Sequence[Any]:
            request = self._hybrid(query, limit, where).built(with_vectors=bool(compared))
            return [] if request is None else shard.query(request)

        hits = self._store.run(ask)
        if not compared:
            return [passage_of(self._ctx, hit.payload or {}, hit.score) for hit in hits]
        return [
            passage_of(
                self._ctx, hit.payload or {}, hit.score, cosine(compared, _dense(hit.vector))
            )
            for hit in hits
        ]

    async def read(self, stretches: Sequence[Stretch]) -> list[Passage]:
        tenant = self._ctx.tenant_id
        ids = [
            point_id(tenant, stretch.document_id, stretch.version, ordinal)
            for stretch in stretches
            for ordinal in range(stretch.first, stretch.last + 1)
        ]
        if not ids:
            return []
        # By id: a range of ordinals would be looked for in all of the tenant's payloads.
        mine = predicate.chunks_of(self._ctx, ids)
        records, _ = self._scrolled(mine, limit=len(ids), with_payload=READ)
        return [passage_of(self._ctx, record.payload or {}) for record in records]

    async def get(self, document_id: str) -> list[Passage]:
        mine = predicate.visible_to(self._ctx, document_id)
        records, _ = self._scrolled(mine, limit=1_000_000, with_payload=True)
        passages = [passage_of(self._ctx, record.payload or {}) for record in records]
        return sorted(passages, key=lambda passage: passage.ordinal)

    async def chunks(
        self, document_id: str, version: str, ordinals: range, *, vectors: bool = False
    ) -> list[StoredChunk]:
        tenant = self._ctx.tenant_id
        ids = [point_id(tenant, document_id, version, ordinal) for ordinal in ordinals]
        if not ids:
            return []
        # A document's chunks are asked for one stretch after the other: others run in between.
        await asyncio.sleep(0)
        records, _ = self._scrolled(
            predicate.chunks_of(self._ctx, ids),
            limit=len(ids),
            with_payload=True,
            with_vector=[DENSE] if vectors else False,
        )
        chunks = [
            stored_chunk_of(self._ctx, record.payload or {}, _dense(record.vector))
            for record in records
        ]
        return sorted(chunks, key=lambda stored: stored.chunk.ordinal)

    async def count(self) -> int:
        mine = predicate.visible_to(self._ctx)
        return self._store.run(
            lambda shard: shard.count(CountRequest(exact=True, filter=self._seen(mine)))
        )

    async def list(self, *, limit: int = 100, after: str | None = None) -> DocumentPage:
        mine = predicate.documents_of(self._ctx)
        records, rest = self._scrolled(mine, offset=cursor(after), limit=limit, with_payload=LISTED)
        documents = [document_of(self._ctx, record.payload or {}) for record in records]
        return DocumentPage(documents, None if rest is None else str(rest))

    def _scrolled(self, condition: Every, **request: Any) -> tuple[Sequence[Any], Any]:
        return self._store.run(
            lambda shard: shard.scroll(ScrollRequest(filter=self._seen(condition), **request))
        )

    def _seen(self, condition: Every) -> Filter:
        """What a read asks for, in the job that asks: a job in between could stage something."""
        return rendered(self._store.hidden.seen(self._ctx.tenant_id, condition))

    def _hybrid(self, query: HybridQuery, limit: int, where: Where | None) -> HybridRequest:
        visible = predicate.visible_to(self._ctx, where=where)
        seen = self._store.hidden.seen(self._ctx.tenant_id, visible)
        weighed = predicate.weighing_for(self._ctx)
        mine = rendered(seen)
        own = mine if weighed == seen else rendered(weighed)
        request = HybridRequest(mine, own, limit)
        if query.dense:
            self._store.check_vector(query.dense)
            request.nearest(query.dense)
        tenant = self._ctx.tenant_id
        terms = self._store.sparse_of_query(tenant, query.text) if query.text else None
        if terms is not None and terms.indices:
            request.best(terms)
        return request

    def _point(self, version: DocumentVersion, chunk: EmbeddedChunk) -> Point:
        tenant, ordinal = self._ctx.tenant_id, chunk.chunk.ordinal
        sparse = self._store.sparse_of_document(tenant, chunk.chunk.text)
        return Point(
            id=point_id(tenant, version.document_id, version.version, ordinal),
            vector={DENSE: chunk.dense, BM25: sparse},
            payload=payload_of(self._ctx, version, chunk.chunk),
        )


def _dense(vector: Any) -> list[float] | None:
    return vector[DENSE] if vector else None
