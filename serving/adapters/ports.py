"""What the registry needs of others: an index of versions, and each tenant's own key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from isolation.context import OperatorContext, TenantContext
from isolation.tenant_id import TenantId
from serving.adapters.names import Reference

ACTIVE, REVOKED = "active", "revoked"


@dataclass(frozen=True, slots=True)
class AdapterRecord:
    """One version, as the index keeps it. `folder`: where in the store its files are."""

    tenant: TenantId
    name: str
    version: int
    upload: str
    state: str
    folder: str
    manifest: bytes
    signature: bytes
    wrapped_key: bytes


@dataclass(frozen=True, slots=True)
class LooseFolder:
    """A folder of the store that no version refers to: being uploaded, or being removed."""

    upload: str
    folder: str


@dataclass(frozen=True, slots=True)
class OutOfService:
    """Uploads of versions that nobody may be served by any more.

    revoked: taken out of service or removed. deleted: their whole tenant is.
    """

    revoked: frozenset[str]
    deleted: frozenset[str]


class TenantAdapterIndex(Protocol):
    """One tenant's versions."""

    async def begin(self, name: str, upload: str, folder: str, limit: int) -> int:
        """Journal a folder that is about to be written; the version it will be.

        Raises:
            AdapterLimitError: there are `limit` versions already.
            TenantSuspendedError: the tenant is being deleted.
        """

    async def commit(self, record: AdapterRecord) -> None:
        """Make a version that was begun the newest one: from here on it exists.

        Raises:
            TenantSuspendedError: what was begun is gone: the tenant is being deleted.
        """

    async def find(self, reference: Reference) -> AdapterRecord | None:
        """The active version that is meant. One query, whatever the reference is."""

    async def versions(self, name: str | None = None) -> Sequence[AdapterRecord]:
        """All versions, revoked ones too, by name and number; of one adapter if named."""

    async def revoke(self, reference: Reference) -> Sequence[AdapterRecord]:
        """Mark versions as revoked (all of the name, or one); those that are marked now."""

    async def remove(self, reference: Reference) -> Sequence[AdapterRecord]:
        """Forget versions with their keys; their folders are loose then."""

    async def settled(self, upload: str) -> None:
        """The loose folder of this upload is gone."""


class AdapterIndex(Protocol):
    """Everybody's versions. Bind it first; what is the operator's takes an OperatorContext."""

    def of(self, ctx: TenantContext) -> TenantAdapterIndex:
        """The tenant's own."""

    def acting_for(self, operator: OperatorContext, tenant: TenantId) -> TenantAdapterIndex:
        """A tenant's own, for its operator."""

    async def loose(self, operator: OperatorContext, before: datetime) -> Sequence[LooseFolder]:
        """Loose folders that were journalled before then (UTC, with zone)."""

    async def purge(self, operator: OperatorContext, tenant: TenantId) -> Sequence[LooseFolder]:
        """Forget all versions of a tenant with their keys; all its folders are loose then."""

    async def settled(self, operator: OperatorContext, upload: str) -> None:
        """The loose folder of this upload is gone."""

    async def everybodys(self, operator: OperatorContext) -> Sequence[AdapterRecord]:
        """All versions of all tenants."""

    async def out_of_service(
        self, operator: OperatorContext, records: Sequence[AdapterRecord]
    ) -> OutOfService:
        """Which of these are not in service any more. Asked often: one query, by indexes."""

    async def signed_anew(
        self, operator: OperatorContext, record: AdapterRecord, signature: bytes
    ) -> None:
        """Replace a manifest's signature, after the master key was rotated."""


class TenantKey(Protocol):
    """One tenant's own random key, made at its first use."""

    async def derived(self, purpose: str) -> bytes:
        """32 bytes for one purpose. Raises TenantSuspendedError once the key was destroyed."""


class TenantKeyring(Protocol):
    """Each tenant's key. Bind it first."""

    def of(self, ctx: TenantContext) -> TenantKey:
        """The tenant's own."""
