"""One tenant's points on a Qdrant server."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from typing import cast
from uuid import UUID

from qdrant_client import models

from isolation.context import TenantContext
from isolation.errors import CrossTenantError
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
from rag.store.conditions import Every, PointAmong
from rag.store.fusion import cosine
from rag.store.payload import LISTED, READ, document_of, passage_of, payload_of, stored_chunk_of
from rag.store.point_ids import cursor, point_id
from rag.store.port import HybridQuery, TenantCollection
from rag.store.schema import BM25, DENSE, check_vector
from rag.store.server.hybrid import HybridRequest
from rag.store.server.layout import MOST_POINTS
from rag.store.server.rendering import rendered
from rag.store.server.shared import SharedCollection
from rag.store.terms import Terms

# Small enough that a batch is written well within a call's time.
_BATCH = 64
_PAGE = 256


class ServerTenantCollection(TenantCollection):
    """One tenant's points."""

    def __init__(self, shared: SharedCollection, ctx: TenantContext) -> None:
        self._shared = shared
        self._ctx = ctx
        self._client = shared.connection.client
        self._route = shared.routing.of(ctx.tenant_id)

    async def stage(self, version: DocumentVersion, chunks: Sequence[EmbeddedChunk]) -> None:
        for chunk in chunks:
            check_vector(chunk.dense, self._shared.dimension)
        for begin in range(0, len(chunks), _BATCH):
            points = []
            for one in chunks[begin : begin + _BATCH]:
                points.append(self._point(version, one))
                await asyncio.sleep(0)
            await self._upsert(points)

    async def _upsert(self, points: list[models.PointStruct]) -> None:
        # The second line behind ids that no other tenant can name: nobody else's point is changed.
        mine = predicate.everything_of(self._ctx.tenant_id)
        condition = rendered(mine)
        await self._shared.connection.write(
            lambda: self._client.upsert(
                self._shared.name,
                points,
                wait=True,
                update_filter=condition,
                shard_key_selector=self._route,
            )
        )
        # A conditional upsert skips a foreign point silently: it is counted whether it did.
        written = PointAmong(tuple(UUID(str(point.id)) for point in points))
        there = Every((*mine.parts, written))
        if await self._shared.count(there, self._ctx.tenant_id) < len(points):
            await self._require_no_foreign(written)

    async def _require_no_foreign(self, written: PointAmong) -> None:
        """The one question without the tenant's predicate; its answer is a number. What is nobody's
        was deleted meanwhile."""
        foreign = predicate.anybody_elses(self._ctx.tenant_id, written)
        if await self._shared.count(foreign, self._ctx.tenant_id):
            raise CrossTenantError("a write to the vector store")

    async def publish(
        self, document_id: str, version: str, *, versions: Collection[str] | None = None
    ) -> None:
        await self._shared.settle(self._ctx.tenant_id, document_id, version, versions)

    async def delete(self, document_id: str, *, versions: Collection[str] | None = None) -> None:
        await self._shared.settle(self._ctx.tenant_id, document_id, None, versions)

    async def search(
        self,
        query: HybridQuery,
        *,
        limit: int,
        where: Where | None = None,
        compare: bool = False,
    ) -> list[Passage]:
        compared = query.dense if compare else []
        request = self._hybrid(query, limit, where)
        if request.empty:
            return []
        answer = await self._shared.connection.read(
            lambda: self._client.query_points(
                self._shared.name,
                prefetch=request.legs,
                query=request.query,
                query_filter=request.mine,
                limit=request.limit,
                with_payload=READ,
                with_vectors=[DENSE] if compared else False,
                shard_key_selector=self._route,
            )
        )
        return [
            passage_of(
                self._ctx, hit.payload or {}, hit.score, cosine(compared, _dense(hit.vector))
            )
            for hit in answer.points
        ]

    def _hybrid(self, query: HybridQuery, limit: int, where: Where | None) -> HybridRequest:
        mine = rendered(predicate.visible_to(self._ctx, where=where))
        own = rendered(predicate.weighing_for(self._ctx))
        request = HybridRequest(mine, own, min(limit, MOST_POINTS))
        if query.dense:
            check_vector(query.dense, self._shared.dimension)
            request.nearest(query.dense)
        if query.text:
            terms = self._shared.terms.of_query(self._ctx.tenant_id, query.text)
            if terms.indices:
                request.best(_sparse(terms))
        return request

    async def read(self, stretches: Sequence[Stretch]) -> list[Passage]:
        tenant = self._ctx.tenant_id
        ids = [
            point_id(tenant, stretch.document_id, stretch.version, ordinal)
            for stretch in stretches
            for ordinal in range(stretch.first, stretch.last + 1)
        ]
        if not ids:
            return []
        mine = predicate.chunks_of(self._ctx, ids)
        records, _ = await self._shared.scroll(mine, tenant, READ, len(ids))
        return [passage_of(self._ctx, record.payload or {}) for record in records]

    async def get(self, document_id: str) -> list[Passage]:
        mine, tenant = predicate.visible_to(self._ctx, document_id), self._ctx.tenant_id
        passages: list[Passage] = []
        rest: models.ExtendedPointId | None = None
        while True:
            records, rest = await self._shared.scroll(mine, tenant, READ, _PAGE, rest)
            passages += [passage_of(self._ctx, one.payload or {}) for one in records]
            if rest is None:
                return sorted(passages, key=lambda passage: passage.ordinal)

    async def chunks(
        self, document_id: str, version: str, ordinals: range, *, vectors: bool = False
    ) -> list[StoredChunk]:
        chunks: list[StoredChunk] = []
        tenant = self._ctx.tenant_id
        for begin in range(0, len(ordinals), _PAGE):
            page = ordinals[begin : begin + _PAGE]
            ids = [point_id(tenant, document_id, version, ordinal) for ordinal in page]
            mine = predicate.chunks_of(self._ctx, ids)
            records, _ = await self._shared.scroll(mine, tenant, True, len(ids), vectors=vectors)
            chunks += [
                stored_chunk_of(self._ctx, one.payload or {}, _dense(one.vector)) for one in records
            ]
        return sorted(chunks, key=lambda stored: stored.chunk.ordinal)

    async def count(self) -> int:
        return await self._shared.count(predicate.visible_to(self._ctx), self._ctx.tenant_id)

    async def list(self, *, limit: int = 100, after: str | None = None) -> DocumentPage:
        begin = cursor(after)
        records, rest = await self._shared.scroll(
            predicate.documents_of(self._ctx),
            self._ctx.tenant_id,
            LISTED,
            min(limit, MOST_POINTS),
            None if begin is None else str(begin),
        )
        documents = [document_of(self._ctx, record.payload or {}) for record in records]
        return DocumentPage(documents, None if rest is None else str(rest))

    def _point(self, version: DocumentVersion, chunk: EmbeddedChunk) -> models.PointStruct:
        tenant, ordinal = self._ctx.tenant_id, chunk.chunk.ordinal
        sparse = _sparse(self._shared.terms.of_document(tenant, chunk.chunk.text))
        return models.PointStruct(
            id=str(point_id(tenant, version.document_id, version.version, ordinal)),
            vector={DENSE: chunk.dense, BM25: sparse},
            payload=payload_of(self._ctx, version, chunk.chunk),
        )


def _dense(vector: models.VectorStructOutput | None) -> list[float] | None:
    dense = vector.get(DENSE) if isinstance(vector, dict) else None
    return cast(list[float], dense) if isinstance(dense, list) else None


def _sparse(terms: Terms) -> models.SparseVector:
    return models.SparseVector(indices=terms.indices, values=terms.values)
