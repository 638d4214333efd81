"""What the LlamaIndex adapters need: a knowledge base that is bound to one tenant already.

`rag.sdk.TenantClient` is one over HTTP, `rag.in_process.TenantKnowledge` one in this process. The
adapters pass no tenant on, because there is none to pass: LlamaIndex's filters, node ids and
metadata reach nothing but the bound tenant's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from rag.filters import Metadata, Where


class Found(Protocol):
    """A passage."""

    @property
    def document_id(self) -> str: ...

    @property
    def title(self) -> str: ...

    @property
    def text(self) -> str: ...

    @property
    def score(self) -> float: ...


class BoundSearch(Protocol):
    """Search in one tenant's documents."""

    def search(self, query: str, *, limit: int, where: Where | None) -> Sequence[Found]:
        """The best passages, best first."""

    async def asearch(self, query: str, *, limit: int, where: Where | None) -> Sequence[Found]:
        """The same."""


class BoundKnowledge(BoundSearch, Protocol):
    """One tenant's documents."""

    def put(
        self,
        document_id: str,
        text: str,
        *,
        title: str,
        metadata: Metadata | None,
        groups: Sequence[str],
    ) -> object:
        """Make `text` the one version of the document."""

    async def aput(
        self,
        document_id: str,
        text: str,
        *,
        title: str,
        metadata: Metadata | None,
        groups: Sequence[str],
    ) -> object:
        """The same."""

    def delete(self, document_id: str) -> None:
        """Delete one document."""

    async def adelete(self, document_id: str) -> None:
        """The same."""
