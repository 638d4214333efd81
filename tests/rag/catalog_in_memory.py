"""A document catalogue in a dictionary, for one gateway: a claim is held until it is let go."""

from __future__ import annotations

import uuid
from collections import Counter

from isolation.context import OperatorContext, TenantContext
from isolation.tenant_id import TenantId
from rag.catalog import CatalogEntry, Claim, DocumentCatalog, PendingWrite, TenantCatalog
from rag.errors import DocumentBusyError


class InMemoryCatalog(DocumentCatalog):
    def __init__(self) -> None:
        self.entries: dict[tuple[TenantId, str], CatalogEntry] = {}
        self.begun: dict[tuple[TenantId, str], Claim] = {}
        self.held: set[str] = set()

    def of(self, ctx: TenantContext) -> TenantCatalog:
        return _Tenant(self, ctx)

    async def entries(self, operator: OperatorContext, tenant: TenantId) -> list[CatalogEntry]:
        return [entry for key, entry in sorted(self.entries.items()) if key[0] == tenant]

    async def chunks(self, operator: OperatorContext) -> dict[TenantId, int]:
        counts: Counter[TenantId] = Counter()
        for (tenant, _), entry in self.entries.items():
            counts[tenant] += entry.chunks
        return dict(counts)

    async def marks(self, operator: OperatorContext) -> dict[TenantId, str]:
        marks: dict[TenantId, str] = {}
        for (tenant, document_id), entry in sorted(self.entries.items()):
            marks[tenant] = f"{marks.get(tenant, '')} {document_id}:{entry.version}"
        return marks

    async def take_over(self, operator: OperatorContext, *, alone: bool) -> list[PendingWrite]:
        left = [key for key, claim in self.begun.items() if alone or claim.token not in self.held]
        return [PendingWrite(key[0], self.claim(*key, None), self.version(key)) for key in left]

    async def writing(self, operator: OperatorContext, tenant: TenantId) -> bool:
        return any(key[0] == tenant and one.token in self.held for key, one in self.begun.items())

    def version(self, key: tuple[TenantId, str]) -> str | None:
        entry = self.entries.get(key)
        return entry.version if entry else None

    def claim(self, tenant: TenantId, document_id: str, version: str | None) -> Claim:
        key = tenant, document_id
        left = self.begun.get(key)
        known = {self.version(key), version, *((left and left.versions) or ())} - {None}
        claim = Claim(document_id, uuid.uuid4().hex, frozenset(map(str, known)))
        self.begun[key] = claim
        self.held.add(claim.token)
        return claim

    def check(self, tenant: TenantId, claim: Claim) -> None:
        if self.begun.get((tenant, claim.document_id)) != claim:
            raise DocumentBusyError

    async def purge(self, operator: OperatorContext, tenant: TenantId) -> int:
        own = [key for key in self.entries if key[0] == tenant]
        for key in own:
            del self.entries[key]
        self.begun = {key: one for key, one in self.begun.items() if key[0] != tenant}
        return len(own)

    async def settled(self, operator: OperatorContext, write: PendingWrite) -> None:
        self.begun.pop((write.tenant_id, write.claim.document_id), None)


class _Tenant(TenantCatalog):
    def __init__(self, shared: InMemoryCatalog, ctx: TenantContext) -> None:
        self._shared, self._tenant, self._access = shared, ctx.tenant_id, ctx.access

    async def get(self, document_id: str) -> CatalogEntry | None:
        entry = self._shared.entries.get((self._tenant, document_id))
        return entry if entry and self._access.sees(entry.groups) else None

    async def page(self, *, after: str | None, limit: int) -> list[CatalogEntry]:
        own = [
            entry
            for (tenant, name), entry in self._shared.entries.items()
            if tenant == self._tenant and self._access.sees(entry.groups) and name > (after or "")
        ]
        return sorted(own, key=lambda entry: entry.document_id)[:limit]

    async def unfinished(self, document_id: str) -> bool:
        return (self._tenant, document_id) in self._shared.begun

    async def begin(self, document_id: str, version: str | None = None) -> Claim:
        left = self._shared.begun.get((self._tenant, document_id))
        if left is not None and left.token in self._shared.held:
            raise DocumentBusyError
        return self._shared.claim(self._tenant, document_id, version)

    async def renew(self, claim: Claim) -> None:
        self._shared.check(self._tenant, claim)

    async def let_go(self, claim: Claim) -> None:
        self._shared.held.discard(claim.token)

    async def commit(self, entry: CatalogEntry, claim: Claim) -> None:
        self._shared.check(self._tenant, claim)
        self._shared.entries[self._tenant, entry.document_id] = entry

    async def remove(self, claim: Claim) -> bool:
        self._shared.check(self._tenant, claim)
        return self._shared.entries.pop((self._tenant, claim.document_id), None) is not None

    async def finish(self, claim: Claim) -> None:
        if self._shared.begun.get((self._tenant, claim.document_id)) == claim:
            del self._shared.begun[self._tenant, claim.document_id]
