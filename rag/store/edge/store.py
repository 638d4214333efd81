"""Qdrant Edge: the server's engine in this process. One shard of all tenants."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from threading import Lock
from typing import TypeVar

from qdrant_edge import CountRequest, EdgeShard, FacetRequest, SparseVector

from isolation.context import OperatorContext, TenantContext, require_operator, require_tenant
from isolation.tenant_id import TenantId
from rag.errors import StoreError
from rag.store import predicate
from rag.store.edge.collection import EdgeTenantCollection
from rag.store.edge.hidden import Hidden
from rag.store.edge.layout import open_shard
from rag.store.edge.rendering import rendered
from rag.store.edge.settling import remove, remove_all, show
from rag.store.port import TenantCollection, VectorStore
from rag.store.schema import check_vector
from rag.store.terms import TermCounter, TermSpace

T = TypeVar("T")


class EdgeVectorStore(VectorStore):
    """One shard in one folder, owned by one process; its calls never overlap.

    Each call holds the GIL to its end (docs/decisions/0007), so that a thread of its own would
    stop the event loop as long, and cost a hop more. What runs as one job happens with no search
    in between.
    """

    def __init__(self, shard: EdgeShard, dimension: int, terms: TermSpace = TermSpace.own) -> None:
        self._shard = shard
        self._dimension = dimension
        self._lock = Lock()
        self._terms = TermCounter(terms)
        self.hidden = Hidden(_staging(shard))

    @classmethod
    def open(cls, path: Path, dimension: int, terms: TermSpace = TermSpace.own) -> EdgeVectorStore:
        """Open the shard in `path`, whose points' terms are in `terms`, or make it there.

        Raises:
            StoreLockedError: another process has it open.
            UnsafeCollectionError: its settings would leak, lose recall or lose writes.
        """
        return cls(open_shard(path, dimension), dimension, terms)

    def of(self, ctx: TenantContext) -> TenantCollection:
        return EdgeTenantCollection(self, require_tenant(ctx, "the vector store"))

    @property
    def shares_terms(self) -> bool:
        return self._terms.space is TermSpace.shared

    async def settle(
        self,
        operator: OperatorContext,
        tenant: TenantId,
        document_id: str,
        version: str | None,
        *,
        versions: Collection[str] | None = None,
    ) -> None:
        require_operator(operator, "settling the vector store")
        if version is None:
            await remove(self, tenant, document_id, versions)
        else:
            await show(self, tenant, document_id, version, versions)

    async def purge(self, operator: OperatorContext, tenant: TenantId) -> None:
        require_operator(operator, "purging the vector store")
        await remove_all(self, tenant)
        everything = rendered(predicate.everything_of(tenant))
        left = self.run(lambda shard: shard.count(CountRequest(exact=True, filter=everything)))
        if left:
            raise StoreError("Points of the tenant are still there; delete it again.")
        self.hidden.none_staged(tenant)

    def run(self, job: Callable[[EdgeShard], T]) -> T:
        """Run `job` on the shard; jobs never overlap, whatever thread or event loop they are of."""
        with self._lock:
            return job(self._shard)

    async def optimize(self, operator: OperatorContext) -> int:
        """Build the indexes of what was written; how many points there are.

        Minutes, in which the process stands still: for one that serves nobody
        (`bulkhead optimize`).
        """
        require_operator(operator, "optimizing the vector store")
        self.run(lambda shard: shard.optimize())
        return self.points()

    def points(self) -> int:
        """How many there are, of all tenants."""
        return self.run(lambda shard: shard.info().points_count)

    def sparse_of_document(self, tenant: TenantId, text: str) -> SparseVector:
        """BM25 weights of a passage's terms."""
        terms = self._terms.of_document(tenant, text)
        return SparseVector(terms.indices, terms.values)

    def sparse_of_query(self, tenant: TenantId, text: str) -> SparseVector:
        """BM25 weights of a query's terms."""
        terms = self._terms.of_query(tenant, text)
        return SparseVector(terms.indices, terms.values)

    def check_vector(self, dense: Sequence[float]) -> None:
        """Raises StoreError on one that is not finite, or not of the right size."""
        check_vector(dense, self._dimension)

    async def close(self) -> None:
        self.run(lambda shard: shard.close())


def _staging(shard: EdgeShard) -> list[TenantId]:
    """Whose points are staged: writes that a kill interrupted."""
    whose = rendered(predicate.anybodys_staged())
    everybody = shard.info().points_count
    request = FacetRequest(predicate.TENANT, limit=everybody, exact=True, filter=whose)
    return [TenantId(str(hit.value)) for hit in shard.facet(request).hits]
