"""The registry: versions of adapters, each tenant's own, immutable, sealed and signed.

A version is written in steps, like a document (docs/decisions/0001): its folder is journalled, its
files are sealed into the store, and one commit of the index makes it exist. What a kill leaves
before that commit is a loose folder that nothing refers to; `sweep` removes it.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import structlog

from isolation.context import (
    OperatorContext,
    TenantContext,
    require_operator,
    require_same_tenant,
    require_tenant,
    require_unrestricted,
)
from isolation.tenant_id import TenantId
from serving.adapters.base_model import BaseModel
from serving.adapters.checks import AdapterLimits, Checked, Upload, check_upload
from serving.adapters.errors import (
    AdapterNotFoundError,
    AdapterTamperedError,
    AdapterUnavailableError,
)
from serving.adapters.manifest import Manifest, ManifestSigner
from serving.adapters.names import Reference, checked_name
from serving.adapters.ports import (
    ACTIVE,
    AdapterIndex,
    AdapterRecord,
    LooseFolder,
    TenantAdapterIndex,
    TenantKeyring,
)
from serving.adapters.sealed_files import SealedFiles, bound
from serving.key_wrapping import KeyNotOpenedError, new_key, unwrap, wrap

# Longer than any upload takes: what was journalled before that is nobody's.
_STALE = timedelta(hours=1)
_log = structlog.get_logger(__name__)

Gone = Callable[[Sequence[AdapterRecord]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class RegistryParts:
    """What the registry is made of. `base` raises AdapterUnavailableError where the model is not
    known."""

    index: AdapterIndex
    files: SealedFiles
    keys: TenantKeyring
    signer: ManifestSigner
    base: Callable[[], BaseModel]
    limits: AdapterLimits


class AdapterRegistry:
    """Everybody's adapters. Bind it first; what is the operator's takes an OperatorContext."""

    def __init__(self, parts: RegistryParts) -> None:
        self._parts = parts
        self._listeners: list[Gone] = []

    @property
    def limits(self) -> AdapterLimits:
        """What uploads may be."""
        return self._parts.limits

    def of(self, ctx: TenantContext) -> TenantAdapters:
        """The registry as this tenant sees it."""
        return TenantAdapters(require_tenant(ctx, "the adapters"), self._parts, self)

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
        return await self._gone(records)

    async def delete(
        self, operator: OperatorContext, tenant: TenantId, reference: Reference
    ) -> Sequence[AdapterRecord]:
        """Delete versions: their keys first, so that what the store still has opens to nobody.

        Raises:
            AdapterNotFoundError: the tenant has none.
        """
        index = self._parts.index.acting_for(operator, tenant)
        return await self.deleted(index, reference)

    async def deleted(
        self, index: TenantAdapterIndex, reference: Reference
    ) -> Sequence[AdapterRecord]:
        """`delete`, for whoever has a tenant's index."""
        removed = await self._gone(await index.remove(reference))
        for record in removed:
            await clear(self._parts, index, record.upload, record.folder)
        return removed

    async def _gone(self, records: Sequence[AdapterRecord]) -> Sequence[AdapterRecord]:
        if not records:
            raise AdapterNotFoundError
        for listener in self._listeners:
            await listener(records)
        return records

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
        if mine:
            await self._gone(mine)
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


