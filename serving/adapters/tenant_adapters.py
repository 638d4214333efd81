"""One tenant's adapters.

A version is written in steps, like a document (docs/decisions/0001): its folder is journalled, its
files are sealed into the store, and one commit of the index makes it exist. What a kill leaves
before that commit is a loose folder that nothing refers to; the registry's sweep removes it.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from isolation.context import TenantContext, require_same_tenant, require_unrestricted
from serving.adapters.checks import Checked, Upload, check_upload
from serving.adapters.errors import (
    AdapterNotFoundError,
    AdapterTamperedError,
    AdapterUnavailableError,
)
from serving.adapters.manifest import Manifest
from serving.adapters.names import Reference, checked_name
from serving.adapters.ports import ACTIVE, AdapterRecord
from serving.adapters.registry_parts import Gone, RegistryParts, clear, remove_versions
from serving.adapters.sealed_files import bound
from serving.key_wrapping import KeyNotOpenedError, new_key, unwrap, wrap


class TenantAdapters:
    """One tenant's adapters."""

    def __init__(self, ctx: TenantContext, parts: RegistryParts, tell: Gone) -> None:
        self._ctx = ctx
        self._parts = parts
        self._index = parts.index.of(ctx)
        self._key = parts.keys.of(ctx)
        self._tell = tell

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
        return await remove_versions(self._parts, self._index, self._tell, reference)

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
