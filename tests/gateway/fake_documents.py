"""Each tenant's documents, as their routes see them: what was put in last."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

from isolation.context import TenantContext
from rag.catalog import CatalogEntry
from rag.documents import Source
from rag.errors import DocumentNotFoundError


@dataclass
class Outcome:
    status: str
    chunks: int


@dataclass
class Documents:
    entries: dict[tuple[str, str], CatalogEntry] = field(default_factory=dict)

    def of(self, ctx: TenantContext) -> TenantDocuments:
        return TenantDocuments(self, ctx)


@dataclass
class TenantDocuments:
    documents: Documents
    ctx: TenantContext

    async def unchanged(self, document_id: str, source: str, groups: frozenset[str]) -> bool:
        entry = self.documents.entries.get((self.ctx.tenant_id, document_id))
        return entry is not None and (entry.source, entry.groups) == (source, groups)

    async def ingest(self, document: Source) -> Outcome:
        self.documents.entries[self.ctx.tenant_id, document.id] = CatalogEntry(
            *(document.id, document.title, "v1", document.fingerprint, 1, datetime.now(UTC)),
            *(document.groups, document.source),
        )
        return Outcome("created", 1)

    async def page(self, *, after: str | None, limit: int) -> list[CatalogEntry]:
        own = sorted(
            (name, entry)
            for (owner, name), entry in self.documents.entries.items()
            if owner == self.ctx.tenant_id and name > (after or "")
        )
        return [entry for _, entry in own[:limit]]

    async def get(self, document_id: str) -> CatalogEntry:
        try:
            return self.documents.entries[self.ctx.tenant_id, document_id]
        except KeyError:
            raise DocumentNotFoundError from None

    async def delete(self, document_id: str) -> None:
        await self.get(document_id)
        del self.documents.entries[self.ctx.tenant_id, document_id]
