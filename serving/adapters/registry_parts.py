"""What the registry is made of, and what its two sides, tenant's and operator's, both do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog

from serving.adapters.base_model import BaseModel
from serving.adapters.checks import AdapterLimits
from serving.adapters.errors import AdapterNotFoundError, AdapterUnavailableError
from serving.adapters.manifest import ManifestSigner
from serving.adapters.names import Reference
from serving.adapters.ports import AdapterIndex, AdapterRecord, TenantAdapterIndex, TenantKeyring
from serving.adapters.sealed_files import SealedFiles

_log = structlog.get_logger(__name__)


class Gone(Protocol):
    """Is told of versions that were revoked or removed."""

    async def __call__(self, records: Sequence[AdapterRecord], *, at_once: bool = False) -> None:
        """at_once: whatever the operator's policy for answers in flight is."""


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


async def remove_versions(
    parts: RegistryParts, index: TenantAdapterIndex, tell: Gone, reference: Reference
) -> Sequence[AdapterRecord]:
    """Delete versions: their keys first, so that what the store still has opens to nobody.

    Raises:
        AdapterNotFoundError: there is none.
    """
    removed = await index.remove(reference)
    if not removed:
        raise AdapterNotFoundError
    await tell(removed)
    for record in removed:
        await clear(parts, index, record.upload, record.folder)
    return removed


async def clear(parts: RegistryParts, index: TenantAdapterIndex, upload: str, folder: str) -> None:
    """Remove a loose folder; if the store fails, the next sweep does it."""
    try:
        await asyncio.to_thread(parts.files.remove, folder)
        await index.settled(upload)
    except AdapterUnavailableError:
        _log.warning("adapter.left_for_the_sweep")