class TenantAdapters:
    """One tenant's adapters."""

    def __init__(self, ctx: TenantContext, parts: RegistryParts, shared: AdapterRegistry) -> None:
        self._ctx = ctx
        self._parts = parts
        self._index = parts.index.of(ctx)
        self._key = parts.keys.of(ctx)
        self._shared = shared

    async def add(self, upload: Upload) -> AdapterRecord:
        """Store an upload as the newest version of its name.

        Raises:
            AdapterRefusedError: it is not an adapter that can be served; nothing was stored.
            AdapterLimitError: the tenant keeps too many.
            AdapterUnavailableError: the store fails; nothing was stored.
        """
        require_unrestricted(self._ctx)
        name = checked_name(upload.name)
        checked = await asyncio.to_thread(
            check_upload, upload, self._parts.base(), self._parts.limits
        )
        nonce = secrets.token_hex(16)
        folder = await self._folder(nonce)
        version = await self._index.begin(name, nonce, folder, self._parts.limits.versions)
        try:
            manifest = self._manifest(name, version, nonce, checked, upload.metrics)
            record = await self._sealed(manifest, folder, upload.folder)
            await self._index.commit(record)
        except BaseException:
            await asyncio.shield(clear(self._parts, self._index, nonce, folder))
            raise
        return record

    async def find(self, reference: Reference) -> AdapterRecord | None:
        """The active version that is meant, or None: unknown, foreign, revoked."""
        return await self._index.find(reference)

    async def versions(self, name: str | None = None) -> Sequence[AdapterRecord]:
        """All versions, revoked ones too; of one adapter if named."""
        return await self._index.versions(name)

    async def delete(self, reference: Reference) -> Sequence[AdapterRecord]:
        """Delete versions: their keys first, so that what the store still has opens to nobody.

        Raises:
            AdapterNotFoundError: there is none.
        """
        require_unrestricted(self._ctx)
        return await self._shared.deleted(self._index, reference)

    async def place(self, record: AdapterRecord, folder: Path) -> int:
        """Put a version's files into `folder`, in the clear; how many bytes.

        Raises:
            AdapterNotFoundError: it was revoked or removed meanwhile.
            AdapterTamperedError: a signature, checksum or seal does not hold.
            AdapterUnavailableError: the store fails, or the platform has another base model now.
        """
        require_same_tenant(self._ctx, record.tenant, "an adapter's files")
        current = await self._index.find(Reference(record.name, record.version))
        if current is None or current.upload != record.upload:
            raise AdapterNotFoundError
        manifest = self._believed(current)
        key = await self._data_key(current, manifest)
        await asyncio.to_thread(self._parts.files.unseal, manifest, current.folder, folder, key)
        return manifest.size

    async def _folder(self, upload: str) -> str:
        """Where the version's files go: opaque, and the tenant's own, who alone has the key."""
        key = await self._key.derived("adapter folders")
        return hmac.new(key, upload.encode(), hashlib.sha256).hexdigest()

    def _manifest(
        self,
        name: str,
        version: int,
        upload: str,
        checked: Checked,
        metrics: Mapping[str, float],
    ) -> Manifest:
        base = self._parts.base()
        return Manifest(
            tenant=self._ctx.tenant_id,
            name=name,
            version=version,
            upload=upload,
            base_model=base.name,
            tokenizer=base.tokenizer,
            rank=checked.config.r,
            alpha=checked.config.lora_alpha,
            target_modules=tuple(checked.config.target_modules),
            dtype=checked.dtype,
            files=checked.files,
            metrics=metrics,
            created_at=datetime.now(UTC).isoformat(),
            created_by=self._ctx.credential_id,
        )

    async def _sealed(self, manifest: Manifest, folder: str, source: Path) -> AdapterRecord:
        data_key, wrapping = new_key(), await self._key.derived("adapter data keys")
        await asyncio.to_thread(self._parts.files.seal, manifest, folder, source, data_key)
        encoded = manifest.encoded()
        return AdapterRecord(
            tenant=self._ctx.tenant_id,
            name=manifest.name,
            version=manifest.version,
            upload=manifest.upload,
            state=ACTIVE,
            folder=folder,
            manifest=encoded,
            signature=self._parts.signer.sign(encoded),
            wrapped_key=wrap(wrapping, data_key, bound(manifest, "data key")),
        )

    def _believed(self, record: AdapterRecord) -> Manifest:
        manifest = self._parts.signer.believed(record.manifest, record.signature)
        said = (manifest.tenant, manifest.name, manifest.version, manifest.upload)
        if said != (self._ctx.tenant_id, record.name, record.version, record.upload):
            raise AdapterTamperedError
        base = self._parts.base()
        if (manifest.base_model, manifest.tokenizer) != (base.name, base.tokenizer):
            raise AdapterUnavailableError(
                "The adapter was made for another base model than the platform has now."
            )
        return manifest

    async def _data_key(self, record: AdapterRecord, manifest: Manifest) -> bytes:
        wrapping = await self._key.derived("adapter data keys")
        try:
            return unwrap(wrapping, record.wrapped_key, bound(manifest, "data key"))
        except KeyNotOpenedError:
            raise AdapterTamperedError from None


async def clear(parts: RegistryParts, index: TenantAdapterIndex, upload: str, folder: str) -> None:
    """Remove a loose folder; if the store fails, the next sweep does it."""
    try:
        await asyncio.to_thread(parts.files.remove, folder)
        await index.settled(upload)
    except AdapterUnavailableError:
        _log.warning("adapter.left_for_the_sweep")
