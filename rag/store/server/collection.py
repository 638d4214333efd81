"""One tenant's points on a Qdrant server."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from qdrant_client import models
from qdrant_edge import Bm25

from isolation.context import TenantContext
from isolation.errors import CrossTenantError
from isolation.tenant_id import TenantId
from rag.documents import DocumentPage, DocumentVersion, EmbeddedChunk, Passage
from rag.filters import Where
from rag.store import predicate
from rag.store.conditions import Every
from rag.store.payload import LISTED, READ, document_of, passage_of, payload_of
from rag.store.point_ids import cursor, point_id
from rag.store.port import HybridQuery, TenantCollection
from rag.store.schema import BM25, DENSE, PREFETCH, RRF_K, check_vector
from rag.store.server.connection import Connection
from rag.store.server.layout import MOST_POINTS
from rag.store.server.placement import Routing
from rag.store.server.rendering import rendered

# Small enough that a batch is written well within a call's time.
_BATCH = 64
_PAGE = 256


@dataclass(frozen=True, slots=True)
class SharedCollection:
    """What all tenants share: the collection called `name` behind `connection`."""

    connection: Connection
    name: str
    dimension: int
    routing: Routing
    bm25: Bm25

    async def count(self, mine: models.Filter, tenant: TenantId, *more: models.Condition) -> int:
        """How many of the tenant's points fulfil `mine`, and `more` beside it."""
        asked = models.Filter(must=[mine, *more]) if more else mine
        route = self.routing.of(tenant)
        client = self.connection.client
        answer = await self.connection.read(
            lambda: client.count(self.name, asked, exact=True, shard_key_selector=route)
        )
        return answer.count

    async def settle(self, tenant: TenantId, document_id: str, version: str | None) -> None:
        """Show one version of a document and delete the others; None deletes all.

        One batch: the server does its operations in their order. A reader between the two sees
        both versions whole, and never none.
        """
        route = self.routing.of(tenant)
        operations: list[models.UpdateOperation]
        if version is None:
            operations = [_deletion(predicate.document_of(tenant, document_id), route)]
        else:
            shown = models.SetPayload(
                payload={predicate.STATE: predicate.PUBLISHED},
                filter=rendered(predicate.version_of(tenant, document_id, version)),
                shard_key=route,
            )
            others = predicate.other_versions_of(tenant, document_id, version)
            operations = [models.SetPayloadOperation(set_payload=shown), _deletion(others, route)]
        client = self.connection.client
        await self.connection.write(
            lambda: client.batch_update_points(self.name, operations, wait=True)
        )


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
            await self._upsert(
                [self._point(version, one) for one in chunks[begin : begin + _BATCH]]
            )

    async def _upsert(self, points: list[models.PointStruct]) -> None:
        # The second line behind ids that no other tenant can name: nobody else's point is changed.
        mine = rendered(predicate.everything_of(self._ctx.tenant_id))
        await self._shared.connection.write(
            lambda: self._client.upsert(
                self._shared.name,
                points,
                wait=True,
                update_filter=mine,
                shard_key_selector=self._route,
            )
        )
        # A conditional upsert skips a foreign point silently: it is counted whether it did.
        written = models.HasIdCondition(has_id=[point.id for point in points])
        if await self._shared.count(mine, self._ctx.tenant_id, written) < len(points):
            raise CrossTenantError("a write to the vector store")

    async def publish(self, document_id: str, version: str) -> None:
        await self._shared.settle(self._ctx.tenant_id, document_id, version)

    async def delete(self, document_id: str) -> None:
        await self._shared.settle(self._ctx.tenant_id, document_id, None)

    async def search(
        self, query: HybridQuery, *, limit: int, where: Where | None = None
    ) -> list[Passage]:
        check_vector(query.dense, self._shared.dimension)
        if limit < 1:
            return []
        mine = rendered(predicate.visible_to(self._ctx, where=where))
        most = min(limit, MOST_POINTS)
        legs = self._legs(query, max(most, PREFETCH), mine, where)
        answer = await self._shared.connection.read(
            lambda: self._client.query_points(
                self._shared.name,
                prefetch=legs,
                query=models.RrfQuery(rrf=models.Rrf(k=RRF_K)),
                query_filter=mine,
                limit=most,
                with_payload=READ,
                shard_key_selector=self._route,
            )
        )
        return [passage_of(self._ctx, hit.payload or {}, hit.score) for hit in answer.points]

    def _legs(
        self, query: HybridQuery, wide: int, mine: models.Filter, where: Where | None
    ) -> list[models.Prefetch]:
        legs = [models.Prefetch(query=query.dense, using=DENSE, filter=mine, limit=wide)]
        if query.text:
            # Else other tenants' documents, or those of other groups, weigh this one's terms.
            own = mine if where is None else rendered(predicate.visible_to(self._ctx))
            legs.append(
                models.Prefetch(
                    query=_sparse(self._shared.bm25.embed_query(query.text)),
                    using=BM25,
                    filter=mine,
                    limit=wide,
                    params=models.SearchParams(idf=models.IdfCorpusParams(corpus=own)),
                )
            )
        return legs

    async def get(self, document_id: str) -> list[Passage]:
        mine = predicate.visible_to(self._ctx, document_id)
        passages: list[Passage] = []
        rest: models.ExtendedPointId | None = None
        while True:
            records, rest = await self._scroll(mine, READ, _PAGE, rest)
            passages += [passage_of(self._ctx, one.payload or {}, 0.0) for one in records]
            if rest is None:
                return sorted(passages, key=lambda passage: passage.ordinal)

    async def count(self) -> int:
        mine = rendered(predicate.visible_to(self._ctx))
        return await self._shared.count(mine, self._ctx.tenant_id)

    async def list(self, *, limit: int = 100, after: str | None = None) -> DocumentPage:
        begin = cursor(after)
        records, rest = await self._scroll(
            predicate.documents_of(self._ctx),
            LISTED,
            min(limit, MOST_POINTS),
            None if begin is None else str(begin),
        )
        documents = [document_of(self._ctx, record.payload or {}) for record in records]
        return DocumentPage(documents, None if rest is None else str(rest))

    async def _scroll(
        self,
        mine: Every,
        fields: Sequence[str],
        limit: int,
        begin: models.ExtendedPointId | None,
    ) -> tuple[Sequence[models.Record], models.ExtendedPointId | None]:
        asked = rendered(mine)
        return await self._shared.connection.read(
            lambda: self._client.scroll(
                self._shared.name,
                scroll_filter=asked,
                limit=limit,
                offset=begin,
                with_payload=[*fields],
                shard_key_selector=self._route,
            )
        )

    def _point(self, version: DocumentVersion, chunk: EmbeddedChunk) -> models.PointStruct:
        tenant, ordinal = self._ctx.tenant_id, chunk.chunk.ordinal
        sparse = _sparse(self._shared.bm25.embed_document(chunk.chunk.text))
        return models.PointStruct(
            id=str(point_id(tenant, version.document_id, version.version, ordinal)),
            vector={DENSE: chunk.dense, BM25: sparse},
            payload=payload_of(self._ctx, version, chunk.chunk),
        )


def _sparse(vector: object) -> models.SparseVector:
    """Term weights as the client sends them: counted here, by the tokenizer that Edge has too."""
    indices, values = getattr(vector, "indices"), getattr(vector, "values")  # noqa: B009
    return models.SparseVector(indices=indices, values=values)


def _deletion(mine: Every, route: models.ShardKeyWithFallback | None) -> models.DeleteOperation:
    return models.DeleteOperation(
        delete=models.FilterSelector(filter=rendered(mine), shard_key=route)
    )
