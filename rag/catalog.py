"""The catalogue's port: which version of which document is committed. `serving/control` keeps it.

A commit here is the acknowledgement; the vector store follows it.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import datetime

from isolation.context import OperatorContext, TenantContext
from isolation.tenant_id import TenantId

# How long a writer may be silent before another takes its document over. The clocks of gateways
# that share a database differ by less.
CLAIM_SECONDS = 60.0
_PAGE = 500


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
class Claim:
    """One writer's hold on one document: nobody else writes it, at no gateway, until it is finished
    or its holder has been silent for `CLAIM_SECONDS`.

    versions: all that the store may hold of the document: what is committed, what this writer
    writes, and what others left behind. None: not known.
    """

    document_id: str
    token: str
    versions: frozenset[str] | None


@dataclass(frozen=True, slots=True)
class PendingWrite:
    """A write that was begun and not finished, taken over by who asked. `committed`: the version
    that counts, if any."""

    tenant_id: TenantId
    claim: Claim
    committed: str | None


class TenantCatalog(ABC):
    """One tenant's documents; a restricted credential reads those that it may see."""

    @abstractmethod
    async def get(self, document_id: str) -> CatalogEntry | None:
        """The committed entry, if there is one."""

    @abstractmethod
    async def page(self, *, after: str | None, limit: int) -> list[CatalogEntry]:
        """The first `limit` committed entries, by document id; of those behind the id `after`."""

    async def list(self) -> list[CatalogEntry]:
        """All committed entries, by document id. Other requests run in between."""
        listed: list[CatalogEntry] = []
        while True:
            after = listed[-1].document_id if listed else None
            page = await self.page(after=after, limit=_PAGE)
            listed += page
            if len(page) < _PAGE:
                return listed
            await asyncio.sleep(0)

    @abstractmethod
    async def unfinished(self, document_id: str) -> bool:
        """Whether a write of it was begun and not finished, whoever began it."""

    @abstractmethod
    async def begin(self, document_id: str, version: str | None = None) -> Claim:
        """Note that the document's points are about to change; survives a kill.

        version: what is about to be written, if anything is.

        Raises:
            DocumentBusyError: another writer has it.
            TenantSuspendedError: the tenant is being deleted.
            VectorsMovingError: this gateway has not followed a re-embedding yet.
        """

    @abstractmethod
    async def renew(self, claim: Claim) -> None:
        """Not silent: the claim holds for `CLAIM_SECONDS` from now.

        Raises:
            DocumentBusyError: another writer took the document over.
        """

    @abstractmethod
    async def let_go(self, claim: Claim) -> None:
        """Hold the document no longer; what `begin` noted stays for who comes next."""

    @abstractmethod
    async def commit(self, entry: CatalogEntry, claim: Claim) -> None:
        """Make `entry` the committed version. After this the write is acknowledged.

        Raises:
            DocumentBusyError: another writer took the document over; nothing is committed.
            VectorsMovingError: a re-embedding takes over, or this gateway has not followed one yet.
        """

    @abstractmethod
    async def remove(self, claim: Claim) -> bool:
        """Commit the deletion; whether there was anything to delete.

        Raises:
            DocumentBusyError: another writer took the document over; nothing is removed.
            VectorsMovingError: as for `commit`.
        """

    @abstractmethod
    async def finish(self, claim: Claim) -> None:
        """The store has followed: forget the note of `begin`, if it is still this writer's."""


class DocumentCatalog(ABC):
    """All tenants' catalogues. Bind it first."""

    @abstractmethod
    def of(self, ctx: TenantContext) -> TenantCatalog:
        """The tenant's own catalogue."""

    @abstractmethod
    async def entries(self, operator: OperatorContext, tenant: TenantId) -> list[CatalogEntry]:
        """All committed entries of a tenant, by document id: for what moves a tenant whole."""

    @abstractmethod
    async def chunks(self, operator: OperatorContext) -> dict[TenantId, int]:
        """How many chunks each tenant's documents have; tenants without any are left out."""

    @abstractmethod
    async def marks(self, operator: OperatorContext) -> dict[TenantId, str]:
        """A mark of each tenant's committed documents, another one whenever they have changed."""

    @abstractmethod
    async def take_over(self, operator: OperatorContext, *, alone: bool) -> list[PendingWrite]:
        """Claim what `begin` noted, `finish` did not clear, and nobody holds any more.

        alone: nobody else can be writing, so that nothing is held.
        """

    @abstractmethod
    async def writing(self, operator: OperatorContext, tenant: TenantId) -> bool:
        """Whether any writer, at whatever gateway, holds a document of the tenant."""

    @abstractmethod
    async def purge(self, operator: OperatorContext, tenant: TenantId) -> int:
        """Remove all entries and notes of a tenant; how many entries there were."""

    @abstractmethod
    async def settled(self, operator: OperatorContext, write: PendingWrite) -> None:
        """The store has followed one pending write."""
