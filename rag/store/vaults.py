"""Documents' vaults: what the placeholders of masked documents stand for.

A vault goes with the chunks of one version: it is written before they are staged, and deleted after
they are.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from isolation.context import OperatorContext, TenantContext
from isolation.masking.masked_text import Values
from isolation.tenant_id import TenantId


@dataclass(frozen=True, slots=True)
class Place:
    """One chunk of one version of one document."""

    document_id: str
    version: str
    ordinal: int


class TenantVaults(ABC):
    """One tenant's vaults."""

    @abstractmethod
    async def put(self, values: Mapping[Place, Values]) -> None:
        """Keep what the placeholders of these chunks stand for; in place of what was there."""

    @abstractmethod
    async def get(self, places: Sequence[Place]) -> Mapping[Place, Values]:
        """What is kept of these chunks; one that has nothing is left out."""

    @abstractmethod
    async def keep(self, document_id: str, version: str, versions: Collection[str] | None) -> None:
        """Delete every other version's vault of the document; versions: of these only."""

    @abstractmethod
    async def delete(self, document_id: str, versions: Collection[str] | None) -> None:
        """Delete the document's vaults; versions: these only."""


class DocumentVaults(ABC):
    """All tenants' vaults. Bind it first."""

    @abstractmethod
    def of(self, ctx: TenantContext) -> TenantVaults:
        """The tenant's own."""

    @abstractmethod
    async def settle(
        self,
        operator: OperatorContext,
        tenant: TenantId,
        document_id: str,
        version: str | None,
        versions: Collection[str] | None,
    ) -> None:
        """As `keep`, or as `delete` when `version` is None: for an interrupted write."""

    @abstractmethod
    async def purge(self, operator: OperatorContext, tenant: TenantId) -> None:
        """Delete all vaults of a tenant."""
