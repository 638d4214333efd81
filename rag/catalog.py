"""The catalogue's port: which version of which document is committed. `serving/control` keeps it.

A commit here is the acknowledgement; the vector store follows it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import datetime

from isolation.context import OperatorContext, TenantContext
from isolation.tenant_id import TenantId


@dataclass(frozen=True, slots=True)
class CatalogEntry:
    """One committed document. `source`: the digest of the file it was read from, if it was."""

    document_id: str
    title: str
    version: str
    fingerprint: str
    chunks: int
    updated_at: datetime
    groups: frozenset[str] = frozenset()
    source: str | None = None


@dataclass(frozen=True, slots=True)
class PendingWrite:
    """A write that was begun and not finished. `committed`: the version that counts, if any."""

    tenant_id: TenantId
    document_id: str
    committed: str | None


class TenantCatalog(ABC):
    """One tenant's documents; a restricted credential reads those that it may see."""

    @abstractmethod
    async def get(self, document_id: str) -> CatalogEntry | None:
        """The committed entry, if there is one."""

    @abstractmethod
    async def list(self) -> list[CatalogEntry]:
        """All committed entries, by document id."""

    @abstractmethod
    async def begin(self, document_id: str) -> None:
        """Note that the document's points are about to change; survives a kill."""

    @abstractmethod
    async def commit(self, entry: CatalogEntry) -> None:
        """Make `entry` the committed version. After this the write is acknowledged."""

    @abstractmethod
    async def remove(self, document_id: str) -> bool:
        """Commit the deletion; whether there was anything to delete."""

    @abstractmethod
    async def finish(self, document_id: str) -> None:
        """The store has followed: forget the note of `begin`."""


class DocumentCatalog(ABC):
    """All tenants' catalogues. Bind it first."""

    @abstractmethod
    def of(self, ctx: TenantContext) -> TenantCatalog:
        """The tenant's own catalogue."""

    @abstractmethod
    async def pending(self, operator: OperatorContext) -> list[PendingWrite]:
        """What `begin` noted and `finish` did not clear; asked at open."""

    @abstractmethod
    async def purge(self, operator: OperatorContext, tenant: TenantId) -> int:
        """Remove all entries and notes of a tenant; how many entries there were."""

    @abstractmethod
    async def settled(self, operator: OperatorContext, write: PendingWrite) -> None:
        """The store has followed one pending write."""
