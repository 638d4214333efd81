"""What a store around another one shares with it: everything that it need not look into.

What a wrapper gives or takes has no default here. One that forgets it, or a method that the port
gains, is abstract, and does not type-check where it is made.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Sequence

from isolation.context import OperatorContext
from isolation.tenant_id import TenantId
from rag.documents import DocumentPage, Passage, StoredChunk, Stretch
from rag.filters import Where
from rag.store.port import HybridQuery, TenantCollection, VectorStore


class WrappingStore(VectorStore):
    """`inner`, whose collections a subclass wraps."""

    def __init__(self, inner: VectorStore) -> None:
        self._inner = inner

    @property
    def shares_terms(self) -> bool:
        return self._inner.shares_terms

    async def settle(
        self,
        operator: OperatorContext,
        tenant: TenantId,
        document_id: str,
        version: str | None,
        *,
        versions: Collection[str] | None = None,
    ) -> None:
        await self._inner.settle(operator, tenant, document_id, version, versions=versions)

    async def purge(self, operator: OperatorContext, tenant: TenantId) -> None:
        await self._inner.purge(operator, tenant)

    async def close(self) -> None:
        await self._inner.close()


class WrappingCollection(TenantCollection):
    """Another collection, whose texts go through a subclass: `stage`, and what is found.

    A method added here that returns texts passes them through one of the three below.
    """

    def __init__(self, inner: TenantCollection) -> None:
        self._inner = inner

    async def _reached(self) -> TenantCollection:
        """The collection that is wrapped, at every call."""
        return self._inner

    @abstractmethod
    async def _passages(self, found: list[Passage]) -> list[Passage]:
        """What is shown of passages that the inner one found."""

    @abstractmethod
    async def _chunks(self, found: list[StoredChunk]) -> list[StoredChunk]:
        """What is shown of the inner one's chunks."""

    @abstractmethod
    async def _page(self, page: DocumentPage) -> DocumentPage:
        """What is shown of a page of the inner one's documents."""

    async def publish(
        self, document_id: str, version: str, *, versions: Collection[str] | None = None
    ) -> None:
        await (await self._reached()).publish(document_id, version, versions=versions)

    async def delete(self, document_id: str, *, versions: Collection[str] | None = None) -> None:
        await (await self._reached()).delete(document_id, versions=versions)

    async def search(
        self,
        query: HybridQuery,
        *,
        limit: int,
        where: Where | None = None,
        compare: bool = False,
    ) -> list[Passage]:
        inner = await self._reached()
        found = await inner.search(query, limit=limit, where=where, compare=compare)
        return await self._passages(found)

    async def get(self, document_id: str) -> list[Passage]:
        return await self._passages(await (await self._reached()).get(document_id))

    async def chunks(
        self, document_id: str, version: str, ordinals: range, *, vectors: bool = False
    ) -> list[StoredChunk]:
        inner = await self._reached()
        return await self._chunks(
            await inner.chunks(document_id, version, ordinals, vectors=vectors)
        )

    async def read(self, stretches: Sequence[Stretch]) -> list[Passage]:
        return await self._passages(await (await self._reached()).read(stretches))

    async def count(self) -> int:
        return await (await self._reached()).count()

    async def list(self, *, limit: int = 100, after: str | None = None) -> DocumentPage:
        return await self._page(await (await self._reached()).list(limit=limit, after=after))
