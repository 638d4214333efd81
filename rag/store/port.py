"""The vector store's port. The shared thing has no data methods; only the bound thing has.

`VectorStore.of(ctx)` gives a `TenantCollection`, and nothing else searches, writes or deletes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from isolation.context import OperatorContext, TenantContext
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


@dataclass(frozen=True, slots=True)
class HybridQuery:
    """One question, both ways: `text` for BM25 (empty: dense only), `dense` of unit length (empty:
    BM25 only).
    """

    text: str
    dense: list[float]


class TenantCollection(ABC):
    """One tenant's points. Every read shows *published* versions only, and of these the documents
    that the credential's groups may see.

    Writing has three steps so that a kill between any two leaves exactly one version: `stage` the
    new one (invisible), commit it in the catalogue (the acknowledgement), `publish` it (visible,
    and the older versions gone, with no search in between).
    """

    async def upsert(self, version: DocumentVersion, chunks: Sequence[EmbeddedChunk]) -> None:
        """Make `version` the document's only one: `stage`, then `publish`, without a catalogue."""
        await self.stage(version, chunks)
        await self.publish(version.document_id, version.version)

    @abstractmethod
    async def stage(self, version: DocumentVersion, chunks: Sequence[EmbeddedChunk]) -> None:
        """Write a version that no search shows yet, or a part of it. Repeating it is harmless.

        Raises:
            CrossTenantError: a point of the same id is another tenant's; it is left as it is.
        """

    @abstractmethod
    async def publish(
        self, document_id: str, version: str, *, versions: Collection[str] | None = None
    ) -> None:
        """Show `version` and delete every other version of the document, as one step.

        versions: of these only. A writer that names what it replaces deletes nothing that came
        after it, however late it is.
        """

    @abstractmethod
    async def delete(self, document_id: str, *, versions: Collection[str] | None = None) -> None:
        """Delete every version of the document, staged ones too. Unknown ids are no error.

        versions: these only.
        """

    @abstractmethod
    async def search(
        self,
        query: HybridQuery,
        *,
        limit: int,
        where: Where | None = None,
        compare: bool = False,
    ) -> list[Passage]:
        """The tenant's best passages, best first: BM25 and dense, fused (`rag/store/fusion.py`).

        where: of the documents whose metadata it holds for. compare: with `similarity`, else 0.

        Raises:
            CrossTenantError: the engine returned a point that is not this tenant's.
        """

    @abstractmethod
    async def get(self, document_id: str) -> list[Passage]:
        """The published chunks of one document in order, score 0; empty if there is none."""

    @abstractmethod
    async def chunks(
        self, document_id: str, version: str, ordinals: range, *, vectors: bool = False
    ) -> list[StoredChunk]:
        """Chunks of a published version as they were staged, in order: for what goes through whole
        documents. Ordinals that are not there are left out.
        """

    @abstractmethod
    async def read(self, stretches: Sequence[Stretch]) -> list[Passage]:
        """The published chunks of these stretches that the credential may see, score 0, in no
        order. What is not there (another tenant's, another version) is left out.
        """

    @abstractmethod
    async def count(self) -> int:
        """How many published chunks the tenant has."""

    @abstractmethod
    async def list(self, *, limit: int = 100, after: str | None = None) -> DocumentPage:
        """Some of the published documents, each once, in no order that means anything.

        after: what the page before gave, to go on from there.

        Raises:
            InvalidRequestError: `after` is not what a page gave.
        """


class VectorStore(ABC):
    """All tenants' points together. It has no data methods: bind it first."""

    @abstractmethod
    def of(self, ctx: TenantContext) -> TenantCollection:
        """The tenant's own collection."""

    @property
    @abstractmethod
    def shares_terms(self) -> bool:
        """Whether a word is one dimension for all tenants: so it was written, and is until its
        vectors are copied into a new generation."""

    @abstractmethod
    async def settle(
        self,
        operator: OperatorContext,
        tenant: TenantId,
        document_id: str,
        version: str | None,
        *,
        versions: Collection[str] | None = None,
    ) -> None:
        """Finish an interrupted write at open: publish `version`, or delete all when None.

        The committed version is published and every other one deleted, of `versions` where they
        are given; it is the operator's because no tenant is there to ask for it.
        """

    @abstractmethod
    async def purge(self, operator: OperatorContext, tenant: TenantId) -> None:
        """Delete every point of a tenant, and look again.

        Raises:
            StoreError: a point is still found; the deletion is not done.
        """

    @abstractmethod
    async def close(self) -> None:
        """Flush and release the shard. Further calls fail."""
