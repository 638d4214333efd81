"""Qdrant Edge: the server's engine in this process. One shard of all tenants."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

from qdrant_edge import Bm25, CountRequest, EdgeShard

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

T = TypeVar("T")


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
        self.hidden = Hidden()

    @classmethod
    def open(cls, path: Path, dimension: int) -> EdgeVectorStore:
        """Open the shard in `path`, or make it there.

        Raises:
            StoreLockedError: another process has it open.
            UnsafeCollectionError: its settings would leak, lose recall or lose writes.
        """
        return cls(open_shard(path, dimension), dimension)

    def of(self, ctx: TenantContext) -> TenantCollection:
        return EdgeTenantCollection(self, require_tenant(ctx, "the vector store"))

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

    def sparse_of_document(self, text: str) -> Any:
        """BM25 term weights of a passage."""
        return self._bm25.embed_document(text)

    def sparse_of_query(self, text: str) -> Any:
        """BM25 term weights of a query."""
        return self._bm25.embed_query(text)

    def check_vector(self, dense: Sequence[float]) -> None:
        """Raises StoreError on one that is not finite, or not of the right size."""
        check_vector(dense, self._dimension)

    async def close(self) -> None:
        self.run(lambda shard: shard.close())
