"""Which tenants have a shard of their own, and who is large enough for one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from isolation.context import OperatorContext, require_operator
from isolation.tenant_id import TenantId
from rag.catalog import DocumentCatalog
from rag.store.placement import TenantPlacement
from serving.control.moves import Moves
from serving.control.tenants import TenantRegistry

# From here on Qdrant builds a graph, and a shard of one's own pays (its documentation on tiered
# multitenancy).
PROMOTE_FROM_CHUNKS = 20_000


@dataclass(frozen=True, slots=True)
class Placed:
    """Where a tenant's chunks are. `large`: enough of them for a shard of its own."""

    placement: Literal["shared", "own"]
    chunks: int
    large: bool


class TenantPlaces:
    """Sees and changes where tenants are; every function is the operator's."""

    def __init__(
        self,
        registry: TenantRegistry,
        catalog: DocumentCatalog,
        placement: Callable[[], TenantPlacement],
        moves: Moves | None,
    ) -> None:
        """placement: of the generation of now. moves: where other gateways may re-embed."""
        self._registry = registry
        self._catalog = catalog
        self._placement = placement
        self._moves = moves

    async def all(self, operator: OperatorContext) -> dict[TenantId, Placed]:
        """Every tenant's place."""
        require_operator(operator, "the tenants' placement")
        own = await self._placement().on_own_shards(operator)
        chunks = await self._catalog.chunks(operator)
        return {
            tenant.id: Placed(
                "own" if tenant.id in own else "shared",
                chunks.get(tenant.id, 0),
                chunks.get(tenant.id, 0) >= PROMOTE_FROM_CHUNKS,
            )
            for tenant in await self._registry.list(operator)
        }

    async def promote(self, operator: OperatorContext, tenant: TenantId) -> int:
        """Give a tenant a shard of its own; how many chunks it has there.

        Raises:
            TenantNotFoundError: there is none of this id.
            PlacementError: there is but one shard for everybody.
            ReembeddingRunsError: the new generation would not know of it; wait for its end.
            StoreError: it is not done; run it again.
        """
        await self._registry.require(operator, tenant)
        if self._moves is not None:
            await self._moves.check_still()
        entries = await self._catalog.entries(operator, tenant)
        committed = {entry.document_id: entry.version for entry in entries}
        return await self._placement().promote(operator, tenant, committed)
