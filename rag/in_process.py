"""A knowledge base inside the application's own process, without a gateway.

`SharedKnowledge.of(ctx)` gives what the LlamaIndex adapters take; nothing else reaches its data.
"""

from __future__ import annotations

from collections.abc import Sequence

from isolation.context import TenantContext
from rag.background import LoopThread, both_ways
from rag.catalog import CatalogEntry
from rag.documents import Document, Passage
from rag.filters import Metadata, Where
from rag.ingest import Ingestor, IngestOutcome, TenantIngestor
from rag.live import LiveRetriever, LiveTenantRetriever
from rag.retrieval.follow_up import Question


class SharedKnowledge:
    """All tenants' documents. Bind it first."""

    def __init__(self, ingestor: Ingestor, retriever: LiveRetriever, loop: LoopThread) -> None:
        self._ingestor = ingestor
        self._retriever = retriever
        self._loop = loop

    def of(self, ctx: TenantContext) -> TenantKnowledge:
        """The tenant's own."""
        return TenantKnowledge(self._ingestor.of(ctx), self._retriever.of(ctx), self._loop)


class TenantKnowledge:
    """One tenant's documents, with the interface of `rag.sdk.TenantClient`.

    Thread-safe; every method has an async twin `a...`.
    """

    def __init__(
        self, ingestor: TenantIngestor, retriever: LiveTenantRetriever, loop: LoopThread
    ) -> None:
        self._ingestor = ingestor
        self._retriever = retriever
        self._loop = loop

    async def _search(
        self, query: str, *, limit: int = 5, where: Where | None = None
    ) -> list[Passage]:
        """The best passages for a question, best first.

        Raises:
            InvalidRequestError: the question is blank.
        """
        return await self._retriever.search(Question(query), limit=limit, where=where)

    async def _put(
        self,
        document_id: str,
        text: str,
        *,
        title: str = "",
        metadata: Metadata | None = None,
        groups: Sequence[str] = (),
    ) -> IngestOutcome:
        """Make `text` the one version of the document. When this returns, it is kept.

        Raises:
            InvalidDocumentError, InvalidFilterError, InvalidGroupError: it is not acceptable.
            RestrictedKeyError: the credential is restricted to groups.
        """
        title, seen_by = title or document_id, frozenset(groups)
        document = Document(document_id, title, text, metadata or {}, seen_by)
        return await self._ingestor.ingest(document)

    async def _documents(self) -> list[CatalogEntry]:
        """All documents, by id."""
        return await self._ingestor.list()

    async def _delete(self, document_id: str) -> None:
        """Delete one document.

        Raises:
            DocumentNotFoundError: there is none of this id.
            RestrictedKeyError: the credential is restricted to groups.
        """
        await self._ingestor.delete(document_id)

    search, asearch = both_ways(_search)
    put, aput = both_ways(_put)
    documents, adocuments = both_ways(_documents)
    delete, adelete = both_ways(_delete)
