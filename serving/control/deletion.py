"""A tenant and all that is its own, deleted; what was billed stays.

First nobody gets in any more, then the data goes and its absence is looked for, then the keys: with
its own key goes every copy of its texts (docs/decisions/0011). A kill between leaves a tenant that
is shut out, and the next start goes on from there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from isolation.context import OperatorContext
from isolation.tenant_id import TenantId
from rag.ingest import Ingestor
from serving.control.tenants import TenantRegistry


class Remembers(Protocol):
    """A part that keeps something of tenants in memory."""

    def forget(self, operator: OperatorContext, tenant: TenantId) -> None:
        """Drop it."""


class Clears(Protocol):
    """A part that keeps something of tenants elsewhere, and says when it is gone."""

    async def purge(self, operator: OperatorContext, tenant: TenantId) -> object:
        """Clear it; returns when nothing is left, raises when that is not known."""


@dataclass(frozen=True, slots=True)
class Deleted:
    """What was removed. That nothing is left has been looked for."""

    documents: int
    keys: int


class TenantDeletion:
    """Deletes tenants; every function is the operator's."""

    def __init__(self, registry: TenantRegistry, ingestor: Ingestor) -> None:
        self._registry = registry
        self._ingestor = ingestor
        self._remembering: list[Remembers] = []
        self._clearing: list[Clears] = []

    def reaches(self, part: Remembers) -> None:
        """Deletions reach `part` too, from now on."""
        self._remembering.append(part)

    def clears(self, part: Clears) -> None:
        """Deletions clear `part` too, from now on, and are not done before it is."""
        self._clearing.append(part)

    async def delete(self, operator: OperatorContext, tenant: TenantId) -> Deleted:
        """Delete a tenant. Repeating it after a failure goes on where it stopped.

        Raises:
            TenantNotFoundError: there is none of this id.
            StoreError: the vector store still finds something of it.
            EngineUnavailableError: an engine did not say that it holds nothing of it.
        """
        await self._registry.begin_deletion(operator, tenant)
        documents = await self._ingestor.purge(operator, tenant)
        for clearing in self._clearing:
            await clearing.purge(operator, tenant)
        for part in self._remembering:
            part.forget(operator, tenant)
        return Deleted(documents, await self._registry.finish_deletion(operator, tenant))

    async def resume(self, operator: OperatorContext) -> int:
        """Finish what a kill interrupted; how many deletions that were. Run before serving."""
        begun = await self._registry.deleting(operator)
        for tenant in begun:
            await self.delete(operator, tenant)
        return len(begun)
