"""The registry: versions of adapters, each tenant's own, immutable, sealed and signed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from isolation.context import OperatorContext, TenantContext, require_operator, require_tenant
from isolation.tenant_id import TenantId
from serving.adapters.base_model import BaseModel
from serving.adapters.checks import AdapterLimits
from serving.adapters.errors import AdapterNotFoundError, AdapterTamperedError
from serving.adapters.manifest import ManifestSigner
from serving.adapters.names import Reference
from serving.adapters.ports import AdapterRecord, LooseFolder
from serving.adapters.registry_parts import Gone, RegistryParts, remove_versions
from serving.adapters.tenant_adapters import TenantAdapters

# Longer than any upload takes: what was journalled before that is nobody's.
_STALE = timedelta(hours=1)


class AdapterRegistry:
    """Everybody's adapters. Bind it first; what is the operator's takes an OperatorContext."""

    def __init__(self, parts: RegistryParts) -> None:
        self._parts = parts
        self._listeners: list[Gone] = []

    @property
    def limits(self) -> AdapterLimits:
        """What uploads may be."""
        return self._parts.limits

    def base(self) -> BaseModel:
        """What uploads must fit.

        Raises:
            AdapterUnavailableError: the platform does not know its base model.
        """
        return self._parts.base()

    def of(self, ctx: TenantContext) -> TenantAdapters:
        """The registry as this tenant sees it."""
        return TenantAdapters(require_tenant(ctx, "the adapters"), self._parts, self._tell)

    def reaches(self, part: Gone) -> None:
        """`part` is told of every version that is revoked or removed, before the caller is."""
        self._listeners.append(part)

    async def everybodys(self, operator: OperatorContext) -> Sequence[AdapterRecord]:
        """All versions of all tenants."""
        return await self._parts.index.everybodys(operator)

    async def revoke(
        self, operator: OperatorContext, tenant: TenantId, reference: Reference
    ) -> Sequence[AdapterRecord]:
        """Take versions out of service, at once and for good; they stay listed.

        Raises:
            AdapterNotFoundError: the tenant has none that is active.
        """
        records = await self._parts.index.acting_for(operator, tenant).revoke(reference)
        if not records:
            raise AdapterNotFoundError
        await self._tell(records)
        return records

    async def delete(
        self, operator: OperatorContext, tenant: TenantId, reference: Reference
    ) -> Sequence[AdapterRecord]:
        """Delete versions: their keys first, so that what the store still has opens to nobody.

        Raises:
            AdapterNotFoundError: the tenant has none.
        """
        index = self._parts.index.acting_for(operator, tenant)
        return await remove_versions(self._parts, index, self._tell, reference)

    async def _tell(self, records: Sequence[AdapterRecord], *, at_once: bool = False) -> None:
        for listener in self._listeners:
            await listener(records, at_once=at_once)

    async def sweep(self, operator: OperatorContext) -> int:
        """Remove what uploads and removals left that were cut short; how many folders."""
        loose = await self._parts.index.loose(operator, datetime.now(UTC) - _STALE)
        for folder in loose:
            await self._remove(operator, folder)
        return len(loose)

    async def purge(self, operator: OperatorContext, tenant: TenantId) -> int:
        """Forget a tenant's adapters, with the keys of its versions; how many folders there were.

        Raises:
            AdapterUnavailableError: the store does not delete; asking again goes on.
        """
        require_operator(operator, "purging adapters")
        mine = [r for r in await self._parts.index.everybodys(operator) if r.tenant == tenant]
        loose = await self._parts.index.purge(operator, tenant)
        await self._tell(mine, at_once=True)
        for folder in loose:
            await self._remove(operator, folder)
        return len(loose)

    async def resign(self, operator: OperatorContext, previous: ManifestSigner) -> int:
        """Sign anew what `previous` signed, after the master key was rotated; how many."""
        count = 0
        for record in await self._parts.index.everybodys(operator):
            with suppress(AdapterTamperedError):
                previous.believed(record.manifest, record.signature)
                signature = self._parts.signer.sign(record.manifest)
                await self._parts.index.signed_anew(operator, record, signature)
                count += 1
        return count

    async def _remove(self, operator: OperatorContext, loose: LooseFolder) -> None:
        await asyncio.to_thread(self._parts.files.remove, loose.folder)
        await self._parts.index.settled(operator, loose.upload)
