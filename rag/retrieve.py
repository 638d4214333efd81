"""A question in, the tenant's passages out."""

from __future__ import annotations

from isolation.context import TenantContext
from isolation.errors import InvalidRequestError
from rag.documents import Passage
from rag.embedding.port import Embedder
from rag.filters import Where
from rag.store.port import HybridQuery, TenantCollection, VectorStore


class Retriever:
    """Search over all tenants' knowledge. Bind it first."""

    def __init__(self, store: VectorStore, embedder: Embedder) -> None:
        self._store = store
        self._embedder = embedder

    def of(self, ctx: TenantContext) -> TenantRetriever:
        """The search as this tenant sees it."""
        return TenantRetriever(self._store.of(ctx), self._embedder)


class TenantRetriever:
    """Search over one tenant's knowledge."""

    def __init__(self, collection: TenantCollection, embedder: Embedder) -> None:
        self._collection = collection
        self._embedder = embedder

    async def search(self, text: str, *, limit: int, where: Where | None = None) -> list[Passage]:
        """The best passages for a question, best first, each text once.

        where: of the documents whose metadata it holds for.

        Raises:
            InvalidRequestError: the question is blank.
        """
        if not text.strip():
            raise InvalidRequestError("The question is empty.", param="query")
        (dense,) = await self._embedder.embed([text])
        found = await self._collection.search(HybridQuery(text, dense), limit=limit, where=where)
        return list({passage.text: passage for passage in reversed(found)}.values())[::-1]
