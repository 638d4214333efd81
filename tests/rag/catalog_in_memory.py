"""A document catalogue in a dictionary: the hand-written fake until the database's exists."""

from __future__ import annotations

from isolation.context import OperatorContext, TenantContext
from isolation.tenant_id import TenantId
from rag.catalog import CatalogEntry, DocumentCatalog, PendingWrite, TenantCatalog


class InMemoryCatalog(DocumentCatalog):
    def __init__(self) -> None:
        self.entries: dict[tuple[TenantId, str], CatalogEntry] = {}
        self.begun: set[tuple[TenantId, str]] = set()

    def of(self, ctx: TenantContext) -> TenantCatalog:
        return _Tenant(self, ctx)

    async def pending(self, operator: OperatorContext) -> list[PendingWrite]:
        return [
            PendingWrite(*key, entry.version if (entry := self.entries.get(key)) else None)
            for key in sorted(self.begun)
        ]

    async def purge(self, operator: OperatorContext, tenant: TenantId) -> int:
        own = [key for key in self.entries if key[0] == tenant]
        for key in own:
            del self.entries[key]
        self.begun = {key for key in self.begun if key[0] != tenant}
        return len(own)

    async def settled(self, operator: OperatorContext, write: PendingWrite) -> None:
        self.begun.discard((write.tenant_id, write.document_id))


class _Tenant(TenantCatalog):
    def __init__(self, shared: InMemoryCatalog, ctx: TenantContext) -> None:
        self._shared, self._tenant, self._access = shared, ctx.tenant_id, ctx.access

    async def get(self, document_id: str) -> CatalogEntry | None:
        entry = self._shared.entries.get((self._tenant, document_id))
        return entry if entry and self._access.sees(entry.groups) else None

    async def list(self) -> list[CatalogEntry]:
        own = [
            entry
            for (tenant, _), entry in self._shared.entries.items()
            if tenant == self._tenant and self._access.sees(entry.groups)
        ]
        return sorted(own, key=lambda entry: entry.document_id)

    async def begin(self, document_id: str) -> None:
        self._shared.begun.add((self._tenant, document_id))

    async def commit(self, entry: CatalogEntry) -> None:
        self._shared.entries[self._tenant, entry.document_id] = entry

    async def remove(self, document_id: str) -> bool:
        return self._shared.entries.pop((self._tenant, document_id), None) is not None

    async def finish(self, document_id: str) -> None:
        self._shared.begun.discard((self._tenant, document_id))
